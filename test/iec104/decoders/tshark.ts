/** tshark, the decoder of the Wireshark project. */
import { spawnSync } from 'node:child_process'
import * as e from '../../../src/protocol/iec104/elements.ts'
import type { Cp24Time2a, Cp56Time2a } from '../../../src/protocol/iec104/time.ts'
import { layoutOf, type TypeName, typeIdOf } from '../../../src/protocol/iec104/types.ts'
import { TYPE_NAMES } from './asdus.ts'
import { calendar, type Decoder, elementFacts, type Facts, facts, type Quality, type Reading, shows } from './facts.ts'

/** Severity of an expert mark of Wireshark: a warning; an error is above. */
const WARNING = 0x60_0000
const PREFIX = /^iec60870_(asdu|104)\./

/** A packet as tshark reads it. */
export type Packet = Reading & {
  /** Malformed, or marked by an expert with a warning or an error; empty when all is well. */
  readonly marks: readonly string[]
}

/** Version of the installed tshark; undefined when there is none. */
export function tsharkVersion(): string | undefined {
  const { status, stdout } = spawnSync('tshark', ['--version'], { encoding: 'utf8' })
  return status === 0 ? /\d+(\.\d+)+/.exec(stdout)?.[0] : undefined
}

/** Reads every packet of a capture; nobody's preferences and no time zone but UTC. */
export function readWithTshark(capture: string, configDir: string): readonly Packet[] {
  const { status, stdout, stderr } = spawnSync('tshark', ['-r', capture, '-T', 'pdml'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C', WIRESHARK_CONFIG_DIR: configDir },
  })
  if (status !== 0) throw new Error(`tshark ended with ${status}: ${stderr}`)
  return stdout.split('<packet>').slice(1).map(packetOf)
}

function packetOf(pdml: string): Packet {
  const header: Record<string, number | string> = {}
  const objects: Record<string, number | string>[] = []
  const marks: string[] = []
  let type: string | undefined
  let raw: string | undefined
  for (const [, name = '', showname = '', show = '', end = ''] of pdml.matchAll(
    /<(?:field|proto) name="([^"]*)"(?: showname="([^"]*)")?(?:[^>]*? show="([^"]*)")?[^>]*?(\/?)>/g,
  )) {
    if (name === '_ws.malformed') marks.push(showname)
    if (name === '_ws.expert.severity' && Number(show) >= WARNING) marks.push(`expert: ${showname}`)
    if (!PREFIX.test(name)) continue
    const field = name.replace(PREFIX, '')
    // A field with fields below it repeats them in hex; only the times say more.
    if (end !== '/' && !/^cp..time$/.test(field)) continue
    if (field === 'typeid') type = /TypeId: (\w+_\w+)/.exec(showname)?.[1]
    if (field === 'ioa') objects.push({})
    if (field === 'rawdata') raw = show.replaceAll(':', '')
    else Object.assign(objects.at(-1) ?? header, { [field]: numberOf(field, show) })
  }
  return { type, header, objects, raw, marks }
}

function numberOf(field: string, show: string): number | string {
  if (field === 'cp56time') return Date.parse(show.replace(/(\.\d{3})\d+/, '$1'))
  const special = { nan: Number.NaN, inf: Infinity, '-inf': -Infinity }[show]
  if (special !== undefined) return special
  return Number.isNaN(Number(show)) ? show : Number(show)
}

/** tshark shows six digits of a short float. */
const sixDigits = (value: number): number =>
  Number.isFinite(value) && value !== 0 ? Number(value.toPrecision(6)) : value

const swap32 = (bits: number): number => Buffer.from(Uint32Array.of(bits).buffer).readUInt32BE()

function time56(time: Cp56Time2a): Facts {
  const { year, month, day, hour, minute, ms } = calendar(time)
  return facts({
    cp56time: Date.UTC(2000 + year, month - 1, day, hour, minute, 0, ms),
    'cp56time.ms': ms,
    'cp56time.min': minute,
    'cp56time.gen': 0,
    'cp56time.iv': time.invalid,
    'cp56time.hour': hour,
    'cp56time.su': time.summerTime,
    'cp56time.day': day,
    'cp56time.dow': time.dayOfWeek,
    'cp56time.month': month,
    'cp56time.year': year,
  })
}

function time24({ hourMs, invalid }: Cp24Time2a): Facts {
  return facts({
    cp24time: hourMs / 1000,
    'cp24time.ms': hourMs % 60_000,
    'cp24time.min': Math.floor(hourMs / 60_000),
    'cp24time.iv': invalid,
  })
}

function quality(of: string, { blocked, substituted, notTopical, invalid }: Quality): Facts {
  return facts({
    [`${of}.bl`]: blocked,
    [`${of}.sb`]: substituted,
    [`${of}.nt`]: notTopical,
    [`${of}.iv`]: invalid,
  })
}

