import { BandedForecaster, type BandScore, type CalibrationScores, REGIMES } from './banded.ts'
import { KalmanBasis, RawBasis } from './basis.ts'
import { KalmanCore } from './kalman.ts'
import { carryState, forwardStep, type Network, tapeOf } from './lstm.ts'
import { LstmModel } from './lstm-model.ts'
import { NOVELTY_STATISTICS, Novelty, type NoveltyLimits } from './novelty.ts'
import { HORIZONS } from './stock-model.ts'
import type { Trace } from './training.ts'

/** Quantiles kept of the scores of a regime and horizon. */
const KEPT = 60
/** Fewer scores than this say too little; the band then begins as a normal one. */
const LEAST_SCORES = 200
const SETTLE_STEPS = 100
/** Features and statistics are looked at every so many steps: neighbours say nearly the same. */
const STRIDE = 5
/** The outermost thousandth of a feature's values does not count as its range. */
const RANGE_QUANTILE = 0.001
/** Limits are this far above the largest statistics that calibration saw. */
const LIMIT_MARGIN = 1.1

export type Calibration = {
  readonly scores: CalibrationScores
  readonly aloneScores: CalibrationScores
  readonly novelty: NoveltyLimits
}

export type CalibrationOptions = {
  readonly residual: Network
  readonly alone: Network
  /** Makes the trace of a number, the same one each time. */
  readonly trace: (index: number) => Trace
  readonly traces: number
  readonly steps: number
  readonly stepMs: number
}

/**
 * What trained networks do on traces that they have not learnt from: the scores that bands begin with, and how far traffic like
 * that of the training goes.
 */
export function calibrate(options: CalibrationOptions): Calibration {
  const { residual, alone, trace: traceOf, traces, steps, stepMs } = options
  const books = { corrected: new ScoreBook(), plain: new ScoreBook(), raw: new ScoreBook() }
  const features = Array.from({ length: KalmanBasis.inputs }, (): number[] => [])
  for (let index = 0; index < traces; index++) {
    const trace = traceOf(index)
    const basis = new KalmanBasis({ ...trace, stepMs })
    const models = [
      [new LstmModel('', { basis, network: residual, levels: trace }), books.corrected],
      [new KalmanCore({ ...trace, stepMs }), books.plain],
      [new LstmModel('', { basis: new RawBasis(trace), network: alone, levels: trace }), books.raw],
    ] as const
    let settled = false
    const forecasters = models.map(
      ([model, book]) =>
        new BandedForecaster(model, { ...trace, stepMs, onScore: (score) => settled && book.add(score) }),
    )
    for (let t = 0; t < steps; t++) {
      settled = t >= SETTLE_STEPS
      const observation = trace.next()
      for (const forecaster of forecasters) forecaster.observe(observation)
      if (settled && t % STRIDE === 0) for (const [i, value] of basis.features.entries()) features[i]?.push(value)
    }
  }
  const low = features.map((values) => rounded(quantileOf(values, RANGE_QUANTILE) - 0.05))
  const high = features.map((values) => rounded(quantileOf(values, 1 - RANGE_QUANTILE) + 0.05))
  return {
    scores: [books.corrected.quantiles(), books.plain.quantiles()],
    aloneScores: [books.raw.quantiles()],
    novelty: { ...noveltyLimits(options, low, high), low, high },
  }
}

/** Limits that the statistics of novelty stay below. */
function noveltyLimits(
  { residual, trace: traceOf, traces, steps, stepMs }: CalibrationOptions,
  low: readonly number[],
  high: readonly number[],
): Pick<NoveltyLimits, (typeof NOVELTY_STATISTICS)[number]> {
  const seen = { demandInnovation: [] as number[], outside: [] as number[], regret: [] as number[] }
  const endless = { demandInnovation: Infinity, outside: Infinity, regret: Infinity, low, high }
  for (let index = 0; index < traces; index++) {
    const trace = traceOf(index)
    const basis = new KalmanBasis({ ...trace, stepMs })
    const tape = tapeOf(residual, 1)
    const novelty = new Novelty(endless)
    for (let t = 0; t < steps; t++) {
      const observation = trace.next()
      basis.observe(observation)
      forwardStep(residual, tape, 0, basis.features, 0)
      carryState(residual, tape, 1)
      novelty.observe(basis, tape.outputs, observation)
      if (t < SETTLE_STEPS || t % STRIDE !== 0) continue
      for (const name of NOVELTY_STATISTICS) seen[name].push(novelty.values[name])
    }
  }
  const limit = (values: readonly number[]) =>
    rounded(LIMIT_MARGIN * values.reduce((most, value) => Math.max(most, value), 0))
  return {
    demandInnovation: limit(seen.demandInnovation),
    outside: Math.max(0.015, limit(seen.outside)),
    regret: Math.max(1.05, limit(seen.regret)),
  }
}

/** Scores by regime and horizon. */
class ScoreBook {
  readonly #scores = new Map<string, number[]>(
    REGIMES.flatMap((regime) => HORIZONS.map((_, k) => [`${regime} ${k}`, []] as const)),
  )

  add({ regime, horizon, score }: BandScore): void {
    this.#scores.get(`${regime} ${horizon}`)?.push(score)
  }

  quantiles(): readonly (readonly (readonly number[])[])[] {
    return REGIMES.map((regime) =>
      HORIZONS.map((_, k) => {
        const sorted = Float64Array.from(this.#scores.get(`${regime} ${k}`) ?? []).sort()
        if (sorted.length < LEAST_SCORES) return []
        return Array.from({ length: KEPT }, (_unused, i) =>
          rounded(sorted[Math.floor(((i + 0.5) * sorted.length) / KEPT)] ?? 0),
        )
      }),
    )
  }
}

function quantileOf(values: readonly number[], ratio: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(ratio * (sorted.length - 1))))] ?? 0
}

function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4
}
