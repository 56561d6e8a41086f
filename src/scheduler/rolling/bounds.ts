/**
 * Lower bounds over lists of paths: a dual point in terms of the lists, and a knapsack that keeps one weighted sum of the
 * rows whole where the dual only prices it. Both say for every partial choice how little the rest can still cost.
 */
import { at } from './arrays.ts'
import type { Candidates } from './candidates.ts'
import type { Dual } from './dual.ts'

/** Open lists: the chains with more than one path left, and what the others use and cost. */
export type OpenLists = {
  /** Paths of each open chain, in the order in which they are decided. */
  readonly lists: readonly (readonly number[])[]
  /** Paths of the chains that have only one. */
  readonly fixed: readonly number[]
}

/** theta at a point with the chains' paths restricted to the lists: constant + sum of the values of the paths chosen. */
export type ListBound = {
  /** Constant, paths of fixed chains included. */
  readonly constant: number
  /** Value of each path; least is 0 in each open list, what was taken off is in `constant`. */
  readonly value: Float64Array
}

/** A dual point on lists. `constant` alone is a bound. */
export function listBound(dual: Dual, point: Float64Array, list: Candidates, open: OpenLists): ListBound {
  const value = pricesOf(dual, point, list, open)
  let constant = dual.constantOf(point)
  for (const c of open.fixed) constant += at(value, c)
  for (const paths of open.lists) {
    let least = Number.POSITIVE_INFINITY
    for (const c of paths) least = Math.min(least, at(value, c))
    for (const c of paths) value[c] = at(value, c) - least
    constant += least
  }
  return { constant, value }
}

function pricesOf(dual: Dual, point: Float64Array, list: Candidates, { lists, fixed }: OpenLists): Float64Array {
  const { rows, deviations } = list
  const value = new Float64Array(list.size)
  const price = (c: number): void => {
    let sum = list.cost[c] ?? 0
    for (let t = 0; t < rows; t++) sum += dual.rowPrice(point, t) * (list.use[c * rows + t] ?? 0)
    for (let k = 0; k < deviations; k++) {
      sum += dual.deviationPrice(point, k) * (list.moved[c * deviations + k] ?? 0)
    }
    value[c] = sum
  }
  fixed.forEach(price)
  for (const paths of lists) paths.forEach(price)
  return value
}

/**
 * A knapsack over the open lists: least sum of values with the sum of weights within a room, for every number of lists
 * from the end and every room. Weights are rounded down to a grid, so it is a bound, and the finer the grid the closer.
 */
export class Knapsack {
  /** Constant, paths of fixed chains included. */
  readonly constant: number
  readonly value: Float64Array
  readonly weight: Float64Array
  /** Room for the weights of the open lists. */
  readonly room: number
  readonly #cells: number
  readonly #unit: number
  /** Best of lists d.. within room g: `[d * (cells + 1) + g]`. */
  readonly #rest: Float64Array

  /**
   * @param share of each row's price (1: all) that goes into the weights; the remainder stays priced
   */
  constructor(given: {
    readonly dual: Dual
    readonly point: Float64Array
    readonly list: Candidates
    readonly open: OpenLists
    readonly share: (row: number) => number
    readonly cells: number
  }) {
    const { dual, point, list, open, share, cells } = given
    const { rows, deviations } = list
    this.value = new Float64Array(list.size)
    this.weight = new Float64Array(list.size)
    const prices = Float64Array.from({ length: rows }, (_, t) => dual.rowPrice(point, t))
    const used = Float64Array.from({ length: rows }, (_, t) => Math.min(1, Math.max(0, share(t))))
    let room = 0
    let constant = dual.constantOf(point)
    for (let t = 0; t < rows; t++) {
      const worth = at(prices, t) * at(used, t) * at(dual.rows.capacityBits, t)
      room += worth
      constant += worth
    }
    const count = (c: number): void => {
      let value = list.cost[c] ?? 0
      let weight = 0
      for (let t = 0; t < rows; t++) {
        const worth = at(prices, t) * (list.use[c * rows + t] ?? 0)
        weight += worth * at(used, t)
        value += worth * (1 - at(used, t))
      }
      for (let k = 0; k < deviations; k++) {
        value += dual.deviationPrice(point, k) * (list.moved[c * deviations + k] ?? 0)
      }
      this.value[c] = value
      this.weight[c] = weight
    }
    for (const c of open.fixed) {
      count(c)
      constant += at(this.value, c)
      room -= at(this.weight, c)
    }
    let reach = 0
    for (const paths of open.lists) {
      let leastValue = Number.POSITIVE_INFINITY
      let leastWeight = Number.POSITIVE_INFINITY
      let mostWeight = Number.NEGATIVE_INFINITY
      for (const c of paths) {
        count(c)
        leastValue = Math.min(leastValue, at(this.value, c))
        leastWeight = Math.min(leastWeight, at(this.weight, c))
        mostWeight = Math.max(mostWeight, at(this.weight, c))
      }
      for (const c of paths) {
        this.value[c] = at(this.value, c) - leastValue
        this.weight[c] = at(this.weight, c) - leastWeight
      }
      constant += leastValue
      room -= leastWeight
      reach += mostWeight - leastWeight
    }
    // Rounding of the sums must not make a choice that just fits look like one that does not.
    this.room = Math.min(room + 1e-11 * (1 + Math.abs(room) + reach), reach)
    this.constant = constant
    this.#cells = cells
    this.#unit = this.room > 0 ? this.room / cells : 1
    this.#rest = this.#table(open)
  }

