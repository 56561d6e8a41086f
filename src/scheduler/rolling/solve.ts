/**
 * The exact solver: the best plan it can find within a limit, with a proven bound in every answer.
 *
 * Lagrangian dual, a plan from its prices by repair and local search, then only paths whose reduced cost is within the gap,
 * and a depth-first search over them. Reduced costs and theta are always of the same point on the same lists.
 */

import { at } from './arrays.ts'
import { type Ascent, ascend } from './ascent.ts'
import { Budget, type Limit } from './budget.ts'
import { Dual } from './dual.ts'
import { closeGap } from './gap.ts'
import { findPlan } from './plan-search.ts'
import { judge, type LinearRows, leastSlack, type OptionPlan, type RollingProblem, shiftedPlan } from './problem.ts'

/** Dual points on the way up that are kept, for the plans they make. */
const TRAIL = 12

/** The dual need not be nearer to its best than this, relative: the gap of a plan is wider, or wide enough. */
const DUAL_TOLERANCE = 1e-5

/** Where the next tick's solve may start. */
export type WarmStart = {
  readonly rowPrices: Float64Array
  readonly deviationPrices: Float64Array
  readonly plan: OptionPlan
}

export type SolveOptions = {
  readonly limit: Limit
  /** Wanted gap, relative to the value. */
  readonly gap: number
  readonly warm?: WarmStart
}

/** Work done, for reports. */
export type SolveStats = {
  readonly evaluations: number
  /** Paths that had to be searched, and branches that were looked at. */
  readonly openPaths: number
  readonly nodes: number
  /** The bound of the dual alone. */
  readonly dualBound: number
  /** Times after dual and plan search, ms. */
  readonly dualMs: number
  readonly planMs: number
}

/** A plan with what is proven of it. The gap is that of the problem with the given linear rows. */
export type Solution = {
  readonly kind: 'plan'
  readonly plan: OptionPlan
  readonly objective: number
  /** No plan that keeps the rows costs less. */
  readonly bound: number
  /** (objective - bound) / |objective|. */
  readonly gap: number
  /** The wanted gap is proven. */
  readonly proven: boolean
  readonly elapsedMs: number
  /** Price of each row, cost a bit: what a bit of key more would save. */
  readonly rowPrices: Float64Array
  readonly stats: SolveStats
  readonly warm: WarmStart
}

/** No plan keeps the rows (`proven`), or none was found. */
export type NoPlan = {
  readonly kind: 'none'
  readonly proven: boolean
  /** The first row that no plan keeps, if proven. */
  readonly row: number | undefined
  readonly elapsedMs: number
}

/** Solves the problem with the chance rows as the given linear rows. */
export function solve(problem: RollingProblem, rows: LinearRows, options: SolveOptions): Solution | NoPlan {
  const budget = new Budget(options.limit)
  const row = brokenRow(problem, rows)
  if (row !== undefined) return { kind: 'none', proven: true, row, elapsedMs: budget.elapsedMs }

  const dual = new Dual(problem, rows)
  if (options.warm !== undefined) {
    const kept = keepPlan(dual, options.warm, { gap: options.gap, budget })
    if (kept !== undefined) return kept
  }
  const cells = problem.chains * problem.steps
  const trail: Float64Array[] = []
  const climb = (start: Float64Array): Ascent =>
    ascend(
      {
        size: dual.size,
        value: (point, gradient) => {
          budget.spend(4 * cells)
          return dual.value(point, gradient)
        },
      },
      start,
      {
        maxEvaluations: 300,
        tolerance: Math.min(DUAL_TOLERANCE, options.gap),
        bounded: dual.bounded,
        reach: dual.firstReach(),
        stop: () => budget.used > 0.5,
        onBetter: (point) => {
          trail.push(Float64Array.from(point))
          if (trail.length > TRAIL) trail.shift()
        },
      },
    )
  const { warm } = options
  const ascent = climb(warm === undefined ? new Float64Array(dual.size) : offKinks(dual, warm))
  const dualMs = budget.elapsedMs

  const found = findPlan({
    dual,
    point: ascent.point,
    bound: ascent.value,
    trail,
    warm: options.warm?.plan,
    budget,
    gap: options.gap,
  })
  const planMs = budget.elapsedMs
  if (found === undefined) return { kind: 'none', proven: false, row: undefined, elapsedMs: budget.elapsedMs }
  const closed = closeGap({ dual, point: ascent.point, bound: ascent.value, found, budget, gap: options.gap })
  const { objective } = judge(problem, closed.plan)
  const bound = Math.min(closed.bound, objective)
  const gap = relativeGap(objective, bound)
  const rowPrices = new Float64Array(problem.steps)
  for (let t = 0; t < problem.steps; t++) rowPrices[t] = dual.rowPrice(ascent.point, t)
  const deviationPrices = Float64Array.from({ length: dual.size - problem.steps }, (_, k) =>
    dual.deviationPrice(ascent.point, k),
  )
  return {
    kind: 'plan',
    plan: closed.plan,
    objective,
    bound,
    gap,
    proven: gap <= options.gap,
    elapsedMs: budget.elapsedMs,
    rowPrices,
    stats: {
      evaluations: ascent.evaluations,
      openPaths: closed.openPaths,
      nodes: closed.nodes,
      dualBound: ascent.value,
      dualMs,
      planMs,
    },
    warm: { rowPrices, deviationPrices, plan: closed.plan },
  }
}

