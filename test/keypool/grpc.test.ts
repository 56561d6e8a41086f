import { randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext, connect as tlsConnect } from 'node:tls'
import { status as grpcStatus } from '@grpc/grpc-js'
import t from 'tap'
import { KEYSERVER_PROTO, KeyServerNode, makeLabCa, serveKeys, writeLabCa } from '../../src/keypool/index.ts'
import { keyServerService } from '../../src/keypool/messages.ts'
import type { PoolStatus } from '../../src/runtime/contract.ts'
import { bareClient, ca, connect, getKey, lengthOf, pemOf, serve, until } from './key-lab.ts'

t.test('the published proto file is the one the program carries', async (t) => {
  const published = readFileSync(new URL('../../../src/keypool/proto/keyserver.proto', import.meta.url), 'utf8')
  t.equal(published, KEYSERVER_PROTO)
})

t.test('both ends of a link get equal streams, whole and in order', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const [master, gw] = [connect(t, server.port, 'master', [0]), connect(t, server.port, 'gw', [0, 1])]
  await Promise.all([master.client.ready, gw.client.ready])
  let goal = 0
  for (let round = 0; round < 20; round++) {
    goal += 1 + ((round * 37) % 200)
    master.client.fetch(0, goal)
    gw.client.fetch(1, 3 * goal)
    gw.client.fetch(2, goal)
    server.feed({ kind: 'generated', link: 0, bits: 32 * 500 })
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.ok(await until(() => lengthOf(gw, 0) >= goal && lengthOf(master, 1) >= 3 * goal && lengthOf(gw, 2) >= goal))
  t.ok(await until(() => lengthOf(master, 0) >= goal && lengthOf(gw, 1) >= 3 * goal))
  t.same(master.bytes.get(0), gw.bytes.get(0))
  t.same(master.bytes.get(1), gw.bytes.get(1))
  t.equal(master.bytes.get(2), undefined)
  t.same([...master.faults, ...gw.faults], [])
})

t.test('reported use reaches the books, and what both ends hold is forgotten', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const [master, gw] = [connect(t, server.port, 'master', [0]), connect(t, server.port, 'gw', [0])]
  server.feed({ kind: 'generated', link: 0, bits: 32_000 })
  master.client.fetch(0, 100)
  t.ok(await until(() => lengthOf(master, 0) === 100 && lengthOf(gw, 0) === 100))
  master.client.report({ channel: 0, usedSlots: 40 })
  gw.client.report({ channel: 0, usedSlots: 90 })
  t.ok(await until(() => server.node.books().usedBits === 40 * 32))
  t.ok(await until(() => server.node.give('gw', 0, 0).length === 0 && server.node.give('master', 0, 0).length === 0))
  master.client.report({ channel: 0, usedSlots: 60 })
  await master.client.close()
  t.equal(server.node.books().usedBits, 60 * 32, 'close sends the last report')
})

t.test('GetKey gives what it can, waits for the first slot, and says when there is none', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const client = bareClient(t, server.port, pemOf('master'))
  t.equal(await getKey(client, { channel: 0, slots: 4 }, 300), grpcStatus.RESOURCE_EXHAUSTED)
  server.feed({ kind: 'generated', link: 0, bits: 6 * 32 })
  const waiting = getKey(client, { channel: 0, slots: 10 })
  const reply = await waiting
  t.match(reply, { blocks: [{ channel: 0, slot: 0 }], assignedSlots: 6 }, 'the first want was dropped')
  const later = getKey(client, { channel: 0, slots: 1, upToSlot: 8 })
  setTimeout(() => server.feed({ kind: 'generated', link: 0, bits: 32 }), 20)
  t.match(await later, { blocks: [{ slot: 6 }], assignedSlots: 7 })
  t.match(await getKey(client, { channel: 0, slots: 1, upToSlot: 3 }), { blocks: [], assignedSlots: 7 })
})

