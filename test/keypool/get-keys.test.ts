import { randomBytes } from 'node:crypto'
import { type ClientHttp2Stream, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { type Client, type ClientDuplexStream, type ClientReadableStream, status as grpcStatus } from '@grpc/grpc-js'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { KEYSERVER_PROTO } from '../../src/keypool/index.ts'
import {
  type GetKeyRequest,
  type GetKeysReply,
  type GetKeysRequest,
  keyServerService,
  type SentBlock,
} from '../../src/keypool/messages.ts'
import { decodeFields } from '../../src/keypool/protobuf-fields.ts'
import { bareClient, connect, getKey, lengthOf, pemOf, serve, until } from './key-lab.ts'

const INSTANCE = 'one'
type Tap = { readonly teardown: (action: () => unknown) => unknown }

/** Opens Blocks as the process INSTANCE; settles when the server knows of it. */
async function openBlocks(
  t: Tap,
  client: Client,
  link = 0,
  together = false,
): Promise<ClientReadableStream<SentBlock>> {
  const { path, requestSerialize, responseDeserialize } = keyServerService.blocks
  const request = { links: [link], have: [], instance: INSTANCE, together }
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
  call.on('error', () => {})
  t.teardown(() => call.cancel())
  await new Promise((resolve) => call.once('metadata', resolve))
  return call
}

type Asking = {
  readonly call: ClientDuplexStream<GetKeysRequest, GetKeysReply>
  readonly replies: GetKeysReply[]
  readonly ended: Promise<number>
}

function openGetKeys(t: Tap, client: Client): Asking {
  const { path, requestSerialize, responseDeserialize } = keyServerService.getKeys
  const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
  const replies: GetKeysReply[] = []
  call.on('data', (reply: GetKeysReply) => replies.push(reply))
  call.on('error', () => {})
  t.teardown(() => call.cancel())
  return { call, replies, ended: new Promise((resolve) => call.on('status', ({ code }) => resolve(code))) }
}

t.test('what is written by hand is what the published proto file says', async (t) => {
  const { root } = protobuf.parse(KEYSERVER_PROTO)
  const number = fc.oneof(fc.nat(300), fc.nat(2 ** 47 - 1))
  const uint32 = fc.nat(2 ** 32 - 1)
  const property = fc.property(
    fc.tuple(uint32, uint32, number, fc.string(), number, fc.string(), uint32, fc.uint8Array({ maxLength: 80 })),
    ([channel, slots, slot, instance, topUpToSlot, quota, request, key]) => {
      const getKey = { channel, slots, upToSlot: slot + 1, instance, topUpToSlot, quota }
      const bytes = Uint8Array.from({ length: 4 * key.length }, (_, index) => index)
      const messages = [
        [keyServerService.getKeys.requestSerialize({ request, getKey, waitMs: slots }), 'GetKeysRequest'],
        [
          keyServerService.getKeys.responseSerialize({ request, code: 8, details: quota, assignedSlots: slot }),
          'GetKeysReply',
        ],
        [keyServerService.blocks.responseSerialize({ channel, slot, bytes: bytes.slice() }), 'KeyBlock'],
      ] as const
      const [asked, replied, block] = messages.map(([octets, name]) => {
        const type = root.lookupType(`q104.v1.${name}`)
        const read = type.toObject(type.decode(octets), { longs: Number, defaults: true })
        return { read, again: Buffer.from(type.encode(type.fromObject(read)).finish()) }
      })
      const { getKeys, blocks } = keyServerService
      const same = (one: unknown, other: unknown): void => {
        if (JSON.stringify(one) !== JSON.stringify(other))
          throw new Error(`${JSON.stringify(one)} is not ${JSON.stringify(other)}`)
      }
      const { getKey: read = {}, ...rest } = (asked?.read ?? {}) as { getKey?: object }
      same({ ...rest, getKey: { ...getKey, ...read } }, { further: [], request, waitMs: slots, quiet: false, getKey })
      same(replied?.read, { request, code: 8, details: quota, assignedSlots: slot })
      const there = getKeys.requestDeserialize(asked?.again ?? Buffer.alloc(0))
      same([there.request, there.waitMs, there.getKey.upToSlot], [request, slots, slot + 1])
      same(getKeys.responseDeserialize(replied?.again ?? Buffer.alloc(0)), replied?.read)
      same(Object.values(blocks.responseDeserialize(block?.again ?? Buffer.alloc(0))), [channel, slot, bytes])
    },
  )
  t.doesNotThrow(() => fc.assert(property))
})

t.test('what comes together is what the published proto file says', async (t) => {
  const { root } = protobuf.parse(KEYSERVER_PROTO)
  const { getKeys, blocks } = keyServerService
  const read = (name: string, octets: Uint8Array): Record<string, unknown> => {
    const type = root.lookupType(`q104.v1.${name}`)
    return type.toObject(type.decode(octets), { longs: Number })
  }
  const again = (name: string, fields: object): Buffer => {
    const type = root.lookupType(`q104.v1.${name}`)
    return Buffer.from(type.encode(type.fromObject(fields)).finish())
  }
  const property = fc.property(
    fc.array(fc.tuple(fc.nat(2 ** 32 - 1), fc.boolean(), fc.nat(40)), { minLength: 1, maxLength: 20 }),
    (entries) => {
      const questions = entries.map(([request, quiet, channel]) => {
        const getKey = { channel, slots: 3, upToSlot: request + 1, instance: INSTANCE, topUpToSlot: 0, quota: '' }
        return { request, getKey, waitMs: 7, quiet }
      })
      const [question = { request: 0, waitMs: 0, getKey: { channel: 0, slots: 0 } }, ...further] = questions
      const asked = getKeys.requestSerialize({ ...question, further })
      const back = getKeys.requestDeserialize(again('GetKeysRequest', read('GetKeysRequest', asked)))
      const gist = ({ request, quiet = false, getKey }: GetKeysRequest): unknown[] => [
        ...[request, quiet, getKey.channel, getKey.upToSlot, getKey.instance],
      ]
      if (JSON.stringify([back, ...(back.further ?? [])].map(gist)) !== JSON.stringify(questions.map(gist)))
        return false
      const sent = entries.map(([slot, , channel]) => ({
        channel,
        slot,
        bytes: new Uint8Array(4 * channel).fill(slot),
      }))
      const copies = sent.map((block) => ({ ...block, bytes: block.bytes.slice() }))
      const [block = { channel: 0, slot: 0, bytes: new Uint8Array(0) }, ...others] = sent
      const message = blocks.responseSerialize({ ...block, further: others })
      if (sent.some(({ bytes }) => bytes.some((octet) => octet !== 0))) return false
      const octets = again('KeyBlock', read('KeyBlock', message))
      const { further: rest = [], ...first } = blocks.responseDeserialize(octets)
      return octets.every((octet) => octet === 0) && JSON.stringify([first, ...rest]) === JSON.stringify(copies)
    },
  )
  t.doesNotThrow(() => fc.assert(property))
  const uses = [
    { channel: 3, heldSlots: 2 ** 40, usedSlots: 7, discardedSlots: 1 },
    { channel: 0, heldSlots: 0, usedSlots: 0, discardedSlots: 0 },
  ]
  const { reportUse } = keyServerService
  const report = again('ReportUseRequest', read('ReportUseRequest', reportUse.requestSerialize({ uses })))
  t.same(reportUse.requestDeserialize(report), { uses })
  const question = { request: 1, waitMs: 0, getKey: { channel: 0, slots: 1 } }
  const tooMany = getKeys.requestSerialize({ ...question, further: Array.from({ length: 256 }, () => question) })
  t.throws(() => getKeys.requestDeserialize(tooMany), /too many questions/)
})

t.test('octets that are no message are refused, whatever they are', async (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 40 }), (octets) => {
    try {
      decodeFields(octets, () => {})
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
  for (const hex of ['08', '0a05', '0880808080808080808080808001', '0b', '00', '0d0102']) {
    t.throws(() => decodeFields(Buffer.from(hex, 'hex'), () => {}), RangeError, hex)
  }
  // A double, a fixed32, an unknown field and a known one of another type are passed over.
  const known: unknown[] = []
  decodeFields(Buffer.from('0900000000000000001500000000980601220178', 'hex'), (field) => known.push(field))
  t.same(known, [99, 4])
})

t.test('questions on a stream are granted, wait, and are refused by the codes of GetKey, and it goes on', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const client = bareClient(t, server.port, pemOf('master'))
  const { call, replies, ended } = openGetKeys(t, client)
  const ask = (request: number, getKey: Partial<GetKeysRequest['getKey']>, waitMs = 5000): void => {
    call.write({ request, waitMs, getKey: { channel: 0, slots: 4, instance: INSTANCE, ...getKey } })
  }
  const answer = async (request: number): Promise<unknown> => {
    await until(() => replies.some((reply) => reply.request === request))
    const { code, assignedSlots } = replies.find((reply) => reply.request === request) ?? {}
    return code === 0 ? { assignedSlots } : code
  }
  ask(1, {})
  t.equal(await answer(1), grpcStatus.FAILED_PRECONDITION, 'no Blocks stream yet')
  const blocks = await openBlocks(t, client)
  const got: number[] = []
  blocks.on('data', ({ slot, bytes }: SentBlock) => got.push(slot, bytes.length))
  ask(2, { upToSlot: 4 }, 200)
  t.equal(await answer(2), grpcStatus.RESOURCE_EXHAUSTED, 'no key in its time')
  ask(3, { upToSlot: 8 })
  server.feed({ kind: 'generated', link: 0, bits: 32 * 20 })
  t.same(await answer(3), { assignedSlots: 8 })
  t.ok(await until(() => got.length >= 2))
  const { usedBits, reservedBits } = server.node.books()
  t.same([usedBits, reservedBits], [0, 32 * 8])
  ask(10, { slots: 0 })
  ask(11, { slots: 65_537 })
  ask(12, { channel: 99 })
  ask(13, { channel: 1 })
  ask(14, { instance: '' })
  ask(15, { instance: 'another' })
  ask(16, { quota: 'nobody' })
  ask(17, { upToSlot: 2 ** 53 - 1 })
  ask(18, { channel: 3 })
  t.same(await Promise.all([10, 11, 12, 13, 14, 15, 16, 17, 18].map(answer)), [
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.NOT_FOUND,
    grpcStatus.PERMISSION_DENIED,
    grpcStatus.FAILED_PRECONDITION,
    grpcStatus.FAILED_PRECONDITION,
    grpcStatus.PERMISSION_DENIED,
    grpcStatus.INVALID_ARGUMENT,
    grpcStatus.PERMISSION_DENIED,
  ])
  t.equal(server.node.books().reservedBits, 32 * 8, 'nothing was assigned for them')
  ask(20, { upToSlot: 3 })
  ask(21, { slots: 5 })
  ask(22, { slots: 5 })
  t.same(await Promise.all([20, 21, 22].map(answer)), [
    { assignedSlots: 8 },
    { assignedSlots: 13 },
    { assignedSlots: 18 },
  ])
  call.end()
  t.equal(await ended, grpcStatus.OK)
  t.equal(replies.length, 15)
})

