import type { MethodDefinition } from '@grpc/grpc-js'
import protobuf from 'protobufjs'
import type { KeyBlock, PoolStatus, StockLevel } from '../runtime/contract.ts'
import { isSlot, SLOT_BYTES } from './pool-options.ts'
import { KEYSERVER_PROTO } from './proto.ts'
import { decodeFields, encodeFields } from './protobuf-fields.ts'
import type { StreamPosition } from './server-contract.ts'

export type GetKeyRequest = {
  readonly channel: number
  readonly slots: number
  readonly upToSlot?: number
  readonly instance?: string
  readonly topUpToSlot?: number
  readonly quota?: string
}
/**
 * One of many questions on a stream. `request` names it in its answer; `waitMs` is in place of a deadline; with `quiet`, new key
 * is all the answer.
 */
export type KeyQuestion = {
  readonly request: number
  readonly getKey: GetKeyRequest
  readonly waitMs: number
  readonly quiet?: boolean
}
/** A question, and those that come with it: at most MAX_TOGETHER in all. */
export type GetKeysRequest = KeyQuestion & { readonly further?: readonly KeyQuestion[] }
/** `code` is a status code of gRPC, 0 where the question was granted. */
export type GetKeysReply = {
  readonly request: number
  readonly code: number
  readonly details: string
  readonly assignedSlots: number
}
export type GetKeyReply = { readonly blocks: readonly KeyBlock[]; readonly assignedSlots: number }
export type BlocksRequest = {
  readonly links: readonly number[]
  readonly have: readonly StreamPosition[]
  readonly instance: string
  /** The caller reads messages of several blocks. */
  readonly together?: boolean
}
/** A block, and those that come with it, in the order in which they are to be taken. */
export type SentBlock = KeyBlock & { readonly further?: readonly KeyBlock[] }
export type StreamUse = {
  readonly channel: number
  readonly heldSlots: number
  readonly usedSlots: number
  readonly discardedSlots?: number
}
export type ReportUseRequest = { readonly uses: readonly StreamUse[] }
export type Empty = Readonly<Record<string, never>>

/** Questions that may come in one message. */
export const MAX_TOGETHER = 256
const NO_BYTES = new Uint8Array(0)

type Fields = Record<string, unknown>
type Codec<T> = { readonly serialize: (value: T) => Buffer; readonly deserialize: (bytes: Buffer) => T }

const { root } = protobuf.parse(KEYSERVER_PROTO)

/** `write` gives a message's fields, `read` takes them with all defaults set and 64-bit integers as numbers. */
function codec<T>(name: string, write: (value: T) => Fields, read: (fields: Fields) => T): Codec<T> {
  // What it is compiled to is made now, not in the middle of the first messages, which come from all nodes at once.
  const type = root.lookupType(`q104.v1.${name}`).setup()
  return {
    serialize: (value) => Buffer.from(type.encode(type.fromObject(write(value))).finish()),
    deserialize: (bytes) => read(type.toObject(type.decode(bytes), { longs: Number, enums: String, defaults: true })),
  }
}

/** Key bytes leave no copy behind here: the block's own are overwritten once sent, the message's once read. */
function wiping<T>(inner: Codec<T>, blocksOf: (value: T) => readonly KeyBlock[]): Codec<T> {
  return {
    serialize: (value) => {
      const bytes = inner.serialize(value)
      for (const block of blocksOf(value)) block.bytes.fill(0)
      return bytes
    },
    deserialize: (bytes) => {
      const value = inner.deserialize(bytes)
      bytes.fill(0)
      return value
    },
  }
}

function writeBlock(block: KeyBlock): Fields {
  return { channel: block.channel, slot: block.slot, key: block.bytes }
}

function readBlock(fields: Fields): KeyBlock {
  const { channel, slot, key } = fields as { channel: number; slot: number; key: Uint8Array }
  if (!isSlot(slot) || key.length % SLOT_BYTES !== 0) {
    throw new RangeError(`BAD_BLOCK of ${key.length} bytes at slot ${slot} of channel ${channel}`)
  }
  return { channel, slot, bytes: new Uint8Array(key) }
}

