import { type Class, prepare } from './choice-class.ts'
import type { Choices, Options } from './model.ts'

/** One step of a follower's relaxed answer: chain `chain` goes from option `from` to option `to`. */
type Rung = {
  readonly chain: number
  readonly from: number
  readonly to: number
  readonly weight: number
  readonly gain: number
  /** Own loss saved by one bit: the multiplier lambda at which the step is taken. */
  readonly ratio: number
}

/**
 * The answers of a follower whose states are relaxed to fractions, for every grant: its KKT conditions (33), (34) solved
 * in closed form. With one budget row the answer climbs the steps of all chains' convex hulls by falling ratio; after
 * k whole steps it is integer, and then also the best integer answer to a grant of exactly its key.
 */
export type Ladder = {
  readonly rungs: readonly Rung[]
  /** The chains' options by key and own loss. */
  readonly classes: readonly Class[]
  /** Key, own loss and leader's view after k steps, k = 0..rungs. */
  readonly weights: Float64Array
  readonly own: Float64Array
  readonly view: Float64Array
  /** Options before the first step. */
  readonly base: Choices
  /** Options after k steps. */
  choices(k: number): Choices
  readonly pairCount: number
}

export function ladderOf(chains: readonly Options[]): Ladder {
  const rungs: Rung[] = []
  const classes: Class[] = []
  const base: number[] = []
  for (const [chain, options] of chains.entries()) {
    const prepared = prepare({ weights: options.weights, costs: options.own })
    const { items, weights, costs, hull } = prepared
    classes.push(prepared)
    base.push(items[hull[0] ?? 0] ?? 0)
    for (let h = 1; h < hull.length; h++) {
      const [a, b] = [hull[h - 1] ?? 0, hull[h] ?? 0]
      const weight = (weights[b] ?? 0) - (weights[a] ?? 0)
      const gain = (costs[a] ?? 0) - (costs[b] ?? 0)
      rungs.push({ chain, from: items[a] ?? 0, to: items[b] ?? 0, weight, gain, ratio: gain / weight })
    }
  }
  rungs.sort((a, b) => b.ratio - a.ratio)

  const first = { weights: 0, own: 0, view: 0 }
  for (const [chain, options] of chains.entries()) {
    const i = base[chain] ?? 0
    first.weights += options.weights[i] ?? 0
    first.own += options.own[i] ?? 0
    first.view += options.view[i] ?? 0
  }
  const n = rungs.length + 1
  const [weights, own, view] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)]
  ;[weights[0], own[0], view[0]] = [first.weights, first.own, first.view]
  for (const [k, { chain, from, to, weight, gain }] of rungs.entries()) {
    const options = chains[chain]
    weights[k + 1] = (weights[k] ?? 0) + weight
    own[k + 1] = (own[k] ?? 0) - gain
    view[k + 1] = (view[k] ?? 0) + (options?.view[to] ?? 0) - (options?.view[from] ?? 0)
  }
  const choices = (k: number): Choices => {
    const taken = [...base]
    for (const rung of rungs.slice(0, k)) taken[rung.chain] = rung.to
    return taken
  }
  const pairCount = chains.reduce((sum, options) => sum + options.weights.length, 1)
  return { rungs, classes, weights, own, view, base, choices, pairCount }
}

/** Between which steps an option of a chain is the chosen one, for each that ever is: after `enter`, up to `leave`. */
type Span = { readonly enter: number; leave: number }

function spansOf({ rungs, base }: Ladder): readonly Span[] {
  const last: Span[] = base.map(() => ({ enter: -1, leave: rungs.length }))
  const spans = [...last]
  for (const [k, { chain }] of rungs.entries()) {
    const left = last[chain]
    if (left !== undefined) left.leave = k
    const span = { enter: k, leave: rungs.length }
    last[chain] = span
    spans.push(span)
  }
  return spans
}

/** Whole steps that fit a grant. */
export function stepsWithin({ weights }: Ladder, grantBits: number): number {
  let k = 0
  while (k + 1 < weights.length && (weights[k + 1] ?? 0) <= grantBits) k++
  return k
}

/** Multiplier of the grant after k whole steps: between the last step taken and the next. */
export function multiplierAt({ rungs }: Ladder, k: number): number {
  const next = rungs[k]?.ratio ?? 0
  const last = rungs[k - 1]?.ratio ?? next
  return k === rungs.length ? 0 : (last + next) / 2
}

/** Own loss of the relaxed answer to a grant. */
export function relaxedLoss({ rungs, weights, own }: Ladder, grantBits: number): number {
  let k = 0
  while (k + 1 < weights.length && (weights[k + 1] ?? 0) <= grantBits) k++
  const left = Math.max(0, grantBits - (weights[k] ?? 0))
  return (own[k] ?? 0) - left * (rungs[k]?.ratio ?? 0)
}

/** Range of steps between which no pruned complementarity pair changes its side. */
export type Window = { readonly low: number; readonly high: number; readonly kept: number }

/**
 * Keeps the share `pairsKept` of a follower's complementarity pairs (y_lm against its reduced cost, and the grant's slack
 * against its multiplier) that are nearest to changing sides, by how far the multiplier must move; the others are held on
 * the side they have after k steps. What the kept pairs' indicators can still say is then a range of steps.
 */
export function windowOf(ladder: Ladder, k: number, pairsKept: number): Window {
  const { rungs, pairCount } = ladder
  const now = multiplierAt(ladder, k)
  const farness = (rung: number): number => {
    const ratio = rungs[rung]?.ratio ?? 0
    return Math.abs(ratio - now) / Math.max(ratio, now, Number.MIN_VALUE)
  }
  const pairs: { readonly far: number; readonly low: number; readonly high: number }[] = []
  for (const { enter, leave } of spansOf(ladder)) {
    if (k <= enter) pairs.push({ far: farness(enter), low: 0, high: enter })
    else if (k > leave) pairs.push({ far: farness(leave), low: leave + 1, high: rungs.length })
    else {
      const back = enter === -1 ? Infinity : farness(enter)
      const on = leave === rungs.length ? Infinity : farness(leave)
      pairs.push({ far: Math.min(back, on), low: enter + 1, high: leave })
    }
  }
  pairs.sort((a, b) => a.far - b.far)
  // Options off the hull and the slack of the grant never change sides within the range: they are pruned first, freely.
  const kept = Math.min(pairs.length, Math.ceil(pairsKept * pairCount))
  let [low, high] = [0, rungs.length]
  for (const pair of pairs.slice(kept)) {
    low = Math.max(low, pair.low)
    high = Math.min(high, pair.high)
  }
  return { low: Math.min(low, k), high: Math.max(high, k), kept }
}
