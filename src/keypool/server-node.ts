import type { KeyBlock, LabEvent, LinkState, Node, PoolBooks, PoolStatus, Wake } from '../runtime/contract.ts'
import { Outbox } from './outbox.ts'
import { isSlot, KeyPool, type KeyPoolOptions, MAX_WANT_SLOTS } from './pool.ts'

export type KeyServerOptions = Omit<KeyPoolOptions, 'links'> & {
  /** Each link with the node ids of its first and second end; channel 2 x link is sent on by the first. */
  readonly links: readonly {
    readonly link: number
    readonly ends: readonly [string, string]
    readonly keys: 'pool' | 'local'
  }[]
  /** How often the pool's state is published; default 100 ms. */
  readonly statusPeriodMs?: number
  /** How often the `pool` event is recorded; default 1000 ms. */
  readonly eventPeriodMs?: number
  /** Nothing more is assigned to a channel when an end has not taken this much of it; default 262,144 slots (1 MiB). */
  readonly maxBacklogSlots?: number
}

/** How far an end's copy of a stream reaches. */
export type StreamPosition = { readonly channel: number; readonly slot: number }

export type KeyServerInput =
  | { readonly kind: 'start' }
  /** A link generated `bits` since the last time. */
  | { readonly kind: 'generated'; readonly link: number; readonly bits: number }
  | { readonly kind: 'linkState'; readonly state: LinkState }
  /** `client`, the channel's sender, wants the stream to reach `upToSlot`. Idempotent. */
  | { readonly kind: 'want'; readonly client: string; readonly channel: number; readonly upToSlot: number }
  /**
   * The stream is used up to `usedSlots`. With a `client`, only its sender's word on use counts, and either end says with
   * `heldSlots` what it has safely received. Without one it is the sender's own node that speaks, in the same process.
   */
  | {
      readonly kind: 'report'
      readonly channel: number
      readonly usedSlots: number
      readonly client?: string
      readonly heldSlots?: number
    }
  /**
   * `client` is to get the blocks of `links`, from where its copies end (`have`; default 0). With `have` it acknowledges
   * what it gets by reports, and what it has not acknowledged it gets again when it subscribes again; without, what it was
   * given counts as received. `instance` names the client's process: key that an earlier process sent with may be used
   * already, so a new one never gets it again; it is discarded.
   */
  | {
      readonly kind: 'subscribe'
      readonly client: string
      readonly links: readonly number[]
      readonly instance?: string
      readonly have?: readonly StreamPosition[]
    }
  | { readonly kind: 'gone'; readonly client: string }
  | { readonly kind: 'drain' }

/** Why a request is refused. `peerBehind`: the other end has not taken its key yet; try again later. */
export type Refusal = 'unknownLink' | 'notEnd' | 'notSender' | 'badSlot' | 'tooFar' | 'peerBehind'

export type KeyServerEffect =
  /** The block is the client's own copy. Per client and channel they come in stream order; the first may begin anywhere. */
  | { readonly kind: 'blocks'; readonly client: string; readonly block: KeyBlock }
  | { readonly kind: 'status'; readonly status: PoolStatus }
  | { readonly kind: 'event'; readonly event: LabEvent }
  | { readonly kind: 'refuse'; readonly client: string; readonly reason: Refusal }

/** The key server: a key pool and the two ends of each link, the same on gRPC and in virtual time. A client is a node id. */
export class KeyServerNode implements Node<KeyServerInput, KeyServerEffect> {
  wakeAtMs: number | undefined
  readonly #pool: KeyPool
  readonly #maxBacklogSlots: number
  readonly #statusPeriodMs: number
  readonly #eventPeriodMs: number
  readonly #outboxes = new Map<number, readonly [Outbox, Outbox]>()
  readonly #linkStates = new Map<number, LinkState>()
  #statusAtMs = 0
  #eventAtMs = 0
  #publishedLevel: string | undefined

