import type { PointSpec } from './contract.ts'
import { type ElementState, fitted, GOOD, kindRow, type PointKind, type Quality, type Reading } from './point-kinds.ts'
import { elementOctets } from './point-octets.ts'

/** What of a measured value can be set by parameters (P_ME_*). */
export type MeasuredParameters = {
  readonly deadband: number
  readonly smoothing: number
  readonly lowLimit: number
  readonly highLimit: number
}

/** A point and its present state. */
export type Point = {
  readonly spec: PointSpec
  readonly kind: PointKind
  state: ElementState
  /** Elements as they are sent, without time tag. */
  octets: Uint8Array
  /** False: where the value comes from cannot be reached, so that it is marked as not topical. */
  isTopical: boolean
  parameters: MeasuredParameters
  /** The value that the last event gave. */
  reported: number
  /** Before rounding, for the smoothing. */
  filtered: number
  readonly counter: { raw: number; base: number; isFrozen: boolean; carry: boolean; adjusted: boolean }
}

export type PointChange = {
  readonly value: number
  readonly quality?: Partial<Quality>
  readonly transient?: boolean
  readonly elapsedMs?: number
}

const NO_READING: Reading = { count: 0, sequence: 0, carry: false, adjusted: false, invalid: false }

/** The points of a station by common address and information object address. */
export class PointDatabase {
  readonly #byCa = new Map<number, Map<number, Point>>()

  constructor(specs: readonly PointSpec[]) {
    for (const spec of specs) this.add(spec)
  }

  /** Adds a point, instead of the one that may be there. */
  add(spec: PointSpec): Point {
    const points = this.#byCa.get(spec.ca) ?? new Map<number, Point>()
    this.#byCa.set(spec.ca, points)
    const point = newPoint(spec)
    points.set(spec.ioa, point)
    return point
  }

  find(ca: number, ioa: number): Point | undefined {
    return this.#byCa.get(ca)?.get(ioa)
  }

