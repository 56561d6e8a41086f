import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import {
  completeUdpChecksum,
  PcapngError,
  PcapngFile,
  type PcapngSection,
  PcapngWriter,
  rawUdpPacket,
  readPcapng,
  wallNs,
} from '../../src/runtime/pcapng.ts'

const ENDS = { sourceAddress: '10.64.0.1', sourcePort: 2404, destinationAddress: '10.64.0.2', destinationPort: 2404 }
const SECTION: PcapngSection = { hardware: 'test bench', os: 'Linux', userAppl: 'q104 0.1.0', comment: 'seed 7' }

function written(fill: (writer: PcapngWriter) => void, section: PcapngSection = {}): Buffer {
  const blocks: Uint8Array[] = []
  fill(new PcapngWriter((block) => blocks.push(block), section))
  return Buffer.concat(blocks)
}

t.test('what is written is read back', async (t) => {
  const bytes = written((writer) => {
    const first = writer.addInterface({ name: 'cc-gwA', description: 'link 0' })
    const second = writer.addInterface({ name: 'gwA-rtü', linkType: 1 })
    writer.frame({ interfaceId: second, timestampNs: 1_700_000_000_123_456_789n, bytes: Buffer.from('abc') })
    writer.frame({ interfaceId: first, timestampNs: 0n, bytes: new Uint8Array(0), comment: 'lost by the law' })
  }, SECTION)
  const { section, interfaces, frames, truncated } = readPcapng(bytes)
  t.same(section, SECTION)
  t.same(interfaces, [
    { name: 'cc-gwA', description: 'link 0', linkType: 101 },
    { name: 'gwA-rtü', linkType: 1 },
  ])
  t.same(
    frames.map(({ bytes: frame, ...rest }) => ({ ...rest, frame: Buffer.from(frame).toString() })),
    [
      { interfaceId: 1, timestampNs: 1_700_000_000_123_456_789n, frame: 'abc' },
      { interfaceId: 0, timestampNs: 0n, frame: '', comment: 'lost by the law' },
    ],
  )
  t.equal(truncated, false)
})

t.test('any frames, times and comments survive the round trip', async () => {
  const frame = fc.record({
    timestampNs: fc.bigInt({ min: 0n, max: 2n ** 63n }),
    bytes: fc.uint8Array({ maxLength: 40 }),
    comment: fc.string({ unit: 'grapheme', maxLength: 20 }),
  })
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), (given) => {
      const bytes = written((writer) => {
        const interfaceId = writer.addInterface({ name: 'x' })
        for (const one of given) writer.frame({ interfaceId, ...one })
      })
      const { frames } = readPcapng(bytes)
      return (
        frames.length === given.length &&
        frames.every(({ timestampNs, bytes: read, comment }, i) => {
          const one = given[i]
          return timestampNs === one?.timestampNs && comment === one.comment && Buffer.compare(read, one.bytes) === 0
        })
      )
    }),
  )
})

t.test('a file that was cut off anywhere gives the frames before the cut', async (t) => {
  const bytes = written((writer) => {
    const interfaceId = writer.addInterface({ name: 'x' })
    for (let i = 0; i < 3; i++) writer.frame({ interfaceId, timestampNs: BigInt(i), bytes: Buffer.from('frame') })
  })
  const blockBytes = 12 + 20 + 8 + 4
  const counts = Array.from({ length: 3 * blockBytes }, (_, cut) => {
    const { frames, truncated } = readPcapng(bytes.subarray(0, bytes.length - cut))
    return [frames.length, truncated]
  })
  t.same(
    counts,
    counts.map((_, cut) => [3 - Math.ceil(cut / blockBytes), cut % blockBytes !== 0]),
  )
})

t.test('hostile bytes give a PcapngError and nothing else', async (t) => {
  const good = written((writer) => {
    writer.frame({ interfaceId: writer.addInterface({ name: 'x' }), timestampNs: 5n, bytes: Buffer.from('frame') })
  }, SECTION)
  const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Buffer.from(good)
      for (const [offset, value] of changes) bytes[offset] = value
      try {
        readPcapng(bytes)
        return true
      } catch (error) {
        return error instanceof PcapngError
      }
    }),
    { numRuns: 1000 },
  )
  t.throws(() => readPcapng(Buffer.from('no capture file, but long enough to be one')), PcapngError)
  t.throws(() => readPcapng(new Uint8Array(0)), PcapngError)
})

