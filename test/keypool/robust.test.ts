import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type ClientHttp2Stream, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { status as grpcStatus, type ServiceError } from '@grpc/grpc-js'
import fc from 'fast-check'
import t from 'tap'
import { KeyBuffer, makeLabCa, PoolPublisher, type StreamRecord } from '../../src/keypool/index.ts'
import { keyServerService } from '../../src/keypool/messages.ts'
import type { KeyBlock, PoolBooks } from '../../src/runtime/contract.ts'
import { bareClient, connect, getKey, lengthOf, pemOf, serve, until } from './key-lab.ts'
import type { KeyServerSpec } from './keyserver-process.ts'

const PROCESS = fileURLToPath(new URL('./keyserver-process.js', import.meta.url))

// --- the client's buffer -------------------------------------------------------------------------------------------

t.test('a buffer gives back what was put in, in order, each octet once, and wipes the rest', async (t) => {
  const property = fc.property(fc.array(fc.integer({ min: 1, max: 20 })), fc.array(fc.nat(30)), (sizes, steps) => {
    const buffer = new KeyBuffer()
    const kept: Uint8Array[] = []
    let end = 0
    for (const slots of sizes) {
      const bytes = Uint8Array.from({ length: 4 * slots }, (_, index) => (4 * end + index) & 0xff)
      kept.push(bytes)
      buffer.add({ channel: 0, slot: end, bytes })
      end += slots
    }
    let at = 0
    let goal = 0
    for (const step of steps) {
      goal += step
      for (const { slot, bytes } of buffer.takeUpTo(goal)) {
        if (slot !== at) throw new Error('not in order')
        bytes.forEach((octet, index) => {
          if (octet !== ((4 * slot + index) & 0xff)) throw new Error('not what was put in')
        })
        at += bytes.length / 4
        bytes.fill(0)
      }
      if (at !== Math.min(goal, end)) throw new Error('not all there is')
    }
    buffer.wipe()
    if (kept.some((bytes) => bytes.some((octet) => octet !== 0))) throw new Error('a copy is left')
  })
  t.doesNotThrow(() => fc.assert(property))
  const buffer = new KeyBuffer()
  buffer.add({ channel: 0, slot: 0, bytes: new Uint8Array(8).fill(99) })
  t.equal(JSON.stringify(buffer), '{"endSlot":2}')
})

t.test('while the buffer holds key a fetch is served at once, server or none', async (t) => {
  const server = await serve()
  const ahead = { lowSlots: 100, highSlots: 400 }
  const master = connect(t, server.port, 'master', [0], { ahead })
  const gw = connect(t, server.port, 'gw', [0])
  server.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  await Promise.all([master.client.ready, gw.client.ready])
  master.client.fetch(0, 10)
  t.ok(await until(() => lengthOf(gw, 0) === 410), 'the other end has all of it')
  t.equal(lengthOf(master, 0), 10, 'the node has what it asked for')
  t.ok(await until(() => server.node.give('master', 0, 0).length === 0), 'and the client the rest')
  server.close()
  for (let goal = 20; goal <= 410; goal += 10) {
    master.client.fetch(0, goal)
    if (lengthOf(master, 0) !== goal) master.faults.push(`waits at ${goal}`)
  }
  t.same(master.faults, [])
  t.same(master.bytes.get(0), gw.bytes.get(0))
  master.client.fetch(0, 420)
  t.equal(lengthOf(master, 0), 410, 'then it is empty')
  const again = await serve(server.port)
  t.teardown(again.close)
  again.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  t.ok(await until(() => lengthOf(master, 0) === 420), 'and goes on when the server is back')
  t.ok(await until(() => lengthOf(gw, 0) === 820))
  t.same(master.bytes.get(0), gw.bytes.get(0)?.slice(0, 420 * 4))
})

t.test('what was fetched ahead and is lost at the other end is left out, and the books know it', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const [master, gw] = [
    connect(t, server.port, 'master', [0], { ahead: { lowSlots: 10, highSlots: 50 } }),
    connect(t, server.port, 'gw', [0]),
  ]
  const told: string[] = []
  master.client.onBlock(({ slot, bytes }) => told.push(`${slot}+${bytes.length / 4}`))
  await Promise.all([master.client.ready, gw.client.ready])
  server.feed({ kind: 'generated', link: 0, bits: 320_000 })
  master.client.fetch(0, 30)
  t.ok(await until(() => told.length === 1 && lengthOf(gw, 0) === 80))
  await new Promise((resolve) => setTimeout(resolve, 250))
  await gw.client.close()
  const again = connect(t, server.port, 'gw', [0])
  t.ok(await until(() => told.length === 2), 'a new process at the other end has nothing')
  t.same(told, ['0+30', '80+0'])
  master.client.fetch(0, 90)
  t.ok(await until(() => told.length > 2 && lengthOf(again, 0) > 0))
  t.match(told[2], /^80\+/)
  master.client.report({ channel: 0, usedSlots: 80, discardedSlots: 50 })
  t.ok(await until(() => server.node.books().usedBits === 30 * 32))
  t.match(server.node.books(), { discardedBits: 50 * 32 })
})

