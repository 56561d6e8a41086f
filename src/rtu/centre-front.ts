import { type AsduView, peekAsdu } from '../protocol/index.ts'
import type { Suite } from '../runtime/contract.ts'
import { type LinkPorts, type Priorities, priorityOf } from '../runtime/link-ports.ts'
import type { StationCore } from './station/core.ts'
import type { Order } from './station/desk.ts'
import type { QueuedEvent } from './station/event-queue.ts'
import { Outbox, type Outgoing, type Urgency } from './station/outbox.ts'

/** The centre is one controlling station, whichever link it speaks on. TCP connections count from 1. */
export const CENTRE = 0
/** Suite of what nobody has asked for in another. */
const OWN_SUITE: Suite = 'aes'
/** Events handed to a link and not sealed yet. Few, so that they go another way soon when the link fails. */
const MAX_UNSEALED_EVENTS = 12

/** A link that has given something up is short of key or has a full queue: what can wait does so for this time, ms. */
const PAUSE_MS = 250
/** Place of the originator address, which says for whom an ASDU is (IEC 60870-5-101, 7.2.3). */
const OA_AT = 3

/** What the RTU remembers of a message that it gave to a link. */
export type PortContext =
  /** To an IED. */
  | { readonly kind: 'command'; readonly order: Order }
  /** Of an IED, to the centre. */
  | { readonly kind: 'answer'; readonly view: AsduView; readonly fromLink: number }
  | { readonly kind: 'event'; readonly events: readonly QueuedEvent[] }
  | { readonly kind: 'page' }
  | undefined

export type CentreOptions = {
  readonly core: StationCore
  readonly ports: LinkPorts<PortContext>
  readonly upLinks: readonly number[]
  /** Originator addresses of several centres. */
  readonly centres?: readonly number[] | undefined
  readonly holdMs: number
  readonly priorities: Priorities
}

/**
 * Carries the station's ASDUs over the secure links towards the centre: the first that is up, and an answer first of all
 * over the link that its order came from. Events that a link gives up go back into the queue.
 */
export class CentreFront {
  readonly #options: CentreOptions
  readonly #outbox: Outbox
  #unsealedEvents = 0
  /** One page at a time, so that its values are those of the moment. */
  #isPageUnsealed = false
  #pagePriority = 0
  #givenUp: QueuedEvent[] = []
  #pausedUntilMs: number | undefined

  constructor(options: CentreOptions) {
    this.#options = options
    const { core } = options
    this.#outbox = new Outbox({ id: CENTRE, peer: 'centre' })
    core.connect(this.#outbox)
    core.startAlone(this.#outbox, 'centre')
  }

  /** When there may be room again. */
  get wakeAtMs(): number {
    return this.#pausedUntilMs ?? Number.POSITIVE_INFINITY
  }

  /** Takes what came in on one of the links. */
  receive(from: { readonly link: number; readonly asdu: Uint8Array; readonly suite: Suite }, nowMs: number): void {
    const { link, suite, asdu: octets } = from
    this.#options.core.receive(this.#outbox, { octets, way: { link, suite } }, nowMs)
  }

  /** Sends what there is to be sent; says whether that was anything. */
  pump(nowMs: number): boolean {
    this.#outbox.giveBack(this.#givenUp)
    this.#givenUp = []
    if (this.#pausedUntilMs !== undefined && nowMs >= this.#pausedUntilMs) this.#pausedUntilMs = undefined
    const { ports, upLinks } = this.#options
    const isUp = upLinks.some((link) => ports.isUp(link))
    let isAny = false
    for (let next = this.#next(isUp); next !== undefined; next = this.#next(isUp)) {
      this.#sendOwn(next, nowMs)
      isAny = true
    }
    return isAny
  }

  /** Sends an ASDU, which is an IED's, as it is. */
  relay(
    octets: Uint8Array,
    how: { readonly suite: Suite; readonly link?: number | undefined },
    context: PortContext,
    nowMs: number,
  ): void {
    const view = peekAsdu(octets)
    if (view === undefined) return
    this.#send(octets, { ...how, priority: priorityOf(view, this.#options.priorities) }, context, nowMs)
  }

  onSent(context: PortContext): void {
    if (context?.kind === 'event') this.#unsealedEvents -= 1
    else if (context?.kind === 'page') this.#isPageUnsealed = false
  }

  onLost(context: PortContext, wasSent: boolean, nowMs: number): void {
    if (!wasSent) this.onSent(context)
    if (context?.kind !== 'event' && context?.kind !== 'page') return
    this.#pausedUntilMs = nowMs + PAUSE_MS
    if (context.kind === 'event' && !this.#options.ports.isEnding) this.#givenUp.push(...context.events)
  }

  #next(isUp: boolean): Outgoing | undefined {
    const mayBeEvent = isUp && this.#pausedUntilMs === undefined && this.#unsealedEvents < MAX_UNSEALED_EVENTS
    const urgency: Urgency = !mayBeEvent ? 'answers' : this.#isPageUnsealed ? 'events' : 'all'
    return this.#outbox.next(urgency)
  }

  #sendOwn({ kind, octets, way, events }: Outgoing, nowMs: number): void {
    const view = peekAsdu(octets)
    if (view === undefined) return
    const own = priorityOf(view, this.#options.priorities)
    // A newer value may not overtake the older one in a page.
    const priority = kind === 'event' && this.#isPageUnsealed ? Math.max(own, this.#pagePriority) : own
    if (kind === 'event') this.#unsealedEvents += 1
    else if (kind === 'page') {
      this.#isPageUnsealed = true
      this.#pagePriority = own
    }
    const context: PortContext = kind === 'event' ? { kind, events } : kind === 'page' ? { kind } : undefined
    this.#send(octets, { suite: way?.suite ?? OWN_SUITE, link: way?.link, priority }, context, nowMs)
  }

  #send(
    asdu: Uint8Array,
    how: { readonly suite: Suite; readonly link?: number | undefined; readonly priority: number },
    context: PortContext,
    nowMs: number,
  ): void {
    const { ports, upLinks, holdMs, centres = [] } = this.#options
    const { suite, link, priority } = how
    const links = link === undefined ? upLinks : [link, ...upLinks.filter((other) => other !== link)]
    // All of it is in monitor direction: it may arrive twice without harm.
    const message = { suite, priority, expiresAtMs: nowMs + holdMs, resend: true }
    // What answers nobody is for every centre; what becomes of the first copy stands for all.
    const [first, ...others] = asdu[OA_AT] === 0 ? centres : []
    ports.send(links, { ...message, asdu: first === undefined ? asdu : addressed(asdu, first) }, context, nowMs)
    for (const oa of others) ports.send(links, { ...message, asdu: addressed(asdu, oa) }, undefined, nowMs)
  }
}

function addressed(asdu: Uint8Array, oa: number): Uint8Array {
  const copy = asdu.slice()
  copy[OA_AT] = oa
  return copy
}
