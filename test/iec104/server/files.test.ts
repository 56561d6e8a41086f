/** IEC 60870-5-101, 7.4.11: directory and file transfer in both directions, bound to the connection. */
import t from 'tap'
import { type Asdu, asduOf, cot } from '../../../src/protocol/index.ts'
import type { StationConfig } from '../../../src/rtu/index.ts'
import { type Client, Lab, WALL_MS } from './harness.ts'

const IOA = 5_000
const PUT = 5_001
const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) & 0xff)
const config: StationConfig = {
  points: [{ ca: 1, ioa: 1, kind: 'single' }],
  files: [
    { ca: 1, ioa: IOA, nof: 1, bytes, createdWallMs: WALL_MS },
    { ca: 1, ioa: IOA, nof: 2, bytes: Uint8Array.of(1, 2, 3), createdWallMs: WALL_MS },
    { ca: 1, ioa: PUT, nof: 7, writable: true },
  ],
  maxFileBytes: 200_000,
}
const header = { cot: cot.fileTransfer, ca: 1 }

const call = (request: number, nof = 1, nos = 0, ioa = IOA, cause: number = cot.fileTransfer): Asdu => {
  const value = { nof, nos, scq: { request, fault: 0 } }
  return asduOf('F_SC_NA_1', { cot: cause, ca: 1, objects: [{ ioa, value }] })
}
const acknowledge = (qualifier: number, nos: number, nof = 1): Asdu => {
  const value = { nof, nos, afq: { qualifier, fault: 0 } }
  return asduOf('F_AF_NA_1', { ...header, objects: [{ ioa: IOA, value }] })
}
const sum = (octets: Uint8Array): number => octets.reduce((total, octet) => (total + octet) & 0xff, 0)
const segments = (client: Client): Uint8Array =>
  Uint8Array.from(client.values('F_SG_NA_1').flatMap((value) => [...(value as { segment: Uint8Array }).segment]))

t.test('directory', async (t) => {
  t.test('a request lists the files that are there', async (t) => {
    const client = new Lab(config).start()
    t.same(client.ask(call(0, 0, 0, 0, cot.request)), ['F_DR_TA_1 5 1/5000 x2'])
    t.match(client.values('F_DR_TA_1'), [
      { nof: 1, lof: 100_000, sof: { lastFile: false }, time: { wallMs: WALL_MS } },
      { nof: 2, lof: 3, sof: { lastFile: true } },
    ])
  })
  t.test('where there is none, the IOA is unknown', async (t) => {
    const client = new Lab(config).start()
    t.same(client.ask(call(0, 0, 0, 77, cot.request)), ['F_SC_NA_1 47- 1/77'])
    t.same(client.ask(call(0, 0, 0, PUT, cot.request)), ['F_SC_NA_1 47- 1/5001'])
  })
})

t.test('a file to the controlling station', async (t) => {
  t.test('select, call, sections with checksums, the end', async (t) => {
    const lab = new Lab(config)
    const client = lab.start()
    t.same(client.ask(call(1)), ['F_FR_NA_1 13 1/5000'])
    t.match(client.values('F_FR_NA_1'), [{ nof: 1, lof: 100_000, frq: { negative: false } }])
    t.same(client.ask(call(2)), ['F_SR_NA_1 13 1/5000'])
    const got: Uint8Array[] = []
    for (const nos of [1, 2]) {
      client.ask(call(6, 1, nos))
      const section = segments(client)
      got.push(section)
      t.match(client.values('F_LS_NA_1'), [{ nos, lsq: 3, chs: sum(section) }])
      client.ask(acknowledge(3, nos))
      if (nos === 1) t.match(client.values('F_SR_NA_1'), [{ nos: 2, lof: 100_000 - section.length }])
    }
    t.match(client.values('F_LS_NA_1'), [{ lsq: 1, chs: sum(bytes) }])
    t.same(Uint8Array.from(got.flatMap((section) => [...section])), bytes)
    t.same(client.ask(acknowledge(1, 2)), [])
    t.match(lab.names('file.sent'), [{ sizeBytes: 100_000 }])
    t.match(client.ask(call(6, 1, 1)), ['F_FR_NA_1 13 1/5000'], 'it is over')
    t.match(client.values('F_FR_NA_1'), [{ frq: { negative: true } }])
  })
  t.test('a section that came with a wrong checksum is offered again', async (t) => {
    const client = new Lab(config).start()
    for (const order of [call(1, 2), call(2, 2), call(6, 2, 1)]) client.ask(order)
    client.ask(acknowledge(4, 1, 2))
    t.match(client.values('F_SR_NA_1'), [{ nos: 1, lof: 3, srq: { notReady: false } }])
    client.ask(call(6, 2, 1))
    t.same(segments(client), Uint8Array.of(1, 2, 3))
  })
  t.test('it belongs to its connection: another one cannot go on with it', async (t) => {
    const lab = new Lab(config)
    const client = lab.start('10.0.0.1:1')
    const other = lab.start('10.0.0.2:1')
    client.ask(call(1))
    client.ask(call(2))
    for (const order of [call(2), call(6, 1, 1)]) {
      other.ask(order)
      t.match(other.values('F_FR_NA_1'), [{ frq: { negative: true } }])
    }
    t.same(other.ask(acknowledge(3, 1)), [])
    client.ask(call(6, 1, 1))
    t.equal(segments(client).length, 65_800)
  })
  t.test('it ends with its connection', async (t) => {
    const lab = new Lab(config)
    const client = lab.start()
    client.isSilent = true
    for (const order of [call(1), call(2), call(6, 1, 1)]) client.send(order)
    client.disconnect()
    const next = lab.start()
    t.same(next.got(), [])
    next.ask(call(6, 1, 1))
    t.match(next.values('F_FR_NA_1'), [{ frq: { negative: true } }])
  })
  t.test('deactivation stops it at once', async (t) => {
    const client = new Lab(config).start()
    client.isSilent = true
    for (const order of [call(1), call(2), call(6, 1, 1)]) client.send(order)
    client.forget()
    client.send(call(3))
    client.isSilent = false
    client.ack()
    t.match(client.values('F_LS_NA_1'), [{ lsq: 2 }])
    t.equal(client.values('F_SG_NA_1').length, 0)
  })
  t.test('what is not there, or not ready', async (t) => {
    const client = new Lab(config).start()
    t.same(client.ask(call(1, 9)), ['F_FR_NA_1 13 1/5000'])
    t.match(client.values('F_FR_NA_1'), [{ frq: { negative: true } }])
    t.same(client.ask(call(1, 1, 0, 77)), ['F_SC_NA_1 47- 1/77'])
    client.ask(call(1))
    client.ask(call(6, 1, 1))
    t.match(client.values('F_SR_NA_1'), [{ srq: { notReady: true } }], 'called before the file was')
    client.ask(call(2))
    client.ask(call(5, 1, 9))
    t.match(client.values('F_SR_NA_1'), [{ nos: 9, srq: { notReady: true } }])
  })
  t.test('commands are answered between the segments', async (t) => {
    const client = new Lab(config).start()
    client.isSilent = true
    for (const order of [call(1), call(2), call(6, 1, 1)]) client.send(order)
    client.forget()
    client.send(call(0, 0, 0, 0, cot.request))
    t.equal(client.got()[0], 'F_DR_TA_1 5 1/5000 x2')
  })
})

