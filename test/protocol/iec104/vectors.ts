/** Octets beside their meaning, worked out by hand from the standard's tables. */
import { type Asdu, asduOf, cot } from '../../../src/protocol/iec104/asdu.ts'
import type { Cp56Time2a } from '../../../src/protocol/iec104/time.ts'

/** Sunday 2026-03-15 14:30:45.678 UTC: 6e b2 | 1e | 0e | 15 + 7 << 5 | 03 | 1a. */
const TAG = '6e b2 1e 0e ef 03 1a'
const time: Cp56Time2a = {
  wallMs: Date.UTC(2026, 2, 15, 14, 30, 45, 678),
  invalid: false,
  summerTime: false,
  dayOfWeek: 7,
}
const hourTime = { hourMs: 30 * 60_000 + 45_678, invalid: false }
const good = { blocked: false, substituted: false, notTopical: false, invalid: false }
const qds = { overflow: false, ...good }
const one = <V>(ioa: number, value: V) => [{ ioa, value }]
const spontaneous = { cot: cot.spontaneous, ca: 1 }
const activation = { cot: cot.activation, ca: 10 }

export const vectors: readonly (readonly [hex: string, asdu: Asdu])[] = [
  [
    '01 83 14 00 01 00 01 00 00 00 01 80',
    asduOf('M_SP_NA_1', {
      cot: cot.interrogatedByStation,
      ca: 1,
      sq: true,
      objects: [
        { ioa: 1, value: { siq: { on: false, ...good } } },
        { ioa: 2, value: { siq: { on: true, ...good } } },
        { ioa: 3, value: { siq: { on: false, ...good, invalid: true } } },
      ],
    }),
  ],
  [
    '02 01 03 00 01 00 64 00 00 01 6e b2 1e',
    asduOf('M_SP_TA_1', { ...spontaneous, objects: one(100, { siq: { on: true, ...good }, time: hourTime }) }),
  ],
  [
    '03 02 03 00 01 00 05 00 00 02 0a 01 00 41',
    asduOf('M_DP_NA_1', {
      ...spontaneous,
      objects: [
        { ioa: 5, value: { diq: { state: 2, ...good } } },
        { ioa: 266, value: { diq: { state: 1, ...good, notTopical: true } } },
      ],
    }),
  ],
  [
    '05 01 03 00 01 00 06 00 00 fd 10',
    asduOf('M_ST_NA_1', {
      ...spontaneous,
      objects: one(6, { vti: { value: -3, transient: true }, qds: { ...qds, blocked: true } }),
    }),
  ],
  [
    '07 01 03 00 01 00 07 00 00 78 56 34 92 00',
    asduOf('M_BO_NA_1', { ...spontaneous, objects: one(7, { bsi: 0x9234_5678, qds }) }),
  ],
  [
    '09 01 03 00 01 00 08 00 00 00 c0 01',
    asduOf('M_ME_NA_1', { ...spontaneous, objects: one(8, { value: -0.5, qds: { ...qds, overflow: true } }) }),
  ],
  [
    '0b 01 03 00 01 00 09 00 00 9c ff 00',
    asduOf('M_ME_NB_1', { ...spontaneous, objects: one(9, { value: -100, qds }) }),
  ],
  [
    '0d 01 01 00 0a 00 01 00 00 00 00 c0 3f 00',
    asduOf('M_ME_NC_1', { cot: cot.periodic, ca: 10, objects: one(1, { value: 1.5, qds }) }),
  ],
  [
    '0d 82 14 00 0a 00 d0 07 00 00 00 80 3f 00 00 00 00 c0 80',
    asduOf('M_ME_NC_1', {
      cot: cot.interrogatedByStation,
      ca: 10,
      sq: true,
      objects: [
        { ioa: 2000, value: { value: 1, qds } },
        { ioa: 2001, value: { value: -2, qds: { ...qds, invalid: true } } },
      ],
    }),
  ],
  [
    '0f 01 25 00 01 00 0b 00 00 2e fb ff ff 23',
    asduOf('M_IT_NA_1', {
      cot: cot.requestedByGeneralCounter,
      ca: 1,
      objects: one(11, { bcr: { count: -1234, sequence: 3, carry: true, adjusted: false, invalid: false } }),
    }),
  ],
  [
    '11 01 03 00 01 00 0c 00 00 0a e8 03 6e b2 1e',
    asduOf('M_EP_TA_1', {
      ...spontaneous,
      objects: one(12, { sep: { state: 2, elapsedTimeInvalid: true, ...good }, elapsedMs: 1000, time: hourTime }),
    }),
  ],
  [
    '14 01 03 00 01 00 0d 00 00 05 00 01 80 00',
    asduOf('M_PS_NA_1', { ...spontaneous, objects: one(13, { scd: { status: 5, changes: 0x8001 }, qds }) }),
  ],
  [
    '15 01 01 00 01 00 0e 00 00 00 40',
    asduOf('M_ME_ND_1', { cot: cot.periodic, ca: 1, objects: one(14, { value: 0.5 }) }),
  ],
  [
    `1e 01 03 00 01 00 64 00 00 01 ${TAG}`,
    asduOf('M_SP_TB_1', { ...spontaneous, objects: one(100, { siq: { on: true, ...good }, time }) }),
  ],
  [
    `1f 01 03 00 01 00 05 00 00 02 ${TAG}`,
    asduOf('M_DP_TB_1', { ...spontaneous, objects: one(5, { diq: { state: 2, ...good }, time }) }),
  ],
  [
    `20 01 03 00 01 00 06 00 00 3f 00 ${TAG}`,
    asduOf('M_ST_TB_1', { ...spontaneous, objects: one(6, { vti: { value: 63, transient: false }, qds, time }) }),
  ],
  [
    `21 01 03 00 01 00 07 00 00 01 00 00 80 00 ${TAG}`,
    asduOf('M_BO_TB_1', { ...spontaneous, objects: one(7, { bsi: 0x8000_0001, qds, time }) }),
  ],
  [
    `22 01 03 00 01 00 08 00 00 00 80 00 ${TAG}`,
    asduOf('M_ME_TD_1', { ...spontaneous, objects: one(8, { value: -1, qds, time }) }),
  ],
  [
    `23 01 03 00 01 00 09 00 00 ff 7f 00 ${TAG}`,
    asduOf('M_ME_TE_1', { ...spontaneous, objects: one(9, { value: 32_767, qds, time }) }),
  ],
  [
    `24 01 03 00 27 00 11 27 00 00 00 48 c2 00 ${TAG}`,
    asduOf('M_ME_TF_1', { cot: cot.spontaneous, ca: 39, objects: one(10_001, { value: -50, qds, time }) }),
  ],
  [
    `25 01 03 00 01 00 0b 00 00 d2 04 00 00 df ${TAG}`,
    asduOf('M_IT_TB_1', {
      ...spontaneous,
      objects: one(11, { bcr: { count: 1234, sequence: 31, carry: false, adjusted: true, invalid: true }, time }),
    }),
  ],
  [
    `27 01 03 00 01 00 0c 00 00 27 00 e8 03 ${TAG}`,
    asduOf('M_EP_TE_1', {
      ...spontaneous,
      objects: one(12, {
        spe: { general: true, l1: true, l2: true, l3: false, earth: false, reverse: true },
        qdp: { elapsedTimeInvalid: false, ...good },
        durationMs: 1000,
        time,
      }),
    }),
  ],
  [
    '2d 01 06 05 0a 00 88 13 00 85',
    asduOf('C_SC_NA_1', { ...activation, oa: 5, objects: one(5000, { sco: { on: true, qu: 1, select: true } }) }),
  ],
  [
    '2e 01 0a 00 0a 00 89 13 00 0e',
    asduOf('C_DC_NA_1', {
      cot: cot.activationTermination,
      ca: 10,
      objects: one(5001, { dco: { state: 2, qu: 3, select: false } }),
    }),
  ],
  [
    '2f 01 08 00 0a 00 8a 13 00 01',
    asduOf('C_RC_NA_1', {
      cot: cot.deactivation,
      ca: 10,
      objects: one(5002, { rco: { step: 1, qu: 0, select: false } }),
    }),
  ],
  [
    '30 01 06 00 0a 00 8b 13 00 00 20 80',
    asduOf('C_SE_NA_1', { ...activation, objects: one(5003, { value: 0.25, qos: { ql: 0, select: true } }) }),
  ],
  [
    '31 01 06 00 0a 00 8c 13 00 e8 03 05',
    asduOf('C_SE_NB_1', { ...activation, objects: one(5004, { value: 1000, qos: { ql: 5, select: false } }) }),
  ],
  [
    '32 01 47 00 0a 00 8d 13 00 00 00 48 c1 00',
    asduOf('C_SE_NC_1', {
      cot: cot.activationCon,
      ca: 10,
      negative: true,
      objects: one(5005, { value: -12.5, qos: { ql: 0, select: false } }),
    }),
  ],
  [
    '33 01 86 00 0a 00 8e 13 00 ff ff ff ff',
    asduOf('C_BO_NA_1', { ...activation, test: true, objects: one(5006, { bsi: 0xffff_ffff }) }),
  ],
  [
    `3a 01 06 00 0a 00 88 13 00 01 ${TAG}`,
    asduOf('C_SC_TA_1', { ...activation, objects: one(5000, { sco: { on: true, qu: 0, select: false }, time }) }),
  ],
  [
    `3f 01 06 00 0a 00 8d 13 00 00 00 80 3f 00 ${TAG}`,
    asduOf('C_SE_TC_1', { ...activation, objects: one(5005, { value: 1, qos: { ql: 0, select: false }, time }) }),
  ],
  [
    '46 01 04 00 0a 00 00 00 00 82',
    asduOf('M_EI_NA_1', { cot: cot.initialized, ca: 10, objects: one(0, { coi: { cause: 2, changed: true } }) }),
  ],
  [
    '64 01 06 00 ff ff 00 00 00 14',
    asduOf('C_IC_NA_1', { cot: cot.activation, ca: 0xffff, objects: one(0, { qoi: 20 }) }),
  ],
  [
    '65 01 06 00 0a 00 00 00 00 45',
    asduOf('C_CI_NA_1', { ...activation, objects: one(0, { qcc: { request: 5, freeze: 1 } }) }),
  ],
  ['66 01 05 00 0a 00 64 00 00', asduOf('C_RD_NA_1', { cot: cot.request, ca: 10, objects: one(100, {}) })],
  [`67 01 06 00 0a 00 00 00 00 ${TAG}`, asduOf('C_CS_NA_1', { ...activation, objects: one(0, { time }) })],
  ['68 01 06 00 0a 00 00 00 00 aa 55', asduOf('C_TS_NA_1', { ...activation, objects: one(0, { fbp: 0x55aa }) })],
  ['69 01 06 00 0a 00 00 00 00 01', asduOf('C_RP_NA_1', { ...activation, objects: one(0, { qrp: 1 }) })],
  ['6a 01 06 00 0a 00 00 00 00 f4 01', asduOf('C_CD_NA_1', { ...activation, objects: one(0, { delayMs: 500 }) })],
  [
    `6b 01 06 00 0a 00 00 00 00 07 00 ${TAG}`,
    asduOf('C_TS_TA_1', { ...activation, objects: one(0, { tsc: 7, time }) }),
  ],
  [
    '70 01 06 00 0a 00 01 00 00 00 00 80 3f c3',
    asduOf('P_ME_NC_1', {
      ...activation,
      objects: one(1, { value: 1, qpm: { kind: 3, changed: true, notInOperation: true } }),
    }),
  ],
  ['71 01 06 00 0a 00 01 00 00 03', asduOf('P_AC_NA_1', { ...activation, objects: one(1, { qpa: 3 }) })],
  [
    '78 01 0d 00 0a 00 00 00 00 01 00 e8 03 01 80',
    asduOf('F_FR_NA_1', {
      cot: cot.fileTransfer,
      ca: 10,
      objects: one(0, { nof: 1, lof: 66_536, frq: { qualifier: 0, negative: true } }),
    }),
  ],
  [
    '7a 01 0d 00 0a 00 00 00 00 01 00 02 16',
    asduOf('F_SC_NA_1', {
      cot: cot.fileTransfer,
      ca: 10,
      objects: one(0, { nof: 1, nos: 2, scq: { request: 6, fault: 1 } }),
    }),
  ],
  [
    '7d 01 0d 00 0a 00 00 00 00 01 00 02 03 aa bb cc',
    asduOf('F_SG_NA_1', {
      cot: cot.fileTransfer,
      ca: 10,
      objects: one(0, { nof: 1, nos: 2, segment: Uint8Array.of(0xaa, 0xbb, 0xcc) }),
    }),
  ],
  [
    `7e 81 05 00 0a 00 00 00 00 01 00 e8 03 00 20 ${TAG}`,
    asduOf('F_DR_TA_1', {
      cot: cot.request,
      ca: 10,
      sq: true,
      objects: one(0, {
        nof: 1,
        lof: 1000,
        sof: { status: 0, lastFile: true, subdirectory: false, active: false },
        time,
      }),
    }),
  ],
]

export function octets(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replaceAll(/(..)(?=.)/g, '$1 ')
}
