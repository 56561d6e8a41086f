import type { Node, Wake } from '../../runtime/contract.ts'
import type { ChainState } from '../chain.ts'
import type { ChanceInput } from './chance.ts'
import { bestWithin } from './grant-follower.ts'
import { type GrantMessage, isOffer, type Offer, type OfferForm } from './grant-messages.ts'
import { demandOf, type GameAgent, GameError } from './model.ts'

/** Rounds are farther apart than this, ms. */
const SHORTEST_ROUND_MS = 10

/** What the leader plays a round with. */
export type LeaderRound = {
  readonly leader: GameAgent
  /** What its chains would take with the one-time pad, bit/s. */
  readonly demandBps: number
  /** What the pool promises for the window. */
  readonly stock: ChanceInput
  readonly budgetBits: number
  readonly riskPriceBits: number
}

/** A follower at the table of a round. */
export type Seat = Offer & {
  readonly id: string
  /** Part of the budget that is its share by demand. */
  readonly share: number
  /** Least grant, bits. */
  readonly floorBits: number
}

/** What a solver is given: the leader's chains, those followers of which there is an offer, and the key that is theirs together. */
export type RoundTable = Omit<LeaderRound, 'demandBps'> & {
  readonly seats: readonly Seat[]
  /** The leader's share of the budget by demand. */
  readonly share: number
  /** Of the whole game, those without an offer among them. */
  readonly agents: number
}

export type SeatGrant = {
  readonly grantBits: number
  readonly riskPriceBits: number
  readonly states?: readonly ChainState[]
}

export type RoundResult = {
  /** Of the leader's chains, in their order. */
  readonly states: readonly ChainState[]
  /** Of each seat. */
  readonly grants: readonly SeatGrant[]
}

/** How a round is settled. */
export type RoundSolver = {
  readonly asks: OfferForm
  /** phi: least grant, of a share by demand. */
  readonly floorRatio: number
  solve(table: RoundTable): RoundResult
}

export type LeaderInput =
  | { readonly kind: 'play'; readonly round: LeaderRound }
  | { readonly kind: 'message'; readonly message: GrantMessage }

/** What the leader's plan for a follower rests on: an offer of the round, an older one, or its share by demand. */
export type LeaderBasis = 'offer' | 'lastOffer' | 'share'

export type LeaderEffect =
  | { readonly kind: 'send'; readonly to: string; readonly message: GrantMessage }
  | {
      readonly kind: 'settled'
      readonly round: number
      /** Of the leader's chains, in their order. */
      readonly states: readonly ChainState[]
      readonly grants: ReadonlyMap<string, number>
      readonly bases: ReadonlyMap<string, LeaderBasis>
      /** The leader's part of all demand. */
      readonly share: number
      readonly budgetBits: number
      /** Since the call. */
      readonly tookMs: number
    }
  | { readonly kind: 'basis'; readonly follower: string; readonly basis: LeaderBasis }
  /** A follower has confirmed its grant. */
  | {
      readonly kind: 'taken'
      readonly follower: string
      readonly round: number
      readonly keyBits: number
      readonly roundTripMs: number
    }

export type LeaderOptions = {
  /** With what each would take with the one-time pad, bit/s: what is known before it has spoken. */
  readonly followers: readonly { readonly id: string; readonly demandBps: number }[]
  /** How long offers may take; a round is then settled without those that are missing. */
  readonly patienceMs: number
  /** Rounds for which an offer stands when no newer one comes. */
  readonly keepRounds: number
  readonly solver: RoundSolver
}

type Follower = {
  readonly id: string
  demandBps: number
  offer: Offer | undefined
  /** Round of the offer. */
  round: number
  varianceBits2: number
  basis: LeaderBasis
  grantedAtMs: number
}

/**
 * The transmission operator's side. A round: it calls with the risk price of the tick, each follower offers, the leader's
 * solver sets its own states and the grants, each follower sets its states within its grant. For a follower that is silent the
 * last offer stands, and when that is too old its share by demand is set aside.
 */
export class GrantLeader implements Node<LeaderInput, LeaderEffect> {
  wakeAtMs: number | undefined
  readonly #options: LeaderOptions
  readonly #followers: ReadonlyMap<string, Follower>
  #number = 0
  #round: (LeaderRound & { readonly atMs: number }) | undefined
  #ownVarianceBits2 = 0

