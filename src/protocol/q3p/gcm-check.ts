/**
 * Tells a forged AES-128-GCM tag from a true one without node:crypto's exception for a wrong one, which costs more than all
 * the rest: under a flood of forgeries it is what keeps the receiver free. What passes is still opened by node:crypto.
 *
 * The tag is E(K, nonce || 1) XOR GHASH(H; header, ciphertext, lengths) with H = E(K, 0) (NIST SP 800-38D, 7.1). AES is
 * node:crypto's; GHASH multiplies in GF(2^128) with integer multiplications only, no table and no branch on key, so that its
 * time tells nothing of H.
 */
import { type Cipher, createCipheriv } from 'node:crypto'

const BLOCK_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
const WORDS = 4
/** Terms of a 128-bit product after two steps of Karatsuba, each once as it is and once with its bits reversed. */
const TERMS = 9

/** A tag checker for one AES-128 key. */
export class GcmCheck {
  readonly #cipher: Cipher
  /** Factors of H: terms as they are, then reversed. */
  readonly #h = new Int32Array(2 * TERMS)

  /** The key's octets are not kept here; the cipher has its own copy. */
  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null)
    this.#cipher.setAutoPadding(false)
    const hash = this.#cipher.update(ZERO_BLOCK)
    readWords(hash, 0, TAIL)
    spread(TAIL, this.#h)
    hash.fill(0)
    TAIL.fill(0)
  }

  /** Whether the last 16 octets of `frame` are its tag; its first `headerBytes` are associated data. */
  isTrue(frame: Uint8Array, headerBytes: number, nonce: Uint8Array): boolean {
    const tagOffset = frame.length - TAG_BYTES
    STATE.fill(0)
    absorb(frame, 0, headerBytes, this.#h)
    absorb(frame, headerBytes, tagOffset, this.#h)
    // Lengths in bits, 64 each; a datagram's are below 2^32.
    STATE[2] = (STATE[2] ?? 0) ^ (headerBytes * 8)
    STATE[0] = (STATE[0] ?? 0) ^ ((tagOffset - headerBytes) * 8)
    multiply(this.#h)
    COUNTER.set(nonce)
    COUNTER.fill(0, NONCE_BYTES)
    COUNTER[BLOCK_BYTES - 1] = 1
    const mask = this.#cipher.update(COUNTER)
    readWords(mask, 0, TAIL)
    let difference = 0
    for (let word = 0; word < WORDS; word += 1) {
      const at = tagOffset + 4 * (WORDS - 1 - word)
      difference |= word32(frame, at, frame.length) ^ (TAIL[word] ?? 0) ^ (STATE[word] ?? 0)
    }
    mask.fill(0)
    TAIL.fill(0)
    return difference === 0
  }

  /** Overwrites H. */
  wipe(): void {
    this.#h.fill(0)
  }
}

const ZERO_BLOCK = new Uint8Array(BLOCK_BYTES)
const COUNTER = new Uint8Array(BLOCK_BYTES)
/** Words of 32 bits, the last octets of a block in word 0. */
const STATE = new Int32Array(WORDS)
const TAIL = new Int32Array(WORDS)
const FACTORS = new Int32Array(2 * TERMS)
const PRODUCTS = new Int32Array(2 * TERMS)
const WIDE = new Int32Array(2 * WORDS)

/** Takes octets into the hash, the last block filled up with zeros. */
function absorb(bytes: Uint8Array, from: number, to: number, h: Int32Array): void {
  for (let at = from; at < to; at += BLOCK_BYTES) {
    STATE[3] = (STATE[3] ?? 0) ^ word32(bytes, at, to)
    STATE[2] = (STATE[2] ?? 0) ^ word32(bytes, at + 4, to)
    STATE[1] = (STATE[1] ?? 0) ^ word32(bytes, at + 8, to)
    STATE[0] = (STATE[0] ?? 0) ^ word32(bytes, at + 12, to)
    multiply(h)
  }
}

/** Four octets, big-endian; those from `end` on count as zero. */
function word32(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) {
    return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)
  }
  let word = 0
  for (let index = 0; index < 4; index += 1) word = (word << 8) | (at + index < end ? (bytes[at + index] ?? 0) : 0)
  return word
}

function readWords(bytes: Uint8Array, offset: number, words: Int32Array): void {
  for (let word = 0; word < WORDS; word += 1)
    words[word] = word32(bytes, offset + 4 * (WORDS - 1 - word), offset + BLOCK_BYTES)
}

