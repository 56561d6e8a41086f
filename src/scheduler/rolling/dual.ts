/**
 * The Lagrangian dual of the problem with linear rows. At prices pi of the rows and nu of the deviations every chain is on
 * its own, and its best options over the steps are a shortest path (Viterbi), so a value costs one pass over all options.
 *
 *   theta(pi, nu) = sum_l path_l(pi, nu) - pi capacity + nu base - sum nu_k^2 / (4 weight_k)
 *
 * is a lower bound for every pi >= 0 and every nu, of one-sided deviations nu >= 0: w max(0, f)^2 is at least nu f - nu^2 / 4w for these.
 */
import { at, intAt } from './arrays.ts'
import type { LinearRows, OptionPlan, RollingProblem } from './problem.ts'

/** Prices of one step: of a mean bit, of a bit^2 of variance, and of a unit of each pulse. */
export type StepPrices = {
  readonly perBit: Float64Array
  readonly perBit2: Float64Array
  readonly perPulse: Float64Array
}

/** Of the dearest plan: about what a row's price times its capacity comes to when the row is broken by all it has. */
const ROW_REACH = 0.02
const NO_GAIN = new Float64Array(0)

export class Dual {
  readonly problem: RollingProblem
  readonly rows: LinearRows
  /** Rows and deviations: length of a point. */
  readonly size: number
  /** Options of the last `value`: the plan that is best at its prices. */
  readonly plan: OptionPlan
  readonly prices: StepPrices
  /** Points are scaled, so that a step of 1 matters equally in all directions. */
  readonly #rowScale: Float64Array
  readonly #deviationScale: Float64Array
  readonly #rank: number
  readonly #count: number
  readonly #best: Float64Array
  readonly #next: Float64Array
  readonly #from: Int32Array
  readonly #stays: Uint8Array
  /** Key and pulses of all chains in each step; while they are counted, how much more than in the step before. */
  readonly #stepMean: Float64Array
  readonly #stepVariance: Float64Array
  readonly #stepPulse: Float64Array
  readonly #pulses: Float64Array
  readonly #values: Float64Array
  readonly #isOfThree: Uint8Array

