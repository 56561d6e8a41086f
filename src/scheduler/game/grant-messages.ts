/** What control centres that share no memory say to each other when they play for key. */
import type { ChainState } from '../chain.ts'
import type { GameOption } from './model.ts'

/** One answer of a follower: what it takes, and what it and the leader then lose. */
export type OfferPoint = { readonly keyBits: number; readonly ownLoss: number; readonly leaderLoss: number }

/** What the leader must know of a follower: only its demand, its integer answers, or the options of its chains. */
export type OfferForm = 'demand' | 'points' | 'chains'

export type OfferAnswers =
  | { readonly form: 'demand' }
  | { readonly form: 'points'; readonly points: readonly OfferPoint[] }
  | { readonly form: 'chains'; readonly chains: readonly (readonly GameOption[])[] }

/** A follower's report. */
export type Offer = {
  /** What its chains would take with the one-time pad, bit/s. */
  readonly demandBps: number
  /** What they take at most over the window, at the risk price of the call, bits. */
  readonly mostBits: number
  /** Variance of the key that they are expected to take in their present states, bits squared. */
  readonly varianceBits2: number
  readonly answers: OfferAnswers
}

export type GrantMessage =
  /** Leader to followers: a round begins; no grant will be above `capBits`. */
  | {
      readonly kind: 'call'
      readonly round: number
      readonly asks: OfferForm
      readonly riskPriceBits: number
      readonly capBits: number
    }
  | { readonly kind: 'offer'; readonly round: number; readonly from: string; readonly offer: Offer }
  /** With `states` the follower does not choose: a planner has chosen for all. */
  | {
      readonly kind: 'grant'
      readonly round: number
      readonly to: string
      readonly grantBits: number
      readonly riskPriceBits: number
      readonly states?: readonly ChainState[]
    }
  /** The follower has its grant, and this is what it makes of it. */
  | {
      readonly kind: 'taken'
      readonly round: number
      readonly from: string
      readonly keyBits: number
      readonly varianceBits2: number
    }

/** Points, or chains, of an offer; longer ones are refused. */
export const MAX_OFFER_POINTS = 2_500
export const MAX_OFFER_CHAINS = 500
const MAX_OPTIONS = 32
/** Weights of options are below this. */
const MAX_BITS = 2 ** 31
/** Far above any weight of a chain times its window. */
const MAX_LOSS = 1e11

/**
 * Whether an offer may be planned with at a risk price: bounded, finite, and as points a frontier (key rising, own loss
 * falling).
 */
export function isOffer({ demandBps, mostBits, varianceBits2, answers }: Offer, riskPriceBits: number): boolean {
  if (![demandBps, mostBits, varianceBits2].every((value) => Number.isFinite(value) && value >= 0)) return false
  switch (answers.form) {
    case 'demand':
      return true
    case 'points':
      return isFrontier(answers.points)
    case 'chains':
      return (
        answers.chains.length <= MAX_OFFER_CHAINS &&
        answers.chains.every((options) => areOptions(options, riskPriceBits))
      )
  }
}

function isFrontier(points: readonly OfferPoint[]): boolean {
  if (points.length === 0 || points.length > MAX_OFFER_POINTS) return false
  let [lastKey, lastLoss] = [-1, Number.POSITIVE_INFINITY]
  for (const { keyBits, ownLoss, leaderLoss } of points) {
    if (!Number.isInteger(keyBits) || keyBits <= lastKey || keyBits >= MAX_BITS) return false
    if (!(ownLoss < lastLoss) || !isLoss(ownLoss) || !isLoss(leaderLoss)) return false
    ;[lastKey, lastLoss] = [keyBits, ownLoss]
  }
  return true
}

function isLoss(value: number): boolean {
  return Math.abs(value) <= MAX_LOSS
}

function areOptions(options: readonly GameOption[], riskPriceBits: number): boolean {
  if (options.length === 0 || options.length > MAX_OPTIONS) return false
  return options.every(({ meanBits, varianceBits2, ownLoss, leaderLoss }) => {
    const areBits = meanBits >= 0 && varianceBits2 >= 0 && meanBits + riskPriceBits * varianceBits2 < MAX_BITS - 1
    return areBits && isLoss(ownLoss) && isLoss(leaderLoss)
  })
}
