/** How large z of the chance rows must be for a risk. */

/**
 * - `bonferroni`: risk / steps for each row, so that all rows together are broken with probability of at most `risk`.
 * - `gaussian`: `risk` for each row; together they may be broken more often.
 * - `cantelli`: `risk` for each row whatever the distribution is; costs most.
 * - `empirical`: the quantile of errors that were seen, at `risk / steps` each; until there are enough, Bonferroni.
 */
export type RiskBound = 'bonferroni' | 'gaussian' | 'cantelli' | 'empirical'

export type RiskOptions = {
  readonly bound: RiskBound
  /** 0..1, both excluded. */
  readonly risk: number
  readonly steps: number
  /** Errors in standard deviations, positive where more was used or less came than foreseen. */
  readonly errors?: readonly number[]
}

/** z of each row. @throws RangeError for a risk outside 0..1 */
export function quantileOf({ bound, risk, steps, errors = [] }: RiskOptions): number {
  if (!(risk > 0 && risk < 1)) throw new RangeError(`risk ${risk} is not between 0 and 1`)
  const each = bound === 'gaussian' || bound === 'cantelli' ? risk : risk / steps
  if (bound === 'cantelli') return Math.sqrt((1 - each) / each)
  // A quantile of n errors says nothing beyond 1 - 1/n.
  if (bound === 'empirical' && errors.length * each >= 2) {
    const sorted = errors.toSorted((a, b) => a - b)
    return Math.max(0, sorted[Math.ceil((1 - each) * sorted.length) - 1] ?? 0)
  }
  return normalQuantile(1 - each)
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
