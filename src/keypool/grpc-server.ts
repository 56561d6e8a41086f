import { randomBytes } from 'node:crypto'
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { KeyBlock, LabEvent, PoolStatus, Wake } from '../runtime/contract.ts'
import { type BlockCall, BlockStream } from './block-stream.ts'
import { CallLimit } from './call-limit.ts'
import {
  type CallStatus,
  CLOSING,
  endCall,
  NO_IDENTITY,
  statusOf,
  TAKEN_OVER,
  TOO_MANY_CALLS,
  TOO_SLOW,
} from './call-status.ts'
import { GetKeyDesk } from './get-key.ts'
import { type GetKeysCall, GetKeysStream } from './get-keys-stream.ts'
import {
  type Empty,
  type GetKeyReply,
  type GetKeyRequest,
  keyServerService,
  type ReportUseRequest,
} from './messages.ts'
import type { KeyServerEffect, KeyServerInput } from './server-contract.ts'
import type { KeyServerNode } from './server-node.ts'

export type KeyServerTls = { readonly caPem: string; readonly certPem: string; readonly keyPem: string }

export type ServeOptions = {
  readonly node: KeyServerNode
  /** Address to listen on; port 0 takes any free one. */
  readonly host: string
  readonly port: number
  readonly tls: KeyServerTls
  /** Lab time, ms. */
  readonly nowMs: () => number
  readonly onStatus?: (status: PoolStatus) => void
  readonly onEvent?: (event: LabEvent) => void
  /**
   * The node cannot go on (its journal cannot be written): calls are ended and nothing more is handed out. Default: the error
   * is thrown, which ends the process.
   */
  readonly onFault?: (error: unknown) => void
  /** Calls a node may make in a second, default 5000; those beyond are refused. */
  readonly maxCallsPerS?: number
  /** A reader of blocks that takes nothing for so long is cut off; default 10 s. */
  readonly slowReaderMs?: number
}

export type KeyServer = {
  readonly port: number
  /** Feeds the node: `start`, `generated`, `linkState`, `drain`. */
  readonly feed: (input: KeyServerInput) => void
  /** Ends all calls and connections. */
  readonly close: () => void
}

/** An answer leaves this long before the caller's deadline, so that it still arrives, ms. */
const DEADLINE_MARGIN_MS = 50
/** Streams a node may have open, ended ones that it does not read to their end included. */
const MAX_STREAMS_PER_CLIENT = 16
const MAX_REQUEST_BYTES = 65_536
const CALLS_PER_S = 5000
const SLOW_READER_MS = 10_000
/** Calls under way on one connection; more wait at the client. */
const MAX_CALLS_PER_CONNECTION = 512
const IDLE_CONNECTION_MS = 300_000

type StatusStream = ServerWritableStream<Empty, PoolStatus>
type GetKeyCall = ServerUnaryCall<GetKeyRequest, GetKeyReply>
type AnyCall = Pick<GetKeyCall, 'getAuthContext' | 'getPeer'>

