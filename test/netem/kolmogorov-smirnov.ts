/** Two samples compared by the test of Kolmogorov and Smirnov. */
export type Comparison = {
  /** Largest distance between the two distribution functions. */
  readonly distance: number
  /** Distance that two samples of one law exceed once in ten thousand times. */
  readonly limit: number
}

/** c of the two-sided test at a level of 0.0001: sqrt(-ln(0.0001 / 2) / 2). */
const C = 2.225

export function compare(a: readonly number[], b: readonly number[]): Comparison {
  const [x, y] = [a.toSorted((p, q) => p - q), b.toSorted((p, q) => p - q)]
  let [i, j, distance] = [0, 0, 0]
  while (i < x.length && j < y.length) {
    const at = Math.min(x[i] ?? 0, y[j] ?? 0)
    while (i < x.length && (x[i] ?? 0) <= at) i++
    while (j < y.length && (y[j] ?? 0) <= at) j++
    distance = Math.max(distance, Math.abs(i / x.length - j / y.length))
  }
  return { distance, limit: C * Math.sqrt((x.length + y.length) / (x.length * y.length)) }
}
