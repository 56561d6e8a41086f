import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { DecodedFrame } from '../../src/cli/decode/decoder.ts'
import { frameData, frameLines } from '../../src/cli/decode/output.ts'
import { Summary } from '../../src/cli/decode/summary.ts'
import { udpFrames } from '../../src/cli/decode/udp-frames.ts'
import { cryptoReady, typeIdOf } from '../../src/protocol/index.ts'
import { rawUdpPacket, readPcapng } from '../../src/runtime/index.ts'
import { type PcapngFrame, PcapngWriter } from '../../src/runtime/pcapng.ts'
import { conversation, SINGLE_COMMAND, TWO_32 } from './conversation.ts'
import { type CraftedFrame, captureOf, hostileFrames } from './crafted.ts'
import { recordLab } from './recorded-lab.ts'
import { decodeAll, withFiles } from './tshark.ts'

t.before(async () => {
  await cryptoReady
})

/** What `conversation` says of each frame. */
function verdictOf({ fault, opened, content }: DecodedFrame): string {
  if (opened === undefined) return `${fault}`
  const { sequence, repeats, keyGapSlots, reusesKey, rekeys, tag } = opened
  return [
    sequence,
    repeats === undefined ? '' : `of ${repeats}`,
    keyGapSlots === undefined ? '' : `gap ${keyGapSlots}`,
    reusesKey ? 'reuse' : '',
    rekeys ? 'rekeys' : '',
    tag === 'good' ? '' : tag,
    content?.kind === 'malformed' ? 'malformed' : '',
  ]
    .filter(Boolean)
    .join(' ')
}

t.test('each frame of a conversation gets its verdict', async (t) => {
  const { crafter, frames, verdicts } = conversation()
  const decoded = decodeAll(captureOf(frames), crafter.keyLog)
  t.same(decoded.map(verdictOf), verdicts)
  t.equal(decoded.filter(({ opened }) => opened?.tag === 'bad').length, 1, 'one tag is wrong')
  const [handshake, , command] = decoded
  t.match(handshake?.content, { kind: 'handshake', handshake: { epoch: 7, name: 'centre', k: 12 } })
  t.match(command, {
    opened: { msgId: 2, eSlot: 12, aSlot: 16, slots: 8, epochMsgId: 0 },
    content: { kind: 'apdu', apdu: { format: 'I', sendSeq: 0 }, asdu: { type: 'C_SC_NA_1', ca: 1 } },
  })
})

t.test('counters and slots beyond 32 bits are rebuilt, near to the HANDSHAKE or to the key log', async (t) => {
  const { crafter, frames } = conversation()
  const decoded = decodeAll(captureOf(frames), crafter.keyLog)
  const numbersOf = (channel: number) =>
    decoded.filter(({ fields, opened }) => opened && fields?.channel === channel).map(({ opened }) => opened?.msgId)
  t.same(
    numbersOf(1),
    [-2, -1, 0, 1].map((step) => 3 * TWO_32 + step),
  )
  t.same(
    numbersOf(2),
    [70, 71, 72].map((step) => 5 * TWO_32 + step),
  )
  const slots = decoded.flatMap(({ fields, opened }) => (opened && fields?.channel === 1 ? [opened.eSlot] : []))
  t.same(slots.slice(1), [2 * TWO_32 - 2, 2 * TWO_32 + 2, 2 * TWO_32 - 2])
})

t.test('without a key log headers are shown, and what is in the clear anyway', async (t) => {
  const { frames } = conversation()
  const decoded = decodeAll(captureOf(frames), '')
  const opened = decoded.flatMap((frame) => (frame.opened ? [frame] : []))
  t.same([...new Set(opened.map(({ opened }) => opened?.tag))], ['unverified'])
  const withContent = opened.filter(({ content }) => content !== undefined)
  t.same([...new Set(withContent.map(({ fields }) => fields?.header?.suite))], ['auth'])
})

