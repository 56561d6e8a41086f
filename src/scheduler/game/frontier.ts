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

type Stage = { readonly parents: Int32Array; readonly picks: Uint8Array }

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

/**
 * All integer answers of an agent, by a dynamic programme over Pareto lists of (key, own loss). Of answers with equal key
 * and equal loss the one that is best (optimistic) or worst (pessimistic) for the leader is kept.
 *
 * Exact: a state that is as heavy and as bad as another stays so whatever the other chains do, and sums of whole numbers
 * do not depend on their order.
 */
export function frontierOf(chains: readonly Options[], { capBits, tie, within }: FrontierOptions): Frontier {
  const sign = tie === 'optimistic' ? 1 : -1
  let list: Columns = { weights: Float64Array.of(0), own: Float64Array.of(0), view: Float64Array.of(0) }
  const lightest = chains.map(({ weights }) => Math.min(...weights))
  let rest = lightest.reduce((sum, weight) => sum + weight, 0)
  const limit = Math.max(capBits, rest)
  const price = within?.price ?? 0
  const cheapest = chains.map(({ weights, own }) =>
    Math.min(...weights.map((weight, i) => (own[i] ?? 0) + price * weight)),
  )
  let restLoss = cheapest.reduce((sum, loss) => sum + loss, 0)
  const stages: Stage[] = []
  const scratch = new Scratch()
  for (const [k, options] of chains.entries()) {
    rest -= lightest[k] ?? 0
    restLoss -= cheapest[k] ?? 0
    const most = (within?.limit ?? Infinity) - restLoss
    const merged = merge(list, options, { limit: limit - rest, sign, scratch, price, most })
    list = merged.list
    stages.push(merged.stage)
  }
  const choices = (i: number): Choices => {
    const taken = new Array<number>(stages.length).fill(0)
    let now = i
    for (let s = stages.length - 1; s >= 0; s--) {
      taken[s] = stages[s]?.picks[now] ?? 0
      now = stages[s]?.parents[now] ?? 0
    }
    return taken
  }
  return { ...list, choices }
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
  options: Options,
  bounds: {
    readonly limit: number
    readonly sign: number
    readonly scratch: Scratch
    readonly price: number
    readonly most: number
  },
): { readonly list: Columns; readonly stage: Stage } {
  const { limit, sign, scratch, price, most } = bounds
  const runs = options.weights.length
  const n = from.weights.length
  scratch.ensure(n * runs)
  const { weights, own, view, parents, picks } = scratch
  const { weights: fromW, own: fromO, view: fromV } = from
  const { weights: addW, own: addO, view: addV } = options
  const heads = new Int32Array(runs)
  /** Weight at the head of each run. */
  const next = Float64Array.from(addW, (weight) => (fromW[0] ?? 0) + weight)
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
    if (!(weight <= limit)) break
    const parent = heads[run] ?? 0
    heads[run] = parent + 1
    next[run] = parent + 1 < n ? (fromW[parent + 1] ?? 0) + (addW[run] ?? 0) : Infinity
    const loss = (fromO[parent] ?? 0) + (addO[run] ?? 0)
    if (loss >= lastOwn || loss + price * weight > most) continue
    lastOwn = loss
    weights[kept] = weight
    own[kept] = loss
    view[kept] = (fromV[parent] ?? 0) + (addV[run] ?? 0)
    parents[kept] = parent
    picks[kept] = run
    kept++
  }
  return {
    list: { weights: weights.slice(0, kept), own: own.slice(0, kept), view: view.slice(0, kept) },
    stage: { parents: parents.slice(0, kept), picks: picks.slice(0, kept) },
  }

  /** Of two heads of equal weight: less own loss first, then the leader's view as the tie rule says. */
  function before(a: number, b: number): boolean {
    const [i, k] = [heads[a] ?? 0, heads[b] ?? 0]
    const less = (fromO[i] ?? 0) + (addO[a] ?? 0) - (fromO[k] ?? 0) - (addO[b] ?? 0)
    if (less !== 0) return less < 0
    return sign * ((fromV[i] ?? 0) + (addV[a] ?? 0) - (fromV[k] ?? 0) - (addV[b] ?? 0)) < 0
  }
}
