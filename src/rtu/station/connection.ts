import { type ApciOptions, StreamSession, type StreamSessionEffect } from '../../protocol/index.ts'
import type { Job } from './desk.ts'
import type { QueuedEvent } from './event-queue.ts'
import type { Group } from './groups.ts'

/** Answers that may wait for one connection. Who asks for more without taking them is not served any longer. */
const MAX_ANSWERS = 1_000
/** Interrogations and file sections that may wait for one connection. */
const MAX_JOBS = 64

/** What the station has to act on. */
export type ConnectionEvent =
  | { readonly kind: 'asdu'; readonly asdu: Uint8Array }
  | { readonly kind: 'started' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'close'; readonly reason: string }

/**
 * One connection of a controlling station: the 104 session, and what waits to be sent on it by priority: answers, events of
 * the group, interrogations and files, scans.
 */
export class StationConnection {
  readonly id: number
  readonly peer: string
  readonly peerName: string | undefined
  group: Group | undefined
  readonly counts = { asdusSent: 0, asdusReceived: 0 }
  readonly #session: StreamSession
  readonly #answers: Uint8Array[] = []
  #jobs: Job[] = []
  #scans: Job[] = []
  /** Events in the I-frames that are not acknowledged, an entry a frame, oldest first. */
  #inFlight: (readonly QueuedEvent[])[] = []
  #writes: Uint8Array[] = []

  constructor(
    stream: { readonly id: number; readonly peer: string; readonly peerName: string | undefined },
    options: ApciOptions,
  ) {
    this.id = stream.id
    this.peer = stream.peer
    this.peerName = stream.peerName
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

  /** False: too many answers wait. */
  answer(asdu: Uint8Array): boolean {
    this.#answers.push(asdu)
    return this.#answers.length <= MAX_ANSWERS
  }

  /** False: too many jobs wait. */
  run(job: Job): boolean {
    if (this.#jobs.length >= MAX_JOBS) return false
    this.#jobs.push(job)
    return true
  }

  callOff(key: string): boolean {
    const left = this.#jobs.filter((job) => job.key !== key)
    const isFound = left.length < this.#jobs.length
    this.#jobs = left
    return isFound
  }

  /** False: the same scan is still being sent, or nobody is listening. */
  scan(job: Job): boolean {
    if (!this.isStarted || this.#scans.some(({ key }) => key === job.key)) return false
    this.#scans.push(job)
    return true
  }

  /** Sends what the window allows. */
  pump(nowMs: number): void {
    while (this.#session.canSend) {
      const next = this.#next()
      if (next === undefined) return
      this.#inFlight.push(next.events)
      this.counts.asdusSent += 1
      this.#take(this.#session.send(next.octets, nowMs))
    }
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

  /** Data transfer has ended: what was not acknowledged goes back to the group, what was meant for this peer only is void. */
  leaveGroup(): void {
    const { group } = this
    const unacknowledged = this.#inFlight.flat().filter(({ connection }) => connection === undefined)
    if (group !== undefined && unacknowledged.length > 0) group.events.putBack(unacknowledged)
    if (group?.active === this.id) group.active = undefined
    this.group = undefined
    this.#inFlight = []
    this.#answers.length = 0
    this.#jobs = []
    this.#scans = []
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

  #next(): { readonly octets: Uint8Array; readonly events: readonly QueuedEvent[] } | undefined {
    const answer = this.#answers.shift()
    if (answer !== undefined) return { octets: answer, events: [] }
    const batch = this.group?.events.take(this.id)
    if (batch !== undefined) return batch
    for (const jobs of [this.#jobs, this.#scans]) {
      while (jobs[0] !== undefined) {
        const octets = jobs[0].next()
        if (octets !== undefined) return { octets, events: [] }
        jobs.shift()
      }
    }
    return undefined
  }
}
