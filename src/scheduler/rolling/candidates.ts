/** Paths of single chains (an option for each step) that may be part of the best plan, with all that is counted of them. */
import { at, intAt } from './arrays.ts'
import type { Dual } from './dual.ts'
import type { DeviationTerm, OptionPlan, RollingProblem } from './problem.ts'

/** Paths of all chains, one after another. `size` is their number, H rows, K deviations. */
export class Candidates {
  readonly problem: RollingProblem
  readonly rows: number
  readonly deviations: number
  /** First path of chain l: as many entries as chains were closed, and one more. */
  readonly start: Int32Array
  #closed = 0
  #size = 0
  #cost = new Float64Array(256)
  #chain = new Int32Array(256)
  #use: Float64Array
  #moved: Float64Array
  #options: Int32Array
  readonly #slopePerBit: Float64Array

  constructor(dual: Dual) {
    const { chains, steps, deviation } = dual.problem
    this.problem = dual.problem
    this.rows = steps
    this.deviations = deviation?.count ?? 0
    this.start = new Int32Array(chains + 1)
    this.#use = new Float64Array(256 * steps)
    this.#moved = new Float64Array(256 * this.deviations)
    this.#options = new Int32Array(256 * steps)
    this.#slopePerBit = dual.rows.slopePerBit
  }

  get size(): number {
    return this.#size
  }

  /** Own cost of each path, switches included. The arrays are longer than `size`, and others after a path was added. */
  get cost(): Float64Array {
    return this.#cost
  }

  get chain(): Int32Array {
    return this.#chain
  }

  /** Use of row t: `[c * H + t]`. */
  get use(): Float64Array {
    return this.#use
  }

  /** What is added to deviation k: `[c * K + k]`. */
  get moved(): Float64Array {
    return this.#moved
  }

  /** Adds a path of chain l, whose paths must be added together; its number, the old one if it is there already. */
  add(l: number, path: ArrayLike<number>, offset = 0): number {
    for (let c = intAt(this.start, this.#closed); c < this.#size; c++) if (this.#isPath(c, path, offset)) return c
    return this.push(l, path, offset)
  }

  /** Adds a path that is known not to be there. */
  push(l: number, path: ArrayLike<number>, offset = 0): number {
    const { steps, optionStart, meanBits, varianceBits2, cost, switchCost, initial, deviation } = this.problem
    const c = this.#size++
    if (this.#size > this.#cost.length) this.#grow()
    const first = intAt(optionStart, l)
    let sum = 0
    let mean = 0
    let variance = 0
    let before = intAt(initial, l)
    for (let t = 0; t < steps; t++) {
      const m = path[offset + t] ?? 0
      const n = first + m
      sum += at(cost, n * steps + t)
      if (before >= 0 && before !== m) sum += at(switchCost, l)
      before = m
      mean += at(meanBits, n)
      variance += at(varianceBits2, n)
      this.#use[c * steps + t] = mean + at(this.#slopePerBit, t) * variance
      this.#options[c * steps + t] = m
    }
    this.#cost[c] = sum
    this.#chain[c] = l
    if (deviation !== undefined) this.#addMoved(c, first, deviation)
    return c
  }

  #addMoved(c: number, first: number, { rank, count, gain, response }: DeviationTerm): void {
    const { steps } = this.problem
    const moved = this.#moved
    moved.fill(0, c * count, (c + 1) * count)
    for (let r = 0; r < rank; r++) {
      for (let t = 0; t < steps; t++) {
        const units = at(gain, (first + intAt(this.#options, c * steps + t)) * rank + r)
        if (units === 0) continue
        for (let k = 0; k < count; k++) {
          moved[c * count + k] = at(moved, c * count + k) + units * at(response, (k * rank + r) * steps + t)
        }
      }
    }
  }

  /** Ends the list of a chain; the next one follows. */
  close(): void {
    this.start[++this.#closed] = this.#size
  }

  #grow(): void {
    const wider = 2 * this.#cost.length
    const grown = (old: Float64Array, width: number): Float64Array<ArrayBuffer> => {
      const next = new Float64Array(wider * width)
      next.set(old)
      return next
    }
    this.#cost = grown(this.#cost, 1)
    this.#use = grown(this.#use, this.rows)
    this.#moved = grown(this.#moved, this.deviations)
    const [chain, options] = [new Int32Array(wider), new Int32Array(wider * this.rows)]
    chain.set(this.#chain)
    options.set(this.#options)
    this.#chain = chain
    this.#options = options
  }

  #isPath(c: number, path: ArrayLike<number>, offset: number): boolean {
    const { steps } = this.problem
    for (let t = 0; t < steps; t++) if (this.#options[c * steps + t] !== path[offset + t]) return false
    return true
  }

  /** Writes path c into a plan. */
  write(c: number, plan: OptionPlan): void {
    const { steps } = this.problem
    const l = intAt(this.#chain, c)
    for (let t = 0; t < steps; t++) plan[l * steps + t] = intAt(this.#options, c * steps + t)
  }
}
