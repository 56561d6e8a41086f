/** The game between control centres: the policies of the leader's and of a follower's scheduler, which talk by messages. */
import type { LabEvent } from '../../runtime/contract.ts'
import type { Chain, ChainState } from '../chain.ts'
import type { CentreTalk, Plan, Policy, SchedulerView } from '../policy.ts'
import { stateOfSuite } from '../policy.ts'
import { type ChanceInput, sharedRow, spreadOf } from './chance.ts'
import { type FollowerEffect, GrantFollower } from './grant-follower.ts'
import { GrantLeader, type LeaderEffect } from './grant-leader.ts'
import type { GrantMessage } from './grant-messages.ts'
import type { GameSpec, LabGameOptions } from './lab-policy.ts'
import { aesDemandBps, agentViewOf, CHAINS_ALONE, ChainPlaces, decisionOf, type Place, stockOf } from './lab-terms.ts'
import { demandOf, type GameAgent } from './model.ts'
import { type AgentView, firstSpread, gameAgentOf, scaled } from './policies.ts'
import { roundSolverOf } from './round-solvers.ts'
import { fullDemandBps } from './terms.ts'

/** The place of a control centre in the game. Demands are what an agent's chains take with the one-time pad, bit/s. */
export type CentreSeat =
  | {
      readonly kind: 'leader'
      readonly agent: string
      readonly followers: readonly { readonly id: string; readonly demandBps: number }[]
    }
  /** `share`: part of all agents' demand that is this one's. */
  | { readonly kind: 'follower'; readonly agent: string; readonly leader: string; readonly share: number }

const ROUND_S = 0.5
const PATIENCE_S = 0.2
const HOLD_S = 5
/** One grant may be lost before the last one counts as old. */
const FRESH_ROUNDS = 2.5
const NAMES: Readonly<Record<GameSpec['solver'], string>> = {
  equal: 'S-4 equal split',
  demand: 'S-4 by demand',
  ldCp: 'S-5 LD-CP',
  exact: 'S-5 exact',
  social: 'social optimum',
}

/** The policy of a control centre that plays with others. */
export function centrePolicyOf(options: LabGameOptions, seat: CentreSeat): Policy {
  return seat.kind === 'leader' ? new LeaderPolicy(options, seat) : new FollowerPolicy(options, seat)
}

/** What both sides do alike: chains, places, stock, and the words for others. */
class Desk {
  readonly name: string
  readonly #options: LabGameOptions
  readonly #agent: string
  readonly #places: ChainPlaces
  /** By chain, as the game says. */
  readonly states = new Map<string, ChainState>()
  readonly windowS: number
  #messages: { readonly to: string; readonly message: GrantMessage }[] = []
  #events: LabEvent[] = []

  constructor(options: LabGameOptions, { agent, kind }: CentreSeat) {
    const { solver, ldCpForm = 'improved' } = options.spec
    this.name = `game, ${NAMES[solver]}${solver === 'ldCp' ? ` ${ldCpForm}` : ''}, ${kind}`
    this.#options = options
    this.#agent = agent
    this.#places = new ChainPlaces(options.minDwellMs)
    this.windowS = Math.max(1, Math.round(options.horizonS))
  }

  placesOf(view: SchedulerView, nowMs: number): ReadonlyMap<string, Place> {
    return this.#places.placesOf(view, nowMs)
  }

