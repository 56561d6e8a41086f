import type { StockObservation } from './contract.ts'
import { Demand } from './demand.ts'
import { LinkSupply, type SupplyOptions } from './link-supply.ts'
import { accumulate, type PoolLevels, type Projection, type StockModel } from './stock-model.ts'

export type KalmanOptions = PoolLevels &
  SupplyOptions & { /** Look for periodic demand; default true. */ readonly phases?: boolean }

/**
 * The Kalman core on [G, K] (MODEL: (11)-(16)): K is counted exactly, G is filtered link by link, breaks are expected to end,
 * and the covariance is carried over the horizon, so that `supplyVariance` is that of the cumulated supply.
 */
export class KalmanCore implements StockModel {
  readonly name: string
  readonly variant = 0
  readonly supply: LinkSupply
  readonly demand: Demand
  readonly capBits: number
  readonly #stepMs: number
  /** Stock at the end of the last step; bits. */
  stockBits = 0
  /** Bits discarded in the last step because the pool was full. */
  discardedBits = 0
  #step = 0
  #seen = false

  constructor(options: KalmanOptions) {
    const { phases = true } = options
    this.name = phases ? 'kalman' : 'kalman constant-rate'
    this.supply = new LinkSupply(options)
    this.demand = new Demand({ stepMs: options.stepMs, phases })
    this.capBits = options.capBits
    this.#stepMs = options.stepMs
  }

  get source(): string {
    return this.name
  }

  observe(observation: StockObservation): void {
    const { tMs, stockBits, generatedBits, consumedBits } = observation
    this.#step = Math.round(tMs / this.#stepMs)
    const seen = this.#seen
    this.#seen = true
    this.discardedBits = seen ? Math.max(0, this.stockBits + generatedBits - consumedBits - stockBits) : 0
    this.stockBits = Math.min(this.capBits, stockBits)
    this.supply.observe(observation)
    // The first step of a lab is when all channels fill: it says nothing of the traffic to come.
    if (seen) this.demand.observe(this.#step, consumedBits, stockBits < EMPTY_BITS)
  }

  project(steps: number, out: Projection): void {
    this.supply.project(steps, out.supply, out.supplyVariance)
    this.demand.project(steps, out.demand, out.demandVariance)
    accumulate(steps, this.stockBits, this.capBits, out)
  }
}

/** Below a key slot nothing can be drawn. */
const EMPTY_BITS = 32
