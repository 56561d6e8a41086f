import { randomBytes, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import {
  ChannelCredentials,
  Client,
  type ClientReadableStream,
  status as grpcStatus,
  type StatusObject,
} from '@grpc/grpc-js'
import type { KeyBlock, PoolStatus, StreamBooks } from '../runtime/contract.ts'
import { AskStream } from './ask-stream.ts'
import type { FetchDetails, KeyClientOptions, KeyServerWait } from './client-contract.ts'
import { KeyBuffer } from './key-buffer.ts'
import { keyServerService } from './messages.ts'
import { MAX_WANT_SLOTS, SLOT_BYTES } from './pool-options.ts'

type Handlers = {
  block: (block: KeyBlock) => void
  status: ((status: PoolStatus) => void) | undefined
  waiting: (wait: KeyServerWait | undefined) => void
  refused: (channel: number, reason: string) => void
}

/** One channel in slots: what this client has, what the server has assigned, what the node wants and has used. */
type Stream = {
  nextSlot: number
  assignedSlots: number
  goalSlots: number
  topGoalSlots: number
  quota: string
  usedSlots: number
  discardedSlots: number
  dirty: boolean
  /** A question is under way that asks so far on behalf of the top chain. */
  asking: { readonly topSlots: number } | undefined
  backoffMs: number
  /** Key that the node has not fetched yet; only where it sends. */
  buffer: KeyBuffer | undefined
}

const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 1000
const GET_KEY_WAIT_MS = 10_000
const REPORT_PERIOD_MS = 100
const REPORT_DEADLINE_MS = 1000
const NO_BYTES = new Uint8Array(0)
const CHANNEL_OPTIONS = {
  'grpc.enable_http_proxy': 0,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': FIRST_BACKOFF_MS,
  'grpc.max_reconnect_backoff_ms': MAX_BACKOFF_MS,
  'grpc.keepalive_time_ms': 5000,
  'grpc.keepalive_timeout_ms': 3000,
}

/** Asking again cannot help. */
const FINAL_CODES: readonly number[] = [
  grpcStatus.INVALID_ARGUMENT,
  grpcStatus.NOT_FOUND,
  grpcStatus.PERMISSION_DENIED,
  grpcStatus.UNAUTHENTICATED,
]

/**
 * A node's line to the key server. It connects at once, comes back by itself when the server was away or was started
 * again, and hands on every block once, in stream order. What is lost for good is a hole in the stream, before which comes an
 * empty block. Nothing that the server does makes it throw.
 */
export class KeyClient {
  /** Settles when the server has first accepted this client, or at `close`; never rejects. */
  readonly ready: Promise<void>
  readonly #options: KeyClientOptions
  readonly #client: Client
  readonly #asks: AskStream
  /** Tells the server that a new connection comes from the same process, whose key is not lost. */
  readonly #instance = randomBytes(8).toString('hex')
  readonly #streams = new Map<number, Stream>()
  readonly #handlers: Handlers
  readonly #calls = new Set<{ cancel: () => void }>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #subscribed = false
  #reporting = false
  #closed = false
  #becomeReady: () => void = () => {}

  /** Throws if a certificate or the key is not valid PEM, or the certificate is another node's. */
  constructor(options: KeyClientOptions) {
    const { address, serverName, caPem, certPem, keyPem, nodeId, links } = options
    const { subject } = new X509Certificate(certPem)
    if (subject !== `CN=${nodeId}`) throw new Error(`BAD_CERTIFICATE of ${subject} for node ${nodeId}`)
    this.#options = options
    this.#handlers = { block: wipe, status: undefined, waiting: () => {}, refused: () => {} }
    const context = createSecureContext({ ca: caPem, cert: certPem, key: keyPem, minVersion: 'TLSv1.3' })
    const credentials = ChannelCredentials.createFromSecureContext(context)
    this.#client = new Client(address, credentials, { ...CHANNEL_OPTIONS, 'grpc.ssl_target_name_override': serverName })
    this.#asks = new AskStream(this.#client)
    for (const channel of links.flatMap((link) => [2 * link, 2 * link + 1])) {
      const none = { nextSlot: 0, assignedSlots: 0, goalSlots: 0, topGoalSlots: 0, usedSlots: 0, discardedSlots: 0 }
      const state = { quota: '', dirty: false, asking: undefined, backoffMs: FIRST_BACKOFF_MS, buffer: undefined }
      this.#streams.set(channel, { ...none, ...state })
    }
    this.ready = new Promise((resolve) => {
      this.#becomeReady = resolve
    })
    this.#subscribe()
  }

  /**
   * Where blocks go: they become the callee's, who overwrites the bytes after use. An empty one says that what is lacking
   * before its slot never comes, and that nothing before it is to be used to send. Set it right after construction.
   */
  onBlock(callback: (block: KeyBlock) => void): void {
    this.#handlers.block = callback
  }

  /** Follows the pool's state. */
  onStatus(callback: (status: PoolStatus) => void): void {
    const watching = this.#handlers.status !== undefined
    this.#handlers.status = callback
    if (!watching) this.#watchPool()
  }

  /** Called when the client begins to wait for the key server, and with undefined when that is over. */
  onWaiting(callback: (wait: KeyServerWait | undefined) => void): void {
    this.#handlers.waiting = callback
  }

  /** Called when the server refuses key for a channel for good. */
  onRefused(callback: (channel: number, reason: string) => void): void {
    this.#handlers.refused = callback
  }

  /**
   * Wants the stream of `channel` to reach `upToSlot`. What is here already comes by `onBlock` before this returns, whatever
   * the server does; the rest comes later. Idempotent.
   */
  fetch(channel: number, upToSlot: number, { topUpToSlot = 0, quota = '' }: FetchDetails = {}): void {
    const stream = this.#streams.get(channel)
    if (stream === undefined) {
      this.#handlers.refused(channel, 'not a link of this node')
      return
    }
    stream.goalSlots = Math.max(stream.goalSlots, upToSlot)
    stream.topGoalSlots = Math.max(stream.topGoalSlots, Math.min(topUpToSlot, upToSlot))
    stream.quota = quota
    if (this.#options.ahead !== undefined) stream.buffer ??= new KeyBuffer()
    this.#handOver(stream)
    this.#ask(channel, stream)
  }

  /** Tells the server how far a stream is used. Reports of 100 ms travel together. */
  report({
    channel,
    usedSlots,
    discardedSlots = 0,
  }: Pick<StreamBooks, 'channel' | 'usedSlots' | 'discardedSlots'>): void {
    const stream = this.#streams.get(channel)
    if (stream === undefined || usedSlots <= stream.usedSlots) return
    stream.usedSlots = Math.min(usedSlots, stream.nextSlot)
    stream.discardedSlots = Math.min(discardedSlots, stream.usedSlots)
    this.#reportSoon(stream)
  }

  /** Sends the last reports and ends the connection. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    if (this.#subscribed) await new Promise<void>((resolve) => this.#sendReport(() => resolve()))
    this.#asks.close()
    for (const call of this.#calls) call.cancel()
    for (const { buffer } of this.#streams.values()) buffer?.wipe()
    this.#client.close()
    this.#becomeReady()
  }

  #subscribe(): void {
    const { path, requestSerialize, responseDeserialize } = keyServerService.blocks
    const { links, serverName, address } = this.#options
    this.#follow({
      open: () => {
        const have = [...this.#streams].map(([channel, stream]) => ({ channel, slot: stream.nextSlot }))
        const request = { links, have, instance: this.#instance, together: true }
        return this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
      },
      begun: () => this.#subscribedNow(),
      data: ({ further = [], ...block }) => {
        this.#take(block)
        for (const other of further) this.#take(other)
      },
      ended: (reason) => {
        this.#subscribed = false
        this.#handlers.waiting({ nodeId: serverName, address, reason })
      },
    })
  }

  #subscribedNow(): void {
    this.#subscribed = true
    // Key is the answer to a question, and what was to come by the stream before this one may not come.
    this.#asks.forget()
    this.#becomeReady()
    this.#handlers.waiting(undefined)
    for (const [channel, stream] of this.#streams) {
      // A server that was started again knows only what it was told just now.
      stream.assignedSlots = stream.nextSlot
      stream.asking = undefined
      if (stream.nextSlot > 0) this.#reportSoon(stream)
      this.#ask(channel, stream)
    }
  }

  #watchPool(): void {
    const { path, requestSerialize, responseDeserialize } = keyServerService.watchPool
    this.#follow({
      open: () => this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {}),
      begun: () => {},
      data: (status) => this.#handlers.status?.(status),
      ended: () => {},
    })
  }

  /** Keeps a server stream open, with back-off. */
  #follow<T>(stream: {
    open: () => ClientReadableStream<T>
    begun: () => void
    data: (message: T) => void
    ended: (reason: string) => void
  }): void {
    let backoffMs = FIRST_BACKOFF_MS
    const start = (): void => {
      const call = stream.open()
      this.#calls.add(call)
      call.on('metadata', () => {
        backoffMs = FIRST_BACKOFF_MS
        if (!this.#closed) stream.begun()
      })
      call.on('data', stream.data)
      call.on('error', () => {}) // `status` tells the same, and comes in any case.
      call.on('status', ({ code, details }: StatusObject) => {
        this.#calls.delete(call)
        if (this.#closed) return
        stream.ended(`${grpcStatus[code]}: ${details}`)
        // Not all clients at the same moment.
        this.#later(backoffMs * (0.75 + 0.5 * Math.random()), start)
        backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)
      })
    }
    start()
  }

  #ask(channel: number, stream: Stream): void {
    const fromSlot = Math.max(stream.assignedSlots, stream.nextSlot)
    const upToSlot = Math.min(this.#targetOf(stream), fromSlot + MAX_WANT_SLOTS)
    if (this.#closed || !this.#subscribed || upToSlot <= fromSlot) return
    // What the top chain needs does not wait for an answer to what anybody wanted.
    const topUpToSlot = stream.topGoalSlots > fromSlot ? Math.min(stream.topGoalSlots, upToSlot) : 0
    if (stream.asking !== undefined && topUpToSlot <= stream.asking.topSlots) return
    const asking = { topSlots: topUpToSlot }
    stream.asking = asking
    const request = { channel, slots: upToSlot - fromSlot, upToSlot, topUpToSlot, quota: stream.quota }
    const getKey = { ...request, instance: this.#instance }
    const question = { getKey, waitMs: GET_KEY_WAIT_MS, fromSlot, urgent: topUpToSlot > 0 }
    this.#asks.ask(question, ({ code, details, assignedSlots }) => {
      if (stream.asking === asking) stream.asking = undefined
      if (code === grpcStatus.OK) {
        stream.backoffMs = FIRST_BACKOFF_MS
        stream.assignedSlots = Math.max(stream.assignedSlots, assignedSlots)
        this.#ask(channel, stream)
      } else if (FINAL_CODES.includes(code)) {
        stream.goalSlots = fromSlot
        stream.topGoalSlots = 0
        this.#handlers.refused(channel, details)
      } else {
        this.#later(stream.backoffMs, () => this.#ask(channel, stream))
        stream.backoffMs = Math.min(2 * stream.backoffMs, MAX_BACKOFF_MS)
      }
    })
  }

  /** How far the server is asked to bring the stream. */
  #targetOf({ goalSlots, nextSlot, buffer }: Stream): number {
    const { ahead } = this.#options
    if (ahead === undefined || buffer === undefined) return goalSlots
    return nextSlot - goalSlots < ahead.lowSlots ? goalSlots + ahead.highSlots : goalSlots
  }

  #take(block: KeyBlock): void {
    const stream = this.#streams.get(block.channel)
    if (stream === undefined || this.#closed) {
      wipe(block)
      return
    }
    if (block.bytes.length === 0) {
      this.#goOn(stream, block)
      return
    }
    const endSlot = block.slot + block.bytes.length / SLOT_BYTES
    if (endSlot <= stream.nextSlot) {
      wipe(block)
      return
    }
    if (block.slot > stream.nextSlot && stream.nextSlot > 0) this.#goOn(stream, { ...block, bytes: NO_BYTES })
    const known = Math.max(0, stream.nextSlot - block.slot)
    const fresh =
      known === 0 ? block : { ...block, slot: stream.nextSlot, bytes: block.bytes.slice(known * SLOT_BYTES) }
    if (fresh !== block) wipe(block)
    stream.nextSlot = endSlot
    this.#reportSoon(stream)
    if (stream.buffer === undefined) {
      this.#handlers.block(fresh)
    } else {
      stream.buffer.add(fresh)
      this.#handOver(stream)
    }
    this.#asks.came(block.channel, endSlot)
  }

  #handOver({ buffer, goalSlots }: Stream): void {
    for (const block of buffer?.takeUpTo(goalSlots) ?? []) this.#handlers.block(block)
  }

  /** What this end lacks before the slot never comes: the node that held it, or the server, was started again. */
  #goOn(stream: Stream, start: KeyBlock): void {
    for (const block of stream.buffer?.takeUpTo(start.slot) ?? []) wipe(block)
    this.#handlers.block(start)
    if (start.slot <= stream.nextSlot) return
    stream.nextSlot = start.slot
    this.#reportSoon(stream)
  }

  #reportSoon(stream: Stream): void {
    stream.dirty = true
    if (this.#reporting || this.#closed) return
    this.#reporting = true
    // All nodes get their first key at the same moment: they do not all tell of it at the same moment.
    this.#later(REPORT_PERIOD_MS * (0.75 + 0.5 * Math.random()), () => {
      this.#sendReport((failed) => {
        this.#reporting = false
        // While the server is away, the next subscription says it all again.
        if (this.#subscribed) for (const again of failed) this.#reportSoon(again)
        for (const late of this.#streams.values()) if (late.dirty && this.#subscribed) this.#reportSoon(late)
      })
    })
  }

  /** Reports every stream that has moved; calls back with those the server did not hear of. */
  #sendReport(done: (failed: readonly Stream[]) => void): void {
    const moved = [...this.#streams].filter(([, stream]) => stream.dirty)
    const streams = moved.map(([, stream]) => stream)
    const uses = moved.map(([channel, { nextSlot, usedSlots, discardedSlots }]) => {
      return { channel, heldSlots: nextSlot, usedSlots, discardedSlots }
    })
    for (const stream of streams) stream.dirty = false
    if (uses.length === 0) {
      done([])
      return
    }
    const { path, requestSerialize, responseDeserialize } = keyServerService.reportUse
    const options = { deadline: Date.now() + REPORT_DEADLINE_MS }
    this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { uses }, options, (error) => {
      done(error === null ? [] : streams)
    })
  }

  #later(delayMs: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#closed) action()
    }, delayMs)
    this.#timers.add(timer)
  }
}

function wipe(block: KeyBlock): void {
  block.bytes.fill(0)
}
