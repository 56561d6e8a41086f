import type { Asdu, Cp56Time2a } from '../../protocol/index.ts'
import type { CommandKind, CommandSpec } from './contract.ts'

/** A process command as it came over the wire. */
export type CommandOrder = {
  readonly kind: CommandKind
  readonly ioa: number
  /** Single 0 off, 1 on; double 1 off, 2 on; step 1 lower, 2 higher; set-point; bits. */
  readonly value: number
  /** Qualifier of command or of set-point. */
  readonly qualifier: number
  readonly select: boolean
  readonly time: Cp56Time2a | undefined
}

/** Undefined for an ASDU that is no process command. */
export function readCommand(asdu: Asdu): CommandOrder | undefined {
  switch (asdu.type) {
    case 'C_SC_NA_1':
    case 'C_SC_TA_1':
      return first(asdu.objects, ({ sco }) => ({
        kind: 'single',
        value: sco.on ? 1 : 0,
        qualifier: sco.qu,
        select: sco.select,
      }))
    case 'C_DC_NA_1':
    case 'C_DC_TA_1':
      return first(asdu.objects, ({ dco }) => ({
        kind: 'double',
        value: dco.state,
        qualifier: dco.qu,
        select: dco.select,
      }))
    case 'C_RC_NA_1':
    case 'C_RC_TA_1':
      return first(asdu.objects, ({ rco }) => ({
        kind: 'step',
        value: rco.step,
        qualifier: rco.qu,
        select: rco.select,
      }))
    case 'C_SE_NA_1':
    case 'C_SE_TA_1':
      return first(asdu.objects, (object) => setPoint('normalized', object))
    case 'C_SE_NB_1':
    case 'C_SE_TB_1':
      return first(asdu.objects, (object) => setPoint('scaled', object))
    case 'C_SE_NC_1':
    case 'C_SE_TC_1':
      return first(asdu.objects, (object) => setPoint('float', object))
    case 'C_BO_NA_1':
    case 'C_BO_TA_1':
      return first(asdu.objects, ({ bsi }) => ({ kind: 'bitstring', value: bsi, qualifier: 0, select: false }))
    default:
      return undefined
  }
}

function first<T>(
  objects: readonly { readonly ioa: number; readonly value: T & { readonly time?: Cp56Time2a } }[],
  read: (value: T) => Pick<CommandOrder, 'kind' | 'value' | 'qualifier' | 'select'>,
): CommandOrder | undefined {
  const [object] = objects
  return object && { ...read(object.value), ioa: object.ioa, time: object.value.time }
}

function setPoint(
  kind: CommandKind,
  { value, qos }: { readonly value: number; readonly qos: { readonly ql: number; readonly select: boolean } },
): Pick<CommandOrder, 'kind' | 'value' | 'qualifier' | 'select'> {
  return { kind, value, qualifier: qos.ql, select: qos.select }
}

/** Why an order cannot be carried out at all, or undefined. Reserved states, qualifiers, and values out of range. */
export function orderProblem({ kind, value, qualifier }: CommandOrder, spec: CommandSpec): string | undefined {
  const isState = kind === 'double' || kind === 'step'
  if (isState && value !== 1 && value !== 2) return 'state'
  if (kind === 'single' || isState) return qualifier > 3 ? 'qualifier' : undefined
  if (qualifier !== 0) return 'qualifier'
  if (kind === 'bitstring') return undefined
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = spec
  return Number.isFinite(value) && value >= min && value <= max ? undefined : 'range'
}
