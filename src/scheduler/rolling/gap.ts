/** Closes the gap between plan and dual: lists of all paths within it, knapsack bounds that thin them out, and the search. */
import { at } from './arrays.ts'
import { Knapsack, listBound, type OpenLists } from './bounds.ts'
import type { Budget } from './budget.ts'
import { Candidates } from './candidates.ts'
import type { Dual } from './dual.ts'
import { improveByExchange } from './exchange.ts'
import { Choice, improveSingly, repair } from './local-search.ts'
import { type FoundPlan, SEARCHED_CHAINS } from './plan-search.ts'
import type { OptionPlan } from './problem.ts'
import { prove } from './proof.ts'
import { UndominatedPaths } from './undominated.ts'

export type GapInput = {
  readonly dual: Dual
  readonly point: Float64Array
  /** theta at the point. */
  readonly bound: number
  readonly found: FoundPlan
  readonly budget: Budget
  readonly gap: number
}

export type Closed = {
  readonly plan: OptionPlan
  readonly objective: number
  readonly bound: number
  /** Paths that were left to the search, and branches it looked at. */
  readonly openPaths: number
  readonly nodes: number
}

/** Paths in all lists together, and of one chain, at most. */
const MOST_PATHS = 6_000
const MOST_OF_CHAIN = 1_000
/** Cells times paths of the first pass' knapsacks, which do for most, and of the later ones'. */
const FIRST_KNAPSACK_WORK = 60_000
const KNAPSACK_WORK = 600_000
const FINEST_GRID = 20_000
const ROUNDS = 6
/** Cut-off of the first lists, of a chain's mean share of the cost. */
const FIRST_SHARE = 0.5

export function closeGap(input: GapInput): Closed {
  const { found, budget, gap } = input
  let closed: Closed = { ...found, bound: input.bound, openPaths: 0, nodes: 0 }
  // Each round that finds a better plan makes the next one's lists shorter.
  for (let round = 0; round < ROUNDS; round++) {
    const left = closed.objective - closed.bound
    if (left <= gap * Math.abs(closed.objective) || budget.used >= 0.95) break
    const next = new Round(input, closed).run(round === 0)
    const isBetter = closed.objective - next.objective > 0.3 * left
    const isTighter = next.bound - closed.bound > 0.05 * left
    closed = next
    if (round > 0 && !isBetter && !isTighter) break
  }
  return closed
}

class Round {
  readonly #input: GapInput
  readonly #tolerance: number
  #plan: OptionPlan
  #best: number
  #bound: number

  constructor(input: GapInput, { plan, objective, bound }: Closed) {
    this.#input = input
    this.#plan = plan
    this.#best = objective
    this.#bound = bound
    this.#tolerance = 0.98 * input.gap * Math.abs(objective)
  }

  run(isFirst: boolean): Closed {
    const { dual, point, budget, bound } = this.#input
    const gap = this.#best - bound
    // A gap that is wide because the plan is poor would only make long lists: first a better plan, from short ones.
    const { list, completeTo } = this.#lists(
      isFirst ? Math.min(gap, FIRST_SHARE * (Math.abs(bound) / dual.problem.chains)) : gap,
    )
    if (list === undefined) return this.#closed(bound, 0, 0)
    const choice = new Choice(list, dual.rows.capacityBits)
    // What is in no list costs at least this.
    let outside = bound + completeTo
    let open = openOf(list)
    let packs: readonly Knapsack[] = []
    for (let pass = 0; pass < 4 && budget.used < 0.9; pass++) {
      const before = pathsOf(open)
      packs = this.#knapsacks(list, open, pass === 0 ? FIRST_KNAPSACK_WORK : KNAPSACK_WORK)
      for (const pack of packs) this.#tryTrace(choice, open, pack)
      const bounds = listBound(dual, point, list, open)
      const through = bounds.value.map((value) => bounds.constant + value)
      for (const pack of packs) {
        const own = new Float64Array(list.size)
        pack.through(open, own)
        for (const paths of open.lists) for (const c of paths) through[c] = Math.max(at(through, c), at(own, c))
      }
      const filtered = filter(open, through, this.#best - this.#tolerance)
      outside = Math.min(outside, filtered.dropped)
      open = filtered.open
      if (isEmpty(open)) return this.#closed(Math.min(outside, this.#best), 0, 0)
      if (pass > 0 && pathsOf(open) > 0.8 * before) break
    }
    const ordered = ordering(open, packs[0])
    const proof = prove({
      choice,
      open: ordered,
      bounds: [listBound(dual, point, list, ordered)],
      knapsacks: this.#knapsacks(list, ordered, KNAPSACK_WORK),
      best: this.#best,
      tolerance: this.#tolerance,
      budget,
      stopAt: 0.97,
    })
    if (proof.picked !== undefined) this.#take(choice, proof.picked)
    return this.#closed(Math.min(outside, proof.bound), pathsOf(ordered), proof.nodes)
  }

  #closed(bound: number, openPaths: number, nodes: number): Closed {
    return {
      plan: this.#plan,
      objective: this.#best,
      bound: Math.max(this.#bound, Math.min(bound, this.#best)),
      openPaths,
      nodes,
    }
  }

