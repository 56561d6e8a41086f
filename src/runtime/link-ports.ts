/**
 * The links of one node: what master, gateway, RTU and IED do alike with their secure links, as one pure piece.
 *
 * Takes the node's inputs, gives back port events (an ASDU came, a message was sealed, a link went up), and gathers the
 * effects the node returns. Also here, because every node owes them: `link.up` and `link.down` events, the books of the
 * key streams once a second, and the orderly end.
 */
import {
  type AsduView,
  cot,
  isControlDirection,
  peekAsdu,
  SecureLink,
  type SecureLinkEffect,
  type SecureLinkInput,
  type SecureLinkOptions,
  typeIdOf,
} from '../protocol/index.ts'
import type { LabEvent, NodeEffect, NodeInput, StreamBooks, Suite, Wake } from './contract.ts'

/** Period of the books, ms. */
const BOOKS_PERIOD_MS = 1000
/** Time a link has to stop in order before the node's last books are made, ms. */
const CLOSE_PATIENCE_MS = 1500
/** Messages that may wait for any of their links to come up; the oldest is lost first. */
const HELD_LIMIT = 1000

/** A message for the first usable of some links. */
export type Outgoing = {
  readonly asdu: Uint8Array
  readonly suite: Suite
  /** 0 is the most urgent. */
  readonly priority: number
  /** Lab time from which the message is worthless, if it has not been sealed by then. */
  readonly expiresAtMs: number
  /** Send it anew if a connection was lost before it was acknowledged: for what may arrive twice without harm. */
  readonly resend?: boolean
}

/** What the links tell their node. `context` is what the node gave with the message. */
export type PortEvent<Context> =
  | { readonly kind: 'asdu'; readonly link: number; readonly asdu: Uint8Array; readonly suite: Suite }
  | {
      readonly kind: 'sent'
      readonly link: number
      readonly context: Context
      readonly suite: Suite
      /** From `send` to sealed, without the key wait. */
      readonly queueMs: number
      readonly keyWaitMs: number
    }
  /** Given up. `wasSent`: it had been sealed and sent, so the peer may have it all the same. */
  | { readonly kind: 'lost'; readonly context: Context; readonly reason: string; readonly wasSent: boolean }
  | { readonly kind: 'up'; readonly link: number }
  | { readonly kind: 'down'; readonly link: number }

type Entry<Context> = {
  readonly links: readonly number[]
  readonly message: Outgoing
  readonly context: Context
  readonly acceptedMs: number
  wasSent: boolean
}

export type DrainOptions = {
  /** The node closes its links when these have gone down, for the centre closes first. */
  readonly after: readonly number[]
  /** It closes them after this time whatever happens. */
  readonly patienceMs: number
}

/** The secure links of a node, by link number. Pure: time comes in with each call. */
export class LinkPorts<Context> {
  readonly #links = new Map<number, SecureLink>()
  readonly #states = new Map<number, 'new' | 'up' | 'stopped' | 'broken'>()
  /** ASDUs of each link, by twice their type and one more for those received. */
  readonly #asduCounts = new Map<number, Map<number, number>>()
  readonly #entries = new Map<number, Entry<Context>>()
  /** Messages none of whose links is up, oldest first. */
  #held: Entry<Context>[] = []
  readonly #events: PortEvent<Context>[] = []
  #effects: NodeEffect[] = []
  #nextId = 0
  /** Links that were given something since the last report: the books of others are as they were. */
  readonly #unreported = new Set<SecureLink>()
  /** Last books of each stream, by twice its channel and one more for the receiving side. */
  readonly #reported = new Map<number, StreamBooks>()
  #booksAtMs: number | undefined
  #drain: (DrainOptions & { readonly untilMs: number }) | undefined
  /** Set by `close`: when the last books are made whatever the links do. */
  #closeUntilMs: number | undefined
  #isFinished = false

