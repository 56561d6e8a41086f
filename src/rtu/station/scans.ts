import { cot } from '../../protocol/index.ts'
import { type Page, pagesOf } from './pages.ts'
import type { Point, PointDatabase } from './point-database.ts'
import { kindRow } from './point-kinds.ts'

const DEFAULT_CYCLE_MS = 10_000

/** Points that are sent together, again and again. */
export type Scan = { readonly key: string; readonly cot: number; readonly pages: readonly Page[] }

type Entry = { readonly points: Set<Point>; scan: Scan; readonly periodMs: number; dueMs: number }

/** Cyclic transmission (by period) and the background scan. Keeps its beat: a late wake does not shift the next one. */
export class Scans {
  readonly #entries = new Map<string, Entry>()
  readonly #cycleMs: number
  readonly #backgroundMs: number | undefined

  constructor(
    points: PointDatabase,
    { backgroundMs, cycleMs = DEFAULT_CYCLE_MS }: { readonly backgroundMs?: number; readonly cycleMs?: number },
  ) {
    this.#cycleMs = cycleMs
    this.#backgroundMs = backgroundMs
    for (const ca of points.cas) for (const point of points.of(ca)) this.#enter(point, 0)
    for (const entry of this.#entries.values()) renew(entry)
  }

  /** Takes in a point that is new. */
  add(point: Point, nowMs: number): void {
    for (const entry of this.#enter(point, nowMs)) renew(entry)
  }

  get wakeAtMs(): number {
    let atMs = Number.POSITIVE_INFINITY
    for (const { dueMs, points } of this.#entries.values()) if (points.size > 0) atMs = Math.min(atMs, dueMs)
    return atMs
  }

  start(nowMs: number): void {
    for (const entry of this.#entries.values()) entry.dueMs = nowMs + entry.periodMs
  }

  /** The scans that are due. */
  due(nowMs: number): readonly Scan[] {
    const due: Scan[] = []
    for (const entry of this.#entries.values()) {
      if (entry.dueMs > nowMs || entry.points.size === 0) continue
      entry.dueMs += entry.periodMs * Math.max(1, Math.ceil((nowMs - entry.dueMs) / entry.periodMs))
      due.push(entry.scan)
    }
    return due
  }

  /** Switches the cyclic transmission of a point on or off. */
  setCyclic(point: Point, isOn: boolean, nowMs: number): void {
    if (kindRow(point.kind).plain === undefined) return
    const entry = this.#cyclic(point.spec.cycleMs ?? this.#cycleMs, nowMs)
    if (isOn) entry.points.add(point)
    else entry.points.delete(point)
    renew(entry)
  }

  #enter(point: Point, nowMs: number): readonly Entry[] {
    const { cycleMs, background } = point.spec
    const entries: Entry[] = []
    if (cycleMs !== undefined) entries.push(this.#cyclic(cycleMs, nowMs))
    if (background && this.#backgroundMs !== undefined) {
      entries.push(this.#entry('background', cot.backgroundScan, this.#backgroundMs, nowMs))
    }
    for (const { points } of entries) points.add(point)
    return entries
  }

  #cyclic(periodMs: number, nowMs: number): Entry {
    return this.#entry(`cyclic ${periodMs}`, cot.periodic, periodMs, nowMs)
  }

  #entry(key: string, cause: number, periodMs: number, nowMs: number): Entry {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const scan: Scan = { key, cot: cause, pages: [] }
    const entry: Entry = { points: new Set(), scan, periodMs, dueMs: nowMs + periodMs }
    this.#entries.set(key, entry)
    return entry
  }
}

function renew(entry: Entry): void {
  const byCa = new Map<number, Point[]>()
  for (const point of entry.points) byCa.set(point.spec.ca, [...(byCa.get(point.spec.ca) ?? []), point])
  const pages = [...byCa.values()].flatMap((points) => pagesOf(points.toSorted((a, b) => a.spec.ioa - b.spec.ioa)))
  entry.scan = { ...entry.scan, pages }
}
