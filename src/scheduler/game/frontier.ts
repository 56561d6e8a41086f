import type { ChoiceClass } from './choice-class.ts'
import type { Choices, Options, TieRule } from './model.ts'

/**
 * A follower's integer answers: point i is its answer to every grant from `weights[i]` up to (not with) `weights[i + 1]`.
 * Weights rise and own losses fall strictly. Point 0 has the lightest options and answers smaller grants too.
 */
export type Frontier = {
  readonly weights: Float64Array
  readonly own: Float64Array
  readonly view: Float64Array
  /** The options of point i. */
  choices(i: number): Choices
}

/** Where the states of one stage came from: state of the stage before, and option taken. */
type Stage = { readonly chain: number; readonly parents: Int32Array; readonly picks: Uint8Array }

export type FrontierOptions = {
  /** Points with more key than this are not looked at: no grant can reach them. */
  readonly capBits: number
  readonly tie: TieRule
  /**
   * Leaves out points with own loss + price x key above `limit`. What is left is exact: a state that is as heavy and as
   * bad as one that is left out is left out itself.
   */
  readonly within?: { readonly price: number; readonly limit: number } | undefined
}

/** What rounding may add to a sum of losses and priced weights: far below the millionths that losses are counted in. */
const ROUNDING = 1e-3

/**
 * All integer answers of an agent, by a dynamic programme over Pareto lists of (key, own loss). Of answers with equal key
 * and equal loss the one that is best (optimistic) or worst (pessimistic) for the leader is kept.
 *
 * Exact: a state that is as heavy and as bad as another stays so whatever the other chains do, and sums of whole numbers
 * do not depend on their order.
 */
export function frontierOf(chains: readonly Options[], { capBits, tie, within }: FrontierOptions): Frontier {
  const sign = tie === 'optimistic' ? 1 : -1
  const { price, limit } = within ?? { price: 0, limit: Infinity }
  const { open, base, taken } = coresOf(chains, price, limit + ROUNDING)
  let rest = 0
  let restPriced = 0
  for (const { lightest, cheapest } of open) {
    rest += lightest
    restPriced += cheapest
  }
  const most = Math.max(
    capBits,
    chains.reduce((sum, { weights }) => sum + Math.min(...weights), 0),
  )
  let list: Columns = (base.weights[0] ?? 0) + rest <= most ? base : NO_STATES
  const stages: Stage[] = []
  const scratch = new Scratch()
  for (const core of open) {
    rest -= core.lightest
    restPriced -= core.cheapest
    const merged = merge(list, core, {
      mostBits: most - rest,
      price,
      mostPriced: limit + ROUNDING - restPriced,
      sign,
      scratch,
    })
    list = merged.list
    stages.push(merged.stage)
  }
  const choices = (i: number): Choices => {
    const all = [...taken]
    let now = i
    for (const { chain, parents, picks } of stages.toReversed()) {
      all[chain] = picks[now] ?? 0
      now = parents[now] ?? 0
    }
    return all
  }
  return { ...list, choices }
}

/** A chain with the options that a point may have. */
type Core = {
  readonly chain: number
  readonly options: readonly number[]
  readonly weights: readonly number[]
  readonly own: readonly number[]
  readonly view: readonly number[]
  readonly lightest: number
  /** Least own loss + price x key. */
  readonly cheapest: number
  /** What the next option costs more than that. */
  readonly step: number
}

/**
 * Leaves out options that are in no point with own loss + price x key within the limit. Chains with more than one option left are
 * open, those first whose other options cost most: few states to begin with. `base` are the sums of the other chains.
 */
function coresOf(
  chains: readonly Options[],
  price: number,
  limit: number,
): { readonly open: readonly Core[]; readonly base: Columns; readonly taken: readonly number[] } {
  const cheapest = chains.map(({ weights, own }) => leastPriced(weights, own, price))
  const slack = limit - cheapest.reduce((sum, least) => sum + least, 0)
  const open: Core[] = []
  const base = { weights: new Float64Array(1), own: new Float64Array(1), view: new Float64Array(1) }
  const taken = chains.map((options, chain) => {
    const core = coreOf(options, { chain, price, cheapest: cheapest[chain] ?? 0, slack })
    if (core.options.length > 1) open.push(core)
    else {
      base.weights[0] = (base.weights[0] ?? 0) + (core.weights[0] ?? 0)
      base.own[0] = (base.own[0] ?? 0) + (core.own[0] ?? 0)
      base.view[0] = (base.view[0] ?? 0) + (core.view[0] ?? 0)
    }
    return core.options[0] ?? 0
  })
  if (limit < Infinity) open.sort((a, b) => b.step - a.step)
  return { open, base, taken }
}

