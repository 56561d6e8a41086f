/** What frequency and voltages cost in a plan, and what each option of a chain does to that: for who explains the plan. */
import { at } from './arrays.ts'
import type { DeviationDetail } from './detail.ts'
import { deviationCost, type Judgement, judge, type OptionPlan, type RollingProblem } from './problem.ts'

/** By frequency and bus; undefined where nothing of the grid counts. */
export function deviationDetailOf(
  { deviation }: RollingProblem,
  { deviations }: Judgement,
): readonly DeviationDetail[] | undefined {
  if (deviation === undefined) return undefined
  const parts = new Map<number, { bus: number; cost: number; worst: number }>()
  for (const [k, f] of deviations.entries()) {
    const bus = deviation.buses?.[k] ?? 0
    const part = parts.get(bus) ?? { bus, cost: 0, worst: Number.NEGATIVE_INFINITY }
    part.cost += deviationCost(deviation, k, f)
    part.worst = Math.max(part.worst, k < deviation.oneSided ? f : Math.abs(f))
    parts.set(bus, part)
  }
  return [...parts.values()]
}

/**
 * What one more of each option in the first step would add to the cost of the deviations, where the plan has taken them:
 * negative if it brings them back. By option.
 */
export function marginalCosts({ steps, deviation }: RollingProblem, { deviations }: Judgement): Float64Array {
  if (deviation === undefined) return new Float64Array(0)
  const { rank, weight, oneSided, response, gain } = deviation
  const perUnit = new Float64Array(rank)
  for (const [k, f] of deviations.entries()) {
    const slope = k < oneSided && f < 0 ? 0 : 2 * at(weight, k) * f
    for (let r = 0; r < rank; r++) perUnit[r] = at(perUnit, r) + slope * at(response, (k * rank + r) * steps)
  }
  return Float64Array.from({ length: gain.length / Math.max(1, rank) }, (_, n) => {
    let sum = 0
    for (let r = 0; r < rank; r++) sum += at(gain, n * rank + r) * at(perUnit, r)
    return sum
  })
}

/** Whether `option` in all steps in which the chain is off (option 0) would make the plan cost more: it is not off for its key. */
export function isBetterOff(
  problem: RollingProblem,
  plan: OptionPlan,
  { chain, option, objective }: { readonly chain: number; readonly option: number; readonly objective: number },
): boolean {
  const { steps, optionStart, deviation } = problem
  if (deviation === undefined) return false
  const { gain, rank } = deviation
  const first = optionStart[chain] ?? 0
  const isStill = (n: number) => gain.subarray(n * rank, (n + 1) * rank).every((units) => units === 0)
  if (isStill(first) && isStill(first + option)) return false
  const other = Int32Array.from(plan)
  for (let i = chain * steps; i < (chain + 1) * steps; i++) if (other[i] === 0) other[i] = option
  return judge(problem, other).objective > objective
}
