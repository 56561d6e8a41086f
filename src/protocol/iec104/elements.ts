/** Information elements, IEC 60870-5-101, 7.2.6. Reserved bits are written as 0 and not looked at when read. */
import type { OctetReader, OctetWriter } from './octets.ts'
import {
  type Cp24Time2a,
  type Cp56Time2a,
  readCp16,
  readCp24,
  readCp56,
  writeCp16,
  writeCp24,
  writeCp56,
} from './time.ts'

/** How one information element is read and written. */
export type Element<T> = {
  /** Octets on the wire; the least for the one element of variable size. */
  readonly sizeBytes: number
  read(r: OctetReader): T
  write(w: OctetWriter, value: T): void
}

/** Fields of one octet: a mask is a boolean, `[shift, width]` an unsigned number. */
type OctetSpec = { readonly [field: string]: number | readonly [shift: number, width: number] }
type OctetFields<S extends OctetSpec> = { readonly [F in keyof S]: S[F] extends number ? boolean : number }

function octet<const S extends OctetSpec>(spec: S): Element<OctetFields<S>> {
  const fields = Object.entries(spec).map(([name, bits]) =>
    typeof bits === 'number'
      ? { name, isFlag: true, mask: bits, shift: 0 }
      : { name, isFlag: false, mask: (1 << bits[1]) - 1, shift: bits[0] },
  )
  return {
    sizeBytes: 1,
    read(r) {
      const bits = r.u8()
      const value: Record<string, boolean | number> = {}
      for (const { name, isFlag, mask, shift } of fields) {
        value[name] = isFlag ? (bits & mask) !== 0 : (bits >> shift) & mask
      }
      return value as OctetFields<S>
    },
    write(w, value) {
      let bits = 0
      for (const { name, isFlag, mask, shift } of fields) {
        const field = value[name]
        if (isFlag) bits |= field === true ? mask : 0
        else bits |= checked(name, Number(field), 0, mask) << shift
      }
      w.u8(bits)
    },
  }
}

function checked(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new RangeError(`${name} ${value} is not in ${min}..${max}`)
}

const U8: Element<number> = { sizeBytes: 1, read: (r) => r.u8(), write: (w, value) => w.u8(value) }
const U16: Element<number> = { sizeBytes: 2, read: (r) => r.u16(), write: (w, value) => w.u16(value) }
const U24: Element<number> = { sizeBytes: 3, read: (r) => r.u24(), write: (w, value) => w.u24(value) }

const QUALITY = { blocked: 0x10, substituted: 0x20, notTopical: 0x40, invalid: 0x80 } as const

/** Single-point information with quality descriptor, 7.2.6.1. */
export const SIQ = octet({ on: 0x01, ...QUALITY })
/** Double-point information with quality descriptor, 7.2.6.2: state 0 intermediate, 1 off, 2 on, 3 indeterminate. */
export const DIQ = octet({ state: [0, 2], ...QUALITY })
/** Quality descriptor, 7.2.6.3. */
export const QDS = octet({ overflow: 0x01, ...QUALITY })
/** Quality descriptor for events of protection equipment, 7.2.6.4. */
export const QDP = octet({ elapsedTimeInvalid: 0x08, ...QUALITY })

/** Value with transient state indication, 7.2.6.5: -64..63. */
export const VTI: Element<{ readonly value: number; readonly transient: boolean }> = {
  sizeBytes: 1,
  read(r) {
    const bits = r.u8()
    return { value: (bits << 25) >> 25, transient: (bits & 0x80) !== 0 }
  },
  write(w, { value, transient }) {
    w.u8((checked('value', value, -64, 63) & 0x7f) | (transient ? 0x80 : 0))
  },
}

/** Normalized value, 7.2.6.6: -1 .. 1 - 2^-15 in steps of 2^-15; rounded to the nearest step when written. */
export const NVA: Element<number> = {
  sizeBytes: 2,
  read: (r) => r.i16() / 0x8000,
  write: (w, value) => w.i16(Math.round(value * 0x8000)),
}
/** Scaled value, 7.2.6.7: -32768..32767. */
export const SVA: Element<number> = { sizeBytes: 2, read: (r) => r.i16(), write: (w, value) => w.i16(value) }
/** Short floating point number (R32-IEEE STD 754), 7.2.6.8; rounded to the nearest short float when written. */
export const R32: Element<number> = { sizeBytes: 4, read: (r) => r.f32(), write: (w, value) => w.f32(value) }

const BCR_NOTATION = octet({ sequence: [0, 5], carry: 0x20, adjusted: 0x40, invalid: 0x80 })
/** Binary counter reading, 7.2.6.9: count -2^31 .. 2^31 - 1, sequence number 0..31. */
export const BCR: Element<{
  readonly count: number
  readonly sequence: number
  readonly carry: boolean
  readonly adjusted: boolean
  readonly invalid: boolean
}> = {
  sizeBytes: 5,
  read: (r) => ({ count: r.i32(), ...BCR_NOTATION.read(r) }),
  write(w, value) {
    w.i32(value.count)
    BCR_NOTATION.write(w, value)
  },
}

