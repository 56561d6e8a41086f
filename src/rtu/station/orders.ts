/** Which ASDUs a controlled station serves, and what is wrong with one that it does not (IEC 60870-5-101, 7.2.3). */
import { type AsduView, cot, type TypeName, typeIdOf } from '../../protocol/index.ts'

export const BROADCAST_CA = 65_535

type Service = {
  readonly causes: readonly number[]
  /** May be for all stations. */
  readonly broadcast: boolean
  /** Carries no object address: it is 0. */
  readonly station: boolean
}

const PROCESS_COMMANDS: readonly TypeName[] = [
  ...(['C_SC_NA_1', 'C_DC_NA_1', 'C_RC_NA_1', 'C_SE_NA_1', 'C_SE_NB_1', 'C_SE_NC_1', 'C_BO_NA_1'] as const),
  ...(['C_SC_TA_1', 'C_DC_TA_1', 'C_RC_TA_1', 'C_SE_TA_1', 'C_SE_TB_1', 'C_SE_TC_1', 'C_BO_TA_1'] as const),
]
const PARAMETERS: readonly TypeName[] = ['P_ME_NA_1', 'P_ME_NB_1', 'P_ME_NC_1']
const FILES: readonly TypeName[] = ['F_FR_NA_1', 'F_SR_NA_1', 'F_LS_NA_1', 'F_AF_NA_1', 'F_SG_NA_1']

const { activation, deactivation, request, fileTransfer, spontaneous } = cot
const SERVICES: ReadonlyMap<number, Service> = new Map([
  ...rows(PROCESS_COMMANDS, { causes: [activation, deactivation], broadcast: false, station: false }),
  ...rows(['C_IC_NA_1', 'C_CI_NA_1'], { causes: [activation, deactivation], broadcast: true, station: true }),
  ...rows(['C_CS_NA_1', 'C_RP_NA_1'], { causes: [activation], broadcast: true, station: true }),
  ...rows(['C_TS_NA_1', 'C_TS_TA_1'], { causes: [activation], broadcast: false, station: true }),
  ...rows(['C_CD_NA_1'], { causes: [activation, spontaneous], broadcast: false, station: true }),
  ...rows(['C_RD_NA_1'], { causes: [request], broadcast: false, station: false }),
  ...rows(PARAMETERS, { causes: [activation], broadcast: false, station: false }),
  ...rows(['P_AC_NA_1'], { causes: [activation, deactivation], broadcast: false, station: false }),
  ...rows(FILES, { causes: [fileTransfer], broadcast: false, station: false }),
  ...rows(['F_SC_NA_1'], { causes: [fileTransfer, request], broadcast: false, station: false }),
])

function rows(types: readonly TypeName[], service: Service): readonly (readonly [number, Service])[] {
  return types.map((type) => [typeIdOf(type), service])
}

export function isServedType(typeId: number): boolean {
  return SERVICES.has(typeId)
}

/** The cause to refuse an order of a served type with, 45..47; undefined when it is for this station. */
export function faultOf(view: AsduView, cas: ReadonlySet<number>): number | undefined {
  const service = SERVICES.get(view.typeId)
  if (service === undefined) return cot.unknownTypeId
  if (!service.causes.includes(view.cot)) return cot.unknownCot
  if (!cas.has(view.ca) && !(view.ca === BROADCAST_CA && service.broadcast)) return cot.unknownCa
  return service.station && view.ioa !== 0 ? cot.unknownIoa : undefined
}

/** A peer's own refusal of something we sent: not to be answered. */
export function isRefusal({ cot: cause }: AsduView): boolean {
  return cause >= cot.unknownTypeId && cause <= cot.unknownIoa
}
