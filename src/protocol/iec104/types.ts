/**
 * The type table: every type identification of IEC 60870-5-101, 7.3, and IEC 60870-5-104, clause 8 (and S_IT_TC_1 of
 * IEC 60870-5-7), and the information elements of one object in the order in which they are sent.
 */
import * as e from './elements.ts'

/** What an ASDU of a type may hold: one object; up to 127 objects; the same, also as a sequence (SQ = 1). */
export type Shape = 'one' | 'list' | 'sequence'

type TypeRow = {
  readonly typeId: number
  readonly shape: Shape
  readonly elements: { readonly [field: string]: e.Element<unknown> }
}

export const TYPES = {
  // Process information in monitor direction
  M_SP_NA_1: { typeId: 1, shape: 'sequence', elements: { siq: e.SIQ } },
  M_SP_TA_1: { typeId: 2, shape: 'list', elements: { siq: e.SIQ, time: e.CP24 } },
  M_DP_NA_1: { typeId: 3, shape: 'sequence', elements: { diq: e.DIQ } },
  M_DP_TA_1: { typeId: 4, shape: 'list', elements: { diq: e.DIQ, time: e.CP24 } },
  M_ST_NA_1: { typeId: 5, shape: 'sequence', elements: { vti: e.VTI, qds: e.QDS } },
  M_ST_TA_1: { typeId: 6, shape: 'list', elements: { vti: e.VTI, qds: e.QDS, time: e.CP24 } },
  M_BO_NA_1: { typeId: 7, shape: 'sequence', elements: { bsi: e.BSI, qds: e.QDS } },
  M_BO_TA_1: { typeId: 8, shape: 'list', elements: { bsi: e.BSI, qds: e.QDS, time: e.CP24 } },
  M_ME_NA_1: { typeId: 9, shape: 'sequence', elements: { value: e.NVA, qds: e.QDS } },
  M_ME_TA_1: { typeId: 10, shape: 'list', elements: { value: e.NVA, qds: e.QDS, time: e.CP24 } },
  M_ME_NB_1: { typeId: 11, shape: 'sequence', elements: { value: e.SVA, qds: e.QDS } },
  M_ME_TB_1: { typeId: 12, shape: 'list', elements: { value: e.SVA, qds: e.QDS, time: e.CP24 } },
  M_ME_NC_1: { typeId: 13, shape: 'sequence', elements: { value: e.R32, qds: e.QDS } },
  M_ME_TC_1: { typeId: 14, shape: 'list', elements: { value: e.R32, qds: e.QDS, time: e.CP24 } },
  M_IT_NA_1: { typeId: 15, shape: 'sequence', elements: { bcr: e.BCR } },
  M_IT_TA_1: { typeId: 16, shape: 'list', elements: { bcr: e.BCR, time: e.CP24 } },
  M_EP_TA_1: { typeId: 17, shape: 'list', elements: { sep: e.SEP, elapsedMs: e.CP16, time: e.CP24 } },
  M_EP_TB_1: { typeId: 18, shape: 'list', elements: { spe: e.SPE, qdp: e.QDP, durationMs: e.CP16, time: e.CP24 } },
  M_EP_TC_1: { typeId: 19, shape: 'list', elements: { oci: e.OCI, qdp: e.QDP, operatingMs: e.CP16, time: e.CP24 } },
  M_PS_NA_1: { typeId: 20, shape: 'sequence', elements: { scd: e.SCD, qds: e.QDS } },
  M_ME_ND_1: { typeId: 21, shape: 'sequence', elements: { value: e.NVA } },
  M_SP_TB_1: { typeId: 30, shape: 'list', elements: { siq: e.SIQ, time: e.CP56 } },
  M_DP_TB_1: { typeId: 31, shape: 'list', elements: { diq: e.DIQ, time: e.CP56 } },
  M_ST_TB_1: { typeId: 32, shape: 'list', elements: { vti: e.VTI, qds: e.QDS, time: e.CP56 } },
  M_BO_TB_1: { typeId: 33, shape: 'list', elements: { bsi: e.BSI, qds: e.QDS, time: e.CP56 } },
  M_ME_TD_1: { typeId: 34, shape: 'list', elements: { value: e.NVA, qds: e.QDS, time: e.CP56 } },
  M_ME_TE_1: { typeId: 35, shape: 'list', elements: { value: e.SVA, qds: e.QDS, time: e.CP56 } },
  M_ME_TF_1: { typeId: 36, shape: 'list', elements: { value: e.R32, qds: e.QDS, time: e.CP56 } },
  M_IT_TB_1: { typeId: 37, shape: 'list', elements: { bcr: e.BCR, time: e.CP56 } },
  M_EP_TD_1: { typeId: 38, shape: 'list', elements: { sep: e.SEP, elapsedMs: e.CP16, time: e.CP56 } },
  M_EP_TE_1: { typeId: 39, shape: 'list', elements: { spe: e.SPE, qdp: e.QDP, durationMs: e.CP16, time: e.CP56 } },
  M_EP_TF_1: { typeId: 40, shape: 'list', elements: { oci: e.OCI, qdp: e.QDP, operatingMs: e.CP16, time: e.CP56 } },
  S_IT_TC_1: { typeId: 41, shape: 'list', elements: { aid: e.AID, bcr: e.BCR, time: e.CP56 } },

  // Process information in control direction
  C_SC_NA_1: { typeId: 45, shape: 'one', elements: { sco: e.SCO } },
  C_DC_NA_1: { typeId: 46, shape: 'one', elements: { dco: e.DCO } },
  C_RC_NA_1: { typeId: 47, shape: 'one', elements: { rco: e.RCO } },
  C_SE_NA_1: { typeId: 48, shape: 'one', elements: { value: e.NVA, qos: e.QOS } },
  C_SE_NB_1: { typeId: 49, shape: 'one', elements: { value: e.SVA, qos: e.QOS } },
  C_SE_NC_1: { typeId: 50, shape: 'one', elements: { value: e.R32, qos: e.QOS } },
  C_BO_NA_1: { typeId: 51, shape: 'one', elements: { bsi: e.BSI } },
  C_SC_TA_1: { typeId: 58, shape: 'one', elements: { sco: e.SCO, time: e.CP56 } },
  C_DC_TA_1: { typeId: 59, shape: 'one', elements: { dco: e.DCO, time: e.CP56 } },
  C_RC_TA_1: { typeId: 60, shape: 'one', elements: { rco: e.RCO, time: e.CP56 } },
  C_SE_TA_1: { typeId: 61, shape: 'one', elements: { value: e.NVA, qos: e.QOS, time: e.CP56 } },
  C_SE_TB_1: { typeId: 62, shape: 'one', elements: { value: e.SVA, qos: e.QOS, time: e.CP56 } },
  C_SE_TC_1: { typeId: 63, shape: 'one', elements: { value: e.R32, qos: e.QOS, time: e.CP56 } },
  C_BO_TA_1: { typeId: 64, shape: 'one', elements: { bsi: e.BSI, time: e.CP56 } },

  // System information
  M_EI_NA_1: { typeId: 70, shape: 'one', elements: { coi: e.COI } },
  C_IC_NA_1: { typeId: 100, shape: 'one', elements: { qoi: e.QOI } },
  C_CI_NA_1: { typeId: 101, shape: 'one', elements: { qcc: e.QCC } },
  C_RD_NA_1: { typeId: 102, shape: 'one', elements: {} },
  C_CS_NA_1: { typeId: 103, shape: 'one', elements: { time: e.CP56 } },
  C_TS_NA_1: { typeId: 104, shape: 'one', elements: { fbp: e.FBP } },
  C_RP_NA_1: { typeId: 105, shape: 'one', elements: { qrp: e.QRP } },
  C_CD_NA_1: { typeId: 106, shape: 'one', elements: { delayMs: e.CP16 } },
  C_TS_TA_1: { typeId: 107, shape: 'one', elements: { tsc: e.TSC, time: e.CP56 } },

  // Parameters in control direction
  P_ME_NA_1: { typeId: 110, shape: 'one', elements: { value: e.NVA, qpm: e.QPM } },
  P_ME_NB_1: { typeId: 111, shape: 'one', elements: { value: e.SVA, qpm: e.QPM } },
  P_ME_NC_1: { typeId: 112, shape: 'one', elements: { value: e.R32, qpm: e.QPM } },
  P_AC_NA_1: { typeId: 113, shape: 'one', elements: { qpa: e.QPA } },

  // File transfer
  F_FR_NA_1: { typeId: 120, shape: 'one', elements: { nof: e.NOF, lof: e.LOF, frq: e.FRQ } },
  F_SR_NA_1: { typeId: 121, shape: 'one', elements: { nof: e.NOF, nos: e.NOS, lof: e.LOF, srq: e.SRQ } },
  F_SC_NA_1: { typeId: 122, shape: 'one', elements: { nof: e.NOF, nos: e.NOS, scq: e.SCQ } },
  F_LS_NA_1: { typeId: 123, shape: 'one', elements: { nof: e.NOF, nos: e.NOS, lsq: e.LSQ, chs: e.CHS } },
  F_AF_NA_1: { typeId: 124, shape: 'one', elements: { nof: e.NOF, nos: e.NOS, afq: e.AFQ } },
  F_SG_NA_1: { typeId: 125, shape: 'one', elements: { nof: e.NOF, nos: e.NOS, segment: e.SEGMENT } },
  F_DR_TA_1: { typeId: 126, shape: 'sequence', elements: { nof: e.NOF, lof: e.LOF, sof: e.SOF, time: e.CP56 } },
  F_SC_NB_1: { typeId: 127, shape: 'one', elements: { nof: e.NOF, from: e.CP56, to: e.CP56 } },
} as const satisfies Record<string, TypeRow>

