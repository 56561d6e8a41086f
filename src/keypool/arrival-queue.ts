import type { StreamLedger } from './stream.ts'
import type { Waiting, WaitingLine } from './waiting-line.ts'

type Part = { readonly entry: Waiting; slots: number }

/** The streams that wait for one stock, served first come, first served, each want as a whole: whoever wants much holds up the others. */
export class ArrivalQueue implements WaitingLine {
  readonly #waiting = new Map<number, Waiting>()
  /** What was wanted, in the order in which it was. */
  #line: Part[] = []

  get size(): number {
    return this.#waiting.size
  }

  get nextDeadlineMs(): number | undefined {
    let earliest: number | undefined
    for (const { deadlineMs } of this.#waiting.values()) {
      if (deadlineMs !== undefined) earliest = Math.min(earliest ?? deadlineMs, deadlineMs)
    }
    return earliest
  }

  [Symbol.iterator](): Iterator<Waiting> {
    return this.#waiting.values()
  }

  add(stream: StreamLedger, slots: number, deadlineMs: number | undefined): void {
    if (slots === 0 && !this.#waiting.has(stream.channel)) return
    const entry = this.#waiting.get(stream.channel) ?? { stream, slots: 0, deadlineMs }
    this.#waiting.set(stream.channel, entry)
    entry.slots += slots
    entry.deadlineMs =
      entry.deadlineMs === undefined || deadlineMs === undefined ? undefined : Math.max(entry.deadlineMs, deadlineMs)
    if (slots > 0) this.#line.push({ entry, slots })
  }

  remove(channel: number): void {
    const entry = this.#waiting.get(channel)
    this.#waiting.delete(channel)
    if (entry !== undefined) this.#line = this.#line.filter((part) => part.entry !== entry)
  }

  slotsOf(channel: number): number {
    return this.#waiting.get(channel)?.slots ?? 0
  }

  /** What the stream wanted last is given up first. */
  shrink(channel: number, slots: number): number {
    const entry = this.#waiting.get(channel)
    const fewer = Math.max(0, Math.min(slots, entry?.slots ?? 0))
    if (entry === undefined || fewer === 0) return fewer
    let left = fewer
    for (const part of this.#line.toReversed()) {
      if (part.entry !== entry) continue
      const cut = Math.min(left, part.slots)
      part.slots -= cut
      left -= cut
    }
    this.#settle(entry, fewer)
    this.#line = this.#line.filter((part) => part.slots > 0)
    return fewer
  }

  /** Once the first can be given no more, those behind it get only what it is not entitled to. */
  serve(grant: (stream: StreamLedger, slots: number) => number): void {
    for (const part of this.#line) {
      for (let granted = 1; granted > 0 && part.slots > 0; ) {
        granted = grant(part.entry.stream, part.slots)
        part.slots -= granted
        this.#settle(part.entry, granted)
      }
    }
    this.#line = this.#line.filter((part) => part.slots > 0)
  }

  #settle(entry: Waiting, slots: number): void {
    entry.slots -= slots
    if (entry.slots === 0) this.#waiting.delete(entry.stream.channel)
  }
}
