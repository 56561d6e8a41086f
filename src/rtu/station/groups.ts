import type { Redundancy } from './contract.ts'
import { EventQueue, type QueuedEvent } from './event-queue.ts'

const DEFAULT_MAX_GROUPS = 32

/** A redundancy group: its queue, and the one connection that is started. */
export type Group = {
  readonly name: string
  readonly events: EventQueue
  active: number | undefined
}

/** The redundancy groups of a station. */
export class Groups {
  readonly #redundancy: Redundancy
  readonly #newQueue: () => EventQueue
  /** In the order of last use, the longest unused first. */
  #groups: Group[]
  #abandonedEvents = 0

  constructor(redundancy: Redundancy, queue: { readonly maxEvents: number; readonly maxObjects: number }) {
    this.#redundancy = redundancy
    this.#newQueue = () => new EventQueue(queue.maxEvents, queue.maxObjects)
    const names = redundancy.kind === 'several' ? redundancy.groups.map(({ name }) => name) : [ANYONE]
    this.#groups = names.map((name) => this.#group(name))
  }

  /** Every group: an event goes to each. */
  get all(): readonly Group[] {
    return this.#groups
  }

  /** Events lost with the queues of peers that did not come back. */
  get abandonedEvents(): number {
    return this.#abandonedEvents
  }

  push(event: QueuedEvent, isFor: (group: Group) => boolean = () => true): void {
    for (const group of this.#groups) if (isFor(group)) group.events.push(event)
  }

  /** A further group, whose connection is no business of this class; it must always have an active one. */
  add(name: string): Group {
    const group = this.#group(name)
    this.#groups = [...this.#groups, group]
    return group
  }

  /** Whether a peer belongs to any group. */
  admits(peer: string, peerName: string | undefined): boolean {
    return this.#redundancy.kind !== 'several' || this.#several(peer, peerName) !== undefined
  }

  /** The group of a connection that starts; `active` is still the connection before. Undefined: the peer is in none. */
  enter(peer: string, peerName: string | undefined): Group | undefined {
    const group = this.#groupOf(peer, peerName)
    if (group !== undefined) this.#groups = [...this.#groups.filter((other) => other !== group), group]
    return group
  }

  #groupOf(peer: string, peerName: string | undefined): Group | undefined {
    if (this.#redundancy.kind === 'one') return this.#groups.find(({ name }) => name === ANYONE)
    if (this.#redundancy.kind === 'several') return this.#several(peer, peerName)
    const host = peerName ?? hostOf(peer)
    const idle = this.#groups.filter(({ active }) => active === undefined)
    // The queue of this host, the one used last; or the one that was filled before anybody came.
    const own = idle.findLast(({ name }) => name === host)
    if (own !== undefined) return own
    const first = idle.find(({ name }) => name === ANYONE)
    const group = this.#group(host, first?.events)
    this.#groups = [...this.#groups.filter((other) => other !== first), group]
    this.#forgetOldest()
    return group
  }

  #several(peer: string, peerName: string | undefined): Group | undefined {
    if (this.#redundancy.kind !== 'several') return undefined
    const host = hostOf(peer)
    const { groups } = this.#redundancy
    const named = groups.find(({ peers }) => peers?.some((name) => name === host || name === peerName))
    const found = named ?? groups.find(({ peers }) => peers === undefined)
    return this.#groups.find(({ name }) => name === found?.name)
  }

  /** Queues of peers that come no more are not kept for ever. */
  #forgetOldest(): void {
    const limit =
      (this.#redundancy.kind === 'perConnection' ? this.#redundancy.maxGroups : undefined) ?? DEFAULT_MAX_GROUPS
    const idle = this.#groups.filter(({ active }) => active === undefined)
    for (const group of idle.slice(0, Math.max(0, this.#groups.length - limit - 1))) {
      this.#abandonedEvents += group.events.length
      this.#groups = this.#groups.filter((other) => other !== group)
    }
  }

  #group(name: string, events: EventQueue = this.#newQueue()): Group {
    return { name, events, active: undefined }
  }
}

/** Name of the queue that the first connection finds. */
const ANYONE = '*'

/** The host of `host:port`, `[v6]:port`. */
export function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
}
