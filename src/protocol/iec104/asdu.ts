/**
 * Application service data unit, IEC 60870-5-101, 7.1 to 7.3, with the field sizes of IEC 60870-5-104, 7.
 *
 * ```
 * octet 0  type identification           octet 4-5  common address (CA)
 * octet 1  SQ 0x80 | number of objects   octet 6-8  information object address (IOA), then its elements;
 * octet 2  T 0x80 | P/N 0x40 | cause                SQ = 0: address and elements again for each object,
 * octet 3  originator address (OA)                  SQ = 1: elements only, addresses count up by one
 * ```
 */
import { MAX_ASDU_BYTES } from './apci.ts'
import { WireError } from './errors.ts'
import { OctetReader, OctetWriter } from './octets.ts'
import { layoutById, layoutOf, type TypeLayout, type TypeName, type Value } from './types.ts'

/** Sizes that a 101 system agrees on. IEC 60870-5-104 fixes them at the largest: the default. */
export type AsduParams = { readonly cotBytes: 1 | 2; readonly caBytes: 1 | 2; readonly ioaBytes: 1 | 2 | 3 }

const IEC104: AsduParams = { cotBytes: 2, caBytes: 2, ioaBytes: 3 }
/** Most objects in one ASDU. */
export const MAX_OBJECTS = 127
const SQ = 0x80
const TEST = 0x80
const NEGATIVE = 0x40
const CAUSE = 0x3f

/** Causes of transmission, 7.2.3, named as lib60870 names them. */
export const cot = {
  periodic: 1,
  backgroundScan: 2,
  spontaneous: 3,
  initialized: 4,
  request: 5,
  activation: 6,
  activationCon: 7,
  deactivation: 8,
  deactivationCon: 9,
  activationTermination: 10,
  returnInfoRemote: 11,
  returnInfoLocal: 12,
  fileTransfer: 13,
  authentication: 14,
  maintenanceOfAuthSessionKey: 15,
  maintenanceOfUserRoleAndUpdateKey: 16,
  /** Groups 1 to 16 follow, 21..36. */
  interrogatedByStation: 20,
  /** Counter groups 1 to 4 follow, 38..41. */
  requestedByGeneralCounter: 37,
  unknownTypeId: 44,
  unknownCot: 45,
  unknownCa: 46,
  unknownIoa: 47,
} as const

export type AsduOf<N extends TypeName> = {
  readonly type: N
  /** Cause of transmission, 0..63. */
  readonly cot: number
  /** P/N: negative confirmation. */
  readonly negative: boolean
  /** T: test. */
  readonly test: boolean
  /** Originator address, 0..255; 0 when the cause has one octet. */
  readonly oa: number
  /** Common address, 0..65535. */
  readonly ca: number
  /** SQ: one address, the objects count up from it. */
  readonly sq: boolean
  readonly objects: readonly { readonly ioa: number; readonly value: Value<N> }[]
}

/** Any ASDU of the type table, told apart by `type`. */
export type Asdu = { [N in TypeName]: AsduOf<N> }[TypeName]

/** An ASDU with the usual header: not negative, no test, OA 0, SQ 0 unless given. */
export function asduOf<N extends TypeName>(
  type: N,
  fields: Pick<AsduOf<N>, 'cot' | 'ca' | 'objects'> & Partial<AsduOf<N>>,
): AsduOf<N> {
  return { negative: false, test: false, oa: 0, sq: false, ...fields, type }
}

/**
 * Octets of an ASDU. RangeError for what cannot be sent: a field out of range, no or too many objects, addresses that
 * are no sequence with SQ, more than 249 octets.
 */
export function encodeAsdu(asdu: Asdu, params: AsduParams = IEC104): Uint8Array {
  try {
    return encode(asdu, layoutOf(asdu.type), params)
  } catch (error) {
    if (error instanceof RangeError)
      throw new RangeError(`${asdu.type}, CA ${asdu.ca}: ${error.message}`, { cause: error })
    throw error
  }
}

function encode(asdu: Asdu, layout: TypeLayout, params: AsduParams): Uint8Array {
  const { objects, sq } = asdu
  const maxCount = layout.shape === 'one' ? 1 : MAX_OBJECTS
  if (objects.length < 1 || objects.length > maxCount)
    throw new RangeError(`${objects.length} objects, not 1..${maxCount}`)
  if (sq && layout.shape !== 'sequence') throw new RangeError('SQ is not defined for this type')
  checkCause(asdu.cot)
  if (params.cotBytes === 1 && asdu.oa !== 0) throw new RangeError(`originator ${asdu.oa} needs a cause of two octets`)

  const w = new OctetWriter(sizeOf(layout, objects.length, sq, params))
  w.u8(layout.typeId)
  w.u8(objects.length | (sq ? SQ : 0))
  w.u8(asdu.cot | (asdu.negative ? NEGATIVE : 0) | (asdu.test ? TEST : 0))
  if (params.cotBytes === 2) w.u8(asdu.oa)
  w.uint(params.caBytes, asdu.ca)
  const firstIoa = objects[0]?.ioa ?? 0
  for (const [i, object] of objects.entries()) {
    if (!sq || i === 0) w.uint(params.ioaBytes, object.ioa)
    else if (object.ioa !== firstIoa + i) throw new RangeError(`IOA ${object.ioa} is not ${firstIoa} + ${i}`)
    const value = object.value as { readonly [field: string]: unknown }
    for (const { name, element } of layout.fields) element.write(w, value[name])
  }
  if (sq && firstIoa + objects.length > 2 ** (8 * params.ioaBytes)) throw new RangeError('sequence beyond the last IOA')
  return w.finish()
}

