import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { encodeI, encodeS, encodeU, parseApdu, type UFunction } from '../../../src/protocol/iec104/apci.ts'
import { asduOf, cot, decodeAsdu, encodeAsdu } from '../../../src/protocol/iec104/asdu.ts'
import { layoutOf } from '../../../src/protocol/iec104/types.ts'
import { everything, type Sent, TYPE_NAMES } from './asdus.ts'
import { tcpCapture } from './capture.ts'
import { coverageText } from './coverage.ts'
import { type Decoder, deviationsOf, differences, listedCoverage, type Reading, shownObject } from './facts.ts'
import { askScapy, type ScapyAnswer, scapy, scapyVersion } from './scapy.ts'
import { readWithTshark, tshark, tsharkVersion } from './tshark.ts'

const DOCUMENT = join('docs', 'iec104-decoders.md')

const U_FUNCTIONS: readonly UFunction[] = [
  'startdtAct',
  'startdtCon',
  'stopdtAct',
  'stopdtCon',
  'testfrAct',
  'testfrCon',
]
const ACKNOWLEDGED = [0, 1, 127, 128, 32_767]

const sent = everything()
const short = [...U_FUNCTIONS.map((name) => encodeU(name)), ...ACKNOWLEDGED.map((recvSeq) => encodeS(recvSeq))]

/** A short float that ends after two of its octets: what a decoder has to find fault with. */
function brokenApdu(): Uint8Array {
  const quality = { overflow: false, blocked: false, substituted: false, notTopical: false, invalid: false }
  const objects = [{ ioa: 100, value: { value: 1.5, qds: quality } }]
  return encodeI(0, 0, encodeAsdu(asduOf('M_ME_NC_1', { cot: cot.spontaneous, ca: 1, objects })).subarray(0, -3))
}

type Tool = { readonly decoder: Decoder; readonly version: string | undefined; readonly debian: string }
const tools: { readonly tshark: Tool; readonly scapy: Tool } = {
  tshark: { decoder: tshark, version: tsharkVersion(), debian: 'tshark' },
  scapy: { decoder: scapy, version: scapyVersion(), debian: 'python3-scapy' },
}

const hasApt = spawnSync('apt-get', ['--version']).status === 0

/** A decoder that could be installed has to be: then its tests fail. Where it cannot be had they are skipped, aloud. */
function without({ version, debian }: Tool): { readonly skip: string | false } {
  const isOutOfReach = version === undefined && !hasApt
  return { skip: isOutOfReach && `NOT CHECKED: no ${debian}, and no apt-get to install it` }
}

function present(t: Test, { version, debian }: Tool): boolean {
  return version !== undefined || t.fail(`${debian} is not installed: apt-get install ${debian}`)
}

/**
 * The lists of what a decoder does not know hold for one version. Of another only the types are compared that the
 * listed one reads without fault.
 */
function comparable(t: Test, { decoder, version }: Tool): (one: Sent) => boolean {
  if (version?.startsWith(decoder.listedVersion)) return () => true
  t.comment(`${decoder.name} ${version} is not the listed ${decoder.listedVersion}x: only its sound types are compared`)
  return ({ asdu: { type } }) => listedCoverage(decoder, type) === 'decoded' && deviationsOf(decoder, type).length === 0
}

const dir = t.testdir()
const capture = join(dir, 'every-type.pcap')
writeFileSync(capture, tcpCapture([...sent.map(({ apdu }) => apdu), ...short, brokenApdu()]))

let packets: ReturnType<typeof readWithTshark> = []
let answer: ScapyAnswer = { read: [], built: [] }

function disagreements(t: Test, tool: Tool, readings: readonly Reading[]): readonly string[] {
  const isCompared = comparable(t, tool)
  return sent.flatMap((one, i) => {
    const reading = readings[i]
    if (reading === undefined) return [`${one.asdu.type}: nothing was read`]
    return isCompared(one) ? differences(tool.decoder, one, reading) : []
  })
}

t.test('every type of the table is sent, in every way that it has', async (t) => {
  const ways = new Set(sent.map(({ asdu }) => `${asdu.type} SQ ${Number(asdu.sq)}`))
  const all = TYPE_NAMES.flatMap((type) => [
    `${type} SQ 0`,
    ...(layoutOf(type).shape === 'sequence' ? [`${type} SQ 1`] : []),
  ])
  t.same([...ways].sort(), all.sort())
  t.equal(Math.max(...sent.map(({ asdu }) => asdu.objects.length)), 127)
  t.equal(Math.max(...sent.map(({ apdu }) => apdu.length)), 255)
  t.ok(
    sent.every(({ asdu, apdu }) => isDeepStrictEqual(decodeAsdu(apdu.subarray(6)), asdu)),
    'and is read back here',
  )
})

t.test('tshark reads every ASDU as it was sent', without(tools.tshark), async (t) => {
  if (!present(t, tools.tshark)) return
  packets = readWithTshark(capture, dir)
  t.equal(packets.length, sent.length + short.length + 1)
  t.same(disagreements(t, tools.tshark, packets), [])
})

t.test(
  'tshark finds nothing malformed and has no warning, save for the APDU that is broken',
  without(tools.tshark),
  async (t) => {
    if (!present(t, tools.tshark)) return
    t.same(
      packets.slice(0, -1).flatMap(({ type, marks }) => marks.map((mark) => `${type}: ${mark}`)),
      [],
    )
    t.match(packets.at(-1)?.marks, [/Malformed Packet: IEC 60870-5-101\/104 ASDU/, /Error/])
  },
)