const LEVEL_PREFIX = 'STOCK_LEVEL_'
const LEVELS: readonly StockLevel[] = ['normal', 'warn', 'reconfigure', 'protect']

function writeStatus(status: PoolStatus): Fields {
  return { ...status, level: LEVEL_PREFIX + status.level.toUpperCase() }
}

function readStatus(fields: Fields): PoolStatus {
  const level = LEVELS.find((name) => LEVEL_PREFIX + name.toUpperCase() === fields['level'])
  if (level === undefined || fields['books'] === null) throw new RangeError('BAD_STATUS')
  return { ...(fields as PoolStatus), level }
}

const empty = codec<Empty>(
  'Empty',
  () => ({}),
  () => ({}),
)

const block = wiping<SentBlock>(
  {
    serialize: ({ channel, slot, bytes, further = [] }) =>
      encodeFields([channel, slot, bytes, further.map(encodeBlock)]),
    deserialize(message) {
      const further: KeyBlock[] = []
      const first = decodeBlock(message, (octets) => further.push(decodeBlock(octets)))
      return further.length === 0 ? first : { ...first, further }
    },
  },
  (value) => [value, ...(value.further ?? [])],
)

function encodeBlock({ channel, slot, bytes }: KeyBlock): Buffer {
  return encodeFields([channel, slot, bytes])
}

function decodeBlock(message: Uint8Array, takeFurther?: (octets: Uint8Array) => void): KeyBlock {
  const fields: { channel: number; slot: number; key: Uint8Array } = { channel: 0, slot: 0, key: NO_BYTES }
  decodeFields(message, (field, value) => {
    if (typeof value !== 'number') {
      if (field === 3) fields.key = value
      else if (field === 4) takeFurther?.(value)
    } else if (field === 1) fields.channel = value >>> 0
    else if (field === 2) fields.slot = value
  })
  return readBlock(fields)
}

const getKeyRequest = codec<GetKeyRequest>(
  'GetKeyRequest',
  (value) => ({ ...value }),
  (fields) => fields as GetKeyRequest,
)

const getKeysRequest: Codec<GetKeysRequest> = {
  serialize: ({ further, ...first }) => encodeQuestion(first, further),
  deserialize(message) {
    const further: KeyQuestion[] = []
    const first = decodeQuestion(message, (octets) => {
      if (further.push(decodeQuestion(octets)) >= MAX_TOGETHER) throw new RangeError('BAD_MESSAGE: too many questions')
    })
    return further.length === 0 ? first : { ...first, further }
  },
}

function encodeQuestion({ request, getKey, waitMs, quiet }: KeyQuestion, further: readonly KeyQuestion[] = []): Buffer {
  const others = further.map((question) => encodeQuestion(question))
  return encodeFields([request, writeGetKey(getKey), waitMs, others, quiet === true ? 1 : 0])
}

function decodeQuestion(message: Uint8Array, takeFurther?: (octets: Uint8Array) => void): KeyQuestion {
  let [request, waitMs, quiet] = [0, 0, false]
  let getKey: GetKeyRequest = { channel: 0, slots: 0 }
  decodeFields(message, (field, value) => {
    if (typeof value !== 'number') {
      if (field === 2) getKey = readGetKey(value)
      else if (field === 4) takeFurther?.(value)
    } else if (field === 1) request = value >>> 0
    else if (field === 3) waitMs = value >>> 0
    else if (field === 5) quiet = value !== 0
  })
  return { request, getKey, waitMs, quiet }
}

function writeGetKey({ channel, slots, upToSlot, instance, topUpToSlot, quota }: GetKeyRequest): Buffer {
  return encodeFields([channel, slots, upToSlot, instance, topUpToSlot, quota])
}

