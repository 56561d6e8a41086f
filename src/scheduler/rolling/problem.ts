/**
 * The rolling-horizon problem: which option (off, or a suite on a path) each chain has in each step, so that the key lasts
 * with the wanted probability and the cost is least.
 *
 * One option a chain and step; y is 1 for it.
 *   least  sum cost y + sum switchCost [option changes] + sum weight_k f_k^2,   f = base + response (gain y)
 *   with   M_t + z sqrt(sd_t^2 + V_t) <= available_t   for every step t     (M, V: mean and variance of the key used up to t)
 * The chance rows are cumulative, because stock carries over.
 */
import { at, intAt } from './arrays.ts'

/** Deviations of the grid, frequencies and voltages, as far as the chains move them: linear, and of low rank. */
export type DeviationTerm = {
  /** Cost of the square of each: of 1 Hz^2, or 1 pu^2: K. */
  readonly weight: Float64Array
  /** Deviations that count (of a frequency or voltage at a time): K. */
  readonly count: number
  /** The first so many cost something above 0 only: how far a voltage lies outside its band. */
  readonly oneSided: number
  /** Different pulse shapes: R. */
  readonly rank: number
  /** Each with no chain acting, Hz or pu: K. */
  readonly base: Float64Array
  /** Hz or pu added to deviation k by one unit of pulse r in step t: `[(k * R + r) * H + t]`. */
  readonly response: Float64Array
  /** Units of pulse r that option n gives in a step: `[n * R + r]`. */
  readonly gain: Float64Array
  /**
   * What no choice of options avoids, at most; absent: 0. It is left out of every value and bound, so that a gap says something of what
   * can be chosen.
   */
  readonly unavoidable?: number
  /** The bus whose voltage each is, 0: the frequency; for who explains a plan: K. */
  readonly buses?: Int32Array
}

/** The problem as flat arrays. L chains, H steps; the options of all chains stand one after another, N in all. */
export type RollingProblem = {
  readonly chains: number
  readonly steps: number
  /** First option of chain l: L + 1 entries, the last is N. */
  readonly optionStart: Int32Array
  /** Mean key an option uses in a step, bits: N. */
  readonly meanBits: Float64Array
  /** Its variance, bits^2: N. */
  readonly varianceBits2: Float64Array
  /** Cost of option n in step t: `[n * H + t]`. Infinity: not to be chosen (its path is down, its deadline cannot be met). */
  readonly cost: Float64Array
  /** Cost of changing the option between two steps: L. */
  readonly switchCost: Float64Array
  /** Option before the first step, counted within the chain; -1: none, so that the first choice is free. */
  readonly initial: Int32Array
  /** Key that may be used up to step t, bits: stock and mean supply less buffer, and in the last step less the reserve: H. */
  readonly availableBits: Float64Array
  /** Standard deviation of the supply in `availableBits`, bits: H. */
  readonly supplySdBits: Float64Array
  /** Quantile z of each chance row: H. */
  readonly z: Float64Array
  readonly deviation?: DeviationTerm
}

/** Options of all chains and steps, counted within the chain: `[l * H + t]`. */
export type OptionPlan = Int32Array

/**
 * The chance rows as linear rows, M_t + slope_t V_t <= capacity_t. sqrt(X) is the least of X / (2a) + a / 2 over a > 0, so
 * the row of a fixed spread a asks for more than the true one: what keeps it keeps the true one, and at a^2 = sd^2 + V the
 * two are the same.
 */
export type LinearRows = { readonly slopePerBit: Float64Array; readonly capacityBits: Float64Array }

/** Rows of fixed spreads a_t > 0, bits. */
export function tangentRows(problem: RollingProblem, spreadBits: Float64Array): LinearRows {
  const { steps, z, availableBits, supplySdBits } = problem
  const slopePerBit = new Float64Array(steps)
  const capacityBits = new Float64Array(steps)
  for (let t = 0; t < steps; t++) {
    const a = at(spreadBits, t)
    slopePerBit[t] = at(z, t) / (2 * a)
    capacityBits[t] = at(availableBits, t) - (at(z, t) * (a + at(supplySdBits, t) ** 2 / a)) / 2
  }
  return { slopePerBit, capacityBits }
}

/**
 * Rows that ask for less than the true ones wherever V_t lies within its interval: the chord of the square root. Their
 * optimum is therefore a bound on the true problem, as long as the interval holds the true optimum.
 */
