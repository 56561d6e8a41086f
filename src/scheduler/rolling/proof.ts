/**
 * Depth-first search over lists of paths. A branch is left when one of the bounds says that nothing in it is better than
 * the best plan by more than the tolerance; the least of those bounds is what the search has proven.
 */
import { at, intAt } from './arrays.ts'
import type { Knapsack, ListBound, OpenLists } from './bounds.ts'
import type { Budget } from './budget.ts'
import type { Candidates } from './candidates.ts'
import type { Choice } from './local-search.ts'

export type ProofInput = {
  readonly choice: Choice
  readonly open: OpenLists
  readonly bounds: readonly ListBound[]
  readonly knapsacks: readonly Knapsack[]
  /** Value of the best plan known. */
  readonly best: number
  /** Plans that are better by less than this do not matter. */
  readonly tolerance: number
  readonly budget: Budget
  /** Share of the budget at which the search stops. */
  readonly stopAt: number
}

export type Proof = {
  /** No choice of paths of the lists costs less. */
  readonly bound: number
  /** Value of the best plan found; its paths, one a chain, if it is better than the one given. */
  readonly best: number
  readonly picked: Int32Array | undefined
  readonly complete: boolean
  readonly nodes: number
}

export function prove(input: ProofInput): Proof {
  const search = new Search(input)
  search.descend(0)
  return search.proof()
}

class Search {
  readonly #input: ProofInput
  readonly #list: Candidates
  readonly #depth: number
  readonly #k: number
  readonly #s: number
  /** Sums of the path values on the way down, a row a depth. */
  readonly #sums: Float64Array
  readonly #packValue: Float64Array
  readonly #packTaken: Float64Array
  /** Use of the rows by what is decided, and least use of what is not. */
  readonly #use: Float64Array
  readonly #least: Float64Array
  readonly #way: Int32Array
  /** Place of the path taken in its list; and whether a list is the same as the one before. */
  readonly #place: Int32Array
  readonly #isLikeLast: Uint8Array
  /** Branches of each depth that are worth a look, the best bound first: place in the list, and bound. */
  readonly #branches: readonly { readonly places: Int32Array; readonly bounds: Float64Array }[]
  #best: number
  #picked: Int32Array | undefined
  #bound: number
  #nodes = 0
  #stopped = false

  constructor(input: ProofInput) {
    const { choice, open, bounds, knapsacks } = input
    this.#input = input
    this.#list = choice.list
    this.#depth = open.lists.length
    this.#k = bounds.length
    this.#s = knapsacks.length
    const levels = this.#depth + 1
    this.#sums = new Float64Array(levels * this.#k)
    for (let k = 0; k < this.#k; k++) this.#sums[k] = bounds[k]?.constant ?? 0
    this.#packValue = new Float64Array(levels * this.#s)
    for (let s = 0; s < this.#s; s++) this.#packValue[s] = knapsacks[s]?.constant ?? 0
    this.#packTaken = new Float64Array(levels * this.#s)
    const { rows } = this.#list
    this.#use = new Float64Array(levels * rows)
    this.#least = new Float64Array(levels * rows)
    for (const c of open.fixed) {
      for (let t = 0; t < rows; t++) this.#use[t] = at(this.#use, t) + (this.#list.use[c * rows + t] ?? 0)
    }
    for (let d = this.#depth - 1; d >= 0; d--) {
      for (let t = 0; t < rows; t++) {
        let least = Number.POSITIVE_INFINITY
        for (const c of open.lists[d] ?? []) least = Math.min(least, this.#list.use[c * rows + t] ?? 0)
        this.#least[d * rows + t] = at(this.#least, (d + 1) * rows + t) + least
      }
    }
    this.#way = new Int32Array(this.#depth)
    this.#place = new Int32Array(this.#depth)
    this.#isLikeLast = Uint8Array.from(open.lists, (paths, d) =>
      areAlike(this.#list, open.lists[d - 1], paths) ? 1 : 0,
    )
    this.#branches = open.lists.map(({ length }) => ({
      places: new Int32Array(length),
      bounds: new Float64Array(length),
    }))
    this.#best = input.best
    this.#bound = input.best
  }