function readGetKey(message: Uint8Array): GetKeyRequest {
  const fields: { -readonly [Field in keyof GetKeyRequest]: GetKeyRequest[Field] } = { channel: 0, slots: 0 }
  decodeFields(message, (field, value) => {
    if (typeof value !== 'number') {
      if (field === 4) fields.instance = textOf(value)
      else if (field === 6) fields.quota = textOf(value)
    } else if (field === 1) fields.channel = value >>> 0
    else if (field === 2) fields.slots = value >>> 0
    else if (field === 3) fields.upToSlot = value
    else if (field === 5) fields.topUpToSlot = value
  })
  return fields
}

const getKeysReply: Codec<GetKeysReply> = {
  serialize: ({ request, code, details, assignedSlots }) => encodeFields([request, code, details, assignedSlots]),
  deserialize(message) {
    const fields = { request: 0, code: 0, details: '', assignedSlots: 0 }
    decodeFields(message, (field, value) => {
      if (typeof value !== 'number') fields.details = field === 3 ? textOf(value) : fields.details
      else if (field === 1) fields.request = value >>> 0
      else if (field === 2) fields.code = value >>> 0
      else if (field === 4) fields.assignedSlots = value
    })
    return fields
  },
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}

const getKeyReply = wiping(
  codec<GetKeyReply>(
    'GetKeyReply',
    (value) => ({ blocks: value.blocks.map(writeBlock), assignedSlots: value.assignedSlots }),
    (fields) => {
      const { blocks, assignedSlots } = fields as { blocks: Fields[]; assignedSlots: number }
      return { blocks: blocks.map(readBlock), assignedSlots }
    },
  ),
  (value) => value.blocks,
)

const blocksRequest = codec<BlocksRequest>(
  'BlocksRequest',
  (value) => ({ ...value }),
  (fields) => fields as BlocksRequest,
)

const reportUseRequest: Codec<ReportUseRequest> = {
  serialize: ({ uses }) =>
    encodeFields([
      uses.map(({ channel, heldSlots, usedSlots, discardedSlots }) =>
        encodeFields([channel, heldSlots, usedSlots, discardedSlots]),
      ),
    ]),
  deserialize(message) {
    const uses: StreamUse[] = []
    decodeFields(message, (field, value) => {
      if (field === 1 && typeof value !== 'number') uses.push(readUse(value))
    })
    return { uses }
  },
}

function readUse(message: Uint8Array): StreamUse {
  const use = { channel: 0, heldSlots: 0, usedSlots: 0, discardedSlots: 0 }
  decodeFields(message, (field, value) => {
    if (typeof value !== 'number') return
    if (field === 1) use.channel = value >>> 0
    else if (field === 2) use.heldSlots = value
    else if (field === 3) use.usedSlots = value
    else if (field === 4) use.discardedSlots = value
  })
  return use
}

const poolStatus = codec<PoolStatus>('PoolStatus', writeStatus, readStatus)

function method<Request, Reply>(
  name: string,
  request: Codec<Request>,
  reply: Codec<Reply>,
  responseStream = false,
  requestStream = false,
): MethodDefinition<Request, Reply> {
  return {
    path: `/q104.v1.KeyServer/${name}`,
    requestStream,
    responseStream,
    requestSerialize: request.serialize,
    requestDeserialize: request.deserialize,
    responseSerialize: reply.serialize,
    responseDeserialize: reply.deserialize,
  }
}

/** The methods of the service q104.v1.KeyServer, as @grpc/grpc-js wants them. */
export const keyServerService = {
  getKey: method('GetKey', getKeyRequest, getKeyReply),
  getKeys: method('GetKeys', getKeysRequest, getKeysReply, true, true),
  keyPoolStatus: method('KeyPoolStatus', empty, poolStatus),
  watchPool: method('WatchPool', empty, poolStatus, true),
  blocks: method('Blocks', blocksRequest, block, true),
  reportUse: method('ReportUse', reportUseRequest, empty),
} as const
