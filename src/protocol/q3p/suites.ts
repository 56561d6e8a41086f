/**
 * The suites: what is done to the octets of a frame with given keys. Sealing works in place on a datagram whose header
 * is written; opening leaves the datagram as it is and gives a copy of the payload, or undefined when the tag is wrong.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { HEADER_BYTES, TAG_BYTES } from './header.ts'
import { putU64 } from './octets.ts'
import { verifyTag, writeTag } from './poly1305.ts'

/** Octets of an AES-128 key. */
export const AES_KEY_BYTES = 16
const AES = 'aes-128-gcm'
const NONCE_BYTES = 12

/** Halves of the Poly1305 key: r of the channel's epoch, s fresh for each message. */
export type MacKey = { readonly r: Uint8Array; readonly s: Uint8Array }

/** AES key with what makes the nonce unique: a key is used in one channel, and a Msg-Id once. */
export type AesKey = { readonly key: Uint8Array; readonly channel: number; readonly msgId: number }

/** Puts the payload and its tag into the datagram, in the clear. */
export function sealAuth(datagram: Uint8Array, payload: Uint8Array, mac: MacKey): void {
  datagram.set(payload, HEADER_BYTES)
  putTag(datagram, mac)
}

/** Payload of an authenticated plaintext frame. */
export function openAuth(datagram: Uint8Array, mac: MacKey): Uint8Array | undefined {
  if (!verifyTag(datagram, mac.r, mac.s)) return undefined
  return datagram.slice(HEADER_BYTES, datagram.length - TAG_BYTES)
}

/** Puts payload XOR pad and the tag into the datagram. The pad is at least as long as the payload. */
export function sealOtp(datagram: Uint8Array, payload: Uint8Array, pad: Uint8Array, mac: MacKey): void {
  for (let index = 0; index < payload.length; index += 1) {
    datagram[HEADER_BYTES + index] = (payload[index] ?? 0) ^ (pad[index] ?? 0)
  }
  putTag(datagram, mac)
}

/** Payload of a one-time-pad frame. */
export function openOtp(datagram: Uint8Array, pad: Uint8Array, mac: MacKey): Uint8Array | undefined {
  const payload = openAuth(datagram, mac)
  if (payload !== undefined) xorInto(payload, pad)
  return payload
}

/** Takes the pad, at least as long, off a payload, in place. */
export function xorInto(payload: Uint8Array, pad: Uint8Array): void {
  for (let index = 0; index < payload.length; index += 1) payload[index] = (payload[index] ?? 0) ^ (pad[index] ?? 0)
}

/** Puts the AES-128-GCM ciphertext and tag into the datagram; the header is associated data. */
export function sealAes(datagram: Uint8Array, payload: Uint8Array, { key, channel, msgId }: AesKey): void {
  const cipher = createCipheriv(AES, key, aesNonce(channel, msgId))
  cipher.setAAD(datagram.subarray(0, HEADER_BYTES))
  datagram.set(cipher.update(payload), HEADER_BYTES)
  cipher.final()
  datagram.set(cipher.getAuthTag(), datagram.length - TAG_BYTES)
}

/** Payload of an AES-128-GCM frame. */
export function openAes(datagram: Uint8Array, { key, channel, msgId }: AesKey): Uint8Array | undefined {
  const tagOffset = datagram.length - TAG_BYTES
  const decipher = createDecipheriv(AES, key, aesNonce(channel, msgId), { authTagLength: TAG_BYTES })
  decipher.setAAD(datagram.subarray(0, HEADER_BYTES))
  decipher.setAuthTag(datagram.subarray(tagOffset))
  const payload = decipher.update(datagram.subarray(HEADER_BYTES, tagOffset))
  // A wrong tag comes as an exception, half of whose price is a stack that nobody reads: a flood of them would tell.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    decipher.final()
  } catch (error) {
    payload.fill(0)
    if (error instanceof Error) return undefined
    throw error
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  return payload
}

/** The nonce of a message: channel (2), zero (2), 64-bit Msg-Id (8). */
export function aesNonce(channel: number, msgId: number): Uint8Array {
  const bytes = new Uint8Array(NONCE_BYTES)
  bytes[0] = channel >> 8
  bytes[1] = channel
  putU64(bytes, 4, msgId)
  return bytes
}

function putTag(datagram: Uint8Array, { r, s }: MacKey): void {
  const tagOffset = datagram.length - TAG_BYTES
  writeTag(datagram.subarray(0, tagOffset), r, s, datagram, tagOffset)
}
