import type { StockObservation } from './contract.ts'
import { accumulate, type Projection, type StockModel } from './stock-model.ts'

/** The stock stays as it is; supply and demand are those of the last step. The simplest baseline. */
export class PersistenceModel implements StockModel {
  readonly name = 'persistence'
  readonly source = 'persistence'
  readonly variant = 0
  #last = { stockBits: 0, generatedBits: 0, consumedBits: 0 }
  #square = 300 ** 2
  #made = 0
  #madeSquare = 0
  #count = 0

  observe({ stockBits, generatedBits, consumedBits }: StockObservation): void {
    const pace = Math.max(1 / 600, 1 / (this.#count + 30))
    if (this.#count++ > 0) this.#square += pace * ((stockBits - this.#last.stockBits) ** 2 - this.#square)
    this.#made += pace * (generatedBits - this.#made)
    this.#madeSquare += pace * ((generatedBits - this.#made) ** 2 - this.#madeSquare)
    this.#last = { stockBits, generatedBits, consumedBits }
  }

  project(steps: number, out: Projection): void {
    for (let i = 0; i < steps; i++) {
      out.supply[i] = this.#last.generatedBits
      out.supplyVariance[i] = this.#madeSquare * (i + 1)
      out.demand[i] = this.#last.consumedBits
      out.demandVariance[i] = this.#square * (i + 1)
      out.stock[i] = this.#last.stockBits
      out.stockSd[i] = Math.sqrt(this.#square * (i + 1))
    }
  }
}

/** Lags of the autoregression: one period of secondary control at 100 ms. */
const LAGS = 40
const SIZE = LAGS + 1
const FORGET = 0.9995

/** An autoregression of order 40 with a constant, fitted as it goes by recursive least squares with forgetting. */
class Autoregression {
  readonly #w = new Float64Array(SIZE)
  readonly #p = new Float64Array(SIZE * SIZE)
  readonly #x = new Float64Array(SIZE)
  readonly #gain = new Float64Array(SIZE)
  readonly #history = new Float64Array(LAGS)
  /** Mean square of the values and of the innovations. */
  #scale = 0
  #square = 0
  #count = 0

  constructor() {
    for (let i = 0; i < SIZE; i++) this.#p[i * SIZE + i] = 10
  }

  observe(value: number): void {
    if (this.#scale === 0) {
      this.#scale = Math.max(1, Math.abs(value), 300)
      this.#square = this.#scale ** 2
    }
    const seen = value / this.#scale
    if (this.#count++ >= LAGS) this.#fit(seen)
    this.#history.copyWithin(1, 0)
    this.#history[0] = seen
  }

  #fit(seen: number): void {
    const [w, p, x, gain] = [this.#w, this.#p, this.#x, this.#gain]
    x.set(this.#history)
    x[LAGS] = 1
    let expected = 0
    let denominator = FORGET
    for (let i = 0; i < SIZE; i++) {
      let sum = 0
      for (let j = 0; j < SIZE; j++) sum += (p[i * SIZE + j] ?? 0) * (x[j] ?? 0)
      gain[i] = sum
      denominator += sum * (x[i] ?? 0)
      expected += (w[i] ?? 0) * (x[i] ?? 0)
    }
    const error = seen - expected
    this.#square += (1 / 300) * ((error * this.#scale) ** 2 - this.#square)
    for (let i = 0; i < SIZE; i++) {
      w[i] = (w[i] ?? 0) + ((gain[i] ?? 0) / denominator) * error
      for (let j = 0; j < SIZE; j++) {
        const taken = ((gain[i] ?? 0) * (gain[j] ?? 0)) / denominator
        p[i * SIZE + j] = ((p[i * SIZE + j] ?? 0) - taken) / FORGET
      }
    }
    // Forgetting without excitation would let the covariance grow without end.
    let largest = 0
    for (let i = 0; i < SIZE; i++) largest = Math.max(largest, p[i * SIZE + i] ?? 0)
    if (largest > 1e4) this.#reset()
  }

  #reset(): void {
    this.#p.fill(0)
    for (let i = 0; i < SIZE; i++) this.#p[i * SIZE + i] = 10
  }

  project(steps: number, mean: Float64Array, sumVariance: Float64Array): void {
    const line = new Float64Array(steps + LAGS)
    for (let i = 0; i < LAGS; i++) line[LAGS - 1 - i] = this.#history[i] ?? 0
    for (let s = 0; s < steps; s++) {
      let sum = this.#w[LAGS] ?? 0
      for (let i = 0; i < LAGS; i++) sum += (this.#w[i] ?? 0) * (line[LAGS + s - 1 - i] ?? 0)
      // A fit that is not stable yet must not run away.
      line[LAGS + s] = Math.max(0, Math.min(50, sum))
      mean[s] = (line[LAGS + s] ?? 0) * this.#scale
      sumVariance[s] = this.#square * (s + 1)
    }
  }
}

/** AR(40) on supply and on demand. A baseline that knows nothing of links, breaks and levels. */
export class ArModel implements StockModel {
  readonly name = 'ar'
  readonly source = 'ar'
  readonly variant = 0
  readonly #capBits: number
  readonly #supply = new Autoregression()
  readonly #demand = new Autoregression()
  #stockBits = 0

  constructor(capBits: number) {
    this.#capBits = capBits
  }

  observe({ stockBits, generatedBits, consumedBits }: StockObservation): void {
    this.#stockBits = stockBits
    this.#supply.observe(generatedBits)
    this.#demand.observe(consumedBits)
  }

  project(steps: number, out: Projection): void {
    this.#supply.project(steps, out.supply, out.supplyVariance)
    this.#demand.project(steps, out.demand, out.demandVariance)
    accumulate(steps, this.#stockBits, this.#capBits, out)
  }
}
