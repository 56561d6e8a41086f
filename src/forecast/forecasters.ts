import { BandedForecaster, type BandOptions } from './banded.ts'
import { ArModel, PersistenceModel } from './baselines.ts'
import { KalmanBasis, RawBasis } from './basis.ts'
import type { Forecaster } from './contract.ts'
import { KalmanCore } from './kalman.ts'
import type { SupplyOptions } from './link-supply.ts'
import { LstmModel } from './lstm-model.ts'
import { Novelty } from './novelty.ts'
import type { StockModel } from './stock-model.ts'
import type { ForecastWeights } from './weights.ts'

/**
 * - `kalman+lstm`: the Kalman core and the network on its residual; falls back to the core alone, and back again.
 * - `kalman`: the core alone, with the phases of periodic demand.
 * - Baselines: `persistence`, `ar` (order 40, fitted as it goes), `kalman constant-rate`, `lstm` (a network alone).
 */
export const FORECASTERS = ['kalman+lstm', 'kalman', 'kalman constant-rate', 'lstm', 'ar', 'persistence'] as const
export type ForecasterName = (typeof FORECASTERS)[number]

export type ForecasterOptions = Omit<BandOptions, 'scores' | 'stepMs'> &
  Omit<SupplyOptions, 'stepMs'> & {
    /** Length of a step; default 100. */
    readonly stepMs?: number
    /** Weights of `q104 train`; the forecasters with a network need them, `kalman` begins with better bands. */
    readonly weights?: ForecastWeights
    /** Without: `kalman+lstm` never falls back. Default true. */
    readonly fallBack?: boolean
  }

/**
 * Makes a forecaster.
 * @throws RangeError if it needs weights and there are none, or K_th and K_cap are not 0 < K_th <= K_cap
 */
export function forecasterOf(name: ForecasterName, options: ForecasterOptions): Forecaster {
  const { capBits, thBits, stepMs = 100, weights } = options
  if (!(capBits > 0 && Number.isFinite(capBits))) throw new RangeError(`forecast: capBits ${capBits} is not positive`)
  if (!(thBits >= 0 && thBits <= capBits)) throw new RangeError(`forecast: thBits ${thBits} is not in 0..capBits`)
  if (!(stepMs > 0 && Number.isFinite(stepMs))) throw new RangeError(`forecast: stepMs ${stepMs} is not positive`)
  const scores =
    name === 'kalman+lstm' ? weights?.scores : name === 'lstm' ? weights?.aloneScores : plainScores(name, weights)
  const model = modelOf(name, { ...options, stepMs })
  return new BandedForecaster(model, { ...options, stepMs, ...(scores === undefined ? {} : { scores }) })
}

function plainScores(name: ForecasterName, weights: ForecastWeights | undefined) {
  return name === 'kalman' && weights?.scores[1] !== undefined ? [weights.scores[1]] : undefined
}

function modelOf(name: ForecasterName, options: ForecasterOptions & { readonly stepMs: number }): StockModel {
  const { capBits, fallBack = true, weights } = options
  switch (name) {
    case 'persistence':
      return new PersistenceModel()
    case 'ar':
      return new ArModel(capBits)
    case 'kalman':
      return new KalmanCore(options)
    case 'kalman constant-rate':
      return new KalmanCore({ ...options, phases: false })
    case 'lstm': {
      const { alone } = needed(weights, name)
      return new LstmModel(name, { basis: new RawBasis(options), network: alone, levels: options })
    }
    case 'kalman+lstm': {
      const { residual, novelty } = needed(weights, name)
      const basis = new KalmanBasis(options)
      const judge = fallBack ? { novelty: new Novelty(novelty) } : {}
      return new LstmModel(name, { basis, network: residual, levels: options, ...judge })
    }
  }
}

function needed(weights: ForecastWeights | undefined, name: ForecasterName): ForecastWeights {
  if (weights === undefined) throw new RangeError(`forecast: ${name} needs weights`)
  return weights
}
