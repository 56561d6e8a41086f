/** What was seen of the key stock during one step. One observation a step of 100 ms. */
export type StockObservation = {
  readonly tMs: number
  /** Bits in the pool that no channel has drawn, at the end of the step. */
  readonly stockBits: number
  /** Bits generated during the step, by link (before overflow is discarded). */
  readonly generatedBits: number
  /** Bits drawn from the pool during the step. */
  readonly consumedBits: number
  /** QKD links: whether up, and bits generated in the step. */
  readonly links: readonly { readonly link: number; readonly up: boolean; readonly generatedBits: number }[]
}

/** Forecast over steps 1..H from the last observation. All arrays have length H. */
export type StockForecast = {
  readonly stepMs: number
  /** Who made it: 'kalman', 'kalman+lstm', 'persistence', ... ; a fall-back says so here. */
  readonly source: string
  /** Mean bits generated in each step. */
  readonly supplyBits: Float64Array
  /** Standard deviation of the bits generated from step 1 to this one together. */
  readonly supplySdBits: Float64Array
  /** Mean stock at each step if consumption goes on as seen. */
  readonly stockBits: Float64Array
  /** Calibrated lower bound of the stock (one-sided, level e.g. 0.95). */
  readonly stockLowerBits: Float64Array
  /** Mean bits consumed in each step as forecast from traffic seen. */
  readonly demandBits: Float64Array
}

/** Sees the stock step by step and says what is to come. Pure: the same observations give the same forecasts. */
export interface Forecaster {
  readonly name: string
  observe(observation: StockObservation): void
  forecast(steps: number): StockForecast
}
