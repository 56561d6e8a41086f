import type { StockObservation } from './contract.ts'

/** Steps at which bands are calibrated; between them they are interpolated, beyond the last one it goes on. */
export const HORIZONS: readonly number[] = [1, 5, 10, 20, 50]
/** The largest of `HORIZONS`. */
export const MAX_HORIZON = 50
/** The longest forecast that is given, steps. */
export const MAX_STEPS = 10_000

/** What a model expects of each step to come; arrays in bits. */
export type Projection = {
  readonly supply: Float64Array
  /** Variance of the supply from step 1 to this one together, bits^2. */
  readonly supplyVariance: Float64Array
  readonly demand: Float64Array
  readonly demandVariance: Float64Array
  /** Mean stock, within 0 and K_cap. */
  readonly stock: Float64Array
  /** Standard deviation that the model gives the stock; bands scale with it. */
  readonly stockSd: Float64Array
}

/** A model of the stock's mean and spread; `BandedForecaster` makes a forecaster of it. */
export interface StockModel {
  readonly name: string
  /** Who made the last projection; may change from step to step. */
  readonly source: string
  /** 0, or 1 while the model does without a part of it: bands are calibrated apart. */
  readonly variant: 0 | 1
  observe(observation: StockObservation): void
  project(steps: number, out: Projection): void
}

/** Levels of the pool. Bits. */
export type PoolLevels = {
  /** K_cap: what is generated above it is discarded. */
  readonly capBits: number
  /** K_th: below it the low-stock regime begins. */
  readonly thBits: number
  /** K_safe; default half of K_th. */
  readonly safeBits?: number
}

export function projectionOf(steps: number): Projection {
  const array = () => new Float64Array(steps)
  return {
    supply: array(),
    supplyVariance: array(),
    demand: array(),
    demandVariance: array(),
    stock: array(),
    stockSd: array(),
  }
}

/** Fills stock and its deviation from supply and demand: K' = K + G - C, clipped to 0..K_cap in each step. */
export function accumulate(steps: number, stockBits: number, capBits: number, out: Projection): void {
  let stock = stockBits
  for (let i = 0; i < steps; i++) {
    stock = Math.min(capBits, Math.max(0, stock + (out.supply[i] ?? 0) - (out.demand[i] ?? 0)))
    out.stock[i] = stock
    out.stockSd[i] = Math.sqrt(Math.max(1, (out.supplyVariance[i] ?? 0) + (out.demandVariance[i] ?? 0)))
  }
}