  #table({ lists }: OpenLists): Float64Array {
    const width = this.#cells + 1
    const rest = new Float64Array((lists.length + 1) * width)
    for (let d = lists.length - 1; d >= 0; d--) {
      this.#merge(
        lists[d] ?? [],
        rest.subarray((d + 1) * width, (d + 2) * width),
        rest.subarray(d * width, (d + 1) * width),
      )
    }
    return rest
  }

  /** Best of `before` and one more list, for every room. */
  #merge(paths: readonly number[], before: Float64Array, after: Float64Array): void {
    const width = this.#cells + 1
    after.fill(Number.POSITIVE_INFINITY)
    for (const c of paths) {
      const shift = this.#shift(c)
      const value = at(this.value, c)
      for (let g = shift; g < width; g++) {
        const sum = (before[g - shift] ?? 0) + value
        if (sum < (after[g] ?? 0)) after[g] = sum
      }
    }
  }

  #shift(c: number): number {
    return Math.floor(at(this.weight, c) / this.#unit)
  }

  /** Bound of all choices: `constant` and the best of all lists. */
  get bound(): number {
    return this.room < 0 ? Number.POSITIVE_INFINITY : this.constant + at(this.#rest, this.#cells)
  }

  /** Bound of the choices that have a path, for every path of the lists (Infinity: none that fits); others are left as they are. */
  through({ lists }: OpenLists, bounds: Float64Array): void {
    const width = this.#cells + 1
    let before = new Float64Array(width)
    let after = new Float64Array(width)
    for (const [d, paths] of lists.entries()) {
      const next = (d + 1) * width
      for (const c of paths) {
        const room = this.#cells - this.#shift(c)
        let least = Number.POSITIVE_INFINITY
        for (let g = 0; g <= room; g++) {
          const sum = (before[g] ?? 0) + (this.#rest[next + room - g] ?? 0)
          if (sum < least) least = sum
        }
        bounds[c] = this.room < 0 ? Number.POSITIVE_INFINITY : this.constant + at(this.value, c) + least
      }
      this.#merge(paths, before, after)
      const swap = before
      before = after
      after = swap
    }
  }

  /** A choice that has the best value of the knapsack: a path of each list. */
  trace({ lists }: OpenLists): readonly number[] {
    const width = this.#cells + 1
    const picked: number[] = []
    let left = this.#cells
    for (const [d, paths] of lists.entries()) {
      let best = paths[0] ?? 0
      let least = Number.POSITIVE_INFINITY
      for (const c of paths) {
        const shift = this.#shift(c)
        if (shift > left) continue
        const sum = at(this.value, c) + at(this.#rest, (d + 1) * width + left - shift)
        if (sum < least) {
          least = sum
          best = c
        }
      }
      picked.push(best)
      left -= this.#shift(best)
    }
    return picked
  }

  /** Least value of the lists from d on, if the earlier ones have taken this much of the room; Infinity: there is none. */
  rest(d: number, taken: number): number {
    const left = this.room - taken
    if (left < 0) return Number.POSITIVE_INFINITY
    return at(this.#rest, d * (this.#cells + 1) + Math.min(this.#cells, Math.floor(left / this.#unit)))
  }
}