t.test('what the top chain needs does not wait for what others are waiting for', async (t) => {
  const reserve = { authenticationBits: 0, topChainBits: 32 * 50 }
  const server = await serve(0, { pool: { reserve } })
  t.teardown(server.close)
  const master = connect(t, server.port, 'master', [0])
  await master.client.ready
  server.feed({ kind: 'generated', link: 0, bits: 32 * 50 })
  master.client.fetch(0, 40)
  t.ok(await until(() => server.node.stream(0)?.wantedSlots === 40))
  t.equal(lengthOf(master, 0), 0)
  master.client.fetch(0, 40, { topUpToSlot: 30 })
  t.ok(await until(() => lengthOf(master, 0) === 30))
  t.equal(server.node.books().poolBits, 32 * 20)
})

// --- those who do not keep to the rules ------------------------------------------------------------------------------

t.test(
  'a certificate of the lab that is no end of the link gets nothing, one of another CA not even an answer',
  async (t) => {
    const server = await serve()
    t.teardown(server.close)
    server.feed({ kind: 'generated', link: 0, bits: 32_000 })
    const before = server.node.books()
    const strangers = await makeLabCa(['master'], Date.now())
    const foreign = bareClient(t, server.port, { ...pemOf('master', strangers), caPem: pemOf('master').caPem })
    const third = bareClient(t, server.port, pemOf('rtu'))
    t.equal(await getKey(third, { channel: 0, slots: 1 }), grpcStatus.PERMISSION_DENIED)
    t.equal(await getKey(third, { channel: 6, slots: 1 }), grpcStatus.NOT_FOUND)
    t.equal(await getKey(foreign, { channel: 0, slots: 1 }), grpcStatus.UNAVAILABLE)
    const master = bareClient(t, server.port, pemOf('master'))
    const odd = [-1, -(2 ** 31), 65_537, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]
    const codes = await Promise.all(odd.map((slots) => getKey(master, { channel: 0, slots })))
    t.same([...new Set(codes)], [grpcStatus.INVALID_ARGUMENT])
    t.same(await Promise.all([-1, 2 ** 31, 2 ** 32 - 2].map((channel) => getKey(master, { channel, slots: 1 }))), [
      grpcStatus.NOT_FOUND,
      grpcStatus.NOT_FOUND,
      grpcStatus.NOT_FOUND,
    ])
    t.equal(await getKey(master, { channel: 0, slots: 1, quota: 'nobody’s' }), grpcStatus.PERMISSION_DENIED)
    t.same(server.node.books(), before)
  },
)

t.test(
  'a flood of calls is refused beyond its budget, leaves nothing behind and does not stop the others',
  async (t) => {
    const server = await serve(0, { serve: { maxCallsPerS: 150 } })
    t.teardown(server.close)
    const gw = connect(t, server.port, 'gw', [0])
    await gw.client.ready
    server.feed({ kind: 'generated', link: 0, bits: 320_000 })
    const flooder = bareClient(t, server.port, pemOf('master'))
    await getKey(flooder, { channel: 0, slots: 1 })
    const answers = Array.from({ length: 1000 }, () => getKey(flooder, { channel: 0, slots: 1 }, 30_000))
    gw.client.fetch(1, 5)
    t.ok(await until(() => lengthOf(gw, 1) === 5, 20_000))
    const codes = await Promise.all(answers)
    const refused = codes.filter((code) => code === grpcStatus.RESOURCE_EXHAUSTED).length
    const served = codes.filter((code) => typeof code === 'object').length
    t.equal(refused + served, 1000, 'each is answered, by a clear code')
    t.ok(refused > 300, `${refused} refused`)
  },
)

t.test('of calls that wait only so many are kept, and a node that hangs up leaves no want behind', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const master = bareClient(t, server.port, pemOf('master'))
  const answers = Array.from({ length: 400 }, () => getKey(master, { channel: 0, slots: 100 }, 2500))
  const codes = await Promise.all(answers)
  t.ok(codes.every((code) => code === grpcStatus.RESOURCE_EXHAUSTED || code === grpcStatus.DEADLINE_EXCEEDED))
  t.ok(await until(() => server.node.stream(0)?.wantedSlots === 0), 'the wants went with the calls')
  server.feed({ kind: 'generated', link: 0, bits: 320_000 })
  t.match(server.node.books(), { poolBits: 320_000, reservedBits: 0 })
})