t.test('numbers out of range, unknown links and third nodes are refused by their codes', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  const before = server.node.books()
  const [master, gw, rtu] = ['master', 'gw', 'rtu'].map((id) => bareClient(t, server.port, pemOf(id)))
  if (master === undefined || gw === undefined || rtu === undefined) return
  t.same(await Promise.all([0, 65_537, -1, 4_294_967_295].map((slots) => getKey(master, { channel: 0, slots }))), [
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.INVALID_ARGUMENT,
  ])
  t.equal(await getKey(master, { channel: 0, slots: 1, upToSlot: 2 ** 53 }), grpcStatus.INVALID_ARGUMENT)
  t.equal(await getKey(master, { channel: 99, slots: 1 }), grpcStatus.NOT_FOUND)
  t.equal(await getKey(rtu, { channel: 0, slots: 1 }), grpcStatus.PERMISSION_DENIED)
  t.equal(await getKey(gw, { channel: 0, slots: 1 }), grpcStatus.PERMISSION_DENIED, 'the receiving end')
  t.equal(await getKey(master, { channel: 0, slots: 1, instance: 'not subscribed' }), grpcStatus.FAILED_PRECONDITION)
  t.same(server.node.books(), before)
})

t.test('a third node gets no blocks of a link', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const rtu = connect(t, server.port, 'rtu', [0])
  t.ok(await until(() => rtu.waits.includes('keyserver')))
  rtu.client.fetch(7, 1)
  t.same(rtu.refused, ['7 not a link of this node'])
  t.equal(rtu.bytes.size, 0)
})

t.test('octets that are no message are refused and do no harm', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const client = bareClient(t, server.port, pemOf('master'))
  const raw = (value: Buffer): Buffer => value
  const codes = await Promise.all(
    Object.values(keyServerService)
      .filter((method) => !method.responseStream)
      .flatMap(({ path }) =>
        [Buffer.from('ffffffffffffff', 'hex'), randomBytes(300), Buffer.alloc(100_000)].map(
          (octets) => [path, octets] as const,
        ),
      )
      .map(([path, octets]) => {
        return new Promise<number>((resolve) => {
          client.makeUnaryRequest(path, raw, raw, octets, (error) => resolve(error?.code ?? 0))
        })
      }),
  )
  t.equal(codes.length, 9)
  t.ok(codes.every((code) => code !== grpcStatus.OK))
  server.feed({ kind: 'generated', link: 0, bits: 3200 })
  t.match(await getKey(client, { channel: 0, slots: 1 }), { assignedSlots: 1 }, 'it still serves')
})

t.test('no certificate, one of another CA and TLS 1.2 are turned away', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const foreign = await makeLabCa(['master'], Date.now())
  server.feed({ kind: 'generated', link: 0, bits: 3200 })
  const imposter = { ...pemOf('master', foreign), caPem: ca.caPem }
  t.equal(
    await getKey(bareClient(t, server.port, { caPem: ca.caPem }), { channel: 0, slots: 1 }),
    grpcStatus.UNAVAILABLE,
  )
  t.equal(await getKey(bareClient(t, server.port, imposter), { channel: 0, slots: 1 }), grpcStatus.UNAVAILABLE)
  const { caPem, certPem, keyPem } = pemOf('master')
  const secureContext = createSecureContext({ ca: caPem, cert: certPem, key: keyPem, maxVersion: 'TLSv1.2' })
  const outcome = await new Promise<string>((resolve) => {
    const socket = tlsConnect({
      host: '127.0.0.1',
      port: server.port,
      servername: 'keyserver',
      secureContext,
      ALPNProtocols: ['h2'],
    })
    socket.on('secureConnect', () => resolve('connected'))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    t.teardown(() => socket.destroy())
  })
  t.match(outcome, /PROTOCOL_VERSION/)
  t.equal(server.node.books().reservedBits, 0)
})

