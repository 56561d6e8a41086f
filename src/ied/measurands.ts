/** What an IED measures, and the ASDUs that carry it. */
import { type Asdu, asduOf, cot, cp56, encodeAsdu } from '../protocol/index.ts'
import type { GridSample } from '../runtime/contract.ts'
import type { IedConfig } from './config.ts'

/** Quality of a value that is as good as it seems. */
const GOOD = { blocked: false, substituted: false, notTopical: false, invalid: false } as const

type Value = { readonly ioa: number; readonly value: number }

/** The latest sample of the bus, as points. */
export class Measurands {
  readonly #config: IedConfig
  #sample: GridSample | undefined
  #reportedHz: number | undefined

  constructor(config: IedConfig) {
    this.#config = config
  }

  /** Takes a sample; true when it is the first, or the frequency left the deadband about the value last reported. */
  take(sample: GridSample): boolean {
    this.#sample = sample
    if (this.#config.points.frequencyIoa === undefined) return false
    return this.#reportedHz === undefined || Math.abs(sample.deltaFHz - this.#reportedHz) > this.#config.deadbandHz
  }

  /** All measurands in one M_ME_TF_1, or the frequency alone; undefined when there is nothing to report. */
  report(what: 'all' | 'frequency', cause: number, wallMs: number): Uint8Array | undefined {
    const { frequencyIoa } = this.#config.points
    const values = this.#values().filter(({ ioa }) => what === 'all' || ioa === frequencyIoa)
    if (values.some(({ ioa }) => ioa === frequencyIoa)) this.#reportedHz = this.#sample?.deltaFHz
    return timed(this.#config.ca, cause, values, wallMs)
  }

  /** The block of a phasor concentrator: the measurands over and over, on consecutive addresses. */
  block(firstIoa: number, objects: number, wallMs: number): Uint8Array | undefined {
    const { deltaFHz, voltagePu } = this.#sample ?? {}
    if (deltaFHz === undefined || voltagePu === undefined) return undefined
    const values = Array.from({ length: objects }, (_, i) => ({
      ioa: firstIoa + i,
      value: i % 2 === 0 ? deltaFHz : voltagePu,
    }))
    return timed(this.#config.ca, cot.periodic, values, wallMs)
  }

  /** Answer to a general interrogation: points without time tags (IEC 60870-5-101, 7.4.5). */
  interrogated(isTripped: boolean): readonly Uint8Array[] {
    const { breakerIoa } = this.#config.points
    const { ca } = this.#config
    const header = { cot: cot.interrogatedByStation, ca }
    const asdus: Asdu[] = []
    const objects = this.#values().map(({ ioa, value }) => ({
      ioa,
      value: { value, qds: { ...GOOD, overflow: false } },
    }))
    if (objects.length > 0) asdus.push(asduOf('M_ME_NC_1', { ...header, objects }))
    if (breakerIoa !== undefined) {
      asdus.push(
        asduOf('M_SP_NA_1', { ...header, objects: [{ ioa: breakerIoa, value: { siq: { ...GOOD, on: isTripped } } }] }),
      )
    }
    return asdus.map((asdu) => encodeAsdu(asdu))
  }

  #values(): readonly Value[] {
    const { frequencyIoa, voltageIoa, powerIoa } = this.#config.points
    const { deltaFHz, voltagePu, powerMw } = this.#sample ?? {}
    const pairs = [
      [frequencyIoa, deltaFHz],
      [voltageIoa, voltagePu],
      [powerIoa, powerMw],
    ] as const
    return pairs.flatMap(([ioa, value]) => (ioa === undefined || value === undefined ? [] : [{ ioa, value }]))
  }
}

/** The breaker's new position, reported because of a remote command. */
export function breakerReport(ca: number, ioa: number, isTripped: boolean, wallMs: number): Uint8Array {
  const value = { siq: { ...GOOD, on: isTripped }, time: cp56(wallMs) }
  return encodeAsdu(asduOf('M_SP_TB_1', { cot: cot.returnInfoRemote, ca, objects: [{ ioa, value }] }))
}

/** A protection relay has picked up: a single point, reported because it changed. */
export function protectionEvent(ca: number, ioa: number, wallMs: number): Uint8Array {
  const value = { siq: { ...GOOD, on: true }, time: cp56(wallMs) }
  return encodeAsdu(asduOf('M_SP_TB_1', { cot: cot.spontaneous, ca, objects: [{ ioa, value }] }))
}

/**
 * M_ME_TF_1. Telemetry carries it with the cause periodic: the standard's own periodic types have no time tag, and
 * without one nobody could say how late a value is.
 */
function timed(ca: number, cause: number, values: readonly Value[], wallMs: number): Uint8Array | undefined {
  if (values.length === 0) return undefined
  const time = cp56(wallMs)
  const objects = values.map(({ ioa, value }) => ({ ioa, value: { value, qds: { ...GOOD, overflow: false }, time } }))
  return encodeAsdu(asduOf('M_ME_TF_1', { cot: cause, ca, objects }))
}
