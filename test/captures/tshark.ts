/** tshark with our dissector, and the rows that it and our own decoder give of a capture. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DecodedFrame } from '../../src/cli/decode/decoder.ts'
import { Q3pDecoder } from '../../src/cli/decode/decoder.ts'
import { KeyBook } from '../../src/cli/decode/key-book.ts'
import { udpFrames } from '../../src/cli/decode/udp-frames.ts'
import { type Asdu, typeIdOf } from '../../src/protocol/index.ts'
import { readPcapng } from '../../src/runtime/index.ts'

const SCRIPT = 'captures/q3p.lua'
const ENV = { PATH: `${process.env['PATH']}:/usr/sbin`, HOME: tmpdir(), TZ: 'UTC', LC_ALL: 'C.UTF-8' }

/** Why tests with tshark cannot run here; false when they can. */
export const withoutTshark: string | false =
  spawnSync('tshark', ['--version'], { env: ENV }).status === 0 ? false : 'tshark is not installed: NOT TESTED'

export type TsharkResult = { readonly stdout: string; readonly stderr: string; readonly status: number | null }

/** Runs tshark on a capture; `keyLog` is a path or empty. */
export function tshark(capture: string, keyLog: string, args: readonly string[]): TsharkResult {
  const options = ['-n', '-X', `lua_script:${SCRIPT}`, '-o', `q3p.keylog_file:${keyLog}`, '-r', capture, ...args]
  const { stdout, stderr, status } = spawnSync('tshark', options, { env: ENV, encoding: 'utf8', maxBuffer: 2 ** 28 })
  return { stdout, stderr, status }
}

/** Anything on stderr that is not tshark's word about its user. */
export function complaints({ stderr }: TsharkResult): string[] {
  return stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Running as user'))
}