function coreOf(
  all: Options,
  given: { readonly chain: number; readonly price: number; readonly cheapest: number; readonly slack: number },
): Core {
  const { chain, price, cheapest, slack } = given
  const options: number[] = []
  const [weights, own, view]: [number[], number[], number[]] = [[], [], []]
  let lightest = Infinity
  let [least, step] = [Infinity, Infinity]
  for (let i = 0; i < all.weights.length; i++) {
    const weight = all.weights[i] ?? 0
    const loss = all.own[i] ?? 0
    const excess = loss + price * weight - cheapest
    if (excess > 0 && excess > slack) continue
    step = Math.min(step, Math.max(least, excess))
    least = Math.min(least, excess)
    options.push(i)
    weights.push(weight)
    own.push(loss)
    view.push(all.view[i] ?? 0)
    lightest = Math.min(lightest, weight)
  }
  return { chain, options, weights, own, view, lightest, cheapest, step }
}

function leastPriced(weights: Float64Array, own: Float64Array, price: number): number {
  let least = Infinity
  for (let i = 0; i < weights.length; i++) least = Math.min(least, (own[i] ?? 0) + price * (weights[i] ?? 0))
  return least
}

/** The point that answers a grant. */
export function answerTo({ weights }: Frontier, grantBits: number): number {
  let [low, high] = [0, weights.length - 1]
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if ((weights[mid] ?? 0) <= grantBits) low = mid
    else high = mid - 1
  }
  return low
}

/** The leader's choice of a grant as a class of items: the points from the answer to the floor upwards. */
export function grantClass(
  frontier: Frontier,
  floorBits: number,
): { readonly klass: ChoiceClass; readonly first: number } {
  const first = answerTo(frontier, floorBits)
  return { klass: { weights: frontier.weights.subarray(first), costs: frontier.view.subarray(first) }, first }
}

type Columns = { readonly weights: Float64Array; readonly own: Float64Array; readonly view: Float64Array }

const NO_STATES: Columns = { weights: new Float64Array(0), own: new Float64Array(0), view: new Float64Array(0) }

/** Where merged lists are put together before they are cut to size; grows as needed. */
class Scratch {
  weights = new Float64Array(0)
  own = new Float64Array(0)
  view = new Float64Array(0)
  parents = new Int32Array(0)
  picks = new Uint8Array(0)

  ensure(size: number): void {
    if (this.weights.length >= size) return
    const room = 2 * size
    this.weights = new Float64Array(room)
    this.own = new Float64Array(room)
    this.view = new Float64Array(room)
    this.parents = new Int32Array(room)
    this.picks = new Uint8Array(room)
  }
}

/** Every state with every option, in one pass over as many sorted runs as there are options. */
function merge(
  from: Columns,
  core: Core,
  bounds: {
    readonly mostBits: number
    readonly price: number
    readonly mostPriced: number
    readonly sign: number
    readonly scratch: Scratch
  },
): { readonly list: Columns; readonly stage: Stage } {
  const { mostBits, sign, scratch, price, mostPriced } = bounds
  const { options, weights: addW, own: addO, view: addV } = core
  const runs = options.length
  const n = from.weights.length
  scratch.ensure(n * runs)
  const { weights, own, view, parents, picks } = scratch
  const { weights: fromW, own: fromO, view: fromV } = from
  const heads = new Int32Array(runs)
  /** Weight at the head of each run. */
  const next = addW.map((weight) => (n > 0 ? (fromW[0] ?? 0) + weight : Infinity))
  let kept = 0
  let lastOwn = Infinity
  for (;;) {
    let run = 0
    let weight = next[0] ?? Infinity
    for (let r = 1; r < runs; r++) {
      const w = next[r] ?? Infinity
      if (w > weight || (w === weight && !before(r, run))) continue
      run = r
      weight = w
    }
    if (weight > mostBits || weight === Infinity) break
    const parent = heads[run] ?? 0
    heads[run] = parent + 1
    next[run] = parent + 1 < n ? (fromW[parent + 1] ?? 0) + (addW[run] ?? 0) : Infinity
    const loss = (fromO[parent] ?? 0) + (addO[run] ?? 0)
    if (loss >= lastOwn || loss + price * weight > mostPriced) continue
    lastOwn = loss
    weights[kept] = weight
    own[kept] = loss
    view[kept] = (fromV[parent] ?? 0) + (addV[run] ?? 0)
    parents[kept] = parent
    picks[kept] = options[run] ?? 0
    kept++
  }
  return {
    list: { weights: weights.slice(0, kept), own: own.slice(0, kept), view: view.slice(0, kept) },
    stage: { chain: core.chain, parents: parents.slice(0, kept), picks: picks.slice(0, kept) },
  }

  /** Of two heads of equal weight: less own loss first, then the leader's view as the tie rule says. */
  function before(a: number, b: number): boolean {
    const [i, k] = [heads[a] ?? 0, heads[b] ?? 0]
    const less = (fromO[i] ?? 0) + (addO[a] ?? 0) - (fromO[k] ?? 0) - (addO[b] ?? 0)
    if (less !== 0) return less < 0
    return sign * ((fromV[i] ?? 0) + (addV[a] ?? 0) - (fromV[k] ?? 0) - (addV[b] ?? 0)) < 0
  }
}
