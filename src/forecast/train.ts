import { calibrate } from './calibration.ts'
import {
  type BasisKind,
  inputsOf,
  type Sequence,
  sequencesOf,
  TRAINING,
  type Trace,
  type TrainingOptions,
  trainNetwork,
} from './training.ts'
import type { ForecastWeights, TrainingConfig } from './weights.ts'

export type TrainRequest = {
  readonly seed: number
  /** Traces learnt from. A quarter as many, others, decide when to stop, and half as many, others again, calibrate. */
  readonly runs: number
  readonly steps: number
  readonly stepMs: number
  /** Makes trace `index` of a purpose, the same one each time. */
  readonly trace: (purpose: 'training' | 'validation' | 'calibration', index: number) => Trace
  /** Uniform random numbers in [0, 1) from a stream of this name. */
  readonly uniform: (name: string) => () => number
  /** What else the training depends on; goes into the file with its hash. */
  readonly config: TrainingConfig
  readonly training?: Partial<TrainingOptions>
}

/** Where `trainForecast` is. */
export type TrainProgress = {
  readonly phase: 'traces' | 'kalman+lstm' | 'lstm alone' | 'calibration'
  /** Of the phase. */
  readonly doneRatio: number
  /** Mean loss; absent while there is none. */
  readonly loss?: number
  readonly validationLoss?: number
}

/** Runs traces, trains both networks and calibrates, a piece at a time; each piece tells where it is. */
export function* trainForecast(request: TrainRequest): Generator<TrainProgress, ForecastWeights> {
  const { seed, runs, steps, stepMs, trace: traceOf, uniform } = request
  const options = { ...TRAINING, ...request.training }
  const kinds: readonly BasisKind[] = ['kalman', 'raw']
  const held = Math.max(1, Math.ceil(runs / 4))
  const sequences = { training: [] as Record<BasisKind, Sequence>[], validation: [] as Record<BasisKind, Sequence>[] }
  for (const [purpose, count] of [
    ['training', runs],
    ['validation', held],
  ] as const) {
    for (let index = 0; index < count; index++) {
      sequences[purpose].push(sequencesOf(traceOf(purpose, index), { kinds, steps, stepMs }))
      yield { phase: 'traces', doneRatio: (sequences.training.length + sequences.validation.length) / (runs + held) }
    }
  }
  const networks = []
  for (const kind of kinds) {
    const phase = kind === 'kalman' ? 'kalman+lstm' : 'lstm alone'
    const job = trainNetwork(
      {
        inputs: inputsOf(kind),
        training: sequences.training.map((each) => each[kind]),
        validation: sequences.validation.map((each) => each[kind]),
        uniform: uniform(`train ${kind}`),
      },
      options,
    )
    let step = job.next()
    for (; !step.done; step = job.next()) yield { phase, ...step.value }
    networks.push(step.value)
  }
  const [residual, alone] = networks
  if (residual === undefined || alone === undefined) throw new RangeError('trainForecast: no network')
  yield { phase: 'calibration', doneRatio: 0 }
  const trace = (index: number): Trace => traceOf('calibration', index)
  const calibration = calibrate({ residual, alone, trace, traces: Math.ceil(runs / 2), steps, stepMs })
  yield { phase: 'calibration', doneRatio: 1 }
  const config = { ...request.config, ...options, runs, steps, stepMs, seed }
  return { seed, config, residual, alone, ...calibration }
}
