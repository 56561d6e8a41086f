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
 * Single changes in the order of the key they take, at the rows' prices. With them, the best partner of a change is looked up among all:
 * the one that saves most of those that take no more than the rows have left as a whole.
 */
class Changes {
  readonly #path: Int32Array
  readonly #chain: Int32Array
  /** What a change takes of the rows, and what it costs. */
  readonly #worth: Float64Array
  readonly #gain: Float64Array
  /** Of the first so many changes the best one, and the best of another chain. */
  readonly #best: Int32Array
  readonly #second: Int32Array
  readonly #room: number
  readonly #least: number

  constructor(choice: Choice, moves: readonly number[], rowPrices: Float64Array) {
    const { list } = choice
    const ordered = moves
      .filter((c) => choice.picked[intAt(list.chain, c)] !== c)
      .map((c) => ({ c, worth: choice.useWorth(c, rowPrices) }))
      .sort((a, b) => a.worth - b.worth)
    this.#path = Int32Array.from(ordered, ({ c }) => c)
    this.#chain = this.#path.map((c) => intAt(list.chain, c))
    this.#worth = Float64Array.from(ordered, ({ worth }) => worth)
    this.#gain = Float64Array.from(ordered, ({ c }) => choice.gain(c))
    this.#best = new Int32Array(ordered.length)
    this.#second = new Int32Array(ordered.length)
    this.#room = choice.slackWorth(rowPrices)
    this.#least = 1e-12 * Math.abs(choice.objective)
    let [best, second] = [-1, -1]
    for (let i = 0; i < ordered.length; i++) {
      const isLikeBest = best >= 0 && this.#chain[i] === this.#chain[best]
      if (best < 0 || at(this.#gain, i) < at(this.#gain, best)) {
        if (!isLikeBest) second = best
        best = i
      } else if (!isLikeBest && (second < 0 || at(this.#gain, i) < at(this.#gain, second))) second = i
      this.#best[i] = best
      this.#second[i] = second
    }
  }

  /** For each change the exchange with its best partner, as far as it saves cost; the best ones first. */
  ofTwo(): readonly Exchange[] {
    const found: Exchange[] = []
    const count = this.#path.length
    let last = count - 1
    for (let i = 0; i < count; i++) {
      last = this.#lastWithin(last, this.#room - at(this.#worth, i))
      const k = this.#partner(i, last, -1)
      if (k < 0) continue
      const gain = at(this.#gain, i) + at(this.#gain, k)
      if (gain < -this.#least) found.push({ paths: [intAt(this.#path, i), intAt(this.#path, k)], gain })
    }
    return found.sort((a, b) => a.gain - b.gain).slice(0, MOST_TRIED)
  }

  /** The best exchange of three with each of the changes that are worth most for what they take; the best ones first. */
  ofThree(): readonly Exchange[] {
    const found: Exchange[] = []
    const count = this.#path.length
    const leads = Array.from({ length: count }, (_, i) => ({ i, reduced: at(this.#gain, i) + at(this.#worth, i) }))
    leads.sort((a, b) => a.reduced - b.reduced)
    for (const { i: lead } of leads.slice(0, MOST_LEADS)) {
      const chain = intAt(this.#chain, lead)
      const room = this.#room - at(this.#worth, lead)
      let least = -this.#least - at(this.#gain, lead)
      let pair: readonly [number, number] | undefined
      let last = count - 1
      for (let i = 0; i < count; i++) {
        last = this.#lastWithin(last, room - at(this.#worth, i))
        if (last < 0) break
        if (this.#chain[i] === chain) continue
        const k = this.#partner(i, last, chain)
        if (k < 0) continue
        const gain = at(this.#gain, i) + at(this.#gain, k)
        if (gain >= least) continue
        least = gain
        pair = [i, k]
      }
      if (pair === undefined) continue
      const paths = [lead, ...pair].map((i) => intAt(this.#path, i))
      found.push({ paths, gain: least + at(this.#gain, lead) })
    }
    return found.sort((a, b) => a.gain - b.gain)
  }

  /** The last change, from `last` down, that takes no more than the room. */
  #lastWithin(last: number, room: number): number {
    let i = last
    while (i >= 0 && at(this.#worth, i) > room) i--
    return i
  }

  /** Best of the changes up to `last` that is of another chain than change i and than `chain`; -1: none is known. */
  #partner(i: number, last: number, chain: number): number {
    if (last < 0) return -1
    const best = intAt(this.#best, last)
    if (this.#isOther(best, i, chain)) return best
    const second = intAt(this.#second, last)
    return this.#isOther(second, i, chain) ? second : -1
  }

  #isOther(k: number, i: number, chain: number): boolean {
    return k >= 0 && this.#chain[k] !== this.#chain[i] && this.#chain[k] !== chain
  }
}
