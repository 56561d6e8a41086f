/** From any choice of paths to a feasible one, and from that to a better one: one path changed, then two together. */
import type { Budget } from './budget.ts'
import type { Candidates } from './candidates.ts'
import { type DeviationTerm, deviationCost, type OptionPlan } from './problem.ts'

/** Rounding that a row may be over by, relative to its capacity; nothing that a chance row would notice. */
const ROW_TOLERANCE = 1e-12

/** A choice of one path a chain, with what it uses and costs. */
export class Choice {
  readonly list: Candidates
  readonly picked: Int32Array
  readonly use: Float64Array
  readonly moved: Float64Array
  readonly capacity: Float64Array
  readonly #deviation: DeviationTerm | undefined
  #cost = 0

  constructor(list: Candidates, capacityBits: Float64Array) {
    const { problem } = list
    this.list = list
    this.picked = new Int32Array(problem.chains)
    this.use = new Float64Array(list.rows)
    this.moved = new Float64Array(list.deviations)
    this.capacity = capacityBits.map((bits) => bits + ROW_TOLERANCE * Math.abs(bits))
    this.#deviation = problem.deviation
  }

  /** Takes a whole choice. */
  set(picked: ArrayLike<number>): void {
    const { list } = this
    this.use.fill(0)
    this.moved.set(list.problem.deviation?.base ?? [])
    this.#cost = 0
    for (let l = 0; l < this.picked.length; l++) {
      const c = picked[l] ?? 0
      this.picked[l] = c
      this.#cost += list.cost[c] ?? 0
      for (let t = 0; t < list.rows; t++) this.use[t] = (this.use[t] ?? 0) + (list.use[c * list.rows + t] ?? 0)
      for (let k = 0; k < list.deviations; k++) {
        this.moved[k] = (this.moved[k] ?? 0) + (list.moved[c * list.deviations + k] ?? 0)
      }
    }
  }

  get objective(): number {
    const term = this.#deviation
    let sum = this.#cost - (term?.unavoidable ?? 0)
    if (term !== undefined) for (const [k, f] of this.moved.entries()) sum += deviationCost(term, k, f)
    return sum
  }

  get isFeasible(): boolean {
    for (let t = 0; t < this.use.length; t++) if ((this.use[t] ?? 0) > (this.capacity[t] ?? 0)) return false
    return true
  }

  /** Change of the objective if the chain of path c took it. */
  gain(c: number): number {
    const { list, picked } = this
    const old = picked[list.chain[c] ?? 0] ?? 0
    let change = (list.cost[c] ?? 0) - (list.cost[old] ?? 0)
    const term = this.#deviation
    if (term === undefined) return change
    for (let k = 0; k < term.count; k++) {
      const moved = (list.moved[c * term.count + k] ?? 0) - (list.moved[old * term.count + k] ?? 0)
      const f = this.moved[k] ?? 0
      change +=
        k < term.oneSided
          ? deviationCost(term, k, f + moved) - deviationCost(term, k, f)
          : (term.weight[k] ?? 0) * moved * (2 * f + moved)
    }
    return change
  }

  /** Whether the rows hold after the change. */
  fits(c: number): boolean {
    const { list, picked, use, capacity } = this
    const { rows } = list
    const old = picked[list.chain[c] ?? 0] ?? 0
    for (let t = rows - 1; t >= 0; t--) {
      const after = (use[t] ?? 0) + (list.use[c * rows + t] ?? 0) - (list.use[old * rows + t] ?? 0)
      if (after > (capacity[t] ?? 0)) return false
    }
    return true
  }

  /** What the use of a path is worth beyond that of its chain's path now, at prices of the rows. */
  useWorth(c: number, rowPrices: Float64Array): number {
    const { list, picked } = this
    const { rows } = list
    const old = picked[list.chain[c] ?? 0] ?? 0
    let sum = 0
    for (let t = 0; t < rows; t++) {
      sum += (rowPrices[t] ?? 0) * ((list.use[c * rows + t] ?? 0) - (list.use[old * rows + t] ?? 0))
    }
    return sum
  }

