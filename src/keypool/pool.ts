import type { KeyBlock, LinkState, PoolBooks, PoolStatus, StockLevel } from '../runtime/contract.ts'
import { joined, owned } from './key-octets.ts'
import { LevelGauge } from './level.ts'
import { OutsideUse } from './outside-use.ts'
import {
  AUTHENTICATION_SLOTS,
  checkPoolOptions,
  isSlot,
  type KeyPoolOptions,
  MAX_WANT_SLOTS,
  SLOT_BYTES,
} from './pool-options.ts'
import type { PoolRecord } from './pool-record.ts'
import { carryHopByHop } from './relay.ts'
import { RelayLinks, type RouteChange } from './relay-links.ts'
import { type Source, Sources } from './sources.ts'
import type { Claim } from './stock.ts'
import { StreamLedger, type StreamRecord, Tally } from './stream.ts'

/** What a want may say besides how far its stream is to reach. */
export type WantDetails = {
  /** So far the key is for the chain of the highest priority, which may draw on its reserve. */
  readonly topUpToSlot?: number
  /** Which quota pays; needed where several name the channel. */
  readonly quota?: string
  /** Lab time from which nobody wants it any more; default never. */
  readonly deadlineMs?: number
}

type Grant = { slots: number; readonly route: readonly number[] | undefined }
type Granted = { readonly slot: number; readonly grants: Grant[] }

/**
 * The key pool: material not yet assigned, and how far each channel's key stream is assigned and used (MODEL: (10), (40)).
 *
 * The books balance after every call, to the bit: generated = used + expired + discarded + reserved + pool (WIRE rule 6).
 * The pool counts material and draws its bytes only when it assigns them, so at rest it holds no key that could leak; a
 * block it has handed over is its caller's.
 *
 * Unknown links and channels and numbers out of range are the caller's faults and throw a RangeError.
 */
export class KeyPool {
  readonly #options: KeyPoolOptions
  readonly #tally = new Tally()
  readonly #localTally = new Tally()
  readonly #relayTally = new Tally()
  readonly #sources: Sources
  readonly #relays: RelayLinks
  readonly #outside = new OutsideUse()
  readonly #streams = new Map<number, StreamLedger>()
  readonly #localChannels = new Set<number>()
  readonly #gauge: LevelGauge
  readonly #changed = new Set<StreamLedger>()
  #totalsChanged = false

