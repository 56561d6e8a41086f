import { type Cp24Time2a, type Cp56Time2a, cp56 } from '../../protocol/index.ts'

const HOUR_MS = 3_600_000
const INVALID: Cp56Time2a = { wallMs: 0, invalid: true, summerTime: false, dayOfWeek: 0 }

/** The station's clock: lab time plus an offset that clock synchronisation sets. Timers never depend on it. */
export class StationClock {
  #wallAtZeroMs = Number.NaN
  #isValid: boolean

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

  cp24(wallMs: number): Cp24Time2a {
    if (!isWallMs(wallMs)) return { hourMs: 0, invalid: true }
    return { hourMs: Math.floor(wallMs) % HOUR_MS, invalid: !this.#isValid }
  }
}

const YEAR_2000_MS = 946_684_800_000
const YEAR_2100_MS = 4_102_444_800_000

/** Whether CP56Time2a can carry it. */
export function isWallMs(wallMs: number): boolean {
  return wallMs >= YEAR_2000_MS && wallMs < YEAR_2100_MS
}
