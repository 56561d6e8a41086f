import type { StockObservation } from './contract.ts'
import { KalmanCore, type KalmanOptions } from './kalman.ts'
import { HORIZONS, MAX_HORIZON, type PoolLevels, type Projection, projectionOf } from './stock-model.ts'

/** What an LSTM stands on: a forecast that it corrects, and what it sees. */
export interface Basis {
  readonly name: string
  /** Inputs of the network, of the last step; of order one. */
  readonly features: Float32Array
  /** Its own forecast up to the last horizon. */
  readonly projection: Projection
  observe(observation: StockObservation): void
  project(steps: number, out: Projection): void
}

/** Steps of the horizons whose own errors the network sees. */
const ECHO_STEPS: readonly number[] = [10, 50]
const RING = MAX_HORIZON + 1
/** Two of the longest periods (10 s) at 100 ms, and a step. */
const SUM_RING = 256
/** Memory of the leaky sums of innovations, steps. */
const LEAKS: readonly number[] = [80, 320]

/** The Kalman core with what the network sees of it. All features are free of scale. */
export class KalmanBasis implements Basis {
  static readonly inputs = 28
  readonly name = 'kalman'
  readonly core: KalmanCore
  readonly features = new Float32Array(KalmanBasis.inputs)
  readonly projection = projectionOf(MAX_HORIZON)
  readonly #levels: PoolLevels
  readonly #means = new Float64Array(RING * ECHO_STEPS.length)
  readonly #sds = new Float64Array(RING * ECHO_STEPS.length)
  /** Innovations of the demand, in their standard deviation at the time, summed up: a difference is the sum over a time. */
  readonly #sums = new Float64Array(SUM_RING)
  #sum = 0
  readonly #leaks = new Float64Array(LEAKS.length)
  #count = 0

  constructor(options: KalmanOptions) {
    this.core = new KalmanCore(options)
    this.#levels = options
  }

  observe(observation: StockObservation): void {
    const { core, projection } = this
    core.observe(observation)
    core.project(MAX_HORIZON, projection)
    this.#describe(observation)
    this.#remember()
    this.#count++
  }

  project(steps: number, out: Projection): void {
    this.core.project(steps, out)
  }