  constructor(problem: RollingProblem, rows: LinearRows) {
    this.problem = problem
    this.rows = rows
    const { chains, steps, optionStart, deviation } = problem
    this.#rank = deviation?.rank ?? 0
    this.#count = deviation?.count ?? 0
    this.size = steps + this.#count
    this.plan = new Int32Array(chains * steps)
    this.prices = {
      perBit: new Float64Array(steps),
      perBit2: new Float64Array(steps),
      perPulse: new Float64Array(steps * this.#rank),
    }
    this.#rowScale = Float64Array.from(rows.capacityBits, (bits) => 1 / Math.max(Math.abs(bits), 1))
    this.#deviationScale = (deviation?.weight ?? NO_GAIN).map((weight) => Math.sqrt(2 * weight))
    let widest = 1
    for (let l = 0; l < chains; l++) widest = Math.max(widest, intAt(optionStart, l + 1) - intAt(optionStart, l))
    this.#best = new Float64Array(widest)
    this.#next = new Float64Array(widest)
    this.#from = new Int32Array(steps)
    this.#stays = new Uint8Array(steps * widest)
    this.#stepMean = new Float64Array(steps)
    this.#stepVariance = new Float64Array(steps)
    this.#stepPulse = new Float64Array(steps * this.#rank)
    this.#pulses = new Float64Array(steps)
    this.#values = new Float64Array(4 * steps)
    this.#isOfThree = Uint8Array.from({ length: chains }, (_, l) => (isOfThree(problem, l) ? 1 : 0))
  }

  /** How far a slope of 1 may be followed at first: a share of what the dearest options cost; 1 for deviations, as they are scaled. */
  firstReach(): Float64Array {
    const { chains, steps, optionStart, cost } = this.problem
    let sum = 0
    for (let l = 0; l < chains; l++) {
      let most = 0
      for (let n = intAt(optionStart, l); n < intAt(optionStart, l + 1); n++) {
        const here = at(cost, n * steps)
        if (here < Number.POSITIVE_INFINITY) most = Math.max(most, here)
      }
      sum += most * steps
    }
    return Float64Array.from({ length: this.size }, (_, i) => (i < steps ? Math.max(ROW_REACH * sum, 1e-9) : 1))
  }

  /** Price of row t at a point, cost a bit. */
  rowPrice(point: Float64Array, t: number): number {
    return at(point, t) * at(this.#rowScale, t)
  }

  /** Coordinates that stay at or above 0, the first ones: prices of rows and of one-sided deviations. */
  get bounded(): number {
    return this.problem.steps + (this.problem.deviation?.oneSided ?? 0)
  }

  /** Price of deviation k at a point, cost a Hz or pu. */
  deviationPrice(point: Float64Array, k: number): number {
    return at(point, this.problem.steps + k) * at(this.#deviationScale, k)
  }

  /** The point with given prices; those of a tick that had other deviations may not fit, so bounds are seen to. */
  pointOf(rowPrices: Float64Array, deviationPrices: Float64Array): Float64Array {
    const point = new Float64Array(this.size)
    for (let t = 0; t < this.problem.steps; t++) point[t] = at(rowPrices, t) / at(this.#rowScale, t)
    for (let k = 0; k < this.#count; k++) {
      const price = deviationPrices.length > k ? at(deviationPrices, k) : 0
      const scale = at(this.#deviationScale, k)
      const i = this.problem.steps + k
      point[i] = scale > 0 ? (i < this.bounded ? Math.max(0, price) : price) / scale : 0
    }
    return point
  }

  /** Sets `prices` from a point. */
  setPrices(point: Float64Array): void {
    const { steps, deviation } = this.problem
    const { perBit, perBit2, perPulse } = this.prices
    let mean = 0
    let variance = 0
    // Key used in a step counts in its own row and in all later ones.
    for (let t = steps - 1; t >= 0; t--) {
      const price = this.rowPrice(point, t)
      mean += price
      variance += price * at(this.rows.slopePerBit, t)
      perBit[t] = mean
      perBit2[t] = variance
    }
    if (deviation === undefined) return
    perPulse.fill(0)
    const rank = this.#rank
    for (let k = 0; k < this.#count; k++) {
      const price = this.deviationPrice(point, k)
      for (let r = 0; r < rank; r++) {
        const row = (k * rank + r) * steps
        for (let t = 0; t < steps; t++) {
          perPulse[t * rank + r] = at(perPulse, t * rank + r) + price * at(deviation.response, row + t)
        }
      }
    }
  }

  /** Constant part of theta at a point: all but the chains. */
  constantOf(point: Float64Array): number {
    const { steps, deviation } = this.problem
    let sum = -(deviation?.unavoidable ?? 0)
    for (let t = 0; t < steps; t++) {
      sum -= this.rowPrice(point, t) * at(this.rows.capacityBits, t)
    }
    for (let k = 0; k < this.#count; k++) {
      const price = this.deviationPrice(point, k)
      if (deviation !== undefined && at(deviation.weight, k) > 0) {
        sum += price * at(deviation.base, k) - (price * price) / (4 * at(deviation.weight, k))
      }
    }
    return sum
  }

  /** theta at a point, its supergradient into `gradient`, and the best options into `plan`. */
  value(point: Float64Array, gradient: Float64Array): number {
    this.setPrices(point)
    this.#stepMean.fill(0)
    this.#stepVariance.fill(0)
    this.#stepPulse.fill(0)
    let sum = this.constantOf(point)
    for (let l = 0; l < this.problem.chains; l++) {
      sum += this.#isOfThree[l] === 1 ? this.#pathOfThree(l) : this.#path(l)
    }
    this.#slope(point, gradient)
    return sum
  }

  /** Best path of one chain at `prices`. Everything is held in locals: this is where the time goes. */
  #path(l: number): number {
    const { steps, optionStart, meanBits, varianceBits2, cost, switchCost, initial, deviation } = this.problem
    const { perBit, perBit2, perPulse } = this.prices
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    const gamma = at(switchCost, l)
    const start = intAt(initial, l)
    const rank = this.#rank
    const gain = deviation?.gain ?? NO_GAIN
    const from = this.#from
    const stays = this.#stays
    let best = this.#best
    let next = this.#next
    for (let m = 0; m < width; m++) best[m] = start < 0 || m === start ? 0 : gamma
    let lowest = 0
    let lowestAt = Math.max(0, start)
    for (let t = 0; t < steps; t++) {
      const p = at(perBit, t)
      const q = at(perBit2, t)
      const change = t === 0 ? Number.POSITIVE_INFINITY : lowest + gamma
      from[t] = lowestAt
      lowest = Number.POSITIVE_INFINITY
      for (let m = 0; m < width; m++) {
        const n = first + m
        let here = at(cost, n * steps + t) + p * at(meanBits, n) + q * at(varianceBits2, n)
        for (let r = 0; r < rank; r++) here += at(gain, n * rank + r) * at(perPulse, t * rank + r)
        const stay = at(best, m)
        if (stay <= change) {
          here += stay
          stays[t * width + m] = 1
        } else {
          here += change
          stays[t * width + m] = 0
        }
        next[m] = here
        if (here < lowest) {
          lowest = here
          lowestAt = m
        }
      }
      const swap = best
      best = next
      next = swap
    }
    this.#trace(l, { first, width, last: lowestAt })
    return lowest
  }

  /**
   * `#path` for a chain with off and two suites that move the grid alike, the common case. Forward without a branch; which
   * way was taken is only looked up along the best path.
   */
  #pathOfThree(l: number): number {
    const { steps, optionStart, meanBits, varianceBits2, cost, switchCost, initial } = this.problem
    const { perBit, perBit2 } = this.prices
    const first = intAt(optionStart, l)
    const gamma = at(switchCost, l)
    const start = intAt(initial, l)
    const mean0 = at(meanBits, first)
    const mean1 = at(meanBits, first + 1)
    const mean2 = at(meanBits, first + 2)
    const variance0 = at(varianceBits2, first)
    const variance1 = at(varianceBits2, first + 1)
    const variance2 = at(varianceBits2, first + 2)
    const costAt = first * steps
    const pulses = this.#pulsePrices(first + 1)
    const values = this.#values
    let best0 = start <= 0 ? 0 : gamma
    let best1 = start < 0 || start === 1 ? 0 : gamma
    let best2 = start < 0 || start === 2 ? 0 : gamma
    let lowest = Number.POSITIVE_INFINITY
    for (let t = 0; t < steps; t++) {
      const p = at(perBit, t)
      const q = at(perBit2, t)
      const pulse = at(pulses, t)
      const change = lowest + gamma
      // What a step costs is summed up apart, so that only one sum waits for the step before.
      best0 = Math.min(best0, change) + (at(cost, costAt + t) + p * mean0 + q * variance0)
      best1 = Math.min(best1, change) + (at(cost, costAt + steps + t) + p * mean1 + q * variance1 + pulse)
      best2 = Math.min(best2, change) + (at(cost, costAt + 2 * steps + t) + p * mean2 + q * variance2 + pulse)
      lowest = Math.min(best0, best1, best2)
      values[4 * t] = best0
      values[4 * t + 1] = best1
      values[4 * t + 2] = best2
      values[4 * t + 3] = lowest + gamma
    }
    const plan = this.plan
    let m = leastOfThree(values, 4 * steps - 4)
    for (let t = steps - 1; t > 0; t--) {
      plan[l * steps + t] = m
      const before = 4 * t - 4
      if (at(values, before + m) <= at(values, before + 3)) continue
      const was = leastOfThree(values, before)
      this.#tally(t, first + m, 1)
      this.#tally(t, first + was, -1)
      m = was
    }
    plan[l * steps] = m
    this.#tally(0, first + m, 1)
    return lowest
  }

  /** Prices of an option's pulses over the steps. */
  #pulsePrices(n: number): Float64Array {
    const { steps, deviation } = this.problem
    const pulses = this.#pulses
    if (deviation === undefined) return pulses
    const { perPulse } = this.prices
    const rank = this.#rank
    pulses.fill(0)
    for (let r = 0; r < rank; r++) {
      const units = at(deviation.gain, n * rank + r)
      if (units === 0) continue
      for (let t = 0; t < steps; t++) pulses[t] = at(pulses, t) + units * at(perPulse, t * rank + r)
    }
    return pulses
  }

  /** Counts option n from step t on, or no longer. */
  #tally(t: number, n: number, sign: 1 | -1): void {
    const { meanBits, varianceBits2, deviation } = this.problem
    this.#stepMean[t] = at(this.#stepMean, t) + sign * at(meanBits, n)
    this.#stepVariance[t] = at(this.#stepVariance, t) + sign * at(varianceBits2, n)
    if (deviation === undefined) return
    const rank = this.#rank
    const stepPulse = this.#stepPulse
    for (let r = 0; r < rank; r++) {
      stepPulse[t * rank + r] = at(stepPulse, t * rank + r) + sign * at(deviation.gain, n * rank + r)
    }
  }

  /** Writes the path of a chain into the plan and adds what it uses. */
  #trace(l: number, end: { readonly first: number; readonly width: number; readonly last: number }): void {
    const { steps } = this.problem
    const { first, width } = end
    let m = end.last
    for (let t = steps - 1; t > 0; t--) {
      this.plan[l * steps + t] = m
      if (this.#stays[t * width + m] === 1) continue
      const was = intAt(this.#from, t)
      this.#tally(t, first + m, 1)
      this.#tally(t, first + was, -1)
      m = was
    }
    this.plan[l * steps] = m
    this.#tally(0, first + m, 1)
  }

  #slope(point: Float64Array, gradient: Float64Array): void {
    const { steps, deviation } = this.problem
    const rank = this.#rank
    sumUp(this.#stepMean, 1)
    sumUp(this.#stepVariance, 1)
    sumUp(this.#stepPulse, rank)
    let mean = 0
    let variance = 0
    for (let t = 0; t < steps; t++) {
      mean += at(this.#stepMean, t)
      variance += at(this.#stepVariance, t)
      const use = mean + at(this.rows.slopePerBit, t) * variance
      gradient[t] = (use - at(this.rows.capacityBits, t)) * at(this.#rowScale, t)
    }
    for (let k = 0; k < this.#count && deviation !== undefined; k++) {
      let moved = at(deviation.base, k)
      for (let r = 0; r < rank; r++) {
        const row = (k * rank + r) * steps
        for (let t = 0; t < steps; t++) moved += at(this.#stepPulse, t * rank + r) * at(deviation.response, row + t)
      }
      const price = this.deviationPrice(point, k)
      gradient[steps + k] = (moved - price / (2 * at(deviation.weight, k) || 1)) * at(this.#deviationScale, k)
    }
  }
}

function isOfThree({ optionStart, deviation }: RollingProblem, l: number): boolean {
  const first = intAt(optionStart, l)
  if (intAt(optionStart, l + 1) - first !== 3) return false
  for (let r = 0; deviation !== undefined && r < deviation.rank; r++) {
    const { gain, rank } = deviation
    if (at(gain, first * rank + r) !== 0) return false
    if (at(gain, (first + 1) * rank + r) !== at(gain, (first + 2) * rank + r)) return false
  }
  return true
}

/** Adds up changes from step to step, `width` numbers a step. */
function sumUp(steps: Float64Array, width: number): void {
  for (let i = width; i < steps.length; i++) steps[i] = at(steps, i) + at(steps, i - width)
}

function leastOfThree(values: Float64Array, from: number): number {
  const [a, b, c] = [at(values, from), at(values, from + 1), at(values, from + 2)]
  return a <= b ? (a <= c ? 0 : 2) : b <= c ? 1 : 2
}