  proof(): Proof {
    return {
      bound: Math.min(this.#bound, this.#best),
      best: this.#best,
      picked: this.#picked,
      complete: !this.#stopped,
      nodes: this.#nodes,
    }
  }

  descend(d: number): void {
    const paths = this.#input.open.lists[d]
    const branches = this.#branches[d]
    if (paths === undefined || branches === undefined) {
      this.#leaf()
      return
    }
    const { places, bounds } = branches
    const count = this.#branch(d, paths, branches)
    if ((this.#nodes & 0xff) < paths.length) {
      this.#input.budget.spend(256 * (this.#k + this.#s))
      this.#stopped ||= this.#input.budget.used >= this.#input.stopAt
    }
    for (let i = 0; i < count; i++) {
      const bound = at(bounds, i)
      if (this.#isDone(bound)) continue
      if (this.#stopped) {
        this.#bound = Math.min(this.#bound, bound)
        continue
      }
      const place = intAt(places, i)
      this.#place[d] = place
      this.#enter(d, paths[place] ?? 0)
      this.descend(d + 1)
    }
  }

  /** Lists the branches of a depth that are worth a look; their number. */
  #branch(
    d: number,
    paths: readonly number[],
    { places, bounds }: { readonly places: Int32Array; readonly bounds: Float64Array },
  ): number {
    let count = 0
    // Of chains that are alike only one order of their paths is looked at.
    const from = this.#isLikeLast[d] === 1 ? intAt(this.#place, d - 1) : 0
    for (let place = from; place < paths.length; place++) {
      const c = paths[place] ?? 0
      this.#nodes++
      const bound = this.#boundOf(d, c)
      if (this.#isDone(bound) || !this.#fits(d, c)) continue
      let i = count++
      for (; i > 0 && at(bounds, i - 1) > bound; i--) {
        places[i] = intAt(places, i - 1)
        bounds[i] = at(bounds, i - 1)
      }
      places[i] = place
      bounds[i] = bound
    }
    return count
  }

  /** Nothing of interest below: notes the bound. */
  #isDone(bound: number): boolean {
    if (bound < this.#best - this.#input.tolerance) return false
    if (bound < this.#bound) this.#bound = bound
    return true
  }

  #fits(d: number, c: number): boolean {
    const { rows } = this.#list
    const { capacity } = this.#input.choice
    for (let t = rows - 1; t >= 0; t--) {
      const use =
        at(this.#use, d * rows + t) + (this.#list.use[c * rows + t] ?? 0) + at(this.#least, (d + 1) * rows + t)
      if (use > at(capacity, t)) return false
    }
    return true
  }

  #boundOf(d: number, c: number): number {
    const { bounds, knapsacks } = this.#input
    let most = Number.NEGATIVE_INFINITY
    for (let k = 0; k < this.#k; k++) {
      const bound = bounds[k]
      if (bound === undefined) continue
      const sum = at(this.#sums, d * this.#k + k) + at(bound.value, c)
      if (sum > most) most = sum
    }
    for (let s = 0; s < this.#s; s++) {
      const pack = knapsacks[s]
      if (pack === undefined) continue
      const taken = at(this.#packTaken, d * this.#s + s) + at(pack.weight, c)
      const sum = at(this.#packValue, d * this.#s + s) + at(pack.value, c) + pack.rest(d + 1, taken)
      if (sum > most) most = sum
    }
    return most
  }

  #enter(d: number, c: number): void {
    const { bounds, knapsacks } = this.#input
    const { rows } = this.#list
    this.#way[d] = c
    for (let k = 0; k < this.#k; k++) {
      const value = bounds[k]?.value[c] ?? 0
      this.#sums[(d + 1) * this.#k + k] = at(this.#sums, d * this.#k + k) + value
    }
    for (let s = 0; s < this.#s; s++) {
      const pack = knapsacks[s]
      this.#packValue[(d + 1) * this.#s + s] = at(this.#packValue, d * this.#s + s) + (pack?.value[c] ?? 0)
      this.#packTaken[(d + 1) * this.#s + s] = at(this.#packTaken, d * this.#s + s) + (pack?.weight[c] ?? 0)
    }
    for (let t = 0; t < rows; t++) {
      this.#use[(d + 1) * rows + t] = at(this.#use, d * rows + t) + (this.#list.use[c * rows + t] ?? 0)
    }
  }

  #leaf(): void {
    const { choice, open } = this.#input
    const picked = Int32Array.from(choice.picked)
    for (const c of open.fixed) picked[this.#list.chain[c] ?? 0] = c
    for (const c of this.#way) picked[this.#list.chain[c] ?? 0] = c
    choice.set(picked)
    const { objective } = choice
    if (!choice.isFeasible) return
    if (objective < this.#best) {
      this.#best = objective
      this.#picked = picked
    }
    // Bounds at a leaf may lie below its value (the deviation term is linearised); what is known is the value itself.
    this.#bound = Math.min(this.#bound, objective)
  }
}

/** Whether two chains have the same paths in the same order: what they cost, use and do to the deviations. */
function areAlike(list: Candidates, one: readonly number[] | undefined, other: readonly number[]): boolean {
  if (one?.length !== other.length) return false
  const { rows, deviations } = list
  return one.every((a, i) => {
    const b = other[i] ?? 0
    if (at(list.cost, a) !== at(list.cost, b)) return false
    for (let t = 0; t < rows; t++) if (at(list.use, a * rows + t) !== at(list.use, b * rows + t)) return false
    for (let k = 0; k < deviations; k++) {
      if (at(list.moved, a * deviations + k) !== at(list.moved, b * deviations + k)) return false
    }
    return true
  })
}