t.test('a file from the controlling station', async (t) => {
  const ready = (lof: number, nof = 7): Asdu => {
    const value = { nof, lof, frq: { qualifier: 0, negative: false } }
    return asduOf('F_FR_NA_1', { ...header, objects: [{ ioa: PUT, value }] })
  }
  const section = (nos: number, lof: number): Asdu => {
    const value = { nof: 7, nos, lof, srq: { qualifier: 0, notReady: false } }
    return asduOf('F_SR_NA_1', { ...header, objects: [{ ioa: PUT, value }] })
  }
  const segment = (nos: number, octets: Uint8Array): Asdu =>
    asduOf('F_SG_NA_1', { ...header, objects: [{ ioa: PUT, value: { nof: 7, nos, segment: octets } }] })
  const last = (nos: number, lsq: number, chs: number): Asdu =>
    asduOf('F_LS_NA_1', { ...header, objects: [{ ioa: PUT, value: { nof: 7, nos, lsq, chs } }] })
  const content = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)

  t.test('it is called, its sections are acknowledged, and it can be read back', async (t) => {
    const lab = new Lab(config)
    const client = lab.start()
    client.ask(ready(300))
    t.match(client.values('F_SC_NA_1'), [{ nof: 7, scq: { request: 2, fault: 0 } }])
    for (const [nos, from, to] of [
      [1, 0, 200],
      [2, 200, 300],
    ] as const) {
      client.ask(section(nos, to - from))
      t.match(client.values('F_SC_NA_1'), [{ nos, scq: { request: 6 } }])
      for (let at = from; at < to; at += 100) t.same(client.ask(segment(nos, content.slice(at, at + 100))), [])
      client.ask(last(nos, 3, sum(content.slice(from, to))))
      t.match(client.values('F_AF_NA_1'), [{ nos, afq: { qualifier: 3 } }])
    }
    client.ask(last(2, 1, sum(content)))
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 1, fault: 0 } }])
    t.match(
      lab.effects.filter(({ kind }) => kind === 'fileReceived'),
      [{ ca: 1, ioa: PUT, nof: 7, bytes: content }],
    )
    for (const order of [call(1, 7, 0, PUT), call(2, 7, 0, PUT), call(6, 7, 1, PUT)]) client.ask(order)
    t.same(segments(client), content)
    client.ask(call(4, 7, 0, PUT))
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 1 } }])
    client.ask(call(1, 7, 0, PUT))
    t.match(client.values('F_FR_NA_1'), [{ frq: { negative: true } }], 'deleted')
  })
  t.test('a wrong checksum is refused, of a section and of the file', async (t) => {
    const client = new Lab(config).start()
    for (const order of [ready(3), section(1, 3), segment(1, Uint8Array.of(1, 2, 3)), last(1, 3, 9)]) client.ask(order)
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 4, fault: 2 } }])
    for (const order of [section(1, 3), segment(1, Uint8Array.of(1, 2, 3)), last(1, 3, 6)]) client.ask(order)
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 3 } }])
    client.ask(last(1, 1, 99))
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 2, fault: 2 } }])
  })
  t.test('what may not be put here, or is too long, is not called', async (t) => {
    const client = new Lab(config).start()
    client.ask(ready(3, 8))
    t.match(client.values('F_SC_NA_1'), [{ scq: { request: 3, fault: 4 } }])
    client.ask(ready(200_001))
    t.match(client.values('F_SC_NA_1'), [{ scq: { request: 3, fault: 1 } }])
    t.same(client.ask(section(1, 3)), [])
  })
  t.test('more octets than announced end it', async (t) => {
    const client = new Lab(config).start()
    for (const order of [ready(3), section(1, 3), segment(1, Uint8Array.of(1, 2, 3, 4))]) client.ask(order)
    t.match(client.values('F_AF_NA_1'), [{ afq: { qualifier: 2, fault: 3 } }])
    t.same(client.ask(last(1, 3, 10)), [])
  })
})
