/** Beginnings of a chain's paths, as they are built step by step: an index each, into columns that grow as needed. */
import { at, intAt } from './arrays.ts'

/** One more step of a beginning. */
export type Extension = {
  readonly before: number
  readonly option: number
  /** Which deviations it has moved up to here: beginnings of a step with the same number have moved them alike. */
  readonly moves: number
  /** Cost at the prices, and own cost, up to here. */
  readonly priced: number
  readonly cost: number
  /** Key of the step, bits and bits^2. */
  readonly mean: number
  readonly variance: number
}

export class Labels {
  /** Use of a bit^2 of variance in each of the rows that could bind, and their steps. */
  readonly #rows: Int32Array
  readonly #slopes: Float64Array
  #size = 0
  #room = 0
  option = new Int32Array(0)
  moves = new Int32Array(0)
  priced = new Float64Array(0)
  cost = new Float64Array(0)
  #before = new Int32Array(0)
  #mean = new Float64Array(0)
  #variance = new Float64Array(0)
  /** Use of the rows that could bind, as far as the beginning goes. */
  #use = new Float64Array(0)

  /**
   * @param rows that could bind, rising
   * @param slopePerBit of all rows
   */
  constructor(rows: readonly number[], slopePerBit: Float64Array) {
    this.#rows = Int32Array.from(rows)
    this.#slopes = Float64Array.from(rows, (t) => at(slopePerBit, t))
  }

  /** Forgets all beginnings but one, the empty one behind an option. */
  start(option: number): number {
    this.#size = 0
    const label = this.#next()
    this.option[label] = option
    this.moves[label] = 0
    this.priced[label] = 0
    this.cost[label] = 0
    this.#before[label] = -1
    this.#mean[label] = 0
    this.#variance[label] = 0
    this.#use.fill(0, 0, this.#rows.length)
    return label
  }

  /** Goes on with step t. */
  extend(t: number, { before, option, moves, priced, cost, mean, variance }: Extension): number {
    const label = this.#next()
    this.option[label] = option
    this.moves[label] = moves
    this.priced[label] = priced
    this.cost[label] = cost
    this.#before[label] = before
    const meanSum = at(this.#mean, before) + mean
    const varianceSum = at(this.#variance, before) + variance
    this.#mean[label] = meanSum
    this.#variance[label] = varianceSum
    const width = this.#rows.length
    for (let i = 0; i < width; i++) {
      const row = intAt(this.#rows, i)
      this.#use[label * width + i] =
        row === t ? meanSum + at(this.#slopes, i) * varianceSum : at(this.#use, before * width + i)
    }
    return label
  }

  /** Those that no other beats. */
  undominated(labels: number[]): number[] {
    if (labels.length < 2) return labels
    const { cost } = this
    labels.sort((a, b) => at(cost, a) - at(cost, b) || at(this.#mean, a) - at(this.#mean, b))
    const kept: number[] = []
    for (const label of labels) if (!this.#isBeaten(label, kept)) kept.push(label)
    return kept
  }

  /** Options of the paths that end in some labels, one path after another. */
  paths(labels: readonly number[], steps: number): Int32Array {
    const paths = new Int32Array(labels.length * steps)
    for (const [i, last] of labels.entries()) {
      let label = last
      for (let t = steps - 1; t >= 0; t--) {
        paths[i * steps + t] = intAt(this.option, label)
        label = intAt(this.#before, label)
      }
    }
    return paths
  }

  /** Whether one of these, which cost no more, is as good in all else. */
  #isBeaten(label: number, others: readonly number[]): boolean {
    for (const other of others) if (this.#beats(other, label)) return true
    return false
  }

  #beats(a: number, b: number): boolean {
    if (at(this.#mean, a) > at(this.#mean, b) || at(this.#variance, a) > at(this.#variance, b)) return false
    if (this.moves[a] !== this.moves[b]) return false
    const width = this.#rows.length
    for (let i = 0; i < width; i++) if (at(this.#use, a * width + i) > at(this.#use, b * width + i)) return false
    return true
  }

  #next(): number {
    if (this.#size === this.#room) this.#grow()
    return this.#size++
  }

  #grow(): void {
    const room = Math.max(256, 2 * this.#room)
    const wider = <T extends Int32Array | Float64Array>(to: T, from: T): T => {
      to.set(from)
      return to
    }
    this.option = wider(new Int32Array(room), this.option)
    this.moves = wider(new Int32Array(room), this.moves)
    this.priced = wider(new Float64Array(room), this.priced)
    this.cost = wider(new Float64Array(room), this.cost)
    this.#before = wider(new Int32Array(room), this.#before)
    this.#mean = wider(new Float64Array(room), this.#mean)
    this.#variance = wider(new Float64Array(room), this.#variance)
    this.#use = wider(new Float64Array(room * this.#rows.length), this.#use)
    this.#room = room
  }
}