/** A gRPC client of Blocks on bare HTTP/2, which reads nothing until told to. */
function slowReader(t: { teardown: (action: () => unknown) => unknown }, port: number): ClientHttp2Stream {
  const { caPem, certPem, keyPem } = pemOf('gw')
  const tls = { ca: caPem, cert: certPem, key: keyPem, servername: 'keyserver' }
  const session = connectHttp2(`https://127.0.0.1:${port}`, tls)
  t.teardown(() => session.destroy())
  const { path, requestSerialize } = keyServerService.blocks
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' }
  const stream = session.request(headers)
  const body = requestSerialize({ links: [0], have: [], instance: 'slow' })
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(body.length, 1)
  stream.end(Buffer.concat([frame, body]))
  return stream
}

t.test('a reader that reads nothing is cut off, keeps but its outbox, and gets all when it comes again', async (t) => {
  const server = await serve(0, { pool: { maxBacklogSlots: 600_000 }, serve: { slowReaderMs: 400 } })
  t.teardown(server.close)
  const master = connect(t, server.port, 'master', [0])
  const slow = slowReader(t, server.port)
  await Promise.all([master.client.ready, new Promise((resolve) => slow.once('response', resolve))])
  const trailers = new Promise<IncomingHttpHeaders>((resolve) => slow.once('trailers', resolve))
  server.feed({ kind: 'generated', link: 0, bits: 31_000_000 })
  for (let goal = 4000; goal <= 1_000_000; goal += 4000) {
    if ((server.node.stream(0)?.assignedSlots ?? 0) + 4000 < goal) break
    server.feed({ kind: 'want', client: 'master', channel: 0, upToSlot: goal })
  }
  const assignedSlots = server.node.stream(0)?.assignedSlots ?? 0
  t.equal(assignedSlots, 600_000, 'nothing is assigned that it could not be given')
  await new Promise((resolve) => setTimeout(resolve, 800))
  let gotBytes = 0
  slow.on('data', (bytes: Buffer) => {
    gotBytes += bytes.length
  })
  t.match(await trailers, { 'grpc-status': `${grpcStatus.RESOURCE_EXHAUSTED}` })
  t.ok(gotBytes < 400_000, `${gotBytes} octets had been kept for it besides its outbox`)
  const gw = connect(t, server.port, 'gw', [0])
  t.ok(await until(() => lengthOf(gw, 0) === assignedSlots && lengthOf(master, 0) === assignedSlots, 20_000))
  t.ok(Buffer.from(gw.bytes.get(0) ?? []).equals(Buffer.from(master.bytes.get(0) ?? [])))
  t.same(gw.faults, [])
})

t.test('a node can hold only so many streams open', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const { path, requestSerialize, responseDeserialize } = keyServerService.watchPool
  const gw = bareClient(t, server.port, pemOf('gw'))
  let refused = 0
  let begun = 0
  const calls = Array.from({ length: 20 }, () => {
    const call = gw.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {})
    call.once('data', () => begun++)
    call.on('error', (error: ServiceError) => {
      if (error.code === grpcStatus.RESOURCE_EXHAUSTED) refused++
    })
    return call
  })
  t.ok(await until(() => begun === 16 && refused === 4))
  for (const call of calls) call.cancel()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const again = gw.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {})
  again.on('error', () => {})
  t.teardown(() => again.cancel())
  t.match(await new Promise((resolve) => again.once('data', resolve)), { level: 'protect' })
})

t.test('a node of many links that was started again learns of each stream where it goes on', async (t) => {
  const numbers = Array.from({ length: 40 }, (_, link) => link)
  const links = numbers.map((link) => ({ link, ends: ['master', 'gw'] as const, keys: 'pool' as const }))
  const server = await serve(0, { pool: { links } })
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  const first = connect(t, server.port, 'master', numbers)
  const gw = connect(t, server.port, 'gw', numbers)
  await Promise.all([first.client.ready, gw.client.ready])
  for (const link of numbers) first.client.fetch(2 * link, 5)
  t.ok(await until(() => numbers.every((link) => lengthOf(first, 2 * link) === 5 && lengthOf(gw, 2 * link) === 5)))
  await first.client.close()
  const second = connect(t, server.port, 'master', numbers)
  const starts = new Map<number, number>()
  const ends = new Map<number, number>()
  second.client.onBlock(({ channel, slot, bytes }) => {
    if (!starts.has(channel)) starts.set(channel, slot)
    ends.set(channel, slot + bytes.length / 4)
  })
  await second.client.ready
  for (const link of numbers) second.client.fetch(2 * link, 9)
  t.ok(await until(() => numbers.every((link) => ends.get(2 * link) === 9)))
  t.same([...new Set(starts.values())], [5])
})