t.test('a wrong octet in the key log is a bad tag, or a contradiction', async (t) => {
  const { crafter, frames } = conversation()
  const [handshake, , otp] = frames
  const aes = frames[1]
  const pcapng = captureOf([handshake, aes, otp].filter((frame): frame is CraftedFrame => frame !== undefined))
  const lines = crafter.keyLog.split('\n')
  const tagsWith = (edit: (line: string) => string): string[] =>
    decodeAll(pcapng, lines.map(edit).join('\n')).map(({ opened }) => opened?.tag ?? '')
  const flip = (line: string, at: number): string =>
    `${line.slice(0, at)}${line[at] === '0' ? '1' : '0'}${line.slice(at + 1)}`
  t.same(
    tagsWith((line) => line),
    ['good', 'good', 'good'],
  )
  const start = (prefix: string) => (line: string) => (line.startsWith(prefix) ? flip(line, line.length - 1) : line)
  t.same(tagsWith(start('K 0 8 ')), ['good', 'bad', 'good'], 'AES key')
  t.same(tagsWith(start('R 0 0 ')), ['good', 'good', 'bad'], 'r')
  t.same(tagsWith(start('K 0 0 ')), ['bad', 'good', 'good'], 'key of the HANDSHAKE')
  t.same(tagsWith(start('K 0 12 ')), ['good', 'good', 'bad'], 's')
  // The tag is over the ciphertext, so the pad does not count for it; but both ends log it.
  const pad = lines.find((line) => line.startsWith('K 0 12 ')) ?? ''
  t.same(
    tagsWith((line) => (line === pad ? `${pad}\n${flip(pad, 'K 0 12 '.length)}` : line)),
    ['good', 'good', 'bad'],
    'a pad of which the ends do not agree',
  )
  t.same(
    tagsWith((line) => (line === pad ? '' : line)),
    ['good', 'good', 'unverified'],
    'no key',
  )
})

t.test('hostile octets are decoded without an exception, whatever they are', async (t) => {
  const { crafter, frames } = conversation()
  const hostile = hostileFrames(
    frames.map(({ datagram }) => datagram),
    5_000,
    3,
  )
  const decoded = decodeAll(captureOf(hostile.map((datagram) => ({ datagram }))), crafter.keyLog)
  const lines = decoded.flatMap((frame) => [JSON.stringify(frameData(frame)), ...frameLines(frame)])
  t.ok(lines.length > 2 * decoded.length - 1)
  t.ok(decoded.length > 4_700)
})

t.test('frames are found below Ethernet, VLAN tags, cooked captures and IPv6', async (t) => {
  const datagram = conversation().frames[0]?.datagram ?? new Uint8Array(0)
  const ports = { sourcePort: 10_104, destinationPort: 10_104 }
  const ipv4 = rawUdpPacket({ sourceAddress: '10.0.0.1', destinationAddress: '10.0.0.2', ...ports }, datagram)
  const udp = ipv4.subarray(20)
  const ipv6 = Buffer.concat([
    Uint8Array.of(0x60, 0, 0, 0, udp.length >> 8, udp.length & 255, 17, 64),
    Buffer.from('20010db8000000000000000000000001fe800000000000000001000200030004', 'hex'),
    udp,
  ])
  const macs = new Uint8Array(12)
  const type = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255)
  const cases: readonly (readonly [linkType: number, bytes: Uint8Array, source: string])[] = [
    [101, ipv4, '10.0.0.1'],
    [101, ipv6, '2001:db8::1'],
    [1, Buffer.concat([macs, type(0x0800), ipv4]), '10.0.0.1'],
    [1, Buffer.concat([macs, type(0x88a8), type(5), type(0x8100), type(7), type(0x86dd), ipv6]), '2001:db8::1'],
    [113, Buffer.concat([new Uint8Array(14), type(0x0800), ipv4]), '10.0.0.1'],
    [276, Buffer.concat([type(0x0800), new Uint8Array(18), ipv4]), '10.0.0.1'],
    [0, Buffer.concat([Uint8Array.of(2, 0, 0, 0), ipv4]), '10.0.0.1'],
  ]
  for (const [linkType, bytes, source] of cases) {
    const [found] = udpFrames(oneFrame(linkType, bytes), 10_104)
    t.match(found, { number: 1, source, interfaceName: 'x' }, `link type ${linkType}`)
    t.same(Buffer.from(found?.payload ?? []).toString('hex'), Buffer.from(datagram).toString('hex'))
  }
  const passedOver: readonly (readonly [string, number, Uint8Array])[] = [
    ['ARP', 1, Buffer.concat([macs, type(0x0806), new Uint8Array(28)])],
    [
      'another port',
      101,
      rawUdpPacket(
        { sourceAddress: '1.1.1.1', destinationAddress: '1.1.1.2', sourcePort: 1, destinationPort: 2 },
        datagram,
      ),
    ],
    ['TCP', 101, Uint8Array.from(ipv4, (octet, index) => (index === 9 ? 6 : octet))],
    ['a fragment', 101, Uint8Array.from(ipv4, (octet, index) => (index === 6 ? 0x20 : octet))],
    ['nothing', 1, new Uint8Array(0)],
    ['an unknown link type', 147, ipv4],
  ]
  for (const [what, linkType, bytes] of passedOver) {
    t.same([...udpFrames(oneFrame(linkType, bytes), 10_104)], [], what)
  }
})

