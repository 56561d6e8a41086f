import type { Basis } from './basis.ts'
import type { StockObservation } from './contract.ts'
import { HORIZONS, MAX_HORIZON } from './stock-model.ts'

/** Limits from calibration: what the statistics stayed below on traffic like that of the training. */
export type NoveltyLimits = {
  /** Squared innovation of the demand over its variance, averaged over 5 s. */
  readonly demandInnovation: number
  /** How far the features are outside the range of training, in its width, averaged over them and 5 s. */
  readonly outside: number
  /** Squared error of the network's forecast at 10 steps over the basis', averaged over 30 s. */
  readonly regret: number
  /** Range of each feature in training, the outermost thousandth left out. */
  readonly low: readonly number[]
  readonly high: readonly number[]
}

export const NOVELTY_STATISTICS = ['demandInnovation', 'outside', 'regret'] as const
export type NoveltyStatistic = (typeof NOVELTY_STATISTICS)[number]

const REASONS: Readonly<Record<NoveltyStatistic, string>> = {
  demandInnovation: 'innovations larger than in training',
  outside: 'traffic outside the range of training',
  regret: 'the network does worse than the filter',
}

const FAST = 1 / 50
const SLOW = 1 / 300
/** Statistics are this far below their limits for this long before the network is trusted again. */
const RETURN_RATIO = 0.8
const RETURN_STEPS = 100
/** Nothing is judged before the filter has settled, steps. */
const SETTLE_STEPS = 100
const HORIZON = 2
const RING = MAX_HORIZON + 1

/** Whether traffic is like that of the training: by innovations, by range of the features, and by the network's own errors. */
export class Novelty {
  readonly #limits: NoveltyLimits
  readonly #values: Record<NoveltyStatistic, number> = { demandInnovation: 1, outside: 0, regret: 1 }
  readonly #plain = new Float64Array(RING)
  readonly #corrected = new Float64Array(RING)
  readonly #sds = new Float64Array(RING)
  #plainError = 1
  #correctedError = 1
  #count = 0
  #calm = 0
  #reason: string | undefined

  constructor(limits: NoveltyLimits) {
    this.#limits = limits
  }

  get isNovel(): boolean {
    return this.#reason !== undefined
  }

  /** Why the network is not used, or undefined while it is. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** The statistics now; for calibration. */
  get values(): Readonly<Record<NoveltyStatistic, number>> {
    return this.#values
  }

  /** @param outputs of the network for the present step */
  observe(basis: Basis, outputs: Float64Array, { stockBits }: StockObservation): void {
    this.#settle(stockBits)
    const { features, projection } = basis
    const innovation = features[0] ?? 0
    this.#values.demandInnovation += FAST * (innovation * innovation - this.#values.demandInnovation)
    let outside = 0
    for (let i = 0; i < features.length; i++) {
      const value = features[i] ?? 0
      const low = this.#limits.low[i] ?? value
      const high = this.#limits.high[i] ?? value
      outside += Math.min(1, Math.max(0, value - high, low - value) / (high - low + 1e-3))
    }
    this.#values.outside += FAST * (outside / features.length - this.#values.outside)
    const slot = this.#count % RING
    const step = (HORIZONS[HORIZON] ?? 1) - 1
    const sd = projection.stockSd[step] ?? 1
    this.#plain[slot] = projection.stock[step] ?? 0
    this.#corrected[slot] = (projection.stock[step] ?? 0) + (outputs[HORIZON] ?? 0) * sd
    this.#sds[slot] = sd
    this.#count++
    if (this.#count > SETTLE_STEPS) this.#judge()
  }

  #settle(stockBits: number): void {
    const issued = this.#count - (HORIZONS[HORIZON] ?? 1)
    if (issued < 0) return
    const slot = issued % RING
    const sd = this.#sds[slot] ?? 1
    // One wild step must not decide.
    const plain = Math.min(25, ((stockBits - (this.#plain[slot] ?? 0)) / sd) ** 2)
    const corrected = Math.min(25, ((stockBits - (this.#corrected[slot] ?? 0)) / sd) ** 2)
    this.#plainError += SLOW * (plain - this.#plainError)
    this.#correctedError += SLOW * (corrected - this.#correctedError)
    this.#values.regret = this.#correctedError / Math.max(0.05, this.#plainError)
  }

  #judge(): void {
    const over = NOVELTY_STATISTICS.find((name) => this.#values[name] > this.#limits[name])
    if (over !== undefined) {
      this.#calm = 0
      this.#reason = REASONS[over]
      return
    }
    if (this.#reason === undefined) return
    const calm = NOVELTY_STATISTICS.every((name) => this.#values[name] <= RETURN_RATIO * this.#limits[name])
    this.#calm = calm ? this.#calm + 1 : 0
    if (this.#calm >= RETURN_STEPS) this.#reason = undefined
  }
}