  agentOf(view: SchedulerView, places: ReadonlyMap<string, Place>, role: CentreSeat['kind']) {
    const { messagesPerRekey, grid = CHAINS_ALONE } = this.#options
    const stateOf = ({ id, requiredSuite }: Chain): ChainState => this.states.get(id) ?? stateOfSuite(requiredSuite)
    const own = agentViewOf(this.#agent, view.chains, { view, places, stateOf, messagesPerRekey, grid })
    const context = { windowS: this.windowS, terms: grid.weights }
    return { own, agent: gameAgentOf(own, role === 'leader' ? 0 : 1, context), demandBps: demandBpsOf(own) }
  }

  stockOf({ status }: SchedulerView): ChanceInput {
    return stockOf(status, this.windowS, this.#options.spec.riskRatio)
  }

  /**
   * The plan with the states as they are. The channels' own buffers carry AES for a while, so an empty pool is no reason to turn
   * off a chain that may use it.
   *
   * @param share part of the buffers that counts as this agent's
   */
  planOf(
    view: SchedulerView,
    places: ReadonlyMap<string, Place>,
    { own, share }: { own: AgentView; share: number },
  ): Plan {
    const buffered = share * view.status.books.reservedBits >= this.windowS * aesDemandBps(own.chains)
    const decisions = view.chains.map((chain) => {
      const state = this.states.get(chain.id) ?? stateOfSuite(chain.requiredSuite)
      const kept = state === 0 && buffered && chain.allowedSuites.includes('aes') ? 1 : state
      return [chain.id, decisionOf(chain, kept, places.get(chain.id))] as const
    })
    return { level: view.status.level, decisions: new Map(decisions) }
  }

  setStates(agent: GameAgent, states: readonly ChainState[]): void {
    this.states.clear()
    for (const [l, { id }] of agent.chains.entries()) this.states.set(id, states[l] ?? 0)
  }

  send(to: string, message: GrantMessage): void {
    this.#messages.push({ to, message })
  }

  tell(event: LabEvent): void {
    this.#events.push(event)
  }

  talk(take: CentreTalk['take']): CentreTalk {
    return {
      take,
      takeMessages: () => this.#messages.splice(0),
      takeEvents: () => this.#events.splice(0),
    }
  }
}

/** The transmission operator's scheduler: plays a round every `roundS` and keeps its own chains as the last one says. */
class LeaderPolicy implements Policy {
  readonly name: string
  readonly talk: CentreTalk
  readonly #desk: Desk
  readonly #leader: GrantLeader
  readonly #spec: GameSpec
  readonly #roundMs: number
  /** Whose chains the round under way is about. */
  #agent: GameAgent | undefined
  #nextRoundMs = Number.NEGATIVE_INFINITY
  #share = 1

  constructor(options: LabGameOptions, seat: CentreSeat & { readonly kind: 'leader' }) {
    const { spec } = options
    const { roundS = ROUND_S, patienceS = PATIENCE_S, holdS = HOLD_S } = spec
    this.#desk = new Desk(options, seat)
    this.name = this.#desk.name
    this.#spec = spec
    this.#roundMs = roundS * 1000
    this.#leader = new GrantLeader({
      followers: seat.followers,
      patienceMs: patienceS * 1000,
      keepRounds: Math.max(1, Math.round(holdS / roundS)),
      solver: roundSolverOf(spec),
    })
    this.talk = this.#desk.talk((from, message, nowMs) => {
      if (!('from' in message) || message.from !== from) return
      this.#carryOut(this.#leader.handle({ kind: 'message', message }, nowMs))
    })
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const places = this.#desk.placesOf(view, nowMs)
    const { own, agent, demandBps } = this.#desk.agentOf(view, places, 'leader')
    if (this.#leader.isPlaying) this.#carryOut(this.#leader.handle({ kind: 'wake' }, nowMs))
    if (!this.#leader.isPlaying && nowMs >= this.#nextRoundMs && hasStock(view)) {
      // Rounds keep their beat, also when one began late.
      const sinceMs = Number.isFinite(this.#nextRoundMs) ? (nowMs - this.#nextRoundMs) % this.#roundMs : 0
      this.#nextRoundMs = nowMs - sinceMs + this.#roundMs
      this.#agent = agent
      const stock = this.#desk.stockOf(view)
      const { varianceBits2 } = this.#leader
      const row = sharedRow(stock, varianceBits2 > 0 ? spreadOf(stock, varianceBits2) : firstSpread(stock))
      const { budgetBits, riskPriceBits } = row
      const round = { leader: agent, demandBps, stock, budgetBits, riskPriceBits }
      this.#carryOut(this.#leader.handle({ kind: 'play', round }, nowMs))
    }
    return this.#desk.planOf(view, places, { own, share: this.#share })
  }

  #carryOut(effects: readonly LeaderEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          this.#desk.send(effect.to, effect.message)
          break
        case 'basis':
          this.#desk.tell({ name: 'game.basis', agent: effect.follower, basis: effect.basis })
          break
        case 'taken': {
          const { follower, round, keyBits, roundTripMs } = effect
          this.#desk.tell({ name: 'game.taken', agent: follower, round, keyBits, roundTripMs })
          break
        }
        case 'settled':
          this.#settled(effect)
      }
    }
  }

  #settled({ round, states, grants, bases, tookMs, share, budgetBits }: LeaderEffect & { kind: 'settled' }): void {
    if (this.#agent !== undefined) this.#desk.setStates(this.#agent, states)
    this.#share = share
    const count = (basis: string): number => [...bases.values()].filter((each) => each === basis).length
    this.#desk.tell({
      name: 'game.round',
      round,
      solver: this.#spec.solver,
      budgetBits,
      offers: count('offer'),
      lastOffers: count('lastOffer'),
      shares: count('share'),
      grants: [...grants].map(([id, bits]) => `${id} ${bits}`).join(', '),
      tookMs,
    })
  }
}

