import type { KeyBlock, LabEvent, LinkState, Node, PoolBooks, PoolStatus, Wake } from '../runtime/contract.ts'
import { MarkedJournal } from './marked-journal.ts'
import { Outbox } from './outbox.ts'
import { KeyPool } from './pool.ts'
import { isSlot, MAX_WANT_SLOTS } from './pool-options.ts'
import type {
  KeyServerEffect,
  KeyServerInput,
  KeyServerOptions,
  Refusal,
  StreamPosition,
  UseReport,
  Want,
} from './server-contract.ts'
import { empty, event, streamEvent, via } from './server-effects.ts'
import type { StreamRecord } from './stream.ts'

/** The key server: a key pool and the two ends of each link, the same on gRPC and in virtual time. A client is a node id. */
export class KeyServerNode implements Node<KeyServerInput, KeyServerEffect> {
  wakeAtMs: number | undefined
  readonly #options: KeyServerOptions
  readonly #pool: KeyPool
  readonly #maxBacklogSlots: number
  readonly #statusPeriodMs: number
  readonly #eventPeriodMs: number
  readonly #hasRelays: boolean
  readonly #outboxes = new Map<number, readonly [Outbox, Outbox]>()
  readonly #linkStates = new Map<number, LinkState>()
  readonly #journal: MarkedJournal | undefined
  /** Of each channel, the slot before which its sender is to use nothing. */
  readonly #skipTo = new Map<number, number>()
  #restored: LabEvent | undefined
  #statusAtMs = 0
  #eventAtMs = 0
  #publishedLevel: string | undefined

  /** Throws with every problem of the options. */
  constructor(options: KeyServerOptions) {
    const { maxBacklogSlots = 262_144, statusPeriodMs = 100, eventPeriodMs = 1000, links } = options
    if (!(statusPeriodMs > 0 && eventPeriodMs > 0)) throw new RangeError('BAD_POOL_OPTIONS: periods are not positive')
    this.#options = options
    this.#pool = new KeyPool(options)
    this.#maxBacklogSlots = maxBacklogSlots
    this.#statusPeriodMs = statusPeriodMs
    this.#eventPeriodMs = eventPeriodMs
    this.#hasRelays = links.some(({ keys }) => keys === 'relay')
    for (const { link, ends } of links) {
      this.#linkStates.set(link, { link, up: true, rateBps: 0, delayMs: 0 })
      for (const direction of [0, 1]) {
        const [first, second] = ends
        const outboxes = [new Outbox(first, direction === 0), new Outbox(second, direction === 1)] as const
        this.#outboxes.set(2 * link + direction, outboxes)
      }
    }
    const { journal } = options
    this.#journal = journal && new MarkedJournal(journal, () => this.#assigned())
    this.#restore()
  }

