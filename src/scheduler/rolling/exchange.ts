/** Improves a choice by changing the paths of two or three chains at once, such as one that saves cost and others that make room for it. */
import { at, intAt } from './arrays.ts'
import type { Budget } from './budget.ts'
import type { Choice } from './local-search.ts'

export type ExchangeOptions = {
  /** Paths that may be taken. */
  readonly moves: readonly number[]
  /** Prices of the rows, cost a bit. */
  readonly rowPrices: Float64Array
  /** Ends when the choice costs no more than this. */
  readonly enough: number
  readonly budget: Budget
}

/** Exchanges of two that are tried in a round. */
const MOST_TRIED = 50
/** Changes that are tried as the third one of an exchange. */
const MOST_LEADS = 150

/** Changes that are known as the best partners. */
const PARTNERS = 12

type Exchange = { readonly paths: readonly number[]; readonly gain: number }

/** Takes exchanges that fit and pay, of two chains as long as there are any, then of three; until there is none. */
export function improveByExchange(choice: Choice, { moves, rowPrices, enough, budget }: ExchangeOptions): void {
  while (choice.objective > enough && budget.used < 1) {
    const changes = new Changes(choice, moves, rowPrices)
    budget.spend(4 * moves.length)
    if (takeFirst(choice, changes.ofTwo())) continue
    budget.spend(MOST_LEADS * moves.length)
    if (!takeFirst(choice, changes.ofThree())) return
  }
}

/** Takes all that still fit and pay, one after the other. */
function takeFirst(choice: Choice, exchanges: readonly Exchange[]): boolean {
  const { list, picked } = choice
  let changed = false
  for (const { paths } of exchanges) {
    const before = choice.objective
    const old = paths.map((c) => intAt(picked, intAt(list.chain, c)))
    for (const c of paths) choice.take(c)
    if (choice.objective < before - 1e-12 * Math.abs(before) && choice.isFeasible) changed = true
    else for (const c of old) choice.take(c)
  }
  return changed
}

/**
 * Single changes in the order of the key they take, at the rows' prices. With them, a partner of a change is looked up among all: of those
 * that take no more than the rows have left as a whole the ones that save most are known; the first of these that fits each row is taken.
 */
class Changes {
  readonly #path: Int32Array
  readonly #chain: Int32Array
  /** What a change takes of the rows, at their prices and of each priced row, and what it costs. */
  readonly #worth: Float64Array
  readonly #taken: Float64Array
  readonly #gain: Float64Array
  /** Of the first so many changes the best ones, each of another chain, the best first; -1: no more. */
  readonly #best: Int32Array
  /** What the rows have left: at their prices, and of each priced row. */
  readonly #room: number
  readonly #left: Float64Array
  readonly #least: number

