/** The operations of `q104 client` as words, and the steps they stand for. */
import type { Operation } from '../../master/index.ts'
import { cp56 } from '../../protocol/index.ts'
import { CliError } from '../errors.ts'
import { parseDurationS } from '../options.ts'
import { commandOperation, parameterOperation } from './values.ts'
import { parseNumber, Words } from './words.ts'

/** One thing that the client does, in order. `label` is the words it was given as. */
export type ClientStep =
  | { readonly kind: 'operate'; readonly label: string; readonly operation: Operation }
  /** A file by its name; without `ioa` the directory says where it is. */
  | { readonly kind: 'getFile'; readonly label: string; readonly file: FileWords; readonly toPath: string }
  | { readonly kind: 'putFile'; readonly label: string; readonly file: FileWords; readonly fromPath: string }
  | { readonly kind: 'wait'; readonly label: string; readonly durationMs: number }
  /** Until interrupted without `durationMs`. */
  | { readonly kind: 'monitor'; readonly label: string; readonly durationMs: number | undefined }
  | { readonly kind: 'startdt' | 'stopdt'; readonly label: string }
  /** More operations from stdin, one or several a line. */
  | { readonly kind: 'stdin'; readonly label: string }

export type FileWords = { readonly ca: number; readonly nof: number; readonly ioa: number | undefined }

const CA = { ca: 'value' } as const
const COMMAND_OPTIONS = {
  ...CA,
  sbo: 'flag',
  select: 'flag',
  execute: 'flag',
  cancel: 'flag',
  'time-tag': 'flag',
  'no-termination': 'flag',
  qu: 'value',
  ql: 'value',
} as const
/** Words that freeze or reset counters; without one they are read. */
const FREEZE = { freeze: 'freeze', 'freeze-reset': 'freezeAndReset', reset: 'reset' } as const

/** What follows the name of an operation. `ca` is the default common address. */
type Parser = (words: Words, ca: number, label: () => string) => ClientStep

const OPERATIONS: { readonly [name: string]: Parser } = {
  gi(words, ca, label) {
    const group = parseNumber(words.takeIf(/^\d+$/) ?? '0', 'gi GROUP', 16)
    const options = words.takeOptions(CA)
    return operate(label, { kind: 'interrogation', ca: caOf(options, ca), group })
  },
  counters(words, ca, label) {
    const group = Number(words.takeIf(/^[1-5]$/) ?? 5)
    const word = words.takeIf(/^(freeze|freeze-reset|reset)$/) as keyof typeof FREEZE | undefined
    const action = word === undefined ? 'read' : FREEZE[word]
    const options = words.takeOptions(CA)
    return operate(label, { kind: 'counterInterrogation', ca: caOf(options, ca), group, action })
  },
  read(words, ca, label) {
    const address = words.takeAddress('read', ca)
    return operate(label, { kind: 'read', ...address, ca: caOf(words.takeOptions(CA), address.ca) })
  },
  clock(words, ca, label) {
    const text = words.takeIf(/^\d{4}-\d\d-\d\dT/)
    const options = words.takeOptions(CA)
    const time = text === undefined ? {} : { time: timeOf(text) }
    return operate(label, { kind: 'clockSync', ca: caOf(options, ca), ...time })
  },
  set(words, ca, label) {
    const address = words.takeAddress('set', ca)
    const type = words.take('the TYPE of set')
    const value = words.take('the VALUE of set')
    const options = words.takeOptions(COMMAND_OPTIONS)
    const modes = ['sbo', 'select', 'execute', 'cancel'].filter((name) => options.has(name))
    if (modes.length > 1) throw new CliError(`--${modes.join(' and --')} do not go together`)
    const mode = options.has('sbo') ? 'selectBeforeOperate' : parseMode(modes[0])
    const operation = commandOperation({
      ...address,
      ca: caOf(options, address.ca),
      type,
      value,
      mode,
      timeTag: options.has('time-tag'),
      awaitTermination: !options.has('no-termination'),
      qu: options.get('qu'),
      ql: options.get('ql'),
    })
    return operate(label, operation)
  },
  param(words, ca, label) {
    const address = words.takeAddress('param', ca)
    const type = words.take('the TYPE of param')
    const value = words.take('the VALUE of param')
    const options = words.takeOptions({ ...CA, kind: 'value' })
    const at = { ...address, ca: caOf(options, address.ca) }
    return operate(label, parameterOperation({ ...at, type, value, kind: options.get('kind') }))
  },
  activate: (words, ca, label) => parameterActivation(words, ca, { label, active: true }),
  deactivate: (words, ca, label) => parameterActivation(words, ca, { label, active: false }),
  test(words, ca, label) {
    const options = words.takeOptions({ ...CA, swapped: 'flag', 'time-tag': 'value' })
    const counter = options.get('time-tag')
    const at = { ca: caOf(options, ca) }
    if (counter === undefined) return operate(label, { kind: 'test', ...at, swapped: options.has('swapped') })
    return operate(label, { kind: 'timedTest', ...at, counter: parseNumber(counter, '--time-tag', 0xffff) })
  },
  reset(words, ca, label) {
    const what = words.takeIf(/^(process|events)$/) ?? 'process'
    const options = words.takeOptions(CA)
    return operate(label, { kind: 'resetProcess', ca: caOf(options, ca), qrp: what === 'process' ? 1 : 2 })
  },
  'file-dir'(words, ca, label) {
    const ioa = parseNumber(words.takeIf(/^\d+$/) ?? '0', 'file-dir IOA', 0xff_ffff)
    return operate(label, { kind: 'directory', ca: caOf(words.takeOptions(CA), ca), ioa })
  },
  'file-get'(words, ca, label) {
    const nof = parseNumber(words.take('the NAME of file-get'), 'file-get NAME', 0xffff)
    const options = words.takeOptions({ ...CA, ioa: 'value', to: 'value' })
    const file = { ca: caOf(options, ca), nof, ioa: ioaOf(options) }
    return { kind: 'getFile', label: label(), file, toPath: options.get('to') ?? `file-${nof}.bin` }
  },
  'file-put'(words, ca, label) {
    const nof = parseNumber(words.take('the NAME of file-put'), 'file-put NAME', 0xffff)
    const fromPath = words.take('the FILE of file-put')
    const options = words.takeOptions({ ...CA, ioa: 'value' })
    return { kind: 'putFile', label: label(), file: { ca: caOf(options, ca), nof, ioa: ioaOf(options) }, fromPath }
  },
  send(words, _ca, label) {
    const hex = words.take('the octets of send').replaceAll(/[\s:]/g, '')
    const isAsdu = /^(?:[\da-f]{2}){1,249}$/i.test(hex)
    if (!isAsdu) throw new CliError(`send: found '${hex}', expected 1..249 octets in hexadecimal`)
    return operate(label, { kind: 'send', asdu: Uint8Array.from(Buffer.from(hex, 'hex')) })
  },
  wait(words, _ca, label) {
    const durationMs = parseDurationS(words.take('the DURATION of wait'), 'wait') * 1000
    return { kind: 'wait', label: label(), durationMs }
  },
  monitor(words, _ca, label) {
    const text = words.takeIf(/^\d/)
    const durationMs = text === undefined ? undefined : parseDurationS(text, 'monitor') * 1000
    return { kind: 'monitor', label: label(), durationMs }
  },
  startdt: (_words, _ca, label) => ({ kind: 'startdt', label: label() }),
  stopdt: (_words, _ca, label) => ({ kind: 'stopdt', label: label() }),
  '-': (_words, _ca, label) => ({ kind: 'stdin', label: label() }),
}

