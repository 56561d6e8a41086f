/**
 * Fields of protocol buffers (encoding of varints and length-delimited fields, proto3), for the messages that come for every
 * piece of key: no objects in between, and no copy of key but the message itself. The other messages go by the proto file.
 */

/** Wire types. */
const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5
const MAX_VARINT_BYTES = 10

/**
 * A field to write: a number from 0 to 2^53, octets, or text; zero and empty ones are left out, as proto3 has it. Several octets
 * are a repeated field, of which none is left out. Those are overwritten once they are written: they may hold key.
 */
export type FieldValue = number | string | Uint8Array | readonly Uint8Array[] | undefined

/** A message of the fields with numbers 1, 2, ... (at most 15) in order. RangeError for a number that is no varint here. */
export function encodeFields(values: readonly FieldValue[]): Buffer {
  const encoded = values.map((value) => (typeof value === 'string' ? Buffer.from(value) : value))
  let sizeBytes = 0
  for (const value of encoded) sizeBytes += fieldBytes(value)
  const bytes = Buffer.allocUnsafe(sizeBytes)
  let at = 0
  let field = 0
  for (const value of encoded) {
    field += 1
    if (value === undefined || value === 0) continue
    if (typeof value === 'number') {
      bytes[at] = (field << 3) | VARINT
      at = putVarint(bytes, at + 1, value)
    } else if (isList(value)) {
      for (const octets of value) {
        at = putOctets(bytes, at, field, octets)
        octets.fill(0)
      }
    } else if (value.length > 0) at = putOctets(bytes, at, field, value)
  }
  return bytes
}

/**
 * Calls `take` with every field that is a number or has octets (a view, not a copy). Numbers above 2^53 come rounded. RangeError
 * for what is no message.
 */
export function decodeFields(bytes: Uint8Array, take: (field: number, value: number | Uint8Array) => void): void {
  const cursor = { at: 0 }
  while (cursor.at < bytes.length) {
    const tag = varint(bytes, cursor)
    const field = Math.floor(tag / 8)
    if (field < 1 || tag > 0xffff_ffff) throw new RangeError(`BAD_MESSAGE: tag ${tag}`)
    switch (tag % 8) {
      case VARINT:
        take(field, varint(bytes, cursor))
        break
      case LENGTH_DELIMITED: {
        const sizeBytes = varint(bytes, cursor)
        take(field, bytes.subarray(cursor.at, move(bytes, cursor, sizeBytes)))
        break
      }
      case FIXED64:
        move(bytes, cursor, 8)
        break
      case FIXED32:
        move(bytes, cursor, 4)
        break
      default:
        throw new RangeError(`BAD_MESSAGE: wire type ${tag % 8}`)
    }
  }
}

function fieldBytes(value: Exclude<FieldValue, string>): number {
  if (value === undefined || value === 0) return 0
  if (typeof value === 'number') return 1 + varintBytes(value)
  if (!isList(value)) return value.length === 0 ? 0 : octetsBytes(value)
  let sizeBytes = 0
  for (const octets of value) sizeBytes += octetsBytes(octets)
  return sizeBytes
}

function octetsBytes({ length }: Uint8Array): number {
  return 1 + varintBytes(length) + length
}

function isList(value: Uint8Array | readonly Uint8Array[]): value is readonly Uint8Array[] {
  return Array.isArray(value)
}

function putOctets(bytes: Uint8Array, at: number, field: number, octets: Uint8Array): number {
  bytes[at] = (field << 3) | LENGTH_DELIMITED
  const place = putVarint(bytes, at + 1, octets.length)
  bytes.set(octets, place)
  return place + octets.length
}

/** Moves on by so many octets; gives the new place. */
function move(bytes: Uint8Array, cursor: { at: number }, sizeBytes: number): number {
  if (sizeBytes > bytes.length - cursor.at) throw new RangeError('BAD_MESSAGE: cut off')
  cursor.at += sizeBytes
  return cursor.at
}

function varint(bytes: Uint8Array, cursor: { at: number }): number {
  let [value, factor] = [0, 1]
  for (let count = 0; count < MAX_VARINT_BYTES; count += 1) {
    const octet = bytes[cursor.at]
    if (octet === undefined) throw new RangeError('BAD_MESSAGE: cut off')
    cursor.at += 1
    value += (octet & 0x7f) * factor
    if (octet < 0x80) return value
    factor *= 0x80
  }
  throw new RangeError('BAD_MESSAGE: a number without an end')
}

function varintBytes(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`BAD_FIELD ${value}`)
  let sizeBytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) sizeBytes += 1
  return sizeBytes
}

function putVarint(bytes: Uint8Array, at: number, value: number): number {
  let place = at
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    bytes[place] = (rest % 0x80) | 0x80
    place += 1
  }
  bytes[place] = rest
  return place + 1
}