/** The library's own extension point: `createSsl` cannot ask for TLS 1.3. */
class MutualTls extends ServerCredentials {
  constructor({ caPem, certPem, keyPem }: KeyServerTls) {
    const verify = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' } as const
    super(verify, { ca: caPem, cert: certPem, key: keyPem })
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}

/** Serves a key server node by gRPC over mutual TLS. Rejects if the address cannot be bound. */
export async function serveKeys(options: ServeOptions): Promise<KeyServer> {
  const binding = new Binding(options)
  const server = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_concurrent_streams': MAX_CALLS_PER_CONNECTION,
    'grpc.max_connection_idle_ms': IDLE_CONNECTION_MS,
    'grpc.keepalive_time_ms': 5000,
    'grpc.keepalive_timeout_ms': 3000,
  })
  server.addService(keyServerService, binding.implementation())
  const port = await new Promise<number>((resolve, reject) => {
    const address = `${options.host}:${options.port}`
    server.bindAsync(address, new MutualTls(options.tls), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  const close = (): void => {
    binding.close()
    server.forceShutdown()
  }
  return { port, feed: (input) => binding.feed(input), close }
}

class Binding {
  readonly #options: ServeOptions
  readonly #blockStreams = new Map<string, BlockStream>()
  readonly #statusStreams = new Set<StatusStream>()
  readonly #openStreams = new Map<string, number>()
  /** Callers by address and port of their connection, as long as a stream that was admitted by certificate keeps it open. */
  readonly #connected = new Map<string, { readonly client: string; streams: number }>()
  readonly #keysStreams = new Set<GetKeysStream>()
  /** Streams with blocks that have not been sent. */
  readonly #toFlush = new Set<BlockStream>()
  readonly #desk: GetKeyDesk
  readonly #limits = new Map<string, CallLimit>()
  readonly #inputs: (KeyServerInput | Wake)[] = []
  readonly #slowReaderTimer: NodeJS.Timeout
  #busy = false
  #closed = false
  #timer: NodeJS.Timeout | undefined
  /** When the timer is due: an input that does not move that costs no timer. */
  #armedMs: number | undefined

  constructor(options: ServeOptions) {
    this.#options = options
    this.#desk = new GetKeyDesk({
      ...{ node: options.node, nowMs: options.nowMs, feed: (input) => this.feed(input) },
      isClosed: () => this.#closed,
      instanceOf: (client) => this.#blockStreams.get(client)?.call.request.instance,
    })
    const { slowReaderMs = SLOW_READER_MS } = options
    this.#slowReaderTimer = setInterval(() => this.#endSlowReaders(slowReaderMs), slowReaderMs / 4).unref()
  }

  implementation(): UntypedServiceImplementation {
    return {
      getKey: (call: GetKeyCall, reply: sendUnaryData<GetKeyReply>) => this.#getKey(call, reply),
      getKeys: (call: GetKeysCall) => this.#getKeys(call),
      keyPoolStatus: (call: AnyCall, reply: sendUnaryData<PoolStatus>) => {
        const client = this.#admit(call)
        if (typeof client === 'string') reply(null, this.#options.node.status(this.#options.nowMs()))
        else reply(client)
      },
      watchPool: (call: StatusStream) => this.#watchPool(call),
      blocks: (call: BlockCall) => this.#blocks(call),
      reportUse: (call: ServerUnaryCall<ReportUseRequest, Empty>, reply: sendUnaryData<Empty>) => {
        const client = this.#admit(call)
        if (typeof client === 'string') {
          this.#report(client, call.request)
          reply(null, {})
        } else {
          reply(client)
        }
      },
    }
  }

  /** Hands the node one input; an input that comes while effects are carried out waits its turn. */
  feed(input: KeyServerInput | Wake): void {
    if (this.#closed) return
    this.#inputs.push(input)
    if (this.#busy) return
    this.#busy = true
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        for (const effect of this.#options.node.handle(next, this.#options.nowMs())) this.#carryOut(effect)
        this.#desk.settle()
        for (const stream of this.#toFlush) stream.flush()
        this.#toFlush.clear()
      }
    } catch (error) {
      this.close()
      if (this.#options.onFault === undefined) throw error
      this.#options.onFault(error)
    } finally {
      this.#busy = false
    }
    this.#arm()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    clearInterval(this.#slowReaderTimer)
    this.#desk.clear()
    const blockCalls = [...this.#blockStreams.values()].map(({ call }) => call)
    for (const call of [...blockCalls, ...this.#statusStreams]) endCall(call, CLOSING)
    for (const { call } of this.#keysStreams) endCall(call, CLOSING)
  }

  #arm(): void {
    const { node, nowMs } = this.#options
    const dueMs = this.#closed ? undefined : node.wakeAtMs
    if (dueMs === this.#armedMs) return
    clearTimeout(this.#timer)
    this.#armedMs = dueMs
    if (dueMs === undefined) return
    this.#timer = setTimeout(
      () => {
        this.#armedMs = undefined
        this.feed({ kind: 'wake' })
      },
      Math.max(0, Math.ceil(dueMs - nowMs())),
    )
  }

  #carryOut(effect: KeyServerEffect): void {
    switch (effect.kind) {
      case 'blocks':
        this.#writeBlock(effect.client, effect.block)
        break
      case 'status':
        for (const call of this.#statusStreams) if (!call.writableNeedDrain) call.write(effect.status)
        this.#options.onStatus?.(effect.status)
        break
      case 'event':
        this.#options.onEvent?.(effect.event)
        break
      case 'refuse':
        break // What can be refused over gRPC is answered before it reaches the node.
    }
  }

  #writeBlock(client: string, block: KeyBlock): void {
    const stream = this.#blockStreams.get(client)
    if (stream === undefined) return
    stream.write(block)
    this.#toFlush.add(stream)
  }

  #getKey(call: GetKeyCall, reply: sendUnaryData<GetKeyReply>): void {
    const client = this.#admit(call)
    if (typeof client !== 'string') {
      reply(client)
      return
    }
    const waitMs = Number(call.getDeadline()) - Date.now() - DEADLINE_MARGIN_MS
    const answers = { grant: (value: GetKeyReply) => reply(null, value), refuse: (status: CallStatus) => reply(status) }
    call.on('cancelled', () => this.#desk.leave(call))
    this.#desk.ask([{ client, owner: call, request: call.request, waitMs, ...answers }])
  }

  #getKeys(call: GetKeysCall): void {
    const client = this.#admitStream(call)
    if (typeof client !== 'string') {
      endCall(call, client)
      return
    }
    const { nowMs } = this.#options
    const admit = (): boolean => this.#mayCall(client)
    const stream = new GetKeysStream({ call, client, desk: this.#desk, admit, nowMs })
    this.#keysStreams.add(stream)
    const gone = (): void => {
      this.#keysStreams.delete(stream)
      stream.leave()
    }
    call.on('cancelled', gone)
    call.on('error', gone)
    call.on('close', gone)
  }

  /** A report may name each channel of the caller once; of several words on one the last holds. */
  #report(client: string, { uses }: ReportUseRequest): void {
    const own = uses.filter(({ channel }) => this.#options.node.linkRefusal(client, channel >> 1) === undefined)
    const last = new Map(own.map((use) => [use.channel, { kind: 'report', client, ...use } as const]))
    if (last.size > 0) this.feed({ kind: 'several', inputs: [...last.values()] })
  }

  #blocks(call: BlockCall): void {
    const { node, nowMs } = this.#options
    const client = this.#admitStream(call)
    if (typeof client !== 'string') {
      endCall(call, client)
      return
    }
    const { links, have, instance } = call.request
    const reason = links.map((link) => node.subscribeRefusal(client, link, have)).find((why) => why !== undefined)
    if (reason !== undefined) {
      endCall(call, statusOf(reason))
      return
    }
    const earlier = this.#blockStreams.get(client)
    if (earlier !== undefined) {
      this.feed({ kind: 'gone', client })
      endCall(earlier.call, TAKEN_OVER)
      earlier.wipe()
    }
    const give = (channel: number, fromSlot: number) => node.give(client, channel, fromSlot)
    const stream = new BlockStream(call, give, nowMs)
    this.#blockStreams.set(client, stream)
    const gone = (): void => {
      if (this.#blockStreams.get(client)?.call !== call) return
      this.#blockStreams.delete(client)
      stream.wipe()
      this.feed({ kind: 'gone', client })
    }
    call.on('cancelled', gone)
    call.on('error', gone)
    call.sendMetadata(new Metadata())
    // A caller that does not say which process it is counts as a new one.
    const process = instance === '' ? randomBytes(8).toString('hex') : instance
    this.feed({ kind: 'subscribe', client, links, have, instance: process })
  }

  #watchPool(call: StatusStream): void {
    const client = this.#admitStream(call)
    if (typeof client !== 'string') {
      endCall(call, client)
      return
    }
    const gone = (): void => void this.#statusStreams.delete(call)
    call.on('cancelled', gone)
    call.on('error', gone)
    this.#statusStreams.add(call)
    call.write(this.#options.node.status(this.#options.nowMs()))
  }

  #endSlowReaders(slowReaderMs: number): void {
    const nowMs = this.#options.nowMs()
    for (const { call, behindSinceMs = nowMs } of this.#blockStreams.values()) {
      if (nowMs - behindSinceMs > slowReaderMs) endCall(call, TOO_SLOW)
    }
    for (const { call, behindSinceMs = nowMs } of this.#keysStreams) {
      if (nowMs - behindSinceMs > slowReaderMs) endCall(call, TOO_SLOW)
    }
  }

  #admitStream(call: BlockCall | StatusStream | GetKeysCall): string | CallStatus {
    const client = this.#admit(call)
    if (typeof client !== 'string') return client
    const open = this.#openStreams.get(client) ?? 0
    if (open >= MAX_STREAMS_PER_CLIENT) return TOO_MANY_CALLS
    this.#openStreams.set(client, open + 1)
    const peer = call.getPeer()
    const connection = this.#connected.get(peer) ?? { client, streams: 0 }
    this.#connected.set(peer, connection)
    connection.streams++
    call.once('close', () => {
      this.#openStreams.set(client, (this.#openStreams.get(client) ?? 1) - 1)
      connection.streams--
      if (connection.streams === 0) this.#connected.delete(peer)
    })
    return client
  }

  #admit(call: AnyCall): string | CallStatus {
    const name = this.#connected.get(call.getPeer())?.client ?? nameOf(call)
    if (name === undefined) return NO_IDENTITY
    return this.#mayCall(name) ? name : TOO_MANY_CALLS
  }

  #mayCall(client: string): boolean {
    const limit = this.#limits.get(client) ?? new CallLimit(this.#options.maxCallsPerS ?? CALLS_PER_S)
    this.#limits.set(client, limit)
    return limit.take(this.#options.nowMs())
  }
}

/** The node id of a caller: the common name of the certificate that it proved to hold. */
function nameOf(call: AnyCall): string | undefined {
  const name: unknown = call.getAuthContext().sslPeerCertificate?.subject.CN
  return typeof name === 'string' && name !== '' ? name : undefined
}
