/** Commands and parameters as typed on the command line. */
import type { CommandMode, CommandOperation, CommandType, ParameterOperation } from '../../master/index.ts'
import { CliError } from '../errors.ts'
import { parseNumber } from './words.ts'

/** Short names of the command types, without and with time tag. */
const COMMANDS: { readonly [name: string]: readonly [CommandType, CommandType] } = {
  single: ['C_SC_NA_1', 'C_SC_TA_1'],
  double: ['C_DC_NA_1', 'C_DC_TA_1'],
  step: ['C_RC_NA_1', 'C_RC_TA_1'],
  normalized: ['C_SE_NA_1', 'C_SE_TA_1'],
  scaled: ['C_SE_NB_1', 'C_SE_TB_1'],
  float: ['C_SE_NC_1', 'C_SE_TC_1'],
  bitstring: ['C_BO_NA_1', 'C_BO_TA_1'],
}
const PARAMETERS = {
  normalized: 'P_ME_NA_1',
  scaled: 'P_ME_NB_1',
  float: 'P_ME_NC_1',
} as const
/** Qualifier of command, 7.2.6.26. */
const QU = { none: 0, short: 1, long: 2, persistent: 3 } as const
/** Kind of parameter, 7.2.6.24. */
const PARAMETER_KINDS = { threshold: 1, smoothing: 2, low: 3, high: 4 } as const

export type CommandWords = {
  readonly ca: number
  readonly ioa: number
  readonly type: string
  readonly value: string
  readonly mode: CommandMode
  readonly timeTag: boolean
  readonly awaitTermination: boolean
  /** Qualifier: pulse of a command, QL of a set-point. */
  readonly qu: string | undefined
  readonly ql: string | undefined
}

/** A command of the words that were typed. CliError for what they do not say. */
export function commandOperation(words: CommandWords): CommandOperation {
  const { ca, ioa, mode, awaitTermination, value: text } = words
  const type = commandType(words.type, words.timeTag)
  const common = { kind: 'command', ca, ioa, mode, awaitTermination } as const
  const qu = words.qu === undefined ? 0 : named(words.qu, QU, '--qu', 31)
  const qos = { ql: words.ql === undefined ? 0 : parseNumber(words.ql, '--ql', 127), select: false }
  switch (type) {
    case 'C_SC_NA_1':
    case 'C_SC_TA_1': {
      const on = named(text, { off: 0, on: 1 }, `${type} value`, 1) === 1
      return { ...common, type, value: { sco: { on, qu, select: false } } }
    }
    case 'C_DC_NA_1':
    case 'C_DC_TA_1': {
      const state = named(text, { off: 1, on: 2 }, `${type} value`, 3)
      return { ...common, type, value: { dco: { state, qu, select: false } } }
    }
    case 'C_RC_NA_1':
    case 'C_RC_TA_1': {
      const step = named(text, { lower: 1, higher: 2 }, `${type} value`, 3)
      return { ...common, type, value: { rco: { step, qu, select: false } } }
    }
    case 'C_SE_NA_1':
    case 'C_SE_TA_1':
      return { ...common, type, value: { value: normalized(text, type), qos } }
    case 'C_SE_NB_1':
    case 'C_SE_TB_1':
      return { ...common, type, value: { value: scaled(text, type), qos } }
    case 'C_SE_NC_1':
    case 'C_SE_TC_1':
      return { ...common, type, value: { value: real(text, type), qos } }
    case 'C_BO_NA_1':
    case 'C_BO_TA_1':
      return { ...common, type, value: { bsi: parseNumber(text, `${type} value`, 0xffff_ffff) } }
  }
}

export type ParameterWords = {
  readonly ca: number
  readonly ioa: number
  readonly type: string
  readonly value: string
  readonly kind: string | undefined
}

/** A parameter P_ME of the words that were typed. */
export function parameterOperation(words: ParameterWords): ParameterOperation {
  const { ca, ioa, value: text } = words
  const label = words.type.toUpperCase()
  const type = Object.entries(PARAMETERS).find(([name, each]) => name === words.type || each === label)?.[1]
  if (type === undefined) throw unknown(words.type, 'a parameter type', PARAMETERS)
  const kind = words.kind === undefined ? PARAMETER_KINDS.threshold : named(words.kind, PARAMETER_KINDS, '--kind', 63)
  const qpm = { kind, changed: false, notInOperation: false }
  const common = { kind: 'parameter', ca, ioa } as const
  switch (type) {
    case 'P_ME_NA_1':
      return { ...common, type, value: { value: normalized(text, type), qpm } }
    case 'P_ME_NB_1':
      return { ...common, type, value: { value: scaled(text, type), qpm } }
    case 'P_ME_NC_1':
      return { ...common, type, value: { value: real(text, type), qpm } }
  }
}

function commandType(text: string, timeTag: boolean): CommandType {
  const [plain, tagged] = (Object.hasOwn(COMMANDS, text) ? COMMANDS[text] : undefined) ?? []
  const byName = timeTag ? tagged : plain
  if (byName !== undefined) return byName
  const label = text.toUpperCase()
  const row = Object.values(COMMANDS).find(([each, withTag]) => label === each || label === withTag)
  if (row === undefined) throw unknown(text, 'a command type', COMMANDS)
  return timeTag || label === row[1] ? row[1] : row[0]
}

function unknown(text: string, what: string, names: object): CliError {
  const labels = Object.values(names).flat().join(', ')
  return new CliError(`found '${text}', expected ${what}: ${Object.keys(names).join(', ')}, or a label: ${labels}`)
}

/** A name of the list, or a number 0..`max`. */
function named(text: string, names: { readonly [name: string]: number }, what: string, max: number): number {
  const value = Object.hasOwn(names, text.toLowerCase()) ? names[text.toLowerCase()] : undefined
  if (value !== undefined) return value
  if (/^\d+$/.test(text)) return parseNumber(text, what, max)
  throw new CliError(`${what}: found '${text}', expected ${Object.keys(names).join(', ')} or a number 0..${max}`)
}

function real(text: string, type: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) throw new CliError(`${type} value: found '${text}', expected a number`)
  return value
}

function normalized(text: string, type: string): number {
  const value = real(text, type)
  if (value >= -1 && value < 1) return Math.min(value, 0x7fff / 0x8000)
  throw new CliError(`${type} value: found '${text}', expected a number -1 <= x < 1`)
}

function scaled(text: string, type: string): number {
  const value = real(text, type)
  if (Number.isInteger(value) && value >= -32_768 && value <= 32_767) return value
  throw new CliError(`${type} value: found '${text}', expected a whole number -32768..32767`)
}
