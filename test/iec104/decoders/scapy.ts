/** scapy's IEC-104 layer (`scapy.contrib.scada.iec104`), which reads and builds. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import * as e from '../../../src/protocol/iec104/elements.ts'
import type { Cp56Time2a } from '../../../src/protocol/iec104/time.ts'
import { layoutOf, type TypeName, typeIdOf } from '../../../src/protocol/iec104/types.ts'
import { type Sent, TYPE_NAMES } from './asdus.ts'
import {
  calendar,
  type Decoder,
  elementFacts,
  type Facts,
  facts,
  type Quality,
  type Reading,
  shownObject,
  shows,
} from './facts.ts'

/** Debian's python3, whichever other is first on PATH: python3-scapy is a module of that one. */
const PYTHON = '/usr/bin/python3'
const SCRIPT = join('test', 'iec104', 'decoders', 'scapy-iec104.py')

export type ScapyAnswer = {
  /** One of each packet. */
  readonly read: readonly Reading[]
  /** APDUs in hex; null for a type that scapy does not know. */
  readonly built: readonly (string | null)[]
}

/** Version of the installed scapy; undefined when there is none. */
export function scapyVersion(): string | undefined {
  const check = 'import scapy, scapy.contrib.scada.iec104; print(scapy.__version__)'
  const { status, stdout } = spawnSync(PYTHON, ['-c', check], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

/** What the script prints of a packet. */
type Printed = {
  readonly message: string
  readonly header: Facts & { readonly type_name?: string }
  readonly objects: readonly Facts[]
}

/** Reads every packet of a capture, and builds APDUs from the facts of what was sent. */
export function askScapy(capture: string, sent: readonly Sent[]): ScapyAnswer {
  const build = sent.map((one) => ({
    header: scapy.header(one),
    objects: one.asdu.objects.map((_, i) => shownObject(scapy, one.asdu, i)),
  }))
  const { status, stdout, stderr } = spawnSync(PYTHON, [SCRIPT], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    input: JSON.stringify({ capture, build }, (_, value) => (typeof value === 'number' ? jsonNumber(value) : value)),
  })
  if (status !== 0) throw new Error(`${PYTHON} ${SCRIPT} ended with ${status}: ${stderr}`)
  const { read, built } = JSON.parse(stdout) as Omit<ScapyAnswer, 'read'> & { read: readonly Printed[] }
  return { read: read.map(readingOf), built }
}

/** JSON has no infinities, and JavaScript writes no negative zero. */
function jsonNumber(value: number): number | string {
  if (Object.is(value, -0)) return '-0'
  return Number.isFinite(value) ? value : String(value)
}

function readingOf({ message, header: { type_name: type, ...header }, objects }: Printed): Reading {
  const raw = objects[0]?.['load']
  return {
    type: type?.startsWith('reserved_') ? undefined : type,
    header: { message, ...header },
    objects: objects.map(withoutReserved),
    raw: raw === undefined ? undefined : String(raw),
  }
}

const NOT_IN_JSON = new Map<unknown, number>([
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
])

/** Reserved bits are left out where they are 0, as they have to be. */
function withoutReserved(object: Facts): Facts {
  const kept = Object.entries(object).filter(([name, value]) => value !== 0 || !name.includes('reserved'))
  return Object.fromEntries(kept.map(([name, value]) => [name, NOT_IN_JSON.get(value) ?? value]))
}

function time56(time: Cp56Time2a, prefix = '', invalid = 'iv_time'): Facts {
  const { year, month, day, hour, minute, ms } = calendar(time)
  return facts({
    [`${prefix}sec_milli`]: ms,
    [`${prefix}${invalid}`]: time.invalid,
    [`${prefix}gen`]: 0,
    [`${prefix}minutes`]: minute,
    [`${prefix}su`]: time.summerTime,
    [`${prefix}hours`]: hour,
    [`${prefix}weekday`]: time.dayOfWeek,
    [`${prefix}day_of_month`]: day,
    [`${prefix}month`]: month,
    [`${prefix}year`]: year,
  })
}

const quality = ({ blocked: bl, substituted: sb, notTopical: nt, invalid: iv }: Quality): Facts =>
  facts({ iv, nt, sb, bl })

/** Bits 1 to 16 as fields of their own. */
const bits16 = (of: string, bits: number): Facts =>
  Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${of}_${i + 1}`, (bits >> i) & 1]))

const ELEMENTS = [
  shows('siq', e.SIQ, (siq) => ({ ...quality(siq), spi_value: Number(siq.on) })),
  shows('diq', e.DIQ, (diq) => ({ ...quality(diq), dpi_value: diq.state })),
  shows('qds', e.QDS, (qds) => ({ ...quality(qds), ov: Number(qds.overflow) })),
  shows('qdp', e.QDP, (qdp) => ({ ...quality(qdp), ei: Number(qdp.elapsedTimeInvalid) })),
  shows('vti', e.VTI, ({ value, transient }) => facts({ transient_state: transient, value })),
  shows('bsi', e.BSI, (bsi) => ({ bsi })),
  shows('value', e.NVA, (value) => ({ normed_value: value })),
  shows('value', e.SVA, (value) => ({ scaled_value: value })),
  shows('value', e.R32, (value) => ({ scaled_value: value })),
  shows('bcr', e.BCR, ({ count, sequence, carry, adjusted, invalid }) =>
    facts({ counter_value: count, iv: invalid, ca: adjusted, cy: carry, sq: sequence }),
  ),
  shows('sep', e.SEP, (sep) => ({ ...quality(sep), ei: Number(sep.elapsedTimeInvalid), es: sep.state })),
  shows('spe', e.SPE, ({ general, l1, l2, l3, earth, reverse }) =>
    facts({ srd: reverse, sie: earth, sl3: l3, sl2: l2, sl1: l1, gs: general }),
  ),
  shows('oci', e.OCI, ({ general, l1, l2, l3 }) => facts({ cl3: l3, cl2: l2, cl1: l1, gc: general })),
  shows('scd', e.SCD, ({ status, changes }) => ({ ...bits16('st', status), ...bits16('cd', changes) })),
  shows('elapsedMs', e.CP16, (ms) => ({ elapsed_sec_milli: ms })),
  shows('durationMs', e.CP16, (ms) => ({ prot_act_sec_milli: ms })),
  shows('operatingMs', e.CP16, (ms) => ({ prot_cmd_sec_milli: ms })),
  shows('delayMs', e.CP16, (ms) => ({ sec_milli: ms })),
  shows('time', e.CP24, ({ hourMs, invalid }) =>
    facts({ sec_milli: hourMs % 60_000, iv_time: invalid, gen: 0, minutes: Math.floor(hourMs / 60_000) }),
  ),
  shows('time', e.CP56, (time) => time56(time)),
  shows('from', e.CP56, (time) => time56(time, 'start_', 'iv')),
  shows('to', e.CP56, (time) => time56(time, 'stop_', 'iv')),
  shows('sco', e.SCO, ({ on, qu, select }) => facts({ s_or_e: select, qu, scs: on })),
  shows('dco', e.DCO, ({ state, qu, select }) => facts({ s_or_e: select, qu, dcs: state })),
  shows('rco', e.RCO, ({ step, qu, select }) => facts({ s_or_e: select, qu, rcs: step })),
  shows('qos', e.QOS, ({ ql, select }) => facts({ action: select, ql })),
  shows('coi', e.COI, ({ cause, changed }) => facts({ local_param_state: changed, coi: cause })),
  shows('qoi', e.QOI, (qoi) => ({ qoi })),
  shows('qcc', e.QCC, ({ request, freeze }) => ({ frz: freeze, rqt: request })),
  shows('qpm', e.QPM, ({ kind, changed, notInOperation }) => facts({ pop: notInOperation, lpc: changed, kpa: kind })),
  shows('qpa', e.QPA, (qpa) => ({ qpa })),
  shows('qrp', e.QRP, (qrp) => ({ qrp })),
  shows('fbp', e.FBP, (fbp) => ({ fbp })),
  shows('tsc', e.TSC, (tsc) => ({ tsc })),
  shows('nof', e.NOF, (nof) => ({ file_name: nof })),
  shows('nos', e.NOS, (nos) => ({ section_name: nos })),
  shows('lof', e.LOF, (lof) => ({ file_length: lof })),
  shows('frq', e.FRQ, ({ qualifier, negative }) => facts({ fr_ack: negative, fr: qualifier })),
  shows('srq', e.SRQ, ({ qualifier, notReady }) => facts({ section_load_state: notReady, sr: qualifier })),
  shows('scq', e.SCQ, ({ request, fault }) => ({ errors: fault, select_call: request })),
  shows('lsq', e.LSQ, (lsq) => ({ lsq })),
  shows('chs', e.CHS, (checksum) => ({ checksum })),
  shows('afq', e.AFQ, ({ qualifier, fault }) => ({ errors: fault, ack_file_or_sec: qualifier })),
  shows('sof', e.SOF, ({ status, lastFile, subdirectory, active }) =>
    facts({ fa: active, for_: subdirectory, lfd: lastFile, status }),
  ),
  shows('segment', e.SEGMENT, (octets) => ({
    segment_length: octets.length,
    data: Buffer.from(octets).toString('hex'),
  })),
]

function withElement(element: e.Element<unknown>): readonly TypeName[] {
  return TYPE_NAMES.filter((type) => layoutOf(type).fields.some((field) => field.element === element))
}

function reversed(value: unknown, sizeBytes: number): number {
  const octets = Buffer.alloc(sizeBytes)
  octets.writeUIntBE(Number(value), 0, sizeBytes)
  return octets.readUIntLE(0, sizeBytes)
}

export const scapy: Decoder = {
  name: 'scapy',
  listedVersion: '2.5.',
  namedOnly: [],
  unknown: ['S_IT_TC_1'],
  deviations: [
    {
      types: withElement(e.BSI),
      what: 'BSI is read with its octets reversed, bit 1 as 0x01000000',
      shows: ({ bsi }) => ({ bsi: reversed(bsi, 4) }),
    },
    {
      types: withElement(e.LOF),
      what: 'LOF is read with its octets reversed',
      shows: ({ file_length: length }) => ({ file_length: reversed(length, 3) }),
    },
    {
      types: withElement(e.SCD),
      what: 'SCD is read with its octets reversed: ST for CD, bits 1 to 8 for bits 9 to 16, and the other way round',
      shows: (object) =>
        Object.fromEntries(
          Array.from({ length: 16 }, (_, i) => {
            const other = ((i + 8) % 16) + 1
            return [
              [`cd_${other}`, object[`st_${i + 1}`] ?? 0],
              [`st_${other}`, object[`cd_${i + 1}`] ?? 0],
            ] as const
          }).flat(),
        ),
    },
  ],
  rawFrom: 12,
  header: ({ asdu, apdu, sendSeq, recvSeq }) =>
    facts({
      message: asdu.sq ? 'IEC104_I_Message_SeqIOA' : 'IEC104_I_Message_SingleIOA',
      start: 0x68,
      apdu_length: apdu.length - 2,
      tx_seq_num: sendSeq,
      rx_seq_num: recvSeq,
      type_id: typeIdOf(asdu.type),
      sq: asdu.sq,
      num_io: asdu.objects.length,
      test: asdu.test,
      ack: asdu.negative,
      cot: asdu.cot,
      origin_address: asdu.oa,
      common_asdu_address: asdu.ca,
      ...(asdu.sq && { information_object_address: asdu.objects[0]?.ioa ?? 0 }),
    }),
  object: (asdu, i) => ({
    ...(!asdu.sq && { information_object_address: asdu.objects[i]?.ioa ?? 0 }),
    ...elementFacts(ELEMENTS, asdu, i),
  }),
}
