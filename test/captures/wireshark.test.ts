import { writeFileSync } from 'node:fs'
import t from 'tap'
import { type Asdu, asduOf, cot, cp56, cryptoReady, encodeAsdu, encodeI } from '../../src/protocol/index.ts'
import { octets, vectors } from '../protocol/iec104/vectors.ts'
import { conversation } from './conversation.ts'
import { type CraftedFrame, Crafter, captureOf } from './crafted.ts'
import { ALL_WAYS, fuzz } from './fuzz.ts'
import {
  complaints,
  decodeAll,
  disagreements,
  tshark,
  tsharkRows,
  tsharkVersion,
  withFiles,
  withoutTshark,
} from './tshark.ts'

const skip = withoutTshark

t.before(async () => {
  await cryptoReady
  t.comment(skip || tsharkVersion())
})

t.test(
  'tshark and q104 decode say the same of each frame, in one pass and in two, with and without keys',
  { skip },
  async (t) => {
    const { crafter, frames } = conversation()
    const pcapng = captureOf(frames)
    withFiles(pcapng, crafter.keyLog, (capture, keys) => {
      for (const keyLog of [keys, '']) {
        const decoded = decodeAll(pcapng, keyLog === '' ? '' : crafter.keyLog)
        for (const passes of [[], ['-2']]) {
          t.same(disagreements(decoded, tsharkRows(capture, keyLog, passes)), [], `${keyLog && 'keys'} ${passes}`)
        }
      }
    })
  },
)