  /** What is left in the rows is worth, at their prices. */
  slackWorth(rowPrices: Float64Array): number {
    let sum = 0
    for (let t = 0; t < this.use.length; t++)
      sum += (rowPrices[t] ?? 0) * ((this.capacity[t] ?? 0) - (this.use[t] ?? 0))
    return sum
  }

  /** How much the rows are over, as shares of their capacities. */
  get excess(): number {
    return this.excessWith(undefined)
  }

  excessWith(c: number | undefined): number {
    const { list, picked, use, capacity } = this
    const { rows } = list
    const old = c === undefined ? 0 : (picked[list.chain[c] ?? 0] ?? 0)
    let sum = 0
    for (let t = 0; t < rows; t++) {
      const change = c === undefined ? 0 : (list.use[c * rows + t] ?? 0) - (list.use[old * rows + t] ?? 0)
      const over = (use[t] ?? 0) + change - (capacity[t] ?? 0)
      if (over > 0) sum += over / Math.max(1, capacity[t] ?? 0)
    }
    return sum
  }

  take(c: number): void {
    const { list, picked, use, moved } = this
    const l = list.chain[c] ?? 0
    const old = picked[l] ?? 0
    this.#cost += (list.cost[c] ?? 0) - (list.cost[old] ?? 0)
    for (let t = 0; t < list.rows; t++) {
      use[t] = (use[t] ?? 0) + (list.use[c * list.rows + t] ?? 0) - (list.use[old * list.rows + t] ?? 0)
    }
    for (let k = 0; k < list.deviations; k++) {
      const change = (list.moved[c * list.deviations + k] ?? 0) - (list.moved[old * list.deviations + k] ?? 0)
      moved[k] = (moved[k] ?? 0) + change
    }
    picked[l] = c
  }

  write(plan: OptionPlan): void {
    for (const c of this.picked) this.list.write(c, plan)
  }
}

/**
 * Changes paths, the least costly for the excess they take away first, until all rows hold. Costs are counted anew whenever half of
 * the excess is gone. False: it did not come to that.
 */
export function repair(choice: Choice, budget: Budget): boolean {
  const { list } = choice
  while (!choice.isFeasible) {
    const excess = choice.excess
    const changes: { readonly c: number; readonly ratio: number }[] = []
    for (let c = 0; c < list.size; c++) {
      if (choice.picked[list.chain[c] ?? 0] === c) continue
      const less = excess - choice.excessWith(c)
      if (less > 1e-15) changes.push({ c, ratio: choice.gain(c) / less })
    }
    budget.spend(list.size)
    if (changes.length === 0 || budget.used >= 1) return false
    changes.sort((a, b) => a.ratio - b.ratio)
    let left = excess
    for (const { c } of changes) {
      const after = choice.excessWith(c)
      if (after > left - 1e-15) continue
      choice.take(c)
      left = after
      if (left <= excess / 2) break
    }
  }
  return true
}

/** Takes single changes that fit and pay, until there is none. */
export function improveSingly(choice: Choice, budget: Budget): void {
  const { list } = choice
  const least = 1e-12 * Math.abs(choice.objective)
  for (let changed = true; changed; ) {
    changed = false
    for (let l = 0; l + 1 < list.start.length; l++) {
      let best = -1
      let bestGain = -least
      const end = list.start[l + 1] ?? 0
      for (let c = list.start[l] ?? 0; c < end; c++) {
        if (choice.picked[l] === c) continue
        const gain = choice.gain(c)
        if (gain < bestGain && choice.fits(c)) {
          bestGain = gain
          best = c
        }
      }
      if (best < 0) continue
      choice.take(best)
      changed = true
    }
    budget.spend(list.size)
    if (budget.used >= 1) return
  }
}
