import { randomBytes } from 'node:crypto'
import {
  status as grpcStatus,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { KeyBlock, LabEvent, PoolStatus, Wake } from '../runtime/contract.ts'
import {
  type BlocksRequest,
  type Empty,
  type GetKeyReply,
  type GetKeyRequest,
  keyServerService,
  type ReportUseRequest,
} from './messages.ts'
import { MAX_WANT_SLOTS } from './pool.ts'
import type { KeyServerEffect, KeyServerInput, KeyServerNode, Refusal } from './server-node.ts'

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
}

export type KeyServer = {
  readonly port: number
  /** Feeds the node: `start`, `generated`, `linkState`, `drain`. */
  readonly feed: (input: KeyServerInput) => void
  /** Ends all calls and connections. */
  readonly close: () => void
}

/** The longest a GetKey waits whatever its deadline, ms. */
const MAX_WAIT_MS = 30_000
/** An answer leaves this long before the caller's deadline, so that it still arrives, ms. */
const DEADLINE_MARGIN_MS = 50
/** GetKey calls a node may have waiting. */
const MAX_WAITING_PER_CLIENT = 256
const MAX_REQUEST_BYTES = 65_536

const REFUSAL_CODES: Record<Refusal, grpcStatus> = {
  unknownLink: grpcStatus.NOT_FOUND,
  notEnd: grpcStatus.PERMISSION_DENIED,
  notSender: grpcStatus.PERMISSION_DENIED,
  badSlot: grpcStatus.INVALID_ARGUMENT,
  tooFar: grpcStatus.INVALID_ARGUMENT,
  peerBehind: grpcStatus.RESOURCE_EXHAUSTED,
}