t.test('a third node is told so, and octets that are no question end the stream alone', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 3200 })
  const rtu = bareClient(t, server.port, pemOf('rtu'))
  await openBlocks(t, rtu, 1)
  const stranger = openGetKeys(t, rtu)
  stranger.call.write({ request: 1, waitMs: 100, getKey: { channel: 0, slots: 1, instance: INSTANCE } })
  t.ok(await until(() => stranger.replies[0]?.code === grpcStatus.PERMISSION_DENIED))
  const master = bareClient(t, server.port, pemOf('master'))
  const raw = (value: Buffer): Buffer => value
  for (const octets of [Buffer.from('ffffffff', 'hex'), randomBytes(300), Buffer.alloc(100_000)]) {
    const call = master.makeBidiStreamRequest(keyServerService.getKeys.path, raw, raw)
    call.on('data', () => {})
    call.on('error', () => {})
    const ended = new Promise((resolve) => call.on('status', ({ code }) => resolve(code)))
    call.write(octets)
    t.not(await ended, grpcStatus.OK)
  }
  t.match(await getKey(master, { channel: 0, slots: 1 }), { assignedSlots: 1 }, 'it still serves')
})

t.test('questions of both kinds that wait share one bound, and go with their stream', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  const client = bareClient(t, server.port, pemOf('master'))
  await openBlocks(t, client)
  const { call, replies } = openGetKeys(t, client)
  for (let request = 0; request < 300; request++) {
    call.write({ request, waitMs: 60_000, getKey: { channel: 0, slots: 1, upToSlot: 5, instance: INSTANCE } })
  }
  t.ok(await until(() => replies.length === 44))
  t.ok(replies.every(({ code }) => code === grpcStatus.RESOURCE_EXHAUSTED))
  t.equal(await getKey(client, { channel: 0, slots: 1, upToSlot: 5 }, 500), grpcStatus.RESOURCE_EXHAUSTED)
  call.cancel()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const waiting = getKey(client, { channel: 0, slots: 1, upToSlot: 5, instance: INSTANCE }, 4000)
  await new Promise((resolve) => setTimeout(resolve, 20))
  server.feed({ kind: 'generated', link: 0, bits: 3200 })
  t.match(await waiting, { assignedSlots: 5 }, 'there is room again')
})

