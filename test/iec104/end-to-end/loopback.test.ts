import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openSession, type Session, type SessionNews } from '../../../src/cli/client/session.ts'
import { stepsOfLine } from '../../../src/cli/client/steps.ts'
import { wordsOf } from '../../../src/cli/client/words.ts'
import { demoStation } from '../../../src/cli/server/demo.ts'
import { type Server, serve } from '../../../src/cli/server/serve.ts'
import { writeLabCa } from '../../../src/keypool/index.ts'
import { CONTROLLING_STATION_DEFAULTS, type Operation } from '../../../src/master/index.ts'
import type { DialOptions, TlsOptions } from '../../../src/runtime/index.ts'
import { startChopper } from './chopper.ts'

const HOST = '127.0.0.1'

function demo(tls?: TlsOptions): Promise<Server> {
  const config = { ...demoStation([1], false), announceStart: false }
  return serve(config, { host: HOST, port: 0, simulate: false, log: () => {}, ...(tls && { tls }) })
}

async function started(dial: Partial<DialOptions> & { port: number }, observe: (news: SessionNews) => void = () => {}) {
  const session = openSession({ dial: { host: HOST, ...dial }, station: CONTROLLING_STATION_DEFAULTS, observe })
  await session.leaves('waiting')
  return session
}

/** Operations as typed at `q104 client`. */
function operations(...lines: readonly string[]): Operation[] {
  return lines
    .flatMap((line) => stepsOfLine(wordsOf(line), 1))
    .flatMap((step) => (step.kind === 'operate' ? [step.operation] : []))
}

/** Everything that the demo database has, in the words of docs/client.md. */
const EVERYTHING = operations(
  'gi gi 1 gi 2 gi 3 gi 4 gi 5 gi 6 gi 7 gi 8 gi --ca 65535',
  'counters freeze counters counters 1 counters 2 counters freeze-reset counters reset',
  'read 1 read 101 read 201 read 301 read 401 read 501 read 601 read 801',
  'clock test test --time-tag 7',
  'set 2001 single on set 2001 single off --sbo set 2002 single on --time-tag --qu short',
  'set 2005 single on --sbo set 2006 single on --qu long',
  'set 2101 double off set 2102 double on --sbo --time-tag set 2103 double on --sbo',
  'set 2201 step higher set 2201 step lower --time-tag --sbo',
  'set 2301 bitstring 0xffffffff set 2301 bitstring 1 --time-tag',
  'set 2403 normalized -0.5 set 2403 normalized 0.25 --sbo --time-tag',
  'set 2503 scaled -1000 set 2503 scaled 7 --sbo --time-tag',
  'set 2604 float 1.5 set 2605 float 99.5 --sbo set 2605 float 1 --sbo --time-tag',
  'set 2005 single off --select set 2005 single off --cancel',
  'param 401 normalized 0.5 param 501 scaled 3 --kind threshold param 601 float 0.5',
  'activate 601 deactivate 601',
  'file-dir',
)
const FILES: readonly Operation[] = [
  { kind: 'getFile', ca: 1, ioa: 5001, nof: 1 },
  { kind: 'getFile', ca: 1, ioa: 5001, nof: 2 },
  { kind: 'putFile', ca: 1, ioa: 5002, nof: 3, octets: Uint8Array.from({ length: 70_000 }, (_, i) => i & 0xff) },
]

async function notConfirmed(session: Session, list: readonly Operation[]): Promise<unknown[]> {
  const wrong: unknown[] = []
  for (const operation of list) {
    const { result } = await session.operate(operation)
    if (result.kind !== 'confirmed') wrong.push({ operation, result })
  }
  return wrong
}

t.test('every operation against the demo database is confirmed over loopback TCP', async (t) => {
  const server = await demo()
  const session = await started({ port: server.port })
  t.same(await notConfirmed(session, [...EVERYTHING, ...FILES, ...operations('reset process reset events')]), [])
  t.ok(EVERYTHING.length > 50)
  session.close('done')
  await server.close()
})

t.test('the same with the stream cut into random pieces both ways', async (t) => {
  const server = await demo()
  const chopper = await startChopper(server.port, 5, 3)
  const session = await started({ port: chopper.port })
  t.same(await notConfirmed(session, [...EVERYTHING, ...FILES.slice(0, 2)]), [])
  session.close('done')
  await chopper.close()
  await server.close()
})

