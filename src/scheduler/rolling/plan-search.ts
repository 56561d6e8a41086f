/** A feasible plan from the prices of the dual. */
import { at, intAt } from './arrays.ts'
import type { Budget } from './budget.ts'
import { Candidates } from './candidates.ts'
import type { Dual } from './dual.ts'
import { improveByExchange } from './exchange.ts'
import { Choice, improveSingly, repair } from './local-search.ts'
import { type OptionPlan, shiftedPlan } from './problem.ts'
import { UndominatedPaths } from './undominated.ts'

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
/** Paths that are tried in exchanges, at most. */
const EXCHANGED_PATHS = 3000
/** Fewer chains are better left to the knapsacks and the search, which come next. */
export const SEARCHED_CHAINS = 100
/** Paths near a chain's best: within this part of a chain's mean share of the cost, and none of a chain that has more. */
const NEAR_SHARE = 0.2
const MOST_NEAR = 100

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
  const isLarge = chains > SEARCHED_CHAINS
  if (!isLarge) for (const earlier of search.trail.slice(-8)) note(earlier)
  // Dearer key makes plans that use less: the first one that fits is a plan already.
  for (let extra = isLarge ? 1e-4 : 1e-3; extra < 1e6 && budget.used <= 0.8; extra *= 4) {
    note(point.map((value, i) => (i < steps ? value * (1 + extra) + (extra > 1 ? extra : 0) : value)))
    if (rowsHold(dual, gradient)) break
  }
  if (search.warm?.length === chains * steps) plans.push(shiftedPlan(dual.problem, search.warm))

  const list = new Candidates(dual)
  dual.setPrices(point)
  const near = new UndominatedPaths(dual, (NEAR_SHARE * Math.abs(bound)) / chains)
  const picks = plans.map(() => new Int32Array(chains))
  for (let l = 0; l < chains; l++) {
    const paths = near.list(l, MOST_NEAR)
    if (paths !== undefined) for (let from = 0; from < paths.length; from += steps) list.push(l, paths, from)
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
  const enough = bound + gap * Math.abs(bound)
  const reduced = dual.problem.chains > SEARCHED_CHAINS ? reducedCosts(dual, point, list) : undefined
  const rowPrices = Float64Array.from({ length: list.rows }, (_, t) => dual.rowPrice(point, t))
  const starts = picks
    .map((pick) => {
      choice.set(pick)
      return { pick, excess: choice.excess, objective: choice.objective }
    })
    .filter(({ objective }) => objective < Number.POSITIVE_INFINITY)
    // What fits, the cheapest first; then what is least over; each once.
    .sort((a, b) => a.excess - b.excess || a.objective - b.objective)
    .filter(({ pick }, i, all) => all[i - 1]?.pick.every((c, l) => c === pick[l]) !== true)
  const over = starts.filter(({ excess }) => excess > 0).slice(0, STARTS)
  const tried = starts.filter((start, i) => i < STARTS || over.includes(start))
  let best: FoundPlan | undefined
  for (const { pick } of tried) {
    choice.set(pick)
    if (!repair(choice, budget)) continue
    improveSingly(choice, budget)
    if (budget.used < 0.8 && reduced !== undefined && choice.objective > enough) {
      improveByExchange(choice, {
        moves: movesWithin(list, reduced, choice.objective - bound),
        rowPrices,
        enough,
        budget,
      })
    }
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

/** How much more than its chain's best each path costs at the prices. */
function reducedCosts(dual: Dual, point: Float64Array, list: Candidates): Float64Array {
  const { rows, deviations } = list
  const reduced = new Float64Array(list.size)
  for (let l = 0; l + 1 < list.start.length; l++) {
    const from = intAt(list.start, l)
    const to = intAt(list.start, l + 1)
    let least = Number.POSITIVE_INFINITY
    for (let c = from; c < to; c++) {
      let value = list.cost[c] ?? 0
      for (let t = 0; t < rows; t++) value += dual.rowPrice(point, t) * (list.use[c * rows + t] ?? 0)
      for (let k = 0; k < deviations; k++) {
        value += dual.deviationPrice(point, k) * (list.moved[c * deviations + k] ?? 0)
      }
      reduced[c] = value
      least = Math.min(least, value)
    }
    for (let c = from; c < to; c++) reduced[c] = at(reduced, c) - least
  }
  return reduced
}

/** Paths of chains that have a choice, as far as they may be in a plan that is better than the gap is wide; not too many. */
function movesWithin(list: Candidates, reduced: Float64Array, gap: number): readonly number[] {
  for (let limit = gap; ; limit /= 2) {
    const moves: number[] = []
    for (let l = 0; l + 1 < list.start.length; l++) {
      const from = intAt(list.start, l)
      const to = intAt(list.start, l + 1)
      for (let c = from; to - from > 1 && c < to; c++) if (at(reduced, c) <= limit) moves.push(c)
    }
    if (moves.length <= EXCHANGED_PATHS || !(limit > 1e-12 * gap)) return moves.slice(0, EXCHANGED_PATHS)
  }
}

/** The gradient of the dual says whether its plan keeps the rows: usage less capacity. */
function rowsHold(dual: Dual, gradient: Float64Array): boolean {
  for (let t = 0; t < dual.problem.steps; t++) if (at(gradient, t) > 0) return false
  return true
}
