/** ASDUs of a type that the standard leaves to the user (136 to 255, IEC 60870-5-101, 7.2.1.1), between control centres. */
import { MAX_ASDU_BYTES } from './apci.ts'
import { cot, peekAsdu } from './asdu.ts'
import { OctetWriter } from './octets.ts'

/** Type identification of a part of a message between control centres: one object of variable size, address 0. */
export const CENTRE_MESSAGE_TYPE = 136
const HEADER_BYTES = 9
/** Octets that such an ASDU carries at most. */
export const MAX_CENTRE_OCTETS = MAX_ASDU_BYTES - HEADER_BYTES

/** An ASDU with these octets, cause spontaneous. RangeError when there are more than 240, or an address is out of range. */
export function encodeCentreAsdu(
  address: { readonly oa: number; readonly ca: number },
  octets: Uint8Array,
): Uint8Array {
  const w = new OctetWriter(HEADER_BYTES + octets.length)
  if (octets.length > MAX_CENTRE_OCTETS) throw new RangeError(`${octets.length} octets, more than ${MAX_CENTRE_OCTETS}`)
  w.u8(CENTRE_MESSAGE_TYPE)
  w.u8(1)
  w.u8(cot.spontaneous)
  w.u8(address.oa)
  w.u16(address.ca)
  w.u24(0)
  w.bytes(octets)
  return w.finish()
}

/** The octets that an ASDU carries between control centres; undefined for any other ASDU. */
export function centreOctetsOf(asdu: Uint8Array): Uint8Array | undefined {
  const view = peekAsdu(asdu)
  if (view?.typeId !== CENTRE_MESSAGE_TYPE || view.objectCount !== 1 || asdu.length < HEADER_BYTES) return undefined
  return asdu.subarray(HEADER_BYTES)
}
