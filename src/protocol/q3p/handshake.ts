/**
 * Payload of a HANDSHAKE, in the clear and authenticated:
 *
 * ```
 *  0     4        12         20        28           36          44   46          48    49
 *  Q3H1  epoch 8  answers 8  Msg-Id 8  acceptsId 8  acceptsS 8  k 2  aesMax 2    n 1   name n
 * ```
 */
import { getU64, putU64 } from './octets.ts'

const MAGIC = Uint8Array.of(0x51, 0x33, 0x48, 0x31)
const FIXED_BYTES = 49
/** Longest name of an end, octets of UTF-8. */
export const MAX_NAME_BYTES = 64

export type Handshake = {
  /** Number of the epoch that this HANDSHAKE opens in its direction, 1..2^53-1. */
  readonly epoch: number
  /** Epoch of the HANDSHAKE that this one answers; 0 when it answers none. */
  readonly answers: number
  /** The message counter of this HANDSHAKE, all of it; the header has the low 32 bits. */
  readonly msgId: number
  /** The sender of this HANDSHAKE takes messages from this Msg-Id on: it may have accepted all before in an earlier life. */
  readonly acceptsMsgId: number
  /** It has no key of the other direction's stream before this slot. */
  readonly acceptsSlot: number
  /** Most I-frames it sends unacknowledged, 1..32767. */
  readonly k: number
  /** Messages it seals under one AES key, 1..512. */
  readonly aesMaxMessages: number
  /** Its node id; empty when it has none. At most 64 octets of UTF-8. */
  readonly name: string
}

/** RangeError for a name that is too long. */
export function encodeHandshake(handshake: Handshake): Uint8Array {
  const name = new TextEncoder().encode(handshake.name)
  if (name.length > MAX_NAME_BYTES) throw new RangeError(`name of ${name.length} octets, not 0..${MAX_NAME_BYTES}`)
  const payload = new Uint8Array(FIXED_BYTES + name.length)
  payload.set(MAGIC)
  const { epoch, answers, msgId, acceptsMsgId, acceptsSlot, k, aesMaxMessages } = handshake
  for (const [index, value] of [epoch, answers, msgId, acceptsMsgId, acceptsSlot].entries()) {
    putU64(payload, 4 + 8 * index, value)
  }
  putU16(payload, 44, k)
  putU16(payload, 46, aesMaxMessages)
  payload[48] = name.length
  payload.set(name, FIXED_BYTES)
  return payload
}

/** Undefined when the payload is not a handshake. */
export function parseHandshake(payload: Uint8Array): Handshake | undefined {
  if (payload.length < FIXED_BYTES || payload.length !== FIXED_BYTES + (payload[48] ?? 0)) return undefined
  if (payload.length > FIXED_BYTES + MAX_NAME_BYTES) return undefined
  if (MAGIC.some((octet, index) => payload[index] !== octet)) return undefined
  const [epoch = 0, answers = 0, msgId = 0, acceptsMsgId = 0, acceptsSlot = 0] = [4, 12, 20, 28, 36].map((offset) =>
    getU64(payload, offset),
  )
  const [k, aesMaxMessages] = [getU16(payload, 44), getU16(payload, 46)]
  if (![epoch, answers, msgId, acceptsMsgId, acceptsSlot].every(Number.isSafeInteger) || epoch === 0) return undefined
  if (k < 1 || k > 0x7fff || aesMaxMessages < 1) return undefined
  const name = new TextDecoder().decode(payload.subarray(FIXED_BYTES))
  return { epoch, answers, msgId, acceptsMsgId, acceptsSlot, k, aesMaxMessages, name }
}

function putU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8
  bytes[offset + 1] = value
}

function getU16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}
