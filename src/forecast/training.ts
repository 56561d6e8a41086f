import { type Basis, KalmanBasis, OUTPUTS, RawBasis } from './basis.ts'
import type { StockObservation } from './contract.ts'
import { Adam, backward, carryState, forwardStep, type Network, networkOf, tapeOf } from './lstm.ts'
import { HORIZONS, MAX_HORIZON, type PoolLevels } from './stock-model.ts'

/** A source of observations, such as a simulated lab. */
export type Trace = PoolLevels & { readonly next: () => StockObservation }

/** What a network is trained on: inputs row by row, and the targets in standard deviations of the basis. */
export type Sequence = { readonly steps: number; readonly inputs: Float32Array; readonly targets: Float32Array }

export type TrainingOptions = {
  readonly units: number
  readonly epochs: number
  /** Adam's rate at the beginning; it falls to a thirtieth along a cosine. */
  readonly learningRate: number
  /** Sequences that go on side by side in one update. */
  readonly batch: number
  /** Steps that errors are propagated back through. */
  readonly window: number
}

export const TRAINING: TrainingOptions = { units: 32, epochs: 10, learningRate: 4e-3, batch: 8, window: 64 }

/** Filters settle for this long before they are learnt from. */
const SETTLE_STEPS = 100
/** Beyond this many standard deviations an error counts linearly, so that single bursts do not rule. */
const HUBER = 3
const TARGET_LIMIT = 8

export type BasisKind = 'kalman' | 'raw'

export function basisOf(kind: BasisKind, levels: PoolLevels, stepMs: number): Basis {
  return kind === 'kalman' ? new KalmanBasis({ ...levels, stepMs }) : new RawBasis(levels)
}

export function inputsOf(kind: BasisKind): number {
  return kind === 'kalman' ? KalmanBasis.inputs : RawBasis.inputs
}

/** Runs a basis of each kind over `steps` of a trace and keeps what a network is to learn. */
export function sequencesOf<Kind extends BasisKind>(
  trace: Trace,
  { kinds, steps, stepMs }: { readonly kinds: readonly Kind[]; readonly steps: number; readonly stepMs: number },
): Record<Kind, Sequence> {
  const recorders = kinds.map((kind) => [kind, new Recorder(basisOf(kind, trace, stepMs), steps)] as const)
  for (let t = 0; t < steps; t++) {
    const observation = trace.next()
    for (const [, recorder] of recorders) recorder.observe(observation)
  }
  return Object.fromEntries(recorders.map(([kind, recorder]) => [kind, recorder.sequence()])) as Record<Kind, Sequence>
}

class Recorder {
  readonly #basis: Basis
  readonly #steps: number
  readonly #inputs: Float32Array
  readonly #stock: Float64Array
  readonly #drawn: Float64Array
  /** Mean and deviation of stock, and of cumulated demand, by horizon. */
  readonly #base: Float64Array
  #count = 0

  constructor(basis: Basis, steps: number) {
    this.#basis = basis
    this.#steps = steps
    this.#inputs = new Float32Array(steps * basis.features.length)
    this.#stock = new Float64Array(steps)
    this.#drawn = new Float64Array(steps)
    this.#base = new Float64Array(steps * HORIZONS.length * 4)
  }

