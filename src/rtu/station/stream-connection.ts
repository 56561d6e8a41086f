import { type ApciOptions, StreamSession, type StreamSessionEffect } from '../../protocol/index.ts'
import type { QueuedEvent } from './event-queue.ts'
import type { Outbox } from './outbox.ts'

/** What has to be acted on. */
export type ConnectionEvent =
  | { readonly kind: 'asdu'; readonly asdu: Uint8Array }
  | { readonly kind: 'started' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'close'; readonly reason: string }

/** One connection over a byte stream: the 104 session, and what of the outbox is on its way. */
export class StreamConnection {
  readonly outbox: Outbox
  readonly counts = { asdusSent: 0, asdusReceived: 0 }
  readonly #session: StreamSession
  /** Events in the I-frames that are not acknowledged, an entry a frame, oldest first. */
  #inFlight: (readonly QueuedEvent[])[] = []
  #writes: Uint8Array[] = []

  constructor(outbox: Outbox, options: ApciOptions) {
    this.outbox = outbox
    this.#session = new StreamSession(options)
  }

  get wakeAtMs(): number | undefined {
    return this.#session.wakeAtMs
  }

  get isStarted(): boolean {
    return this.#session.isStarted
  }

  get unacked(): number {
    return this.#session.unacked
  }

  open(nowMs: number): readonly ConnectionEvent[] {
    return this.#take(this.#session.open(nowMs))
  }

  receive(bytes: Uint8Array, nowMs: number): readonly ConnectionEvent[] {
    return this.#take(this.#session.receive(bytes, nowMs))
  }

  wake(nowMs: number): readonly ConnectionEvent[] {
    const { wakeAtMs } = this.#session
    return wakeAtMs === undefined || wakeAtMs > nowMs ? [] : this.#take(this.#session.wake(nowMs))
  }

  /** Sends what the window allows. */
  pump(nowMs: number): void {
    while (this.#session.canSend) {
      const next = this.outbox.next()
      if (next === undefined) return
      this.#inFlight.push(next.events)
      this.counts.asdusSent += 1
      this.#take(this.#session.send(next.octets, nowMs))
    }
  }

  /** Data transfer has ended: events that were not acknowledged go back. */
  giveBack(): void {
    this.outbox.giveBack(this.#inFlight.flat())
    this.#inFlight = []
  }

  /** What is to be written now, in one piece. */
  takeWrites(): Uint8Array | undefined {
    const [first, ...more] = this.#writes
    if (first === undefined) return undefined
    this.#writes = []
    if (more.length === 0) return first
    const bytes = new Uint8Array(more.reduce((sum, { length }) => sum + length, first.length))
    bytes.set(first)
    let offset = first.length
    for (const part of more) {
      bytes.set(part, offset)
      offset += part.length
    }
    return bytes
  }

  #take(effects: readonly StreamSessionEffect[]): readonly ConnectionEvent[] {
    const events: ConnectionEvent[] = []
    for (const effect of effects) {
      if (effect.kind === 'write') this.#writes.push(effect.bytes)
      else if (effect.kind === 'acked') this.#inFlight.splice(0, effect.count)
      else events.push(effect)
      if (effect.kind === 'asdu') this.counts.asdusReceived += 1
    }
    return events
  }
}
