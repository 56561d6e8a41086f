import type { StreamLedger } from './stream.ts'

/** A turn: a stream that waits for more is served so many slots before the next one has its turn. */
export const TURN_SLOTS = 64

/** A stream that waits for key. */
export type Waiting = {
  readonly stream: StreamLedger
  /** Still to come. */
  slots: number
  /** Lab time at which nobody wants it any more; undefined: never. */
  deadlineMs: number | undefined
  /** What is left of its turn, and the virtual time at which the turn ends. */
  turnSlots: number
  turnEnds: number
}

/**
 * The streams that wait for one stock, served by self-clocked fair queueing: time is counted in slots served, each stream's
 * turn ends its own size later than it began, and the turn that ends first goes first. So a small request waits for at most
 * one turn of each other stream, however much those want, and nobody starves.
 */
export class FairQueue {
  readonly #waiting = new Map<number, Waiting>()
  #virtualTime = 0

  get size(): number {
    return this.#waiting.size
  }

  /** Earliest deadline of those who wait. */
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

  /** The stream waits for `slots` more; of two deadlines the later one holds. */
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

  /** Takes a stream out; gives what it waited for. */
  remove(channel: number): Waiting | undefined {
    const waiting = this.#waiting.get(channel)
    this.#waiting.delete(channel)
    return waiting
  }

  /** What a stream waits for. */
  slotsOf(channel: number): number {
    return this.#waiting.get(channel)?.slots ?? 0
  }

  /** The stream waits for up to `slots` fewer; gives by how many. */
  shrink(channel: number, slots: number): number {
    const waiting = this.#waiting.get(channel)
    const fewer = Math.max(0, Math.min(slots, waiting?.slots ?? 0))
    if (waiting !== undefined && fewer > 0) this.#serve(waiting, fewer)
    return fewer
  }

  /** Hands out turns until nobody can be given more. `grant` takes up to so many slots for a stream and says how many. */
  serve(grant: (stream: StreamLedger, slots: number) => number): void {
    const unlucky = new Set<Waiting>()
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

  #serve(waiting: Waiting, slots: number): void {
    waiting.slots -= slots
    waiting.turnSlots = Math.max(0, waiting.turnSlots - slots)
    if (waiting.slots === 0) this.#waiting.delete(waiting.stream.channel)
    if (waiting.turnSlots > 0) return
    waiting.turnSlots = Math.min(waiting.slots, TURN_SLOTS)
    waiting.turnEnds += waiting.turnSlots
  }

  #next(without: ReadonlySet<Waiting>): Waiting | undefined {
    let first: Waiting | undefined
    for (const waiting of this.#waiting.values()) {
      if (without.has(waiting)) continue
      if (first === undefined || waiting.turnEnds < first.turnEnds) first = waiting
    }
    return first
  }
}