function sizeOf(layout: TypeLayout, count: number, sq: boolean, params: AsduParams): number {
  if (layout.sizeBytes === undefined) return MAX_ASDU_BYTES
  const sizeBytes = headerBytes(params) + count * layout.sizeBytes + (sq ? 1 : count) * params.ioaBytes
  if (sizeBytes > MAX_ASDU_BYTES) throw new RangeError(`${sizeBytes} octets, more than ${MAX_ASDU_BYTES}`)
  return sizeBytes
}

/** Reads exactly one ASDU. Strict: number and size of the objects match the octets. Throws WireError only. */
export function decodeAsdu(bytes: Uint8Array, params: AsduParams = IEC104): Asdu {
  if (bytes.length > MAX_ASDU_BYTES) {
    throw new WireError({ code: 'TOO_LONG', sizeBytes: bytes.length, limitBytes: MAX_ASDU_BYTES }, MAX_ASDU_BYTES)
  }
  const r = new OctetReader(bytes)
  const typeId = r.u8()
  const layout = layoutById(typeId)
  if (layout === undefined) throw new WireError({ code: 'UNKNOWN_TYPE', typeId }, 0)
  const vsq = r.u8()
  const count = vsq & MAX_OBJECTS
  const sq = (vsq & SQ) !== 0
  if (count === 0 || (count > 1 && layout.shape === 'one')) throw new WireError({ code: 'BAD_COUNT', count }, 1)
  if (sq && layout.shape !== 'sequence') throw new WireError({ code: 'BAD_SEQUENCE', typeId }, 1)
  const cause = r.u8()
  const oa = params.cotBytes === 2 ? r.u8() : 0
  const ca = r.uint(params.caBytes)

  const objects: { ioa: number; value: unknown }[] = []
  let ioa = 0
  for (let i = 0; i < count; i++) {
    const at = r.offset
    ioa = sq && i > 0 ? ioa + 1 : r.uint(params.ioaBytes)
    if (ioa >= 2 ** (8 * params.ioaBytes)) throw new WireError({ code: 'BAD_SEQUENCE', typeId }, at)
    const value: Record<string, unknown> = {}
    for (const { name, element } of layout.fields) value[name] = element.read(r)
    objects.push({ ioa, value })
  }
  if (r.leftBytes > 0) throw new WireError({ code: 'TRAILING', extraBytes: r.leftBytes }, r.offset)
  const { negative, test } = flagsOf(cause)
  // The elements read are those of the row that `name` labels, which the type checker cannot follow through the table.
  return { type: layout.name, cot: cause & CAUSE, negative, test, oa, ca, sq, objects } as unknown as Asdu
}

/** Header of an ASDU, of any type. */
export type AsduView = {
  readonly typeId: number
  readonly cot: number
  readonly negative: boolean
  readonly test: boolean
  readonly oa: number
  readonly ca: number
  /** Address of the first object; 0 when there is none. */
  readonly ioa: number
  readonly objectCount: number
}

/** Reads only the header and the first address, for relays; undefined when the octets are too few or too many. */
export function peekAsdu(bytes: Uint8Array, params: AsduParams = IEC104): AsduView | undefined {
  const header = headerBytes(params)
  if (bytes.length < header || bytes.length > MAX_ASDU_BYTES) return undefined
  const r = new OctetReader(bytes)
  const typeId = r.u8()
  const objectCount = r.u8() & MAX_OBJECTS
  const cause = r.u8()
  const oa = params.cotBytes === 2 ? r.u8() : 0
  const ca = r.uint(params.caBytes)
  if (objectCount > 0 && r.leftBytes < params.ioaBytes) return undefined
  const ioa = objectCount > 0 ? r.uint(params.ioaBytes) : 0
  return { typeId, cot: cause & CAUSE, ...flagsOf(cause), oa, ca, ioa, objectCount }
}

/**
 * Whether an ASDU travels from the controlling to the controlled station: process commands (45..69), system commands
 * and parameters (100..113), with cause request, activation or deactivation.
 */
export function isControlDirection(view: Pick<AsduView, 'typeId' | 'cot'>): boolean {
  const { typeId } = view
  const isCommand = (typeId >= 45 && typeId <= 69) || (typeId >= 100 && typeId <= 113)
  return isCommand && (view.cot === cot.request || view.cot === cot.activation || view.cot === cot.deactivation)
}

/**
 * The confirmation of an ASDU: the same octets with another cause and P/N; OA, T and the objects are mirrored.
 * RangeError when `asdu` has no cause octet or the cause is not in 0..63.
 */
export function replyTo(asdu: Uint8Array, reply: { readonly cot: number; readonly negative: boolean }): Uint8Array {
  const cause = asdu[2]
  if (cause === undefined) throw new RangeError(`ASDU of ${asdu.length} octets has no cause`)
  checkCause(reply.cot)
  const octets = new Uint8Array(asdu) // A copy, of a Buffer too.
  octets[2] = (cause & TEST) | (reply.negative ? NEGATIVE : 0) | reply.cot
  return octets
}

function checkCause(cause: number): void {
  if (!Number.isInteger(cause) || cause < 0 || cause > CAUSE) throw new RangeError(`cause ${cause} is not in 0..63`)
}

function headerBytes(params: AsduParams): number {
  return 2 + params.cotBytes + params.caBytes
}

function flagsOf(cause: number): { negative: boolean; test: boolean } {
  return { negative: (cause & NEGATIVE) !== 0, test: (cause & TEST) !== 0 }
}
