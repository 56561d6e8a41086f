/** How large z of the chance rows must be for a risk. */

/**
 * - `allocated`: all rows together are broken with probability of at most `risk` (Boole's inequality), which is divided among them as
 *   it saves most: see `Allocation`.
 * - `bonferroni`: the same with `risk / steps` for each row.
 * - `gaussian`: `risk` for each row; together they may be broken more often.
 * - `cantelli`: `risk` for each row whatever the distribution is; costs most.
 * - `empirical`: the quantile of errors that were seen, at `risk / steps` each; until there are enough, Bonferroni.
 */
export type RiskBound = 'allocated' | 'bonferroni' | 'gaussian' | 'cantelli' | 'empirical'

export type RiskOptions = {
  readonly bound: RiskBound
  /** 0..1, both excluded. */
  readonly risk: number
  readonly steps: number
  /** For `empirical`: errors in standard deviations, positive where more was used or less came than foreseen. */
  readonly errors?: readonly number[]
  /** For `allocated`: the rows' shares of the risk, sum 1; default equal ones. */
  readonly shares?: Float64Array
}

/** z of each row. @throws RangeError for a risk outside 0..1 */
export function quantilesOf(options: RiskOptions): Float64Array {
  const { bound, risk, steps, errors = [], shares } = options
  if (!(risk > 0 && risk < 1)) throw new RangeError(`risk ${risk} is not between 0 and 1`)
  if (bound === 'allocated' && shares !== undefined) return shares.map((share) => normalQuantile(1 - risk * share))
  return new Float64Array(steps).fill(quantileOfEach(bound, { risk, steps, errors }))
}

function quantileOfEach(
  bound: RiskBound,
  { risk, steps, errors }: { readonly risk: number; readonly steps: number; readonly errors: readonly number[] },
): number {
  const each = bound === 'gaussian' || bound === 'cantelli' ? risk : risk / steps
  if (bound === 'cantelli') return Math.sqrt((1 - each) / each)
  // A quantile of n errors says nothing beyond 1 - 1/n.
  if (bound === 'empirical' && errors.length * each >= 2) {
    const sorted = errors.toSorted((a, b) => a - b)
    return Math.max(0, sorted[Math.ceil((1 - each) * sorted.length) - 1] ?? 0)
  }
  return normalQuantile(1 - each)
}

/** Part of the risk that all rows share evenly, so that none is left without when prices move. */
const EVEN_PART = 0.5
/** Part of the division that is made anew each tick. */
const RENEWED = 0.2

/**
 * How a risk is divided among the rows. Least cost of all divisions of a sum asks for p s = c phi(z) in every row (p its price, s its
 * spread, phi the normal density), and phi(z) is nearly in proportion to the row's risk: so half of the risk goes to the
 * rows in proportion to p s of the last plans. A row that never binds needs hardly any; most often the last one has it nearly all.
 */
export class Allocation {
  readonly #even: number
  readonly #dear: Float64Array

  constructor(steps: number) {
    this.#even = 1 / steps
    this.#dear = new Float64Array(steps).fill(1 / steps)
  }

  /** Share of each row, sum 1. */
  get shares(): Float64Array {
    return this.#dear.map((share) => EVEN_PART * this.#even + (1 - EVEN_PART) * share)
  }

  /** Takes the prices and spreads of a plan's rows into account. */
  note(rowPrices: Float64Array, spreadBits: Float64Array): void {
    const worth = rowPrices.map((price, t) => Math.max(0, price) * (spreadBits[t] ?? 0))
    const total = worth.reduce((sum, each) => sum + each, 0)
    for (let t = 0; t < worth.length; t++) {
      const share = total > 0 ? (worth[t] ?? 0) / total : this.#even
      this.#dear[t] = (this.#dear[t] ?? 0) + RENEWED * (share - (this.#dear[t] ?? 0))
    }
  }
}

/** Inverse of the normal distribution function (P. Acklam's rational approximation, error below 1.2e-9). */
export function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) throw new RangeError(`probability ${p} is not between 0 and 1`)
  if (p > 0.5) return -normalQuantile(1 - p)
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p))
    return polynomial(C, q) / (polynomial(D, q) * q + 1)
  }
  const q = p - 0.5
  const r = q * q
  return (polynomial(A, r) * q) / (polynomial(B, r) * r + 1)
}

const A = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
]
const B = [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1]
const C = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
]
const D = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416]

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0)
}
