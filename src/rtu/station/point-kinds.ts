/** Kinds of points: the types that report them, the values they take, and their information elements. */
import { type Asdu, type Cp24Time2a, type Cp56Time2a, encodeAsdu, type TypeName } from '../../protocol/index.ts'

type KindRow = {
  /** Type without time tag, for interrogation, reading and scans; none for protection events, which are only reported. */
  readonly plain?: TypeName
  readonly cp24?: TypeName
  readonly cp56?: TypeName
  readonly min: number
  readonly max: number
  /** Measured values have deadband, smoothing and limits. */
  readonly measured?: true
}

const MAX_FLOAT = 3.402_823_466_385_288_6e38

export const POINT_KINDS = {
  /** 0 off, 1 on. */
  single: { plain: 'M_SP_NA_1', cp24: 'M_SP_TA_1', cp56: 'M_SP_TB_1', min: 0, max: 1 },
  /** 0 intermediate, 1 off, 2 on, 3 indeterminate. */
  double: { plain: 'M_DP_NA_1', cp24: 'M_DP_TA_1', cp56: 'M_DP_TB_1', min: 0, max: 3 },
  step: { plain: 'M_ST_NA_1', cp24: 'M_ST_TA_1', cp56: 'M_ST_TB_1', min: -64, max: 63 },
  /** 32 bits as an unsigned number. */
  bitstring: { plain: 'M_BO_NA_1', cp24: 'M_BO_TA_1', cp56: 'M_BO_TB_1', min: 0, max: 0xffff_ffff },
  /** 16 single points as an unsigned number; changes are reported beside the status, without time tag. */
  packed: { plain: 'M_PS_NA_1', min: 0, max: 0xffff },
  normalized: {
    plain: 'M_ME_NA_1',
    cp24: 'M_ME_TA_1',
    cp56: 'M_ME_TD_1',
    min: -1,
    max: 0x7fff / 0x8000,
    measured: true,
  },
  scaled: { plain: 'M_ME_NB_1', cp24: 'M_ME_TB_1', cp56: 'M_ME_TE_1', min: -32_768, max: 32_767, measured: true },
  float: { plain: 'M_ME_NC_1', cp24: 'M_ME_TC_1', cp56: 'M_ME_TF_1', min: -MAX_FLOAT, max: MAX_FLOAT, measured: true },
  /** Integrated total: the running count, wrapping at 2^31. */
  counter: { plain: 'M_IT_NA_1', cp24: 'M_IT_TA_1', cp56: 'M_IT_TB_1', min: -0x8000_0000, max: 0x7fff_ffff },
  /** Single event of protection equipment, state as in a double point. */
  protectionEvent: { cp24: 'M_EP_TA_1', cp56: 'M_EP_TD_1', min: 0, max: 3 },
  /** Start events: bits general 1, L1 2, L2 4, L3 8, earth 16, reverse 32. */
  protectionStart: { cp24: 'M_EP_TB_1', cp56: 'M_EP_TE_1', min: 0, max: 63 },
  /** Output circuit: bits general 1, L1 2, L2 4, L3 8. */
  protectionTrip: { cp24: 'M_EP_TC_1', cp56: 'M_EP_TF_1', min: 0, max: 15 },
} as const satisfies Record<string, KindRow>

export type PointKind = keyof typeof POINT_KINDS

export function kindRow(kind: PointKind): KindRow {
  return POINT_KINDS[kind]
}

/** Quality of a point; the bits that its type has are sent. */
export type Quality = {
  readonly overflow: boolean
  readonly blocked: boolean
  readonly substituted: boolean
  readonly notTopical: boolean
  readonly invalid: boolean
}

export const GOOD: Quality = {
  overflow: false,
  blocked: false,
  substituted: false,
  notTopical: false,
  invalid: false,
}

/** A counter reading, BCR. */
export type Reading = {
  readonly count: number
  readonly sequence: number
  readonly carry: boolean
  readonly adjusted: boolean
  readonly invalid: boolean
}

/** What the elements of one object are made of. */
export type ElementState = {
  readonly value: number
  readonly quality: Quality
  /** Step position under way. */
  readonly transient: boolean
  /** Packed single points: those that changed. */
  readonly changes: number
  readonly reading: Reading
  /** Protection: duration or operating time, 0..59 999 ms. */
  readonly elapsedMs: number
}

/**
 * The value as its type can carry it. What is beyond the range is cut to it and marked as overflow; measured values are
 * rounded to what goes over the wire, so that equal readings compare equal.
 */
export function fitted(kind: PointKind, value: number): { readonly value: number; readonly overflow: boolean } {
  const { min, max } = kindRow(kind)
  const cut = Math.min(max, Math.max(min, value))
  const overflow = cut !== value
  if (kind === 'float') return { value: Math.fround(cut), overflow }
  if (kind === 'normalized') return { value: Math.min(max, Math.round(cut * 0x8000) / 0x8000), overflow }
  return { value: Math.round(cut), overflow }
}

type TimeTag = { readonly cp24?: Cp24Time2a; readonly cp56?: Cp56Time2a }

/** An ASDU with one object of the kind; RangeError when the kind has no type with this time tag. */
export function encodeObject(
  kind: PointKind,
  header: { readonly cot: number; readonly ca: number; readonly ioa: number },
  state: ElementState,
  time: TimeTag = {},
): Uint8Array {
  const row = kindRow(kind)
  const type = time.cp56 ? (row.cp56 ?? row.plain) : time.cp24 ? (row.cp24 ?? row.plain) : row.plain
  if (type === undefined) throw new RangeError(`${kind} is not reported without a time tag`)
  const value = { ...elements(kind, state), time: time.cp56 ?? time.cp24 }
  const { cot, ca, ioa } = header
  // The row of the table ties the type to the elements of its kind.
  return encodeAsdu({
    type,
    cot,
    ca,
    oa: 0,
    negative: false,
    test: false,
    sq: false,
    objects: [{ ioa, value }],
  } as Asdu)
}

function elements(kind: PointKind, { value, quality, ...state }: ElementState): { readonly [field: string]: unknown } {
  const bit = (mask: number): boolean => (value & mask) !== 0
  const qdp = { ...quality, elapsedTimeInvalid: false }
  switch (kind) {
    case 'single':
      return { siq: { ...quality, on: value === 1 } }
    case 'double':
      return { diq: { ...quality, state: value } }
    case 'step':
      return { vti: { value, transient: state.transient }, qds: quality }
    case 'bitstring':
      return { bsi: value, qds: quality }
    case 'packed':
      return { scd: { status: value, changes: state.changes }, qds: quality }
    case 'normalized':
    case 'scaled':
    case 'float':
      return { value, qds: quality }
    case 'counter':
      return { bcr: state.reading }
    case 'protectionEvent':
      return { sep: { ...qdp, state: value }, elapsedMs: state.elapsedMs }
    case 'protectionStart': {
      const spe = { general: bit(1), l1: bit(2), l2: bit(4), l3: bit(8), earth: bit(16), reverse: bit(32) }
      return { spe, qdp, durationMs: state.elapsedMs }
    }
    case 'protectionTrip':
      return {
        oci: { general: bit(1), l1: bit(2), l2: bit(4), l3: bit(8) },
        qdp,
        operatingMs: state.elapsedMs,
      }
  }
}
