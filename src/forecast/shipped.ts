import { SHIPPED_WEIGHTS } from './weights/shipped-weights.ts'
import { type ForecastWeights, parseWeights } from './weights.ts'

let parsed: ForecastWeights | undefined

/** The weights that come with the program, written by `q104 train` from `scenarios/ieee39.yaml`. */
export function shippedWeights(): ForecastWeights {
  parsed ??= parseWeights(SHIPPED_WEIGHTS, 'shipped weights')
  return parsed
}