t.test('several clients at a time are each served', async (t) => {
  const server = await demo()
  const sessions = await Promise.all(Array.from({ length: 5 }, () => started({ port: server.port })))
  const reads = EVERYTHING.filter(({ kind }) => kind !== 'command')
  const wrong = await Promise.all(sessions.map((session) => notConfirmed(session, reads)))
  t.same(wrong.flat(), [])
  for (const session of sessions) session.close('done')
  await server.close()
})

t.test('a client with retry comes back after a cut, and gets the events that waited', async (t) => {
  const server = await demo()
  const chopper = await startChopper(server.port, 100, 4)
  const values: number[] = []
  const session = await started({ port: chopper.port, retry: { minMs: 20, maxMs: 100 } }, (news) => {
    if (news.kind === 'data' && news.asdu.type === 'M_BO_TB_1') {
      for (const { ioa, value } of news.asdu.objects) if (ioa === 302) values.push(value.bsi)
    }
  })
  const change = (value: number): void => server.feed({ kind: 'setPoint', ca: 1, ioa: 302, value })
  for (let round = 0; round < 3; round++) {
    for (let i = 1; i <= 100; i++) {
      change(round * 100 + i)
      if (i === 50) {
        chopper.cut()
        await session.leaves('started')
      }
    }
    await session.leaves('waiting')
    t.equal(session.state(), 'started')
    t.same(await notConfirmed(session, operations('gi clock')), [])
  }
  await sleep(50)
  t.equal(new Set(values).size, 300, 'no event is missing')
  session.close('done')
  await chopper.close()
  await server.close()
})

t.test('a client whose server is not there says so, and with retry waits for it', async (t) => {
  const gone = await demo()
  await gone.close()
  const alone = await started({ port: gone.port })
  t.equal(alone.state(), 'over')
  const [clock] = operations('clock')
  if (clock === undefined) throw new Error('no operation')
  const { result } = await alone.operate(clock)
  t.match(result, { kind: 'closed' })

  const patient = openSession({
    dial: { host: HOST, port: gone.port, retry: { minMs: 10, maxMs: 50 } },
    station: CONTROLLING_STATION_DEFAULTS,
    observe: () => {},
  })
  const waiting = patient.operate(clock)
  await sleep(60)
  const config = { ...demoStation([1], false), announceStart: false }
  const late = await serve(config, { host: HOST, port: gone.port, simulate: false, log: () => {} })
  t.match((await waiting).result, { kind: 'confirmed' })
  patient.close('done')
  await late.close()
})

t.test('mutual TLS, versions 1.2 and 1.3: certificates of another authority are refused', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-tls-'))
  await writeLabCa(join(dir, 'a'), ['rtu', 'scada'], Date.now())
  await writeLabCa(join(dir, 'b'), ['scada'], Date.now())
  const files = (ca: string, id: string): TlsOptions => ({
    caFile: join(dir, ca, 'ca.pem'),
    certFile: join(dir, ca, `${id}.pem`),
    keyFile: join(dir, ca, `${id}.key.pem`),
  })
  for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = await demo({ ...files('a', 'rtu'), minVersion })
    const tls = { ...files('a', 'scada'), minVersion, peerNames: ['rtu'] }
    const session = await started({ port: server.port, tls })
    t.equal(session.state(), 'started', minVersion)
    t.same(await notConfirmed(session, [...EVERYTHING.slice(0, 20), ...FILES]), [])
    session.close('done')

    const stranger = await started({ port: server.port, tls: files('b', 'scada') })
    t.equal(stranger.state(), 'over', 'a client of another authority')
    const half = await started({ port: server.port, tls: { ...files('b', 'scada'), caFile: join(dir, 'a', 'ca.pem') } })
    t.equal(half.state(), 'over', 'a client that trusts the server but is not trusted')
    const other = await started({ port: server.port, tls: { ...tls, peerNames: ['rtu-of-others'] } })
    t.equal(other.state(), 'over', 'a server of another name')
    const plain = openSession({
      dial: { host: HOST, port: server.port },
      station: CONTROLLING_STATION_DEFAULTS,
      observe: () => {},
    })
    await plain.leaves('waiting')
    t.equal(plain.state(), 'over', 'no TLS at all')
    for (const each of [stranger, half, other, plain]) each.close('done')
    await server.close()
  }
  rmSync(dir, { recursive: true })
})
