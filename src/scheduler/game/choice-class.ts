/** Weights are whole and below 2^31, costs whole. */
export type ChoiceClass = { readonly weights: Float64Array; readonly costs: Float64Array }

/** A class as the knapsack works on it. */
export type Class = {
  /** Items that no other is at most as heavy and cheap as, by weight. */
  readonly items: Int32Array
  readonly weights: Float64Array
  readonly costs: Float64Array
  /** Positions in `items` of the lower convex hull. */
  readonly hull: readonly number[]
}

/** One step along a class' hull: more weight, less cost. */
export type Step = { readonly klass: number; readonly weight: number; readonly gain: number; readonly ratio: number }

/** Drops dominated items of a class and finds its hull. */
export function prepare({ weights, costs }: ChoiceClass): Class {
  const n = weights.length
  if (isFront(weights, costs)) return { items: indices(n), weights, costs, hull: hullOf(weights, costs) }
  const order = risingOrder(weights, costs)
  const items = new Int32Array(n)
  const w = new Float64Array(n)
  const c = new Float64Array(n)
  let kept = 0
  let least = Infinity
  for (let k = 0; k < n; k++) {
    const i = order === undefined ? k : (order[k] ?? 0)
    const cost = costs[i] ?? 0
    if (cost >= least) continue
    least = cost
    items[kept] = i
    w[kept] = weights[i] ?? 0
    c[kept] = cost
    kept++
  }
  const pareto =
    kept === n
      ? { items, weights: w, costs: c }
      : { items: items.slice(0, kept), weights: w.slice(0, kept), costs: c.slice(0, kept) }
  return { ...pareto, hull: hullOf(pareto.weights, pareto.costs) }
}

/** Whether weights rise and costs fall throughout: no item is dominated. */
function isFront(weights: Float64Array, costs: Float64Array): boolean {
  for (let i = 1; i < weights.length; i++) {
    if (!((weights[i - 1] ?? 0) < (weights[i] ?? 0) && (costs[i - 1] ?? 0) > (costs[i] ?? 0))) return false
  }
  return true
}

const SMALL = 8
const SMALL_INDICES: readonly Int32Array[] = Array.from({ length: SMALL }, (_, n) => Int32Array.of(...Array(n).keys()))

/** 0 to n - 1, to be read only: chains have few options and there are many chains. */
function indices(n: number): Int32Array {
  const known = SMALL_INDICES[n]
  if (known !== undefined) return known
  const all = new Int32Array(n)
  for (let i = 0; i < n; i++) all[i] = i
  return all
}

/** Items by weight, equal ones by cost; undefined where they stand like that already. */
function risingOrder(weights: Float64Array, costs: Float64Array): Int32Array | undefined {
  const n = weights.length
  let isRising = true
  for (let i = 1; i < n && isRising; i++) isRising = (weights[i - 1] ?? 0) < (weights[i] ?? 0)
  if (isRising) return undefined
  return indices(n)
    .slice()
    .sort((a, b) => (weights[a] ?? 0) - (weights[b] ?? 0) || (costs[a] ?? 0) - (costs[b] ?? 0) || a - b)
}

/** Positions of the lower convex hull of points with rising x and falling y. */
export function hullOf(x: Float64Array, y: Float64Array): readonly number[] {
  const hull: number[] = []
  for (let i = 0; i < x.length; i++) {
    while (hull.length >= 2) {
      const b = hull[hull.length - 1] ?? 0
      const a = hull[hull.length - 2] ?? 0
      const left = ((y[b] ?? 0) - (y[a] ?? 0)) * ((x[i] ?? 0) - (x[a] ?? 0))
      const right = ((y[i] ?? 0) - (y[a] ?? 0)) * ((x[b] ?? 0) - (x[a] ?? 0))
      if (left < right) break
      hull.pop()
    }
    hull.push(i)
  }
  return hull
}

/** All hull steps of all classes, most gain a unit of weight first. */
export function stepsOf(classes: readonly Class[]): Step[] {
  const steps: Step[] = []
  for (const [klass, { hull, weights, costs }] of classes.entries()) {
    for (let h = 1; h < hull.length; h++) {
      const [a, b] = [hull[h - 1] ?? 0, hull[h] ?? 0]
      const weight = (weights[b] ?? 0) - (weights[a] ?? 0)
      const gain = (costs[a] ?? 0) - (costs[b] ?? 0)
      steps.push({ klass, weight, gain, ratio: gain / weight })
    }
  }
  return steps.sort((a, b) => b.ratio - a.ratio)
}

/** The hull position after this one; itself at the end. */
export function nextOnHull(klass: Class | undefined, position: number): number {
  const h = klass?.hull.indexOf(position) ?? -1
  return klass?.hull[h + 1] ?? position
}

/** Positions in the Pareto lists that are at least as good as the items given. */
export function positionsOf(classes: readonly Class[], choice: ArrayLike<number>): Int32Array {
  return Int32Array.from(classes, ({ items }, k) => Math.max(0, items.indexOf(choice[k] ?? -1)))
}

/** Last position whose weight is at most `limit`; 0 if none is. */
export function lastWithin(weights: Float64Array, limit: number): number {
  let [low, high] = [0, weights.length - 1]
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if ((weights[mid] ?? 0) <= limit) low = mid
    else high = mid - 1
  }
  return low
}
