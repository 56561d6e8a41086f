/** Dense linear algebra on row-major Float64Array: as much as a system of some hundred buses needs. */

/** Element `i` of `a`; NaN outside, so that a wrong index shows in every result. */
export function at(a: Float64Array, i: number): number {
  return a[i] ?? Number.NaN
}

/**
 * Solves A X = B by Gaussian elimination with partial pivoting, in place: `a` (n x n) is destroyed, `b` (n x m) becomes X.
 *
 * @returns false when A is singular to working precision (`b` is then meaningless).
 */
export function solveDense(a: Float64Array, b: Float64Array, n: number): boolean {
  const m = b.length / n
  for (let k = 0; k < n; k++) {
    const pivot = pivotRow(a, k, n)
    const head = at(a, pivot * n + k)
    if (!(Math.abs(head) > 1e-14)) return false
    if (pivot !== k) {
      swapRows(a, { one: pivot, other: k, width: n })
      swapRows(b, { one: pivot, other: k, width: m })
    }
    for (let i = k + 1; i < n; i++) {
      const factor = at(a, i * n + k) / head
      if (factor === 0) continue
      for (let j = k + 1; j < n; j++) a[i * n + j] = at(a, i * n + j) - factor * at(a, k * n + j)
      for (let j = 0; j < m; j++) b[i * m + j] = at(b, i * m + j) - factor * at(b, k * m + j)
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) {
      const factor = at(a, i * n + k)
      if (factor === 0) continue
      for (let j = 0; j < m; j++) b[i * m + j] = at(b, i * m + j) - factor * at(b, k * m + j)
    }
    const head = at(a, i * n + i)
    for (let j = 0; j < m; j++) b[i * m + j] = at(b, i * m + j) / head
  }
  return true
}

function pivotRow(a: Float64Array, k: number, n: number): number {
  let row = k
  for (let i = k + 1; i < n; i++) {
    if (Math.abs(at(a, i * n + k)) > Math.abs(at(a, row * n + k))) row = i
  }
  return row
}

function swapRows(
  a: Float64Array,
  rows: { readonly one: number; readonly other: number; readonly width: number },
): void {
  for (let j = 0; j < rows.width; j++) {
    const kept = at(a, rows.one * rows.width + j)
    a[rows.one * rows.width + j] = at(a, rows.other * rows.width + j)
    a[rows.other * rows.width + j] = kept
  }
}
