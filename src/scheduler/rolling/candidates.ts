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

/** All paths of chain l whose cost at `dual.prices` is within `cutoff` of the best one; fewer if they were more than `most`. */
export class PathEnumerator {
  readonly #dual: Dual
  readonly #step: Float64Array
  readonly #toGo: Float64Array
  readonly #path: Int32Array
  #width = 0
  #gamma = 0
  #limit = 0
  #most = 0
  #count = 0
  #found = new Int32Array(0)

  constructor(dual: Dual) {
    const { chains, steps, optionStart } = dual.problem
    let widest = 1
    for (let l = 0; l < chains; l++) widest = Math.max(widest, intAt(optionStart, l + 1) - intAt(optionStart, l))
    this.#dual = dual
    this.#step = new Float64Array(steps * widest)
    this.#toGo = new Float64Array(steps * widest)
    this.#path = new Int32Array(steps)
  }

  /**
   * Paths of the chain, H options each, one after another (until the next call); and how far they are complete: every path that is missing costs
   * at least `completeTo` more than the best.
   */
  list(l: number, cutoff: number, most: number): { readonly paths: Int32Array; readonly completeTo: number } {
    const { steps, optionStart, switchCost, initial } = this.#dual.problem
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    this.#width = width
    this.#gamma = at(switchCost, l)
    this.#prepare(first)
    const start = intAt(initial, l)
    let best = Number.POSITIVE_INFINITY
    for (let m = 0; m < width; m++) {
      best = Math.min(best, at(this.#toGo, m) + (start >= 0 && m !== start ? this.#gamma : 0))
    }
    if (this.#found.length < most * steps) this.#found = new Int32Array(most * steps)
    this.#most = most
    for (let reach = cutoff; ; reach /= 4) {
      this.#count = 0
      // A hair more than the cut-off, so that rounding does not lose the best path itself.
      this.#limit = best + reach + 1e-12 * (1 + Math.abs(best))
      const whole = this.#walk(0, start, 0)
      const isLast = reach < 1e-9 * (1e-9 + cutoff)
      if (!whole && !isLast) continue
      const completeTo = !whole ? 0 : reach >= cutoff ? Number.POSITIVE_INFINITY : reach
      return { paths: this.#found.subarray(0, this.#count * steps), completeTo }
    }
  }

  #prepare(first: number): void {
    const { steps, meanBits, varianceBits2, cost, deviation } = this.#dual.problem
    const { perBit, perBit2, perPulse } = this.#dual.prices
    const width = this.#width
    const rank = deviation?.rank ?? 0
    let lowest = 0
    for (let t = steps - 1; t >= 0; t--) {
      let newLowest = Number.POSITIVE_INFINITY
      for (let m = 0; m < width; m++) {
        const n = first + m
        let here = at(cost, n * steps + t) + at(perBit, t) * at(meanBits, n) + at(perBit2, t) * at(varianceBits2, n)
        for (let r = 0; deviation !== undefined && r < rank; r++) {
          here += at(deviation.gain, n * rank + r) * at(perPulse, t * rank + r)
        }
        this.#step[t * width + m] = here
        const ahead = t === steps - 1 ? 0 : Math.min(at(this.#toGo, (t + 1) * width + m), lowest + this.#gamma)
        this.#toGo[t * width + m] = here + ahead
        newLowest = Math.min(newLowest, here + ahead)
      }
      lowest = newLowest
    }
  }

  /** False: too many. */
  #walk(t: number, before: number, spent: number): boolean {
    const path = this.#path
    if (t === path.length) {
      if (this.#count >= this.#most) return false
      this.#found.set(path, this.#count++ * path.length)
      return true
    }
    const width = this.#width
    for (let m = 0; m < width; m++) {
      const here = before >= 0 && before !== m ? spent + this.#gamma : spent
      if (here + at(this.#toGo, t * width + m) > this.#limit) continue
      path[t] = m
      if (!this.#walk(t + 1, m, here + at(this.#step, t * width + m))) return false
    }
    return true
  }
}
