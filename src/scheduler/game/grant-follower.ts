import type { Node, Wake } from '../../runtime/contract.ts'
import type { ChainState } from '../chain.ts'
import { answerTo, type Frontier, frontierOf } from './frontier.ts'
import {
  type GrantMessage,
  MAX_OFFER_CHAINS,
  MAX_OFFER_POINTS,
  type Offer,
  type OfferAnswers,
} from './grant-messages.ts'
import { bitsOf, type Choices, compileChains, demandOf, type GameAgent, LOSS_STEPS, mostBitsOf } from './model.ts'

/** A right to key, and the price at which the key of an option is counted. */
export type Budget = { readonly budgetBits: number; readonly riskPriceBits: number }

/** The follower's chains with their options as of now, and what it keeps to when no grant has come for long. */
export type FollowerNow = { readonly agent: GameAgent; readonly demandBps: number; readonly floor: Budget }

export type FollowerInput =
  | { readonly kind: 'now'; readonly now: FollowerNow }
  | { readonly kind: 'message'; readonly message: GrantMessage }

/** What a follower's states rest on: a grant of this round or the last, an older one, or its floor. */
export type FollowerBasis = 'grant' | 'lastGrant' | 'floor'

export type FollowerEffect =
  | { readonly kind: 'send'; readonly message: GrantMessage }
  /** States for the chains of the agent, in their order. */
  | { readonly kind: 'states'; readonly states: readonly ChainState[] }
  /** A grant has come, `waitMs` after the offer that it answers. */
  | { readonly kind: 'granted'; readonly round: number; readonly grantBits: number; readonly waitMs: number }
  | { readonly kind: 'basis'; readonly basis: FollowerBasis }

export type FollowerOptions = {
  readonly id: string
  /** Age up to which a grant is fresh, ms. */
  readonly freshMs: number
  /** Age from which a grant counts no longer, ms. */
  readonly holdMs: number
}

type Grant = GrantMessage & { readonly kind: 'grant' }

/**
 * A distribution operator's side. It answers calls with offers, and sets within its last grant whatever loses it least; when
 * grants stop it goes on within the last one, and after `holdMs` within its floor. Messages may be lost, late or repeated.
 */
export class GrantFollower implements Node<FollowerInput, FollowerEffect> {
  readonly wakeAtMs = undefined
  readonly #options: FollowerOptions
  #now: FollowerNow
  #offered: { readonly round: number; readonly atMs: number } | undefined
  #grant: { readonly message: Grant; readonly atMs: number } | undefined
  #basis: FollowerBasis = 'floor'
  #varianceBits2 = 0

  constructor(options: FollowerOptions, now: FollowerNow) {
    this.#options = options
    this.#now = now
  }

  handle(input: FollowerInput | Wake, nowMs: number): readonly FollowerEffect[] {
    switch (input.kind) {
      case 'now':
        this.#now = input.now
        return this.#answer(nowMs)
      case 'message':
        if (input.message.kind === 'call') return this.#offer(input.message, nowMs)
        if (input.message.kind === 'grant') return this.#take(input.message, nowMs)
        return []
      case 'wake':
        return []
    }
  }

