import { randomBytes, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import {
  ChannelCredentials,
  Client,
  type ClientReadableStream,
  status as grpcStatus,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js'
import type { KeyBlock, PoolStatus, StreamBooks } from '../runtime/contract.ts'
import { type GetKeyReply, keyServerService } from './messages.ts'
import { MAX_WANT_SLOTS, SLOT_BYTES } from './pool.ts'

export type KeyClientOptions = {
  /** `host:port` of the key server. */
  readonly address: string
  /** The key server's node id: its certificate must name it. */
  readonly serverName: string
  readonly caPem: string
  /** Certificate and key of this node; its CN is `nodeId`. */
  readonly certPem: string
  readonly keyPem: string
  readonly nodeId: string
  /** Links of which this node is an end. */
  readonly links: readonly number[]
}

/** What the client waits for. */
export type KeyServerWait = { readonly nodeId: string; readonly address: string; readonly reason: string }

type Handlers = {
  block: (block: KeyBlock) => void
  status: ((status: PoolStatus) => void) | undefined
  waiting: (wait: KeyServerWait | undefined) => void
  refused: (channel: number, reason: string) => void
}

/** One channel in slots: what the node has, what the server has assigned, what is wanted, what is used. */
type Stream = {
  nextSlot: number
  assignedSlots: number
  goalSlots: number
  usedSlots: number
  dirty: boolean
  asking: boolean
}

const FIRST_BACKOFF_MS = 100
const MAX_BACKOFF_MS = 2000
const GET_KEY_DEADLINE_MS = 10_000
const REPORT_PERIOD_MS = 100
const REPORT_DEADLINE_MS = 1000
/** A server assigns at most this much ahead of an end that has not taken it; so no hole is larger. */
const MAX_HOLE_SLOTS = 2 ** 20
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
 * again, and hands on every block once, in stream order, without a hole. Nothing that the server does makes it throw.
 */
export class KeyClient {
  /** Settles when the server has first accepted this client, or at `close`; never rejects. */
  readonly ready: Promise<void>
  readonly #options: KeyClientOptions
  readonly #client: Client
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
    for (const channel of links.flatMap((link) => [2 * link, 2 * link + 1])) {
      const start = { nextSlot: 0, assignedSlots: 0, goalSlots: 0, usedSlots: 0, dirty: false, asking: false }
      this.#streams.set(channel, start)
    }
    this.ready = new Promise((resolve) => {
      this.#becomeReady = resolve
    })
    this.#subscribe()
  }

  /** Where blocks go: they become the callee's, who overwrites the bytes after use. Set it right after construction. */
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

  /** Wants the stream of `channel` to reach `upToSlot`. Returns at once; the key comes by `onBlock`. Idempotent. */
  fetch(channel: number, upToSlot: number): void {
    const stream = this.#streams.get(channel)
    if (stream !== undefined) {
      stream.goalSlots = Math.max(stream.goalSlots, upToSlot)
      this.#ask(channel, stream)
    } else {
      this.#handlers.refused(channel, 'not a link of this node')
    }
  }

  /** Tells the server how far a stream is used. Reports of 100 ms travel together. */
  report(books: Pick<StreamBooks, 'channel' | 'usedSlots'>): void {
    const stream = this.#streams.get(books.channel)
    if (stream === undefined || books.usedSlots <= stream.usedSlots) return
    stream.usedSlots = Math.min(books.usedSlots, stream.nextSlot)
    this.#reportSoon(stream)
  }

  /** Sends the last reports and ends the connection. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    if (this.#subscribed) await new Promise<void>((resolve) => this.#sendReport(() => resolve()))
    for (const call of this.#calls) call.cancel()
    this.#client.close()
    this.#becomeReady()
  }

  #subscribe(): void {
    const { path, requestSerialize, responseDeserialize } = keyServerService.blocks
    const { links, serverName, address } = this.#options
    this.#follow({
      open: () => {
        const have = [...this.#streams].map(([channel, stream]) => ({ channel, slot: stream.nextSlot }))
        const request = { links, have, instance: this.#instance }
        return this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
      },
      begun: () => this.#subscribedNow(),
      data: (block) => this.#take(block, 'stream'),
      ended: (reason) => {
        this.#subscribed = false
        this.#handlers.waiting({ nodeId: serverName, address, reason })
      },
    })
  }

  #subscribedNow(): void {
    this.#subscribed = true
    this.#becomeReady()
    this.#handlers.waiting(undefined)
    for (const [channel, stream] of this.#streams) {
      // A server that was started again knows only what it was told just now.
      stream.assignedSlots = stream.nextSlot
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
        this.#later(backoffMs, start)
        backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)
      })
    }
    start()
  }

  #ask(channel: number, stream: Stream): void {
    const fromSlot = Math.max(stream.assignedSlots, stream.nextSlot)
    const upToSlot = Math.min(stream.goalSlots, fromSlot + MAX_WANT_SLOTS)
    if (this.#closed || !this.#subscribed || stream.asking || upToSlot <= fromSlot) return
    stream.asking = true
    const { path, requestSerialize, responseDeserialize } = keyServerService.getKey
    const request = { channel, slots: upToSlot - fromSlot, upToSlot, instance: this.#instance }
    const deadline = Date.now() + GET_KEY_DEADLINE_MS
    const done = (error: ServiceError | null, reply?: GetKeyReply): void => {
      stream.asking = false
      if (reply !== undefined) {
        stream.assignedSlots = Math.max(stream.assignedSlots, reply.assignedSlots)
        for (const block of reply.blocks) this.#take(block, 'reply')
        this.#ask(channel, stream)
      } else if (error !== null && FINAL_CODES.includes(error.code)) {
        stream.goalSlots = fromSlot
        this.#handlers.refused(channel, error.details)
      } else {
        this.#later(FIRST_BACKOFF_MS, () => this.#ask(channel, stream))
      }
    }
    this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, done)
  }

  /** A reply may overtake the stream: what it brings too early is left to the stream, which is in order. */
  #take(block: KeyBlock, source: 'stream' | 'reply'): void {
    const stream = this.#streams.get(block.channel)
    const endSlot = block.slot + block.bytes.length / SLOT_BYTES
    const early = stream !== undefined && source === 'reply' && block.slot > stream.nextSlot
    if (stream === undefined || this.#closed || early || endSlot <= stream.nextSlot) {
      wipe(block)
      return
    }
    this.#fillHole(stream, block)
    const known = Math.max(0, stream.nextSlot - block.slot)
    const fresh =
      known === 0 ? block : { ...block, slot: stream.nextSlot, bytes: block.bytes.slice(known * SLOT_BYTES) }
    if (fresh !== block) wipe(block)
    stream.nextSlot = endSlot
    this.#reportSoon(stream)
    this.#handlers.block(fresh)
  }

  /**
   * A server that was started again goes on beyond what either end has, and its predecessor's last blocks may be lost to
   * one of them. Random octets nobody else has take their place, so that the stream stays whole: messages under them fail
   * at the other end, and the connection starts again on key beyond.
   */
  #fillHole(stream: Stream, { channel, slot }: KeyBlock): void {
    if (stream.nextSlot === 0 || slot <= stream.nextSlot) return
    const slots = Math.min(slot - stream.nextSlot, MAX_HOLE_SLOTS)
    this.#handlers.block({ channel, slot: slot - slots, bytes: Uint8Array.from(randomBytes(slots * SLOT_BYTES)) })
    stream.nextSlot = slot
  }

  #reportSoon(stream: Stream): void {
    stream.dirty = true
    if (this.#reporting || this.#closed) return
    this.#reporting = true
    this.#later(REPORT_PERIOD_MS, () => {
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
    const uses = moved.map(([channel, { nextSlot, usedSlots }]) => ({ channel, heldSlots: nextSlot, usedSlots }))
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