/** Single event of protection equipment, 7.2.6.10: state as in DIQ. */
export const SEP = octet({ state: [0, 2], elapsedTimeInvalid: 0x08, ...QUALITY })
/** Start events of protection equipment, 7.2.6.11: general, phases L1 to L3, earth current, reverse direction. */
export const SPE = octet({ general: 0x01, l1: 0x02, l2: 0x04, l3: 0x08, earth: 0x10, reverse: 0x20 })
/** Output circuit information of protection equipment, 7.2.6.12: command to general, phases L1 to L3. */
export const OCI = octet({ general: 0x01, l1: 0x02, l2: 0x04, l3: 0x08 })
/** Binary state information, 7.2.6.13: 32 bits as an unsigned number. */
export const BSI: Element<number> = { sizeBytes: 4, read: (r) => r.u32(), write: (w, value) => w.u32(value) }
/** Fixed test bit pattern, 7.2.6.14: 0x55AA, on the wire AA 55. Not checked here: the station answers for it. */
export const FBP = U16

/** Single command, 7.2.6.15; qu as in 7.2.6.26: 0 no more said, 1 short pulse, 2 long pulse, 3 persistent. */
export const SCO = octet({ on: 0x01, qu: [2, 5], select: 0x80 })
/** Double command, 7.2.6.16: state 1 off, 2 on. */
export const DCO = octet({ state: [0, 2], qu: [2, 5], select: 0x80 })
/** Regulating step command, 7.2.6.17: step 1 lower, 2 higher. */
export const RCO = octet({ step: [0, 2], qu: [2, 5], select: 0x80 })

/** Seven octet binary time, 7.2.6.18. */
export const CP56: Element<Cp56Time2a> = { sizeBytes: 7, read: readCp56, write: writeCp56 }
/** Three octet binary time, 7.2.6.19. */
export const CP24: Element<Cp24Time2a> = { sizeBytes: 3, read: readCp24, write: writeCp24 }
/** Two octet binary time, 7.2.6.20: a duration, 0..59 999 ms. */
export const CP16: Element<number> = { sizeBytes: 2, read: readCp16, write: writeCp16 }

/** Cause of initialization, 7.2.6.21: 0 power on, 1 manual reset, 2 remote reset; changed local parameters. */
export const COI = octet({ cause: [0, 7], changed: 0x80 })
/** Qualifier of interrogation, 7.2.6.22: 20 station, 21..36 groups 1..16. */
export const QOI = U8
/** Qualifier of counter interrogation, 7.2.6.23: request 1..4 groups, 5 general; freeze 0 read .. 3 reset. */
export const QCC = octet({ request: [0, 6], freeze: [6, 2] })
/** Qualifier of parameter of measured values, 7.2.6.24: kind 1 threshold, 2 smoothing, 3 low limit, 4 high limit. */
export const QPM = octet({ kind: [0, 6], changed: 0x40, notInOperation: 0x80 })
/** Qualifier of parameter activation, 7.2.6.25. */
export const QPA = U8
/** Qualifier of reset process, 7.2.6.27: 1 general reset, 2 pending events. */
export const QRP = U8

/** File ready qualifier, 7.2.6.28. */
export const FRQ = octet({ qualifier: [0, 7], negative: 0x80 })
/** Section ready qualifier, 7.2.6.29. */
export const SRQ = octet({ qualifier: [0, 7], notReady: 0x80 })
/** Select and call qualifier, 7.2.6.30. */
export const SCQ = octet({ request: [0, 4], fault: [4, 4] })
/** Last section or segment qualifier, 7.2.6.31. */
export const LSQ = U8
/** Acknowledge file or section qualifier, 7.2.6.32. */
export const AFQ = octet({ qualifier: [0, 4], fault: [4, 4] })
/** Name of file, 7.2.6.33. */
export const NOF = U16
/** Name of section, 7.2.6.34. */
export const NOS = U8
/** Length of file or section, 7.2.6.35, octets. */
export const LOF = U24
/** Checksum, 7.2.6.37. */
export const CHS = U8
/** Status of file, 7.2.6.38. */
export const SOF = octet({ status: [0, 5], lastFile: 0x20, subdirectory: 0x40, active: 0x80 })
/** Length of segment, 7.2.6.36, and that many octets: the one element of variable size. */
export const SEGMENT: Element<Uint8Array> = {
  sizeBytes: 1,
  read: (r) => r.bytes(r.u8()),
  write(w, octets) {
    w.u8(octets.length)
    w.bytes(octets)
  },
}

/** Qualifier of set-point command, 7.2.6.39. */
export const QOS = octet({ ql: [0, 7], select: 0x80 })
/** Status and status change detection, 7.2.6.40: 16 bits each. */
export const SCD: Element<{ readonly status: number; readonly changes: number }> = {
  sizeBytes: 4,
  read: (r) => ({ status: r.u16(), changes: r.u16() }),
  write(w, { status, changes }) {
    w.u16(status)
    w.u16(changes)
  },
}
/** Test sequence counter, IEC 60870-5-104, clause 8. */
export const TSC = U16
/** Association identifier of security statistics, IEC 60870-5-7. */
export const AID = U16