  /** Paths of all chains within the cut-off of the best, or within half of it and so on if they are too many. */
  #lists(gap: number): { readonly list: Candidates | undefined; readonly completeTo: number } {
    const { dual, point, budget } = this.#input
    const { chains, steps } = dual.problem
    dual.setPrices(point)
    const most = Math.max(MOST_PATHS, 2 * chains)
    for (let cutoff = gap; budget.used < 0.85; cutoff /= 2) {
      const list = new Candidates(dual)
      const within = new UndominatedPaths(dual, cutoff)
      let complete = true
      for (let l = 0; l < chains && complete; l++) {
        const paths = within.list(l, MOST_OF_CHAIN)
        complete = paths !== undefined && list.size + paths.length / steps <= most && budget.used < 0.85
        if (!complete || paths === undefined) break
        for (let from = 0; from < paths.length; from += steps) list.push(l, paths, from)
        list.close()
        budget.spend(10 * paths.length)
      }
      if (complete) return { list, completeTo: cutoff }
    }
    return { list: undefined, completeTo: 0 }
  }

  /** Makes a plan of a knapsack's best choice. */
  #tryTrace(choice: Choice, open: OpenLists, pack: Knapsack): void {
    const picked = new Int32Array(choice.picked.length)
    for (const c of [...open.fixed, ...pack.trace(open)]) picked[choice.list.chain[c] ?? 0] = c
    choice.set(picked)
    const { dual, point, budget } = this.#input
    if (!repair(choice, budget)) return
    improveSingly(choice, budget)
    if (dual.problem.chains > SEARCHED_CHAINS) {
      const rowPrices = Float64Array.from({ length: choice.list.rows }, (_, t) => dual.rowPrice(point, t))
      const enough = this.#input.bound + this.#tolerance
      improveByExchange(choice, { moves: open.lists.flat(), rowPrices, enough, budget })
    }
    if (choice.objective < this.#best) this.#take(choice, Int32Array.from(choice.picked))
  }

  #take(choice: Choice, picked: Int32Array): void {
    choice.set(picked)
    if (!choice.isFeasible || choice.objective >= this.#best) return
    this.#best = choice.objective
    this.#plan = new Int32Array(this.#plan.length)
    choice.write(this.#plan)
  }

  /** The rows that count, whole: all as one weighted sum, and each of the two dearest alone. */
  #knapsacks(list: Candidates, open: OpenLists, work: number): readonly Knapsack[] {
    const { dual, point, budget } = this.#input
    const cells = Math.max(100, Math.min(FINEST_GRID, Math.floor(work / Math.max(1, pathsOf(open)))))
    const worth = Array.from({ length: list.rows }, (_, t) => ({
      t,
      cost: Math.max(0, dual.rowPrice(point, t)) * at(dual.rows.capacityBits, t),
    }))
    const total = worth.reduce((sum, { cost }) => sum + cost, 0)
    if (!(total > 0)) return []
    const dear = worth.filter(({ cost }) => cost > 0.03 * total).sort((a, b) => b.cost - a.cost)
    const shares: ((row: number) => number)[] = [() => 1]
    if (dear.length > 1) for (const { t } of dear.slice(0, 2)) shares.push((row) => (row === t ? 1 : 0))
    budget.spend((shares.length * cells * pathsOf(open)) / 4)
    return shares.map((share) => new Knapsack({ dual, point, list, open, share, cells }))
  }
}

function pathsOf(open: OpenLists): number {
  return open.lists.reduce((sum, paths) => sum + paths.length, 0)
}

/** Some list has lost all its paths: no plan of the lists is good enough. */
function isEmpty(open: OpenLists): boolean {
  return open.lists.some((paths) => paths.length === 0)
}

function openOf(list: Candidates): OpenLists {
  const lists: number[][] = []
  const fixed: number[] = []
  for (let l = 0; l < list.problem.chains; l++) {
    const from = list.start[l] ?? 0
    const to = list.start[l + 1] ?? 0
    if (to - from === 1) fixed.push(from)
    else lists.push(Array.from({ length: to - from }, (_, i) => from + i))
  }
  return { lists, fixed }
}

/** Drops the paths whose bound reaches `limit`; the least bound among them is what was lost. */
function filter(open: OpenLists, bounds: Float64Array, limit: number) {
  let dropped = Number.POSITIVE_INFINITY
  const lists: (readonly number[])[] = []
  const fixed = [...open.fixed]
  for (const paths of open.lists) {
    const stay: number[] = []
    for (const c of paths) {
      const least = at(bounds, c)
      if (least < limit) stay.push(c)
      else dropped = Math.min(dropped, least)
    }
    const [only] = stay
    if (stay.length === 1 && only !== undefined) fixed.push(only)
    else lists.push(stay)
  }
  return { open: { lists, fixed }, dropped }
}

/** Lists with the largest weights first: what is left at the end are small paths that fill up. */
function ordering(open: OpenLists, pack: Knapsack | undefined): OpenLists {
  if (pack === undefined) return open
  const spread = (paths: readonly number[]): number => paths.reduce((most, c) => Math.max(most, at(pack.weight, c)), 0)
  const lists = open.lists
    .map((paths) => ({ paths, spread: spread(paths) }))
    .sort((a, b) => b.spread - a.spread)
    .map(({ paths }) => paths)
  return { lists, fixed: open.fixed }
}
