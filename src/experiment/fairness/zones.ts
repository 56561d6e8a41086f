/** IEEE 118 as one transmission zone and three distribution areas: agents, chains, links of the key-stock world. */
import { type GridCase, GridModel, gridCase, STEP_MS, solvePowerFlow } from '../../grid/index.ts'
import type { GridTerms, KeySupply, TaskChain, WorldAgent } from '../../scheduler/index.ts'
import { BB84, QkdLink, randomStream } from '../../sim/index.ts'

/** Sizes of APDUs, octets: C_SC_NA_1, C_SE_NC_1, M_ME_NC_1 (value and a second object). */
const BYTES = { shed: 16, setpoint: 20, telemetry: 28 } as const
/** A command, its confirmation and its termination. */
const MESSAGES_A_COMMAND = 3
/** Centre to gateway, gateway to RTU. */
const HOPS = 2
const MESSAGES_PER_REKEY = 64
/** Part of a bus' load that its shedding breaker takes off, and by which its load control may be wrong. */
const SHED_RATIO = 0.1
const SETPOINT_STEP_PU = 0.01
/** Loss of the 252 MW unit at bus 100, the disturbance of the 118-bus scenario. */
const TRIPPED_BUS = 100
const SHED_AFTER_MS = 500

/** Weights: 0.01 Hz, 0.01 pu or 100 MW out of control cost as much a second as one chain of default weight (10) that is off. */
export const TERMS: GridTerms = { lossPerHz: 1000, lossPerPu: 1000, lossPerMw: 0.1 }

/** The four agents, the TSO first. Takes some seconds: sensitivities come from power flows and the two-axis model. */
export function ieee118Agents(): readonly WorldAgent[] {
  const grid = gridCase('ieee118')
  const hzPerMw = nadirHzPerMw(grid)
  const base = solvePowerFlow(grid).vmPu
  return Object.entries(grid.zones ?? {}).map(([zone, buses]) => {
    const inZone = new Set(buses)
    const loads = grid.buses.filter(({ bus, loadMw }) => inZone.has(bus) && loadMw > 0)
    const machines = grid.machines.filter(({ bus }) => inZone.has(bus))
    const telemetry = buses.map((bus) => telemetryOf(bus, grid))
    if (zone === 'TSO') {
      const units = grid.machines.filter(({ governor }) => governor !== null)
      const mean = units.reduce((sum, { mBaseMva }) => sum + mBaseMva, 0) / units.length
      return { id: zone, chains: [...units.map(({ bus, mBaseMva }) => agcOf(bus, mBaseMva / mean)), ...telemetry] }
    }
    const meanMw = loads.reduce((sum, { loadMw }) => sum + loadMw, 0) / loads.length
    return {
      id: zone,
      chains: [
        ...loads.map(({ bus, loadMw }) => shedOf(bus, loadMw * SHED_RATIO * hzPerMw, loadMw / meanMw)),
        ...loads.map(({ bus, loadMw }) =>
          loadControlOf(bus, loadMw, worstDeviation(grid, base, inZone, { load: bus })),
        ),
        ...machines.map(({ bus }) => voltageOf(bus, worstDeviation(grid, base, inZone, { machine: bus }))),
        ...telemetry,
      ],
    }
  })
}

function agcOf(bus: number, size: number): TaskChain {
  return task(`agc-${bus}`, BYTES.setpoint, MESSAGES_A_COMMAND / 4, {
    dropLoss: 10 * bounded(size),
    degradeLoss: 2 * bounded(size),
  })
}

/** Must be sent with the one-time pad or not at all; the leader feels it when it is off. */
function shedOf(bus: number, frequencyHz: number, size: number): TaskChain {
  const terms = { dropLoss: 2 * bounded(size), degradeLoss: 0, frequencyHz, states: [0, 2] as const }
  return task(`shed-${bus}`, BYTES.shed, MESSAGES_A_COMMAND * 0.01, terms)
}

function loadControlOf(bus: number, loadMw: number, voltagePu: number): TaskChain {
  const terms = { dropLoss: 5, degradeLoss: 0.5 + 50 * voltagePu, voltagePu, loadMw: SHED_RATIO * loadMw }
  return task(`load-${bus}`, BYTES.setpoint, MESSAGES_A_COMMAND * 0.05, terms)
}

function voltageOf(bus: number, voltagePu: number): TaskChain {
  return task(`voltage-${bus}`, BYTES.setpoint, MESSAGES_A_COMMAND * 0.05, {
    dropLoss: 5,
    degradeLoss: 0.5 + 50 * voltagePu,
    voltagePu,
  })
}

function telemetryOf(bus: number, grid: GridCase): TaskChain {
  const loadMw = grid.buses.find((each) => each.bus === bus)?.loadMw ?? 0
  return task(`telemetry-${bus}`, BYTES.telemetry, 0.1, { dropLoss: 2, degradeLoss: 0.1 + 0.002 * loadMw })
}