  /** Throws with every problem of the options. */
  constructor(options: KeyPoolOptions) {
    checkPoolOptions(options)
    this.#options = options
    this.#sources = new Sources(options)
    this.#relays = new RelayLinks(options, this.#sources)
    const tallies = { pool: this.#tally, local: this.#localTally, relay: this.#relayTally }
    for (const { link, keys } of options.links) {
      for (const channel of [2 * link, 2 * link + 1]) {
        this.#streams.set(channel, new StreamLedger(channel, tallies[keys], this.#changed))
        if (keys === 'local') this.#localChannels.add(channel)
      }
    }
    const { safeBits, thBits, hysteresisRatio = 0.05 } = options
    this.#gauge = new LevelGauge({ safeBits, thBits, reachBits: this.#sources.capSlots * 32, hysteresisRatio })
  }

  /** Adds `bits` (may be a fraction) that a link generated. Gives the blocks that waiting wants now get. */
  generate(link: number, bits: number, tMs: number): KeyBlock[] {
    const feeds = this.#sources.feedsOf(link)
    if (feeds === undefined) throw new RangeError(`NOT_A_POOL_LINK ${link}`)
    if (!(bits >= 0 && bits <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`BAD_BITS ${bits} on link ${link}`)
    const blocks: KeyBlock[] = []
    for (const { source, ratio } of feeds) {
      this.#tally.generatedSlots += source.stock.add(bits * ratio, tMs)
      // Wants first: material that somebody waits for never counts as overflow.
      if (source.queue.size > 0) blocks.push(...this.#serve(source))
      if (this.#relays.drawOnSeveral) blocks.push(...this.#serveOthers(source))
      this.#tally.discardedSlots += source.stock.takeOverflow()
    }
    this.#totalsChanged = true
    this.#gauge.update(this.#sources.slots * 32)
    return blocks
  }

  /**
   * The stream of `channel` is to reach `upToSlot`; asking again for the same costs nothing. Gives what there is now, the
   * rest comes from later calls. Those who wait are served in fair turns.
   */
  want(channel: number, upToSlot: number, details: WantDetails = {}): KeyBlock[] {
    const stream = this.#stream(channel)
    if (!isSlot(upToSlot)) throw new RangeError(`BAD_SLOT ${upToSlot} of channel ${channel}`)
    if (upToSlot - stream.assignedSlots > MAX_WANT_SLOTS)
      throw new RangeError(`TOO_FAR ${upToSlot} of channel ${channel}`)
    const moreSlots = Math.max(0, upToSlot - stream.wantedSlots)
    if (this.#localChannels.has(channel)) return this.#makeLocal(stream, moreSlots)
    const source = this.#sourceOf(channel, details.quota)
    if (source === undefined) throw new RangeError(`NO_QUOTA ${details.quota ?? ''} for channel ${channel}`)
    stream.wantedSlots += moreSlots
    const { topChainChannels } = this.#options.reserve ?? {}
    if (topChainChannels === undefined || topChainChannels.includes(channel)) {
      stream.topWantedSlots = Math.max(stream.topWantedSlots, Math.min(details.topUpToSlot ?? 0, upToSlot))
    }
    source.queue.add(stream, moreSlots, details.deadlineMs)
    if (moreSlots === 0 && details.topUpToSlot === undefined) return []
    const blocks = this.#serve(source)
    this.#gauge.update(this.#sources.slots * 32)
    return blocks
  }

  /** Key of a link for a program outside the lab: so many slots, or none when there is less to be had. It counts as used. */
  drawOutside(link: number, slots: number): Uint8Array | undefined {
    if (!this.#outside.take(link, this.#sources.of(2 * link), slots)) return undefined
    this.#tally.usedSlots += slots
    this.#totalsChanged = true
    this.#gauge.update(this.#sources.slots * 32)
    return owned(this.#options.randomBytes(slots * SLOT_BYTES, link))
  }

  /** What `drawOutside` has given so far, bits; part of what `books` calls used. */
  outsideUseBits(): number {
    return this.#outside.bits
  }

  /** Key of a link that nothing is kept back for, and the most its stock holds, bits. */
  openStock(link: number): { readonly availableBits: number; readonly capBits: number } {
    const { openSlots = 0, capSlots = 0 } = this.#sources.of(2 * link)?.stock ?? {}
    return { availableBits: openSlots * 32, capBits: capSlots * 32 }
  }

  /** Whether the channel may draw on the quota of that name (undefined: on the one it draws on by default). */
  mayDrawOn(channel: number, quota: string | undefined): boolean {
    return this.#localChannels.has(channel) || this.#sourceOf(channel, quota) !== undefined
  }

  /** Nobody wants more of the stream than it has. */
  withdraw(channel: number): void {
    const stream = this.#stream(channel)
    for (const { queue } of this.#sources) queue.remove(channel)
    stream.wantedSlots = stream.assignedSlots
    stream.topWantedSlots = Math.min(stream.topWantedSlots, stream.wantedSlots)
  }

  /** Withdraws the wants whose deadline has come; gives their channels. */
  withdrawOverdue(tMs: number): number[] {
    const channels: number[] = []
    for (const { queue } of this.#sources) {
      if (queue.size === 0 || (queue.nextDeadlineMs ?? Number.POSITIVE_INFINITY) > tMs) continue
      for (const { stream, slots, deadlineMs } of [...queue]) {
        if (deadlineMs === undefined || deadlineMs > tMs) continue
        queue.remove(stream.channel)
        stream.wantedSlots -= slots
        stream.topWantedSlots = Math.min(stream.topWantedSlots, stream.wantedSlots)
        channels.push(stream.channel)
      }
    }
    return channels
  }

  /** Lab time of the earliest deadline of a want that waits. */
  get nextDeadlineMs(): number | undefined {
    return this.#sources.nextDeadlineMs
  }

  /**
   * The sender has used its stream up to `usedSlots`, of which it has discarded `discardedSlots` since its process began.
   * False, and nothing changes, if so much was never assigned.
   */
  reportUse(channel: number, usedSlots: number, discardedSlots = 0): boolean {
    const stream = this.#stream(channel)
    if (!isSlot(usedSlots) || usedSlots > stream.assignedSlots) return false
    if (!isSlot(discardedSlots) || discardedSlots > usedSlots) return false
    stream.use(usedSlots, discardedSlots)
    return true
  }

  /** The sender's process is gone, and with it what is reserved below `upToSlot`. False if so much was never assigned. */
  discard(channel: number, upToSlot: number): boolean {
    const stream = this.#stream(channel)
    if (!isSlot(upToSlot) || upToSlot > stream.assignedSlots) return false
    stream.discard(upToSlot)
    return true
  }

  /** Lets the stream go on at `slot`, because an end holds an earlier run's key up to there. Reserved slots are discarded. */
  resume(channel: number, slot: number): void {
    const stream = this.#stream(channel)
    if (!isSlot(slot) || slot <= stream.assignedSlots) return
    stream.discard(stream.assignedSlots)
    stream.skipTo(slot)
    let tooManySlots = -(stream.wantedSlots - stream.assignedSlots)
    for (const { queue } of this.#sources) tooManySlots += queue.slotsOf(channel)
    for (const { queue } of this.#sources) tooManySlots -= queue.shrink(channel, tooManySlots)
  }

  /** Lets the stream go on at `slot`; what is reserved stays so. The numbers between never stand for key. */
  resumeBeyond(channel: number, slot: number): void {
    this.#stream(channel).skipTo(slot)
  }

  /** Expires pool material older than `expiryMs` at `tMs`. Assigned material does not expire. */
  expire(tMs: number): void {
    const { expiryMs } = this.#options
    if (expiryMs === undefined) return
    for (const { stock } of this.#sources) {
      const slots = stock.takeOlderThan(tMs - expiryMs)
      this.#tally.expiredSlots += slots
      if (slots > 0) this.#totalsChanged = true
    }
    this.#gauge.update(this.#sources.slots * 32)
  }

  /** A link broke or came back: relayed key goes another way, and what waited for a way may have one. */
  setLinkUp(link: number, up: boolean): KeyBlock[] {
    if (!this.#relays.setLinkUp(link, up)) return []
    const blocks: KeyBlock[] = []
    for (const source of this.#sources) blocks.push(...this.#serve(source))
    this.#gauge.update(this.#sources.slots * 32)
    return blocks
  }

  /** Relay links whose key took another path since this was last asked. */
  takeRouteChanges(): readonly RouteChange[] {
    return this.#relays.takeRouteChanges()
  }

  /** Length of the channel's stream: slots below it are assigned. */
  assignedSlots(channel: number): number {
    return this.#stream(channel).assignedSlots
  }

  /** Where the channel's stream is to reach, all wants taken together. */
  wantedSlots(channel: number): number {
    return this.#stream(channel).wantedSlots
  }

  get level(): StockLevel {
    return this.#gauge.level
  }

  /** Key in the stock that a link draws on, bits; 0 for a link that draws on none of its own. */
  stockBits(link: number): number {
    return (this.#sources.of(2 * link)?.stock.slots ?? 0) * 32
  }

  books(): PoolBooks {
    return this.#tally.books(this.#sources.slots)
  }

  /** Books of the links with `keys: local`; their pool is always empty. */
  localBooks(): PoolBooks {
    return this.#localTally.books(0)
  }

  /** Books of the key that relays carried: generated when carried. What the hops spent is in `books`, as used. */
  relayBooks(): PoolBooks {
    return this.#relayTally.books(0)
  }

  /** Key that each pool link spent on carrying relayed key, bits; part of what `books` calls used. */
  relayUseBits(): ReadonlyMap<number, number> {
    return this.#relays.useBits()
  }

  /** What became of each channel's slots. */
  streams(): StreamRecord[] {
    return [...this.#streams.values()].map((stream) => stream.record())
  }

  status(tMs: number, links: readonly LinkState[]): PoolStatus {
    const { safeBits, thBits, capBits } = this.#options
    return { tMs, level: this.level, safeBits, thBits, capBits, books: this.books(), links }
  }

  /** All totals, and the streams that changed since this was last asked; undefined if nothing has. */
  takeChanges(): PoolRecord | undefined {
    if (this.#changed.size === 0 && !this.#totalsChanged) return undefined
    const streams = [...this.#changed].map((stream) => stream.record())
    this.#changed.clear()
    this.#totalsChanged = false
    const [pool, local, relay] = [this.#tally.record(), this.#localTally.record(), this.#relayTally.record()]
    const outsideUse = this.#outside.takeChanges()
    const relayUse = this.#relays.takeUseChanges()
    return { pool, local, relay, relayUse, ...(outsideUse.length > 0 && { outsideUse }), streams }
  }

  /** Takes up an earlier life's books, before anything else happens. What was in its pool is discarded. */
  restore(record: PoolRecord): void {
    for (const stream of record.streams) this.#stream(stream.channel).restore(stream)
    this.#tally.restore(record.pool)
    this.#localTally.restore(record.local)
    this.#relayTally.restore(record.relay)
    this.#relays.restoreUse(record.relayUse)
    this.#outside.restore(record.outsideUse ?? [])
    this.#totalsChanged = true
  }

  #stream(channel: number): StreamLedger {
    const stream = this.#streams.get(channel)
    if (stream === undefined) throw new RangeError(`UNKNOWN_CHANNEL ${channel}`)
    return stream
  }

  #sourceOf(channel: number, quota: string | undefined): Source | undefined {
    return this.#sources.of(channel, quota) ?? this.#relays.sourceOf(channel >> 1)
  }

  #makeLocal(stream: StreamLedger, slots: number): KeyBlock[] {
    if (slots === 0) return []
    stream.wantedSlots += slots
    this.#localTally.generatedSlots += slots
    const slot = stream.assignedSlots
    stream.assign(slots)
    return [{ channel: stream.channel, slot, bytes: this.#localBytes(slots * SLOT_BYTES, stream.channel >> 1) }]
  }

  #serve(source: Source): KeyBlock[] {
    if (source.queue.size === 0) return []
    const granted = new Map<StreamLedger, Granted>()
    source.queue.serve((stream, slots) => {
      const slot = stream.assignedSlots
      const grant = this.#grant(source, stream, slots)
      if (grant.slots === 0) return 0
      const known = granted.get(stream) ?? { slot, grants: [] }
      const last = known.grants.at(-1)
      if (last !== undefined && String(last.route) === String(grant.route)) last.slots += grant.slots
      else known.grants.push(grant)
      granted.set(stream, known)
      stream.assign(grant.slots)
      return grant.slots
    })
    this.#relays.rehome(source)
    return [...granted].map(([stream, { slot, grants }]) => ({
      channel: stream.channel,
      slot,
      bytes: joined(grants.map((grant) => this.#draw(stream.channel >> 1, grant))),
    }))
  }

  /** A relay that waits at one stock may have been waiting for another one. */
  #serveOthers(served: Source): KeyBlock[] {
    const blocks: KeyBlock[] = []
    for (const source of this.#sources) {
      if (source !== served && source.queue.size > 0) blocks.push(...this.#serve(source))
    }
    return blocks
  }

  #grant(source: Source, stream: StreamLedger, slots: number): Grant {
    const claim: Claim = {
      slots,
      authenticationSlots: AUTHENTICATION_SLOTS - stream.unspentSlots,
      topChainSlots: stream.topWantedSlots - stream.assignedSlots,
    }
    const link = stream.channel >> 1
    if (!this.#relays.has(link)) return { slots: source.stock.take(claim), route: undefined }
    const carried = this.#relays.take(link, source, claim)
    if (carried === undefined) return { slots: 0, route: undefined }
    this.#tally.usedSlots += carried.slots * carried.route.length
    this.#relayTally.generatedSlots += carried.slots
    return carried
  }

  /** The bytes of a grant: key of the link's own QKD, or new key carried over those of its route. */
  #draw(link: number, { slots, route }: Grant): Uint8Array {
    const sizeBytes = slots * SLOT_BYTES
    if (route === undefined) return owned(this.#options.randomBytes(sizeBytes, link))
    const key = this.#localBytes(sizeBytes, link)
    const pads = route.map((hop) => owned(this.#options.randomBytes(sizeBytes, hop)))
    const carried = carryHopByHop(key, pads)
    key.fill(0)
    return carried
  }

  #localBytes(sizeBytes: number, link: number): Uint8Array {
    return owned(this.#options.localBytes?.(sizeBytes) ?? this.#options.randomBytes(sizeBytes, link))
  }
}