t.test('a node that asks without end is held to its budget, and does not stop the others', async (t) => {
  const server = await serve(0, { serve: { maxCallsPerS: 100 } })
  t.teardown(server.close)
  const gw = connect(t, server.port, 'gw', [0])
  await gw.client.ready
  server.feed({ kind: 'generated', link: 0, bits: 3_200_000 })
  const client = bareClient(t, server.port, pemOf('master'))
  await openBlocks(t, client)
  const { call, replies } = openGetKeys(t, client)
  const startMs = performance.now()
  for (let request = 0; request < 20_000; request++) {
    call.write({ request, waitMs: 0, getKey: { channel: 0, slots: 1, upToSlot: 1, instance: INSTANCE } })
  }
  gw.client.fetch(1, 5)
  t.ok(await until(() => lengthOf(gw, 1) === 5))
  await new Promise((resolve) => setTimeout(resolve, 500))
  const tookS = (performance.now() - startMs) / 1000
  const granted = replies.filter(({ code }) => code === 0).length
  const refused = replies.filter(({ code }) => code === grpcStatus.RESOURCE_EXHAUSTED).length
  t.equal(granted + refused, replies.length)
  t.ok(granted >= 80 && granted <= 100 + 100 * tookS, `${granted} granted in ${tookS.toFixed(2)} s`)
  t.ok(refused > 0 && refused <= 1 + 20 * tookS, `${refused} refused: beyond its budget it is not even read`)
})