function oneFrame(linkType: number, bytes: Uint8Array): ReturnType<typeof readPcapng> {
  const blocks: Uint8Array[] = []
  const writer = new PcapngWriter((block) => blocks.push(block))
  const frame: PcapngFrame = { interfaceId: writer.addInterface({ name: 'x', linkType }), timestampNs: 0n, bytes }
  writer.frame(frame)
  return readPcapng(Buffer.concat(blocks))
}

t.test('the ASDUs of a lab are those that its nodes have counted', async (t) => {
  const file = 'scenarios/tiny.yaml'
  const { pcapng, keyLog, events } = recordLab(readFileSync(file, 'utf8'), file)
  const decoded = decodeAll(pcapng, keyLog)
  t.same([...new Set(decoded.map(({ opened }) => opened?.tag))], ['good'])
  const summary = new Summary()
  for (const frame of decoded) summary.add(frame)
  const captured = [...summary.counts.asdus].flatMap(([channel, byType]) =>
    [...byType].map(([type, count]) => `${channel} ${typeIdOf(type as Parameters<typeof typeIdOf>[0])} ${count}`),
  )
  // The end that sends on a channel is the one that counts most with this type as sent on the link: two nodes, one sends.
  const ends = new Map(readEnds(decoded))
  const counted = events
    .filter(({ name }) => name === 'counters')
    .flatMap(({ node, link, ...facts }) =>
      Object.entries(facts).flatMap(([name, count]) => {
        const typeId = /^sentType(\d+)$/.exec(name)?.[1]
        return typeId === undefined
          ? []
          : [`${2 * Number(link) + (ends.get(`${link} ${node}`) ?? 0)} ${typeId} ${count}`]
      }),
    )
  t.same(captured.toSorted(), counted.toSorted())
  t.ok(captured.length > 20, `${captured.length} counts compared`)
})

/** `link node` -> end, from the names of the interfaces: `first-second`. */
function readEnds(decoded: readonly DecodedFrame[]): [string, 0 | 1][] {
  return decoded.flatMap(({ frame, fields }): [string, 0 | 1][] => {
    const [first = '', second = ''] = frame.interfaceName.split('-')
    const link = (fields?.channel ?? 0) >> 1
    return [
      [`${link} ${first}`, 0],
      [`${link} ${second}`, 1],
    ]
  })
}

const BIN = join('build', 'src', 'cli', 'bin.js')
function q104(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], { encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

t.test('the command shows frames as lines, as JSON lines, and their counts', async (t) => {
  const { crafter, frames, verdicts } = conversation()
  const lineCount = (text: string): number => text.split('\n').length - 1
  withFiles(captureOf(frames), crafter.keyLog, (capture, keys) => {
    const lines = q104('decode', capture, '--keys', keys)
    t.equal(lines.code, 0)
    t.equal(lineCount(lines.stdout), frames.length)
    t.match(lines.stdout, /OTP 2 {4} {2}good {2}I \(0,0\) {2}C_SC_NA_1 {2}CA 1 {2}IOA 5003 {2}on execute {2}activation/)
    t.match(lines.stdout, 'refused: version')
    t.match(lines.stderr, /^40 Q3P frames: tag good 31, bad 1, unverified 0, refused 8/m)
    const json = q104('decode', capture, '--keys', keys, '--json')
    const objects = json.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.same(
      objects.map(({ sequence, fault }) => sequence ?? fault),
      verdicts.map((verdict) => verdict.split(' ')[0]),
    )
    t.match(objects[2], { frame: 3, msgId: 2, tag: 'good', apdu: { asdu: { typeId: SINGLE_COMMAND[0] } } })
    const summary = q104('decode', capture, '--keys', keys, '--summary')
    t.equal(summary.stdout, lines.stderr)
    t.equal(summary.stderr, '')
    t.match(q104('decode', capture, '--port', '999').stderr, '0 Q3P frames')
  })
})

t.test('the command says what is wrong with its input', async (t) => {
  t.match(q104('decode'), { code: 2, stderr: 'FILE.pcapng is needed' })
  t.match(q104('decode', 'no-such-file'), { code: 2, stderr: /no-such-file: ENOENT/ })
  t.match(q104('decode', 'README.md'), { code: 2, stderr: /README.md: .*at byte 0/ })
  t.match(q104('decode', 'captures/attack.pcapng', '--keys', 'no-such-file'), { code: 2, stderr: /ENOENT/ })
  const piped = spawnSync('sh', ['-c', `${process.execPath} ${BIN} decode captures/attack.pcapng | head -1`], {
    encoding: 'utf8',
  })
  t.equal(piped.stdout.split('\n').length, 2)
  t.notMatch(piped.stderr, 'EPIPE')
})
