import { ConformalQuantile } from './conformal.ts'
import type { Forecaster, StockForecast, StockObservation } from './contract.ts'
import { HORIZONS, MAX_HORIZON, MAX_STEPS, type PoolLevels, projectionOf, type StockModel } from './stock-model.ts'

/** Where the stock is when a forecast is made. Bands are calibrated apart for each. */
export const REGIMES = ['low', 'calm', 'full'] as const
/** `low`: below K_th; `full`: about to be full, so that key is discarded; `calm`: between. */
export type Regime = (typeof REGIMES)[number]

/** Scores from calibration, by variant and regime and horizon: `[variant][regime][horizon]`. */
export type CalibrationScores = readonly (readonly (readonly (readonly number[])[])[])[]

export type BandOptions = PoolLevels & {
  readonly stepMs: number
  /** Level of the lower bound; default 0.95. */
  readonly level?: number
  readonly scores?: CalibrationScores
  /** Sees every score when it comes due; for calibration and benchmarks. */
  readonly onScore?: (score: BandScore) => void
}

/** A bound that has come due. Bits. */
export type BandScore = {
  readonly variant: 0 | 1
  readonly regime: Regime
  /** Place in `HORIZONS`. */
  readonly horizon: number
  readonly score: number
  readonly meanBits: number
  readonly sdBits: number
  readonly lowerBits: number
  readonly seenBits: number
}

/** Above this part of K_cap the pool counts as full. */
const FULL_RATIO = 0.98
/** Below a key slot the pool is empty. */
const EMPTY_BITS = 32
const RING = MAX_HORIZON + 1

/** Sums of what is larger lose bits. */
const MAX_BITS = 2 ** 53

function isWhole({ tMs, stockBits, generatedBits, consumedBits, links }: StockObservation): boolean {
  const isCount = (bits: number): boolean => bits >= 0 && bits <= MAX_BITS
  return [tMs, stockBits, generatedBits, consumedBits, ...links.map((link) => link.generatedBits)].every(isCount)
}

/** A stock model with a lower band by adaptive conformal inference, for each regime and horizon apart. */
export class BandedForecaster implements Forecaster {
  readonly #model: StockModel
  readonly #options: BandOptions
  readonly #quantiles: readonly (readonly (readonly ConformalQuantile[])[])[]
  readonly #projection = projectionOf(MAX_HORIZON)
  /** Forecasts that have not come due: mean, deviation and bound by horizon, a ring over the steps. */
  readonly #means = new Float64Array(RING * HORIZONS.length)
  readonly #sds = new Float64Array(RING * HORIZONS.length)
  readonly #lowers = new Float64Array(RING * HORIZONS.length)
  readonly #regimes = new Uint8Array(RING)
  readonly #variants = new Uint8Array(RING)
  readonly #current = new Float64Array(HORIZONS.length)
  #stockBits = 0
  #count = 0

  constructor(model: StockModel, options: BandOptions) {
    this.#model = model
    this.#options = options
    const missRatio = 1 - (options.level ?? 0.95)
    this.#quantiles = [0, 1].map((variant) =>
      REGIMES.map((_, regime) =>
        HORIZONS.map((_, horizon) => new ConformalQuantile(missRatio, options.scores?.[variant]?.[regime]?.[horizon])),
      ),
    )
  }

  get name(): string {
    return this.#model.name
  }

  observe(observation: StockObservation): void {
    // A step with a number that is none says nothing; time goes on by the next one's tMs.
    if (!isWhole(observation)) return
    this.#stockBits = Math.min(this.#options.capBits, observation.stockBits)
    this.#settle(this.#stockBits)
    this.#model.observe(observation)
    this.#model.project(MAX_HORIZON, this.#projection)
    this.#issue()
    this.#count++
  }

  /** @throws RangeError if `steps` is not a whole number from 1 to 10,000 */
  forecast(steps: number): StockForecast {
    if (!Number.isInteger(steps) || steps < 1 || steps > MAX_STEPS)
      throw new RangeError(`forecast: ${steps} steps; expected a whole number from 1 to ${MAX_STEPS}`)
    const projection = projectionOf(steps)
    this.#model.project(steps, projection)
    const { supply, supplyVariance, demand, stock, stockSd } = projection
    const lower = new Float64Array(steps)
    const { capBits } = this.#options
    for (let i = 0; i < steps; i++) {
      const bound = (stock[i] ?? 0) - this.#quantileAt(i + 1) * (stockSd[i] ?? 0)
      lower[i] = Math.min(capBits, Math.max(0, bound))
    }
    return {
      stepMs: this.#options.stepMs,
      source: this.#model.source,
      supplyBits: supply,
      supplySdBits: supplyVariance.map(Math.sqrt),
      stockBits: stock,
      stockLowerBits: lower,
      demandBits: demand,
    }
  }

  /** Between two horizons linear in the step; beyond the last one its value. */
  #quantileAt(step: number): number {
    let above = 0
    while (above < HORIZONS.length - 1 && (HORIZONS[above] ?? 0) < step) above++
    const to = HORIZONS[above] ?? 1
    const atTo = this.#current[above] ?? 0
    if (above === 0 || step >= to) return atTo
    const from = HORIZONS[above - 1] ?? 1
    const atFrom = this.#current[above - 1] ?? 0
    return atFrom + ((step - from) / (to - from)) * (atTo - atFrom)
  }

  #regime(): number {
    const { thBits, capBits } = this.#options
    if (this.#stockBits < thBits) return 0
    const reach = Math.max(this.#stockBits, this.#projection.stock[HORIZONS[2] ?? 0] ?? 0)
    return reach >= FULL_RATIO * capBits ? 2 : 1
  }

  #issue(): void {
    const slot = this.#count % RING
    const regime = this.#regime()
    const { variant } = this.#model
    this.#regimes[slot] = regime
    this.#variants[slot] = variant
    const { stock, stockSd } = this.#projection
    for (let i = 0; i < HORIZONS.length; i++) {
      const step = (HORIZONS[i] ?? 1) - 1
      const quantile = this.#quantiles[variant]?.[regime]?.[i]?.quantile() ?? 0
      const mean = stock[step] ?? 0
      const sd = stockSd[step] ?? 1
      this.#current[i] = quantile
      this.#means[slot * HORIZONS.length + i] = mean
      this.#sds[slot * HORIZONS.length + i] = sd
      this.#lowers[slot * HORIZONS.length + i] = Math.min(this.#options.capBits, Math.max(0, mean - quantile * sd))
    }
  }

  #settle(seenBits: number): void {
    for (let i = 0; i < HORIZONS.length; i++) {
      const issued = this.#count - (HORIZONS[i] ?? 1)
      if (issued < 0) continue
      const slot = issued % RING
      const at = slot * HORIZONS.length + i
      const meanBits = this.#means[at] ?? 0
      const sdBits = this.#sds[at] ?? 1
      const lowerBits = this.#lowers[at] ?? 0
      const score = (meanBits - seenBits) / sdBits
      const variant = this.#variants[slot] === 1 ? 1 : 0
      const regime = this.#regimes[slot] ?? 0
      // At an empty pool a bound of 0 holds of itself. Counted as success it would buy misses when key comes again.
      if (lowerBits > 0 || seenBits >= EMPTY_BITS)
        this.#quantiles[variant]?.[regime]?.[i]?.update(score, seenBits < lowerBits)
      this.#options.onScore?.({
        variant,
        regime: REGIMES[regime] ?? 'calm',
        horizon: i,
        score,
        meanBits,
        sdBits,
        lowerBits,
        seenBits,
      })
    }
  }
}