/** Types that Wireshark's dissector does not decode, with what the tree must show of each. */
const time = cp56(Date.UTC(2026, 2, 15, 14, 30, 45, 678))
const hour = { hourMs: 30 * 60_000 + 45_678, invalid: false }
const good = { blocked: false, substituted: false, notTopical: false, invalid: false }
const qdp = { elapsedTimeInvalid: true, ...good }
const spe = { general: true, l1: false, l2: true, l3: false, earth: false, reverse: true }
const oci = { general: true, l1: false, l2: false, l3: true }
const of = { cot: cot.spontaneous, ca: 1 }
const one = <V>(value: V) => [{ ioa: 77, value }]
const DECODED_HERE: readonly (readonly [asdu: Asdu, shows: readonly RegExp[]])[] = [
  [
    asduOf('M_EP_TA_1', { ...of, objects: one({ sep: { state: 2, ...qdp }, elapsedMs: 1000, time: hour }) }),
    [/State: on \(2\)/, /Elapsed time invalid: True/, /elapsed time: 1000 ms/, /CP24Time2a: 30:45\.678/],
  ],
  [
    asduOf('M_EP_TB_1', { ...of, objects: one({ spe, qdp, durationMs: 40, time: hour }) }),
    [/General start: True/, /Phase L2: True/, /Phase L3: False/, /relay duration: 40 ms/],
  ],
  [
    asduOf('M_EP_TC_1', { ...of, objects: one({ oci, qdp, operatingMs: 41, time: hour }) }),
    [/General command: True/, /Phase L3: True/, /relay operating time: 41 ms/],
  ],
  [
    asduOf('M_PS_NA_1', {
      ...of,
      sq: true,
      objects: [77, 78].map((ioa) => ({
        ioa,
        value: { scd: { status: 5, changes: 0x8001 }, qds: { overflow: true, ...good } },
      })),
    }),
    [/ST, status: 0x0005/, /CD, status changes: 0x8001/, /Overflow: True/, /\[Information object address: 78\]/],
  ],
  [
    asduOf('M_EP_TD_1', { ...of, objects: one({ sep: { state: 1, ...qdp }, elapsedMs: 2, time }) }),
    [/State: off \(1\)/, /CP56Time2a: 2026-03-15 14:30:45\.678/],
  ],
  [asduOf('M_EP_TE_1', { ...of, objects: one({ spe, qdp, durationMs: 3, time }) }), [/Reverse direction: True/]],
  [asduOf('M_EP_TF_1', { ...of, objects: one({ oci, qdp, operatingMs: 4, time }) }), [/operating time: 4 ms/]],
  [
    asduOf('S_IT_TC_1', {
      ...of,
      objects: one({
        aid: 9,
        bcr: { count: -7, sequence: 3, carry: true, adjusted: false, invalid: false },
        time,
      }),
    }),
    [/AID, association: 9/, /Counter reading: -7/, /Sequence: 3/, /Carry: True/],
  ],
  [asduOf('C_RD_NA_1', { cot: cot.request, ca: 1, objects: one({}) }), [/Information object address: 77/]],
  [asduOf('C_TS_NA_1', { ...of, objects: one({ fbp: 0x55aa }) }), [/bit pattern: 0x55aa/]],
  [asduOf('C_CD_NA_1', { ...of, objects: one({ delayMs: 500 }) }), [/delay: 500 ms/]],
  [asduOf('C_TS_TA_1', { ...of, objects: one({ tsc: 7, time }) }), [/test sequence counter: 7/, /2026-03-15/]],
  [asduOf('P_AC_NA_1', { ...of, objects: one({ qpa: 3 }) }), [/parameter activation: 3/]],
  [
    asduOf('F_FR_NA_1', { ...of, objects: one({ nof: 1, lof: 66_536, frq: { qualifier: 5, negative: true } }) }),
    [/name of file: 1/, /length of file or section: 66536 octets/, /Qualifier: 5/, /Negative: True/],
  ],
  [
    asduOf('F_SR_NA_1', { ...of, objects: one({ nof: 1, nos: 2, lof: 9, srq: { qualifier: 0, notReady: true } }) }),
    [/name of section: 2/, /Not ready: True/],
  ],
  [
    asduOf('F_SC_NA_1', { ...of, objects: one({ nof: 1, nos: 2, scq: { request: 6, fault: 1 } }) }),
    [/Request: request section \(6\)/, /Fault: 1/],
  ],
  [
    asduOf('F_LS_NA_1', { ...of, objects: one({ nof: 1, nos: 2, lsq: 3, chs: 0xd7 }) }),
    [/last section or segment: 3/, /checksum: 0xd7/],
  ],
  [
    asduOf('F_AF_NA_1', { ...of, objects: one({ nof: 1, nos: 2, afq: { qualifier: 4, fault: 2 } }) }),
    [/Acknowledge: section negative \(4\)/, /Fault: 2/],
  ],
  [
    asduOf('F_SG_NA_1', { ...of, objects: one({ nof: 1, nos: 2, segment: Uint8Array.of(0xaa, 0xbb) }) }),
    [/length of segment: 2/, /Segment: aabb/],
  ],
  [
    asduOf('F_DR_TA_1', {
      ...of,
      objects: one({ nof: 1, lof: 5, sof: { status: 2, lastFile: true, subdirectory: false, active: true }, time }),
    }),
    [/Status: 2/, /Last file of directory: True/, /Transfer is active: True/],
  ],
  [
    asduOf('F_SC_NB_1', { ...of, objects: one({ nof: 1, from: time, to: cp56(Date.UTC(2026, 2, 16)) }) }),
    [/2026-03-15 14:30:45\.678/, /2026-03-16 00:00:00\.000/],
  ],
]

/** Each ASDU in an I-frame of its own, under the three suites by turns. */
function sealedAsdus(asdus: readonly Uint8Array[]): { readonly crafter: Crafter; readonly frames: CraftedFrame[] } {
  const crafter = new Crafter()
  const frames = [crafter.handshake({ channel: 0, msgId: 0, slot: 0 })]
  for (const [index, asdu] of asdus.entries()) {
    const suite = (['otp', 'aes', 'auth'] as const)[index % 3] ?? 'otp'
    frames.push(crafter[suite]({ channel: 0, msgId: index + 1, slot: 8 + 80 * index }, encodeI(index, 0, asdu)))
  }
  return { crafter, frames: frames.map((datagram) => ({ datagram })) }
}

