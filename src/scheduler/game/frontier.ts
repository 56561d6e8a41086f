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

/** States whose key, in bits, is above this are not looked at: no grant can reach them. */
export type FrontierOptions = { readonly capBits: number; readonly tie: TieRule }

/**
 * All integer answers of an agent, by a dynamic programme over Pareto lists of (key, own loss). Of answers with equal key
 * and equal loss the one that is best (optimistic) or worst (pessimistic) for the leader is kept.
 *
 * Exact: a state that is as heavy and as bad as another stays so whatever the other chains do, and sums of whole numbers
 * do not depend on their order.
 */
export function frontierOf(chains: readonly Options[], { capBits, tie }: FrontierOptions): Frontier {
  const sign = tie === 'optimistic' ? 1 : -1
  let list: Columns = { weights: Float64Array.of(0), own: Float64Array.of(0), view: Float64Array.of(0) }
  const lightest = chains.map(({ weights }) => Math.min(...weights))
  let rest = lightest.reduce((sum, weight) => sum + weight, 0)
  const limit = Math.max(capBits, rest)
  const stages: Stage[] = []
  for (const [k, options] of chains.entries()) {
    rest -= lightest[k] ?? 0
    const merged = merge(list, options, limit - rest, sign)
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

/** Every state with every option, in one pass over as many sorted runs as there are options. */
function merge(
  from: Columns,
  options: Options,
  limit: number,
  sign: number,
): { readonly list: Columns; readonly stage: Stage } {
  const runs = options.weights.length
  const n = from.weights.length
  const size = n * runs
  const [weights, own, view] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)]
  const [parents, picks] = [new Int32Array(size), new Uint8Array(size)]
  const heads = new Int32Array(runs)
  const { weights: fromW, own: fromO, view: fromV } = from
  let kept = 0
  let lastOwn = Infinity
  for (;;) {
    let run = -1
    let [bestW, bestO, bestV] = [Infinity, Infinity, Infinity]
    for (let r = 0; r < runs; r++) {
      const head = heads[r] ?? 0
      if (head >= n) continue
      const w = (fromW[head] ?? 0) + (options.weights[r] ?? 0)
      if (w > bestW) continue
      const o = (fromO[head] ?? 0) + (options.own[r] ?? 0)
      if (w === bestW && o > bestO) continue
      const v = sign * ((fromV[head] ?? 0) + (options.view[r] ?? 0))
      if (w === bestW && o === bestO && v >= bestV) continue
      run = r
      bestW = w
      bestO = o
      bestV = v
    }
    if (run === -1 || bestW > limit) break
    const parent = heads[run] ?? 0
    heads[run] = parent + 1
    if (bestO >= lastOwn) continue
    lastOwn = bestO
    weights[kept] = bestW
    own[kept] = bestO
    view[kept] = sign * bestV
    parents[kept] = parent
    picks[kept] = run
    kept++
  }
  return {
    list: { weights: weights.slice(0, kept), own: own.slice(0, kept), view: view.slice(0, kept) },
    stage: { parents: parents.slice(0, kept), picks: picks.slice(0, kept) },
  }
}
