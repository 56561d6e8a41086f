import type { Job, Way } from './desk.ts'
import type { QueuedEvent } from './event-queue.ts'
import type { Group } from './groups.ts'

/** Answers that may wait for one connection. Who asks for more without taking them is not served any longer. */
const MAX_ANSWERS = 1_000
/** Interrogations and file sections that may wait for one connection. */
const MAX_JOBS = 64

/** What waits, the most urgent first; each with all before it. */
export type Urgency = 'answers' | 'events' | 'all'

/** An ASDU to be sent now. */
export type Outgoing = {
  readonly kind: 'answer' | 'event' | 'page'
  readonly octets: Uint8Array
  readonly way: Way | undefined
  /** Events in it, to be given back if the controlling station did not get them. */
  readonly events: readonly QueuedEvent[]
}

export type OutboxOptions = {
  /** Number of the connection. */
  readonly id: number
  readonly peer: string
  readonly peerName?: string | undefined
  /** Ends the connection. Undefined: it cannot be ended; what is malformed is refused instead. */
  readonly close?: (reason: string) => void
}

type TakenJob = { readonly job: Job; readonly way: Way | undefined }
type Answer = { readonly octets: Uint8Array; readonly way: Way | undefined }

/**
 * What the station has for one controlling station, by priority: answers, events of the group, interrogations and files,
 * scans. Whoever carries the octets takes from it when there is room to send.
 */
export class Outbox {
  readonly id: number
  readonly peer: string
  readonly peerName: string | undefined
  readonly close: ((reason: string) => void) | undefined
  group: Group | undefined
  /** Data transfer has been started. */
  isListening = false
  readonly #answers: Answer[] = []
  #jobs: TakenJob[] = []
  #scans: TakenJob[] = []

  constructor({ id, peer, peerName, close }: OutboxOptions) {
    this.id = id
    this.peer = peer
    this.peerName = peerName
    this.close = close
  }

  /** False: too many answers wait. */
  answer(octets: Uint8Array, way: Way | undefined): boolean {
    this.#answers.push({ octets, way })
    return this.#answers.length <= MAX_ANSWERS
  }

  /** False: too many jobs wait. */
  run(job: Job, way: Way | undefined): boolean {
    if (this.#jobs.length >= MAX_JOBS) return false
    this.#jobs.push({ job, way })
    return true
  }

  callOff(key: string): boolean {
    const left = this.#jobs.filter(({ job }) => job.key !== key)
    const isFound = left.length < this.#jobs.length
    this.#jobs = left
    return isFound
  }

  /** False: the same scan is still being sent, or nobody is listening. */
  scan(job: Job): boolean {
    if (!this.isListening || this.#scans.some(({ job: { key } }) => key === job.key)) return false
    this.#scans.push({ job, way: undefined })
    return true
  }

  /** What is to be sent next, of what is as urgent as asked. */
  next(urgency: Urgency = 'all'): Outgoing | undefined {
    const answer = this.#answers.shift()
    if (answer !== undefined) return { kind: 'answer', ...answer, events: [] }
    if (urgency === 'answers') return undefined
    const batch = this.group?.events.take(this.id)
    if (batch !== undefined) return { kind: 'event', way: batch.events[0]?.way, ...batch }
    if (urgency === 'events') return undefined
    for (const taken of [this.#jobs, this.#scans]) {
      for (let first = taken[0]; first !== undefined; first = taken[0]) {
        const octets = first.job.next()
        if (octets !== undefined) return { kind: 'page', octets, way: first.way, events: [] }
        taken.shift()
      }
    }
    return undefined
  }

  /** Gives back events that were sent and did not arrive, oldest first. What was meant for this peer only is void. */
  giveBack(events: readonly QueuedEvent[]): void {
    const forAll = events.filter(({ connection }) => connection === undefined)
    if (forAll.length > 0) this.group?.events.putBack(forAll)
  }

  /** Data transfer has ended: what was meant for this peer only is void. */
  leaveGroup(): void {
    if (this.group?.active === this.id) this.group.active = undefined
    this.group = undefined
    this.isListening = false
    this.#answers.length = 0
    this.#jobs = []
    this.#scans = []
  }
}
