/**
 * How often plans break their chance rows, and what each kind of quantile and a greedy plan cost. Each plan is carried out 200
 * times over its horizon with Poisson messages and Gaussian supply: a horizon counts as broken if the key ran short (or below
 * the reserve at the end) in any step.
 */
import {
  Allocation,
  chordRows,
  judge,
  leastSlack,
  type OptionPlan,
  quantilesOf,
  type RiskBound,
  type RollingProblem,
  solve,
  tangentRows,
} from '../../src/scheduler/index.ts'
import { type Random, randomStream } from '../../src/sim/index.ts'
import { guessedSpread, instance } from './instances.ts'

const RISK = 0.05
const HORIZONS = 200
const BOUNDS: readonly RiskBound[] = ['bonferroni', 'allocated', 'gaussian', 'cantelli']
/** A division of the risk moves a fifth of the way at a time: this often to get there. */
const ALLOCATION_ROUNDS = 12
const SIZE = { chains: 40, steps: 10 }
/** Quantile of the normal distribution for an interval of 95 %. */
const HALF_WIDTH_SDS = 1.96

export function riskReport(instances: number): void {
  const broken = new Map<RiskBound, number>()
  const cost = new Map<RiskBound, number[]>()
  const greedyCost: number[] = []
  const overTrue: number[] = []
  let horizons = 0
  for (let seed = 1; seed <= instances; seed++) {
    const { problem } = instance(seed, SIZE)
    const values = new Map<RiskBound, number>()
    let counted = false
    for (const bound of BOUNDS) {
      const solved = refitted({ ...problem, z: quantilesOf({ bound, risk: RISK, steps: problem.steps }) }, bound)
      if (solved === undefined) continue
      values.set(bound, solved.objective)
      // Where no row binds nothing can be broken, and nothing is said of the quantile.
      const isBinding = Math.min(...solved.slackBits) < 0.02 * (problem.availableBits.at(-1) ?? 0)
      if (!isBinding) continue
      if (bound === 'bonferroni') counted = true
      if (counted) broken.set(bound, (broken.get(bound) ?? 0) + brokenHorizons(problem, solved.plan, seed))
    }
    if (counted) horizons += HORIZONS
    const base = values.get('bonferroni')
    if (base === undefined) continue
    overTrue.push(
      base / trueBound({ ...problem, z: quantilesOf({ bound: 'bonferroni', risk: RISK, steps: problem.steps }) }) - 1,
    )
    for (const [bound, value] of values) cost.set(bound, [...(cost.get(bound) ?? []), value / base])
    const greedy = greedyValue({
      ...problem,
      z: quantilesOf({ bound: 'bonferroni', risk: RISK, steps: problem.steps }),
    })
    if (greedy !== undefined) greedyCost.push(greedy / base)
  }
  console.log(
    `\nchance rows at a risk of ${RISK}, ${SIZE.chains}x${SIZE.steps}: ${horizons} simulated horizons with a binding row`,
  )
  for (const bound of BOUNDS) {
    console.log(
      `  ${bound.padEnd(11)} broken ${((100 * (broken.get(bound) ?? 0)) / horizons).toFixed(2)} %, cost ${mean(cost.get(bound) ?? []).toFixed(3)} of bonferroni's`,
    )
  }
  console.log(
    `  priority greedy costs ${mean(greedyCost).toFixed(3)} +- ${halfWidth(greedyCost).toFixed(3)} of the optimal plan (${greedyCost.length} instances, 95 %)`,
  )
  console.log(
    `  linear rows, refitted: ${(100 * mean(overTrue)).toFixed(2)} % over the bound of the true rows (chords), at most ${(100 * Math.max(...overTrue)).toFixed(2)} %`,
  )
}

/**
 * A lower bound of the problem with its true chance rows: chords of the square root over all variances that a plan can have. No plan
 * that keeps the true rows costs less.
 */
function trueBound(problem: RollingProblem): number {
  const { chains, steps, optionStart, varianceBits2, cost } = problem
  const low = new Float64Array(steps)
  const high = new Float64Array(steps)
  let [least, most] = [0, 0]
  for (let t = 0; t < steps; t++) {
    for (let l = 0; l < chains; l++) {
      const all: number[] = []
      for (let n = optionStart[l] ?? 0; n < (optionStart[l + 1] ?? 0); n++) {
        if ((cost[n * steps + t] ?? 0) < Number.POSITIVE_INFINITY) all.push(varianceBits2[n] ?? 0)
      }
      least += Math.min(...all)
      most += Math.max(...all)
    }
    low[t] = least
    high[t] = most
  }
  const answer = solve(problem, chordRows(problem, low, high), { limit: { kind: 'work', units: 2e7 }, gap: 1e-4 })
  return answer.kind === 'none' ? Number.NaN : answer.bound
}

