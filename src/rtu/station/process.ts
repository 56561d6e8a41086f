import { cot } from '../../protocol/index.ts'
import type { CommandResult } from './commands.ts'
import type { CoreConfig, ProcessInput } from './contract.ts'
import type { Interrogation } from './interrogation.ts'
import { applyChange, type Point, type PointDatabase } from './point-database.ts'
import { eventOctets } from './point-octets.ts'
import type { StationClock } from './station-clock.ts'

/** The side of the station that faces the process: values come in, events go out. */
export class Process {
  readonly #points: PointDatabase
  readonly #clock: StationClock
  readonly #interrogation: Interrogation
  readonly #report: (octets: Uint8Array) => void
  readonly #freezeMs: number | undefined
  #freezeAtMs = Number.POSITIVE_INFINITY
  /** Outputs that fall back at the end of a pulse. */
  readonly #pulses = new Map<Point, number>()

  constructor(
    config: CoreConfig,
    points: PointDatabase,
    clock: StationClock,
    interrogation: Interrogation,
    report: (octets: Uint8Array) => void,
  ) {
    this.#points = points
    this.#clock = clock
    this.#interrogation = interrogation
    this.#report = report
    this.#freezeMs = config.freezeMs
  }

  get wakeAtMs(): number {
    return this.#pulses.size === 0 ? this.#freezeAtMs : Math.min(this.#freezeAtMs, ...this.#pulses.values())
  }

  start(nowMs: number): void {
    if (this.#freezeMs !== undefined) this.#freezeAtMs = nowMs + this.#freezeMs
  }

  /** Takes a value; false when there is no such point. */
  setPoint(input: Extract<ProcessInput, { kind: 'setPoint' }>, nowMs: number): boolean {
    const point = this.#points.find(input.ca, input.ioa)
    if (point === undefined) return false
    const isEvent = applyChange(point, input)
    const wanted = point.spec.events ?? point.kind !== 'counter'
    if (isEvent && wanted) this.#event(point, cot.spontaneous, input.timeMs ?? this.#clock.wallMs(nowMs))
    return true
  }

  /** A command was carried out: its point takes the value, which is return information whether it is new or not. */
  show({ spec, process }: CommandResult, nowMs: number): void {
    const point = spec.pointIoa === undefined ? undefined : this.#points.find(spec.ca, spec.pointIoa)
    if (point === undefined) return
    const { kind, value, pulseMs } = process
    applyChange(point, { value: kind === 'step' ? point.state.value + (value === 2 ? 1 : -1) : value })
    point.reported = point.state.value
    this.#event(point, cot.returnInfoRemote, this.#clock.wallMs(nowMs))
    // A breaker stays where a pulse has driven it; an output that is a single point is on as long as the pulse lasts.
    if (kind === 'single' && pulseMs !== undefined && value === 1) this.#pulses.set(point, nowMs + pulseMs)
    else this.#pulses.delete(point)
  }

  wake(nowMs: number): void {
    for (const [point, atMs] of this.#pulses) {
      if (atMs > nowMs) continue
      this.#pulses.delete(point)
      if (applyChange(point, { value: 0 })) this.#event(point, cot.spontaneous, this.#clock.wallMs(nowMs))
    }
    if (this.#freezeMs === undefined || nowMs < this.#freezeAtMs) return
    this.#freezeAtMs += this.#freezeMs * Math.max(1, Math.ceil((nowMs - this.#freezeAtMs) / this.#freezeMs))
    this.reportFrozen(this.#interrogation.freezeAll(), nowMs)
  }

  /** Reports counters that were just frozen, where the station is set to. */
  reportFrozen(counters: readonly Point[], nowMs: number): void {
    if (!this.#interrogation.reportsFrozen) return
    for (const counter of counters) this.#event(counter, cot.spontaneous, this.#clock.wallMs(nowMs))
  }

  /** General reset of a common address: no output stays under way. */
  reset(ca: number): void {
    for (const point of this.#pulses.keys()) if (point.spec.ca === ca) this.#pulses.delete(point)
  }

  #event(point: Point, cause: number, wallMs: number): void {
    this.#report(eventOctets(point, cause, this.#clock.tag(point.spec.timeTag ?? 'cp56', wallMs)))
  }
}