  #offer({ round, asks, riskPriceBits, capBits }: GrantMessage & { kind: 'call' }, nowMs: number): FollowerEffect[] {
    if (this.#offered !== undefined && round <= this.#offered.round) return []
    this.#offered = { round, atMs: nowMs }
    const { agent, demandBps } = this.#now
    const offer: Offer = {
      demandBps,
      mostBits: mostBitsOf(agent, riskPriceBits),
      varianceBits2: this.#varianceBits2,
      answers: answersOf(agent, asks, { capBits, riskPriceBits }),
    }
    return [{ kind: 'send', message: { kind: 'offer', round, from: this.#options.id, offer } }]
  }

  #take(message: Grant, nowMs: number): FollowerEffect[] {
    // Only for what was offered last: that is one grant a round, and none of a round before.
    if (message.to !== this.#options.id || message.round !== this.#offered?.round) return []
    if (this.#grant?.message.round === message.round && this.#grant.atMs >= this.#offered.atMs) return []
    const { round, grantBits, riskPriceBits } = message
    this.#grant = { message, atMs: nowMs }
    const effects = this.#answer(nowMs)
    const { agent } = this.#now
    const states = effects.find((effect) => effect.kind === 'states')?.states ?? []
    const keyBits = bitsOf(agent, choicesOf(agent, states), riskPriceBits)
    return [
      { kind: 'granted', round, grantBits, waitMs: nowMs - this.#offered.atMs },
      ...effects,
      {
        kind: 'send',
        message: { kind: 'taken', round, from: this.#options.id, keyBits, varianceBits2: this.#varianceBits2 },
      },
    ]
  }

  #answer(nowMs: number): FollowerEffect[] {
    const { agent, floor } = this.#now
    const ageMs = nowMs - (this.#grant?.atMs ?? Number.NEGATIVE_INFINITY)
    const basis: FollowerBasis =
      ageMs <= this.#options.freshMs ? 'grant' : ageMs <= this.#options.holdMs ? 'lastGrant' : 'floor'
    const isNew = basis !== this.#basis
    this.#basis = basis
    const grant = basis === 'floor' ? undefined : this.#grant?.message
    const choices =
      grant?.states?.length === agent.chains.length
        ? choicesOf(agent, grant.states)
        : bestWithin(agent, grant === undefined ? floor : { ...grant, budgetBits: grant.grantBits })
    this.#varianceBits2 = demandOf(agent, choices).varianceBits2
    const states = agent.chains.map(({ options }, l) => options[choices[l] ?? 0]?.state ?? 0)
    const effects: FollowerEffect[] = isNew ? [{ kind: 'basis', basis }] : []
    return [...effects, { kind: 'states', states }]
  }
}

/** The answer of least own loss that fits; of equal ones the one with less key, then the leader's choice. */
export function bestWithin(agent: GameAgent, { budgetBits, riskPriceBits }: Budget): Choices {
  const frontier = frontierWithin(agent, { capBits: Math.max(0, Math.floor(budgetBits)), riskPriceBits })
  return frontier.choices(answerTo(frontier, Math.max(0, budgetBits)))
}

type Reach = { readonly capBits: number; readonly riskPriceBits: number }

function frontierWithin(agent: GameAgent, { capBits, riskPriceBits }: Reach): Frontier {
  const chains = compileChains(agent, riskPriceBits, ({ leaderLoss }) => leaderLoss)
  return frontierOf(chains, { capBits, tie: 'optimistic' })
}

function answersOf(agent: GameAgent, asks: OfferAnswers['form'], reach: Reach): OfferAnswers {
  if (asks === 'demand') return { form: 'demand' }
  if (asks === 'chains') {
    return { form: 'chains', chains: agent.chains.slice(0, MAX_OFFER_CHAINS).map(({ options }) => options) }
  }
  const frontier = frontierWithin(agent, reach)
  const points = Array.from(frontier.weights, (keyBits, i) => ({
    keyBits,
    ownLoss: (frontier.own[i] ?? 0) / LOSS_STEPS,
    leaderLoss: (frontier.view[i] ?? 0) / LOSS_STEPS,
  }))
  return { form: 'points', points: thinned(points) }
}

/** So many points as an offer may have, evenly, the first and the last among them: a coarser frontier, but a true one. */
function thinned<T>(points: readonly T[]): readonly T[] {
  if (points.length <= MAX_OFFER_POINTS) return points
  const step = (points.length - 1) / (MAX_OFFER_POINTS - 1)
  return Array.from({ length: MAX_OFFER_POINTS }, (_, i) => points[Math.round(i * step)]).flatMap((point) =>
    point === undefined ? [] : [point],
  )
}

function choicesOf({ chains }: GameAgent, states: readonly ChainState[]): Choices {
  return chains.map(({ options }, l) =>
    Math.max(
      0,
      options.findIndex(({ state }) => state === states[l]),
    ),
  )
}
