/** The values in what an IED reports. */
import type { Asdu } from '../protocol/index.ts'
import type { PointChange } from './station/point-database.ts'
import type { PointKind } from './station/point-kinds.ts'

export type ReportedValue = { readonly ioa: number; readonly kind: PointKind; readonly change: PointChange }

/** Values of an ASDU in monitor direction; none for types that carry no present value, as events of protection equipment. */
export function reportedValues(asdu: Asdu): readonly ReportedValue[] {
  switch (asdu.type) {
    case 'M_SP_NA_1':
    case 'M_SP_TA_1':
    case 'M_SP_TB_1':
      return asdu.objects.map(({ ioa, value: { siq } }) => {
        const { on, ...quality } = siq
        return { ioa, kind: 'single', change: { value: on ? 1 : 0, quality } }
      })
    case 'M_DP_NA_1':
    case 'M_DP_TA_1':
    case 'M_DP_TB_1':
      return asdu.objects.map(({ ioa, value: { diq } }) => {
        const { state, ...quality } = diq
        return { ioa, kind: 'double', change: { value: state, quality } }
      })
    case 'M_ST_NA_1':
    case 'M_ST_TA_1':
    case 'M_ST_TB_1':
      return asdu.objects.map(({ ioa, value: { vti, qds } }) => {
        return { ioa, kind: 'step', change: { ...vti, quality: qds } }
      })
    case 'M_BO_NA_1':
    case 'M_BO_TA_1':
    case 'M_BO_TB_1':
      return asdu.objects.map(({ ioa, value: { bsi, qds } }) => {
        return { ioa, kind: 'bitstring', change: { value: bsi, quality: qds } }
      })
    case 'M_PS_NA_1':
      return asdu.objects.map(({ ioa, value: { scd, qds } }) => {
        return { ioa, kind: 'packed', change: { value: scd.status, quality: qds } }
      })
    case 'M_ME_ND_1':
      return asdu.objects.map(({ ioa, value: { value } }) => ({ ioa, kind: 'normalized', change: { value } }))
    case 'M_ME_NA_1':
    case 'M_ME_TA_1':
    case 'M_ME_TD_1':
      return measured('normalized', asdu.objects)
    case 'M_ME_NB_1':
    case 'M_ME_TB_1':
    case 'M_ME_TE_1':
      return measured('scaled', asdu.objects)
    case 'M_ME_NC_1':
    case 'M_ME_TC_1':
    case 'M_ME_TF_1':
      return measured('float', asdu.objects)
    case 'M_IT_NA_1':
    case 'M_IT_TA_1':
    case 'M_IT_TB_1':
      return asdu.objects.map(({ ioa, value: { bcr } }) => {
        return { ioa, kind: 'counter', change: { value: bcr.count, quality: { invalid: bcr.invalid } } }
      })
    default:
      return []
  }
}

type Measured = { readonly value: number; readonly qds: NonNullable<PointChange['quality']> }

function measured(
  kind: PointKind,
  objects: readonly { readonly ioa: number; readonly value: Measured }[],
): readonly ReportedValue[] {
  return objects.map(({ ioa, value: { value, qds } }) => ({ ioa, kind, change: { value, quality: qds } }))
}
