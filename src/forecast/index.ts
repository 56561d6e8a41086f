/** Forecast of the key stock. */
export { type BandScore, type CalibrationScores, REGIMES, type Regime } from './banded.ts'
export type { Forecaster, StockForecast, StockObservation } from './contract.ts'
export { FORECASTERS, type ForecasterName, type ForecasterOptions, forecasterOf } from './forecasters.ts'
export type { SupplyOptions } from './link-supply.ts'
export { shippedWeights } from './shipped.ts'
export { HORIZONS, type PoolLevels } from './stock-model.ts'
export { type TrainProgress, type TrainRequest, trainForecast } from './train.ts'
export { TRAINING, type Trace, type TrainingOptions } from './training.ts'
export {
  type ForecastWeights,
  formatWeights,
  hashOf,
  parseWeights,
  type TrainingConfig,
  WeightsError,
} from './weights.ts'
