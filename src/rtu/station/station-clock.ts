import { asduOf, type Cp56Time2a, cp56, encodeAsdu } from '../../protocol/index.ts'
import { NO_TAG, type TimeTag } from './point-octets.ts'

const MINUTE_MS = 60_000
const CP24_BYTES = 3
/** Where the time stands in C_CS_NA_1. */
const TIME_AT = 9
const INVALID: Cp56Time2a = { wallMs: 0, invalid: true, summerTime: false, dayOfWeek: 0 }

/** The station's clock: lab time plus an offset that clock synchronisation sets. Timers never depend on it. */
export class StationClock {
  #wallAtZeroMs = Number.NaN
  #isValid: boolean
  /** The last tag: only its milliseconds change within a minute. */
  #tag = octetsOf(INVALID)
  #tagMinuteMs = Number.NaN

  /** With `needsSync` time tags are invalid until the first synchronisation. */
  constructor(needsSync: boolean) {
    this.#isValid = !needsSync
  }

  start(wallMs: number, nowMs: number): void {
    this.#wallAtZeroMs = wallMs - nowMs
  }

  /** Sets the clock; gives by how much it was moved, ms. */
  set(wallMs: number, nowMs: number): number {
    const offsetMs = wallMs - this.wallMs(nowMs)
    this.#wallAtZeroMs = wallMs - nowMs
    this.#isValid = true
    this.#tagMinuteMs = Number.NaN
    return Number.isFinite(offsetMs) ? offsetMs : 0
  }

  /** Wall-clock time, NaN before `start`. */
  wallMs(nowMs: number): number {
    return this.#wallAtZeroMs + nowMs
  }

  /** Time tag; invalid while the clock is, and for what is no time of 2000 to 2099. */
  cp56(wallMs: number): Cp56Time2a {
    if (!isWallMs(wallMs)) return INVALID
    return { ...cp56(wallMs), invalid: !this.#isValid }
  }

  /** The octets of a time tag, good until the next call. */
  tag(kind: TimeTag['kind'], wallMs: number): TimeTag {
    if (kind === 'none') return NO_TAG
    const octets = this.#tagOctets(wallMs)
    // CP24Time2a is the beginning of CP56Time2a: milliseconds and minutes.
    return { kind, octets: kind === 'cp24' ? octets.subarray(0, CP24_BYTES) : octets }
  }

  #tagOctets(wallMs: number): Uint8Array {
    if (!isWallMs(wallMs)) return octetsOf(INVALID)
    const ms = Math.floor(wallMs) % MINUTE_MS
    const minuteMs = Math.floor(wallMs) - ms
    if (minuteMs !== this.#tagMinuteMs) {
      this.#tag = octetsOf(this.cp56(minuteMs))
      this.#tagMinuteMs = minuteMs
    }
    this.#tag[0] = ms & 0xff
    this.#tag[1] = ms >> 8
    return this.#tag
  }
}

function octetsOf(time: Cp56Time2a): Uint8Array {
  return encodeAsdu(asduOf('C_CS_NA_1', { cot: 0, ca: 0, objects: [{ ioa: 0, value: { time } }] })).slice(TIME_AT)
}

const YEAR_2000_MS = 946_684_800_000
const YEAR_2100_MS = 4_102_444_800_000

/** Whether CP56Time2a can carry it. */
export function isWallMs(wallMs: number): boolean {
  return wallMs >= YEAR_2000_MS && wallMs < YEAR_2100_MS
}
