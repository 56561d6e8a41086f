/**
 * Paths of a chain within a cut-off of its best, without those that another one is never inferior to: it costs no more, moves
 * the deviations alike and uses no more in any row that could bind. In every plan it could take their place. Built step by
 * step, so that what is beaten is left out before it branches.
 */
import { at, intAt } from './arrays.ts'
import type { Dual } from './dual.ts'
import { Labels } from './labels.ts'

export class UndominatedPaths {
  readonly #dual: Dual
  readonly #cutoff: number
  /** Of the chain in hand, cost at the prices of each step and option, and the least from there to the end. */
  readonly #priced: Float64Array
  readonly #toGo: Float64Array
  /** Of the chain in hand, a number for each option; options that move the deviations alike have the same. */
  readonly #kind: Int32Array
  readonly #only: Int32Array
  readonly #labels: Labels
  /** Numbers of this step's moves by those of the step before and the option's kind; -1: none yet. */
  #moves = new Int32Array(64)

  /** @param cutoff above the best path of a chain at `dual.prices`, which must stay as they are */
  constructor(dual: Dual, cutoff: number) {
    const { chains, steps, optionStart } = dual.problem
    let widest = 1
    for (let l = 0; l < chains; l++) widest = Math.max(widest, intAt(optionStart, l + 1) - intAt(optionStart, l))
    this.#dual = dual
    this.#cutoff = cutoff
    this.#priced = new Float64Array(steps * widest)
    this.#toGo = new Float64Array(steps * widest)
    this.#kind = new Int32Array(widest)
    this.#only = new Int32Array(steps)
    this.#labels = new Labels(this.#bindingRows(), dual.rows.slopePerBit)
  }