/** The next operation of the words. CliError for one that makes no sense. */
export function takeStep(words: Words, ca: number): ClientStep {
  const before = words.rest
  const name = words.take('an operation')
  const parser = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined
  if (parser === undefined) {
    throw new CliError(`there is no operation '${name}'; operations: ${Object.keys(OPERATIONS).join(', ')}`)
  }
  return parser(words, ca, () => before.slice(0, before.length - words.rest.length).join(' '))
}

/** The operations of one line of stdin. */
export function stepsOfLine(line: readonly string[], ca: number): ClientStep[] {
  const words = new Words(line)
  const steps: ClientStep[] = []
  while (!words.isEmpty) steps.push(takeStep(words, ca))
  return steps
}

function operate(label: () => string, operation: Operation): ClientStep {
  return { kind: 'operate', label: label(), operation }
}

function parameterActivation(
  words: Words,
  ca: number,
  { label, active }: { readonly label: () => string; readonly active: boolean },
): ClientStep {
  const address = words.takeAddress(active ? 'activate' : 'deactivate', ca)
  const options = words.takeOptions({ ...CA, qpa: 'value' })
  const qpa = parseNumber(options.get('qpa') ?? '3', '--qpa', 255)
  return operate(label, { kind: 'parameterActivation', ...address, ca: caOf(options, address.ca), qpa, active })
}

function parseMode(name: string | undefined): 'direct' | 'select' | 'execute' | 'cancel' {
  return name === 'select' || name === 'execute' || name === 'cancel' ? name : 'direct'
}

function caOf(options: ReadonlyMap<string, string>, ca: number): number {
  const text = options.get('ca')
  return text === undefined ? ca : parseNumber(text, '--ca', 0xffff)
}

function ioaOf(options: ReadonlyMap<string, string>): number | undefined {
  const text = options.get('ioa')
  return text === undefined ? undefined : parseNumber(text, '--ioa', 0xff_ffff)
}

function timeOf(text: string) {
  const wallMs = Date.parse(text)
  const year = new Date(wallMs).getUTCFullYear()
  if (!(year >= 2000 && year <= 2099)) throw new CliError(`clock: found '${text}', expected a time of 2000 to 2099`)
  return cp56(wallMs)
}