t.test('the types that Wireshark does not know are decoded', { skip }, async (t) => {
  const { crafter, frames } = sealedAsdus(DECODED_HERE.map(([asdu]) => encodeAsdu(asdu)))
  withFiles(captureOf(frames), crafter.keyLog, (capture, keys) => {
    const { stdout } = tshark(capture, keys, ['-V', '-Y', 'q3p.asdu'])
    const trees = stdout.split(/^Frame /m).slice(1)
    t.equal(trees.length, DECODED_HERE.length)
    for (const [index, [asdu, shows]] of DECODED_HERE.entries()) {
      const tree = trees[index] ?? ''
      const missing = [new RegExp(`Information objects of ${asdu.type} `), ...shows].filter((text) => !text.test(tree))
      t.same(missing, [], asdu.type)
    }
  })
})

t.test('every type of the table is decoded, by Wireshark or here, in agreement with our codec', { skip }, async (t) => {
  const asdus = [...vectors.map(([hex]) => octets(hex)), ...DECODED_HERE.map(([asdu]) => encodeAsdu(asdu))]
  const { crafter, frames } = sealedAsdus(asdus)
  const pcapng = captureOf(frames)
  withFiles(pcapng, crafter.keyLog, (capture, keys) => {
    t.same(disagreements(decodeAll(pcapng, crafter.keyLog), tsharkRows(capture, keys)), [])
    // Octets that Wireshark leaves raw are decoded by us; nothing is wrong with any of them.
    const filter = '(iec60870_asdu.rawdata && !q3p.asdu) || _ws.malformed || _ws.expert.severity >= "Warning"'
    t.equal(tshark(capture, keys, ['-Y', filter]).stdout, '')
  })
})

t.test('filters of both protocols work together', { skip }, async (t) => {
  const { crafter, frames } = conversation()
  withFiles(captureOf(frames), crafter.keyLog, (capture, keys) => {
    for (const passes of [[], ['-2']]) {
      const filter = 'iec60870_asdu.typeid == 45 && q3p.flags.s'
      const { stdout } = tshark(capture, keys, ['-Y', filter, '-T', 'fields', '-e', 'frame.number', ...passes])
      t.equal(stdout, '17\n29\n', `${filter} ${passes}`)
    }
    const counts: Readonly<Record<string, number>> = {
      'iec60870_asdu.typeid == 45 && !q3p.flags.s': 16,
      'q3p.direction == 1 && q3p.flags.e': 3,
      'q3p.sequence == "replay"': 4,
      'q3p.tag.status == "bad"': 1,
      'q3p.msgid > 12884901887 && q3p.link == 0': 2,
      'q3p.keygap > 900': 2,
      'q3p.handshake.name == "centre"': 2,
    }
    // One run counts the frames of all filters.
    const { stdout } = tshark(capture, keys, ['-q', '-z', ['io,stat,0', ...Object.keys(counts)].join(',')])
    const cells = (stdout.split('\n').find((line) => line.includes('<>')) ?? '').split('|').map((cell) => Number(cell))
    // A cell a filter, each with frames and octets.
    const frameCounts = cells.slice(2).filter((_, index) => index % 2 === 0)
    t.same(frameCounts.slice(0, Object.keys(counts).length), Object.values(counts), stdout)
  })
})

