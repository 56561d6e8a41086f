import type { StreamLedger } from './stream.ts'
import type { Waiting, WaitingLine } from './waiting-line.ts'

/** A turn: a stream that waits for more is served so many slots before the next one has its turn. */
export const TURN_SLOTS = 64

/** What is left of a stream's turn, and the virtual time at which the turn ends. */
type InTurn = Waiting & { turnSlots: number; turnEnds: number }

/**
 * The streams that wait for one stock, served by self-clocked fair queueing: time is counted in slots served, each stream's
 * turn ends its own size later than it began, and the turn that ends first goes first. So a small request waits for at most
 * one turn of each other stream, however much those want, and nobody starves.
 */
export class FairQueue implements WaitingLine {
  readonly #waiting = new Map<number, InTurn>()
  #virtualTime = 0

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
    const known = this.#waiting.get(stream.channel)
    if (known === undefined) {
      if (slots === 0) return
      const turnSlots = Math.min(slots, TURN_SLOTS)
      const turnEnds = this.#virtualTime + turnSlots
      this.#waiting.set(stream.channel, { stream, slots, deadlineMs, turnSlots, turnEnds })
      return
    }
    known.slots += slots
    known.deadlineMs =
      known.deadlineMs === undefined || deadlineMs === undefined ? undefined : Math.max(known.deadlineMs, deadlineMs)
  }

  remove(channel: number): void {
    this.#waiting.delete(channel)
  }

  slotsOf(channel: number): number {
    return this.#waiting.get(channel)?.slots ?? 0
  }

  shrink(channel: number, slots: number): number {
    const waiting = this.#waiting.get(channel)
    const fewer = Math.max(0, Math.min(slots, waiting?.slots ?? 0))
    if (waiting !== undefined && fewer > 0) this.#serve(waiting, fewer)
    return fewer
  }

  /** Hands out turns. */
  serve(grant: (stream: StreamLedger, slots: number) => number): void {
    const unlucky = new Set<InTurn>()
    for (let next = this.#next(unlucky); next !== undefined; next = this.#next(unlucky)) {
      const granted = grant(next.stream, next.turnSlots)
      if (granted === 0) {
        unlucky.add(next)
        continue
      }
      this.#virtualTime = Math.max(this.#virtualTime, next.turnEnds)
      this.#serve(next, granted)
    }
  }

  #serve(waiting: InTurn, slots: number): void {
    waiting.slots -= slots
    waiting.turnSlots = Math.max(0, waiting.turnSlots - slots)
    if (waiting.slots === 0) this.#waiting.delete(waiting.stream.channel)
    if (waiting.turnSlots > 0) return
    waiting.turnSlots = Math.min(waiting.slots, TURN_SLOTS)
    waiting.turnEnds += waiting.turnSlots
  }

  #next(without: ReadonlySet<InTurn>): InTurn | undefined {
    let first: InTurn | undefined
    for (const waiting of this.#waiting.values()) {
      if (without.has(waiting)) continue
      if (first === undefined || waiting.turnEnds < first.turnEnds) first = waiting
    }
    return first
  }
}
