/**
 * Application protocol control information, IEC 60870-5-104, clause 5.
 *
 * ```
 *        octet 0  1       2              3         4              5         6..
 * I      0x68     length  N(S) low  | 0  N(S) high  N(R) low | 0  N(R) high ASDU
 * S      0x68     4       0x01           0         N(R) low | 0   N(R) high
 * U      0x68     4       function | 3   0         0              0
 * ```
 */
import { WireError } from './errors.ts'

/** First octet of every APDU. */
export const START_OCTET = 0x68
/** Octets before the ASDU: start, length and the four control field octets. */
export const APCI_BYTES = 6
/** Longest ASDU that an APDU can carry. */
export const MAX_ASDU_BYTES = 249
/** Longest APDU, start and length octets included. */
export const MAX_APDU_BYTES = 255
/** N(S) and N(R) count modulo this. */
export const SEQ_MODULUS = 32_768

const U_OCTETS = {
  startdtAct: 0x07,
  startdtCon: 0x0b,
  stopdtAct: 0x13,
  stopdtCon: 0x23,
  testfrAct: 0x43,
  testfrCon: 0x83,
} as const

/** Function of a U-frame. */
export type UFunction = keyof typeof U_OCTETS

const U_FUNCTIONS = new Map<number, UFunction>(
  Object.entries(U_OCTETS).map(([name, octet]) => [octet, name as UFunction]),
)

export type IFrame = {
  readonly format: 'I'
  readonly sendSeq: number
  readonly recvSeq: number
  /** A view of the parsed octets, not a copy. */
  readonly asdu: Uint8Array
}
export type SFrame = { readonly format: 'S'; readonly recvSeq: number }
export type UFrame = { readonly format: 'U'; readonly function: UFunction }
export type Apdu = IFrame | SFrame | UFrame

/** An I-frame. Sequence numbers 0..32767, ASDU 1..249 octets; RangeError otherwise. */
export function encodeI(sendSeq: number, recvSeq: number, asdu: Uint8Array): Uint8Array {
  if (asdu.length === 0 || asdu.length > MAX_ASDU_BYTES)
    throw new RangeError(`ASDU of ${asdu.length} octets, not 1..249`)
  checkSeq(sendSeq)
  checkSeq(recvSeq)
  const apdu = new Uint8Array(APCI_BYTES + asdu.length)
  apdu[0] = START_OCTET
  apdu[1] = apdu.length - 2
  putSeq(apdu, 2, sendSeq)
  putSeq(apdu, 4, recvSeq)
  apdu.set(asdu, APCI_BYTES)
  return apdu
}

/** An S-frame that acknowledges every I-frame before `recvSeq`. */
export function encodeS(recvSeq: number): Uint8Array {
  checkSeq(recvSeq)
  const apdu = Uint8Array.of(START_OCTET, 4, 0x01, 0, 0, 0)
  putSeq(apdu, 4, recvSeq)
  return apdu
}

/** A U-frame. */
export function encodeU(name: UFunction): Uint8Array {
  return Uint8Array.of(START_OCTET, 4, U_OCTETS[name], 0, 0, 0)
}

