import type { MethodDefinition } from '@grpc/grpc-js'
import protobuf from 'protobufjs'
import type { KeyBlock, PoolStatus, StockLevel } from '../runtime/contract.ts'
import { isSlot, SLOT_BYTES } from './pool-options.ts'
import { KEYSERVER_PROTO } from './proto.ts'
import type { StreamPosition } from './server-contract.ts'

export type GetKeyRequest = {
  readonly channel: number
  readonly slots: number
  readonly upToSlot?: number
  readonly instance?: string
  readonly topUpToSlot?: number
  readonly quota?: string
}
export type GetKeyReply = { readonly blocks: readonly KeyBlock[]; readonly assignedSlots: number }
export type BlocksRequest = {
  readonly links: readonly number[]
  readonly have: readonly StreamPosition[]
  readonly instance: string
}
export type StreamUse = {
  readonly channel: number
  readonly heldSlots: number
  readonly usedSlots: number
  readonly discardedSlots?: number
}
export type ReportUseRequest = { readonly uses: readonly StreamUse[] }
export type Empty = Readonly<Record<string, never>>

type Fields = Record<string, unknown>
type Codec<T> = { readonly serialize: (value: T) => Buffer; readonly deserialize: (bytes: Buffer) => T }

const { root } = protobuf.parse(KEYSERVER_PROTO)

/** `write` gives a message's fields, `read` takes them with all defaults set and 64-bit integers as numbers. */
function codec<T>(name: string, write: (value: T) => Fields, read: (fields: Fields) => T): Codec<T> {
  const type = root.lookupType(`q104.v1.${name}`)
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
  return { channel, slot, bytes: Uint8Array.from(key) }
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

const block = wiping(codec('KeyBlock', writeBlock, readBlock), (value) => [value])

const getKeyRequest = codec<GetKeyRequest>(
  'GetKeyRequest',
  (value) => ({ ...value }),
  (fields) => fields as GetKeyRequest,
)

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

const reportUseRequest = codec<ReportUseRequest>(
  'ReportUseRequest',
  (value) => ({ ...value }),
  (fields) => fields as ReportUseRequest,
)

const poolStatus = codec<PoolStatus>('PoolStatus', writeStatus, readStatus)

function method<Request, Reply>(
  name: string,
  request: Codec<Request>,
  reply: Codec<Reply>,
  responseStream = false,
): MethodDefinition<Request, Reply> {
  return {
    path: `/q104.v1.KeyServer/${name}`,
    requestStream: false,
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
  keyPoolStatus: method('KeyPoolStatus', empty, poolStatus),
  watchPool: method('WatchPool', empty, poolStatus, true),
  blocks: method('Blocks', blocksRequest, block, true),
  reportUse: method('ReportUse', reportUseRequest, empty),
} as const
