/** ASDUs in words and as plain data. */
import { type Asdu, cot, type TypeName, type Value } from '../../protocol/index.ts'

type AnyValue = { [N in TypeName]: Value<N> }[TypeName]
type Field = AnyValue extends infer V ? (V extends unknown ? keyof V : never) : never
type FieldValue<F extends Field> = AnyValue extends infer V
  ? V extends { readonly [G in F]: infer T }
    ? T
    : never
  : never

const CAUSES: ReadonlyMap<number, string> = new Map([
  [cot.periodic, 'periodic'],
  [cot.backgroundScan, 'background scan'],
  [cot.spontaneous, 'spontaneous'],
  [cot.initialized, 'initialized'],
  [cot.request, 'request'],
  [cot.activation, 'activation'],
  [cot.activationCon, 'activation con'],
  [cot.deactivation, 'deactivation'],
  [cot.deactivationCon, 'deactivation con'],
  [cot.activationTermination, 'activation term'],
  [cot.returnInfoRemote, 'return info remote'],
  [cot.returnInfoLocal, 'return info local'],
  [cot.fileTransfer, 'file transfer'],
  [cot.authentication, 'authentication'],
  [cot.maintenanceOfAuthSessionKey, 'auth session key'],
  [cot.maintenanceOfUserRoleAndUpdateKey, 'user role and key'],
  [cot.interrogatedByStation, 'interrogated by station'],
  [cot.requestedByGeneralCounter, 'counters requested'],
  [cot.unknownTypeId, 'unknown type'],
  [cot.unknownCot, 'unknown cause'],
  [cot.unknownCa, 'unknown CA'],
  [cot.unknownIoa, 'unknown IOA'],
])

/** A cause of transmission in words. */
export function causeText({ cot: cause, negative, test }: Pick<Asdu, 'cot' | 'negative' | 'test'>): string {
  const isGroup = cause > cot.interrogatedByStation && cause <= 36
  const isCounterGroup = cause > cot.requestedByGeneralCounter && cause <= 41
  const group = isGroup ? `interrogated by group ${cause - 20}` : `counters requested, group ${cause - 37}`
  const words = isGroup || isCounterGroup ? group : (CAUSES.get(cause) ?? `cause ${cause}`)
  return `${words}${negative ? ', negative' : ''}${test ? ', test' : ''}`
}

const DOUBLE = ['intermediate', 'off', 'on', 'indeterminate'] as const
const STEP = ['not permitted', 'lower', 'higher', 'not permitted'] as const
const PULSE = ['', 'short pulse', 'long pulse', 'persistent'] as const
const QUALIFIERS = { select: 'select', execute: 'execute' } as const

/** Fields of an object in words, in the order of this list; those not named here are quality and time. */
const TEXTS: { readonly [F in Field]?: (value: FieldValue<F>) => string } = {
  aid: (aid) => `AID ${aid}`,
  siq: ({ on }) => (on ? 'on' : 'off'),
  diq: ({ state }) => DOUBLE[state] ?? `${state}`,
  vti: ({ value, transient }) => `${value}${transient ? ' (moving)' : ''}`,
  bsi: (bits) => hex(bits, 8),
  value: (value) => `${Number(value.toPrecision(7))}`,
  bcr: ({ count, sequence }) => `${count} (sequence ${sequence})`,
  sep: ({ state }) => DOUBLE[state] ?? `${state}`,
  spe: flagsOf,
  oci: flagsOf,
  scd: ({ status, changes }) => `${hex(status, 4)} (changes ${hex(changes, 4)})`,
  elapsedMs: (ms) => `${ms} ms`,
  durationMs: (ms) => `${ms} ms`,
  operatingMs: (ms) => `${ms} ms`,
  delayMs: (ms) => `${ms} ms`,
  sco: ({ on, qu, select }) => command(on ? 'on' : 'off', qu, select),
  dco: ({ state, qu, select }) => command(DOUBLE[state] ?? `${state}`, qu, select),
  rco: ({ step, qu, select }) => command(STEP[step] ?? `${step}`, qu, select),
  qos: ({ ql, select }) => `${select ? QUALIFIERS.select : QUALIFIERS.execute}${ql === 0 ? '' : ` QL ${ql}`}`,
  coi: ({ cause, changed }) => `cause ${cause}${changed ? ', parameters changed' : ''}`,
  qoi: (qoi) => (qoi === 20 ? 'station' : qoi > 20 && qoi <= 36 ? `group ${qoi - 20}` : `QOI ${qoi}`),
  qcc: ({ request, freeze }) => `${request === 5 ? 'all' : `group ${request}`} ${FREEZE[freeze] ?? freeze}`,
  fbp: (pattern) => hex(pattern, 4),
  qrp: (qrp) => (qrp === 1 ? 'process' : qrp === 2 ? 'events' : `QRP ${qrp}`),
  tsc: (counter) => `counter ${counter}`,
  qpm: ({ kind, changed, notInOperation }) =>
    `${PARAMETER[kind] ?? `kind ${kind}`}${changed ? ', changed' : ''}${notInOperation ? ', not in operation' : ''}`,
  qpa: (qpa) => `QPA ${qpa}`,
  nof: (nof) => `file ${nof}`,
  nos: (nos) => `section ${nos}`,
  lof: (bytes) => `${bytes} octets`,
  frq: ({ qualifier, negative }) => `FRQ ${qualifier}${negative ? ' negative' : ''}`,
  srq: ({ qualifier, notReady }) => `SRQ ${qualifier}${notReady ? ' not ready' : ''}`,
  scq: ({ request, fault }) => `${CALL[request] ?? `SCQ ${request}`}${fault === 0 ? '' : ` fault ${fault}`}`,
  lsq: (lsq) => `LSQ ${lsq}`,
  chs: (checksum) => `checksum ${hex(checksum, 2)}`,
  afq: ({ qualifier, fault }) => `${ACK[qualifier] ?? `AFQ ${qualifier}`}${fault === 0 ? '' : ` fault ${fault}`}`,
  segment: (octets) => `${octets.length} octets`,
  sof: ({ lastFile, subdirectory, active }) =>
    [subdirectory ? 'directory' : '', active ? 'active' : '', lastFile ? 'last' : ''].filter(Boolean).join(', '),
}

