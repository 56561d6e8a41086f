/** How far frequency and voltages are off, as far as the chains move them: the grid's part of the rolling problem. */
import { at } from './arrays.ts'
import { type DeviationTerm, deviationCost } from './problem.ts'
import type { Horizon, Work } from './tick-problem.ts'

/** Linearised responses of the grid, made when the lab is planned. */
export type Responses = {
  /** Cost of 1 Hz^2 in a step; 0: the frequency does not count. */
  readonly weight: number
  /** Hz after one unit of each pulse shape, by time since, s: `samples[r][i]` at i * sampleS. */
  readonly sampleS: number
  readonly samples: readonly (readonly number[])[]
  /** How the present deviation decays if nobody acts, of its value, by time: the same sampling. */
  readonly decay: readonly number[]
  /** Units that a chain gives a second for each Hz of deviation, against it: by chain id, for each shape. */
  readonly unitsPerHz: Readonly<Record<string, readonly number[]>>
  /** Absent: voltages do not count. */
  readonly voltage?: VoltageResponses
}

/** How one chain moves voltages. */
export type VoltageResponse = {
  /** MW a second for each Hz of deviation, against it. */
  readonly mwPerHzS: number
  /** pu for each MW: `puPerMw[bus][i]` at the end of step i after. */
  readonly puPerMw: readonly (readonly number[])[]
}

/** The same for the voltages that the control centre is told. */
export type VoltageResponses = {
  /** Cost of 1 pu^2 outside the band, at each bus in a step. */
  readonly weight: number
  /** How far a voltage may be off its reference, pu. */
  readonly bandPu: number
  /** References: voltages of the power flow that the lab starts from. */
  readonly buses: readonly { readonly bus: number; readonly referencePu: number }[]
  /** By chain id. */
  readonly chains: Readonly<Record<string, VoltageResponse>>
}

/** Voltages that count in a tick: those farthest outside their bands. */
const MOST_BUSES = 4
/** Less than a short floating point number tells of a voltage: nothing that chains do. */
const LEAST_MOVED_PU = 1e-6

type Place = {
  readonly optionStart: Int32Array
  readonly total: number
  readonly steps: number
  readonly stepS: number
  readonly horizon: Horizon
  readonly responses: Responses
}

/** One deviation at one time: what it costs, where it is if nobody acts, and what the pulses of each step do to it. */
type Row = {
  /** 0: the frequency. */
  readonly bus: number
  readonly weight: number
  readonly base: number
  readonly response: (r: number, t: number) => number
}

/** Undefined where nothing counts that a chain moves. */
export function deviationsOf(work: Work, place: Place): DeviationTerm | undefined {
  const { optionStart, total, steps, responses } = place
  const { samples } = responses
  const shapes = responses.weight > 0 ? samples.length : 0
  const outside = voltageRows(work, place, shapes)
  const rows = [...outside.rows, ...(shapes > 0 ? frequencyRows(place) : [])]
  if (rows.length === 0) return undefined
  const rank = shapes + outside.pulses.length
  const response = new Float64Array(rows.length * rank * steps)
  for (const [k, row] of rows.entries()) {
    for (let r = 0; r < rank; r++) {
      for (let t = 0; t < steps; t++) response[(k * rank + r) * steps + t] = row.response(r, t)
    }
  }
  const gain = new Float64Array(total * rank)
  for (const [l, chain] of work.chains.entries()) {
    const units = shapes > 0 ? (ownEntry(responses.unitsPerHz, chain.id) ?? []) : []
    const own = outside.pulses.findIndex(({ id }) => id === chain.id)
    for (let m = 1; m < (work.options[l]?.length ?? 0); m++) {
      const from = ((optionStart[l] ?? 0) + m) * rank
      for (let r = 0; r < shapes; r++) gain[from + r] = -(units[r] ?? 0) * place.horizon.deltaFHz * place.stepS
      if (own >= 0) gain[from + shapes + own] = outside.pulses[own]?.mw ?? 0
    }
  }
  const term = {
    weight: Float64Array.from(rows, ({ weight }) => weight),
    count: rows.length,
    oneSided: outside.rows.length,
    rank,
    base: Float64Array.from(rows, ({ base }) => base),
    response,
    gain,
    buses: Int32Array.from(rows, ({ bus }) => bus),
  }
  return { ...term, unavoidable: unavoidableOf(term, { optionStart, steps }) }
}

/** An entry of a record by a name from outside, which may be one that every object has. */
function ownEntry<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

/**
 * What the deviations cost if each chain does in each step what is best for each of them: no plan costs less. A percent of it is left in the
 * value, so that this stays large beside the rounding of the rest.
 */