  handle(input: KeyServerInput | Wake, nowMs: number): readonly KeyServerEffect[] {
    const effects = this.#take(input, nowMs)
    for (const channel of this.#pool.withdrawOverdue(nowMs)) {
      const sender = this.#outboxes.get(channel)?.find(({ isSender }) => isSender)
      if (sender !== undefined) effects.push({ kind: 'refuse', client: sender.client, reason: 'overdue' })
    }
    for (const { link, path } of this.#pool.takeRouteChanges())
      effects.push(event('relay.route', { link, ...via(path) }))
    // Nothing is made known before it is written down.
    this.#writeDown(nowMs)
    if (this.wakeAtMs === undefined) return effects
    const levelChanged = this.#pool.level !== this.#publishedLevel
    const drained = input.kind === 'drain'
    if (levelChanged || drained || nowMs >= this.#statusAtMs) effects.push(this.#publish(nowMs))
    if (drained) effects.push(...this.#pool.streams().map(streamEvent))
    if (drained || nowMs >= this.#eventAtMs) effects.push(this.#record(nowMs))
    const deadlineMs = this.#pool.nextDeadlineMs ?? Number.POSITIVE_INFINITY
    this.wakeAtMs = Math.min(this.#statusAtMs, this.#eventAtMs, deadlineMs)
    return effects
  }

  status(tMs: number): PoolStatus {
    return this.#pool.status(tMs, [...this.#linkStates.values()])
  }

  /** Key in the stock that a link draws on, bits. */
  stockBits(link: number): number {
    return this.#pool.stockBits(link)
  }

  books(): PoolBooks {
    return this.#pool.books()
  }

  /** Key of a link that programs outside the lab may have, and the most its stock holds, bits. */
  openStock(link: number): { readonly availableBits: number; readonly capBits: number } {
    return this.#pool.openStock(link)
  }

  /** So many slots of a link's key for a program outside the lab, written down before they are given; undefined: too few. */
  drawOutside(link: number, slots: number, nowMs: number): Uint8Array | undefined {
    const bytes = this.#pool.drawOutside(link, slots)
    this.#writeDown(nowMs)
    return bytes
  }

  /** Books of the links with `keys: local`. */
  localBooks(): PoolBooks {
    return this.#pool.localBooks()
  }

  /** Books of the links with `keys: relay`. What the hops spent on them is in `books`, as used. */
  relayBooks(): PoolBooks {
    return this.#pool.relayBooks()
  }

  /** Key that each pool link has spent on relayed key, bits. */
  relayUseBits(): ReadonlyMap<number, number> {
    return this.#pool.relayUseBits()
  }

  /** What became of each channel's slots. */
  streams(): readonly StreamRecord[] {
    return this.#pool.streams()
  }

  /** How far the stream is assigned, and wanted; undefined if there is no such channel. */
  stream(channel: number): { readonly assignedSlots: number; readonly wantedSlots: number } | undefined {
    if (!this.#outboxes.has(channel)) return undefined
    return { assignedSlots: this.#pool.assignedSlots(channel), wantedSlots: this.#pool.wantedSlots(channel) }
  }

  /** Copies of the blocks, at most so many, that wait for `client` on `channel` from `fromSlot` on. */
  give(client: string, channel: number, fromSlot: number, maxBlocks?: number): KeyBlock[] {
    return this.#outbox(client, channel)?.give(fromSlot, maxBlocks) ?? []
  }

  /** Why `client` gets no key of `link`, or undefined if it is one of its ends. */
  linkRefusal(client: string, link: number): 'unknownLink' | 'notEnd' | undefined {
    if (!this.#outboxes.has(2 * link)) return 'unknownLink'
    return this.#outbox(client, 2 * link) === undefined ? 'notEnd' : undefined
  }

  /** Why `client` may not subscribe to `link` with what it has, or undefined if it may. */
  subscribeRefusal(client: string, link: number, have: readonly StreamPosition[] = []): Refusal | undefined {
    const stranger = this.linkRefusal(client, link)
    if (stranger !== undefined || this.#options.journal === undefined) return stranger
    const isAhead = have.some(({ channel, slot }) => channel >> 1 === link && slot > this.#pool.assignedSlots(channel))
    return isAhead ? 'aheadOfJournal' : undefined
  }

  /** Why `client` may not want `upToSlot` of `channel`, or undefined if it may. */
  refusal(client: string, channel: number, upToSlot: number, quota?: string): Refusal | undefined {
    const stranger = this.linkRefusal(client, Math.floor(channel / 2))
    if (stranger !== undefined) return stranger
    if (!this.#outbox(client, channel)?.isSender) return 'notSender'
    if (!isSlot(upToSlot)) return 'badSlot'
    if (!this.#pool.mayDrawOn(channel, quota)) return 'unknownQuota'
    const aheadSlots = upToSlot - this.#pool.assignedSlots(channel)
    if (aheadSlots > MAX_WANT_SLOTS) return 'tooFar'
    if (aheadSlots <= 0) return undefined
    const behind = this.#outboxes
      .get(channel)
      ?.some((outbox) => outbox.backlogSlots + aheadSlots > this.#maxBacklogSlots)
    return behind ? 'peerBehind' : undefined
  }

  #take(input: KeyServerInput | Wake, nowMs: number): KeyServerEffect[] {
    switch (input.kind) {
      case 'start':
        this.#statusAtMs = nowMs
        this.#eventAtMs = nowMs
        this.wakeAtMs = nowMs
        return this.#restored === undefined ? [] : [{ kind: 'event', event: this.#restored }]
      case 'generated':
        this.#pool.expire(nowMs)
        return this.#deliver(this.#pool.generate(input.link, input.bits, nowMs))
      case 'linkState':
        return this.#setLinkState(input.state)
      case 'want':
        return this.#want(input)
      case 'wants':
        return input.wants.flatMap((want) => this.#want(want))
      case 'report':
        return this.#report(input)
      case 'several':
        return input.inputs.flatMap((one) => this.#take(one, nowMs))
      case 'subscribe':
        return this.#subscribe(input)
      case 'gone':
        for (const [channel, pair] of this.#outboxes) this.#leave(channel, pair, input.client)
        return []
      case 'wake':
      case 'drain':
        this.#pool.expire(nowMs)
        return []
    }
  }

  #want(want: Want): KeyServerEffect[] {
    const { client, channel, upToSlot, quota } = want
    const reason = this.refusal(client, channel, upToSlot, quota)
    if (reason !== undefined) return [{ kind: 'refuse', client, reason }]
    return this.#deliver(this.#pool.want(channel, upToSlot, want))
  }

  #deliver(blocks: readonly KeyBlock[]): KeyServerEffect[] {
    const effects: KeyServerEffect[] = []
    for (const block of blocks) {
      for (const outbox of this.#outboxes.get(block.channel) ?? []) {
        const sent = outbox.add({ channel: block.channel, slot: block.slot, bytes: block.bytes.slice() })
        if (sent !== undefined) effects.push({ kind: 'blocks', client: outbox.client, block: sent })
      }
      block.bytes.fill(0)
    }
    return effects
  }

  #report({ client, channel, usedSlots, discardedSlots = 0, heldSlots = 0 }: UseReport): KeyServerEffect[] {
    if (client === undefined) {
      if (this.#outboxes.has(channel)) this.#pool.reportUse(channel, usedSlots, discardedSlots)
      return []
    }
    const outbox = this.#outbox(client, channel)
    if (outbox === undefined) {
      return [{ kind: 'refuse', client, reason: this.linkRefusal(client, Math.floor(channel / 2)) ?? 'unknownLink' }]
    }
    // An end cannot hold or have used what it was never given.
    if (![usedSlots, heldSlots, discardedSlots].every((slot) => isSlot(slot) && slot <= outbox.sentSlots)) {
      return [{ kind: 'refuse', client, reason: 'badSlot' }]
    }
    if (outbox.isSender) {
      this.#pool.reportUse(channel, usedSlots, discardedSlots)
      if (usedSlots >= (this.#skipTo.get(channel) ?? 0)) this.#skipTo.delete(channel)
    }
    outbox.drop(Math.max(heldSlots, usedSlots))
    return []
  }

  #subscribe(input: KeyServerInput & { kind: 'subscribe' }): KeyServerEffect[] {
    const { client, links, instance, have } = input
    const effects: KeyServerEffect[] = []
    for (const link of new Set(links)) {
      const reason = this.subscribeRefusal(client, link, have)
      if (reason !== undefined) {
        effects.push({ kind: 'refuse', client, reason })
        continue
      }
      for (const channel of [2 * link, 2 * link + 1]) {
        const outbox = this.#outbox(client, channel)
        if (outbox === undefined) continue
        const claimed = have?.find((position) => position.channel === channel)?.slot ?? 0
        const heldSlots = isSlot(claimed) ? claimed : 0
        effects.push(...this.#meet(outbox, channel, instance, heldSlots))
        outbox.subscription = { acknowledges: have !== undefined }
        const blocks = outbox.give(heldSlots)
        // An empty block tells an end that has lost its copy where the stream goes on.
        if (blocks.length === 0 && outbox.sentSlots > heldSlots) blocks.push(empty(channel, outbox.sentSlots))
        for (const block of blocks) effects.push({ kind: 'blocks', client, block })
        const skipTo = outbox.isSender ? this.#skipTo.get(channel) : undefined
        if (skipTo !== undefined) effects.push({ kind: 'blocks', client, block: empty(channel, skipTo) })
        if (have === undefined) outbox.drop(outbox.sentSlots)
      }
    }
    return effects
  }

  /** Settles what the end's process still may get, and what of the stream is lost: see `subscribe`. */
  #meet(outbox: Outbox, channel: number, instance: string | undefined, heldSlots: number): KeyServerEffect[] {
    const isFirst = this.#restored !== undefined && outbox.instance === undefined
    const isNew = instance !== undefined && instance !== outbox.instance
    outbox.instance = instance
    const effects: KeyServerEffect[] = []
    // What the end was given, has no more, and cannot be given again.
    const lostSlots = isFirst || (isNew && outbox.isSender) ? outbox.sentSlots : isNew ? outbox.heldSlots : 0
    if (heldSlots < lostSlots && !outbox.isSender) effects.push(...this.#skip(channel, lostSlots))
    if (heldSlots < lostSlots && outbox.isSender) {
      outbox.forget(lostSlots)
      // A process that holds some of its stream will tell itself what it leaves out.
      if (heldSlots === 0) this.#pool.discard(channel, lostSlots)
    }
    outbox.drop(heldSlots)
    if (this.#options.journal === undefined) this.#pool.resume(channel, heldSlots)
    return effects
  }

  /** The other end has lost its copy: the sender is to use nothing before `slot`. */
  #skip(channel: number, slot: number): KeyServerEffect[] {
    this.#skipTo.set(channel, slot)
    const sender = this.#outboxes.get(channel)?.find(({ isSender }) => isSender)
    if (sender?.subscription === undefined) return []
    return [{ kind: 'blocks', client: sender.client, block: empty(channel, slot) }]
  }

  #leave(channel: number, pair: readonly [Outbox, Outbox], client: string): void {
    for (const outbox of pair) {
      if (outbox.client !== client) continue
      outbox.subscription = undefined
      if (outbox.isSender) this.#pool.withdraw(channel)
    }
  }

  #setLinkState(state: LinkState): KeyServerEffect[] {
    const before = this.#linkStates.get(state.link)
    if (before === undefined) throw new RangeError(`UNKNOWN_LINK ${state.link}`)
    this.#linkStates.set(state.link, state)
    if (before.up === state.up) return []
    const blocks = this.#deliver(this.#pool.setLinkUp(state.link, state.up))
    return [event(state.up ? 'qkd.repair' : 'qkd.break', { link: state.link }), ...blocks]
  }

  /** Goes on from the journal of an earlier life, whose pool is lost. */
  #restore(): void {
    const { journal } = this.#options
    if (journal?.past === undefined) return
    const { entry, exact } = journal.past
    const { generatedSlots, usedSlots, expiredSlots, discardedSlots } = entry.pool
    this.#pool.restore(entry)
    for (const [channel, slot] of entry.marks) {
      this.#journal?.restore(channel, slot)
      // How far a stream really was assigned is not known: it goes on where nothing was.
      if (!exact) this.#pool.resumeBeyond(channel, slot)
    }
    for (const [channel, pair] of this.#outboxes) {
      for (const outbox of pair) outbox.restore(this.#pool.assignedSlots(channel))
    }
    const lostBits = this.#pool.books().discardedBits - discardedSlots * 32
    const generatedBits = generatedSlots * 32
    this.#restored = { name: 'keyserver.restored', exact, generatedBits, lostBits }
    this.#restored = { ...this.#restored, usedBits: usedSlots * 32, expiredBits: expiredSlots * 32 }
    this.#writeDown(0)
  }

  #writeDown(nowMs: number): void {
    const changes = this.#journal && this.#pool.takeChanges()
    if (changes !== undefined) this.#journal?.write(changes, nowMs)
  }

  *#assigned(): Iterable<readonly [channel: number, assignedSlots: number]> {
    for (const channel of this.#outboxes.keys()) yield [channel, this.#pool.assignedSlots(channel)]
  }

  #publish(nowMs: number): KeyServerEffect {
    this.#publishedLevel = this.#pool.level
    if (nowMs >= this.#statusAtMs) this.#statusAtMs = nextAfter(this.#statusAtMs, this.#statusPeriodMs, nowMs)
    return { kind: 'status', status: this.status(nowMs) }
  }

  #record(nowMs: number): KeyServerEffect {
    if (nowMs >= this.#eventAtMs) this.#eventAtMs = nextAfter(this.#eventAtMs, this.#eventPeriodMs, nowMs)
    const relayed = [...this.#pool.relayUseBits().values()].reduce((sum, bits) => sum + bits, 0)
    const relay = this.#hasRelays ? { relayUsedBits: relayed } : {}
    const outsideUsedBits = this.#pool.outsideUseBits()
    const outside = outsideUsedBits > 0 ? { outsideUsedBits } : {}
    return event('pool', { level: this.#pool.level, ...this.#pool.books(), ...relay, ...outside })
  }

  #outbox(client: string, channel: number): Outbox | undefined {
    return this.#outboxes.get(channel)?.find((outbox) => outbox.client === client)
  }
}

/** The first point of the grid `fromMs`, `fromMs + periodMs`, ... after `nowMs`. */
function nextAfter(fromMs: number, periodMs: number, nowMs: number): number {
  return fromMs + (Math.floor((nowMs - fromMs) / periodMs) + 1) * periodMs
}