t.test('scapy reads every ASDU as it was sent, and not the broken one', without(tools.scapy), async (t) => {
  if (!present(t, tools.scapy)) return
  answer = askScapy(capture, sent)
  t.equal(answer.read.length, sent.length + short.length + 1)
  t.same(disagreements(t, tools.scapy, answer.read), [])
  t.equal(answer.read.at(-1)?.raw, '6400000000')
})

t.test('scapy builds the same octets from the same facts, and they are read here', without(tools.scapy), async (t) => {
  if (!present(t, tools.scapy)) return
  const isCompared = comparable(t, tools.scapy)
  const wrong = sent.flatMap((one, i) => {
    const built = answer.built[i]
    if (!isCompared(one)) return []
    if (listedCoverage(scapy, one.asdu.type) === 'unknown') return built === null ? [] : [one.asdu.type]
    if (typeof built !== 'string') return [`${one.asdu.type} is not built`]
    const octets = Uint8Array.from(Buffer.from(built, 'hex'))
    const isSame = isDeepStrictEqual(octets, one.apdu) && isDeepStrictEqual(asSent(octets), one)
    return isSame ? [] : [`${one.asdu.type}: ${built}, not ${Buffer.from(one.apdu).toString('hex')}`]
  })
  t.same(wrong, [])
})

/** Reads an APDU into what would have been sent. */
function asSent(octets: Uint8Array): Sent | undefined {
  const apdu = parseApdu(octets)
  if (apdu.format !== 'I') return undefined
  return { asdu: decodeAsdu(apdu.asdu), sendSeq: apdu.sendSeq, recvSeq: apdu.recvSeq, apdu: octets }
}

t.test('both read the frames without an ASDU', async (t) => {
  const uFrames = U_FUNCTIONS.map((_, i) => ({ start: 0x68, apdulen: 4, type: 3, utype: 1 << i }))
  const sFrames = ACKNOWLEDGED.map((rx) => ({ start: 0x68, apdulen: 4, type: 1, rx }))
  const headersOf = (readings: readonly Reading[]) =>
    readings.slice(sent.length, sent.length + short.length).map(({ header }) => header)
  await t.test('tshark', without(tools.tshark), async (t) => {
    if (present(t, tools.tshark)) t.same(headersOf(packets), [...uFrames, ...sFrames])
  })
  await t.test('scapy', without(tools.scapy), async (t) => {
    if (!present(t, tools.scapy)) return
    const bits = U_FUNCTIONS.map((name) => name.toLowerCase().replace(/act|con/, '_$&'))
    t.same(headersOf(answer.read), [
      ...bits.map((set) => ({
        message: 'IEC104_U_Message',
        start: 0x68,
        apdu_length: 4,
        ...Object.fromEntries(bits.map((bit) => [bit, Number(bit === set)])),
        octet_1_1_2: 3,
        octet_2: 0,
        octet_3: 0,
        octet_4: 0,
      })),
      ...ACKNOWLEDGED.map((rx) => ({
        message: 'IEC104_S_Message',
        start: 0x68,
        apdu_length: 4,
        octet_1: 1,
        octet_2: 0,
        rx_seq_num: rx,
      })),
    ])
  })
})

/** Types of the listed deviations of which no object shows that the decoder still differs from the standard there. */
function settled(decoder: Decoder, readings: readonly Reading[]): readonly string[] {
  return decoder.deviations.flatMap((deviation) =>
    deviation.types
      .filter(
        (type) =>
          !sent.some(({ asdu }, n) =>
            asdu.objects.some((_, i) => {
              if (asdu.type !== type) return false
              const right = decoder.object(asdu, i)
              const differs = !isDeepStrictEqual({ ...right, ...deviation.shows(right) }, right)
              return differs && isDeepStrictEqual(readings[n]?.objects[i], shownObject(decoder, asdu, i))
            }),
          ),
      )
      .map((type) => `${type}: ${deviation.what}`),
  )
}

for (const tool of Object.values(tools)) {
  const { decoder, version } = tool
  t.test(`what is listed of ${decoder.name} is still so, type by type`, without(tool), async (t) => {
    if (!present(t, tool)) return
    if (!version?.startsWith(decoder.listedVersion)) {
      t.pass(`the list is of ${decoder.name} ${decoder.listedVersion}x, this is ${version}`, { skip: true })
      return
    }
    const readings = decoder === tshark ? packets : answer.read
    t.same(settled(decoder, readings), [], 'every deviation is seen on every type it is listed for')
    const seen = TYPE_NAMES.map((type) => {
      const of = readings.filter((_, i) => sent[i]?.asdu.type === type)
      const isNamed = of.every((reading) => reading.type === type)
      return [type, of.some(({ raw }) => raw === undefined) ? 'decoded' : isNamed ? 'named only' : 'unknown']
    })
    t.same(
      seen,
      TYPE_NAMES.map((type) => [type, listedCoverage(decoder, type)]),
    )
  })
}

t.test('the document has the table of these lists', async (t) => {
  const [begin, end] = ['<!-- begin: coverage, written by tap --snapshot -->\n', '\n<!-- end: coverage -->']
  const text = readFileSync(DOCUMENT, 'utf8')
  const wanted = `${begin}\n${coverageText(sent, [tshark, scapy])}\n${end}`
  const [from, to] = [text.indexOf(begin), text.indexOf(end) + end.length]
  if (process.env['TAP_SNAPSHOT'] === '1') writeFileSync(DOCUMENT, text.slice(0, from) + wanted + text.slice(to))
  else t.equal(text.slice(from, to), wanted)
})