/** GetKeys on bare HTTP/2, which reads no answer. */
function deafAsker(t: Tap, port: number): ClientHttp2Stream {
  const { caPem, certPem, keyPem } = pemOf('master')
  const tls = { ca: caPem, cert: certPem, key: keyPem, servername: 'keyserver' }
  const session = connectHttp2(`https://127.0.0.1:${port}`, tls)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const headers = { ':method': 'POST', ':path': keyServerService.getKeys.path }
  const stream = session.request({ ...headers, 'content-type': 'application/grpc', te: 'trailers' })
  stream.on('error', () => {})
  return stream
}

t.test('one that reads no answers is not read either, and is cut off', async (t) => {
  const server = await serve(0, { serve: { slowReaderMs: 400, maxCallsPerS: 1e9 } })
  t.teardown(server.close)
  const deaf = deafAsker(t, server.port)
  await new Promise((resolve) => deaf.once('response', resolve))
  const trailers = new Promise<IncomingHttpHeaders>((resolve) => deaf.once('trailers', resolve))
  const body = keyServerService.getKeys.requestSerialize({
    ...{ request: 1, waitMs: 0 },
    getKey: { channel: 0, slots: 1, instance: 'x'.repeat(400) },
  })
  const frame = Buffer.concat([Buffer.alloc(5), body])
  frame.writeUInt32BE(body.length, 1)
  let taken = 0
  const many = Buffer.concat(Array.from({ length: 100 }, () => frame))
  for (let round = 0; round < 150 && !deaf.destroyed; round++) deaf.write(many, () => taken++)
  // The server's own rounds of 100 ms are counted, not time: a slow machine has fewer of them.
  for (let rounds = 0, before = -1; rounds < 12; before = taken) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    rounds = taken === before ? rounds + 1 : 0
  }
  t.ok(taken < 50, `${100 * taken} of 15000 questions were taken`)
  let gotBytes = 0
  deaf.on('data', (bytes: Buffer) => {
    gotBytes += bytes.length
  })
  t.match(await trailers, { 'grpc-status': `${grpcStatus.RESOURCE_EXHAUSTED}` })
  t.ok(gotBytes < 300_000, `${gotBytes} octets of answers were kept`)
})