/** A distribution operator's scheduler: every tick the best states within the last grant, or within its floor. */
class FollowerPolicy implements Policy {
  readonly name: string
  readonly talk: CentreTalk
  readonly #desk: Desk
  readonly #spec: GameSpec
  readonly #seat: CentreSeat & { readonly kind: 'follower' }
  #follower: GrantFollower | undefined
  #agent: GameAgent | undefined

  constructor(options: LabGameOptions, seat: CentreSeat & { readonly kind: 'follower' }) {
    this.#desk = new Desk(options, seat)
    this.name = this.#desk.name
    this.#spec = options.spec
    this.#seat = seat
    this.talk = this.#desk.talk((from, message, nowMs) => {
      if (from !== this.#seat.leader || this.#follower === undefined) return
      this.#carryOut(this.#follower.handle({ kind: 'message', message }, nowMs))
    })
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const places = this.#desk.placesOf(view, nowMs)
    const { own, agent, demandBps } = this.#desk.agentOf(view, places, 'follower')
    const { share } = this.#seat
    if (hasStock(view)) {
      this.#agent = agent
      const now = { agent, demandBps, floor: this.#floorOf(view, agent) }
      this.#follower ??= this.#newFollower(now)
      this.#carryOut(this.#follower.handle({ kind: 'now', now }, nowMs))
    }
    return this.#desk.planOf(view, places, { own, share })
  }

  /** What is its own without a word of the leader: of the stock that it sees, the floor's part of its share by demand. */
  #floorOf(view: SchedulerView, agent: GameAgent) {
    const { solver, floorRatio } = this.#spec
    const isSplit = solver === 'equal' || solver === 'demand' || solver === 'social'
    const stock = scaled(this.#desk.stockOf(view), this.#seat.share * (isSplit ? 1 : floorRatio))
    const choices = agent.chains.map(({ id, options }) =>
      Math.max(
        0,
        options.findIndex(({ state }) => state === this.#desk.states.get(id)),
      ),
    )
    const { varianceBits2 } = demandOf(agent, choices)
    const { budgetBits, riskPriceBits } = sharedRow(
      stock,
      varianceBits2 > 0 ? spreadOf(stock, varianceBits2) : firstSpread(stock),
    )
    return { budgetBits, riskPriceBits }
  }

  #newFollower(now: ConstructorParameters<typeof GrantFollower>[1]): GrantFollower {
    const { roundS = ROUND_S, holdS = HOLD_S } = this.#spec
    const { agent: id } = this.#seat
    return new GrantFollower({ id, freshMs: FRESH_ROUNDS * roundS * 1000, holdMs: holdS * 1000 }, now)
  }

  #carryOut(effects: readonly FollowerEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          this.#desk.send(this.#seat.leader, effect.message)
          break
        case 'states':
          if (this.#agent !== undefined) this.#desk.setStates(this.#agent, effect.states)
          break
        case 'granted': {
          const { round, grantBits, waitMs } = effect
          this.#desk.tell({ name: 'game.grant', agent: this.#seat.agent, round, grantBits, waitMs })
          break
        }
        case 'basis':
          this.#desk.tell({ name: 'game.basis', agent: this.#seat.agent, basis: effect.basis })
      }
    }
  }
}

/** Before the pool was given its first key it is not empty but not there yet. */
function hasStock({ status }: SchedulerView): boolean {
  return status.capBits > 0 && status.books.generatedBits > 0
}

/** What an agent's chains take with the one-time pad, bit/s. */
function demandBpsOf({ chains }: AgentView): number {
  return chains.reduce((sum, chain) => sum + fullDemandBps(chain), 0)
}
