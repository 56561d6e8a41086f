import type { StockForecast } from '../../forecast/index.ts'
import type { ChainDetail, PlanDetail } from './detail.ts'
import { deviationDetailOf, marginalCosts } from './deviation-detail.ts'
import type { Judgement, RollingProblem } from './problem.ts'
import type { Solution } from './solve.ts'
import type { Horizon, Work } from './tick-problem.ts'

/** Chains that a detail lists, so that its record stays small. */
const MOST_CHAINS = 200

export function detailOf(facts: {
  readonly mode: PlanDetail['mode']
  readonly forecast: StockForecast
  readonly horizon: Horizon
  readonly problem: RollingProblem
  readonly answer: Solution
  readonly judged: Judgement
  readonly work: Work
}): PlanDetail {
  const { mode, forecast, horizon, problem, answer, judged, work } = facts
  const deviations = deviationDetailOf(problem, judged)
  const unavoidable = problem.deviation?.unavoidable ?? 0
  return {
    mode,
    forecast: forecast.source,
    stepMs: horizon.stepMs,
    stockBits: horizon.stockBits,
    supplyBits: [...horizon.supplyBits],
    stockLowerBits: atSteps(forecast.stockLowerBits, problem.steps),
    otherBits: horizon.otherBits,
    availableBits: [...problem.availableBits],
    usedBits: [...judged.usedBits],
    slackBits: [...judged.slackBits],
    rowPrices: [...answer.rowPrices],
    ...(deviations && { deviations }),
    objective: answer.objective + unavoidable,
    bound: answer.bound + unavoidable,
    gap: answer.gap,
    proven: answer.proven,
    solveMs: answer.elapsedMs,
    chains: chainsOf(work, { problem, answer, stepS: horizon.stepMs / 1000, spread: judged }),
  }
}

/** Values of a forecast at the ends of the horizon's steps. */
export function atSteps(values: Float64Array, steps: number): readonly number[] {
  const every = values.length / steps
  return Array.from({ length: steps }, (_, t) => values[Math.round((t + 1) * every) - 1] ?? 0)
}

/** Before the pool's first status, and in protect mode: there are no prices. */
export function waitingDetail(): PlanDetail {
  return {
    mode: 'waiting',
    forecast: 'none',
    stepMs: 0,
    stockBits: 0,
    supplyBits: [],
    stockLowerBits: [],
    otherBits: 0,
    availableBits: [],
    usedBits: [],
    slackBits: [],
    rowPrices: [],
    objective: 0,
    bound: 0,
    gap: 0,
    proven: false,
    solveMs: 0,
    chains: [],
  }
}

type Solved = {
  readonly problem: RollingProblem
  readonly answer: Solution
  readonly stepS: number
  readonly spread: Judgement
}

/** Key of the first step counts in every row, so its price is the sum of all; variance counts by the rows' slope. */
function chainsOf(
  { chains, options, usable }: Work,
  { problem, answer, stepS, spread }: Solved,
): readonly ChainDetail[] {
  const { steps, z, supplySdBits } = problem
  const marginal = problem.deviation && marginalCosts(problem, spread)
  let perBit = 0
  let perBit2 = 0
  for (let t = 0; t < steps; t++) {
    const price = answer.rowPrices[t] ?? 0
    const sd = Math.sqrt((supplySdBits[t] ?? 0) ** 2 + (spread.variance2[t] ?? 0))
    perBit += price
    perBit2 += sd > 0 ? (price * (z[t] ?? 0)) / (2 * sd) : 0
  }
  return chains.slice(0, MOST_CHAINS).map((chain, l) => ({
    chain: chain.id,
    taken: answer.plan[l * steps] ?? 0,
    options: (options[l] ?? []).map(({ suite, path, costPerS }, m) => {
      const n = (problem.optionStart[l] ?? 0) + m
      const bits = problem.meanBits[n] ?? 0
      const bits2 = problem.varianceBits2[n] ?? 0
      return {
        name: suite === undefined ? 'off' : `${suite} ${path}`,
        usable: usable[l]?.[m] === true,
        costPerS,
        keyBps: bits / stepS,
        keyCostPerS: (perBit * bits + perBit2 * bits2) / stepS,
        ...(marginal && { gridCostPerS: (marginal[n] ?? 0) / stepS }),
      }
    }),
  }))
}