function task(
  id: string,
  apduBytes: number,
  ratePerS: number,
  terms: Partial<TaskChain> & Pick<TaskChain, 'dropLoss' | 'degradeLoss'>,
): TaskChain {
  return {
    id,
    ratePerS,
    otpBits: HOPS * (32 * Math.ceil(apduBytes / 4) + 128),
    aesBits: (HOPS * 128) / MESSAGES_PER_REKEY,
    states: [0, 1, 2],
    switchLoss: 0.1,
    frequencyHz: 0,
    voltagePu: 0,
    loadMw: 0,
    ...terms,
  }
}

function bounded(size: number): number {
  return Math.min(2, Math.max(0.5, size))
}

/** How much one MW shed half a second after the loss of the unit lifts the deepest frequency (two-axis model). */
function nadirHzPerMw(grid: GridCase): number {
  const nadir = (shedMw: number): number => {
    const model = new GridModel(grid)
    model.trip(TRIPPED_BUS)
    let deepest = 0
    for (let ms = 0; ms < 6000; ms += STEP_MS) {
      if (ms === SHED_AFTER_MS && shedMw > 0) model.addLoad(59, -shedMw)
      model.step()
      deepest = Math.min(deepest, model.coiHz())
    }
    return deepest
  }
  return (nadir(100) - nadir(0)) / 100
}

/** Largest change of voltage at a bus of the zone when one set-point, or one load's reactive part, is off. */
function worstDeviation(
  grid: GridCase,
  base: Float64Array,
  zone: ReadonlySet<number>,
  off: { readonly machine: number } | { readonly load: number },
): number {
  const changed: GridCase =
    'machine' in off
      ? {
          ...grid,
          machines: grid.machines.map((each) =>
            each.bus === off.machine ? { ...each, vSetPu: each.vSetPu - SETPOINT_STEP_PU } : each,
          ),
        }
      : {
          ...grid,
          buses: grid.buses.map((each) =>
            each.bus === off.load ? { ...each, loadMvar: each.loadMvar * (1 + SHED_RATIO) } : each,
          ),
        }
  const { vmPu } = solvePowerFlow(changed)
  let worst = 0
  for (const [i, { bus }] of grid.buses.entries()) {
    if (zone.has(bus)) worst = Math.max(worst, Math.abs((vmPu[i] ?? 0) - (base[i] ?? 0)))
  }
  return worst
}

/** One trunk of 50 km from the centre to each of the four zones; their key goes into one pool. */
const TRUNKS = 4
const TRUNK_KM = 50
const BREAK_MEAN_S = 4
const RATE_STD_RATIO = 0.05
const RATE_TAU_S = 5

/** Key of the four trunks, with what can be foreseen of it: present rates, breaks that end, and breaks to come. */
export class TrunkSupply implements KeySupply {
  readonly #links: readonly QkdLink[]
  readonly #breakRatePerS: number
  readonly #rates: number[]
  readonly #lastRates: number[]

  constructor(seed: number, breakRatePerS: number) {
    this.#breakRatePerS = breakRatePerS
    this.#links = Array.from(
      { length: TRUNKS },
      (_, link) =>
        new QkdLink({ link, lengthKm: TRUNK_KM, rateModel: BB84, breakRatePerS }, randomStream(seed, `trunk ${link}`)),
    )
    this.#rates = this.#links.map(() => 0)
    this.#lastRates = this.#links.map(() => 0)
    this.step(100)
  }

  step(dtMs: number): number {
    let bits = 0
    for (const [i, link] of this.#links.entries()) {
      const step = link.step(dtMs)
      bits += step.bits
      this.#rates[i] = step.rateBps
      if (step.up) this.#lastRates[i] = step.rateBps
    }
    return bits
  }

  forecast(steps: number): { readonly supplyBits: readonly number[]; readonly supplyStdBits: readonly number[] } {
    const up = this.#rates.reduce((sum, rate) => sum + rate, 0)
    const down = this.#lastRates.reduce((sum, rate, i) => sum + ((this.#rates[i] ?? 0) > 0 ? 0 : rate), 0)
    const supplyBits = Array.from({ length: steps }, (_, s) => up + (s < BREAK_MEAN_S ? 0 : down))
    const squares = this.#lastRates.reduce((sum, rate) => sum + rate * rate, 0)
    const supplyStdBits = supplyBits.map((_, s) => {
      const drift = 2 * RATE_TAU_S * RATE_STD_RATIO ** 2
      const breaks = this.#breakRatePerS * BREAK_MEAN_S ** 2
      return Math.sqrt(squares * (s + 1) * (drift + breaks))
    })
    return { supplyBits, supplyStdBits }
  }
}
