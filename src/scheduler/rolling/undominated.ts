/**
 * Paths of a chain within a cut-off of its best, without those that another one is never inferior to: it costs no more, moves
 * the deviations alike and uses no more in any row that could bind. In every plan it could take their place. Built step by
 * step, so that what is beaten is left out before it branches.
 */
import { at, intAt } from './arrays.ts'
import type { Dual } from './dual.ts'

type Label = {
  readonly option: number
  /** Cost at the prices, own cost, and key used so far. */
  readonly priced: number
  readonly cost: number
  readonly mean: number
  readonly variance: number
  /** Use of the rows so far that could bind. */
  readonly uses: readonly number[]
  /** What it has done to the deviations, by step. */
  readonly pulses: string
  readonly before: Label | undefined
}

export class UndominatedPaths {
  readonly #dual: Dual
  readonly #binds: readonly boolean[]

  constructor(dual: Dual) {
    this.#dual = dual
    this.#binds = bindingRows(dual)
  }

  /** H options a path, one path after another, at `dual.prices`; undefined if there are more than `most`. */
  list(l: number, cutoff: number, most: number): Int32Array | undefined {
    const { steps, optionStart, initial } = this.#dual.problem
    const first = intAt(optionStart, l)
    const width = intAt(optionStart, l + 1) - first
    const prices = this.#prices(first, width)
    const toGo = this.#toGo(l, width, prices)
    const start = intAt(initial, l)
    const gamma = at(this.#dual.problem.switchCost, l)
    let best = Number.POSITIVE_INFINITY
    for (let m = 0; m < width; m++) best = Math.min(best, at(toGo, m) + (start >= 0 && m !== start ? gamma : 0))
    // A hair more than the cut-off, so that rounding does not lose the best path itself.
    const limit = best + cutoff + 1e-12 * (1 + Math.abs(best))
    const origin = { option: start, priced: 0, cost: 0, mean: 0, variance: 0, uses: [], pulses: '', before: undefined }
    let labels: readonly Label[] = [origin]
    const classes = this.#pulseClasses(first, width)
    for (let t = 0; t < steps; t++) {
      const next: Label[] = []
      for (let m = 0; m < width; m++) {
        const here: Label[] = []
        for (const label of labels) {
          const change = label.option >= 0 && label.option !== m ? gamma : 0
          if (label.priced + change + at(toGo, t * width + m) > limit) continue
          here.push(
            this.#extend(label, {
              t,
              m,
              n: first + m,
              change,
              priced: at(prices, t * width + m),
              class: classes[m] ?? '',
            }),
          )
          if (here.length > 4 * most) return undefined
        }
        next.push(...undominated(here))
        if (next.length > most) return undefined
      }
      labels = next
    }
    // The last options differ no more in what they allow, so paths of all of them compete.
    return pathsOf(undominated([...labels]), steps)
  }

  #extend(
    label: Label,
    step: {
      readonly t: number
      readonly m: number
      readonly n: number
      readonly change: number
      readonly priced: number
      readonly class: string
    },
  ): Label {
    const { problem, rows } = this.#dual
    const { t, m, n, change } = step
    const mean = label.mean + at(problem.meanBits, n)
    const variance = label.variance + at(problem.varianceBits2, n)
    const use = mean + at(rows.slopePerBit, t) * variance
    return {
      option: m,
      priced: label.priced + change + step.priced,
      cost: label.cost + change + at(problem.cost, n * problem.steps + t),
      mean,
      variance,
      uses: this.#binds[t] === true ? [...label.uses, use] : label.uses,
      pulses: label.pulses + step.class,
      before: label,
    }
  }

  #prices(first: number, width: number): Float64Array {
    const { steps, meanBits, varianceBits2, cost, deviation } = this.#dual.problem
    const { perBit, perBit2, perPulse } = this.#dual.prices
    const rank = deviation?.rank ?? 0
    const prices = new Float64Array(steps * width)
    for (let t = 0; t < steps; t++) {
      for (let m = 0; m < width; m++) {
        const n = first + m
        let here = at(cost, n * steps + t) + at(perBit, t) * at(meanBits, n) + at(perBit2, t) * at(varianceBits2, n)
        for (let r = 0; deviation !== undefined && r < rank; r++) {
          here += at(deviation.gain, n * rank + r) * at(perPulse, t * rank + r)
        }
        prices[t * width + m] = here
      }
    }
    return prices
  }

  /** Least priced cost from step t on with option m in it. */
  #toGo(l: number, width: number, prices: Float64Array): Float64Array {
    const { steps, switchCost } = this.#dual.problem
    const gamma = at(switchCost, l)
    const toGo = new Float64Array(steps * width)
    let lowest = 0
    for (let t = steps - 1; t >= 0; t--) {
      let newLowest = Number.POSITIVE_INFINITY
      for (let m = 0; m < width; m++) {
        const ahead = t === steps - 1 ? 0 : Math.min(at(toGo, (t + 1) * width + m), lowest + gamma)
        toGo[t * width + m] = at(prices, t * width + m) + ahead
        newLowest = Math.min(newLowest, at(toGo, t * width + m))
      }
      lowest = newLowest
    }
    return toGo
  }

  /** A letter for each option; options that move the deviations alike have the same. */
  #pulseClasses(first: number, width: number): readonly string[] {
    const { deviation } = this.#dual.problem
    if (deviation === undefined) return Array.from({ length: width }, () => '')
    const { gain, rank } = deviation
    const known: string[] = []
    return Array.from({ length: width }, (_, m) => {
      const key = gain.subarray((first + m) * rank, (first + m + 1) * rank).join()
      if (!known.includes(key)) known.push(key)
      return String.fromCharCode(97 + known.indexOf(key))
    })
  }
}

/** Labels of one option and step that no other beats. */
function undominated(labels: Label[]): Label[] {
  labels.sort((a, b) => a.cost - b.cost || a.mean - b.mean)
  const kept: Label[] = []
  for (const label of labels) if (!kept.some((other) => beats(other, label))) kept.push(label)
  return kept
}

/** Whether `a`, which costs no more, is as good as `b` in all else. */
function beats(a: Label, b: Label): boolean {
  if (a.mean > b.mean || a.variance > b.variance || a.pulses !== b.pulses) return false
  return a.uses.every((use, i) => use <= (b.uses[i] ?? 0))
}

function pathsOf(labels: readonly Label[], steps: number): Int32Array {
  const paths = new Int32Array(labels.length * steps)
  for (const [i, last] of labels.entries()) {
    let label: Label | undefined = last
    for (let t = steps - 1; t >= 0; t--) {
      paths[i * steps + t] = label?.option ?? 0
      label = label?.before
    }
  }
  return paths
}

/** Rows that some plan breaks; all others hold whatever is chosen. */
function bindingRows({ problem, rows }: Dual): readonly boolean[] {
  const { chains, steps, optionStart, meanBits, varianceBits2 } = problem
  let mean = 0
  let variance = 0
  for (let l = 0; l < chains; l++) {
    let most = 0
    let most2 = 0
    for (let n = intAt(optionStart, l); n < intAt(optionStart, l + 1); n++) {
      most = Math.max(most, at(meanBits, n))
      most2 = Math.max(most2, at(varianceBits2, n))
    }
    mean += most
    variance += most2
  }
  return Array.from({ length: steps }, (_, t) => {
    return (mean + at(rows.slopePerBit, t) * variance) * (t + 1) > at(rows.capacityBits, t)
  })
}
