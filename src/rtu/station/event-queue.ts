import { MAX_ASDU_BYTES, MAX_OBJECTS } from '../../protocol/index.ts'
import type { Way } from './desk.ts'

const HEADER_BYTES = 6
/** Taken entries are given back to the memory once there are so many of them. */
const COMPACT_AT = 1024

/** An ASDU that waits in a group's queue. */
export type QueuedEvent = {
  readonly octets: Uint8Array
  /** Only for this connection: the end of a command, which nobody else waits for. */
  readonly connection?: number
  /** One object, and its type allows more: may share an ASDU with others. */
  readonly packable: boolean
  /** How it has to go, where a connection has several ways. */
  readonly way?: Way
}

/** What is sent as one ASDU, and the events in it. */
export type EventBatch = { readonly octets: Uint8Array; readonly events: readonly QueuedEvent[] }

/** Events of one redundancy group, oldest first. At its limit the oldest is dropped and counted. */
export class EventQueue {
  #items: QueuedEvent[] = []
  #head = 0
  readonly #limit: number
  readonly #maxObjects: number
  #dropped = 0

  constructor(limit: number, maxObjects: number) {
    this.#limit = limit
    this.#maxObjects = Math.min(maxObjects, MAX_OBJECTS)
  }

  get length(): number {
    return this.#items.length - this.#head
  }

  /** Events lost because too many waited. */
  get dropped(): number {
    return this.#dropped
  }

  push(event: QueuedEvent): void {
    this.#items.push(event)
    this.#dropBeyondLimit()
  }

  /** Puts back what was sent and not acknowledged; it is sent again before all else. */
  putBack(events: readonly QueuedEvent[]): void {
    this.#items = [...events, ...this.#items.slice(this.#head)]
    this.#head = 0
    this.#dropBeyondLimit()
  }

  /** Takes out what waits for a common address. */
  clear(ca: number): void {
    this.#items = this.#items
      .slice(this.#head)
      .filter(({ octets }) => ((octets[4] ?? 0) | ((octets[5] ?? 0) << 8)) !== ca)
    this.#head = 0
  }

  /** The next ASDU for a connection: neighbours with the same type, cause and addresses share it. */
  take(connection: number): EventBatch | undefined {
    let first = this.#shift()
    while (first?.connection !== undefined && first.connection !== connection) first = this.#shift()
    if (first === undefined) return undefined
    const events = [first]
    let sizeBytes = first.octets.length
    for (;;) {
      const next = this.#items[this.#head]
      if (next === undefined || events.length >= this.#maxObjects || !mayShare(first, next)) break
      const withNext = sizeBytes + next.octets.length - HEADER_BYTES
      if (withNext > MAX_ASDU_BYTES) break
      sizeBytes = withNext
      events.push(next)
      this.#shift()
    }
    return { octets: events.length === 1 ? first.octets : joined(events, sizeBytes), events }
  }

  #shift(): QueuedEvent | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#head += 1
    if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  #dropBeyondLimit(): void {
    while (this.length > this.#limit) {
      const event = this.#shift()
      // What was meant for a connection that is gone is no loss.
      if (event?.connection === undefined) this.#dropped += 1
    }
  }
}

/** Same type, cause, originator, common address and suite; one object each. */
function mayShare(first: QueuedEvent, next: QueuedEvent): boolean {
  if (!first.packable || !next.packable || first.way?.suite !== next.way?.suite) return false
  const [a, b] = [first.octets, next.octets]
  return a[0] === b[0] && a[2] === b[2] && a[3] === b[3] && a[4] === b[4] && a[5] === b[5]
}

function joined(events: readonly QueuedEvent[], sizeBytes: number): Uint8Array {
  const asdu = new Uint8Array(sizeBytes)
  let offset = 0
  for (const { octets } of events) {
    // Octet by octet: for so few that is faster than a view of each.
    for (let i = offset === 0 ? 0 : HEADER_BYTES; i < octets.length; i += 1) {
      asdu[offset] = octets[i] ?? 0
      offset += 1
    }
  }
  asdu[1] = events.length
  return asdu
}