/** Reads exactly one APDU. Strict: start octet, exact length, reserved bits zero. Throws WireError only. */
export function parseApdu(bytes: Uint8Array): Apdu {
  if (bytes.length < APCI_BYTES) {
    throw new WireError({ code: 'TRUNCATED', neededBytes: APCI_BYTES, leftBytes: bytes.length }, 0)
  }
  const [start = 0, lengthBytes = 0, c1 = 0, c2 = 0, c3 = 0, c4 = 0] = bytes
  if (start !== START_OCTET) throw new WireError({ code: 'BAD_START', octet: start }, 0)
  if (lengthBytes !== bytes.length - 2 || lengthBytes > MAX_APDU_BYTES - 2) {
    throw new WireError({ code: 'BAD_LENGTH', lengthBytes }, 1)
  }
  if ((c1 & 3) === 3) {
    const name = U_FUNCTIONS.get(c1)
    if (name === undefined) throw new WireError({ code: 'BAD_CONTROL', octet: c1 }, 2)
    if (lengthBytes !== 4) throw new WireError({ code: 'BAD_LENGTH', lengthBytes }, 1)
    if ((c2 | c3 | c4) !== 0) throw new WireError({ code: 'BAD_CONTROL', octet: c2 | c3 | c4 }, 3)
    return { format: 'U', function: name }
  }
  if ((c3 & 1) !== 0) throw new WireError({ code: 'BAD_CONTROL', octet: c3 }, 4)
  const recvSeq = (c3 >> 1) | (c4 << 7)
  if ((c1 & 1) === 1) {
    if (c1 !== 1) throw new WireError({ code: 'BAD_CONTROL', octet: c1 }, 2)
    if (c2 !== 0) throw new WireError({ code: 'BAD_CONTROL', octet: c2 }, 3)
    if (lengthBytes !== 4) throw new WireError({ code: 'BAD_LENGTH', lengthBytes }, 1)
    return { format: 'S', recvSeq }
  }
  if (lengthBytes === 4) throw new WireError({ code: 'BAD_LENGTH', lengthBytes }, 1)
  return { format: 'I', sendSeq: (c1 >> 1) | (c2 << 7), recvSeq, asdu: bytes.subarray(APCI_BYTES) }
}

/**
 * Cuts a byte stream (TCP) into APDUs, whatever the fragmentation. Holds at most one incomplete APDU.
 * Checks start octet and length octet only; `parseApdu` checks the rest.
 */
export class StreamDeframer {
  readonly #held = new Uint8Array(MAX_APDU_BYTES)
  #heldBytes = 0
  #fault: WireError | undefined

  /**
   * Takes octets as they came in and gives the APDUs that they complete, copied. With `fault` set the stream has lost
   * its framing for good: drop the connection after the APDUs that came before.
   */
  push(chunk: Uint8Array): { readonly apdus: readonly Uint8Array[]; readonly fault: WireError | undefined } {
    const apdus: Uint8Array[] = []
    for (let offset = 0; offset < chunk.length && this.#fault === undefined; ) {
      const wantedBytes = this.#heldBytes < 2 ? 1 : this.#apduBytes - this.#heldBytes
      const piece = chunk.subarray(offset, offset + wantedBytes)
      this.#held.set(piece, this.#heldBytes)
      this.#heldBytes += piece.length
      offset += piece.length
      this.#fault = this.#headFault()
      if (this.#heldBytes < 2 || this.#heldBytes < this.#apduBytes) continue
      apdus.push(this.#held.slice(0, this.#heldBytes))
      this.#heldBytes = 0
    }
    return { apdus, fault: this.#fault }
  }

  /** Octets that the held length octet announces, start and length octets included. */
  get #apduBytes(): number {
    return 2 + (this.#held[1] ?? 0)
  }

  #headFault(): WireError | undefined {
    const [start = 0, lengthBytes = 0] = this.#held
    if (this.#heldBytes === 1 && start !== START_OCTET) return new WireError({ code: 'BAD_START', octet: start }, 0)
    if (this.#heldBytes === 2 && (lengthBytes < 4 || lengthBytes > MAX_APDU_BYTES - 2)) {
      return new WireError({ code: 'BAD_LENGTH', lengthBytes }, 1)
    }
    return undefined
  }
}

function putSeq(apdu: Uint8Array, offset: number, seq: number): void {
  apdu[offset] = (seq << 1) & 0xff
  apdu[offset + 1] = seq >> 7
}

function checkSeq(seq: number): void {
  if (!Number.isInteger(seq) || seq < 0 || seq >= SEQ_MODULUS)
    throw new RangeError(`sequence number ${seq}, not 0..32767`)
}