  constructor(options: LeaderOptions) {
    this.#options = options
    this.#followers = new Map(
      options.followers.map(({ id, demandBps }) => {
        const nothing = { offer: undefined, round: 0, varianceBits2: 0, basis: 'share', grantedAtMs: 0 } as const
        return [id, { id, demandBps, ...nothing }]
      }),
    )
  }

  /** A round has been called and not been settled. */
  get isPlaying(): boolean {
    return this.#round !== undefined
  }

  /** Variance of the key that all agents are expected to take, as far as they have told; bits squared. */
  get varianceBits2(): number {
    return [...this.#followers.values()].reduce((sum, { varianceBits2 }) => sum + varianceBits2, this.#ownVarianceBits2)
  }

  handle(input: LeaderInput | Wake, nowMs: number): readonly LeaderEffect[] {
    switch (input.kind) {
      case 'play':
        return this.#play(input.round, nowMs)
      case 'message':
        return this.#take(input.message, nowMs)
      case 'wake':
        return this.#round !== undefined && nowMs >= (this.wakeAtMs ?? Number.POSITIVE_INFINITY)
          ? this.#settle(this.#round, nowMs)
          : []
    }
  }

  #play(round: LeaderRound, nowMs: number): readonly LeaderEffect[] {
    // Lab time goes on over a restart, and so do the numbers of rounds.
    this.#number = this.#number === 0 ? 1 + Math.ceil(nowMs / SHORTEST_ROUND_MS) : this.#number + 1
    this.#round = { ...round, atMs: nowMs }
    if (this.#followers.size === 0) return this.#settle(this.#round, nowMs)
    this.wakeAtMs = nowMs + this.#options.patienceMs
    const { riskPriceBits, budgetBits } = round
    const { asks } = this.#options.solver
    const message = { kind: 'call' as const, round: this.#number, asks, riskPriceBits, capBits: budgetBits }
    return [...this.#followers.keys()].map((to) => ({ kind: 'send', to, message }))
  }

  #take(message: GrantMessage, nowMs: number): readonly LeaderEffect[] {
    if (message.kind === 'offer') {
      this.#note(message)
      const isComplete = [...this.#followers.values()].every(({ offer, round }) => offer && round === this.#number)
      return this.#round !== undefined && isComplete ? this.#settle(this.#round, nowMs) : []
    }
    const follower = message.kind === 'taken' ? this.#followers.get(message.from) : undefined
    if (message.kind !== 'taken' || follower === undefined || message.round !== this.#number) return []
    if (this.#round !== undefined || !(message.varianceBits2 >= 0 && Number.isFinite(message.varianceBits2))) return []
    follower.varianceBits2 = message.varianceBits2
    const { round, keyBits } = message
    return [{ kind: 'taken', follower: follower.id, round, keyBits, roundTripMs: nowMs - follower.grantedAtMs }]
  }

  #note({ round, from, offer }: GrantMessage & { kind: 'offer' }): void {
    const follower = this.#followers.get(from)
    if (this.#round === undefined || follower === undefined || round !== this.#number) return
    if (offer.answers.form !== this.#options.solver.asks || !isOffer(offer, this.#round.riskPriceBits)) return
    Object.assign(follower, { offer, round, demandBps: offer.demandBps, varianceBits2: offer.varianceBits2 })
  }

  #settle(round: LeaderRound & { readonly atMs: number }, nowMs: number): readonly LeaderEffect[] {
    this.#round = undefined
    this.wakeAtMs = undefined
    const { leader, budgetBits, riskPriceBits } = round
    const { solver } = this.#options
    const shareOf = this.#shares(round.demandBps)
    const effects: LeaderEffect[] = []
    const seats: Seat[] = []
    const bases = new Map<string, LeaderBasis>()
    const grants = new Map<string, number>()
    let leftBits = budgetBits
    for (const follower of this.#followers.values()) {
      const { id, offer } = follower
      const basis = this.#basisOf(follower)
      if (basis !== follower.basis) effects.push({ kind: 'basis', follower: id, basis })
      follower.basis = basis
      bases.set(id, basis)
      const share = shareOf(follower.demandBps)
      if (offer === undefined || basis === 'share') {
        const grantBits = Math.floor(share * budgetBits)
        leftBits -= grantBits
        effects.push(this.#grant(follower, { grantBits, riskPriceBits }, nowMs))
        grants.set(id, grantBits)
      } else {
        const floorBits = Math.min(offer.mostBits, Math.floor(solver.floorRatio * share * budgetBits))
        seats.push({ ...offer, id, share, floorBits })
      }
    }
    const share = shareOf(round.demandBps)
    const agents = this.#followers.size + 1
    const result = this.#solve({
      leader,
      seats,
      share,
      agents,
      stock: round.stock,
      budgetBits: leftBits,
      riskPriceBits,
    })
    for (const [j, { id }] of seats.entries()) {
      const follower = this.#followers.get(id)
      const grant = result.grants[j]
      if (follower === undefined || grant === undefined) continue
      grants.set(id, grant.grantBits)
      effects.push(this.#grant(follower, grant, nowMs))
    }
    const choices = leader.chains.map(({ options }, l) =>
      Math.max(
        0,
        options.findIndex(({ state }) => state === result.states[l]),
      ),
    )
    this.#ownVarianceBits2 = demandOf(leader, choices).varianceBits2
    const tookMs = nowMs - round.atMs
    const { states } = result
    return [...effects, { kind: 'settled', round: this.#number, states, grants, bases, share, budgetBits, tookMs }]
  }

  /** What the solver says; where offers admit no solution, everybody goes alone in a share by demand. */
  #solve(table: RoundTable): RoundResult {
    try {
      return this.#options.solver.solve(table)
    } catch (error) {
      if (!(error instanceof GameError)) throw error
      const { leader, seats, share, budgetBits, riskPriceBits } = table
      const choices = bestWithin(leader, { budgetBits: share * budgetBits, riskPriceBits })
      return {
        states: leader.chains.map(({ options }, l) => options[choices[l] ?? 0]?.state ?? 0),
        grants: seats.map((seat) => ({ grantBits: Math.floor(seat.share * budgetBits), riskPriceBits })),
      }
    }
  }

  #grant(follower: Follower, grant: SeatGrant, nowMs: number): LeaderEffect {
    follower.grantedAtMs = nowMs
    const { id: to } = follower
    return { kind: 'send', to, message: { kind: 'grant', round: this.#number, to, ...grant } }
  }

  #basisOf({ offer, round }: Follower): LeaderBasis {
    if (offer === undefined || this.#number - round > this.#options.keepRounds) return 'share'
    return round === this.#number ? 'offer' : 'lastOffer'
  }

  /** Part of all demand with the one-time pad. */
  #shares(ownBps: number): (demandBps: number) => number {
    const all = [...this.#followers.values()].reduce((sum, { demandBps }) => sum + demandBps, ownBps)
    return (demandBps) => (all > 0 ? demandBps / all : 1 / (this.#followers.size + 1))
  }
}
