import {
  type Asdu,
  type AsduOf,
  asduOf,
  cot,
  cp56,
  encodeAsdu,
  MAX_ASDU_BYTES,
  type TypeName,
  typeIdOf,
} from '../../protocol/index.ts'
import { Activation, type ActivationPlan } from './activation.ts'
import { Directory } from './directory.ts'
import { confirmed, type Exchange, single, type Waits } from './exchange.ts'
import { SECTION_BYTES } from './file.ts'
import { GetFile } from './get-file.ts'
import type { CommandOperation, Operation } from './operation.ts'
import { PutFile } from './put-file.ts'
import { Read } from './read.ts'

/** The fixed test bit pattern, 7.2.6.14. */
const TEST_PATTERN = 0x55aa
const TEST_PATTERN_SWAPPED = 0xaa55
/** Sections have names 1..255, and lengths 24 bits. */
const MAX_PUT_BYTES = Math.min(255 * SECTION_BYTES, 2 ** 24 - 1)
/** Qualifier of a station interrogation; groups count up from it. */
const QOI_STATION = 20
const FREEZE = { read: 0, freeze: 1, freezeAndReset: 2, reset: 3 } as const

/** An operation made ready: `key` is what two operations under way may not share. */
export type Prepared = { readonly key: string; readonly exchange: Exchange }

/**
 * Makes an operation ready to run. RangeError for one that cannot be sent: an address or value out of range, a mode that
 * the type has not.
 */
export function exchangeOf(operation: Operation, oa: number, waits: Waits): Prepared {
  switch (operation.kind) {
    case 'read': {
      const { ca, ioa } = operation
      check(single('C_RD_NA_1', { cot: cot.request, ca, oa }, { ioa, value: {} }))
      return { key: `read ${ca} ${ioa}`, exchange: new Read({ ca, ioa, oa }, waits) }
    }
    case 'directory': {
      const { ca, ioa } = operation
      checkFile(ca, ioa, 0, oa)
      return { key: `file ${ca}`, exchange: new Directory({ ca, ioa, nof: 0, oa }, waits) }
    }
    case 'getFile': {
      const { ca, ioa, nof } = operation
      checkFile(ca, ioa, nof, oa)
      return { key: `file ${ca}`, exchange: new GetFile({ ca, ioa, nof, oa }, waits) }
    }
    case 'putFile': {
      const { ca, ioa, nof, octets } = operation
      checkFile(ca, ioa, nof, oa)
      if (octets.length === 0 || octets.length > MAX_PUT_BYTES) {
        throw new RangeError(`file of ${octets.length} octets, not 1..${MAX_PUT_BYTES}`)
      }
      return { key: `file ${ca}`, exchange: new PutFile({ ca, ioa, nof, oa }, octets, waits) }
    }
    case 'send': {
      const { asdu } = operation
      if (asdu.length === 0 || asdu.length > MAX_ASDU_BYTES) {
        throw new RangeError(`ASDU of ${asdu.length} octets, not 1..${MAX_ASDU_BYTES}`)
      }
      return { key: 'send', exchange: sending(asdu) }
    }
    default: {
      const plan = { oa, ...planOf(operation, oa) }
      const [request] = plan.requests.map((requestAt) => requestAt(CHECK_MS))
      if (request === undefined) throw new RangeError(`${operation.kind}: nothing to send`)
      check(request)
      const key = `${typeIdOf(request.type)} ${request.ca} ${request.objects[0]?.ioa ?? 0}`
      return { key, exchange: new Activation(plan, waits) }
    }
  }
}

type Activated = Exclude<Operation, { kind: 'read' | 'directory' | 'getFile' | 'putFile' | 'send' }>