/** Writes a capture and its key log to a temporary folder and calls `use` with their paths. */
export function withFiles<T>(pcapng: Uint8Array, keyLog: string, use: (capture: string, keys: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'q104-captures-'))
  const [capture, keys] = [join(dir, 'capture.pcapng'), join(dir, 'keys.log')]
  try {
    writeFileSync(capture, pcapng)
    writeFileSync(keys, keyLog)
    return use(capture, keys)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** All frames of a capture, decoded by us. */
export function decodeAll(pcapng: Uint8Array, keyLog: string): DecodedFrame[] {
  const keys = new KeyBook()
  for (const line of keyLog.split('\n')) keys.take(line)
  const decoder = new Q3pDecoder(keys)
  return [...udpFrames(readPcapng(pcapng), 10_104)].map((frame) => decoder.decode(frame))
}

type Row = Readonly<Record<string, string>>

/** tshark's field -> what we say in its place. Empty: the frame has no such field. */
const COLUMNS: Readonly<Record<string, (decoded: DecodedFrame) => unknown>> = {
  'frame.number': ({ frame }) => frame.number,
  'q3p.length': ({ fields }) => fields?.lengthField,
  'q3p.msgid': ({ fields, opened }) => opened?.msgId ?? fields?.msgIdField,
  'q3p.flags': ({ fields }) => fields && `0x${fields.flags.toString(16).padStart(2, '0')}`,
  'q3p.flags.e': ({ fields }) => bit(fields, 1),
  'q3p.flags.a': ({ fields }) => bit(fields, 2),
  'q3p.flags.s': ({ fields }) => bit(fields, 8),
  'q3p.suite': ({ fields, opened }) => opened && fields?.header?.suite,
  'q3p.command': ({ fields }) => fields?.commandField,
  'q3p.channel': ({ fields }) => fields?.channel,
  'q3p.link': ({ fields }) => fields && fields.channel >> 1,
  'q3p.direction': ({ fields }) => fields && fields.channel & 1,
  'q3p.ekeyid': ({ fields }) => fields?.eKeyId,
  'q3p.akeyid': ({ fields }) => fields?.aKeyId,
  'q3p.eslot': ({ fields, opened }) => (fields?.header?.suite === 'auth' ? undefined : opened?.eSlot),
  'q3p.aslot': ({ fields, opened }) => (fields?.header?.suite === 'aes' ? undefined : opened?.aSlot),
  'q3p.slots': ({ opened }) => opened?.slots,
  'q3p.keygap': ({ opened }) => opened?.keyGapSlots,
  'q3p.tag': ({ fields, fault }) => (fault === 'cut' ? undefined : fields?.tag && hex(fields.tag)),
  'q3p.tag.status': ({ opened }) => opened?.tag,
  'q3p.epoch': ({ opened }) => opened?.epochMsgId,
  'q3p.sequence': ({ opened }) => opened?.sequence,
  'q3p.repeats': ({ opened }) => opened?.repeats,
  'q3p.fault': ({ fault }) => (fault === 'cut' ? undefined : fault),
  'q3p.handshake.epoch': ({ content }) => (content?.kind === 'handshake' ? content.handshake.epoch : undefined),
  'q3p.handshake.answers': ({ content }) => (content?.kind === 'handshake' ? content.handshake.answers : undefined),
  'q3p.handshake.accepts_slot': ({ content }) =>
    content?.kind === 'handshake' ? content.handshake.acceptsSlot : undefined,
  'q3p.handshake.k': ({ content }) => (content?.kind === 'handshake' ? content.handshake.k : undefined),
  'q3p.handshake.name': ({ content }) => (content?.kind === 'handshake' ? content.handshake.name : undefined),
}

/** Fields of the 104 dissector; compared where the APDU is sound. */
const APDU_COLUMNS: Readonly<Record<string, (decoded: DecodedFrame) => unknown>> = {
  'iec60870_104.tx': ({ content }) =>
    content?.kind === 'apdu' && content.apdu.format === 'I' ? content.apdu.sendSeq : undefined,
  'iec60870_104.rx': ({ content }) =>
    content?.kind === 'apdu' && content.apdu.format !== 'U' ? content.apdu.recvSeq : undefined,
  'iec60870_asdu.typeid': (decoded) => asduOf(decoded, ({ type }) => typeIdOf(type)),
  'iec60870_asdu.sq': (decoded) => asduOf(decoded, ({ sq }) => Number(sq)),
  'iec60870_asdu.numix': (decoded) => asduOf(decoded, ({ objects }) => objects.length),
  'iec60870_asdu.causetx': (decoded) => asduOf(decoded, ({ cot }) => cot),
  'iec60870_asdu.nega': (decoded) => asduOf(decoded, ({ negative }) => Number(negative)),
  'iec60870_asdu.test': (decoded) => asduOf(decoded, ({ test }) => Number(test)),
  'iec60870_asdu.oa': (decoded) => asduOf(decoded, ({ oa }) => oa),
  'iec60870_asdu.addr': (decoded) => asduOf(decoded, ({ ca }) => ca),
}

/** Rows of a capture as tshark has them, by frame; UDP frames of our port only. */
export function tsharkRows(capture: string, keyLog: string, more: readonly string[] = []): Row[] {
  const names = [...Object.keys(COLUMNS), ...Object.keys(APDU_COLUMNS)]
  const fields = names.flatMap((name) => ['-e', name])
  const result = tshark(capture, keyLog, ['-Y', 'q3p', '-T', 'fields', '-E', 'occurrence=f', ...fields, ...more])
  if (result.status !== 0 || complaints(result).length > 0) throw new Error(`tshark ${result.status}: ${result.stderr}`)
  const lines = result.stdout.split('\n').slice(0, -1)
  return lines.map((line) => Object.fromEntries(line.split('\t').map((value, index) => [names[index] ?? '', value])))
}

/** The same rows, by our decoder. */
export function ourRows(frames: readonly DecodedFrame[]): Row[] {
  return frames.map((decoded) => {
    const columns = Object.entries({ ...COLUMNS, ...APDU_COLUMNS })
    return Object.fromEntries(columns.map(([name, say]) => [name, text(say(decoded))]))
  })
}

/** Rows that differ, as `frame: field: ours / tshark's`, the first few; none when both agree on every frame. */
export function disagreements(frames: readonly DecodedFrame[], rows: readonly Row[]): string[] {
  const ours = ourRows(frames)
  const found = ours.length === rows.length ? [] : [`${ours.length} frames / ${rows.length}`]
  for (const [index, our] of ours.entries()) {
    const row = rows[index] ?? {}
    const content = frames[index]?.content
    const isSound = content?.kind === 'apdu' && (content.asdu === undefined || 'type' in content.asdu)
    const names = isSound ? Object.keys(our) : Object.keys(COLUMNS)
    for (const name of names) {
      if ((row[name] ?? '') !== our[name]) found.push(`${our['frame.number']}: ${name}: ${our[name]} / ${row[name]}`)
    }
  }
  return found.slice(0, 20)
}

function asduOf(decoded: DecodedFrame, say: (asdu: Asdu) => number): number | undefined {
  const { content } = decoded
  return content?.kind === 'apdu' && content.asdu !== undefined && 'type' in content.asdu
    ? say(content.asdu)
    : undefined
}

/** A flag that is not set has no field, so that a filter may name it alone. */
function bit(fields: DecodedFrame['fields'], mask: number): number | undefined {
  return fields !== undefined && (fields.flags & mask) !== 0 ? 1 : undefined
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function text(value: unknown): string {
  return value === undefined ? '' : String(value)
}

/** Version of tshark, for messages. */
export function tsharkVersion(): string {
  return execFileSync('tshark', ['--version'], { env: ENV, encoding: 'utf8' }).split('\n')[0] ?? ''
}