t.test('a client takes nobody but the key server for the key server', async (t) => {
  const node = new KeyServerNode({
    ...{ poolKind: 'shared', links: [{ link: 0, ends: ['master', 'gw'], keys: 'pool' }] },
    ...{ capBits: 3200, safeBits: 0, thBits: 0, randomBytes: (n) => new Uint8Array(n) },
  })
  const rogue = await serveKeys({ node, host: '127.0.0.1', port: 0, tls: pemOf('rtu'), nowMs: () => 0 })
  t.teardown(rogue.close)
  const master = connect(t, rogue.port, 'master', [0])
  t.ok(await until(() => master.waits.length > 0))
  t.notOk(master.waits.includes('over'))
  t.throws(() => connect(t, rogue.port, 'ied', [0]), /BAD_CERTIFICATE|BAD_NODE|PEM|no start line|asn1/i)
})

t.test('a client that starts before its server waits, says for whom, and then goes on', async (t) => {
  const first = await serve()
  const port = first.port
  first.close()
  const master = connect(t, port, 'master', [0])
  master.client.fetch(0, 10)
  t.ok(await until(() => master.waits.includes('keyserver')))
  const server = await serve(port)
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 3200 })
  await master.client.ready
  t.equal(master.waits.at(-1), 'over')
  t.ok(await until(() => lengthOf(master, 0) === 10))
})

t.test('when the server is started again streams go on where the ends have them', async (t) => {
  const first = await serve()
  const [master, gw] = [connect(t, first.port, 'master', [0]), connect(t, first.port, 'gw', [0])]
  first.feed({ kind: 'generated', link: 0, bits: 32 * 50 })
  master.client.fetch(0, 60)
  t.ok(await until(() => lengthOf(master, 0) === 50 && lengthOf(gw, 0) === 50))
  first.close()
  const second = await serve(first.port)
  t.teardown(second.close)
  second.feed({ kind: 'generated', link: 0, bits: 32 * 50 })
  t.ok(await until(() => lengthOf(master, 0) === 60 && lengthOf(gw, 0) === 60), 'the old want is asked again')
  t.same(master.bytes.get(0), gw.bytes.get(0))
  t.same([...master.faults, ...gw.faults], [])
  t.match(second.node.books(), { reservedBits: 320, poolBits: 40 * 32 })
})

t.test('where a restart lost key to an end, an empty block says from where its stream goes on', async (t) => {
  const first = await serve()
  const [master, gw] = [connect(t, first.port, 'master', [0]), connect(t, first.port, 'gw', [0])]
  first.feed({ kind: 'generated', link: 0, bits: 32 * 30 })
  master.client.fetch(0, 30)
  t.ok(await until(() => lengthOf(master, 0) === 30 && lengthOf(gw, 0) === 30))
  first.close()
  const second = await serve(first.port)
  t.teardown(second.close)
  const have = [{ channel: 0, slot: 80 }]
  second.feed({ kind: 'subscribe', client: 'master', links: [0], instance: 'had more', have })
  second.feed({ kind: 'gone', client: 'master' })
  second.feed({ kind: 'generated', link: 0, bits: 32 * 50 })
  master.client.fetch(0, 90)
  t.ok(await until(() => lengthOf(master, 0) === 90 && lengthOf(gw, 0) === 90))
  t.same([...master.faults, ...gw.faults], [])
  t.same([master.holes, gw.holes], Array(2).fill([{ channel: 0, slot: 30, slots: 50 }]))
  t.same(master.bytes.get(0), gw.bytes.get(0))
})

