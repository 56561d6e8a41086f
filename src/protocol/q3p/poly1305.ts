/** Poly1305 one-time authenticator (RFC 8439, 2.5) by libsodium, in scratch memory that is wiped after each use. */
import sodium from 'libsodium-wrappers-sumo'
import { MAX_DATAGRAM_BYTES } from './header.ts'

/** The raw WebAssembly module under the wrappers. The wrappers free their copies of the key without wiping them. */
type RawSodium = {
  readonly HEAPU8: Uint8Array
  readonly _malloc: (sizeBytes: number) => number
  readonly _crypto_onetimeauth: (out: number, message: number, low: number, high: number, key: number) => number
  readonly _crypto_onetimeauth_verify: (tag: number, message: number, low: number, high: number, key: number) => number
}

await sodium.ready
const raw = (sodium as unknown as { readonly libsodium: RawSodium }).libsodium

/** Half of the one-time key: r, or s. */
export const HALF_KEY_BYTES = 16
const TAG_BYTES = 16
const SCRATCH_BYTES = MAX_DATAGRAM_BYTES
const keyAt = raw._malloc(2 * HALF_KEY_BYTES)
const tagAt = raw._malloc(TAG_BYTES)
const messageAt = raw._malloc(SCRATCH_BYTES)

/** Resolves when the authenticator can be used; importing this module already waits for it. */
export const cryptoReady: Promise<void> = sodium.ready

/** Writes the 16-octet tag of `message` (at most a datagram) under the one-time key r || s to `out` at `offset`. */
export function writeTag(message: Uint8Array, r: Uint8Array, s: Uint8Array, out: Uint8Array, offset: number): void {
  load(message, r, s)
  raw._crypto_onetimeauth(tagAt, messageAt, message.length, 0, keyAt)
  const heap = raw.HEAPU8
  for (let index = 0; index < TAG_BYTES; index += 1) out[offset + index] = heap[tagAt + index] ?? 0
  heap.fill(0, keyAt, keyAt + 2 * HALF_KEY_BYTES)
}

/** Whether the last 16 octets of `frame` are the tag of those before. Constant-time in the tag. */
export function verifyTag(frame: Uint8Array, r: Uint8Array, s: Uint8Array): boolean {
  const sizeBytes = frame.length - TAG_BYTES
  load(frame, r, s)
  const isEqual = raw._crypto_onetimeauth_verify(messageAt + sizeBytes, messageAt, sizeBytes, 0, keyAt) === 0
  raw.HEAPU8.fill(0, keyAt, keyAt + 2 * HALF_KEY_BYTES)
  return isEqual
}

function load(message: Uint8Array, r: Uint8Array, s: Uint8Array): void {
  if (message.length > SCRATCH_BYTES)
    throw new RangeError(`${message.length} octets to authenticate, not 0..${SCRATCH_BYTES}`)
  const heap = raw.HEAPU8
  heap.set(message, messageAt)
  heap.set(r, keyAt)
  heap.set(s, keyAt + HALF_KEY_BYTES)
}