t.test('a reader that is slow for a moment misses nothing', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const master = connect(t, server.port, 'master', [0])
  await master.client.ready
  const { path, requestSerialize, responseDeserialize } = keyServerService.blocks
  const request = { links: [0], have: [], instance: 'slow' }
  const slow = bareClient(t, server.port, pemOf('gw'))
  const call = slow.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
  t.teardown(() => call.cancel())
  call.on('error', () => {})
  let nextSlot = 0
  const faults: string[] = []
  call.on('data', ({ slot, bytes }: KeyBlock) => {
    if (slot !== nextSlot) faults.push(`${slot} after ${nextSlot}`)
    nextSlot = slot + bytes.length / 4
  })
  await new Promise((resolve) => call.on('metadata', resolve))
  server.feed({ kind: 'generated', link: 0, bits: 31_000_000 })
  for (let round = 1; round <= 4; round++) {
    call.pause()
    for (let part = 1; part <= 100; part++) {
      server.feed({ kind: 'want', client: 'master', channel: 0, upToSlot: (100 * (round - 1) + part) * 500 })
    }
    await new Promise((resolve) => setTimeout(resolve, 30))
    call.resume()
    t.ok(await until(() => nextSlot === 50_000 * round))
  }
  t.same(faults, [])
})

t.test('when the journal cannot be written nothing more is handed out', async (t) => {
  let broken = false
  const faults: unknown[] = []
  const journal = {
    past: undefined,
    append: () => {
      if (broken) throw new Error('ENOSPC')
    },
  }
  const server = await serve(0, { pool: { journal }, serve: { onFault: (error) => faults.push(error) } })
  t.teardown(server.close)
  const [master, gw] = [connect(t, server.port, 'master', [0]), connect(t, server.port, 'gw', [0])]
  await Promise.all([master.client.ready, gw.client.ready])
  server.feed({ kind: 'generated', link: 0, bits: 32_000 })
  broken = true
  master.client.fetch(0, 10)
  t.ok(await until(() => faults.length > 0 && master.waits.includes('keyserver')))
  t.match(faults, [{ message: 'ENOSPC' }])
  t.same([lengthOf(master, 0), lengthOf(gw, 0)], [0, 0])
})

// --- Redis -----------------------------------------------------------------------------------------------------------

t.test('a Redis that is away, or accepts and never answers, costs telemetry and no key', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-redis-'))
  const path = join(dir, 'mute.sock')
  const mute: Server = createServer((socket) => void socket.on('error', () => {}))
  await new Promise<void>((resolve) => mute.listen(path, resolve))
  const publishers = [
    new PoolPublisher({ path: join(dir, 'nobody.sock'), lab: 'x' }),
    new PoolPublisher({ path, lab: 'x' }),
  ]
  t.teardown(async () => {
    await Promise.all(publishers.map((publisher) => publisher.close()))
    mute.close()
    rmSync(dir, { recursive: true })
  })
  const onStatus = (status: Parameters<PoolPublisher['publish']>[0]): void => {
    for (const publisher of publishers) publisher.publish(status)
  }
  const server = await serve(0, { pool: { statusPeriodMs: 2 }, serve: { onStatus } })
  t.teardown(server.close)
  const [master, gw] = [connect(t, server.port, 'master', [0]), connect(t, server.port, 'gw', [0])]
  await Promise.all([master.client.ready, gw.client.ready])
  server.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  const tookMs: number[] = []
  for (let goal = 10; goal <= 1000; goal += 10) {
    const startMs = performance.now()
    master.client.fetch(0, goal)
    await until(() => lengthOf(master, 0) === goal)
    tookMs.push(performance.now() - startMs)
  }
  t.equal(lengthOf(master, 0), 1000)
  tookMs.sort((a, b) => a - b)
  t.ok((tookMs[50] ?? 0) < 50, `median ${tookMs[50]?.toFixed(1)} ms`)
  t.ok(publishers.every((publisher) => publisher.counts().published === 0 && publisher.counts().skipped > 10))
})

// --- SIGKILL ---------------------------------------------------------------------------------------------------------

