/**
 * Multiple-choice knapsack: one item of each class, least cost, total weight within a capacity. Exact, with a proof.
 *
 * The continuous relaxation gives a multiplier pi and a bound; items whose reduced cost exceeds the distance between
 * bound and incumbent cannot be in a better answer and are dropped; what is left is a dynamic programme over Pareto
 * lists (weight against cost), each state again bounded by its reduced cost.
 */

import { type ChoiceClass, type Class, lastWithin, nextOnHull, positionsOf, prepare, stepsOf } from './choice-class.ts'

export type ChoiceResult = {
  /** Item of each class. */
  readonly choice: Int32Array
  readonly cost: number
  readonly weight: number
  /** No choice costs less. Equal to `cost` unless the search was cut short. */
  readonly lowerBound: number
  /** Cost of one unit of capacity at the optimum of the relaxation. */
  readonly multiplier: number
  /** States of the dynamic programme. */
  readonly states: number
}

export type ChoiceOptions = {
  /** A choice to start from; ignored where it does not fit. */
  readonly warm?: ArrayLike<number> | undefined
  /** States of one stage above which the least promising are dropped, and the bound says so. Default 2^19. */
  readonly maxStates?: number
}

/** Costs are whole, so an answer that is better at all is better by 1; a quarter is left for rounding of the bound. */
const BETTER = 0.75
/** Indices share a double with weights when states are sorted. */
const INDEX_RANGE = 2 ** 21

/** Undefined when even the lightest items do not fit. Classes may be prepared (`prepare`), where they serve more than once. */
export function solveChoice(
  given: readonly (ChoiceClass | Class)[],
  capacity: number,
  options: ChoiceOptions = {},
): ChoiceResult | undefined {
  const classes = given.map((each) => ('hull' in each ? each : prepare(each)))
  const at = new Int32Array(classes.length)
  let weight = total(classes, (klass) => klass.weights[0] ?? 0)
  if (weight > capacity) return undefined

  const steps = stepsOf(classes)
  let multiplier = 0
  let blocked = false
  const stopped = new Uint8Array(classes.length)
  for (const { klass, weight: more, ratio } of steps) {
    if (stopped[klass] === 1) continue
    if (weight + more > capacity) {
      if (!blocked) multiplier = ratio
      blocked = true
      stopped[klass] = 1
      continue
    }
    weight += more
    at[klass] = nextOnHull(classes[klass], at[klass] ?? 0)
  }
  const search = new Search(classes, capacity, multiplier)
  search.offer(at)
  if (!blocked) return search.result(given.length, search.cost)
  if (options.warm !== undefined) search.offer(positionsOf(classes, options.warm))
  search.fill(at)
  search.offer(at)
  search.run(options.maxStates ?? 2 ** 19)
  return search.result(given.length)
}

/** States of one stage, with where they came from. */
type Stage = {
  readonly klass: number
  readonly weights: Float64Array
  readonly costs: Float64Array
  readonly excess: Float64Array
  readonly parents: Int32Array
  readonly picks: Int32Array
}

class Search {
  readonly #classes: readonly Class[]
  readonly #capacity: number
  readonly #multiplier: number
  /** Value of the Lagrangian relaxation: a bound. */
  readonly #bound: number
  /** Position of the item of least reduced cost in each class. */
  readonly #relaxed: Int32Array
  cost = Infinity
  #best: Int32Array
  #states = 0
  /** Least bound among the states that were dropped unseen. */
  #dropped = Infinity
  readonly #found = new Growing()

  constructor(classes: readonly Class[], capacity: number, multiplier: number) {
    this.#classes = classes
    this.#capacity = capacity
    this.#multiplier = multiplier
    this.#relaxed = new Int32Array(classes.length)
    for (const [k, klass] of classes.entries()) this.#relaxed[k] = this.#leastReduced(klass)
    this.#best = new Int32Array(classes.length)
    this.#bound = total(classes, (klass, k) => this.#reduced(klass, this.#relaxed[k] ?? 0)) - multiplier * capacity
  }

