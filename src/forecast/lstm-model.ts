import { type Basis, OUTPUTS } from './basis.ts'
import type { StockObservation } from './contract.ts'
import { carryState, forwardStep, type Network, type Tape, tapeOf } from './lstm.ts'
import type { Novelty } from './novelty.ts'
import { HORIZONS, type PoolLevels, type Projection, type StockModel } from './stock-model.ts'
import { Trust } from './trust.ts'

/**
 * An LSTM on the residual of a basis. Its corrections count as far as they have come true lately; with a judge of novelty it
 * steps aside while traffic is not like its training.
 */
export class LstmModel implements StockModel {
  readonly name: string
  readonly #basis: Basis
  readonly #network: Network
  readonly #novelty: Novelty | undefined
  readonly #tape: Tape
  readonly #levels: PoolLevels
  readonly #trust = new Trust()
  /** Corrections of the present step, as far as they are trusted. */
  readonly #outputs = new Float64Array(OUTPUTS)

  constructor(
    name: string,
    {
      basis,
      network,
      levels,
      novelty,
    }: {
      readonly basis: Basis
      readonly network: Network
      readonly levels: PoolLevels
      readonly novelty?: Novelty
    },
  ) {
    this.name = name
    this.#basis = basis
    this.#network = network
    this.#levels = levels
    this.#novelty = novelty
    this.#tape = tapeOf(network, 1)
  }

  get variant(): 0 | 1 {
    return this.#novelty?.isNovel ? 1 : 0
  }

  get source(): string {
    const reason = this.#novelty?.reason
    return reason === undefined ? this.name : `${this.#basis.name} (fall-back: ${reason})`
  }

  observe(observation: StockObservation): void {
    this.#basis.observe(observation)
    forwardStep(this.#network, this.#tape, 0, this.#basis.features, 0)
    carryState(this.#network, this.#tape, 1)
    this.#novelty?.observe(this.#basis, this.#tape.outputs, observation)
    const regime = observation.stockBits < this.#levels.thBits ? 0 : 1
    this.#trust.observe(observation.stockBits, {
      regime,
      outputs: this.#tape.outputs,
      projection: this.#basis.projection,
    })
    for (let k = 0; k < OUTPUTS; k++)
      this.#outputs[k] = this.#trust.ratio(regime, k % HORIZONS.length) * (this.#tape.outputs[k] ?? 0)
  }

  project(steps: number, out: Projection): void {
    this.#basis.project(steps, out)
    if (this.variant === 0) correct(steps, this.#outputs, this.#levels.capBits, out)
  }
}

/** Adds a network's outputs, in standard deviations at the horizons, to a projection; linear between horizons. */
export function correct(steps: number, outputs: Float64Array, capBits: number, out: Projection): void {
  const count = HORIZONS.length
  if (outputs.length !== OUTPUTS) throw new RangeError(`correct: ${outputs.length} outputs, expected ${OUTPUTS}`)
  let from = 0
  let [stockFrom, demandFrom] = [0, 0]
  let [stockTo, demandTo] = [0, 0]
  for (let k = 0; k < count && from < steps; k++) {
    const to = HORIZONS[k] ?? from
    const last = Math.min(to, steps)
    // A forecast shorter than the horizon has no deviation there; the walk's grows with the root of the step.
    const stretch = Math.sqrt(to / last)
    stockTo = (outputs[k] ?? 0) * (out.stockSd[last - 1] ?? 0) * stretch
    demandTo = (outputs[count + k] ?? 0) * Math.sqrt(out.demandVariance[last - 1] ?? 0) * stretch
    const each = (demandTo - demandFrom) / (to - from)
    for (let step = from + 1; step <= last; step++) {
      const change = stockFrom + ((stockTo - stockFrom) * (step - from)) / (to - from)
      out.stock[step - 1] = Math.min(capBits, Math.max(0, (out.stock[step - 1] ?? 0) + change))
      out.demand[step - 1] = Math.max(0, (out.demand[step - 1] ?? 0) + each)
    }
    from = to
    stockFrom = stockTo
    demandFrom = demandTo
  }
  for (let step = from + 1; step <= steps; step++)
    out.stock[step - 1] = Math.min(capBits, Math.max(0, (out.stock[step - 1] ?? 0) + stockTo))
}