t.test('big-endian files and other time resolutions are read', async (t) => {
  const u32 = (...values: number[]): Buffer => {
    const bytes = Buffer.alloc(4 * values.length)
    values.forEach((value, i) => void bytes.writeUInt32BE(value, 4 * i))
    return bytes
  }
  const block = (type: number, ...body: Buffer[]): Buffer => {
    const length = 12 + Buffer.concat(body).length
    return Buffer.concat([u32(type, length), ...body, u32(length)])
  }
  const file = Buffer.concat([
    block(0x0a0d0d0a, u32(0x1a2b3c4d, 0x0001_0000, 0xffff_ffff, 0xffff_ffff)),
    block(1, u32(0x0065_0000, 0)),
    block(1, u32(0x0065_0000, 0), u32(0x0009_0001, 0x8a00_0000, 0)),
    block(5, u32(1, 2, 3)),
    block(6, u32(0, 0, 1_500_000, 1, 1), Buffer.from('a\0\0\0')),
    block(6, u32(1, 0, 512, 1, 1), Buffer.from('b\0\0\0')),
  ])
  t.same(
    readPcapng(file).frames.map(({ timestampNs }) => timestampNs),
    [1_500_000_000n, 500_000_000n],
    'microseconds by default, 2^-10 s as the option says; the statistics block is skipped',
  )
})

t.test('a writer refuses what the file cannot hold', async (t) => {
  written((writer) => {
    const bytes = new Uint8Array(1)
    t.throws(() => writer.frame({ interfaceId: 0, timestampNs: 0n, bytes }), RangeError, 'interface not added')
    const interfaceId = writer.addInterface({ name: 'x' })
    t.throws(() => writer.frame({ interfaceId, timestampNs: -1n, bytes }), RangeError)
    t.throws(() => writer.frame({ interfaceId, timestampNs: 0n, bytes: new Uint8Array(300_000) }), RangeError)
  })
})

t.test('a UDP packet has the headers and checksums that the kernel would give it', async (t) => {
  const packet = rawUdpPacket(ENDS, Buffer.from('hi\n'))
  t.equal(
    Buffer.from(packet).toString('hex'),
    '4500001f000040004011264c0a4000010a40000209640964000b662468690a',
    'both checksums added up by hand',
  )
  t.throws(() => rawUdpPacket({ ...ENDS, sourceAddress: '10.64.0.256' }, packet), RangeError)
  t.throws(() => rawUdpPacket({ ...ENDS, sourceAddress: '10.64.1' }, packet), RangeError)
  t.throws(() => rawUdpPacket({ ...ENDS, destinationPort: 65_536 }, packet), RangeError)
  t.throws(() => rawUdpPacket(ENDS, new Uint8Array(65_508)), RangeError)
})

t.test('a checksum left to the device is completed, any other is kept', async (t) => {
  const whole = rawUdpPacket(ENDS, Buffer.from('payload'))
  const partial = whole.slice()
  const words = [0x0a40, 0x0001, 0x0a40, 0x0002, 17, 15]
  new DataView(partial.buffer).setUint16(
    26,
    words.reduce((sum, word) => sum + word),
  )
  completeUdpChecksum(partial)
  t.same(partial, whole)
  const wrong = whole.slice()
  new DataView(wrong.buffer).setUint16(26, 0x1234)
  const kept = wrong.slice()
  completeUdpChecksum(wrong)
  t.same(wrong, kept, 'a wrong one is evidence')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      completeUdpChecksum(bytes)
      return true
    }),
  )
})

t.test('milliseconds of the wall clock keep their microseconds', async (t) => {
  t.equal(wallNs(1_700_000_000_123.456), 1_700_000_000_123_456_000n)
})

const NO_TSHARK = spawnSync('tshark', ['--version']).status === 0 ? false : 'tshark is not installed'

t.test('a capture file grows by appending, and Wireshark reads it', { skip: NO_TSHARK }, async (t) => {
  const path = join(t.testdir(), 'capture.pcapng')
  const file = new PcapngFile(path, SECTION)
  const interfaceId = file.writer.addInterface({ name: 'cc-gwA', description: 'link 0' })
  const payloads = ['one', 'two', 'a longer payload']
  payloads.forEach((payload, i) => {
    const timestampNs = wallNs(1_700_000_000_000 + i) + 7n
    file.writer.frame({ interfaceId, timestampNs, bytes: rawUdpPacket(ENDS, Buffer.from(payload)), comment: `#${i}` })
  })
  file.flush()
  file.flush()
  t.equal(readPcapng(readFileSync(path)).frames.length, 3)
  const fields = ['frame.interface_name', 'frame.time_epoch', 'ip.checksum.status', 'udp.checksum.status', 'udp.length']
  const { status, stdout } = spawnSync(
    'tshark',
    [
      ...['-r', path, '-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE', '-T', 'fields'],
      ...fields.flatMap((field) => ['-e', field]),
    ],
    { encoding: 'utf8' },
  )
  t.equal(status, 0)
  t.same(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t')),
    payloads.map((payload, i) => ['cc-gwA', `1700000000.00${i}000007`, '1', '1', String(8 + payload.length)]),
    'interface, time to the nanosecond, both checksums good',
  )
  const { stdout: info } = spawnSync('capinfos', [path], { encoding: 'utf8' })
  t.match(info, /Capture hardware:\s+test bench/)
  t.match(info, /Capture application:\s+q104 0\.1\.0/)
  appendFileSync(path, 'cut')
  t.equal(readPcapng(readFileSync(path)).truncated, true)
})
