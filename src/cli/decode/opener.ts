import { AES_KEY_BYTES, HANDSHAKE_SLOTS, type Header, openAes, openAuth, SLOT_BYTES } from '../../protocol/index.ts'
import type { KeyBook, NoKey } from './key-book.ts'

const MAC_SLOTS = 4
const AES_SLOTS = AES_KEY_BYTES / SLOT_BYTES

/** The 64-bit numbers of a frame. */
export type FrameNumbers = { readonly msgId: number; readonly eSlot: number; readonly aSlot: number }

export type Verdict = {
  /** `unverified`: the key log has not the key. `bad`: wrong tag, or the key log contradicts itself. */
  readonly tag: 'good' | 'bad' | 'unverified'
  /** The payload in the clear, where it can be had; of authenticated plaintext always. */
  readonly text: Uint8Array | undefined
  readonly noKey: NoKey | undefined
  /** Msg-Id at which the epoch begins whose r the tag was checked with. */
  readonly epochMsgId: number | undefined
}

/** Key slots that a message takes from the stream, counted from its first; with AES what a new key takes. */
export function slotsOf(
  { command, suite }: Header,
  { eSlot, aSlot }: FrameNumbers,
  payloadBytes: number,
): { readonly first: number; readonly count: number } {
  if (command === 'handshake') return { first: aSlot, count: HANDSHAKE_SLOTS }
  if (suite === 'otp') return { first: eSlot, count: padSlots(payloadBytes) + MAC_SLOTS }
  if (suite === 'auth') return { first: aSlot, count: MAC_SLOTS }
  return { first: eSlot, count: AES_SLOTS }
}

/** Checks the tag of a datagram and opens it with the keys of the log. */
export function openFrame(
  datagram: Uint8Array,
  header: Header,
  payload: Uint8Array,
  numbers: FrameNumbers,
  keys: KeyBook,
): Verdict {
  const verdict = opened(datagram, header, payload, numbers, keys)
  const epochMsgId = undefined
  const text = header.suite === 'auth' ? payload : undefined
  return { text, noKey: undefined, epochMsgId, ...verdict }
}

type Partly = Pick<Verdict, 'tag'> & Partial<Verdict>

function opened(
  datagram: Uint8Array,
  { suite, channel, command }: Header,
  payload: Uint8Array,
  { msgId, eSlot, aSlot }: FrameNumbers,
  keys: KeyBook,
): Partly {
  if (suite === 'aes') {
    const key = keys.key(channel, eSlot, AES_SLOTS)
    if (typeof key === 'string') return without(key)
    const text = openAes(datagram, { key, channel, msgId })
    return text === undefined ? { tag: 'bad' } : { tag: 'good', text }
  }
  const isHandshake = command === 'handshake'
  const epoch = isHandshake ? undefined : keys.epoch(channel, msgId)
  if (!isHandshake && (epoch === undefined || epoch.r === 'contradiction')) return without(epoch?.r ?? 'missing')
  const own = keys.key(channel, aSlot, isHandshake ? HANDSHAKE_SLOTS : MAC_SLOTS)
  if (typeof own === 'string') return without(own)
  const mac = isHandshake ? { r: own.subarray(0, 16), s: own.subarray(16) } : { r: rOf(epoch), s: own }
  const epochMsgId = epoch?.msgId
  if (openAuth(datagram, mac) === undefined) return { tag: 'bad', epochMsgId }
  if (suite === 'auth') return { tag: 'good', epochMsgId }
  const pad = keys.key(channel, eSlot, padSlots(payload.length))
  if (typeof pad === 'string') return { tag: pad === 'missing' ? 'good' : 'bad', noKey: pad, epochMsgId }
  return { tag: 'good', text: payload.map((octet, index) => octet ^ (pad[index] ?? 0)), epochMsgId }
}

function rOf(epoch: ReturnType<KeyBook['epoch']>): Uint8Array {
  return epoch === undefined || epoch.r === 'contradiction' ? new Uint8Array(16) : epoch.r
}

function without(why: NoKey | Uint8Array): Partly {
  return why === 'contradiction' ? { tag: 'bad', noKey: why } : { tag: 'unverified', noKey: 'missing' }
}

function padSlots(payloadBytes: number): number {
  return Math.ceil(payloadBytes / SLOT_BYTES)
}