function planOf(operation: Activated, oa: number): Omit<ActivationPlan, 'oa'> {
  const { ca } = operation
  const act = { cot: cot.activation, ca, oa }
  switch (operation.kind) {
    case 'interrogation': {
      if (!(operation.group >= 0 && operation.group <= 16)) throw new RangeError(`group ${operation.group}, not 0..16`)
      const qoi = QOI_STATION + operation.group
      return {
        requests: [() => single('C_IC_NA_1', act, { ioa: 0, value: { qoi } })],
        termination: 'needed',
        qualifier: qoi,
        isData: (header) => header.cot === qoi && isMonitor(header.typeId),
      }
    }
    case 'counterInterrogation': {
      const { group, action } = operation
      if (!(group >= 1 && group <= 5)) throw new RangeError(`counter group ${group}, not 1..5`)
      const qcc = { request: group, freeze: FREEZE[action] }
      return {
        requests: [() => single('C_CI_NA_1', act, { ioa: 0, value: { qcc } })],
        termination: action === 'read' ? 'needed' : 'possible',
        qualifier: qcc.request | (qcc.freeze << 6),
        isData: (header) => header.cot >= cot.requestedByGeneralCounter && header.cot <= 41 && isMonitor(header.typeId),
      }
    }
    case 'clockSync': {
      const { time } = operation
      const request = (wallMs: number) => single('C_CS_NA_1', act, { ioa: 0, value: { time: time ?? cp56(wallMs) } })
      return { requests: [request], termination: 'none' }
    }
    case 'command':
      return commandPlan(operation, act)
    case 'parameter': {
      const { type, ioa, value } = operation
      return { requests: [() => parameterOf(type, act, ioa, value)], termination: 'none' }
    }
    case 'parameterActivation': {
      const { ioa, qpa, active } = operation
      const header = { ...act, cot: active ? cot.activation : cot.deactivation }
      return { requests: [() => single('P_AC_NA_1', header, { ioa, value: { qpa } })], termination: 'none' }
    }
    case 'test': {
      const fbp = operation.swapped === true ? TEST_PATTERN_SWAPPED : TEST_PATTERN
      return {
        requests: [() => single('C_TS_NA_1', act, { ioa: 0, value: { fbp } })],
        termination: 'none',
        check: testProblem,
      }
    }
    case 'timedTest': {
      const tsc = operation.counter
      const request = (wallMs: number) => single('C_TS_TA_1', act, { ioa: 0, value: { tsc, time: cp56(wallMs) } })
      return { requests: [request], termination: 'none' }
    }
    case 'resetProcess': {
      const { qrp } = operation
      return { requests: [() => single('C_RP_NA_1', act, { ioa: 0, value: { qrp } })], termination: 'none' }
    }
  }
}

/** A time that is in range, to try whether an operation can be encoded. */
const CHECK_MS = 1_704_067_200_000

type RequestHeader = { readonly cot: number; readonly ca: number; readonly oa: number }

function commandPlan(operation: CommandOperation, act: RequestHeader): Omit<ActivationPlan, 'oa'> {
  const { mode, type, awaitTermination = true } = operation
  if (mode !== 'direct' && !SELECT_FIELDS.some((field) => field in operation.value)) {
    throw new RangeError(`${type} cannot be selected`)
  }
  const select = (wallMs: number) => commandOf(operation, act, { select: true, wallMs })
  const execute = (wallMs: number) => commandOf(operation, act, { select: false, wallMs })
  const termination = awaitTermination ? 'welcome' : 'none'
  switch (mode) {
    case 'direct':
    case 'execute':
      return { requests: [execute], termination }
    case 'selectBeforeOperate':
      return { requests: [select, execute], termination }
    case 'select':
      return { requests: [select], termination: 'none' }
    case 'cancel': {
      const header = { ...act, cot: cot.deactivation }
      const request = (wallMs: number) => commandOf(operation, header, { select: true, wallMs })
      return { requests: [request], termination: 'none' }
    }
  }
}

/** Fields that hold the select bit S/E. */
const SELECT_FIELDS = ['sco', 'dco', 'rco', 'qos'] as const

function commandOf(
  { type, ioa, value }: CommandOperation,
  header: RequestHeader,
  at: { readonly select: boolean; readonly wallMs: number },
): Asdu {
  const fields: Record<string, unknown> = { ...value }
  for (const name of SELECT_FIELDS) {
    const field = fields[name]
    if (typeof field === 'object') fields[name] = { ...field, select: at.select }
  }
  if (/_T[A-Z]_1$/.test(type)) fields['time'] = cp56(at.wallMs)
  return asduWith(type, header, ioa, fields)
}

function parameterOf(type: TypeName, header: RequestHeader, ioa: number, value: object): Asdu {
  return asduWith(type, header, ioa, value)
}

/** The type checker cannot follow a value of a union of types to its label; encodeAsdu checks the fields. */
function asduWith(type: TypeName, header: RequestHeader, ioa: number, value: object): Asdu {
  return asduOf(type, { ...header, objects: [{ ioa, value }] } as unknown as Pick<
    AsduOf<TypeName>,
    'cot' | 'ca' | 'objects'
  >) as Asdu
}

/** The pattern may come back in either order. */
function testProblem(reply: Asdu): string | undefined {
  const fbp = reply.type === 'C_TS_NA_1' ? reply.objects[0]?.value.fbp : undefined
  if (fbp === undefined || fbp === TEST_PATTERN || fbp === TEST_PATTERN_SWAPPED) return undefined
  return `test pattern 0x${fbp.toString(16).padStart(4, '0')} came back`
}

function isMonitor(typeId: number): boolean {
  return typeId < typeIdOf('C_SC_NA_1')
}

/** Nothing is known of what answers to any octets: the exchange ends as it begins. */
function sending(asdu: Uint8Array): Exchange {
  return { begin: () => ({ send: [asdu], result: confirmed({}) }), take: () => undefined, expire: () => ({}) }
}

function check(asdu: Asdu): void {
  encodeAsdu(asdu)
}

function checkFile(ca: number, ioa: number, nof: number, oa: number): void {
  check(
    single('F_SC_NA_1', { cot: cot.request, ca, oa }, { ioa, value: { nof, nos: 0, scq: { request: 0, fault: 0 } } }),
  )
}