t.test('questions in one message are answered each; a quiet one that is granted by its key alone', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 32 * 8 })
  const client = bareClient(t, server.port, pemOf('master'))
  const blocks = await openBlocks(t, client, 0, true)
  const got: (readonly [slot: number, sizeBytes: number])[] = []
  blocks.on('data', ({ slot, bytes }: SentBlock) => got.push([slot, bytes.length]))
  const { call, replies } = openGetKeys(t, client)
  const question = (request: number, getKey: Partial<GetKeyRequest>, waitMs = 5000, quiet = true) => {
    return { request, waitMs, quiet, getKey: { channel: 0, slots: 4, instance: INSTANCE, ...getKey } }
  }
  call.write({
    ...question(1, { upToSlot: 4 }),
    further: [
      question(2, { channel: 99 }),
      question(3, { upToSlot: 2 }),
      question(4, { upToSlot: 8 }, 5000, false),
      question(5, { upToSlot: 12 }, 100),
      question(6, { upToSlot: 13 }),
    ],
  })
  t.ok(await until(() => replies.length === 4))
  const codes = new Map(replies.map(({ request, code, assignedSlots }) => [request, [code, assignedSlots]]))
  t.same(codes.get(2), [grpcStatus.NOT_FOUND, 0])
  t.same(codes.get(3), [grpcStatus.OK, 4], 'what is there already does not come again')
  t.same(codes.get(4), [grpcStatus.OK, 8])
  t.same(codes.get(5), [grpcStatus.RESOURCE_EXHAUSTED, 0])
  server.feed({ kind: 'generated', link: 0, bits: 32 * 8 })
  t.ok(await until(() => got.length === 3))
  t.same(got, [
    [0, 16],
    [4, 16],
    [8, 20],
  ])
  t.equal(replies.length, 4)
})

t.test('blocks that come together go in one message to who reads such, one by one to others', async (t) => {
  const server = await serve()
  t.teardown(server.close)
  server.feed({ kind: 'generated', link: 0, bits: 32 * 100 })
  const master = connect(t, server.port, 'master', [0])
  await master.client.ready
  for (let slot = 1; slot <= 20; slot++) {
    master.client.fetch(0, slot)
    await until(() => lengthOf(master, 0) === slot)
  }
  const client = bareClient(t, server.port, pemOf('gw'))
  const messages = async (together: boolean): Promise<number[]> => {
    const counts: number[] = []
    let slots = 0
    const call = await openBlocks(t, client, 0, together)
    call.on('data', ({ further = [] }: SentBlock) => {
      counts.push(1 + further.length)
      slots += 1 + further.length
    })
    await until(() => slots === 20)
    call.cancel()
    return counts
  }
  t.same(await messages(true), [20])
  t.same(await messages(false), Array(20).fill(1))
})

t.test(
  'KeyClient asks in one message what is asked in one go, and what is asked while it waits for an answer',
  async (t) => {
    const links = Array.from({ length: 8 }, (_, link) => ({
      link,
      ends: ['master', 'gw'] as const,
      keys: 'pool' as const,
    }))
    const server = await serve(0, { pool: { links } })
    t.teardown(server.close)
    const asked: number[] = []
    const handle = server.node.handle.bind(server.node)
    server.node.handle = (input, nowMs) => {
      if (input.kind === 'wants') asked.push(input.wants.length)
      return handle(input, nowMs)
    }
    const all = links.map(({ link }) => link)
    const [master, gw] = ['master', 'gw'].map((id) => connect(t, server.port, id, all))
    if (master === undefined || gw === undefined) throw new Error('no clients')
    await Promise.all([master.client.ready, gw.client.ready])
    const reach = (slots: number, count = all.length): boolean =>
      [master, gw].every((end) => all.slice(0, count).every((link) => lengthOf(end, 2 * link) === slots))
    server.feed({ kind: 'generated', link: 0, bits: 32 * 200 })
    for (const link of all) master.client.fetch(2 * link, 4)
    t.ok(await until(() => reach(4)))
    t.same(asked.splice(0), [8])
    master.client.fetch(0, 8)
    await new Promise((resolve) => process.nextTick(resolve))
    for (const link of all.slice(1)) master.client.fetch(2 * link, 8)
    t.ok(await until(() => reach(8)))
    // The server may find both messages at once.
    t.match(asked.splice(0).join(' '), /^(1 7|8)$/)
    // More than there is: nobody answers, and what is asked then is asked all the same; for the top chain at once.
    master.client.fetch(0, 400)
    t.ok(await until(() => asked.length >= 1))
    master.client.fetch(2, 30)
    await new Promise((resolve) => process.nextTick(resolve))
    master.client.fetch(4, 30, { topUpToSlot: 30 })
    t.ok(await until(() => asked.reduce((sum, count) => sum + count, 0) >= 3))
    server.feed({ kind: 'generated', link: 0, bits: 32 * 1000 })
    t.ok(await until(() => lengthOf(gw, 0) === 400 && lengthOf(gw, 2) === 30 && lengthOf(gw, 4) === 30))
    for (const link of all) t.same(master.bytes.get(2 * link), gw.bytes.get(2 * link))
    t.same([...master.faults, ...gw.faults, ...master.refused], [])
  },
)
