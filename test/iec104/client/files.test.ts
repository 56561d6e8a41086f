import t from 'tap'
import { type Asdu, asduOf, cot, cp56 } from '../../../src/protocol/index.ts'
import { type Answer, ScriptedPair, WALL_MS } from './scripted-pair.ts'

const CA = 1
const IOA = 30_000
const NOF = 5

function file(type: Asdu['type'], value: object): Asdu {
  const fields = { cot: cot.fileTransfer, ca: CA, objects: [{ ioa: IOA, value: { nof: NOF, ...value } }] }
  return asduOf(type, fields as never) as Asdu
}

function checksum(octets: Uint8Array): number {
  return octets.reduce((sum, octet) => (sum + octet) & 0xff, 0)
}

/** A station with one file in sections. `spoil` counts sections sent with a wrong checksum. */
function server(sections: readonly Uint8Array[], spoil = { sections: 0, file: false }): Answer {
  const whole = Uint8Array.from(sections.flatMap((section) => [...section]))
  const sectionReady = (nos: number): Asdu => {
    const lof = sections[nos - 1]?.length ?? 0
    return file('F_SR_NA_1', { nos, lof, srq: { qualifier: 0, notReady: false } })
  }
  let bad = spoil.sections
  return (request) => {
    if (request.type === 'F_SC_NA_1') {
      const { scq, nos, nof } = request.objects[0]?.value ?? { scq: { request: 0 }, nos: 0, nof: 0 }
      if (nof !== NOF) return [{ ...request, cot: cot.unknownIoa, negative: true }]
      if (scq.request === 1) {
        return [file('F_FR_NA_1', { lof: whole.length, frq: { qualifier: 0, negative: false } })]
      }
      if (scq.request === 2) return [sectionReady(1)]
      if (scq.request !== 6) return []
      const section = sections[nos - 1] ?? new Uint8Array()
      const segments: Asdu[] = []
      for (let at = 0; at < section.length; at += 200) {
        segments.push(file('F_SG_NA_1', { nos, segment: section.subarray(at, at + 200) }))
      }
      const chs = checksum(section) + (bad-- > 0 ? 1 : 0)
      return [...segments, file('F_LS_NA_1', { nos, lsq: 3, chs: chs & 0xff })]
    }
    if (request.type !== 'F_AF_NA_1') return []
    const { afq, nos } = request.objects[0]?.value ?? { afq: { qualifier: 0 }, nos: 0 }
    if (afq.qualifier === 4) return [sectionReady(nos)]
    if (afq.qualifier !== 3) return []
    if (nos < sections.length) return [sectionReady(nos + 1)]
    return [file('F_LS_NA_1', { nos, lsq: 1, chs: (checksum(whole) + (spoil.file ? 1 : 0)) & 0xff })]
  }
}

const GET = { kind: 'getFile', ca: CA, ioa: IOA, nof: NOF } as const
const SECTIONS = [1000, 1, 333].map((length, k) => Uint8Array.from({ length }, (_, i) => (i * 7 + k) & 0xff))
const WHOLE = Uint8Array.from(SECTIONS.flatMap((section) => [...section]))

t.test('a file of several sections is fetched and acknowledged', async (t) => {
  const pair = new ScriptedPair(server(SECTIONS)).open()
  const { result } = pair.run(GET)
  t.same(result.kind === 'confirmed' && result.octets, WHOLE)
  const last = pair.requests.at(-1)
  t.match(last, { type: 'F_AF_NA_1', cot: 13, objects: [{ value: { afq: { qualifier: 1, fault: 0 } } }] })
})

t.test('a section with a wrong checksum is asked for again, and given up after the third time', async (t) => {
  const twice = new ScriptedPair(server(SECTIONS, { sections: 2, file: false })).open()
  const { result } = twice.run(GET)
  t.same(result.kind === 'confirmed' && result.octets, WHOLE)
  const thrice = new ScriptedPair(server(SECTIONS, { sections: 3, file: false })).open()
  t.match(thrice.run(GET).result, { kind: 'refused', reason: 'wrong checksum of section 1' })
  t.match(thrice.requests.at(-1), { type: 'F_SC_NA_1', objects: [{ value: { scq: { request: 3 } } }] }, 'deactivated')
  const atEnd = new ScriptedPair(server(SECTIONS, { sections: 0, file: true })).open()
  t.match(atEnd.run(GET).result, { kind: 'refused', reason: 'wrong checksum of the file' })
})

t.test('a file that is not there is refused, whichever way the station says it', async (t) => {
  const unknown = new ScriptedPair(server(SECTIONS)).open()
  t.match(unknown.run({ ...GET, nof: 6 }).result, { kind: 'refused', cot: 47 })
  for (const negative of [true, false]) {
    const answer: Answer = () => [file('F_FR_NA_1', { lof: 0, frq: { qualifier: 0, negative } })]
    t.match(new ScriptedPair(answer).open().run(GET).result, { kind: 'refused', cot: 13 })
  }
  const notReady: Answer = (request) => {
    const isSelect = request.type === 'F_SC_NA_1' && request.objects[0]?.value.scq.request === 1
    if (isSelect) return [file('F_FR_NA_1', { lof: 9, frq: { qualifier: 0, negative: true } })]
    return [file('F_SR_NA_1', { nos: 1, lof: 9, srq: { qualifier: 0, notReady: true } })]
  }
  t.match(new ScriptedPair(notReady).open().run(GET).result, { reason: 'section 1 is not ready' })
})

