/**
 * What the two ends of a link say to each other so that each can fetch the same keys from its own key manager:
 *
 * ```
 *  0        4      5         7         15      19      27            n      n+32
 *  "Q4P1"   type   channel   session   batch   slot    the rest      tag
 * ```
 *
 * Big-endian. `session` is the sender's nonce in `hello` and `welcome`. The tag (32 octets) is over all before it, with a
 * secret that both ends hold beforehand. key_IDs are no secret; that nobody else can name them is what the tag is for.
 */
export type PairingMessage = {
  readonly channel: number
  /** 8 octets. */
  readonly session: Uint8Array
} /** The channel's sender wants a session; its stream goes on at `slot`. `life` (8 octets) is new with each process. */ & (
  | { readonly kind: 'hello'; readonly slot: number; readonly life: Uint8Array }
  /** The receiver gives one, says how far its stream reaches at least, and up to where it holds the key (0: of none). */
  | { readonly kind: 'welcome'; readonly slot: number; readonly newSession: Uint8Array; readonly heldSlot: number }
  /** Keys the sender has: they are to become the stream from `slot` on. */
  | {
      readonly kind: 'offer'
      readonly batch: number
      readonly slot: number
      readonly keyBytes: number
      readonly keyIds: readonly string[]
    }
  /** The receiver has them too. */
  | { readonly kind: 'have'; readonly batch: number }
  /** The receiver's manager does not have them (any more): the sender lets them go. */
  | { readonly kind: 'lost'; readonly batch: number }
  /** The receiver does not know the session of an offer. */
  | { readonly kind: 'unknown' }
)

export const SESSION_BYTES = 8
/** Octets of one offer's key_IDs, so that it fits a datagram of 1280 octets. */
export const MAX_IDS_BYTES = 1180

export type Mac = (message: Uint8Array) => Uint8Array

const MAGIC = 0x51345031
const KINDS = ['hello', 'welcome', 'offer', 'have', 'lost', 'unknown'] as const
const HEAD_BYTES = 27
const TAG_BYTES = 32
const MAX_BYTES = 1280

export function writePairingMessage(message: PairingMessage, mac: Mac): Uint8Array {
  const rest = restOf(message)
  const bytes = new Uint8Array(HEAD_BYTES + rest.length + TAG_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC)
  view.setUint8(4, KINDS.indexOf(message.kind) + 1)
  view.setUint16(5, message.channel)
  bytes.set(message.session, 7)
  view.setUint32(15, 'batch' in message ? message.batch : 0)
  view.setBigUint64(19, BigInt('slot' in message ? message.slot : 0))
  bytes.set(rest, HEAD_BYTES)
  bytes.set(mac(bytes.subarray(0, -TAG_BYTES)).subarray(0, TAG_BYTES), HEAD_BYTES + rest.length)
  return bytes
}

/** Undefined if it is not such a message or its tag is wrong. */
export function readPairingMessage(bytes: Uint8Array, mac: Mac): PairingMessage | undefined {
  if (bytes.length < HEAD_BYTES + TAG_BYTES || bytes.length > MAX_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0) !== MAGIC) return undefined
  if (!sameOctets(mac(bytes.subarray(0, -TAG_BYTES)), bytes.subarray(-TAG_BYTES))) return undefined
  const kind = KINDS[view.getUint8(4) - 1]
  const slot = Number(view.getBigUint64(19))
  const rest = bytes.subarray(HEAD_BYTES, -TAG_BYTES)
  if (!Number.isSafeInteger(slot)) return undefined
  const common = { channel: view.getUint16(5), session: bytes.slice(7, 15) }
  const batch = view.getUint32(15)
  switch (kind) {
    case 'hello':
      return rest.length === SESSION_BYTES ? { ...common, kind, slot, life: rest.slice() } : undefined
    case 'welcome':
      return readWelcome(common, slot, rest)
    case 'offer':
      return readOffer({ ...common, kind, batch, slot }, rest)
    case 'have':
    case 'lost':
      return { ...common, kind, batch }
    case 'unknown':
      return { ...common, kind }
    default:
      return undefined
  }
}

export function sameOctets(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length
  for (const [index, octet] of one.entries()) difference |= octet ^ (other[index] ?? 0)
  return difference === 0
}

type Common = { readonly channel: number; readonly session: Uint8Array }

function readWelcome(common: Common, slot: number, rest: Uint8Array): PairingMessage | undefined {
  if (rest.length !== SESSION_BYTES + 8) return undefined
  const heldSlot = Number(new DataView(rest.buffer, rest.byteOffset).getBigUint64(SESSION_BYTES))
  if (!Number.isSafeInteger(heldSlot)) return undefined
  return { ...common, kind: 'welcome', slot, newSession: rest.slice(0, SESSION_BYTES), heldSlot }
}

function readOffer(
  head: Common & { readonly kind: 'offer'; readonly batch: number; readonly slot: number },
  rest: Uint8Array,
): PairingMessage | undefined {
  if (rest.length < 5) return undefined
  const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength)
  const keyIds: string[] = []
  let at = 4
  while (at < rest.length) {
    const length = view.getUint8(at)
    const id = rest.subarray(at + 1, at + 1 + length)
    if (length === 0 || id.length < length) return undefined
    keyIds.push(String.fromCharCode(...id))
    at += 1 + length
  }
  return { ...head, keyBytes: view.getUint32(0), keyIds }
}

function restOf(message: PairingMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return message.life
    case 'welcome': {
      const rest = new Uint8Array(SESSION_BYTES + 8)
      rest.set(message.newSession)
      new DataView(rest.buffer).setBigUint64(SESSION_BYTES, BigInt(message.heldSlot))
      return rest
    }
    case 'offer': {
      const ids = message.keyIds.flatMap((id) => [id.length, ...new TextEncoder().encode(id)])
      const rest = new Uint8Array(4 + ids.length)
      new DataView(rest.buffer).setUint32(0, message.keyBytes)
      rest.set(ids, 4)
      return rest
    }
    default:
      return new Uint8Array(0)
  }
}
