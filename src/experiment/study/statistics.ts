/** Statistics of repeated runs. */
import { randomStream } from '../../sim/index.ts'

/** Mean with its 95 % interval from the percentile bootstrap (Efron), and the spread of the runs themselves. */
export type Estimate = {
  readonly mean: number
  readonly low: number
  readonly high: number
  readonly median: number
  readonly standardDeviation: number
  readonly runs: number
}

const RESAMPLES = 4_000

/**
 * Estimate of the mean of `values`; undefined without values. Resampling is seeded by `name`, so that the same runs give the
 * same interval everywhere.
 */
export function estimate(values: readonly number[], name: string): Estimate | undefined {
  if (values.length === 0) return undefined
  const random = randomStream(0, `bootstrap ${name}`)
  const means = new Float64Array(RESAMPLES)
  for (let resample = 0; resample < RESAMPLES; resample += 1) {
    let sum = 0
    for (let draw = 0; draw < values.length; draw += 1) {
      sum += values[Math.floor(random.uniform() * values.length)] ?? 0
    }
    means[resample] = sum / values.length
  }
  means.sort()
  return {
    mean: meanOf(values),
    low: means[Math.floor(0.025 * RESAMPLES)] ?? Number.NaN,
    high: means[Math.ceil(0.975 * RESAMPLES) - 1] ?? Number.NaN,
    median: medianOf(values),
    standardDeviation: deviationOf(values),
    runs: values.length,
  }
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Standard deviation of a sample; 0 for fewer than two values. */
export function deviationOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = meanOf(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
