/**
 * Binary time, IEC 60870-5-101, 7.2.6.18 to 7.2.6.20. The fields are read and written as UTC; a peer that keeps another
 * time is the caller's business. Arithmetic only: no clock and no time zone is asked.
 *
 * ```
 * octet 0-1  milliseconds 0..59999      octet 4  day of month 1..31 | day of week << 5 (1 Monday .. 7 Sunday, 0 none)
 * octet 2    minutes 0..59 | IV 0x80    octet 5  month 1..12
 * octet 3    hours 0..23   | SU 0x80    octet 6  year 0..99 (2000..2099)
 * ```
 */
import { WireError } from './errors.ts'
import type { OctetReader, OctetWriter } from './octets.ts'

/** Seven octet time, CP56Time2a. */
export type Cp56Time2a = {
  /** UTC, ms since 1970, whole ms of the years 2000 to 2099. 0 in an invalid time that holds no date at all. */
  readonly wallMs: number
  readonly invalid: boolean
  /** The peer's fields are summer time. They are taken as they stand: no hour is subtracted. */
  readonly summerTime: boolean
  /** 1 Monday .. 7 Sunday, 0 not given. Taken as it stands, not checked against the date. */
  readonly dayOfWeek: number
}

/** Three octet time, CP24Time2a: milliseconds since the full hour. */
export type Cp24Time2a = {
  /** 0..3 599 999. */
  readonly hourMs: number
  readonly invalid: boolean
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
/** 2000-01-01T00:00Z, a Saturday. */
const YEAR_2000_MS = 946_684_800_000
/** 2100-01-01T00:00Z. */
const YEAR_2100_MS = 4_102_444_800_000
const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365]
const IV = 0x80
const SU = 0x80

/** A valid time tag with its day of week. `wallMs` is rounded down to whole ms; RangeError outside 2000 to 2099. */
export function cp56(wallMs: number): Cp56Time2a {
  const wholeMs = Math.floor(wallMs)
  checkWall(wholeMs)
  const days = Math.floor((wholeMs - YEAR_2000_MS) / DAY_MS)
  return { wallMs: wholeMs, invalid: false, summerTime: false, dayOfWeek: ((days + 5) % 7) + 1 }
}

/** Reads CP56Time2a. WireError BAD_FIELD for fields that are no date, unless the time says itself that it is invalid. */
export function readCp56(r: OctetReader): Cp56Time2a {
  const at = r.offset
  const ms = r.u16()
  const minutes = r.u8()
  const hours = r.u8()
  const days = r.u8()
  const month = r.u8() & 0x0f
  const year = r.u8() & 0x7f
  const invalid = (minutes & IV) !== 0
  const minute = minutes & 0x3f
  const hour = hours & 0x1f
  const day = days & 0x1f
  const isDate = month >= 1 && month <= 12 && year <= 99 && day >= 1 && day <= daysOfMonth(year, month)
  const isTime = ms < MINUTE_MS && minute < 60 && hour < 24
  if (!(isDate && isTime) && !invalid) {
    const [field, value] = isTime ? ['date', year * 10_000 + month * 100 + day] : ['time', hour * 100 + minute]
    throw new WireError({ code: 'BAD_FIELD', field: `CP56Time2a.${field}`, value }, at)
  }
  const dayMs = hour * HOUR_MS + minute * MINUTE_MS + ms
  const wallMs = isDate && isTime ? YEAR_2000_MS + daysBefore(year, month, day) * DAY_MS + dayMs : 0
  return { wallMs, invalid, summerTime: (hours & SU) !== 0, dayOfWeek: days >> 5 }
}