const ELEMENTS = [
  shows('siq', e.SIQ, (siq) => ({ 'siq.spi': Number(siq.on), ...quality('siq', siq) })),
  shows('diq', e.DIQ, (diq) => ({ 'diq.dpi': diq.state, ...quality('diq', diq) })),
  shows('qds', e.QDS, (qds) => ({ 'qds.ov': Number(qds.overflow), ...quality('qds', qds) })),
  shows('vti', e.VTI, ({ value, transient }) => facts({ 'vti.v': value, 'vti.t': transient })),
  shows('bsi', e.BSI, (bitstring) => ({ bitstring })),
  shows('value', e.NVA, (value) => ({ normval: sixDigits(value) })),
  shows('value', e.SVA, (scalval) => ({ scalval })),
  shows('value', e.R32, (value) => ({ float: sixDigits(value) })),
  shows('bcr', e.BCR, (bcr) =>
    facts({
      'bcr.count': bcr.count,
      'bcr.sq': bcr.sequence,
      'bcr.cy': bcr.carry,
      'bcr.ca': bcr.adjusted,
      'bcr.iv': bcr.invalid,
    }),
  ),
  shows('time', e.CP24, time24),
  shows('time', e.CP56, time56),
  shows('sco', e.SCO, ({ on, qu, select }) => facts({ 'sco.on': on, 'sco.qu': qu, 'sco.se': select })),
  shows('dco', e.DCO, ({ state, qu, select }) => facts({ 'dco.on': state, 'dco.qu': qu, 'dco.se': select })),
  shows('rco', e.RCO, ({ step, qu, select }) => facts({ 'rco.up': step, 'rco.qu': qu, 'rco.se': select })),
  shows('qos', e.QOS, ({ ql, select }) => facts({ 'qos.ql': ql, 'qos.se': select })),
  shows('coi', e.COI, ({ cause, changed }) => facts({ coi_r: cause, coi_i: changed })),
  shows('qoi', e.QOI, (qoi) => ({ qoi })),
  shows('qcc', e.QCC, ({ request, freeze }) => ({ rqt: request, frz: freeze })),
  shows('qrp', e.QRP, (qrp) => ({ qrp })),
  shows('qpm', e.QPM, ({ kind, changed, notInOperation }) =>
    facts({ 'qpm.kpa': kind, 'qpm.lpc': changed, 'qpm.pop': notInOperation }),
  ),
]

const NAMED_ONLY: readonly TypeName[] = [
  'M_PS_NA_1',
  'M_EP_TD_1',
  'M_EP_TE_1',
  'M_EP_TF_1',
  'S_IT_TC_1',
  'C_TS_TA_1',
  'P_AC_NA_1',
  'F_FR_NA_1',
  'F_SR_NA_1',
  'F_SC_NA_1',
  'F_LS_NA_1',
  'F_AF_NA_1',
  'F_SG_NA_1',
  'F_DR_TA_1',
  'F_SC_NB_1',
]

const UNKNOWN: readonly TypeName[] = ['M_EP_TA_1', 'M_EP_TB_1', 'M_EP_TC_1', 'C_TS_NA_1', 'C_CD_NA_1']

/** The types with CP56Time2a that tshark decodes. */
const DECODED_CP56 = TYPE_NAMES.filter(
  (type) => layoutOf(type).fields.some(({ element }) => element === e.CP56) && !NAMED_ONLY.includes(type),
)

export const tshark: Decoder = {
  name: 'tshark',
  listedVersion: '4.0.',
  namedOnly: NAMED_ONLY,
  unknown: UNKNOWN,
  deviations: [
    {
      types: ['M_BO_NA_1', 'M_BO_TA_1', 'M_BO_TB_1', 'C_BO_NA_1', 'C_BO_TA_1'],
      what: 'the four octets of BSI are shown in the order of transmission, bit 1 as 0x01000000',
      shows: ({ bitstring }) => ({ bitstring: swap32(Number(bitstring)) }),
    },
    {
      types: DECODED_CP56,
      what: 'the years 70 to 99 of CP56Time2a are shown as 1970 to 1999; the field `year` is right',
      shows: ({ cp56time, 'cp56time.year': year }) =>
        Number(year) < 70 ? {} : { cp56time: new Date(Number(cp56time)).setUTCFullYear(1900 + Number(year)) },
    },
    {
      types: DECODED_CP56,
      what: 'with SU, CP56Time2a is shown an hour early in a zone without summer time; the field `hour` is right',
      shows: ({ cp56time, 'cp56time.su': su }) => ({ cp56time: Number(cp56time) - Number(su) * 3_600_000 }),
    },
  ],
  rawFrom: 15,
  header: ({ asdu, apdu, sendSeq, recvSeq }) =>
    facts({
      start: 0x68,
      apdulen: apdu.length - 2,
      type: 0,
      tx: sendSeq,
      rx: recvSeq,
      typeid: typeIdOf(asdu.type),
      sq: asdu.sq,
      numix: asdu.objects.length,
      causetx: asdu.cot,
      nega: asdu.negative,
      test: asdu.test,
      oa: asdu.oa,
      addr: asdu.ca,
    }),
  object: (asdu, i) => ({ ioa: asdu.objects[i]?.ioa ?? 0, ...elementFacts(ELEMENTS, asdu, i) }),
}