export function relativeGap(objective: number, bound: number): number {
  return objective - bound <= 0 ? 0 : (objective - bound) / Math.max(Math.abs(objective), 1e-12)
}

/**
 * The prices of the last tick, a little beside: as the best of that tick they lie where chains are indifferent between options,
 * and there no slope tells the way.
 */
function offKinks(dual: Dual, warm: WarmStart): Float64Array {
  return dual.pointOf(warm.rowPrices, warm.deviationPrices).map((value, i) => value * (1 + 0.01 * Math.sin(1 + 7 * i)))
}

/** The plan of the last tick a step on, if the prices of that tick still prove it: most ticks bring nothing new. */
function keepPlan(
  dual: Dual,
  warm: WarmStart,
  { gap: wanted, budget }: { readonly gap: number; readonly budget: Budget },
): Solution | undefined {
  const { problem } = dual
  const { chains, steps } = problem
  if (warm.plan.length !== chains * steps) return undefined
  const plan = shiftedPlan(problem, warm.plan)
  const judged = judge(problem, plan)
  if (!(judged.objective < Number.POSITIVE_INFINITY) || leastSlack(dual.rows, judged) < 0) return undefined
  const point = dual.pointOf(warm.rowPrices, warm.deviationPrices)
  const bound = dual.value(point, new Float64Array(dual.size))
  budget.spend(8 * chains * steps)
  const gap = relativeGap(judged.objective, bound)
  if (gap > wanted) return undefined
  return {
    kind: 'plan',
    plan,
    objective: judged.objective,
    bound: Math.min(bound, judged.objective),
    gap,
    proven: true,
    elapsedMs: budget.elapsedMs,
    rowPrices: warm.rowPrices,
    stats: {
      evaluations: 1,
      openPaths: 0,
      nodes: 0,
      dualBound: bound,
      dualMs: budget.elapsedMs,
      planMs: budget.elapsedMs,
    },
    warm: { ...warm, plan },
  }
}

/** First row that cannot hold whatever is chosen: its capacity is below the least use. */
function brokenRow(problem: RollingProblem, rows: LinearRows): number | undefined {
  const { chains, steps, optionStart, meanBits, varianceBits2, cost } = problem
  let mean = 0
  let variance = 0
  for (let t = 0; t < steps; t++) {
    for (let l = 0; l < chains; l++) {
      let leastMean = Number.POSITIVE_INFINITY
      let leastVariance = Number.POSITIVE_INFINITY
      for (let n = optionStart[l] ?? 0; n < (optionStart[l + 1] ?? 0); n++) {
        if (at(cost, n * steps + t) === Number.POSITIVE_INFINITY) continue
        leastMean = Math.min(leastMean, at(meanBits, n))
        leastVariance = Math.min(leastVariance, at(varianceBits2, n))
      }
      mean += leastMean
      variance += leastVariance
    }
    if (!(mean + at(rows.slopePerBit, t) * variance <= at(rows.capacityBits, t))) return t
  }
  return undefined
}