  constructor(choice: Choice, moves: readonly number[], rowPrices: Float64Array) {
    const { list } = choice
    const ordered = moves
      .filter((c) => choice.picked[intAt(list.chain, c)] !== c)
      .map((c) => ({ c, worth: choice.useWorth(c, rowPrices) }))
      .sort((a, b) => a.worth - b.worth)
    const count = ordered.length
    this.#path = Int32Array.from(ordered, ({ c }) => c)
    this.#chain = this.#path.map((c) => intAt(list.chain, c))
    this.#worth = Float64Array.from(ordered, ({ worth }) => worth)
    this.#gain = Float64Array.from(ordered, ({ c }) => choice.gain(c))
    this.#room = choice.slackWorth(rowPrices)
    this.#least = 1e-12 * Math.abs(choice.objective)
    const priced = [...rowPrices.keys()].filter((t) => at(rowPrices, t) > 0)
    this.#left = Float64Array.from(priced, (t) => at(choice.capacity, t) - at(choice.use, t))
    this.#taken = new Float64Array(count * priced.length)
    for (let i = 0; i < count; i++) {
      const c = intAt(this.#path, i)
      const old = intAt(choice.picked, intAt(this.#chain, i))
      for (const [r, t] of priced.entries()) {
        this.#taken[i * priced.length + r] = at(list.use, c * list.rows + t) - at(list.use, old * list.rows + t)
      }
    }
    this.#best = this.#bestOfFirst(count)
  }

  #bestOfFirst(count: number): Int32Array {
    const best = new Int32Array(count * PARTNERS)
    const top: number[] = []
    for (let i = 0; i < count; i++) {
      const like = top.findIndex((k) => this.#chain[k] === this.#chain[i])
      if (like < 0 || at(this.#gain, i) < at(this.#gain, top[like] ?? 0)) {
        if (like >= 0) top.splice(like, 1)
        const place = top.findIndex((k) => at(this.#gain, i) < at(this.#gain, k))
        top.splice(place < 0 ? top.length : place, 0, i)
        if (top.length > PARTNERS) top.pop()
      }
      for (let k = 0; k < PARTNERS; k++) best[i * PARTNERS + k] = top[k] ?? -1
    }
    return best
  }

  /** For each change the exchange with its best partner, as far as it saves cost; the best ones first. */
  ofTwo(): readonly Exchange[] {
    const found: Exchange[] = []
    const count = this.#path.length
    let last = count - 1
    for (let i = 0; i < count; i++) {
      last = this.#lastWithin(last, this.#room - at(this.#worth, i))
      if (last < 0) break
      const k = this.#partner(i, { last, lead: -1, below: -this.#least - at(this.#gain, i) })
      if (k >= 0) found.push(this.#exchange([i, k]))
    }
    return found.sort((a, b) => a.gain - b.gain).slice(0, MOST_TRIED)
  }

  /** The best exchange of three with each of the changes that cost least for what they take; the best ones first. */
  ofThree(): readonly Exchange[] {
    const found: Exchange[] = []
    const count = this.#path.length
    const leads = Array.from({ length: count }, (_, i) => ({ i, reduced: at(this.#gain, i) + at(this.#worth, i) }))
    leads.sort((a, b) => a.reduced - b.reduced)
    for (const { i: lead } of leads.slice(0, MOST_LEADS)) {
      const room = this.#room - at(this.#worth, lead)
      let below = -this.#least - at(this.#gain, lead)
      let pair: readonly [number, number] | undefined
      let last = count - 1
      for (let i = 0; i < count; i++) {
        last = this.#lastWithin(last, room - at(this.#worth, i))
        if (last < 0) break
        if (this.#chain[i] === this.#chain[lead]) continue
        const k = this.#partner(i, { last, lead, below: below - at(this.#gain, i) })
        if (k < 0) continue
        below = at(this.#gain, i) + at(this.#gain, k)
        pair = [i, k]
      }
      if (pair !== undefined) found.push(this.#exchange([lead, ...pair]))
    }
    return found.sort((a, b) => a.gain - b.gain)
  }

  #exchange(changes: readonly number[]): Exchange {
    return {
      paths: changes.map((i) => intAt(this.#path, i)),
      gain: changes.reduce((sum, i) => sum + at(this.#gain, i), 0),
    }
  }

  /** The last change, from `last` down, that takes no more than the room. */
  #lastWithin(last: number, room: number): number {
    let i = last
    while (i >= 0 && at(this.#worth, i) > room) i--
    return i
  }

  /** The best of the changes up to `last` that costs less than `below` and fits together with change i and the lead, if there is one; -1: none is known. */
  #partner(
    i: number,
    { last, lead, below }: { readonly last: number; readonly lead: number; readonly below: number },
  ): number {
    for (let p = last * PARTNERS; p < (last + 1) * PARTNERS; p++) {
      const k = intAt(this.#best, p)
      if (k < 0 || !(at(this.#gain, k) < below)) return -1
      const chain = this.#chain[k]
      if (chain !== this.#chain[i] && (lead < 0 || chain !== this.#chain[lead]) && this.#fits(i, k, lead)) return k
    }
    return -1
  }

  #fits(i: number, k: number, lead: number): boolean {
    const rows = this.#left.length
    for (let r = 0; r < rows; r++) {
      const taken = at(this.#taken, i * rows + r) + at(this.#taken, k * rows + r)
      if (taken + (lead < 0 ? 0 : at(this.#taken, lead * rows + r)) > at(this.#left, r)) return false
    }
    return true
  }
}