t.test('what is wrong with a frame is said in its expert information', { skip }, async (t) => {
  const { crafter, frames } = conversation()
  const expected: Readonly<Record<string, readonly number[]>> = {
    'Length is not that of the datagram': [33, 34, 35],
    'Version is not 2': [36],
    'Flags that no suite has': [37, 38, 39],
    'Command that is not defined': [40],
    'Tag is wrong': [10],
    'Payload is not an APDU': [24, 25],
    Retransmission: [6],
    'Repeated as no sender does': [7, 8, 9, 19],
    'Other octets under a Msg-Id that was used': [10],
    'From an address that does not send on this channel': [11, 12],
    'More than 1024 messages behind': [22],
    'Key slots left out': [14, 17, 18, 21],
    'Key slots used before': [16],
  }
  withFiles(captureOf(frames), crafter.keyLog, (capture, keys) => {
    const fields = ['-T', 'fields', '-e', '_ws.expert.message', '-E', 'aggregator=;']
    const messages = tshark(capture, keys, fields)
      .stdout.split('\n')
      .map((line) => line.split(';').filter(Boolean))
    for (const [message, numbers] of Object.entries(expected)) {
      const found = messages.flatMap((all, index) => (all.some((one) => one.startsWith(message)) ? [index + 1] : []))
      t.same(found, numbers, message)
    }
    const known = Object.keys(expected)
    const others = messages.flat().filter((one) => !known.some((message) => one.startsWith(message)))
    t.same(others, [])
  })
})

t.test('hostile octets, outside and inside, neither stop tshark nor make the script fail', { skip }, async (t) => {
  const ways = ALL_WAYS.filter(({ keys, passes }) => keys || passes === 1)
  const { frames, faults } = fuzz({ seed: 5, inner: 300, outer: 1_500, ways })
  t.same(faults, [], `${frames} frames`)
})

t.test('a key log that is missing, damaged or none is said so, and headers are shown', { skip }, async (t) => {
  const { crafter, frames } = conversation()
  const pcapng = captureOf(frames)
  withFiles(pcapng, crafter.keyLog, (capture, keys) => {
    const rowsWith = (path: string): string[] => {
      const fields = ['frame.number', 'q3p.tag.status', '_ws.expert.message'].flatMap((name) => ['-e', name])
      const result = tshark(capture, path, ['-Y', 'q3p.tag.status', '-T', 'fields', ...fields, '-E', 'aggregator=;'])
      t.same(complaints(result), [], path)
      return result.stdout.split('\n').filter(Boolean)
    }
    const problem = (text: string) => (row: string) => row.includes('\tunverified\t') && row.includes(text)
    t.same(rowsWith(`${keys}.missing`).filter(problem('cannot be read')).length, 32, 'no file')
    t.same(rowsWith(capture).filter(problem('Key is not in the key log')).length, 32, 'not a text at all')
    writeFileSync(keys, 'x'.repeat(300_000))
    t.same(rowsWith(keys).filter(problem('is no key log')).length, 32, 'one endless line')
    writeFileSync(keys, crafter.keyLog.replaceAll(/^(K 0 12 )./gm, '$1g'))
    const unverified = rowsWith(keys).filter(problem('Key is not in the key log'))
    t.same(unverified.map(Number.parseFloat), [3, 6, 9, 10, 11], 'a bad line')
    const flipped = crafter.keyLog.replace(/^(K 0 8 )(.)/m, (_, head, digit) => `${head}${digit === '0' ? '1' : '0'}`)
    writeFileSync(keys, flipped)
    const bad = rowsWith(keys).filter((row) => row.includes('\tbad\t') && row.includes('two keys for a slot'))
    t.same(bad.map(Number.parseFloat), [2, 4, 7], 'two keys for a slot')
  })
})

t.test('the UDP port is a preference', { skip }, async (t) => {
  const { crafter, frames } = conversation()
  const moved = frames.map((frame) => ({ ...frame, port: 20_104 }))
  withFiles(captureOf(moved), crafter.keyLog, (capture, keys) => {
    t.equal(tshark(capture, keys, ['-Y', 'q3p']).stdout, '')
    t.equal(
      tshark(capture, keys, ['-o', 'q3p.udp_port:20104', '-Y', 'q3p']).stdout.split('\n').length - 1,
      frames.length,
    )
  })
})