type GetKeyCall = ServerUnaryCall<GetKeyRequest, GetKeyReply>
type Waiting = {
  readonly client: string
  readonly channel: number
  readonly fromSlot: number
  readonly answer: () => void
  timer?: NodeJS.Timeout
}
type BlockStream = ServerWritableStream<BlocksRequest, KeyBlock>
type StatusStream = ServerWritableStream<Empty, PoolStatus>
type CallStatus = { readonly code: grpcStatus; readonly details: string }
type AnyCall = Pick<GetKeyCall, 'getAuthContext'>

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
  readonly #waiting = new Set<Waiting>()
  readonly #inputs: (KeyServerInput | Wake)[] = []
  #busy = false
  #closed = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: ServeOptions) {
    this.#options = options
  }

  implementation(): UntypedServiceImplementation {
    return {
      getKey: (call: GetKeyCall, reply: sendUnaryData<GetKeyReply>) => this.#getKey(call, reply),
      keyPoolStatus: (call: AnyCall, reply: sendUnaryData<PoolStatus>) => {
        if (this.#clientOf(call) === undefined) {
          reply(NO_IDENTITY)
          return
        }
        reply(null, this.#options.node.status(this.#options.nowMs()))
      },
      watchPool: (call: StatusStream) => this.#watchPool(call),
      blocks: (call: BlockStream) => this.#blocks(call),
      reportUse: (call: ServerUnaryCall<ReportUseRequest, Empty>, reply: sendUnaryData<Empty>) => {
        const client = this.#clientOf(call)
        if (client === undefined) {
          reply(NO_IDENTITY)
          return
        }
        for (const use of call.request.uses) this.feed({ kind: 'report', client, ...use })
        reply(null, {})
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
        this.#answerWaiting()
      }
    } finally {
      this.#busy = false
    }
    this.#arm()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const waiting of this.#waiting) clearTimeout(waiting.timer)
    for (const call of [...this.#blockStreams.values(), ...this.#statusStreams])
      end(call, grpcStatus.UNAVAILABLE, 'closing')
  }

  #arm(): void {
    clearTimeout(this.#timer)
    const { node, nowMs } = this.#options
    if (node.wakeAtMs === undefined || this.#closed) return
    this.#timer = setTimeout(() => this.feed({ kind: 'wake' }), Math.max(0, Math.ceil(node.wakeAtMs - nowMs())))
  }

  #carryOut(effect: KeyServerEffect): void {
    switch (effect.kind) {
      case 'blocks':
        this.#blockStreams.get(effect.client)?.write(effect.block)
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

  #getKey(call: GetKeyCall, reply: sendUnaryData<GetKeyReply>): void {
    const { node } = this.#options
    const client = this.#clientOf(call)
    const { channel, slots, upToSlot } = call.request
    const stream = node.stream(channel)
    // Without an absolute goal, a call means slots that nobody has asked for yet.
    const fromSlot = (upToSlot === undefined ? stream?.wantedSlots : stream?.assignedSlots) ?? 0
    const goal = upToSlot ?? fromSlot + slots
    const refusal = client === undefined ? NO_IDENTITY : this.#getKeyRefusal(client, call.request, goal)
    if (client === undefined || refusal !== undefined) {
      reply(refusal ?? NO_IDENTITY)
      return
    }
    const assignedSlots = (): number => node.stream(channel)?.assignedSlots ?? 0
    const answer = (): void => {
      const blocks = node.give(client, channel, fromSlot).filter((block) => block.slot < goal)
      reply(null, { blocks, assignedSlots: assignedSlots() })
    }
    this.feed({ kind: 'want', client, channel, upToSlot: goal })
    if (goal <= fromSlot || assignedSlots() > fromSlot) answer()
    else this.#wait(call, { client, channel, fromSlot, answer }, reply)
  }

  #getKeyRefusal(client: string, request: GetKeyRequest, goal: number): CallStatus | undefined {
    const { channel, slots, upToSlot, instance = '' } = request
    if (instance !== '' && this.#blockStreams.get(client)?.request.instance !== instance) {
      return { code: grpcStatus.FAILED_PRECONDITION, details: 'no Blocks stream of this instance' }
    }
    const reason = this.#options.node.refusal(client, channel, goal)
    if (reason !== undefined) return { code: REFUSAL_CODES[reason], details: reason }
    if (upToSlot === undefined && (slots < 1 || slots > MAX_WANT_SLOTS)) {
      return { code: grpcStatus.INVALID_ARGUMENT, details: `slots ${slots} is not in 1..${MAX_WANT_SLOTS}` }
    }
    const waiting = [...this.#waiting].filter((entry) => entry.client === client).length
    if (waiting < MAX_WAITING_PER_CLIENT) return undefined
    return { code: grpcStatus.RESOURCE_EXHAUSTED, details: 'too many calls' }
  }

  #wait(call: GetKeyCall, entry: Waiting, reply: sendUnaryData<GetKeyReply>): void {
    const leftMs = Number(call.getDeadline()) - Date.now() - DEADLINE_MARGIN_MS
    entry.timer = setTimeout(
      () => {
        this.#waiting.delete(entry)
        reply({ code: grpcStatus.RESOURCE_EXHAUSTED, details: 'no key before the deadline' })
      },
      Math.min(MAX_WAIT_MS, Math.max(0, leftMs)),
    )
    this.#waiting.add(entry)
    call.on('cancelled', () => {
      clearTimeout(entry.timer)
      this.#waiting.delete(entry)
    })
  }

  #answerWaiting(): void {
    for (const entry of this.#waiting) {
      if ((this.#options.node.stream(entry.channel)?.assignedSlots ?? 0) <= entry.fromSlot) continue
      this.#waiting.delete(entry)
      clearTimeout(entry.timer)
      entry.answer()
    }
  }

  #blocks(call: BlockStream): void {
    const { node } = this.#options
    const client = this.#clientOf(call)
    if (client === undefined) {
      end(call, grpcStatus.UNAUTHENTICATED, NO_IDENTITY.details)
      return
    }
    const { links, have, instance } = call.request
    const reason = links.map((link) => node.linkRefusal(client, link)).find((refusal) => refusal !== undefined)
    if (reason !== undefined) {
      end(call, REFUSAL_CODES[reason], reason)
      return
    }
    const earlier = this.#blockStreams.get(client)
    if (earlier !== undefined) {
      this.feed({ kind: 'gone', client })
      end(earlier, grpcStatus.ABORTED, 'another stream of this node took over')
    }
    this.#blockStreams.set(client, call)
    const gone = (): void => {
      if (this.#blockStreams.get(client) !== call) return
      this.#blockStreams.delete(client)
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
    if (this.#clientOf(call) === undefined) {
      end(call, grpcStatus.UNAUTHENTICATED, NO_IDENTITY.details)
      return
    }
    const gone = (): void => void this.#statusStreams.delete(call)
    call.on('cancelled', gone)
    call.on('error', gone)
    this.#statusStreams.add(call)
    call.write(this.#options.node.status(this.#options.nowMs()))
  }

  /** The node id of the caller: the common name of the certificate that it proved to hold. */
  #clientOf(call: AnyCall): string | undefined {
    const name: unknown = call.getAuthContext().sslPeerCertificate?.subject.CN
    return typeof name === 'string' && name !== '' ? name : undefined
  }
}

const NO_IDENTITY: CallStatus = { code: grpcStatus.UNAUTHENTICATED, details: 'the certificate names no node' }

function end(call: BlockStream | StatusStream, code: grpcStatus, details: string): void {
  call.emit('error', Object.assign(new Error(details), { code, details }))
}