/** Label of a type, spelt as in the standard. */
export type TypeName = keyof typeof TYPES

type Elements<N extends TypeName> = (typeof TYPES)[N]['elements']

/** What one information object of a type carries: `Value<'C_IC_NA_1'>` is `{ readonly qoi: number }`. */
export type Value<N extends TypeName> = {
  readonly [F in keyof Elements<N>]: Elements<N>[F] extends e.Element<infer T> ? T : never
}

/** A row of the table as the codec walks it. */
export type TypeLayout = {
  readonly name: TypeName
  readonly typeId: number
  readonly shape: Shape
  readonly fields: readonly { readonly name: string; readonly element: e.Element<unknown> }[]
  /** Octets of one object without its address; undefined for the type of variable size. */
  readonly sizeBytes: number | undefined
}

const BY_NAME = new Map<string, TypeLayout>()
const BY_ID = new Map<number, TypeLayout>()
for (const [label, row] of Object.entries<TypeRow>(TYPES)) {
  const fields = Object.entries(row.elements).map(([name, element]) => ({ name, element }))
  const isVariable = fields.some(({ element }) => element === e.SEGMENT)
  const sizeBytes = isVariable ? undefined : fields.reduce((sum, { element }) => sum + element.sizeBytes, 0)
  const layout: TypeLayout = { name: label as TypeName, typeId: row.typeId, shape: row.shape, fields, sizeBytes }
  BY_NAME.set(label, layout)
  BY_ID.set(row.typeId, layout)
}

/** Layout by type identification; undefined when the table has no such type. */
export function layoutById(typeId: number): TypeLayout | undefined {
  return BY_ID.get(typeId)
}

/** Layout by label; RangeError for a string that is no label. */
export function layoutOf(name: TypeName): TypeLayout {
  const layout = BY_NAME.get(name)
  if (layout === undefined) throw new RangeError(`no type ${name}`)
  return layout
}

/** Label of a type identification; undefined when the table has no such type. */
export function typeName(typeId: number): TypeName | undefined {
  return BY_ID.get(typeId)?.name
}

/** Type identification of a label. */
export function typeIdOf(name: TypeName): number {
  return TYPES[name].typeId
}
