/**
 * What the two gateways of a pair tell each other, in ASDUs of one private type that no device ever sees.
 *
 * ```
 * octet 0  type 254           octet 9   version 1
 * octet 1  VSQ 1              octet 10  1 state, 2 part
 * octet 2  cause 3            state: 11 side (0 accepts, 1 dials), 12 state, 13-16 connection, 17-20 limit
 * octet 3  OA 0               part:  11 whether it is the last, 12.. octets of the ASDU
 * octet 4-5  CA 0             integers are little-endian, as everywhere in IEC 60870-5-104
 * octet 6-8  IOA 0
 * ```
 *
 * ASDUs of type 254 that a device sends travel as parts, so every ASDU of this type on the link is one of ours.
 */
import { MAX_ASDU_BYTES } from '../../protocol/index.ts'

/** Type identification of the control ASDU: the private range of IEC 60870-5-104 is 136..255. */
export const CONTROL_TYPE = 254

/** `closed`: no connection, or it failed. `open`: there is one, or it is being made. `started`: data transfer. */
export type NearState = 'closed' | 'open' | 'started'

/**
 * State of one end, whole in each message. The end that accepts says what is wanted, the end that dials what there is.
 * `connection` numbers the connections of the pair; ASDUs that follow belong to it. `limit`: the receiver has room for
 * the ASDUs of this connection up to this number, counted from 1.
 */
export type TwinState = {
  readonly kind: 'state'
  readonly side: 'accept' | 'dial'
  readonly connection: number
  readonly state: NearState
  readonly limit: number
}

/** Octets of an ASDU of type 254, in order. */
export type AsduPart = { readonly kind: 'part'; readonly isLast: boolean; readonly bytes: Uint8Array }

const VERSION = 1
const HEADER = Uint8Array.of(CONTROL_TYPE, 1, 3, 0, 0, 0, 0, 0, 0, VERSION)
const KIND_AT = HEADER.length
const STATE_BYTES = KIND_AT + 11
const PART_AT = KIND_AT + 2
const SIDES = ['accept', 'dial'] as const
const STATES = ['closed', 'open', 'started'] as const

export function encodeState({ side, connection, state, limit }: Omit<TwinState, 'kind'>): Uint8Array {
  const asdu = new Uint8Array(STATE_BYTES)
  asdu.set(HEADER)
  asdu.set([1, SIDES.indexOf(side), STATES.indexOf(state)], KIND_AT)
  const view = new DataView(asdu.buffer)
  view.setUint32(KIND_AT + 3, connection, true)
  view.setUint32(KIND_AT + 7, limit, true)
  return asdu
}

/** The ASDUs that carry one ASDU over the link: itself, or its parts if it is of the control type. */
export function wrap(asdu: Uint8Array): readonly Uint8Array[] {
  if (asdu[0] !== CONTROL_TYPE) return [asdu]
  const parts: Uint8Array[] = []
  const roomBytes = MAX_ASDU_BYTES - PART_AT
  for (let offset = 0; offset < asdu.length; offset += roomBytes) {
    const piece = asdu.subarray(offset, offset + roomBytes)
    const part = new Uint8Array(PART_AT + piece.length)
    part.set(HEADER)
    part.set([2, offset + piece.length === asdu.length ? 1 : 0], KIND_AT)
    part.set(piece, PART_AT)
    parts.push(part)
  }
  return parts
}

/** Reads an ASDU of the control type; undefined if it is none that this version knows. */
export function parseControl(asdu: Uint8Array): TwinState | AsduPart | undefined {
  if (HEADER.some((octet, index) => asdu[index] !== octet)) return undefined
  const [kind, first = 0, second = 0] = asdu.subarray(KIND_AT)
  if (kind === 2 && first <= 1 && asdu.length > PART_AT) {
    return { kind: 'part', isLast: first === 1, bytes: asdu.subarray(PART_AT) }
  }
  const [side, state] = [SIDES[first], STATES[second]]
  if (kind !== 1 || asdu.length !== STATE_BYTES || side === undefined || state === undefined) return undefined
  const view = new DataView(asdu.buffer, asdu.byteOffset)
  const connection = view.getUint32(KIND_AT + 3, true)
  const limit = view.getUint32(KIND_AT + 7, true)
  return { kind: 'state', side, connection, state, limit }
}