/** Writes CP56Time2a. RangeError outside 2000 to 2099 in whole ms, save 0 in an invalid time. */
export function writeCp56(w: OctetWriter, time: Cp56Time2a): void {
  const isEmpty = time.invalid && time.wallMs === 0
  if (!isEmpty) checkWall(time.wallMs)
  if (!Number.isInteger(time.dayOfWeek) || time.dayOfWeek < 0 || time.dayOfWeek > 7) {
    throw new RangeError(`dayOfWeek ${time.dayOfWeek} is not in 0..7`)
  }
  const sinceMs = isEmpty ? 0 : time.wallMs - YEAR_2000_MS
  const dayMs = sinceMs % DAY_MS
  const date = isEmpty ? { year: 0, month: 0, day: 0 } : dateOf(Math.floor(sinceMs / DAY_MS))
  w.u16(dayMs % MINUTE_MS)
  w.u8((Math.floor(dayMs / MINUTE_MS) % 60) | (time.invalid ? IV : 0))
  w.u8(Math.floor(dayMs / HOUR_MS) | (time.summerTime ? SU : 0))
  w.u8(date.day | (time.dayOfWeek << 5))
  w.u8(date.month)
  w.u8(date.year)
}

/** Reads CP24Time2a. WireError BAD_FIELD for minutes above 59 or milliseconds above 59 999. */
export function readCp24(r: OctetReader): Cp24Time2a {
  const at = r.offset
  const ms = r.u16()
  const minutes = r.u8()
  const minute = minutes & 0x3f
  if (ms >= MINUTE_MS) throw new WireError({ code: 'BAD_FIELD', field: 'CP24Time2a.ms', value: ms }, at)
  if (minute > 59) throw new WireError({ code: 'BAD_FIELD', field: 'CP24Time2a.minute', value: minute }, at + 2)
  return { hourMs: minute * MINUTE_MS + ms, invalid: (minutes & IV) !== 0 }
}

/** Writes CP24Time2a. */
export function writeCp24(w: OctetWriter, time: Cp24Time2a): void {
  if (!(time.hourMs >= 0 && time.hourMs < HOUR_MS)) throw new RangeError(`hourMs ${time.hourMs} is not in 0..3599999`)
  w.u16(time.hourMs % MINUTE_MS)
  w.u8(Math.floor(time.hourMs / MINUTE_MS) | (time.invalid ? IV : 0))
}

/** Reads CP16Time2a, a duration of 0..59 999 ms. */
export function readCp16(r: OctetReader): number {
  const at = r.offset
  const ms = r.u16()
  if (ms >= MINUTE_MS) throw new WireError({ code: 'BAD_FIELD', field: 'CP16Time2a', value: ms }, at)
  return ms
}

/** Writes CP16Time2a. */
export function writeCp16(w: OctetWriter, ms: number): void {
  if (!(ms >= 0 && ms < MINUTE_MS)) throw new RangeError(`${ms} ms is not in 0..59999`)
  w.u16(ms)
}

function checkWall(wallMs: number): void {
  if (!Number.isInteger(wallMs) || wallMs < YEAR_2000_MS || wallMs >= YEAR_2100_MS) {
    throw new RangeError(`wallMs ${wallMs} is not a whole ms of 2000 to 2099`)
  }
}

/** Every fourth year of 2000 to 2099 is a leap year, 2000 too. */
function leapDay(year: number, month: number): number {
  return year % 4 === 0 && month > 2 ? 1 : 0
}

function firstOfMonth(year: number, month: number): number {
  return year * 365 + Math.floor((year + 3) / 4) + (DAYS_BEFORE_MONTH[month - 1] ?? 0) + leapDay(year, month)
}

function daysOfMonth(year: number, month: number): number {
  return firstOfMonth(year, month + 1) - firstOfMonth(year, month)
}

function daysBefore(year: number, month: number, day: number): number {
  return firstOfMonth(year, month) + day - 1
}

function dateOf(days: number): { year: number; month: number; day: number } {
  const year = Math.floor((days * 4) / 1461)
  let month = 12
  while (days < firstOfMonth(year, month)) month -= 1
  return { year, month, day: days - firstOfMonth(year, month) + 1 }
}