t.test('the pool can be asked for its state and watched', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const master = connect(t, server.port, 'master', [0])
  const seen: PoolStatus[] = []
  master.client.onStatus((status) => seen.push(status))
  await master.client.ready
  server.feed({ kind: 'generated', link: 0, bits: 96_000 })
  server.feed({ kind: 'linkState', state: { link: 0, up: false, rateBps: 0.5, delayMs: 1.25 } })
  t.ok(await until(() => seen.some((status) => status.level === 'normal' && status.links[0]?.up === false)))
  const { tMs: _, ...rest } = server.node.status(0)
  t.match(seen.at(-1), rest)
  const { path, requestSerialize, responseDeserialize } = keyServerService.keyPoolStatus
  const asked = await new Promise<PoolStatus | undefined>((resolve) => {
    const client = bareClient(t, server.port, pemOf('rtu'))
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, (_error, reply) => resolve(reply))
  })
  t.match(asked, rest)
})

t.test('a second stream of the same node takes over from the first', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const [first, second] = [connect(t, server.port, 'gw', [1]), connect(t, server.port, 'rtu', [1])]
  await Promise.all([first.client.ready, second.client.ready])
  const { path, requestSerialize, responseDeserialize } = keyServerService.blocks
  const request = { links: [1], have: [], instance: 'other' }
  const call = bareClient(t, server.port, pemOf('gw')).makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
  )
  call.on('error', () => {})
  t.ok(await until(() => first.waits.includes('keyserver')))
  call.cancel()
  t.ok(await until(() => first.waits.at(-1) === 'over'), 'and the first comes back when it can')
})

t.test('the lab CA: 31 certificates, their names and uses', async (t) => {
  const ids = Array.from({ length: 31 }, (_, index) => `node-${index}`)
  const startMs = performance.now()
  const lab = await makeLabCa(ids, Date.now())
  const tookMs = performance.now() - startMs
  t.comment(`31 certificates in ${tookMs.toFixed(0)} ms`)
  t.ok(tookMs < 2000)
  const certificate = new X509Certificate(lab.nodes.get('node-7')?.certPem ?? '')
  const authority = new X509Certificate(lab.caPem)
  t.equal(certificate.subject, 'CN=node-7')
  t.equal(certificate.subjectAltName, 'DNS:node-7, DNS:localhost, IP Address:127.0.0.1')
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  t.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey))
  t.ok(authority.ca && !certificate.ca)
  t.equal(new Set([...lab.nodes.values()].map(({ certPem }) => new X509Certificate(certPem).serialNumber)).size, 31)
  t.ok(Math.abs(Date.parse(certificate.validFrom) + 86_400_000 - Date.now()) < 10_000)
  await t.rejects(makeLabCa(['../x', 'a b', 'ca'], Date.now()), /BAD_NODE_ID \.\.\/x, a b, ca/)
})

t.test('CA files are private, are used again while they fit, and are made anew when they do not', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'q104-ca-'))
  const dir = join(parent, 'pki')
  t.teardown(() => rmSync(parent, { recursive: true }))
  const wallMs = Date.now()
  const made = await writeLabCa(dir, ['a', 'b'], wallMs)
  t.same(readdirSync(dir).sort(), ['a.key.pem', 'a.pem', 'b.key.pem', 'b.pem', 'ca.pem'])
  const modes = [dir, ...readdirSync(dir).map((name) => join(dir, name))].map((path) => statSync(path).mode & 0o777)
  t.same(modes, [0o700, 0o600, 0o600, 0o600, 0o600, 0o600])
  t.same(await writeLabCa(dir, ['a', 'b'], wallMs), made)
  t.equal((await writeLabCa(dir, ['b'], wallMs)).caPem, made.caPem)
  const grown = await writeLabCa(dir, ['a', 'b', 'c'], wallMs)
  t.not(grown.caPem, made.caPem, 'a name is missing')
  t.not((await writeLabCa(dir, ['a'], wallMs + 365 * 86_400_000)).caPem, grown.caPem, 'it has run out')
  writeFileSync(join(dir, 'a.key.pem'), grown.nodes.get('b')?.keyPem ?? '')
  t.not(
    (await writeLabCa(dir, ['a'], wallMs)).nodes.get('a')?.keyPem,
    grown.nodes.get('b')?.keyPem,
    'a key does not fit',
  )
})