/** STATE times H, in place. */
function multiply(h: Int32Array): void {
  spread(STATE, FACTORS)
  for (let term = 0; term < 2 * TERMS; term += 1) PRODUCTS[term] = carryless(FACTORS[term] ?? 0, h[term] ?? 0)
  const low = (term: number): number => PRODUCTS[term] ?? 0
  const high = (term: number): number => PRODUCTS[TERMS + term] ?? 0
  // Terms 0 to 3 are the words; 4: 0+1, 5: 2+3, 6: 0+2, 7: 1+3, 8: all four.
  const [l01, l23, l0213] = [low(4) ^ low(0) ^ low(1), low(5) ^ low(2) ^ low(3), low(8) ^ low(6) ^ low(7)]
  const [h01, h23, h0213] = [high(4) ^ high(0) ^ high(1), high(5) ^ high(2) ^ high(3), high(8) ^ high(6) ^ high(7)]
  WIDE[0] = low(0)
  WIDE[1] = l01 ^ upper(high(0))
  WIDE[2] = low(1) ^ low(0) ^ low(2) ^ low(6) ^ upper(h01)
  WIDE[3] = l01 ^ l23 ^ l0213 ^ upper(high(1) ^ high(0) ^ high(2) ^ high(6))
  WIDE[4] = low(2) ^ low(1) ^ low(3) ^ low(7) ^ upper(h01 ^ h23 ^ h0213)
  WIDE[5] = l23 ^ upper(high(2) ^ high(1) ^ high(3) ^ high(7))
  WIDE[6] = low(3) ^ upper(h23)
  WIDE[7] = upper(high(3))
  reduce()
}

/** Brings WIDE, a product of 255 bits in GCM's order of bits, back to 128 and puts it into STATE. */
function reduce(): void {
  for (let word = 2 * WORDS - 1; word > 0; word -= 1)
    WIDE[word] = ((WIDE[word] ?? 0) << 1) | ((WIDE[word - 1] ?? 0) >>> 31)
  WIDE[0] = (WIDE[0] ?? 0) << 1
  for (let word = 0; word < WORDS; word += 1) {
    const out = WIDE[word] ?? 0
    WIDE[word + 4] = (WIDE[word + 4] ?? 0) ^ out ^ (out >>> 1) ^ (out >>> 2) ^ (out >>> 7)
    WIDE[word + 3] = (WIDE[word + 3] ?? 0) ^ (out << 31) ^ (out << 30) ^ (out << 25)
  }
  for (let word = 0; word < WORDS; word += 1) STATE[word] = WIDE[word + WORDS] ?? 0
}

/** The factors that a product needs of four words: sums, and all of them with their bits reversed. */
function spread(words: Int32Array, out: Int32Array): void {
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = [words[0], words[1], words[2], words[3]]
  sums(w0, w1, w2, w3, out, 0)
  sums(reverse(w0), reverse(w1), reverse(w2), reverse(w3), out, TERMS)
}

function sums(w0: number, w1: number, w2: number, w3: number, out: Int32Array, at: number): void {
  out[at] = w0
  out[at + 1] = w1
  out[at + 2] = w2
  out[at + 3] = w3
  out[at + 4] = w0 ^ w1
  out[at + 5] = w2 ^ w3
  out[at + 6] = w0 ^ w2
  out[at + 7] = w1 ^ w3
  out[at + 8] = w0 ^ w1 ^ w2 ^ w3
}

/** The upper half of a product, from the lower half of the product of the reversed factors. */
function upper(reversedLow: number): number {
  return reverse(reversedLow) >>> 1
}

/**
 * Low 32 bits of the product without carries. Every fourth bit is multiplied apart, so that carries of the integer
 * product fall into the three bits between and are masked away.
 */
function carryless(x: number, y: number): number {
  const [x0, x1, x2, x3] = [x & 0x11111111, x & 0x22222222, x & 0x44444444, x & 0x88888888]
  const [y0, y1, y2, y3] = [y & 0x11111111, y & 0x22222222, y & 0x44444444, y & 0x88888888]
  const z0 = Math.imul(x0, y0) ^ Math.imul(x1, y3) ^ Math.imul(x2, y2) ^ Math.imul(x3, y1)
  const z1 = Math.imul(x0, y1) ^ Math.imul(x1, y0) ^ Math.imul(x2, y3) ^ Math.imul(x3, y2)
  const z2 = Math.imul(x0, y2) ^ Math.imul(x1, y1) ^ Math.imul(x2, y0) ^ Math.imul(x3, y3)
  const z3 = Math.imul(x0, y3) ^ Math.imul(x1, y2) ^ Math.imul(x2, y1) ^ Math.imul(x3, y0)
  return (z0 & 0x11111111) | (z1 & 0x22222222) | (z2 & 0x44444444) | (z3 & 0x88888888)
}

function reverse(word: number): number {
  let bits = ((word & 0x55555555) << 1) | ((word >>> 1) & 0x55555555)
  bits = ((bits & 0x33333333) << 2) | ((bits >>> 2) & 0x33333333)
  bits = ((bits & 0x0f0f0f0f) << 4) | ((bits >>> 4) & 0x0f0f0f0f)
  bits = ((bits & 0x00ff00ff) << 8) | ((bits >>> 8) & 0x00ff00ff)
  return (bits << 16) | (bits >>> 16)
}