export function unavoidableOf(
  term: DeviationTerm,
  { optionStart, steps }: { readonly optionStart: Int32Array; readonly steps: number },
): number {
  const { count, rank, base, response, gain } = term
  const moving = movingOptions(gain, rank, optionStart)
  let sum = 0
  for (let k = 0; k < count; k++) {
    let low = at(base, k)
    let high = low
    for (const options of moving) {
      for (let t = 0; t < steps; t++) {
        let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
        for (const n of options) {
          let moved = 0
          for (let r = 0; r < rank; r++) moved += at(gain, n * rank + r) * at(response, (k * rank + r) * steps + t)
          least = Math.min(least, moved)
          most = Math.max(most, moved)
        }
        low += least
        high += most
      }
    }
    // The interval may hold 0, where nothing costs.
    const nearest = low > 0 ? low : Math.min(0, high)
    sum += deviationCost(term, k, nearest)
  }
  return 0.99 * sum
}

/** Of each chain that moves anything the options that differ in what they do. */
function movingOptions(gain: Float64Array, rank: number, optionStart: Int32Array): readonly (readonly number[])[] {
  const all: number[][] = []
  for (let l = 0; l + 1 < optionStart.length; l++) {
    const options: number[] = []
    for (let n = optionStart[l] ?? 0; n < (optionStart[l + 1] ?? 0); n++) {
      const isAlike = (m: number): boolean => {
        for (let r = 0; r < rank; r++) if (at(gain, m * rank + r) !== at(gain, n * rank + r)) return false
        return true
      }
      if (!options.some(isAlike)) options.push(n)
    }
    const isStill = options.every((n) => gain.subarray(n * rank, (n + 1) * rank).every((units) => units === 0))
    if (!isStill) all.push(options)
  }
  return all
}

/** The present deviation dies away by itself; chains that are on act against it in every step. */
function frequencyRows({ steps, stepS, horizon, responses }: Place): readonly Row[] {
  const { samples, decay, sampleS, weight } = responses
  const at = (list: readonly number[], s: number): number =>
    list[Math.min(list.length - 1, Math.round(s / sampleS))] ?? 0
  return Array.from({ length: steps }, (_, k) => ({
    bus: 0,
    weight,
    base: horizon.deltaFHz * at(decay, (k + 1) * stepS),
    response: (r, t) => (t <= k ? at(samples[r] ?? [], (k - t + 1) * stepS) : 0),
  }))
}

/** MW that a chain moves in a step while it is on. */
type Pulse = { readonly id: string; readonly mw: number; readonly puPerMw: readonly (readonly number[])[] }

/**
 * Voltages stay where they are, but for what chains move; what counts is how far they lie outside their bands, on the side on which they
 * are now. Times at which no choice of states brings a voltage outside, or none moves it, are left out: there all plans cost the same.
 */
function voltageRows(
  { chains }: Work,
  { steps, stepS, horizon, responses }: Place,
  shapes: number,
): { readonly rows: readonly Row[]; readonly pulses: readonly Pulse[] } {
  const { voltage } = responses
  if (voltage === undefined || !(voltage.weight > 0)) return { rows: [], pulses: [] }
  const { weight, bandPu, buses } = voltage
  const pulses = chains.flatMap(({ id }): readonly Pulse[] => {
    const { mwPerHzS, puPerMw } = ownEntry(voltage.chains, id) ?? { mwPerHzS: 0, puPerMw: [] }
    const mw = -mwPerHzS * horizon.deltaFHz * stepS
    return mw === 0 ? [] : [{ id, mw, puPerMw }]
  })
  const offs = buses
    .flatMap(({ bus, referencePu }, b) => {
      const measuredPu = horizon.voltagesPu.get(bus)
      if (measuredPu === undefined) return []
      const off = measuredPu - referencePu
      return [{ bus, b, side: off < 0 ? -1 : 1, base: Math.abs(off) - bandPu }]
    })
    .toSorted((one, other) => other.base - one.base)
  const rows: Row[] = []
  let counted = 0
  for (const { bus, b, side, base } of offs) {
    if (counted === MOST_BUSES) break
    const before = rows.length
    for (let k = 0; k < steps; k++) {
      const response = (r: number, t: number): number =>
        t <= k ? side * (pulses[r - shapes]?.puPerMw[b]?.[k - t] ?? 0) : 0
      const { upPu, movedPu } = reachOf(pulses, (r, t) => response(r + shapes, t), k)
      if (base + upPu > 0 && movedPu >= LEAST_MOVED_PU) rows.push({ bus, weight, base, response })
    }
    if (rows.length > before) counted++
  }
  return rows.length === 0 ? { rows, pulses: [] } : { rows, pulses }
}

/** How far all chains together may take a voltage up to step k: outwards at most, and either way. */
function reachOf(
  pulses: readonly Pulse[],
  response: (r: number, t: number) => number,
  k: number,
): { readonly upPu: number; readonly movedPu: number } {
  let upPu = 0
  let movedPu = 0
  for (const [r, { mw }] of pulses.entries()) {
    for (let t = 0; t <= k; t++) {
      const pu = mw * response(r, t)
      upPu += Math.max(0, pu)
      movedPu += Math.abs(pu)
    }
  }
  return { upPu, movedPu }
}
