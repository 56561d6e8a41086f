/** HiGHS (npm `highs`, WebAssembly) as another solver of the rolling problem: an oracle, and `scheduler.solver: highs`. */
import highsLoader from 'highs'
import {
  evenTangents,
  judge,
  type LinearRows,
  leastSlack,
  milpText,
  type OptionPlan,
  planOfBinaries,
  type RollingProblem,
  type Solver,
} from '../../scheduler/index.ts'

export type HighsOptions = {
  /** Wanted gap, relative. */
  readonly gap: number
  readonly limitS: number
  /** Adds tangents of the deviations until the quadratic term is exact; else one program (default true). */
  readonly exact?: boolean
}

export type HighsAnswer = {
  /** The best plan, undefined when there is none or none was found. */
  readonly plan: OptionPlan | undefined
  /** Its value in the problem itself, Infinity without one. */
  readonly objective: number
  readonly bound: number
  readonly isInfeasible: boolean
  readonly elapsedMs: number
}

export type HighsSolver = (problem: RollingProblem, rows: LinearRows, options: HighsOptions) => HighsAnswer

const FIRST_TANGENTS = 9
const MOST_ROUNDS = 30
/** Where work is limited instead of time, HiGHS gets this long a tick. */
const VIRTUAL_LIMIT_S = 10
/** Model status codes of HiGHS. */
const INFEASIBLE = 8

/** Loads HiGHS; the solver it gives blocks while it works. */
export async function loadHighs(): Promise<HighsSolver> {
  // Its types are read as CommonJS, where the loader is a property; as a module it is the default export itself.
  const load = highsLoader as unknown as typeof highsLoader.default
  const highs = await load()
  return (problem, rows, { gap, limitS, exact = true }) => {
    const startMs = performance.now()
    const tangents = evenTangents(problem, FIRST_TANGENTS).map((points) => [...points])
    let best: { readonly plan: OptionPlan; readonly objective: number } | undefined
    let bound = Number.NEGATIVE_INFINITY
    let isInfeasible = false
    const elapsedMs = () => performance.now() - startMs
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const text = milpText(problem, rows, tangents)
      const answer = highs.withModel({ format: 'lp', data: text }, (model) => {
        model.options.set({
          output_flag: false,
          mip_rel_gap: gap,
          mip_abs_gap: 1e-12,
          // The default of 1e-6 would let rows be broken by more than a plan may.
          mip_feasibility_tolerance: 1e-9,
          primal_feasibility_tolerance: 1e-9,
          time_limit: Math.max(0.01, limitS - elapsedMs() / 1000),
        })
        model.run()
        isInfeasible = Number(model.getModelStatus()) === INFEASIBLE
        const found = Number(model.info.get('primal_solution_status')) === 2
        const values = model.getSolution().colValue
        const names = new Map(Array.from(values, (value, column) => [model.getColName(column), value] as const))
        return { found, dual: Number(model.info.get('mip_dual_bound')), names }
      })
      if (isInfeasible) break
      // Tangents lie below the squares, so every program's bound is one of the problem.
      bound = Math.max(bound, answer.dual)
      if (!answer.found) break
      const plan = planOfBinaries(problem, (name) => answer.names.get(name) ?? 0)
      const judged = judge(problem, plan)
      const holds = leastSlack(rows, judged) >= -1e-6
      if (holds && judged.objective < (best?.objective ?? Number.POSITIVE_INFINITY)) {
        best = { plan, objective: judged.objective }
      }
      const open = (best?.objective ?? Number.POSITIVE_INFINITY) - bound
      if (!exact || tangents.length === 0 || open <= gap * Math.abs(best?.objective ?? 0)) break
      if (elapsedMs() > 1000 * limitS) break
      for (const [k, points] of tangents.entries()) points.push(judged.deviations[k] ?? 0)
    }
    return {
      plan: best?.plan,
      objective: best?.objective ?? Number.POSITIVE_INFINITY,
      bound,
      isInfeasible,
      elapsedMs: elapsedMs(),
    }
  }
}

/** HiGHS as the solver of the rolling policy. It has no prices to give: where they are asked for they are 0. */
export function rollingSolverOf(highs: HighsSolver): Solver {
  return (problem, rows, { limit, gap }) => {
    const limitS = limit.kind === 'time' ? limit.limitMs / 1000 : VIRTUAL_LIMIT_S
    const { plan, objective, bound, isInfeasible, elapsedMs } = highs(problem, rows, { gap, limitS })
    if (plan === undefined) return { kind: 'none', proven: isInfeasible, row: undefined, elapsedMs }
    const rowPrices = new Float64Array(problem.steps)
    const reached = objective - bound <= 0 ? 0 : (objective - bound) / Math.max(Math.abs(objective), 1e-12)
    return {
      kind: 'plan',
      plan,
      objective,
      bound,
      gap: reached,
      proven: reached <= gap,
      elapsedMs,
      rowPrices,
      stats: { evaluations: 0, openPaths: 0, nodes: 0, dualBound: bound, dualMs: 0, planMs: elapsedMs },
      warm: { rowPrices, deviationPrices: new Float64Array(problem.deviation?.count ?? 0), plan },
    }
  }
}
