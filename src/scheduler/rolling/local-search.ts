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

/** Changes paths, the least costly for the excess they take away first, until all rows hold. False: it did not come to that. */
export function repair(choice: Choice, budget: Budget): boolean {
  const { list } = choice
  while (!choice.isFeasible) {
    const excess = choice.excess
    let best = -1
    let bestRatio = Number.POSITIVE_INFINITY
    for (let c = 0; c < list.size; c++) {
      if (choice.picked[list.chain[c] ?? 0] === c) continue
      const less = excess - choice.excessWith(c)
      if (!(less > 1e-15)) continue
      const ratio = choice.gain(c) / less
      if (ratio < bestRatio) {
        bestRatio = ratio
        best = c
      }
    }
    budget.spend(list.size)
    if (best < 0 || budget.used >= 1) return false
    choice.take(best)
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

/**
 * Takes pairs of changes of two chains that fit and pay, such as one that saves cost and one that makes room for it. For each change the best
 * partner is looked up among all: in order of the key they take, at the rows' prices, as far as that fits the rows' slack.
 *
 * @param moves paths to be tried
 */
export function improveInPairs(
  choice: Choice,
  moves: readonly number[],
  { rowPrices, budget }: { readonly rowPrices: Float64Array; readonly budget: Budget },
): void {
  while (budget.used < 1) {
    const pairs = pairsOf(choice, moves, rowPrices)
    budget.spend(4 * moves.length)
    const least = 1e-12 * Math.abs(choice.objective)
    let changed = false
    for (const { a, b } of pairs) {
      const { picked } = choice
      const [chainA, chainB] = [choice.list.chain[a] ?? 0, choice.list.chain[b] ?? 0]
      const old = picked[chainA] ?? 0
      if (old === a || picked[chainB] === b) continue
      const gain = choice.gain(a)
      choice.take(a)
      if (gain + choice.gain(b) < -least && choice.fits(b)) {
        choice.take(b)
        changed = true
      } else choice.take(old)
    }
    if (!changed) return
  }
}

/** Pairs looked at more closely in a round. */
const MOST_PAIRS = 50

type Pair = { readonly a: number; readonly b: number; readonly gain: number }

/** For each change its best partner, if they save cost together and fit the rows' slack as a whole; the best pairs first. */
function pairsOf(choice: Choice, moves: readonly number[], rowPrices: Float64Array): readonly Pair[] {
  const chainOf = (c: number): number => choice.list.chain[c] ?? 0
  const room = choice.slackWorth(rowPrices)
  const least = 1e-12 * Math.abs(choice.objective)
  const changes = moves
    .filter((c) => choice.picked[chainOf(c)] !== c)
    .map((c) => ({ c, chain: chainOf(c), worth: choice.useWorth(c, rowPrices), gain: choice.gain(c) }))
    .sort((one, other) => one.worth - other.worth)
  // Of the first so many changes the best, and the best of another chain.
  const best = new Int32Array(changes.length)
  const second = new Int32Array(changes.length)
  let [first, next] = [-1, -1]
  const gainOf = (i: number): number => changes[i]?.gain ?? Number.POSITIVE_INFINITY
  for (const [i, { chain, gain }] of changes.entries()) {
    if (gain < gainOf(first)) {
      if (changes[first]?.chain !== chain) next = first
      first = i
    } else if (gain < gainOf(next) && changes[first]?.chain !== chain) next = i
    best[i] = first
    second[i] = next
  }
  const pairs: Pair[] = []
  let last = changes.length - 1
  for (const { c, chain, worth, gain } of changes) {
    while (last >= 0 && worth + (changes[last]?.worth ?? 0) > room) last--
    if (last < 0) break
    const ofBest = changes[best[last] ?? 0]
    const partner = ofBest?.chain === chain ? changes[second[last] ?? 0] : ofBest
    if (partner !== undefined && gain + partner.gain < -least)
      pairs.push({ a: c, b: partner.c, gain: gain + partner.gain })
  }
  return pairs.sort((one, other) => one.gain - other.gain).slice(0, MOST_PAIRS)
}