  /** Throws with every problem of the options. */
  constructor(options: KeyServerOptions) {
    const { maxBacklogSlots = 262_144, statusPeriodMs = 100, eventPeriodMs = 1000 } = options
    if (!(statusPeriodMs > 0 && eventPeriodMs > 0)) throw new RangeError('BAD_POOL_OPTIONS: periods are not positive')
    this.#pool = new KeyPool(options)
    this.#maxBacklogSlots = maxBacklogSlots
    this.#statusPeriodMs = statusPeriodMs
    this.#eventPeriodMs = eventPeriodMs
    for (const { link, ends } of options.links) {
      this.#linkStates.set(link, { link, up: true, rateBps: 0, delayMs: 0 })
      for (const direction of [0, 1]) {
        const [first, second] = ends
        const outboxes = [new Outbox(first, direction === 0), new Outbox(second, direction === 1)] as const
        this.#outboxes.set(2 * link + direction, outboxes)
      }
    }
  }

  handle(input: KeyServerInput | Wake, nowMs: number): readonly KeyServerEffect[] {
    const effects = this.#take(input, nowMs)
    if (this.wakeAtMs === undefined) return effects
    const levelChanged = this.#pool.level !== this.#publishedLevel
    const drained = input.kind === 'drain'
    if (levelChanged || drained || nowMs >= this.#statusAtMs) effects.push(this.#publish(nowMs))
    if (drained || nowMs >= this.#eventAtMs) effects.push(this.#record(nowMs))
    this.wakeAtMs = Math.min(this.#statusAtMs, this.#eventAtMs)
    return effects
  }

  status(tMs: number): PoolStatus {
    return this.#pool.status(tMs, [...this.#linkStates.values()])
  }

  books(): PoolBooks {
    return this.#pool.books()
  }

  /** Books of the links with `keys: local`. */
  localBooks(): PoolBooks {
    return this.#pool.localBooks()
  }

  /** How far the stream is assigned, and wanted; undefined if there is no such channel. */
  stream(channel: number): { readonly assignedSlots: number; readonly wantedSlots: number } | undefined {
    if (!this.#outboxes.has(channel)) return undefined
    return { assignedSlots: this.#pool.assignedSlots(channel), wantedSlots: this.#pool.wantedSlots(channel) }
  }

  /** Copies of what waits for `client` on `channel` from `fromSlot` on, for a client that asks instead of subscribing. */
  give(client: string, channel: number, fromSlot: number): KeyBlock[] {
    return this.#outbox(client, channel)?.give(fromSlot) ?? []
  }

  /** Why `client` gets no key of `link`, or undefined if it is one of its ends. */
  linkRefusal(client: string, link: number): 'unknownLink' | 'notEnd' | undefined {
    if (!this.#outboxes.has(2 * link)) return 'unknownLink'
    return this.#outbox(client, 2 * link) === undefined ? 'notEnd' : undefined
  }

  /** Why `client` may not want `upToSlot` of `channel`, or undefined if it may. */
  refusal(client: string, channel: number, upToSlot: number): Refusal | undefined {
    const stranger = this.linkRefusal(client, Math.floor(channel / 2))
    if (stranger !== undefined) return stranger
    if (!this.#outbox(client, channel)?.isSender) return 'notSender'
    if (!isSlot(upToSlot)) return 'badSlot'
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
        return []
      case 'generated':
        this.#pool.expire(nowMs)
        return this.#deliver(this.#pool.generate(input.link, input.bits, nowMs))
      case 'linkState':
        return this.#setLinkState(input.state)
      case 'want': {
        const reason = this.refusal(input.client, input.channel, input.upToSlot)
        if (reason !== undefined) return [{ kind: 'refuse', client: input.client, reason }]
        return this.#deliver(this.#pool.want(input.channel, input.upToSlot))
      }
      case 'report':
        return this.#report(input)
      case 'subscribe':
        return this.#subscribe(input)
      case 'gone':
        for (const outbox of this.#boxes()) if (outbox.client === input.client) outbox.subscription = undefined
        return []
      case 'wake':
      case 'drain':
        this.#pool.expire(nowMs)
        return []
    }
  }

  #deliver(blocks: readonly KeyBlock[]): KeyServerEffect[] {
    const effects: KeyServerEffect[] = []
    for (const block of blocks) {
      for (const outbox of this.#outboxes.get(block.channel) ?? []) {
        const sent = outbox.add({ ...block, bytes: block.bytes.slice() })
        if (sent !== undefined) effects.push({ kind: 'blocks', client: outbox.client, block: sent })
      }
      block.bytes.fill(0)
    }
    return effects
  }

  #report(input: KeyServerInput & { kind: 'report' }): KeyServerEffect[] {
    const { client, channel, usedSlots, heldSlots = 0 } = input
    if (client === undefined) {
      if (this.#outboxes.has(channel)) this.#pool.reportUse(channel, usedSlots)
      return []
    }
    const outbox = this.#outbox(client, channel)
    if (outbox === undefined) {
      return [{ kind: 'refuse', client, reason: this.linkRefusal(client, Math.floor(channel / 2)) ?? 'unknownLink' }]
    }
    // An end cannot hold or have used what it was never given.
    if (!isSlot(usedSlots) || !isSlot(heldSlots) || Math.max(usedSlots, heldSlots) > outbox.sentSlots) {
      return [{ kind: 'refuse', client, reason: 'badSlot' }]
    }
    if (outbox.isSender) this.#pool.reportUse(channel, usedSlots)
    outbox.drop(Math.max(heldSlots, usedSlots))
    return []
  }

  #subscribe(input: KeyServerInput & { kind: 'subscribe' }): KeyServerEffect[] {
    const { client, links, instance, have } = input
    const effects: KeyServerEffect[] = []
    for (const link of new Set(links)) {
      const reason = this.linkRefusal(client, link)
      if (reason !== undefined) effects.push({ kind: 'refuse', client, reason })
      for (const channel of [2 * link, 2 * link + 1]) {
        const outbox = this.#outbox(client, channel)
        if (outbox === undefined) continue
        const heldSlots = have?.find((position) => position.channel === channel)?.slot ?? 0
        this.#meet(outbox, channel, instance, isSlot(heldSlots) ? heldSlots : 0)
        outbox.subscription = { acknowledges: have !== undefined }
        const blocks = outbox.give(heldSlots)
        // An empty block tells an end that has lost its copy where the stream goes on.
        if (blocks.length === 0 && outbox.sentSlots > heldSlots) blocks.push(outbox.emptyBlock(channel))
        for (const block of blocks) effects.push({ kind: 'blocks', client, block })
        if (have === undefined) outbox.drop(outbox.sentSlots)
      }
    }
    return effects
  }

  /** Settles what the end's process still may get: see `subscribe`. */
  #meet(outbox: Outbox, channel: number, instance: string | undefined, heldSlots: number): void {
    const newProcess = instance !== undefined && instance !== outbox.instance
    outbox.instance = instance
    if (newProcess && outbox.isSender && heldSlots < outbox.sentSlots) {
      this.#pool.discard(channel, outbox.sentSlots)
      outbox.drop(outbox.sentSlots)
    }
    outbox.drop(heldSlots)
    this.#pool.resume(channel, heldSlots)
  }

  #setLinkState(state: LinkState): KeyServerEffect[] {
    const before = this.#linkStates.get(state.link)
    if (before === undefined) throw new RangeError(`UNKNOWN_LINK ${state.link}`)
    this.#linkStates.set(state.link, state)
    if (before.up === state.up) return []
    return [{ kind: 'event', event: { name: state.up ? 'qkd.repair' : 'qkd.break', link: state.link } }]
  }

  #publish(nowMs: number): KeyServerEffect {
    this.#publishedLevel = this.#pool.level
    if (nowMs >= this.#statusAtMs) this.#statusAtMs = nextAfter(this.#statusAtMs, this.#statusPeriodMs, nowMs)
    return { kind: 'status', status: this.status(nowMs) }
  }

  #record(nowMs: number): KeyServerEffect {
    if (nowMs >= this.#eventAtMs) this.#eventAtMs = nextAfter(this.#eventAtMs, this.#eventPeriodMs, nowMs)
    return { kind: 'event', event: { name: 'pool', level: this.#pool.level, ...this.#pool.books() } }
  }

  #outbox(client: string, channel: number): Outbox | undefined {
    return this.#outboxes.get(channel)?.find((outbox) => outbox.client === client)
  }

  *#boxes(): Iterable<Outbox> {
    for (const pair of this.#outboxes.values()) yield* pair
  }
}

/** The first point of the grid `fromMs`, `fromMs + periodMs`, ... after `nowMs`. */
function nextAfter(fromMs: number, periodMs: number, nowMs: number): number {
  return fromMs + (Math.floor((nowMs - fromMs) / periodMs) + 1) * periodMs
}
