/**
 * The game between control centres that share no memory: a leader and followers as pure state machines that exchange
 * messages. A round: the leader calls with the risk price of the tick; each follower offers its integer answers as points
 * of key and loss; the leader solves the knapsack over its own chains and the offers and grants; each follower takes the
 * states of its answer. With all offers in, the outcome is that of `solveExact`.
 *
 * Messages are plain data and may be lost, late or repeated. A follower without a new grant keeps its states; for a
 * follower without an offer the leader sets aside what it granted it last.
 */
import type { Node, Wake } from '../../runtime/contract.ts'
import type { ChainState } from '../chain.ts'
import { solveChoice } from './choice.ts'
import { answerTo, type Frontier, frontierOf, grantClass } from './frontier.ts'
import { compileChains, type GameAgent, GameError, LOSS_STEPS } from './model.ts'

/** One answer of a follower: what it takes, and what it and the leader then lose. */
export type OfferPoint = { readonly keyBits: number; readonly ownLoss: number; readonly leaderLoss: number }

export type GrantMessage =
  /** Leader to followers: a round begins; no grant will be above `capBits`. */
  | { readonly kind: 'call'; readonly round: number; readonly riskPriceBits: number; readonly capBits: number }
  | { readonly kind: 'offer'; readonly round: number; readonly from: string; readonly points: readonly OfferPoint[] }
  | { readonly kind: 'grant'; readonly round: number; readonly to: string; readonly grantBits: number }

/** Offers longer than this are refused; a follower of 60 chains has about a thousand points. */
const MAX_POINTS = 20_000

export type GrantEffect =
  | { readonly kind: 'send'; readonly message: GrantMessage }
  /** States for the chains of the agent, in their order. */
  | { readonly kind: 'states'; readonly round: number; readonly states: readonly ChainState[] }

export type FollowerInput =
  /** The follower's chains with their options as of now. */
  { readonly kind: 'agent'; readonly agent: GameAgent } | { readonly kind: 'message'; readonly message: GrantMessage }

/** A distribution operator's side. */
export class GrantFollower implements Node<FollowerInput, GrantEffect> {
  readonly wakeAtMs = undefined
  #agent: GameAgent
  #offered: { readonly round: number; readonly agent: GameAgent; readonly frontier: Frontier } | undefined

  constructor(agent: GameAgent) {
    this.#agent = agent
  }

  handle(input: FollowerInput | Wake): readonly GrantEffect[] {
    if (input.kind === 'agent') this.#agent = input.agent
    if (input.kind !== 'message') return []
    const { message } = input
    if (message.kind === 'call') return this.#offer(message)
    if (message.kind === 'grant' && message.to === this.#agent.id) return this.#take(message)
    return []
  }

  #offer({ round, riskPriceBits, capBits }: GrantMessage & { kind: 'call' }): readonly GrantEffect[] {
    if (this.#offered !== undefined && round <= this.#offered.round) return []
    const agent = this.#agent
    const chains = compileChains(agent, riskPriceBits, ({ leaderLoss }) => leaderLoss)
    const frontier = frontierOf(chains, { capBits, tie: 'optimistic' })
    this.#offered = { round, agent, frontier }
    const points = Array.from(frontier.weights, (keyBits, i) => ({
      keyBits,
      ownLoss: (frontier.own[i] ?? 0) / LOSS_STEPS,
      leaderLoss: (frontier.view[i] ?? 0) / LOSS_STEPS,
    }))
    return [{ kind: 'send', message: { kind: 'offer', round, from: agent.id, points } }]
  }

  #take({ round, grantBits }: GrantMessage & { kind: 'grant' }): readonly GrantEffect[] {
    if (this.#offered?.round !== round) return []
    const { agent, frontier } = this.#offered
    const choices = frontier.choices(answerTo(frontier, grantBits))
    const states = agent.chains.map(({ options }, l) => options[choices[l] ?? 0]?.state ?? 0)
    return [{ kind: 'states', round, states }]
  }
}

/** What the leader plays a round with. */
export type LeaderRound = {
  readonly leader: GameAgent
  /** Floor of each follower, bits, in the order of the leader's followers. */
  readonly floorsBits: readonly number[]
  readonly followerWeight: number
  readonly budgetBits: number
  readonly riskPriceBits: number
}

export type LeaderInput =
  | { readonly kind: 'play'; readonly round: LeaderRound }
  | { readonly kind: 'message'; readonly message: GrantMessage }

/** The transmission operator's side. */
export class GrantLeader implements Node<LeaderInput, GrantEffect> {
  wakeAtMs: number | undefined
  readonly #followers: readonly string[]
  readonly #patienceMs: number
  #number = 0
  #round: LeaderRound | undefined
  #offers = new Map<string, Frontier>()
  readonly #lastGrants = new Map<string, number>()

