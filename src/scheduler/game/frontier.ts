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
  const history = new History()
  let [from, to] = [new States(), new States()]
  let count = base.weight + rest <= most ? 1 : 0
  from.ensure(1)
  from.set(0, base)
  for (const core of open) {
    rest -= core.lightest
    restPriced -= core.cheapest
    const bounds = { mostBits: most - rest, price, mostPriced: limit + ROUNDING - restPriced, sign }
    history.begin(count * core.options.length)
    to.ensure(count * core.options.length)
    count = merge({ from, count, to, history }, core, bounds)
    history.end(count)
    ;[from, to] = [to, from]
  }
  const choices = (i: number): Choices => {
    const all = [...taken]
    let now = i
    for (let s = open.length - 1; s >= 0; s--) {
      all[open[s]?.chain ?? 0] = history.pick(s, now)
      now = history.parent(s, now)
    }
    return all
  }
  return {
    weights: from.weights.slice(0, count),
    own: from.own.slice(0, count),
    view: from.view.slice(0, count),
    choices,
  }
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
): { readonly open: readonly Core[]; readonly base: Sums; readonly taken: readonly number[] } {
  const cheapest = chains.map(({ weights, own }) => leastPriced(weights, own, price))
  const slack = limit - cheapest.reduce((sum, least) => sum + least, 0)
  const open: Core[] = []
  const base = { weight: 0, own: 0, view: 0 }
  const taken = chains.map((options, chain) => {
    const least = cheapest[chain] ?? 0
    const isIn = (i: number): boolean => {
      const excess = (options.own[i] ?? 0) + price * (options.weights[i] ?? 0) - least
      return excess <= 0 || excess <= slack
    }
    let [only, count] = [0, 0]
    for (let i = 0; i < options.weights.length; i++) {
      if (!isIn(i)) continue
      only = i
      count++
    }
    if (count > 1) open.push(coreOf(options, { chain, price, cheapest: least, isIn }))
    else {
      base.weight += options.weights[only] ?? 0
      base.own += options.own[only] ?? 0
      base.view += options.view[only] ?? 0
    }
    return only
  })
  if (limit < Infinity) open.sort((a, b) => b.step - a.step)
  return { open, base, taken }
}

function coreOf(
  all: Options,
  given: {
    readonly chain: number
    readonly price: number
    readonly cheapest: number
    readonly isIn: (option: number) => boolean
  },
): Core {
  const { chain, price, cheapest, isIn } = given
  const options = [...all.weights.keys()].filter(isIn)
  const weights = options.map((i) => all.weights[i] ?? 0)
  const own = options.map((i) => all.own[i] ?? 0)
  const view = options.map((i) => all.view[i] ?? 0)
  let [least, step] = [Infinity, Infinity]
  for (const [k, loss] of own.entries()) {
    const excess = loss + price * (weights[k] ?? 0) - cheapest
    step = Math.min(step, Math.max(least, excess))
    least = Math.min(least, excess)
  }
  return { chain, options, weights, own, view, lightest: Math.min(...weights), cheapest, step }
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

type Sums = { readonly weight: number; readonly own: number; readonly view: number }

/** States of a stage, by weight. */
class States {
  weights = new Float64Array(0)
  own = new Float64Array(0)
  view = new Float64Array(0)

  /** Makes room; what was there is lost. */
  ensure(size: number): void {
    if (this.weights.length >= size) return
    const room = Math.max(64, 2 * size)
    this.weights = new Float64Array(room)
    this.own = new Float64Array(room)
    this.view = new Float64Array(room)
  }

  set(i: number, { weight, own, view }: Sums): void {
    this.weights[i] = weight
    this.own[i] = own
    this.view[i] = view
  }
}

/** Where the states of all stages came from: state of the stage before, and option taken. */
class History {
  readonly #start: number[] = [0]
  #size = 0
  parents = new Int32Array(256)
  picks = new Uint8Array(256)

  /** Makes room for a stage, which `end` closes. */
  begin(most: number): void {
    const size = this.#size + most
    if (size <= this.parents.length) return
    const [parents, picks] = [new Int32Array(2 * size), new Uint8Array(2 * size)]
    parents.set(this.parents)
    picks.set(this.picks)
    this.parents = parents
    this.picks = picks
  }

  get size(): number {
    return this.#size
  }

  end(count: number): void {
    this.#size += count
    this.#start.push(this.#size)
  }

  parent(stage: number, i: number): number {
    return this.parents[(this.#start[stage] ?? 0) + i] ?? 0
  }

  pick(stage: number, i: number): number {
    return this.picks[(this.#start[stage] ?? 0) + i] ?? 0
  }
}

/** Every state with every option, in one pass over as many sorted runs as there are options; how many states that makes. */
function merge(
  stage: { readonly from: States; readonly count: number; readonly to: States; readonly history: History },
  core: Core,
  bounds: { readonly mostBits: number; readonly price: number; readonly mostPriced: number; readonly sign: number },
): number {
  const { count, history } = stage
  const { mostBits, sign, price, mostPriced } = bounds
  const { options, weights: addW, own: addO, view: addV } = core
  const { weights: fromW, own: fromO, view: fromV } = stage.from
  const { weights: toW, own: toO, view: toV } = stage.to
  const { parents, picks, size } = history
  const runs = options.length
  const heads = options.map(() => 0)
  /** Weight at the head of each run. */
  const next = addW.map((weight) => (count > 0 ? (fromW[0] ?? 0) + weight : Infinity))
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
    if (weight > mostBits || weight === Infinity) return kept
    const parent = heads[run] ?? 0
    heads[run] = parent + 1
    next[run] = parent + 1 < count ? (fromW[parent + 1] ?? 0) + (addW[run] ?? 0) : Infinity
    const loss = (fromO[parent] ?? 0) + (addO[run] ?? 0)
    if (loss >= lastOwn || loss + price * weight > mostPriced) continue
    lastOwn = loss
    toW[kept] = weight
    toO[kept] = loss
    toV[kept] = (fromV[parent] ?? 0) + (addV[run] ?? 0)
    parents[size + kept] = parent
    picks[size + kept] = options[run] ?? 0
    kept++
  }

  /** Of two heads of equal weight: less own loss first, then the leader's view as the tie rule says. */
  function before(a: number, b: number): boolean {
    const [i, k] = [heads[a] ?? 0, heads[b] ?? 0]
    const less = (fromO[i] ?? 0) + (addO[a] ?? 0) - (fromO[k] ?? 0) - (addO[b] ?? 0)
    if (less !== 0) return less < 0
    return sign * ((fromV[i] ?? 0) + (addV[a] ?? 0) - (fromV[k] ?? 0) - (addV[b] ?? 0)) < 0
  }
}
