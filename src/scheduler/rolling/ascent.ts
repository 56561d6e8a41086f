/**
 * Maximises a concave function that is not smooth by BFGS with a weak Wolfe line search, which needs no smoothing (Lewis and
 * Overton, Nonsmooth optimization via quasi-Newton methods, 2013). Meant for some ten to a hundred variables.
 */
import { at } from './arrays.ts'

export type Concave = {
  readonly size: number
  /** Value at a point; a supergradient into `gradient`. */
  readonly value: (point: Float64Array, gradient: Float64Array) => number
}

export type AscentOptions = {
  readonly maxEvaluations: number
  /** Ends when the last four steps have gained less than this, relative to the value. */
  readonly tolerance: number
  /** The first so many coordinates stay at or above 0. */
  readonly bounded: number
  /** Inverse curvature to begin with, by coordinate: how far a slope of 1 is followed. */
  readonly reach: Float64Array
  /** Stops at once when it gives true; told the best value so far. */
  readonly stop?: (best: number) => boolean
  /** Told of every better point; the point changes afterwards. */
  readonly onBetter?: (point: Float64Array, value: number) => void
}

export type Ascent = {
  readonly point: Float64Array
  readonly value: number
  readonly evaluations: number
}

const SUFFICIENT = 1e-4
const CURVATURE = 0.5
const LINE_EVALUATIONS = 16
const WINDOW = 4
const MOST_RESETS = 5
/** How far beside an edge the ascent goes on, relative. */
const BESIDE = 0.04

/** Runs from `start`, which stays as it is. */
export function ascend(target: Concave, start: Float64Array, options: AscentOptions): Ascent {
  const n = target.size
  const { bounded, reach } = options
  let x: Float64Array = Float64Array.from(start, (value, i) => (i < bounded ? Math.max(0, value) : value))
  let g: Float64Array = new Float64Array(n)
  let trial: Float64Array = new Float64Array(n)
  let slope: Float64Array = new Float64Array(n)
  const isHeld = new Uint8Array(n)
  const direction = new Float64Array(n)
  const step = new Float64Array(n)
  const change = new Float64Array(n)
  const product = new Float64Array(n)
  const inverse = new Float64Array(n * n)
  setDiagonal(inverse, reach)
  let value = target.value(x, g)
  let evaluations = 1
  options.onBetter?.(x, value)
  const history: number[] = [value]
  const isOver = (): boolean => evaluations >= options.maxEvaluations || options.stop?.(value) === true
  let resets = 0
  let best: { readonly point: Float64Array; readonly value: number } = { point: x, value: Number.NEGATIVE_INFINITY }
  while (!isOver()) {
    // Coordinates at their bound that would leave it are held.
    for (let i = 0; i < n; i++) isHeld[i] = i < bounded && at(x, i) <= 0 && at(g, i) <= 0 ? 1 : 0
    let rise = follow(inverse, { g, isHeld, direction })
    if (!(rise > 0)) {
      setDiagonal(inverse, reach)
      rise = follow(inverse, { g, isHeld, direction })
      if (!(rise > 0)) break
    }
    let length = 1
    let low = 0
    let high = Number.POSITIVE_INFINITY
    let reached = Number.NEGATIVE_INFINITY
    for (let tries = 0; tries < LINE_EVALUATIONS; tries++) {
      for (let i = 0; i < n; i++) {
        const moved = at(x, i) + length * at(direction, i)
        trial[i] = i < bounded && moved < 0 ? 0 : moved
      }
      reached = target.value(trial, slope)
      evaluations++
      if (!(reached >= value + SUFFICIENT * length * rise)) high = length
      else if (along(slope, direction, { trial, bounded }) > CURVATURE * rise) low = length
      else break
      if (isOver()) break
      length = high < Number.POSITIVE_INFINITY ? (low + high) / 2 : 2 * length
    }
    if (!(reached > value)) {
      // No way up along this direction: the point lies on an edge, where one slope does not tell the way. From beside it, again.
      if (++resets > MOST_RESETS) break
      if (value > best.value) best = { point: Float64Array.from(x), value }
      setDiagonal(inverse, reach)
      for (let i = 0; i < n; i++) x[i] = at(best.point, i) * (1 + (BESIDE / 4 ** resets) * Math.sin(resets + 7 * i))
      value = target.value(x, g)
      evaluations++
      continue
    }
    for (let i = 0; i < n; i++) {
      step[i] = at(trial, i) - at(x, i)
      change[i] = isHeld[i] === 1 ? 0 : at(g, i) - at(slope, i)
    }
    const curved = dot(step, change)
    if (curved > 1e-14 * dot(step, step)) update(inverse, { step, change, product, curved })
    const [oldX, oldG] = [x, g]
    x = trial
    g = slope
    trial = oldX
    slope = oldG
    value = reached
    options.onBetter?.(x, value)
    history.push(value)
    const before = history[history.length - 1 - WINDOW]
    if (before !== undefined && value - before <= options.tolerance * Math.abs(value)) break
  }
  return value >= best.value ? { point: x, value, evaluations } : { ...best, evaluations }
}

type Course = { readonly g: Float64Array; readonly isHeld: Uint8Array; readonly direction: Float64Array }

/** Direction of the next step, 0 where held; its slope. */
function follow(inverse: Float64Array, { g, isHeld, direction }: Course): number {
  const n = g.length
  let rise = 0
  for (let i = 0; i < n; i++) {
    let sum = 0
    if (isHeld[i] === 0) for (let j = 0; j < n; j++) if (isHeld[j] === 0) sum += at(inverse, i * n + j) * at(g, j)
    direction[i] = sum
    rise += sum * at(g, i)
  }
  return rise
}

/** Slope along the direction at a trial point, where coordinates that have come to their bound go no further. */
function along(
  slope: Float64Array,
  direction: Float64Array,
  { trial, bounded }: { readonly trial: Float64Array; readonly bounded: number },
): number {
  let sum = 0
  for (let i = 0; i < slope.length; i++) {
    if (i < bounded && at(trial, i) <= 0 && at(direction, i) < 0) continue
    sum += at(slope, i) * at(direction, i)
  }
  return sum
}

type Update = {
  readonly step: Float64Array
  readonly change: Float64Array
  readonly product: Float64Array
  readonly curved: number
}

/** BFGS update of the inverse Hessian. */
function update(inverse: Float64Array, { step, change, product, curved }: Update): void {
  const n = step.length
  for (let i = 0; i < n; i++) {
    let sum = 0
    for (let j = 0; j < n; j++) sum += at(inverse, i * n + j) * at(change, j)
    product[i] = sum
  }
  const factor = (1 + dot(change, product) / curved) / curved
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const mixed = at(step, i) * at(product, j) + at(product, i) * at(step, j)
      inverse[i * n + j] = at(inverse, i * n + j) + factor * at(step, i) * at(step, j) - mixed / curved
    }
  }
}

function setDiagonal(matrix: Float64Array, values: Float64Array): void {
  const n = values.length
  matrix.fill(0)
  for (let i = 0; i < n; i++) matrix[i * n + i] = at(values, i)
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += at(a, i) * at(b, i)
  return sum
}