  /** Takes the choice as incumbent if it fits and is better. */
  offer(at: Int32Array): void {
    const weight = total(this.#classes, ({ weights }, k) => weights[at[k] ?? 0] ?? 0)
    const cost = total(this.#classes, ({ costs }, k) => costs[at[k] ?? 0] ?? 0)
    if (weight > this.#capacity || cost >= this.cost) return
    this.cost = cost
    this.#best = at.slice()
  }

  /** Spends what is left on the best single exchange, again and again. */
  fill(at: Int32Array): void {
    let left = this.#capacity - total(this.#classes, ({ weights }, k) => weights[at[k] ?? 0] ?? 0)
    for (;;) {
      let [gain, klass, position] = [0, -1, 0]
      for (const [k, { weights, costs }] of this.#classes.entries()) {
        const now = at[k] ?? 0
        const to = lastWithin(weights, (weights[now] ?? 0) + left)
        const better = (costs[now] ?? 0) - (costs[to] ?? 0)
        if (better > gain) [gain, klass, position] = [better, k, to]
      }
      const weights = this.#classes[klass]?.weights
      if (weights === undefined) return
      left -= (weights[position] ?? 0) - (weights[at[klass] ?? 0] ?? 0)
      at[klass] = position
    }
  }

  run(maxStates: number): void {
    const core = this.#core()
    // The widest class comes last, where a look-up does for it; the next widest first, while there are few states.
    const order = [...core.keys()].sort((a, b) => (core[b]?.length ?? 0) - (core[a]?.length ?? 0))
    const last = order.shift()
    const free = order.filter((k) => (core[k]?.length ?? 0) > 1)
    if (last === undefined) return
    const single = order.filter((k) => (core[k]?.length ?? 0) <= 1)
    let [weight, cost] = [0, 0]
    for (const k of single) {
      const klass = this.#classes[k]
      weight += klass?.weights[this.#relaxed[k] ?? 0] ?? 0
      cost += klass?.costs[this.#relaxed[k] ?? 0] ?? 0
    }
    const sequence = [...free, last]
    const lightest = suffix(sequence, (k) => this.#lightest(k, core[k]))
    const relaxedWeight = suffix(sequence, (k) => this.#classes[k]?.weights[this.#relaxed[k] ?? 0] ?? 0)
    const relaxedCost = suffix(sequence, (k) => this.#classes[k]?.costs[this.#relaxed[k] ?? 0] ?? 0)

    const stages: Stage[] = [
      {
        klass: -1,
        weights: Float64Array.of(weight),
        costs: Float64Array.of(cost),
        excess: Float64Array.of(0),
        parents: Int32Array.of(-1),
        picks: Int32Array.of(0),
      },
    ]
    for (const [s, k] of free.entries()) {
      const from = stages[s]
      if (from === undefined) return
      const stage = this.#extend(from, k, core[k] ?? [], lightest[s + 1] ?? 0, maxStates)
      this.#states += stage.weights.length
      stages.push(stage)
      // A state may be completed with the relaxation's items: often a better incumbent.
      let best = -1
      for (let i = 0; i < stage.weights.length; i++) {
        if ((stage.weights[i] ?? 0) + (relaxedWeight[s + 1] ?? 0) > this.#capacity) continue
        const candidate = (stage.costs[i] ?? 0) + (relaxedCost[s + 1] ?? 0)
        if (candidate < this.cost) [this.cost, best] = [candidate, i]
      }
      if (best !== -1) this.#best = this.#trace(stages, best)
    }
    this.#finish(stages, last)
  }

  result(classCount: number, lowerBound?: number): ChoiceResult {
    const choice = new Int32Array(classCount)
    let weight = 0
    for (const [k, { items, weights }] of this.#classes.entries()) {
      choice[k] = items[this.#best[k] ?? 0] ?? 0
      weight += weights[this.#best[k] ?? 0] ?? 0
    }
    return {
      choice,
      cost: this.cost,
      weight,
      lowerBound: lowerBound ?? Math.min(this.cost, Math.ceil(this.#dropped - (1 - BETTER))),
      multiplier: this.#multiplier,
      states: this.#states,
    }
  }

  /** Positions of the items that may be in a better answer, by reduced cost; at least the relaxed one. */
  #core(): readonly (readonly number[])[] {
    return this.#classes.map((klass, k) => {
      const relaxed = this.#relaxed[k] ?? 0
      const most = this.cost - BETTER - this.#bound + this.#reduced(klass, relaxed)
      const kept: number[] = []
      for (let i = 0; i < klass.items.length; i++) if (this.#reduced(klass, i) <= most) kept.push(i)
      if (kept.length === 0) kept.push(relaxed)
      return kept.length === 1 ? kept : kept.sort((a, b) => this.#reduced(klass, a) - this.#reduced(klass, b))
    })
  }

  #extend(from: Stage, k: number, core: readonly number[], lightestRest: number, maxStates: number): Stage {
    const klass = this.#classes[k]
    if (klass === undefined) return from
    const floor = this.#reduced(klass, this.#relaxed[k] ?? 0)
    const coreExcess = core.map((i) => this.#reduced(klass, i) - floor)
    const room = this.#capacity - lightestRest
    const found = this.#found
    found.length = 0
    for (let s = 0; s < from.weights.length; s++) {
      const before = from.excess[s] ?? 0
      const slack = this.cost - BETTER - this.#bound - before
      const weight = from.weights[s] ?? 0
      const cost = from.costs[s] ?? 0
      for (let c = 0; c < core.length; c++) {
        const excess = coreExcess[c] ?? 0
        if (excess > slack) break
        const i = core[c] ?? 0
        const heavier = weight + (klass.weights[i] ?? 0)
        if (heavier > room) continue
        if (found.length === INDEX_RANGE) {
          this.#dropped = Math.min(this.#dropped, this.#bound + before + excess)
          break
        }
        found.push(heavier, cost + (klass.costs[i] ?? 0), before + excess, s, i)
      }
    }
    return this.#undominated(found, k, maxStates)
  }

  #undominated(found: Growing, k: number, maxStates: number): Stage {
    if (found.length > maxStates) {
      const byExcess = found.byExcess()
      this.#dropped = Math.min(this.#dropped, this.#bound + (found.excess[byExcess[maxStates] ?? 0] ?? 0))
      found.keep(byExcess.subarray(0, maxStates))
    }
    const { length } = found
    const order = new Float64Array(length)
    for (let i = 0; i < length; i++) order[i] = (found.weights[i] ?? 0) * INDEX_RANGE + i
    order.sort()
    const kept = new Int32Array(length)
    let n = 0
    let [lastWeight, lastCost] = [-1, Infinity]
    for (let o = 0; o < length; o++) {
      const key = order[o] ?? 0
      const i = key - Math.floor(key / INDEX_RANGE) * INDEX_RANGE
      const cost = found.costs[i] ?? 0
      if (cost >= lastCost) continue
      const weight = found.weights[i] ?? 0
      if (weight === lastWeight) n--
      kept[n++] = i
      ;[lastWeight, lastCost] = [weight, cost]
    }
    return found.stage(k, kept.subarray(0, n))
  }

  /** The best item of the last class for every state. */
  #finish(stages: readonly Stage[], last: number): void {
    const from = stages[stages.length - 1]
    const klass = this.#classes[last]
    if (from === undefined || klass === undefined) return
    let [best, position] = [-1, 0]
    for (let s = 0; s < from.weights.length; s++) {
      const left = this.#capacity - (from.weights[s] ?? 0)
      if (left < (klass.weights[0] ?? 0)) continue
      const i = lastWithin(klass.weights, left)
      const cost = (from.costs[s] ?? 0) + (klass.costs[i] ?? 0)
      if (cost < this.cost) [this.cost, best, position] = [cost, s, i]
    }
    if (best === -1) return
    const at = this.#trace(stages, best)
    at[last] = position
    this.#best = at
  }

  #trace(stages: readonly Stage[], state: number): Int32Array {
    const at = this.#relaxed.slice()
    let now = state
    for (let s = stages.length - 1; s > 0; s--) {
      const stage = stages[s]
      if (stage === undefined) break
      at[stage.klass] = stage.picks[now] ?? 0
      now = stage.parents[now] ?? 0
    }
    return at
  }

  #reduced({ weights, costs }: Class, i: number): number {
    return (costs[i] ?? 0) + this.#multiplier * (weights[i] ?? 0)
  }

  #leastReduced(klass: Class): number {
    let best = 0
    for (const i of klass.hull) if (this.#reduced(klass, i) < this.#reduced(klass, best)) best = i
    return best
  }

  #lightest(k: number, core: readonly number[] | undefined): number {
    let least = Infinity
    for (const i of core ?? []) least = Math.min(least, this.#classes[k]?.weights[i] ?? 0)
    return least
  }
}

/** Columns of candidate states that grow as needed. */
class Growing {
  length = 0
  weights: Float64Array = new Float64Array(64)
  costs: Float64Array = new Float64Array(64)
  excess: Float64Array = new Float64Array(64)
  parents: Int32Array = new Int32Array(64)
  picks: Int32Array = new Int32Array(64)

  push(weight: number, cost: number, excess: number, parent: number, pick: number): void {
    if (this.length === this.weights.length) this.#grow()
    const i = this.length++
    this.weights[i] = weight
    this.costs[i] = cost
    this.excess[i] = excess
    this.parents[i] = parent
    this.picks[i] = pick
  }

  /** Indices, the least excess first. */
  byExcess(): Int32Array {
    const order = new Int32Array(this.length)
    for (let i = 0; i < this.length; i++) order[i] = i
    return order.sort((a, b) => (this.excess[a] ?? 0) - (this.excess[b] ?? 0))
  }

  keep(indices: Int32Array): void {
    const { weights, costs, excess, parents, picks } = this.stage(-1, indices)
    this.weights = weights
    this.costs = costs
    this.excess = excess
    this.parents = parents
    this.picks = picks
    this.length = indices.length
  }

  /** The states of some indices, in their order. */
  stage(klass: number, indices: Int32Array): Stage {
    const n = indices.length
    const stage = {
      klass,
      weights: new Float64Array(n),
      costs: new Float64Array(n),
      excess: new Float64Array(n),
      parents: new Int32Array(n),
      picks: new Int32Array(n),
    }
    for (let k = 0; k < n; k++) {
      const i = indices[k] ?? 0
      stage.weights[k] = this.weights[i] ?? 0
      stage.costs[k] = this.costs[i] ?? 0
      stage.excess[k] = this.excess[i] ?? 0
      stage.parents[k] = this.parents[i] ?? 0
      stage.picks[k] = this.picks[i] ?? 0
    }
    return stage
  }

  #grow(): void {
    const twice = <T extends Float64Array | Int32Array>(from: T, to: T): T => {
      to.set(from)
      return to
    }
    const size = 2 * this.length
    this.weights = twice(this.weights, new Float64Array(size))
    this.costs = twice(this.costs, new Float64Array(size))
    this.excess = twice(this.excess, new Float64Array(size))
    this.parents = twice(this.parents, new Int32Array(size))
    this.picks = twice(this.picks, new Int32Array(size))
  }
}

function total(classes: readonly Class[], value: (klass: Class, k: number) => number): number {
  let sum = 0
  for (const [k, klass] of classes.entries()) sum += value(klass, k)
  return sum
}

/** Sums over the classes of a sequence from each place to the end. */
function suffix(sequence: readonly number[], value: (klass: number) => number): Float64Array {
  const sums = new Float64Array(sequence.length + 1)
  for (let s = sequence.length - 1; s >= 0; s--) sums[s] = (sums[s + 1] ?? 0) + value(sequence[s] ?? 0)
  return sums
}