  observe(observation: StockObservation): void {
    const t = this.#count++
    this.#basis.observe(observation)
    const { features, projection } = this.#basis
    this.#inputs.set(features, t * features.length)
    this.#stock[t] = observation.stockBits
    this.#drawn[t] = (this.#drawn[t - 1] ?? 0) + observation.consumedBits
    let demand = 0
    let k = 0
    for (let i = 0; i < MAX_HORIZON; i++) {
      demand += projection.demand[i] ?? 0
      if (i + 1 !== HORIZONS[k]) continue
      const demandSd = Math.sqrt(projection.demandVariance[i] ?? 1)
      this.#base.set(
        [projection.stock[i] ?? 0, projection.stockSd[i] ?? 1, demand, demandSd],
        (t * HORIZONS.length + k) * 4,
      )
      k++
    }
  }

  sequence(): Sequence {
    const steps = this.#steps - MAX_HORIZON
    const targets = new Float32Array(steps * OUTPUTS)
    for (let t = 0; t < steps; t++) {
      for (const [k, horizon] of HORIZONS.entries()) {
        const at = (t * HORIZONS.length + k) * 4
        const [mean, sd] = [this.#base[at] ?? 0, this.#base[at + 1] ?? 1]
        const [demand, demandSd] = [this.#base[at + 2] ?? 0, this.#base[at + 3] ?? 1]
        const drawn = (this.#drawn[t + horizon] ?? 0) - (this.#drawn[t] ?? 0)
        targets[t * OUTPUTS + k] = limited(((this.#stock[t + horizon] ?? 0) - mean) / sd)
        targets[t * OUTPUTS + HORIZONS.length + k] = limited((drawn - demand) / Math.max(1, demandSd))
      }
    }
    return { steps, inputs: this.#inputs.subarray(0, steps * this.#basis.features.length), targets }
  }
}

function limited(value: number): number {
  return Math.max(-TARGET_LIMIT, Math.min(TARGET_LIMIT, value))
}

/** Where a training is: `doneRatio` from 0 to 1, mean loss of the last epoch on training and validation. */
export type TrainingProgress = { readonly doneRatio: number; readonly loss: number; readonly validationLoss: number }

/**
 * Trains a network by truncated backpropagation through time with Adam. Gives the network that did best on the validation
 * sequences. The same sequences and random numbers give the same network.
 */
export function* trainNetwork(
  {
    inputs,
    training,
    validation,
    uniform,
  }: {
    readonly inputs: number
    readonly training: readonly Sequence[]
    readonly validation: readonly Sequence[]
    readonly uniform: () => number
  },
  options: TrainingOptions = TRAINING,
): Generator<TrainingProgress, Network> {
  const { units, epochs, learningRate, batch, window } = options
  const network = networkOf({ inputs, units, outputs: OUTPUTS }, uniform)
  const best = network.parameters.slice()
  const adam = new Adam(network.parameters.length)
  const gradient = new Float64Array(network.parameters.length)
  const lanes = Array.from({ length: batch }, () => tapeOf(network, window))
  const dOutputs = new Float64Array(window * OUTPUTS)
  let bestLoss = lossOf(network, validation)
  let validationLoss = bestLoss
  let loss = 0
  const windows = Math.ceil(Math.max(0, ...training.map(({ steps }) => steps)) / window)
  const groups = Math.ceil(training.length / batch)
  const updates = epochs * groups * windows
  let update = 0
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = shuffled(training, uniform)
    let [sum, count] = [0, 0]
    for (let group = 0; group < groups; group++) {
      const members = order.slice(group * batch, (group + 1) * batch)
      for (const lane of lanes) {
        lane.h.fill(0)
        lane.c.fill(0)
      }
      for (let w = 0; w < windows; w++) {
        let seen = 0
        for (const [i, sequence] of members.entries()) {
          const from = w * window
          const steps = Math.min(window, sequence.steps - from)
          const lane = lanes[i]
          if (steps <= 0 || lane === undefined) continue
          for (let t = 0; t < steps; t++) forwardStep(network, lane, t, sequence.inputs, (from + t) * inputs)
          dOutputs.fill(0)
          const scale = 1 / (members.length * window * OUTPUTS)
          sum += derivatives(lane.outputs, sequence, { from, steps, scale }, dOutputs)
          seen += Math.max(0, Math.min(steps, from + steps - SETTLE_STEPS))
          backward(network, lane, steps, { x: sequence.inputs, at: from * inputs, dOutputs, gradient })
          carryState(network, lane, steps)
        }
        const rate = learningRate * (1 / 30 + ((29 / 30) * (1 + Math.cos((Math.PI * update) / updates))) / 2)
        adam.step(network.parameters, gradient, rate)
        update++
        count += seen * OUTPUTS
      }
      yield { doneRatio: update / updates, loss: sum / Math.max(1, count), validationLoss }
    }
    loss = sum / Math.max(1, count)
    validationLoss = lossOf(network, validation)
    if (validationLoss < bestLoss) {
      bestLoss = validationLoss
      best.set(network.parameters)
    }
    yield { doneRatio: update / updates, loss, validationLoss }
  }
  network.parameters.set(best)
  return network
}

/** Huber's loss of some steps, summed, and its derivatives times `scale`. */
function derivatives(
  outputs: Float64Array,
  { targets }: Sequence,
  { from, steps, scale }: { readonly from: number; readonly steps: number; readonly scale: number },
  dOutputs: Float64Array,
): number {
  let sum = 0
  for (let t = Math.max(0, SETTLE_STEPS - from); t < steps; t++) {
    for (let k = 0; k < OUTPUTS; k++) {
      const error = (outputs[t * OUTPUTS + k] ?? 0) - (targets[(from + t) * OUTPUTS + k] ?? 0)
      sum += huber(error)
      dOutputs[t * OUTPUTS + k] = scale * Math.max(-HUBER, Math.min(HUBER, error))
    }
  }
  return sum
}

function huber(error: number): number {
  const size = Math.abs(error)
  return size <= HUBER ? 0.5 * error * error : HUBER * (size - 0.5 * HUBER)
}

/** Mean loss of a network over sequences. */
export function lossOf(network: Network, sequences: readonly Sequence[]): number {
  const tape = tapeOf(network, 1)
  let [sum, count] = [0, 0]
  for (const { steps, inputs, targets } of sequences) {
    tape.h.fill(0)
    tape.c.fill(0)
    for (let t = 0; t < steps; t++) {
      forwardStep(network, tape, 0, inputs, t * network.inputs)
      carryState(network, tape, 1)
      if (t < SETTLE_STEPS) continue
      for (let k = 0; k < OUTPUTS; k++) sum += huber((tape.outputs[k] ?? 0) - (targets[t * OUTPUTS + k] ?? 0))
      count += OUTPUTS
    }
  }
  return sum / Math.max(1, count)
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], uniform: () => number): T[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * uniform())
    const [a, b] = [order[i], order[j]]
    if (a === undefined || b === undefined) continue
    order[i] = b
    order[j] = a
  }
  return order
}
