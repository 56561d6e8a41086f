/** Payload of a HANDSHAKE: "Q3H1", the sender's epoch (8 octets), the peer's epoch that it answers (8; 0: none). */
import { getU64, putU64 } from './octets.ts'

const MAGIC = Uint8Array.of(0x51, 0x33, 0x48, 0x31)
const PAYLOAD_BYTES = 20

export type Handshake = {
  /** Number of the epoch that this HANDSHAKE opens in its direction, 1..2^53-1. */
  readonly epoch: number
  /** Epoch of the HANDSHAKE that this one answers; 0 when it answers none. */
  readonly answers: number
}

export function encodeHandshake({ epoch, answers }: Handshake): Uint8Array {
  const payload = new Uint8Array(PAYLOAD_BYTES)
  payload.set(MAGIC)
  putU64(payload, 4, epoch)
  putU64(payload, 12, answers)
  return payload
}

/** Undefined when the payload is not a handshake. */
export function parseHandshake(payload: Uint8Array): Handshake | undefined {
  if (payload.length !== PAYLOAD_BYTES || MAGIC.some((octet, index) => payload[index] !== octet)) return undefined
  const [epoch, answers] = [getU64(payload, 4), getU64(payload, 12)]
  if (!Number.isSafeInteger(epoch) || epoch === 0 || !Number.isSafeInteger(answers)) return undefined
  return { epoch, answers }
}

const FIRST_BACK_OFF_MS = 250
const MAX_BACK_OFF_MS = 3000

/** Back-off of the attempts to open a session: 250 ms, doubled up to 3 s. */
export class BackOff {
  #nextMs = FIRST_BACK_OFF_MS

  /** How long to wait after this attempt. */
  take(): number {
    const delayMs = this.#nextMs
    this.#nextMs = Math.min(MAX_BACK_OFF_MS, 2 * delayMs)
    return delayMs
  }

  reset(): void {
    this.#nextMs = FIRST_BACK_OFF_MS
  }
}