const FREEZE = ['read', 'freeze', 'freeze and reset', 'reset'] as const
const PARAMETER = ['', 'threshold', 'smoothing', 'low limit', 'high limit'] as const
const CALL = ['directory', 'select file', 'request file', 'deactivate file', 'delete file', 'select section'].concat(
  'request section',
  'deactivate section',
)
const ACK = ['', 'file acknowledged', 'file not acknowledged', 'section acknowledged', 'section not acknowledged']
const QUALITY = [
  'overflow',
  'blocked',
  'substituted',
  'notTopical',
  'invalid',
  'elapsedTimeInvalid',
  'carry',
  'adjusted',
]

/** One information object in words. */
export type ObjectText = {
  readonly value: string
  /** Quality bits that are set, as the fields are called. */
  readonly quality: readonly string[]
  /** The object has quality bits at all. */
  readonly hasQuality: boolean
  /** ISO 8601, or minutes and seconds of a three octet time; with `invalid` or `summer time` behind it. */
  readonly time: string | undefined
}

/** An information object in words. */
export function objectText(value: AnyValue): ObjectText {
  const texts: string[] = []
  const quality: string[] = []
  let hasQuality = false
  let time: string | undefined
  for (const [name, field] of Object.entries(value)) {
    if (isTime(field)) {
      time = time === undefined ? timeText(field) : `${time} to ${timeText(field)}`
      continue
    }
    const text: ((field: never) => string) | undefined = TEXTS[name as Field]
    if (text !== undefined) texts.push(text(field as never))
    if (typeof field !== 'object' || field === null || !('invalid' in field)) continue
    hasQuality = true
    for (const bit of QUALITY) if ((field as { readonly [bit: string]: unknown })[bit] === true) quality.push(bit)
  }
  return { value: texts.filter(Boolean).join(', '), quality, hasQuality, time }
}

/** An information object as JSON can carry it: its elements, times as ISO 8601 beside their bits, octets as hex. */
export function objectData(value: AnyValue): { readonly [field: string]: unknown } {
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      if (isTime(field)) return [name, { ...field, text: timeText(field) }]
      return [name, field instanceof Uint8Array ? Buffer.from(field).toString('hex') : field]
    }),
  )
}

type Time = { readonly invalid: boolean; readonly summerTime?: boolean } & (
  | { readonly wallMs: number }
  | { readonly hourMs: number }
)

function isTime(field: unknown): field is Time {
  return typeof field === 'object' && field !== null && ('wallMs' in field || 'hourMs' in field)
}

export function timeText(time: Time): string {
  const text =
    'wallMs' in time ? new Date(time.wallMs).toISOString() : new Date(time.hourMs).toISOString().slice(14, 23)
  return `${text}${time.invalid ? ' invalid' : ''}${time.summerTime === true ? ' summer time' : ''}`
}

function command(what: string, qu: number, select: boolean): string {
  const pulse = PULSE[qu] ?? `QU ${qu}`
  return [what, select ? QUALIFIERS.select : QUALIFIERS.execute, pulse].filter(Boolean).join(' ')
}

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}

function flagsOf(flags: { readonly [flag: string]: boolean }): string {
  const set = Object.entries(flags).filter(([, isSet]) => isSet)
  return set.map(([name]) => name).join(' ') || 'none'
}