t.test('segments that nobody asked for are ignored', async (t) => {
  const pair = new ScriptedPair(() => []).open()
  const id = pair.begin(GET)
  pair.say(
    file('F_SG_NA_1', { nos: 1, segment: Uint8Array.of(1, 2, 3) }),
    file('F_LS_NA_1', { nos: 1, lsq: 1, chs: 6 }),
    file('F_LS_NA_1', { nos: 1, lsq: 3, chs: 6 }),
  )
  t.equal(pair.done(id), undefined)
  t.equal(pair.requests.length, 1)
})

t.test('a file is sent in sections of 64 000 octets and segments of 236', async (t) => {
  const octets = Uint8Array.from({ length: 150_000 }, (_, i) => (i * 31) & 0xff)
  const taken: Uint8Array[] = []
  let section: Uint8Array[] = []
  let refusals = 1
  const pair = new ScriptedPair((request) => {
    switch (request.type) {
      case 'F_FR_NA_1':
        return [file('F_SC_NA_1', { nos: 0, scq: { request: 2, fault: 0 } })]
      case 'F_SR_NA_1':
        section = []
        return [file('F_SC_NA_1', { nos: request.objects[0]?.value.nos, scq: { request: 6, fault: 0 } })]
      case 'F_SG_NA_1':
        section.push(request.objects[0]?.value.segment ?? new Uint8Array())
        return []
      case 'F_LS_NA_1': {
        const { nos = 0, lsq = 0 } = request.objects[0]?.value ?? {}
        if (lsq === 1) return [file('F_AF_NA_1', { nos, afq: { qualifier: 1, fault: 0 } })]
        if (refusals-- > 0) return [file('F_AF_NA_1', { nos, afq: { qualifier: 4, fault: 2 } })]
        taken.push(...section)
        return [file('F_AF_NA_1', { nos, afq: { qualifier: 3, fault: 0 } })]
      }
      default:
        return []
    }
  }).open()
  t.match(pair.run({ ...GET, kind: 'putFile', octets }).result, { kind: 'confirmed' })
  t.ok(Buffer.concat(taken).equals(octets), 'after a section that had to be sent again')
  const sizes = new Set(taken.map(({ length }) => length))
  t.same(
    [...sizes].sort((a, b) => b - a),
    [236, 64_000 % 236, 22_000 % 236].sort((a, b) => b - a),
  )
})

t.test('a station that does not take a file says so', async (t) => {
  const put = { ...GET, kind: 'putFile', octets: Uint8Array.of(1, 2, 3) } as const
  const negative: Answer = () => [file('F_FR_NA_1', { lof: 0, frq: { qualifier: 0, negative: true } })]
  t.match(new ScriptedPair(negative).open().run(put).result, { kind: 'refused' })
  const fault: Answer = () => [file('F_SC_NA_1', { nos: 0, scq: { request: 2, fault: 1 } })]
  t.match(new ScriptedPair(fault).open().run(put).result, { kind: 'refused', reason: 'the station gave up (fault 1)' })
  const silent = new ScriptedPair(() => []).open()
  t.match(silent.run(put).result, { kind: 'timeout', awaited: 'file' })
  t.match(silent.requests.at(-1), { type: 'F_LS_NA_1', objects: [{ value: { lsq: 2 } }] }, 'and the rest is called off')
})

t.test('the directory is complete with its last file, or when no more comes', async (t) => {
  const entry = (nof: number, lastFile: boolean) => ({
    ioa: IOA + nof,
    value: {
      nof,
      lof: 100 * nof,
      sof: { status: 0, lastFile, subdirectory: false, active: false },
      time: cp56(WALL_MS),
    },
  })
  const directory = (...entries: ReturnType<typeof entry>[]) =>
    asduOf('F_DR_TA_1', { cot: cot.request, ca: CA, objects: entries })
  const marked = new ScriptedPair(() => [directory(entry(1, false), entry(2, false)), directory(entry(3, true))]).open()
  const ask = { kind: 'directory', ca: CA, ioa: 0 } as const
  const done = marked.run(ask)
  t.match(done.result, {
    kind: 'confirmed',
    directory: [{ nof: 1 }, { nof: 2, ioa: IOA + 2, sizeBytes: 200 }, { nof: 3 }],
  })
  t.equal(done.totalMs, 0)
  t.match(marked.requests, [{ type: 'F_SC_NA_1', cot: cot.request, objects: [{ value: { nof: 0, nos: 0 } }] }])
  const unmarked = new ScriptedPair(() => [directory(entry(1, false))]).open()
  t.match(unmarked.run(ask).result, { kind: 'confirmed', directory: [{ nof: 1 }] })
  t.match(new ScriptedPair(() => []).open().run(ask).result, { kind: 'timeout', awaited: 'data' })
})