  /** RangeError if two links have the same number. */
  constructor(links: readonly SecureLinkOptions[]) {
    for (const options of links) {
      if (this.#links.has(options.link)) throw new RangeError(`link ${options.link} is there twice`)
      this.#links.set(options.link, new SecureLink(options))
      this.#states.set(options.link, 'new')
    }
  }

  get wakeAtMs(): number | undefined {
    let atMs = this.#booksAtMs ?? Number.POSITIVE_INFINITY
    for (const link of this.#links.values()) atMs = Math.min(atMs, link.wakeAtMs ?? Number.POSITIVE_INFINITY)
    for (const entry of this.#held) atMs = Math.min(atMs, entry.message.expiresAtMs)
    if (this.#closeUntilMs !== undefined && !this.#isFinished) atMs = Math.min(atMs, this.#closeUntilMs)
    if (this.#drain !== undefined && this.#closeUntilMs === undefined) atMs = Math.min(atMs, this.#drain.untilMs)
    return atMs === Number.POSITIVE_INFINITY ? undefined : atMs
  }

  isUp(link: number): boolean {
    return this.#links.get(link)?.isUp ?? false
  }

  /** A message waits for any of its links to come up. */
  get isHolding(): boolean {
    return this.#held.length > 0
  }

  /** `drain` or `close` was called: the node takes no new work. */
  get isEnding(): boolean {
    return this.#drain !== undefined || this.#closeUntilMs !== undefined
  }

  /** Hands an input to the links it is for; other inputs are the node's own. */
  take(input: NodeInput | Wake, nowMs: number): void {
    if (input.kind === 'start') {
      this.#booksAtMs = nowMs + BOOKS_PERIOD_MS
      const { marks } = input
      if (marks !== undefined && marks.length > 0) this.event({ name: 'ledger.resumed', marks: marks.length })
      for (const link of this.#links.keys()) this.#feed(link, { kind: 'open', ...(marks && { marks }) }, nowMs)
    } else if (input.kind === 'datagram') {
      this.#feed(input.link, { kind: 'datagram', bytes: input.bytes }, nowMs)
    } else if (input.kind === 'keyBlock') {
      this.#feed(Math.floor(input.block.channel / 2), { kind: 'keyBlock', block: input.block }, nowMs)
      // The links have copied it, and nobody else needs it.
      input.block.bytes.fill(0)
    } else if (input.kind === 'reserved') {
      this.#feed(Math.floor(input.mark.channel / 2), input, nowMs)
    } else if (input.kind === 'wake') {
      for (const [link, { wakeAtMs }] of this.#links) {
        if (wakeAtMs !== undefined && wakeAtMs <= nowMs) this.#feed(link, { kind: 'wake' }, nowMs)
      }
    }
    this.#retryHeld(nowMs)
  }

  /** Sends on the first of `links` that is up; while none is, holds the message until one comes up or it expires. */
  send(links: readonly number[], message: Outgoing, context: Context, nowMs: number): void {
    this.#place({ links, message, context, acceptedMs: nowMs, wasSent: false }, nowMs)
  }

  /** The next thing the links have to tell; the node takes all before it returns from `handle`. */
  next(): PortEvent<Context> | undefined {
    return this.#events.shift()
  }

  /** Adds an effect of the node itself, in order. */
  effect(effect: NodeEffect): void {
    this.#effects.push(effect)
  }

  /** Adds an event of the node. */
  event(event: LabEvent): void {
    this.#effects.push({ kind: 'event', event })
  }

  /** Tells the record that an ASDU goes no further: `hop.noRoute` for want of a link, `hop.lost` for another reason. */
  noteLoss(asdu: Uint8Array, reason: string): void {
    const view = peekAsdu(asdu)
    if (view === undefined) return
    const { ca, ioa, typeId, cot: cause } = view
    this.event({ name: reason === 'noRoute' ? 'hop.noRoute' : 'hop.lost', ca, ioa, typeId, cot: cause, reason })
  }

  /** No new work: what is under way is finished, then the links are closed. */
  drain(options: DrainOptions, nowMs: number): void {
    this.#drain ??= { ...options, untilMs: nowMs + options.patienceMs }
  }

  /** Closes every link in order; the last books and the counters follow when all are down. */
  close(nowMs: number): void {
    if (this.#closeUntilMs !== undefined) return
    this.#closeUntilMs = nowMs + CLOSE_PATIENCE_MS
    for (const link of this.#links.keys()) this.#feed(link, { kind: 'close' }, nowMs)
  }

  /** Ends a `handle`: closes what is due, adds the books, and gives all effects gathered since the last call. */
  finish(nowMs: number): readonly NodeEffect[] {
    const drain = this.#drain
    if (drain !== undefined && this.#closeUntilMs === undefined) {
      // A broken link may come back with work; a stopped one, or one that never was, will not.
      const isCentreGone = drain.after.every((link) => ['new', 'stopped'].includes(this.#states.get(link) ?? 'new'))
      if (isCentreGone || nowMs >= drain.untilMs) this.close(nowMs)
    }
    if (this.#closeUntilMs !== undefined && !this.#isFinished) {
      const areDown = [...this.#states.values()].every((state) => state !== 'up')
      if (areDown || nowMs >= this.#closeUntilMs) this.#end()
    }
    // Frames may still come in after the end; the books follow at once, for nobody waits another second.
    if (this.#isFinished) this.#report()
    else if (this.#booksAtMs !== undefined && nowMs >= this.#booksAtMs) {
      this.#booksAtMs = nowMs + BOOKS_PERIOD_MS
      this.#report()
    }
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #end(): void {
    this.#isFinished = true
    this.#booksAtMs = undefined
    this.#held = []
    this.#report()
    for (const [link, secureLink] of this.#links) {
      const byType = Object.fromEntries(
        [...(this.#asduCounts.get(link) ?? [])].map(([what, count]) => [
          `${what % 2 === 0 ? 'sent' : 'received'}Type${what >> 1}`,
          count,
        ]),
      )
      this.event({ name: 'counters', link, ...secureLink.counters(), ...byType })
    }
  }

  #report(): void {
    for (const link of this.#unreported) {
      for (const books of link.books()) {
        // A stream that has not begun may begin anywhere.
        if (books.assignedSlots === 0) continue
        const key = 2 * books.channel + (books.side === 'sender' ? 0 : 1)
        const last = this.#reported.get(key)
        if (last?.usedSlots === books.usedSlots && last.assignedSlots === books.assignedSlots) continue
        this.#reported.set(key, books)
        this.effect({ kind: 'books', books })
      }
    }
    this.#unreported.clear()
  }

  #place(entry: Entry<Context>, nowMs: number): void {
    const { asdu, suite, priority, expiresAtMs } = entry.message
    const up = entry.links.find((link) => this.isUp(link))
    if (expiresAtMs <= nowMs) this.#lose(entry, 'expired')
    else if (up === undefined) this.#hold(entry)
    else {
      const id = this.#nextId++
      this.#entries.set(id, entry)
      this.#feed(up, { kind: 'message', message: { id, asdu, suite, priority, expiresAtMs } }, nowMs)
    }
  }

  #hold(entry: Entry<Context>): void {
    this.#held.push(entry)
    const limit = this.#isFinished ? 0 : HELD_LIMIT
    const oldest = this.#held.length > limit ? this.#held.shift() : undefined
    if (oldest !== undefined) this.#lose(oldest, 'noRoute')
  }

  /** A link may be usable again without an `up`: a peer that had fallen silent answers. */
  #retryHeld(nowMs: number): void {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = []
    for (const entry of held) {
      if (entry.message.expiresAtMs <= nowMs) this.#lose(entry, 'noRoute')
      else this.#place(entry, nowMs)
    }
  }

  #lose(entry: Entry<Context>, reason: string): void {
    this.noteLoss(entry.message.asdu, reason)
    this.#events.push({ kind: 'lost', context: entry.context, reason, wasSent: entry.wasSent })
  }

  #count(link: number, what: 'sent' | 'received', asdu: Uint8Array): void {
    const counts = this.#asduCounts.get(link) ?? new Map<number, number>()
    if (counts.size === 0) this.#asduCounts.set(link, counts)
    const key = 2 * (asdu[0] ?? 0) + (what === 'sent' ? 0 : 1)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }

  #feed(link: number, input: SecureLinkInput | Wake, nowMs: number): void {
    const secureLink = this.#links.get(link)
    if (secureLink === undefined) return
    this.#unreported.add(secureLink)
    for (const effect of secureLink.handle(input, nowMs)) this.#carryOut(link, effect, nowMs)
  }

  #carryOut(link: number, effect: SecureLinkEffect, nowMs: number): void {
    switch (effect.kind) {
      case 'send':
        this.#effects.push({ kind: 'send', link, bytes: effect.bytes })
        return
      case 'fetchKeys':
        this.#effects.push(effect)
        return
      case 'reserve':
      case 'keyLog':
        this.#effects.push(effect)
        return
      case 'keyRefused': {
        const { channel, slot, slots, reason } = effect
        this.event({ name: 'key.refused', link, channel, slot, slots, reason })
        return
      }
      case 'deliver':
        this.#count(link, 'received', effect.asdu)
        this.#events.push({ kind: 'asdu', link, asdu: effect.asdu, suite: effect.suite })
        return
      case 'sent': {
        const entry = this.#entries.get(effect.id)
        if (entry === undefined) return
        this.#count(link, 'sent', entry.message.asdu)
        const { suite, keyWaitMs } = effect
        const isAgain = entry.wasSent
        entry.wasSent = true
        if (isAgain) return
        const queueMs = nowMs - entry.acceptedMs - keyWaitMs
        this.#events.push({ kind: 'sent', link, context: entry.context, suite, queueMs, keyWaitMs })
        return
      }
      case 'acked':
        this.#entries.delete(effect.id)
        return
      case 'lost':
        this.#onLost(effect.id, effect.reason, nowMs)
        return
      case 'up':
        this.#states.set(link, 'up')
        this.event({ name: 'link.up', link })
        this.#events.push({ kind: 'up', link })
        return
      case 'down':
        this.#states.set(link, effect.reason === 'stopped' ? 'stopped' : 'broken')
        this.event({ name: 'link.down', link, reason: effect.reason })
        this.#events.push({ kind: 'down', link })
    }
  }

  #onLost(id: number, reason: string, nowMs: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    if (reason === 'linkClosed' && entry.message.resend === true) this.#place(entry, nowMs)
    else this.#lose(entry, reason)
  }
}

const C_IC_NA_1 = typeIdOf('C_IC_NA_1')
/** Causes 20 to 36 are interrogated by station or group, 37 to 41 counters. */
const LAST_INTERROGATED = 41

/** What a relayed or answered ASDU is, for its priority. */
export type AsduKind = 'command' | 'confirmation' | 'event' | 'interrogated' | 'cyclic'

/** Priority in the queue of a link by kind of ASDU, 0 the most urgent; a priority by type identification goes before. */
export type Priorities = { readonly [Kind in AsduKind]: number } & {
  readonly byType?: Readonly<Record<number, number>>
}

/** Commands and their confirmations before events, events before data nobody waits for. */
export const DEFAULT_PRIORITIES: Priorities = { command: 1, confirmation: 1, event: 3, interrogated: 5, cyclic: 6 }

/** What an ASDU is, by type identification and cause (IEC 60870-5-101, 7.2.1 and 7.2.3). */
export function kindOfAsdu(view: { readonly typeId: number; readonly cot: number }): AsduKind {
  if (isControlDirection(view)) return 'command'
  // Confirmation and termination of an interrogation keep their place before and after its data.
  if (view.typeId === C_IC_NA_1) return 'interrogated'
  if (isOfControlType(view)) return 'confirmation'
  if (view.cot === cot.periodic || view.cot === cot.backgroundScan) return 'cyclic'
  const isInterrogated = view.cot >= cot.interrogatedByStation && view.cot <= LAST_INTERROGATED
  return isInterrogated ? 'interrogated' : 'event'
}

/** Types of commands, which their confirmations have too. */
function isOfControlType({ typeId }: { readonly typeId: number }): boolean {
  return (typeId >= 45 && typeId <= 69) || (typeId >= 100 && typeId <= 113)
}

/** Priority of an ASDU in a link's queue. */
export function priorityOf(view: { readonly typeId: number; readonly cot: number }, priorities: Priorities): number {
  return priorities.byType?.[view.typeId] ?? priorities[kindOfAsdu(view)]
}

/** The `hop` event: a relayed command or confirmation has left; undefined for what is neither. */
export function hopEvent(
  view: AsduView,
  fromLink: number,
  sent: { readonly link: number; readonly suite: Suite; readonly queueMs: number; readonly keyWaitMs: number },
): LabEvent | undefined {
  if (!isOfControlType(view)) return undefined
  const { ca, ioa, typeId, cot: cause } = view
  const { link: toLink, suite, queueMs, keyWaitMs } = sent
  return { name: 'hop', ca, ioa, typeId, cot: cause, fromLink, toLink, suite, queueMs, keyWaitMs }
}
