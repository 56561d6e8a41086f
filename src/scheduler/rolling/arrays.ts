/** Elements of typed arrays as plain numbers. Two functions, so that each stays fast for its one kind of array. */

/** Element `i` of `a`; NaN outside, so that a wrong index shows in every result. */
export function at(a: Float64Array, i: number): number {
  return a[i] ?? Number.NaN
}

/** Element `i` of `a`; -1 outside. */
export function intAt(a: Int32Array, i: number): number {
  return a[i] ?? -1
}