  #describe({ consumedBits, generatedBits }: StockObservation): void {
    const { core, projection, features } = this
    const { demand, supply, stockBits } = core
    const { capBits, thBits, safeBits = thBits / 2 } = this.#levels
    const sd = projection.stockSd[9] ?? 1
    const sdLong = projection.stockSd[MAX_HORIZON - 1] ?? 1
    const slow = demand.meanBits + 1
    const { steps: periodSteps, phase, explained } = demand.period()
    const { downRatio, downSteps, mended } = supply.outages()
    const angle = 2 * Math.PI * phase
    const drift = (projection.stock[9] ?? 0) - stockBits
    let at = 0
    const put = (value: number): void => {
      features[at++] = Number.isFinite(value) ? value : 0
    }
    put(bounded(demand.innovation / demand.noiseSd, 6))
    put(bounded(supply.innovation / supply.innovationSd, 6) / 3)
    put(bounded((demand.bankLevel(3) - slow) / slow, 4))
    put(bounded((demand.bankLevel(2) - slow) / slow, 4))
    put(bounded((demand.levelBits - slow) / slow, 4))
    put(explained > 0 ? Math.sin(angle) : 0)
    put(explained > 0 ? Math.cos(angle) : 0)
    put(explained)
    put(Math.min(1, 3 * downRatio))
    put(Math.min(1, downSteps / 50))
    put(mended)
    put(Math.tanh((capBits - stockBits) / (4 * sd)))
    put(Math.tanh(stockBits / (4 * sd)))
    put(Math.tanh((stockBits - thBits) / (4 * sd)))
    put(Math.tanh((stockBits - safeBits) / (4 * sd)))
    put(Math.tanh((stockBits - 1.05 * thBits) / (2 * sd)))
    put(Math.min(1, core.discardedBits / (1 + Math.max(0, generatedBits))))
    put(Math.tanh(drift / sd))
    put(Math.sqrt((projection.supplyVariance[MAX_HORIZON - 1] ?? 0) / (sdLong * sdLong)))
    put(Math.log1p(Math.max(0, consumedBits) / (1 + demand.meanBits)) / 2)
    put(bounded(demand.noiseSd / (1 + demand.meanBits), 8) / 4)
    put(bounded((supply.noiseScale - 1) / 2, 3))
    for (let i = 0; i < ECHO_STEPS.length; i++) put(this.#echo(i))
    // Channels fetch key in lots: what they took too little of lately, they take soon.
    this.#accumulate(bounded(demand.innovation / demand.noiseSd, 8))
    const spread = Math.sqrt(periodSteps)
    put(bounded(this.#between(0, periodSteps) / spread, 4))
    put(bounded(this.#between(periodSteps, 2 * periodSteps) / spread, 4))
    for (const [i, steps] of LEAKS.entries()) put(bounded((this.#leaks[i] ?? 0) / Math.sqrt(steps / 2), 4))
  }

  #accumulate(innovation: number): void {
    this.#sum += innovation
    this.#sums[this.#count % SUM_RING] = this.#sum
    for (const [i, steps] of LEAKS.entries()) this.#leaks[i] = (this.#leaks[i] ?? 0) * (1 - 1 / steps) + innovation
  }

  /** Sum of the innovations from `to` steps ago, exclusive, to `from` steps ago. */
  #between(from: number, to: number): number {
    const at = (ago: number): number => this.#sums[(this.#count - ago) % SUM_RING] ?? 0
    if (this.#count < to) return 0
    return at(from) - at(to)
  }

  /** Error of the forecast that has come due, in its standard deviations. */
  #echo(index: number): number {
    const issued = this.#count - (ECHO_STEPS[index] ?? 1)
    if (issued < 0) return 0
    const at = (issued % RING) * ECHO_STEPS.length + index
    return bounded((this.core.stockBits - (this.#means[at] ?? 0)) / (this.#sds[at] ?? 1), 4) / 2
  }

  #remember(): void {
    for (const [i, step] of ECHO_STEPS.entries()) {
      const at = (this.#count % RING) * ECHO_STEPS.length + i
      this.#means[at] = this.projection.stock[step - 1] ?? 0
      this.#sds[at] = this.projection.stockSd[step - 1] ?? 1
    }
  }
}

/** What an LSTM alone stands on: running means and nothing of the links' or the traffic's nature. A baseline. */
export class RawBasis implements Basis {
  static readonly inputs = 9
  readonly name = 'raw'
  readonly features = new Float32Array(RawBasis.inputs)
  readonly projection = projectionOf(MAX_HORIZON)
  readonly #levels: PoolLevels
  #stockBits = 0
  #made = 0
  #drawn = 0
  #drawnSquare = 0
  #count = 0

  constructor(levels: PoolLevels) {
    this.#levels = levels
  }

  observe({ stockBits, generatedBits, consumedBits, links }: StockObservation): void {
    this.#count++
    const pace = Math.max(1 / 600, 1 / this.#count)
    this.#stockBits = stockBits
    this.#made += pace * (generatedBits - this.#made)
    this.#drawn += pace * (consumedBits - this.#drawn)
    this.#drawnSquare += pace * (consumedBits ** 2 - this.#drawnSquare)
    this.project(MAX_HORIZON, this.projection)
    const { capBits, thBits, safeBits = thBits / 2 } = this.#levels
    const sd = this.projection.stockSd[9] ?? 1
    const down = links.length === 0 ? 0 : links.filter(({ up }) => !up).length / links.length
    this.features.set([
      bounded(consumedBits / (1 + this.#drawn), 8) / 2,
      bounded(generatedBits / (1 + this.#made), 4),
      bounded(this.#made / (1 + this.#drawn), 4),
      down,
      Math.tanh((capBits - stockBits) / (4 * sd)),
      Math.tanh(stockBits / (4 * sd)),
      Math.tanh((stockBits - thBits) / (4 * sd)),
      Math.tanh((stockBits - safeBits) / (4 * sd)),
      bounded(Math.sqrt(this.#drawnSquare) / (1 + this.#drawn), 8) / 4,
    ])
  }

  /** The stock as it is, spread as if demand came in independent steps. */
  project(steps: number, out: Projection): void {
    const spread = Math.max(300 ** 2, this.#drawnSquare)
    for (let i = 0; i < steps; i++) {
      out.supply[i] = this.#made
      out.supplyVariance[i] = (0.1 * this.#made * (i + 1)) ** 2
      out.demand[i] = this.#drawn
      out.demandVariance[i] = spread * (i + 1)
      out.stock[i] = this.#stockBits
      out.stockSd[i] = Math.sqrt((out.supplyVariance[i] ?? 0) + spread * (i + 1))
    }
  }
}

/** Outputs of a network on a basis: the correction of stock and of cumulated demand at each horizon. */
export const OUTPUTS = 2 * HORIZONS.length

function bounded(value: number, limit: number): number {
  return Math.min(limit, Math.max(-limit, value))
}