export function chordRows(problem: RollingProblem, lowBits2: Float64Array, highBits2: Float64Array): LinearRows {
  const { steps, z, availableBits, supplySdBits } = problem
  const slopePerBit = new Float64Array(steps)
  const capacityBits = new Float64Array(steps)
  for (let t = 0; t < steps; t++) {
    const low = Math.sqrt(at(supplySdBits, t) ** 2 + at(lowBits2, t))
    const high = Math.sqrt(at(supplySdBits, t) ** 2 + at(highBits2, t))
    // (high - low) / (high^2 - low^2), which is the slope of the chord, without cancellation.
    const slope = high + low > 0 ? 1 / (high + low) : 0
    slopePerBit[t] = at(z, t) * slope
    capacityBits[t] = at(availableBits, t) - at(z, t) * (low - slope * at(lowBits2, t))
  }
  return { slopePerBit, capacityBits }
}

/** What a plan costs and how much of each row it leaves, counted from the problem alone. */
export type Judgement = {
  /** Without what no plan avoids (`unavoidable`). Infinity if an option is chosen that must not be. */
  readonly objective: number
  readonly switches: number
  /** Mean and variance of the key used up to each step. */
  readonly usedBits: Float64Array
  readonly variance2: Float64Array
  /** available - M - z sqrt(sd^2 + V); negative: the chance row does not hold. */
  readonly slackBits: Float64Array
  /** f, Hz or pu; empty without a deviation term. */
  readonly deviations: Float64Array
}

/** Counts a plan out, step by step. Nothing of the solver is used, so that it can be checked against this. */
export function judge(problem: RollingProblem, plan: OptionPlan): Judgement {
  const { chains, steps, optionStart, z, deviation } = problem
  const usedBits = new Float64Array(steps)
  const variance2 = new Float64Array(steps)
  const slackBits = new Float64Array(steps)
  const deviations = deviation === undefined ? new Float64Array(0) : Float64Array.from(deviation.base)
  let objective = -(deviation?.unavoidable ?? 0)
  let switches = 0
  let mean = 0
  let variance = 0
  for (let t = 0; t < steps; t++) {
    for (let l = 0; l < chains; l++) {
      const option = intAt(plan, l * steps + t)
      const before = t === 0 ? intAt(problem.initial, l) : intAt(plan, l * steps + t - 1)
      const n = intAt(optionStart, l) + option
      objective += at(problem.cost, n * steps + t)
      if (before >= 0 && before !== option) {
        objective += at(problem.switchCost, l)
        switches++
      }
      mean += at(problem.meanBits, n)
      variance += at(problem.varianceBits2, n)
      if (deviation !== undefined) addPulse(deviation, { option: n, step: t, steps }, deviations)
    }
    usedBits[t] = mean
    variance2[t] = variance
    const marginBits = at(z, t) * Math.sqrt(at(problem.supplySdBits, t) ** 2 + variance)
    slackBits[t] = at(problem.availableBits, t) - mean - marginBits
  }
  if (deviation !== undefined) for (const [k, f] of deviations.entries()) objective += deviationCost(deviation, k, f)
  return { objective, switches, usedBits, variance2, slackBits, deviations }
}

/** What deviation k costs at f. */
export function deviationCost({ weight, oneSided }: DeviationTerm, k: number, f: number): number {
  return f < 0 && k < oneSided ? 0 : at(weight, k) * f * f
}

type Pulse = { readonly option: number; readonly step: number; readonly steps: number }

function addPulse(deviation: DeviationTerm, { option, step, steps }: Pulse, deviations: Float64Array): void {
  const { count, rank, response, gain } = deviation
  for (let r = 0; r < rank; r++) {
    const units = at(gain, option * rank + r)
    if (units === 0) continue
    for (let k = 0; k < count; k++) {
      deviations[k] = at(deviations, k) + units * at(response, (k * rank + r) * steps + step)
    }
  }
}

/** Least slack of the linear rows, bits; negative: the plan breaks one. */
export function leastSlack(rows: LinearRows, { usedBits, variance2 }: Judgement): number {
  let least = Number.POSITIVE_INFINITY
  for (let t = 0; t < usedBits.length; t++) {
    const slack = at(rows.capacityBits, t) - at(usedBits, t) - at(rows.slopePerBit, t) * at(variance2, t)
    if (slack < least) least = slack
  }
  return least
}

/** A plan one step later; its last options go on. */
export function shiftedPlan({ chains, steps }: RollingProblem, plan: OptionPlan): OptionPlan {
  const next = new Int32Array(plan.length)
  for (let l = 0; l < chains; l++) {
    for (let t = 0; t < steps; t++) next[l * steps + t] = plan[l * steps + Math.min(steps - 1, t + 1)] ?? 0
  }
  return next
}