  /** Points of a common address, by ascending IOA. */
  of(ca: number): readonly Point[] {
    return [...(this.#byCa.get(ca)?.values() ?? [])].toSorted((a, b) => a.spec.ioa - b.spec.ioa)
  }

  get cas(): readonly number[] {
    return [...this.#byCa.keys()]
  }
}

function newPoint(spec: PointSpec): Point {
  const { kind } = spec
  const { value } = fitted(kind, spec.value ?? 0)
  const quality = qualityOf(spec.quality, true)
  const reading = { ...NO_READING, count: kind === 'counter' ? value : 0, invalid: quality.invalid }
  const point: Point = {
    spec,
    kind,
    state: { value, quality, transient: false, changes: 0, elapsedMs: 0, reading },
    octets: new Uint8Array(),
    isTopical: true,
    parameters: configuredParameters(spec),
    reported: value,
    filtered: value,
    counter: { raw: value, base: 0, isFrozen: false, carry: false, adjusted: false },
  }
  renewOctets(point)
  return point
}

export function configuredParameters({ deadband, smoothing, lowLimit, highLimit }: PointSpec): MeasuredParameters {
  return {
    deadband: deadband ?? 0,
    smoothing: smoothing ?? 0,
    lowLimit: lowLimit ?? Number.NEGATIVE_INFINITY,
    highLimit: highLimit ?? Number.POSITIVE_INFINITY,
  }
}

/** Takes a value from the process; says whether it is worth an event. */
export function applyChange(point: Point, change: PointChange): boolean {
  const { kind, state } = point
  const isNumber = Number.isFinite(change.value)
  const asked = qualityOf(change.quality, isNumber)
  if (kind === 'counter') return applyCount(point, isNumber ? change.value : point.counter.raw, asked)
  const next = fitted(kind, isNumber ? smoothed(point, change.value) : state.value)
  const quality = next.overflow ? { ...asked, overflow: true } : asked
  const transient = change.transient ?? false
  const isNewQuality = !sameQuality(quality, state.quality) || transient !== state.transient
  const value = next.value
  const changes = kind === 'packed' ? (value ^ state.value) & 0xffff : 0
  const elapsedMs = Math.min(59_999, Math.max(0, Math.floor(change.elapsedMs || 0)))
  const isEvent = kindRow(kind).plain === undefined || isNewQuality || isNews(point, value)
  if (isNewQuality || value !== state.value || changes !== state.changes || elapsedMs !== state.elapsedMs) {
    point.state = { value, quality, transient, changes, elapsedMs, reading: state.reading }
    renewOctets(point)
  }
  if (isEvent) point.reported = value
  return isEvent
}

function qualityOf(asked: Partial<Quality> | undefined, isNumber: boolean): Quality {
  if (asked === undefined && isNumber) return GOOD
  return { ...GOOD, ...asked, ...(!isNumber && { invalid: true }) }
}

function smoothed(point: Point, value: number): number {
  const { smoothing } = point.parameters
  const isFirst = point.state.quality.invalid
  point.filtered = smoothing === 0 || isFirst ? value : smoothing * point.filtered + (1 - smoothing) * value
  return point.filtered
}

function isNews({ kind, parameters, reported }: Point, value: number): boolean {
  if (kindRow(kind).measured === undefined) return value !== reported
  const { deadband, lowLimit, highLimit } = parameters
  const side = (x: number): number => (x < lowLimit ? -1 : x > highLimit ? 1 : 0)
  return Math.abs(value - reported) > deadband || side(value) !== side(reported)
}

function sameQuality(a: Quality, b: Quality): boolean {
  if (a === b) return true
  return (
    a.overflow === b.overflow &&
    a.blocked === b.blocked &&
    a.substituted === b.substituted &&
    a.notTopical === b.notTopical &&
    a.invalid === b.invalid
  )
}

/** The running count goes on; a frozen reading stays as it is until the next freeze. */
function applyCount(point: Point, raw: number, quality: Quality): boolean {
  const { counter, state } = point
  const before = point.state.value
  const whole = Math.round(raw)
  const count = (whole - counter.base) | 0
  counter.carry ||= whole - counter.base !== count
  counter.adjusted ||= whole < counter.raw
  counter.raw = whole
  const flags = { carry: counter.carry, adjusted: counter.adjusted }
  const reading = counter.isFrozen
    ? { ...state.reading, invalid: quality.invalid }
    : { ...state.reading, ...flags, count, invalid: quality.invalid }
  const isEvent = count !== before || !sameQuality(quality, state.quality)
  point.state = { ...state, value: count, quality, reading }
  renewOctets(point)
  return isEvent && !counter.isFrozen
}

/** Freezes a counter (the reading takes the running count) and resets the running count as asked. */
export function freezeCounter(point: Point, action: { readonly freeze: boolean; readonly reset: boolean }): void {
  const { counter, state } = point
  let { reading, value } = state
  if (action.freeze) {
    const { carry, adjusted } = counter
    reading = { count: value, sequence: (reading.sequence + 1) % 32, carry, adjusted, invalid: state.quality.invalid }
    counter.isFrozen = true
  }
  if (action.reset) {
    counter.base = counter.raw
    value = 0
    if (!counter.isFrozen) reading = { ...reading, count: 0 }
  }
  if (action.freeze || action.reset) {
    counter.carry = false
    counter.adjusted = false
  }
  point.state = { ...state, value, reading }
  renewOctets(point)
}

/** Says whether a point's source can be reached. */
export function setTopical(point: Point, isTopical: boolean): void {
  if (point.isTopical === isTopical) return
  point.isTopical = isTopical
  renewOctets(point)
}

function renewOctets(point: Point): void {
  const { kind, state } = point
  const shown = point.isTopical ? state : { ...state, quality: { ...state.quality, notTopical: true } }
  point.octets = elementOctets(kind, shown)
}