  /** @param patienceMs how long offers may take; a round is then settled without those that are missing */
  constructor(followers: readonly string[], patienceMs: number) {
    this.#followers = followers
    this.#patienceMs = patienceMs
  }

  handle(input: LeaderInput | Wake, nowMs: number): readonly GrantEffect[] {
    switch (input.kind) {
      case 'play': {
        const { riskPriceBits, budgetBits } = input.round
        this.#number++
        this.#round = input.round
        this.#offers = new Map()
        if (this.#followers.length === 0) return this.#settle()
        this.wakeAtMs = nowMs + this.#patienceMs
        const call = { kind: 'call' as const, round: this.#number, riskPriceBits, capBits: budgetBits }
        return [{ kind: 'send', message: call }]
      }
      case 'message':
        this.#note(input.message)
        return this.#round !== undefined && this.#offers.size === this.#followers.length ? this.#settle() : []
      case 'wake':
        return this.#round !== undefined && nowMs >= (this.wakeAtMs ?? Infinity) ? this.#settle() : []
    }
  }

  #note(message: GrantMessage): void {
    if (this.#round === undefined || message.kind !== 'offer' || message.round !== this.#number) return
    if (!this.#followers.includes(message.from)) return
    const frontier = frontierOfPoints(message.points, this.#round.followerWeight)
    if (frontier !== undefined) this.#offers.set(message.from, frontier)
  }

  #settle(): readonly GrantEffect[] {
    const round = this.#round
    if (round === undefined) return []
    this.#round = undefined
    this.wakeAtMs = undefined
    const { leader, floorsBits, budgetBits, riskPriceBits } = round
    const own = compileChains(leader, riskPriceBits, ({ ownLoss, leaderLoss }) => ownLoss + leaderLoss)
    const grants = this.#followers.map((id, j) => {
      const frontier = this.#offers.get(id)
      const floor = Math.floor(floorsBits[j] ?? 0)
      return {
        id,
        frontier,
        floor,
        ...(frontier === undefined ? this.#setAside(id, floor) : grantClass(frontier, floor)),
      }
    })
    const found = solveChoice(
      [...own.map(({ weights, view }) => ({ weights, costs: view })), ...grants.map(({ klass }) => klass)],
      Math.floor(budgetBits),
    )
    if (found === undefined) throw new GameError(`no states of ${leader.id} fit beside the grants`)
    const effects: GrantEffect[] = []
    for (const [j, { id, frontier, floor, first }] of grants.entries()) {
      if (frontier === undefined) continue
      const point = first + (found.choice[own.length + j] ?? 0)
      const grantBits = Math.max(floor, frontier.weights[point] ?? 0)
      this.#lastGrants.set(id, grantBits)
      effects.push({ kind: 'send', message: { kind: 'grant', round: this.#number, to: id, grantBits } })
    }
    const states = leader.chains.map(({ options }, l) => options[found.choice[l] ?? 0]?.state ?? 0)
    return [...effects, { kind: 'states', round: this.#number, states }]
  }

  /** One item: a follower that is silent goes on with what it has. */
  #setAside(id: string, floor: number) {
    const weights = Float64Array.of(this.#lastGrants.get(id) ?? floor)
    return { klass: { weights, costs: Float64Array.of(0) }, first: 0 }
  }
}

/** An offer as the leader sees it; undefined when it is no frontier: bounded, finite, key rising and own loss falling. */
function frontierOfPoints(points: readonly OfferPoint[], followerWeight: number): Frontier | undefined {
  if (points.length === 0 || points.length > MAX_POINTS) return undefined
  let [lastKey, lastLoss] = [-1, Infinity]
  for (const { keyBits, ownLoss, leaderLoss } of points) {
    if (!Number.isInteger(keyBits) || keyBits <= lastKey || keyBits >= 2 ** 31) return undefined
    if (!(ownLoss < lastLoss) || !Number.isFinite(leaderLoss) || !Number.isFinite(ownLoss)) return undefined
    ;[lastKey, lastLoss] = [keyBits, ownLoss]
  }
  return {
    weights: Float64Array.from(points, ({ keyBits }) => keyBits),
    own: Float64Array.from(points, ({ ownLoss }) => Math.round(ownLoss * LOSS_STEPS)),
    view: Float64Array.from(points, ({ ownLoss, leaderLoss }) =>
      Math.round((followerWeight * ownLoss + leaderLoss) * LOSS_STEPS),
    ),
    choices: () => [],
  }
}
