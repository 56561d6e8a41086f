/** A feasible plan from the prices of the dual. */
import { at } from './arrays.ts'
import type { Budget } from './budget.ts'
import { Candidates, PathEnumerator } from './candidates.ts'
import type { Dual } from './dual.ts'
import { Choice, improveInPairs, improveSingly, repair } from './local-search.ts'
import { type OptionPlan, shiftedPlan } from './problem.ts'

export type PlanSearch = {
  readonly dual: Dual
  /** Best dual point, and its value. */
  readonly point: Float64Array
  readonly bound: number
  /** Points on the way to it. */
  readonly trail: readonly Float64Array[]
  /** Plan of the last tick. */
  readonly warm: OptionPlan | undefined
  readonly budget: Budget
  readonly gap: number
}

export type FoundPlan = { readonly plan: OptionPlan; readonly objective: number }

/** Starts that are improved by local search. */
const STARTS = 3
const PAIR_PATHS = 150
const SEARCHED_CHAINS = 400

export function findPlan(search: PlanSearch): FoundPlan | undefined {
  const { dual, point, bound, budget } = search
  const { chains, steps } = dual.problem
  const gradient = new Float64Array(dual.size)
  const plans: OptionPlan[] = []
  const note = (at: Float64Array): void => {
    budget.spend(4 * chains * steps)
    dual.value(at, gradient)
    plans.push(Int32Array.from(dual.plan))
  }
  note(point)
  for (const earlier of search.trail.slice(chains > 400 ? -3 : -8)) note(earlier)
  // Dearer key makes plans that use less: the first one that fits is a plan already.
  for (let extra = chains > 400 ? 1e-4 : 1e-3; extra < 1e6; extra *= 4) {
    note(point.map((value, i) => (i < steps ? value * (1 + extra) + (extra > 1 ? extra : 0) : value)))
    if (rowsHold(dual, gradient)) break
    if (budget.used > 0.8) break
  }
  if (search.warm?.length === chains * steps) plans.push(shiftedPlan(dual.problem, search.warm))

  const list = new Candidates(dual)
  const paths = new PathEnumerator(dual)
  dual.setPrices(point)
  const cutoff = (0.2 * Math.abs(bound)) / chains
  const most = chains > 2000 ? 4 : chains > 200 ? 8 : 40
  const picks = plans.map(() => new Int32Array(chains))
  for (let l = 0; l < chains; l++) {
    const { paths: near } = paths.list(l, cutoff, most)
    for (let from = 0; from < near.length; from += steps) list.add(l, near, from)
    for (const [p, plan] of plans.entries()) {
      const pick = picks[p]
      if (pick !== undefined) pick[l] = list.add(l, plan, l * steps)
    }
    list.close()
  }
  budget.spend(list.size * steps)
  return improved({ list, picks, search })
}

function improved(given: {
  readonly list: Candidates
  readonly picks: readonly Int32Array[]
  readonly search: PlanSearch
}): FoundPlan | undefined {
  const { list, picks, search } = given
  const { dual, point, bound, budget, gap } = search
  const choice = new Choice(list, dual.rows.capacityBits)
  const order = pairOrder(dual, point, list)
  const starts = picks
    .map((pick) => {
      choice.set(pick)
      return { pick, excess: choice.excess, objective: choice.objective }
    })
    .filter(({ objective }) => objective < Number.POSITIVE_INFINITY)
    // What fits, the cheapest first; then what is least over.
    .sort((a, b) => a.excess - b.excess || a.objective - b.objective)
  const tried = [...starts.slice(0, STARTS), ...starts.filter(({ excess }) => excess > 0).slice(0, STARTS)]
  let best: FoundPlan | undefined
  for (const { pick } of tried) {
    choice.set(pick)
    if (!repair(choice, budget)) continue
    improveSingly(choice, budget)
    // Few chains are better left to the search, which comes next.
    if (budget.used < 0.8 && dual.problem.chains > SEARCHED_CHAINS) improveInPairs(choice, order, budget)
    const { objective } = choice
    if (best === undefined || objective < best.objective) {
      const plan = new Int32Array(dual.plan.length)
      choice.write(plan)
      best = { plan, objective }
    }
    if (best.objective - bound <= gap * Math.abs(best.objective)) break
    if (budget.used > 0.7) break
  }
  return best
}

/** Paths of chains that have a choice, those with the least reduced cost first. */
function pairOrder(dual: Dual, point: Float64Array, list: Candidates): number[] {
  const { rows, deviations } = list
  const reduced: { readonly c: number; readonly cost: number }[] = []
  for (let l = 0; l + 1 < list.start.length; l++) {
    const from = list.start[l] ?? 0
    const to = list.start[l + 1] ?? 0
    if (to - from < 2) continue
    const values: number[] = []
    for (let c = from; c < to; c++) {
      let value = list.cost[c] ?? 0
      for (let t = 0; t < rows; t++) value += dual.rowPrice(point, t) * (list.use[c * rows + t] ?? 0)
      for (let k = 0; k < deviations; k++) {
        value += dual.deviationPrice(point, k) * (list.moved[c * deviations + k] ?? 0)
      }
      values.push(value)
    }
    const least = values.reduce((a, b) => Math.min(a, b))
    for (const [i, value] of values.entries()) reduced.push({ c: from + i, cost: value - least })
  }
  // A chain's best path counts only beside an almost equal one.
  return reduced
    .sort((a, b) => a.cost - b.cost)
    .slice(0, 4 * PAIR_PATHS)
    .filter(({ c, cost }, i, all) => i < PAIR_PATHS || cost > 0 || all[i]?.c === c)
    .slice(0, PAIR_PATHS)
    .map(({ c }) => c)
}

/** The gradient of the dual says whether its plan keeps the rows: usage less capacity. */
function rowsHold(dual: Dual, gradient: Float64Array): boolean {
  for (let t = 0; t < dual.problem.steps; t++) if (at(gradient, t) > 0) return false
  return true
}