  /** H options a path, one path after another; undefined if there are more than `most`. */
  list(l: number, most: number): Int32Array | undefined {
    const { steps, optionStart, initial, switchCost, meanBits, varianceBits2, cost } = this.#dual.problem
    const labels = this.#labels
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    const gamma = at(switchCost, l)
    const limit = this.#price(l)
    const only = this.#onlyPath(l, limit)
    if (only !== undefined) return only
    const kinds = this.#findKinds(first, width)
    let last: readonly number[] = [labels.start(intAt(initial, l))]
    let movesBefore = 1
    for (let t = 0; t < steps; t++) {
      const next: number[] = []
      let moves = 0
      this.#forgetMoves(movesBefore * kinds)
      for (let m = 0; m < width; m++) {
        const here: number[] = []
        const n = first + m
        for (const before of last) {
          const option = intAt(labels.option, before)
          const change = option >= 0 && option !== m ? gamma : 0
          const priced = at(labels.priced, before) + change
          if (priced + at(this.#toGo, t * width + m) > limit) continue
          const key = intAt(labels.moves, before) * kinds + intAt(this.#kind, m)
          if (this.#moves[key] === -1) this.#moves[key] = moves++
          here.push(
            labels.extend(t, {
              before,
              option: m,
              moves: intAt(this.#moves, key),
              priced: priced + at(this.#priced, t * width + m),
              cost: at(labels.cost, before) + change + at(cost, n * steps + t),
              mean: at(meanBits, n),
              variance: at(varianceBits2, n),
            }),
          )
          if (here.length > 4 * most) return undefined
        }
        for (const label of labels.undominated(here)) next.push(label)
        if (next.length > most) return undefined
      }
      last = next
      movesBefore = moves
    }
    // The last options differ no more in what they allow, so paths of all of them compete.
    return labels.paths(labels.undominated([...last]), steps)
  }

  /** The path of a chain that has no other within the limit, until the next call. */
  #onlyPath(l: number, limit: number): Int32Array | undefined {
    const { steps, optionStart, initial, switchCost } = this.#dual.problem
    const width = intAt(optionStart, l + 1) - intAt(optionStart, l)
    const gamma = at(switchCost, l)
    let option = intAt(initial, l)
    let priced = 0
    for (let t = 0; t < steps; t++) {
      let next = -1
      for (let m = 0; m < width; m++) {
        const change = option >= 0 && option !== m ? gamma : 0
        if (priced + change + at(this.#toGo, t * width + m) > limit) continue
        if (next >= 0) return undefined
        next = m
      }
      if (option >= 0 && option !== next) priced += gamma
      priced += at(this.#priced, t * width + next)
      this.#only[t] = next
      option = next
    }
    return this.#only
  }

  /** Sets `#priced` and `#toGo` for a chain; how much a path may cost. */
  #price(l: number): number {
    const { steps, optionStart, initial, switchCost, meanBits, varianceBits2, cost, deviation } = this.#dual.problem
    const { perBit, perBit2, perPulse } = this.#dual.prices
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    const gamma = at(switchCost, l)
    const rank = deviation?.rank ?? 0
    let lowest = 0
    for (let t = steps - 1; t >= 0; t--) {
      let newLowest = Number.POSITIVE_INFINITY
      for (let m = 0; m < width; m++) {
        const n = first + m
        let here = at(cost, n * steps + t) + at(perBit, t) * at(meanBits, n) + at(perBit2, t) * at(varianceBits2, n)
        for (let r = 0; deviation !== undefined && r < rank; r++) {
          here += at(deviation.gain, n * rank + r) * at(perPulse, t * rank + r)
        }
        this.#priced[t * width + m] = here
        const ahead = t === steps - 1 ? 0 : Math.min(at(this.#toGo, (t + 1) * width + m), lowest + gamma)
        this.#toGo[t * width + m] = here + ahead
        newLowest = Math.min(newLowest, here + ahead)
      }
      lowest = newLowest
    }
    const start = intAt(initial, l)
    let best = Number.POSITIVE_INFINITY
    for (let m = 0; m < width; m++) {
      best = Math.min(best, at(this.#toGo, m) + (start >= 0 && m !== start ? gamma : 0))
    }
    // A hair more than the cut-off, so that rounding does not lose the best path itself.
    return best + this.#cutoff + 1e-12 * (1 + Math.abs(best))
  }

  /** Sets `#kind`; how many kinds there are. */
  #findKinds(first: number, width: number): number {
    const { deviation } = this.#dual.problem
    if (deviation === undefined) {
      this.#kind.fill(0)
      return 1
    }
    const { gain, rank } = deviation
    let kinds = 0
    for (let m = 0; m < width; m++) {
      let like = 0
      while (like < m && !isAlike(gain, { rank, one: first + like, other: first + m })) like++
      this.#kind[m] = like < m ? intAt(this.#kind, like) : kinds++
    }
    return kinds
  }

  #forgetMoves(count: number): void {
    if (count > this.#moves.length) this.#moves = new Int32Array(2 * count)
    this.#moves.fill(-1, 0, count)
  }

  /** Rows that some choice of paths within the cut-off breaks, whether or not they are paths that go together; all others hold. */
  #bindingRows(): readonly number[] {
    const { chains, steps, optionStart, initial, switchCost, meanBits, varianceBits2 } = this.#dual.problem
    const { slopePerBit, capacityBits } = this.#dual.rows
    const mostMean = new Float64Array(steps)
    const mostVariance = new Float64Array(steps)
    const spent = new Float64Array(this.#kind.length)
    for (let l = 0; l < chains; l++) {
      const limit = this.#price(l)
      const first = intAt(optionStart, l)
      const width = intAt(optionStart, l + 1) - first
      const gamma = at(switchCost, l)
      const start = intAt(initial, l)
      let lowest = 0
      for (let t = 0; t < steps; t++) {
        let newLowest = Number.POSITIVE_INFINITY
        let mean = 0
        let variance = 0
        for (let m = 0; m < width; m++) {
          const stay = t > 0 ? at(spent, m) : start < 0 || start === m ? 0 : gamma
          const here = Math.min(stay, lowest + gamma)
          spent[m] = here + at(this.#priced, t * width + m)
          newLowest = Math.min(newLowest, at(spent, m))
          if (here + at(this.#toGo, t * width + m) > limit) continue
          mean = Math.max(mean, at(meanBits, first + m))
          variance = Math.max(variance, at(varianceBits2, first + m))
        }
        lowest = newLowest
        mostMean[t] = at(mostMean, t) + mean
        mostVariance[t] = at(mostVariance, t) + variance
      }
    }
    const binding: number[] = []
    let [mean, variance] = [0, 0]
    for (let t = 0; t < steps; t++) {
      mean += at(mostMean, t)
      variance += at(mostVariance, t)
      if (mean + at(slopePerBit, t) * variance > at(capacityBits, t)) binding.push(t)
    }
    return binding
  }
}

function isAlike(
  gain: Float64Array,
  { rank, one, other }: { readonly rank: number; readonly one: number; readonly other: number },
): boolean {
  for (let r = 0; r < rank; r++) if (at(gain, one * rank + r) !== at(gain, other * rank + r)) return false
  return true
}