/** The best plan with rows refitted to it three times, so that they are the chance rows at the end. */
function refitted(given: RollingProblem, bound: RiskBound) {
  let problem = given
  const allocation = new Allocation(problem.steps)
  let spread = guessedSpread(problem)
  let best: { readonly plan: OptionPlan; readonly objective: number; readonly slackBits: Float64Array } | undefined
  for (let round = 0; round < 3; round++) {
    const answer = solve(problem, tangentRows(problem, spread), { limit: { kind: 'work', units: 2e7 }, gap: 1e-4 })
    if (answer.kind === 'none') return best
    const judged = judge(problem, answer.plan)
    if (answer.objective < (best?.objective ?? Number.POSITIVE_INFINITY)) {
      best = { plan: answer.plan, objective: answer.objective, slackBits: judged.slackBits }
    }
    spread = judged.variance2.map((variance, t) =>
      Math.max(1, Math.hypot(given.supplySdBits[t] ?? 0, Math.sqrt(variance))),
    )
    if (bound !== 'allocated') continue
    for (let i = 0; i < ALLOCATION_ROUNDS; i++) allocation.note(answer.rowPrices, spread)
    const { shares } = allocation
    problem = { ...given, z: quantilesOf({ bound, risk: RISK, steps: given.steps, shares }) }
  }
  return best
}

function brokenHorizons(problem: RollingProblem, plan: OptionPlan, seed: number): number {
  const random = randomStream(seed, 'horizons')
  let broken = 0
  for (let i = 0; i < HORIZONS; i++) if (isBroken(problem, plan, random)) broken++
  return broken
}

function isBroken(
  { chains, steps, optionStart, meanBits, varianceBits2, ...rows }: RollingProblem,
  plan: OptionPlan,
  random: Random,
): boolean {
  let used = 0
  let off = 0
  for (let t = 0; t < steps; t++) {
    for (let l = 0; l < chains; l++) {
      const n = (optionStart[l] ?? 0) + (plan[l * steps + t] ?? 0)
      const mean = meanBits[n] ?? 0
      if (mean === 0) continue
      const messageBits = (varianceBits2[n] ?? 0) / mean
      used += messageBits * random.poisson(mean / messageBits)
    }
    const before = t === 0 ? 0 : (rows.supplySdBits[t - 1] ?? 0)
    off += Math.sqrt(Math.max(0, (rows.supplySdBits[t] ?? 0) ** 2 - before ** 2)) * random.normal()
    if (used > (rows.availableBits[t] ?? 0) + off) return true
  }
  return false
}

/** All in AES, the least dear off until that fits; then OTP throughout for those that lose most without it, as long as it fits. */
function greedyValue(problem: RollingProblem): number | undefined {
  const { chains, steps, optionStart, cost } = problem
  const plan = new Int32Array(chains * steps)
  const rows = tangentRows(problem, guessedSpread(problem))
  const costOf = (l: number, option: number): number => cost[((optionStart[l] ?? 0) + option) * steps] ?? 0
  const fits = (): boolean => leastSlack(rows, judge(problem, plan)) >= 0
  const all = Array.from({ length: chains }, (_, l) => l)
  plan.fill(1)
  for (const l of all.toSorted((a, b) => costOf(a, 0) - costOf(b, 0))) {
    if (fits()) break
    plan.fill(0, l * steps, (l + 1) * steps)
  }
  for (const l of all.toSorted((a, b) => costOf(b, 1) - costOf(a, 1))) {
    const before = plan[l * steps] ?? 0
    if (costOf(l, 2) >= costOf(l, before)) continue
    plan.fill(2, l * steps, (l + 1) * steps)
    if (!fits()) plan.fill(before, l * steps, (l + 1) * steps)
  }
  const judged = judge(problem, plan)
  return leastSlack(rows, judged) >= 0 ? judged.objective : undefined
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function halfWidth(values: readonly number[]): number {
  const middle = mean(values)
  const square = values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / Math.max(1, values.length - 1)
  return HALF_WIDTH_SDS * Math.sqrt(square / values.length)
}