type Told = { books: PoolBooks; streams: StreamRecord[]; past: boolean }

async function start(spec: KeyServerSpec): Promise<ChildProcess> {
  const child = fork(PROCESS, [JSON.stringify(spec)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] })
  await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', () => reject(new Error('the key server did not start')))
  })
  child.removeAllListeners('exit')
  return child
}

function ask(child: ChildProcess, what: 'books' | 'quiet'): Promise<Told> {
  return new Promise((resolve) => {
    child.once('message', (told) => resolve(told as Told))
    child.send(what)
  })
}

t.test('killed again and again, a key server goes on with streams and books', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-kill-'))
  const spec = { journalPath: join(dir, 'journal'), tls: pemOf('keyserver'), bitsPerTick: 3000 }
  const free = await serve()
  const port = free.port
  free.close()
  let child = await start({ ...spec, port })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(dir, { recursive: true })
  })
  const [master, gw] = [connect(t, port, 'master', [0]), connect(t, port, 'gw', [0])]
  /** The master uses at once what it gets. */
  const use = (): void => {
    const discardedSlots = master.holes.reduce((sum, { slots }) => sum + slots, 0)
    master.client.report({ channel: 0, usedSlots: lengthOf(master, 0), discardedSlots })
  }
  await Promise.all([master.client.ready, gw.client.ready])
  let goal = 25
  let generatedBits = 0
  master.client.fetch(0, goal)
  t.ok(await until(() => lengthOf(master, 0) === goal && lengthOf(gw, 0) === goal))
  for (let death = 0; death < 3; death++) {
    await until(() => master.waits.at(-1) !== 'keyserver' && gw.waits.at(-1) !== 'keyserver')
    const rounds = 5 + ((death * 7) % 13)
    for (let round = 0; round < rounds; round++) {
      goal = Math.max(goal, lengthOf(master, 0)) + 25
      master.client.fetch(0, goal)
      use()
      await new Promise((resolve) => setTimeout(resolve, 3 + ((death * round) % 9)))
    }
    const told = await ask(child, 'books')
    t.ok(told.books.generatedBits >= generatedBits, 'no key that was made is forgotten')
    generatedBits = told.books.generatedBits
    master.client.fetch(0, goal + 25)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    child = await start({ ...spec, port })
  }
  await until(() => master.waits.at(-1) === 'over' && gw.waits.at(-1) === 'over')
  goal = Math.max(goal, lengthOf(master, 0)) + 50
  master.client.fetch(0, goal)
  t.ok(await until(() => lengthOf(master, 0) >= goal && lengthOf(gw, 0) >= goal))
  t.same([...master.faults, ...gw.faults], [], 'both streams are whole')
  use()
  await ask(child, 'quiet')
  let told = await ask(child, 'books')
  const spent = (): number => {
    const { usedSlots = 0, discardedSlots = 0, skippedSlots = 0 } = told.streams[0] ?? {}
    return usedSlots + discardedSlots + skippedSlots
  }
  for (let tries = 0; tries < 50 && spent() < lengthOf(master, 0); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    told = await ask(child, 'books')
  }
  const { books, streams, past } = told
  t.ok(past)
  t.equal(spent(), lengthOf(master, 0), 'every slot that the sender has spent is in the books')
  t.equal(books.usedBits, 32 * (streams[0]?.usedSlots ?? 0))
  const { usedBits, expiredBits, discardedBits, reservedBits, poolBits } = books
  t.equal(usedBits + expiredBits + discardedBits + reservedBits + poolBits, books.generatedBits)
  t.equal(
    streams[0]?.discardedSlots,
    master.holes.reduce((sum, { slots }) => sum + slots, 0),
  )
  const [own = [], peer = []] = [master.bytes.get(0), gw.bytes.get(0)]
  const isHole = (slot: number): boolean => {
    return [...master.holes, ...gw.holes].some((hole) => hole.slot <= slot && slot < hole.slot + hole.slots)
  }
  const differing = own.filter((octet, index) => octet !== peer[index] && !isHole(index >> 2)).length
  t.equal(differing, 0, 'what both have is the same')
  t.comment(`${lengthOf(master, 0)} slots, holes ${JSON.stringify([master.holes, gw.holes])}`)
  const text = readFileSync(spec.journalPath, 'utf8')
  const found = Array.from({ length: 100 }, (_, index) => Buffer.from(own.slice(8 * index, 8 * index + 8)))
  t.ok(
    found.every((bytes) => !text.includes(bytes.toString('hex')) && !text.includes(bytes.toString('base64'))),
    'no key is on the disk',
  )
})
