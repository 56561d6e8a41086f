import { type AsduView, cot, typeIdOf } from '../protocol/index.ts'
import type { Suite } from '../runtime/contract.ts'

const C_TS_TA_1 = typeIdOf('C_TS_TA_1')
/** Time after which a station that has not confirmed is told again, ms. */
const TELL_AGAIN_MS = 2_000

type Station = { wanted: Suite; told: Suite | undefined; isConfirmed: boolean; toldAtMs: number }

/** Place of the test sequence counter's low octet: after ASDU header and object address (IEC 60870-5-101, 7.3.4.8). */
const TSC_AT = 9

/**
 * In which suite each station is to send what it reports by itself. A station is told by the counter of a test command with
 * time tag (C_TS_TA_1): an exchange of the standard, repeated until confirmed.
 */
export class ReportSuites {
  readonly #stations = new Map<number, Station>()

  /** The stations' reports are to go in `suite`. */
  want(cas: readonly number[], suite: Suite): void {
    for (const ca of cas) {
      const station = this.#stations.get(ca)
      if (station === undefined) {
        this.#stations.set(ca, {
          wanted: suite,
          told: undefined,
          isConfirmed: false,
          toldAtMs: Number.NEGATIVE_INFINITY,
        })
      } else station.wanted = suite
    }
  }

  /** Stations to tell now, and in which suite; called each tick. */
  step(nowMs: number): readonly { readonly ca: number; readonly suite: Suite }[] {
    const due: { ca: number; suite: Suite }[] = []
    for (const [ca, station] of this.#stations) {
      const isKnown = station.told === station.wanted
      if (isKnown && (station.isConfirmed || nowMs - station.toldAtMs < TELL_AGAIN_MS)) continue
      station.told = station.wanted
      station.isConfirmed = false
      station.toldAtMs = nowMs
      due.push({ ca, suite: station.wanted })
    }
    return due
  }

  /** An answer of a station to a test command, which repeats its counter. */
  onAsdu(asdu: Uint8Array, { typeId, ca, cot: cause, negative }: AsduView): void {
    const station = this.#stations.get(ca)
    if (typeId !== C_TS_TA_1 || cause !== cot.activationCon || negative || station === undefined) return
    if (station.told === (((asdu[TSC_AT] ?? 0) & 1) === 1 ? 'otp' : 'aes')) station.isConfirmed = true
  }
}
