import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { makeLabCa } from '../../src/keypool/ca.ts'
import { Etsi014Client, type Etsi014ClientOptions, Etsi014Error } from '../../src/keypool/etsi014-client.ts'
import { fromBase64, readKeyContainer, toBase64, writeKeyContainer } from '../../src/keypool/etsi014-container.ts'
import { Etsi014Manager, type Etsi014ManagerOptions } from '../../src/keypool/etsi014-manager.ts'
import { ETSI014_TEXTS, Etsi014Key } from '../../src/keypool/etsi014-messages.ts'
import { OctetQueue } from '../../src/keypool/etsi014-octets.ts'
import { RateMeter } from '../../src/keypool/etsi014-rate.ts'
import { type Etsi014ServeOptions, serveEtsi014 } from '../../src/keypool/etsi014-server.ts'
import { Etsi014Source, type Etsi014SourceState } from '../../src/keypool/etsi014-source.ts'
import { Etsi014MemoryStore } from '../../src/keypool/etsi014-store.ts'
import { KeyPool } from '../../src/keypool/pure.ts'

const SAES = ['sae-a', 'sae-b', 'sae-c']
const ca = await makeLabCa(['kme', 'stranger', ...SAES], Date.now())
const otherCa = await makeLabCa(['sae-a'], Date.now())
const dir = mkdtempSync(join(tmpdir(), 'q104-etsi014-'))
t.teardown(() => rmSync(dir, { recursive: true }))
writeFileSync(join(dir, 'ca.pem'), ca.caPem)
for (const [id, { certPem, keyPem }] of ca.nodes) {
  writeFileSync(join(dir, `${id}.pem`), certPem)
  writeFileSync(join(dir, `${id}.key.pem`), keyPem, { mode: 0o600 })
}

type Tap = { teardown: (action: () => unknown) => unknown }
type Kme = {
  port: number
  manager: Etsi014Manager
  store: Etsi014MemoryStore
  close: () => Promise<void>
  lines: string[]
  /** Key that was put into the store, in order. */
  given: Buffer
}

function pemOf(id: string, lab = ca): { caPem: string; certPem: string; keyPem: string } {
  const { certPem = '', keyPem = '' } = lab.nodes.get(id) ?? {}
  return { caPem: ca.caPem, certPem, keyPem }
}

async function serve(
  t: Tap,
  bytes: number,
  options: Partial<Etsi014ManagerOptions> & { serve?: Partial<Etsi014ServeOptions> } = {},
): Promise<Kme> {
  const { serve: serveOptions, ...managerOptions } = options
  const store = new Etsi014MemoryStore(8_000_000)
  const given = randomBytes(bytes)
  store.add('sae-a', 'sae-b', Uint8Array.from(given))
  const manager = new Etsi014Manager({
    kmeId: 'kme',
    saes: SAES.map((saeId) => ({ saeId })),
    store,
    newKeyId: randomUUID,
    extensions: new Map([['route_type', (value) => value === 'direct']]),
    ...managerOptions,
  })
  const lines: string[] = []
  const server = await serveEtsi014({
    manager,
    host: '127.0.0.1',
    port: 0,
    tls: pemOf('kme'),
    nowMs: () => performance.now(),
    onCall: (call) => lines.push(JSON.stringify(call)),
    ...serveOptions,
  })
  t.teardown(server.close)
  return { ...server, manager, store, lines, given }
}

function clientOf(t: Tap, port: number, id: string, options: Partial<Etsi014ClientOptions> = {}): Etsi014Client {
  const client = new Etsi014Client({ url: `https://127.0.0.1:${port}`, ...pemOf(id), backoffMs: 5, ...options })
  t.teardown(() => client.close())
  return client
}

type Reply = { status: number; text: string; exitCode: number }

/** The command that docs/etsi014.md shows. */
function curl(id: string, url: string, args: readonly string[] = []): Promise<Reply> {
  const all = [
    ...['--silent', '--max-time', '5', '--cacert', join(dir, 'ca.pem')],
    ...(id === '' ? [] : ['--cert', join(dir, `${id}.pem`), '--key', join(dir, `${id}.key.pem`)]),
    ...['--write-out', '\n%{http_code}', ...args, url],
  ]
  return new Promise((resolve) => {
    execFile('curl', all, (error, stdout) => {
      const at = stdout.lastIndexOf('\n')
      const exitCode = error === null ? 0 : Number(error.code)
      resolve({ status: Number(stdout.slice(at + 1)), text: stdout.slice(0, at), exitCode })
    })
  })
}

function post(body: unknown): readonly string[] {
  return [
    '--header',
    'Content-Type: application/json',
    '--data',
    typeof body === 'string' ? body : JSON.stringify(body),
  ]
}

async function until(condition: () => boolean, limitMs = 5000): Promise<boolean> {
  const endMs = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > endMs) return false
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return true
}

async function faultOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'none'
  } catch (error) {
    return error instanceof Etsi014Error ? `${error.fault.kind} ${error.message}` : `other ${String(error)}`
  }
}

t.test('curl walks every method, and both SAEs get equal keys once', async (t) => {
  const kme = await serve(t, 1000)
  const [asA, asB] = [
    `https://127.0.0.1:${kme.port}/api/v1/keys/sae-b`,
    `https://127.0.0.1:${kme.port}/api/v1/keys/sae-a`,
  ]
  const bodies: Uint8Array[] = []
  const answer = kme.manager.answer.bind(kme.manager)
  kme.manager.answer = (...args) => {
    const given = answer(...args)
    if (given.body !== undefined) bodies.push(given.body)
    return given
  }
  const status = await curl('sae-a', `${asA}/status`)
  t.equal(status.status, 200)
  t.same(JSON.parse(status.text), {
    source_KME_ID: 'kme',
    target_KME_ID: 'kme',
    master_SAE_ID: 'sae-a',
    slave_SAE_ID: 'sae-b',
    key_size: 256,
    stored_key_count: 31,
    max_key_count: 31_250,
    max_key_per_request: 128,
    max_key_size: 65_536,
    min_key_size: 64,
    max_SAE_ID_count: 4,
  })
  const byGet = JSON.parse((await curl('sae-a', `${asA}/enc_keys?number=2&size=128`)).text)
  const byPost = JSON.parse((await curl('sae-a', `${asA}/enc_keys`, post({ number: 3, size: 1024 }))).text)
  const byDefault = JSON.parse((await curl('sae-a', `${asA}/enc_keys`)).text)
  const keys = [...byGet.keys, ...byPost.keys, ...byDefault.keys]
  t.same(
    keys.map(({ key }) => Buffer.from(key, 'base64').length),
    [16, 16, 128, 128, 128, 32],
  )
  t.ok(Buffer.concat(keys.map(({ key }) => Buffer.from(key, 'base64'))).equals(kme.given.subarray(0, 448)))
  t.equal(JSON.parse((await curl('sae-a', `${asA}/status`)).text).stored_key_count, 17, 'delivered keys have left')

  const first = await curl('sae-b', `${asB}/dec_keys?key_ID=${keys[0].key_ID}`)
  t.same(JSON.parse(first.text), { keys: [keys[0]] })
  const rest = { key_IDs: keys.slice(1).map(({ key_ID }) => ({ key_ID })) }
  t.same(JSON.parse((await curl('sae-b', `${asB}/dec_keys`, post(rest))).text), { keys: keys.slice(1) })
  t.equal(kme.manager.waitingKeys, 0)
  const again = await curl('sae-b', `${asB}/dec_keys`, post(rest))
  t.same([again.status, JSON.parse(again.text).message], [400, ETSI014_TEXTS.keyNotFound])
  t.ok(
    await until(() => bodies.flatMap((body) => [...body]).every((octet) => octet === 0)),
    'sent bodies are overwritten',
  )
  t.equal(bodies.length, 8)
  t.notOk(keys.some(({ key, key_ID }) => kme.lines.join().includes(key) || kme.lines.join().includes(key_ID)))
})

t.test('every refusal has its code and text', async (t) => {
  const kme = await serve(t, 64)
  const url = (peer: string, call: string): string => `https://127.0.0.1:${kme.port}/api/v1/keys/${peer}/${call}`
  const enc = url('sae-b', 'enc_keys')
  const cases: [string, string, readonly string[], number, string][] = [
    ['sae-a', enc, post({ size: 250 }), 400, 'size shall be a multiple of 8'],
    ['sae-a', `${enc}?size=7`, [], 400, 'size shall be a multiple of 8'],
    [
      'sae-a',
      enc,
      post({ extension_mandatory: [{ abc_route_type: 'direct' }] }),
      400,
      'not all extension_mandatory parameters are supported',
    ],
    [
      'sae-a',
      enc,
      post({ extension_mandatory: [{ route_type: 'relayed' }] }),
      400,
      'not all extension_mandatory request options could be met',
    ],
    [
      'sae-b',
      url('sae-a', 'dec_keys'),
      post({ key_IDs: [{ key_ID: randomUUID() }] }),
      400,
      'one or more keys specified are not found on KME',
    ],
    ['sae-b', url('sae-a', `dec_keys?key_ID=${randomUUID()}`), [], 400, ETSI014_TEXTS.keyNotFound],
    ['sae-b', url('sae-a', 'dec_keys'), [], 400, 'a key_ID is missing or not a valid one'],
    ['sae-b', url('sae-a', 'dec_keys'), post({}), 400, 'key_IDs is not a list of 1 to 1024 key IDs'],
    [
      'sae-b',
      url('sae-a', 'dec_keys'),
      post({ key_IDs: [{ key_ID: 'x' }, { key_ID: 'X' }] }),
      400,
      'a key_ID is named twice',
    ],
    ['sae-a', enc, post('{"number":'), 400, 'the body is not JSON in UTF-8'],
    ['sae-a', enc, post('[]'), 400, 'the body is not a JSON object'],
    ['sae-a', enc, post({ number: 0 }), 400, 'number is not in 1 to 128'],
    ['sae-a', enc, post({ number: 129 }), 400, 'number is not in 1 to 128'],
    ['sae-a', enc, post({ number: -1 }), 400, 'number is not a whole number'],
    ['sae-a', enc, post({ number: '2' }), 400, 'number is not a whole number'],
    ['sae-a', enc, post({ size: 1.5 }), 400, 'size is not a whole number'],
    ['sae-a', enc, post({ size: 56 }), 400, 'size is not in 64 to 65536'],
    ['sae-a', `${enc}?number=1e3`, [], 400, 'number is not a whole number'],
    ['sae-a', `${enc}?number=1&number=1`, [], 400, 'a parameter is given twice'],
    ['sae-a', `${enc}?extension_mandatory=1`, [], 400, 'a GET knows number and size alone; use POST'],
    ['sae-a', enc, post({ extension_mandatory: {} }), 400, 'extension_mandatory is not a list of name and value pairs'],
    [
      'sae-a',
      enc,
      post({ additional_slave_SAE_IDs: ['a b'] }),
      400,
      'additional_slave_SAE_IDs is not a list of SAE IDs',
    ],
    ['sae-a', enc, post({ additional_slave_SAE_IDs: ['nobody'] }), 400, 'a slave_SAE_ID is not known to this KME'],
    ['sae-a', url('nobody', 'status'), [], 400, 'a slave_SAE_ID is not known to this KME'],
    ['sae-a', url('sae-a', 'enc_keys'), [], 400, 'an SAE cannot be its own slave'],
    ['sae-a', url('sae-b', 'status'), post({}), 400, 'status is called by GET'],
    ['sae-a', enc, ['--request', 'DELETE'], 400, 'enc_keys is called by GET or POST'],
    [
      'sae-a',
      `https://127.0.0.1:${kme.port}/api/v2/keys`,
      [],
      400,
      'the path is not /api/v1/keys/SAE_ID/ and one of status, enc_keys, dec_keys',
    ],
    ['sae-a', url('%ff', 'status'), [], 400, 'the SAE ID in the path is not a valid one'],
    ['sae-a', enc, post('x'.repeat(70_000)), 400, 'the body is longer than 65536 octets'],
    ['sae-a', enc, ['--header', `X: ${'x'.repeat(9000)}`], 400, 'not a request that this KME understands'],
    ['sae-a', enc, post({ number: 3 }), 503, 'not enough key at present'],
  ]
  const found: unknown[] = []
  for (const [id, target, args] of cases) {
    const { status, text } = await curl(id, target, args)
    found.push([status, JSON.parse(text).message])
  }
  t.same(
    found,
    cases.map(([, , , status, message]) => [status, message]),
  )
  t.equal(kme.store.stock('sae-a', 'sae-b').availableBits, 512, 'a refusal costs no key')
})

t.test('SAEs that a key is not for get 401 without a body, and nobody else gets past TLS', async (t) => {
  const kme = await serve(t, 64, { mayShare: (master, slave) => `${master} ${slave}` !== 'sae-c sae-b' })
  const url = (peer: string, call: string): string => `https://127.0.0.1:${kme.port}/api/v1/keys/${peer}/${call}`
  const { keys } = JSON.parse((await curl('sae-a', url('sae-b', 'enc_keys'))).text)
  const dec = url('sae-a', `dec_keys?key_ID=${keys[0].key_ID}`)
  t.same(await curl('sae-c', dec), { status: 401, text: '', exitCode: 0 }, 'a third SAE')
  t.same(await curl('sae-a', dec), { status: 401, text: '', exitCode: 0 }, 'the master itself')
  t.same(await curl('stranger', dec), { status: 401, text: '', exitCode: 0 }, 'a certificate that is no SAE’s')
  t.same(
    await curl('sae-c', url('sae-b', 'status')),
    { status: 401, text: '', exitCode: 0 },
    'a pair that shares no key',
  )
  const bare = await curl('', dec)
  t.match({ ...bare, failed: bare.exitCode !== 0 }, { status: 0, failed: true }, 'no certificate')
  const foreign = clientOf(t, kme.port, 'sae-a', { ...pemOf('sae-a', otherCa), maxTries: 1 })
  t.match(await faultOf(foreign.status('sae-b')), /^unreachable/, 'another authority')
  const fromWrongMaster = await curl('sae-b', url('sae-c', `dec_keys?key_ID=${keys[0].key_ID}`))
  t.equal(JSON.parse(fromWrongMaster.text).message, ETSI014_TEXTS.keyNotFound)
  t.same(JSON.parse((await curl('sae-b', dec)).text), { keys }, 'and the slave still gets it')
})

t.test('additional slaves get the key once each; then it is gone', async (t) => {
  const kme = await serve(t, 64)
  const [a, b, c] = SAES.map((id) => clientOf(t, kme.port, id)) as [Etsi014Client, Etsi014Client, Etsi014Client]
  const [key] = await a.encKeys('sae-b', { additionalSlaveSaeIds: ['sae-c', 'sae-b'] })
  const keyIds = [key?.keyId.toUpperCase() ?? '']
  const [atB] = await b.decKeys('sae-a', keyIds)
  t.match(await faultOf(b.decKeys('sae-a', keyIds)), /refused dec_keys: refused: one or more keys/)
  const [atC] = await c.decKeys('sae-a', keyIds)
  t.same([atB?.bytes, atC?.bytes], [key?.bytes, key?.bytes])
  t.match(await faultOf(c.decKeys('sae-a', keyIds)), ETSI014_TEXTS.keyNotFound)
  t.equal(kme.manager.waitingKeys, 0)
})

t.test('dec_keys is all or nothing', async (t) => {
  const kme = await serve(t, 64)
  const [a, b] = [clientOf(t, kme.port, 'sae-a'), clientOf(t, kme.port, 'sae-b')]
  const ids = (await a.encKeys('sae-b', { number: 2 })).map(({ keyId }) => keyId)
  t.match(await faultOf(b.decKeys('sae-a', [...ids, randomUUID()])), ETSI014_TEXTS.keyNotFound)
  t.equal((await b.decKeys('sae-a', ids.reverse())).length, 2)
})

t.test('keys that nobody fetches are bounded and overwritten after their time', async (t) => {
  const store = new Etsi014MemoryStore(8_000_000)
  store.add('sae-a', 'sae-b', randomBytes(1000))
  const saes = SAES.map((saeId) => ({ saeId }))
  const manager = new Etsi014Manager({
    kmeId: 'k',
    saes,
    store,
    newKeyId: randomUUID,
    maxWaitingBits: 1024,
    waitingLifeMs: 60_000,
  })
  const enc = { saeId: 'sae-a', method: 'GET', target: '/api/v1/keys/sae-b/enc_keys?number=3', body: new Uint8Array(0) }
  t.equal(manager.answer(enc, 0).status, 200)
  t.equal(manager.answer(enc, 59_000).status, 503)
  t.equal(manager.waitingKeys, 3, 'a later batch does not push out an earlier one')
  t.equal(manager.answer(enc, 60_000).status, 200)
  t.same([manager.waitingKeys, manager.counts().keysExpired], [3, 3])
  manager.close()
  t.equal(manager.waitingKeys, 0)
})

t.test('whatever the body or the target, the manager answers with a code of the standard', async () => {
  const store = new Etsi014MemoryStore(80_000_000)
  store.add('sae-a', 'sae-b', randomBytes(1_000_000))
  const manager = new Etsi014Manager({
    kmeId: 'k',
    saes: SAES.map((saeId) => ({ saeId })),
    store,
    newKeyId: randomUUID,
  })
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
  const member = fc.constantFrom(
    'number',
    'size',
    'key_IDs',
    'extension_mandatory',
    'additional_slave_SAE_IDs',
    '__proto__',
  )
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map(utf8),
    fc.dictionary(member, fc.jsonValue()).map((value) => utf8(JSON.stringify(value))),
  )
  const call = fc.constantFrom('status', 'enc_keys', 'dec_keys', 'enc_keys?', 'dec_keys?key_ID=')
  const target = fc.oneof(
    fc.string(),
    fc.tuple(call, fc.string()).map(([name, text]) => `/api/v1/keys/sae-b/${name}${text}`),
    call.map((name) => `/api/v1/keys/sae-b/${name}`),
  )
  const saeId = fc.constantFrom('sae-a', 'sae-a', 'sae-b', undefined)
  fc.assert(
    fc.property(saeId, fc.constantFrom('GET', 'POST', 'PUT'), target, body, (saeId, method, target, body) => {
      const answer = manager.answer({ saeId, method, target, body }, 0)
      if (answer.status === 401) return answer.body === undefined
      JSON.parse(new TextDecoder().decode(answer.body))
      return [200, 400, 503].includes(answer.status)
    }),
    { numRuns: 3000 },
  )
})

t.test('any octets over TLS leave the server serving', async (t) => {
  const kme = await serve(t, 64, { serve: { requestTimeoutMs: 300 } })
  const { certPem, keyPem } = pemOf('sae-a')
  const raw = (bytes: Uint8Array): Promise<string> =>
    new Promise((resolve) => {
      const socket = tlsConnect({ host: '127.0.0.1', port: kme.port, ca: ca.caPem, cert: certPem, key: keyPem })
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(text))
      socket.write(bytes)
      setTimeout(() => socket.end(), 100)
    })
  const heads = ['POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: k\r\n', 'GET / HTTP/1.1\r\n', '']
  const tails = [
    'Content-Length: 5\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
    'Expect: 100-continue\r\n\r\n',
    '',
  ]
  const inputs = fc.sample(
    fc.tuple(fc.constantFrom(...heads), fc.constantFrom(...tails), fc.uint8Array({ maxLength: 60 })),
    30,
  )
  const answers = await Promise.all(
    inputs.map(([head, tail, bytes]) => raw(Buffer.concat([Buffer.from(head + tail), bytes]))),
  )
  const codes = new Set(answers.flatMap((text) => /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? []))
  t.same(
    [...codes].filter((code) => !['100', '200', '400', '503'].includes(code)),
    [],
  )
  const slowStart = performance.now()
  const slow = await new Promise<boolean>((resolve) => {
    const socket = tlsConnect({ host: '127.0.0.1', port: kme.port, ca: ca.caPem, cert: certPem, key: keyPem })
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => resolve(performance.now() - slowStart < 3000))
    socket.write('POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: k\r\nContent-Length: 50\r\n\r\n{')
  })
  t.ok(slow, 'a request that never ends is ended')
  t.equal((await clientOf(t, kme.port, 'sae-a').status('sae-b')).masterSaeId, 'sae-a')
})

t.test('one SAE cannot take every connection', async (t) => {
  const kme = await serve(t, 64, { serve: { maxConnectionsPerSae: 2 } })
  const { certPem, keyPem } = pemOf('sae-a')
  let closed = 0
  const sockets = Array.from({ length: 5 }, () => {
    const socket = tlsConnect({ host: '127.0.0.1', port: kme.port, ca: ca.caPem, cert: certPem, key: keyPem })
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => closed++)
    return socket
  })
  t.ok(await until(() => closed === 3))
  t.equal((await clientOf(t, kme.port, 'sae-b').status('sae-a')).masterSaeId, 'sae-b')
  for (const socket of sockets) socket.destroy()
})

t.test('TLS older than 1.2 is refused', async (t) => {
  const kme = await serve(t, 64)
  const { exitCode } = await curl('sae-a', `https://127.0.0.1:${kme.port}/api/v1/keys/sae-b/status`, [
    '--tls-max',
    '1.1',
  ])
  t.not(exitCode, 0)
  const tls12 = await curl('sae-a', `https://127.0.0.1:${kme.port}/api/v1/keys/sae-b/status`, ['--tls-max', '1.2'])
  t.equal(tls12.status, 200)
})

t.test('the client waits out a 503 and a manager that is started again', async (t) => {
  const kme = await serve(t, 0)
  const a = clientOf(t, kme.port, 'sae-a', { maxTries: 8, backoffMs: 20 })
  t.match(
    await faultOf(clientOf(t, kme.port, 'sae-a', { maxTries: 2 }).encKeys('sae-b')),
    /unavailable.*not enough key/,
  )
  const later = a.encKeys('sae-b')
  setTimeout(() => kme.store.add('sae-a', 'sae-b', randomBytes(32)), 50)
  t.equal((await later)[0]?.bytes.length, 32)
  await kme.close()
  t.match(await faultOf(clientOf(t, kme.port, 'sae-a', { maxTries: 2 }).status('sae-b')), /unreachable.*ECONNREFUSED/)
  const back = a.status('sae-b')
  await serve(t, 64, { serve: { port: kme.port } })
  t.equal((await back).storedKeyCount, 2)
  a.close()
  t.match(await faultOf(a.status('sae-b')), /unreachable/)
})

/** A manager that answers what it likes. */
async function oddKme(t: Tap, answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<number> {
  const { certPem, keyPem } = pemOf('kme')
  const server = createServer({ cert: certPem, key: keyPem, ca: ca.caPem, requestCert: true }, (request, response) => {
    request.resume()
    request.on('end', () => answer(request, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

t.test('the client takes the answers of odd managers, or says what is wrong with them', async (t) => {
  const [idOne, idTwo] = [randomUUID(), randomUUID()]
  const key = { key_ID: idOne, key: 'AAECAw==', key_extension: { key: 'not a key' }, key_ID_extension: null }
  const answers: [string, RegExp | 'ok'][] = [
    [JSON.stringify({ Keys: [key], key_container_extension: [1] }), 'ok'],
    [`{ "keys" : [ { "key" : "AAECAw\\u003d\\u003D" , "key_ID" : "${idOne}" } ] }`, 'ok'],
    [JSON.stringify({ keys: [{ key: 'AAECAw==' }] }), /item 0 of keys has no key_ID/],
    [JSON.stringify({ keys: [{ key_ID: idOne }] }), /item 0 of keys has no key in base64/],
    [JSON.stringify({ keys: [{ key_ID: idOne, key: 0 }] }), /no key in base64/],
    [JSON.stringify({ keys: [{ key_ID: idOne, key: '' }] }), /no key in base64/],
    [JSON.stringify({ keys: [{ key_ID: idOne, key: 'AAE_' }] }), /no key in base64/],
    [JSON.stringify({ keys: [{ key_ID: idOne, key: 'AAE' }] }), /no key in base64/],
    [`{"keys":[{"key_ID":"${idOne}","k\\u0065y":"0"}],"x":{"key":"AAECAw=="}}`, 'ok'],
    [JSON.stringify({ keys: [key, { ...key, key_ID: idTwo }] }), /2 keys instead of 1/],
    [JSON.stringify({ keys: [key, key] }), /item 1 repeats a key_ID/],
    [JSON.stringify({ keys: [] }), /0 keys instead of 1/],
    [JSON.stringify({ keys: [{ ...key, key: 'AAECAwQF' }] }), /a key of 48 bits instead of 32/],
    [JSON.stringify({ keys: {} }), /no list keys/],
    ['null', /no list keys/],
    ['<html>', /not JSON in UTF-8/],
    ['', /not JSON in UTF-8/],
  ]
  let current = ''
  const port = await oddKme(t, (_, response) => response.end(current))
  const client = clientOf(t, port, 'sae-a', { maxTries: 1 })
  const found: unknown[] = []
  for (const [answer, expected] of answers) {
    current = answer
    const fault = await faultOf(client.encKeys('sae-b', { sizeBits: 32 }))
    if (expected === 'ok' ? fault !== 'none' : !expected.test(fault)) found.push([answer, fault])
  }
  t.same(found, [])
  current = JSON.stringify({ Keys: [key] })
  const [taken] = await client.encKeys('sae-b')
  t.same([taken?.keyId, ...(taken?.bytes ?? [])], [idOne, 0, 1, 2, 3])
  t.match(await faultOf(client.decKeys('sae-b', [idTwo])), /a key that was not asked for/)

  current = JSON.stringify({ key_size: 256, stored_key_count: '3', max_key_count: 9, min_key_size: 8, extra: 1 })
  t.match(
    await faultOf(client.status('sae-b')),
    /malformed status: malformed: no whole number in stored_key_count, max_key_per_request, max_key_size/,
  )
})

t.test('the client bounds what an odd manager may send, and puts none of it into an error', async (t) => {
  const port = await oddKme(t, (request, response) => {
    const [, , , , , name = ''] = request.url?.split('/') ?? []
    if (request.url?.includes('huge')) response.end(Buffer.alloc(5 * 2 ** 20, 0x20))
    else if (request.url?.includes('cut'))
      response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy())
    else if (request.url?.includes('moved')) response.writeHead(302, { location: 'https://127.0.0.1/' }).end()
    else if (!request.url?.includes('silent'))
      response.writeHead(400).end(JSON.stringify({ message: `${name}\n${'x'.repeat(999)}` }))
  })
  const client = clientOf(t, port, 'sae-a', { maxTries: 1 })
  const hasty = clientOf(t, port, 'sae-a', { maxTries: 1, timeoutMs: 200 })
  t.match(await faultOf(client.status('huge')), /malformed.*longer than/)
  t.match(await faultOf(client.status('cut')), /unreachable/)
  t.match(await faultOf(client.status('moved')), /malformed.*302/)
  t.match(await faultOf(hasty.status('silent')), /unreachable.*TIMEOUT/)
  const refused = await faultOf(client.status('sae-b'))
  t.match(refused, /^refused status: refused: status\?x+$/)
  t.ok(refused.length < 260)
  t.throws(() => new Etsi014Client({ url: 'http://127.0.0.1', ...pemOf('sae-a') }), /BAD_URL/)
})

t.test('the client trusts its authority and the manager’s name alone', async (t) => {
  const kme = await serve(t, 64)
  const named = clientOf(t, kme.port, 'sae-a', { serverName: 'kme', maxTries: 1 })
  t.equal((await named.status('sae-b')).sourceKmeId, 'kme')
  const misnamed = clientOf(t, kme.port, 'sae-a', { serverName: 'sae-b', maxTries: 1 })
  t.match(await faultOf(misnamed.status('sae-b')), /unreachable.*ALTNAME/)
  const mistrusting = clientOf(t, kme.port, 'sae-a', { caPem: otherCa.caPem, maxTries: 1 })
  t.match(await faultOf(mistrusting.status('sae-b')), /unreachable/)
})

t.test('a source fills a pool with key that both ends hold, and stops when it is full', async (t) => {
  const kme = await serve(t, 960)
  const pool = new OctetQueue()
  const states: Etsi014SourceState[] = []
  const source = new Etsi014Source({
    master: clientOf(t, kme.port, 'sae-a'),
    masterSaeId: 'sae-a',
    slave: clientOf(t, kme.port, 'sae-b'),
    slaveSaeId: 'sae-b',
    roomBits: () => 8 * (640 - pool.bytes),
    onKey: (bytes) => pool.add(bytes),
    onState: (state) => states.push(state),
    pollMs: 10,
    nowMs: () => performance.now(),
  })
  source.start()
  t.teardown(() => source.close())
  t.ok(await until(() => pool.bytes === 640))
  t.ok(kme.given.subarray(0, 320).equals(pool.take(320) ?? new Uint8Array(0)))
  t.ok(await until(() => pool.bytes === 640))
  t.ok(kme.given.subarray(320, 960).equals(pool.take(640) ?? new Uint8Array(0)), 'in order, each octet once')
  t.equal(kme.manager.waitingKeys, 0)
  kme.store.add('sae-a', 'sae-b', randomBytes(320))
  t.ok(await until(() => pool.bytes === 320))
  t.ok(
    states.some((state) => state.up && state.rateBps > 0),
    'the rate is seen',
  )
  t.same(source.counts(), { keys: 40, bits: 10_240, keysLost: 0, keysUnequal: 0, faults: 0 })

  await kme.close()
  t.ok(await until(() => states.at(-1)?.up === false), 'a manager that is away is a link that is down')
  await serve(t, 64, { serve: { port: kme.port } })
  t.ok(await until(() => states.at(-1)?.up === true, 8000), 'and comes back')
})

t.test('a key pool counts key of a source, and its blocks are that key and no other', async (t) => {
  const queue = new OctetQueue()
  const pool = new KeyPool({
    poolKind: 'shared',
    links: [{ link: 0, keys: 'pool' }],
    capBits: 3200,
    safeBits: 0,
    thBits: 0,
    randomBytes: (length) => {
      const bytes = queue.take(length)
      if (bytes === undefined) throw new RangeError('the pool counts more key than there is')
      return bytes
    },
  })
  const given = randomBytes(1000)
  const blocks: number[] = []
  pool.want(0, 50)
  for (let at = 0; at < 1000; at += 50) {
    queue.add(Uint8Array.from(given.subarray(at, at + 50)))
    for (const { bytes } of pool.generate(0, 400, at)) blocks.push(...bytes)
    queue.keepNewest(pool.books().poolBits / 8 + 3)
  }
  t.same(blocks, [...given.subarray(0, 200)])
  t.equal(pool.books().poolBits, 3200)
  t.ok(queue.bytes <= 403, 'what the pool threw away is overwritten')
  t.equal(pool.want(0, 150)[0]?.bytes.length, 400)
})

t.test('a source takes no key that the two managers give differently', async (t) => {
  const id = randomUUID()
  const status = {
    key_size: 32,
    stored_key_count: 9,
    max_key_count: 9,
    max_key_per_request: 9,
    max_key_size: 64,
    min_key_size: 8,
  }
  const port = await oddKme(t, (request, response) => {
    if (request.url?.endsWith('status')) response.end(JSON.stringify(status))
    else
      response.end(
        JSON.stringify({ keys: [{ key_ID: id, key: request.url?.endsWith('enc_keys') ? 'AAAAAA==' : 'AAAAAQ==' }] }),
      )
  })
  const states: Etsi014SourceState[] = []
  const source = new Etsi014Source({
    master: clientOf(t, port, 'sae-a', { maxTries: 1 }),
    masterSaeId: 'sae-a',
    slave: clientOf(t, port, 'sae-b', { maxTries: 1 }),
    slaveSaeId: 'sae-b',
    roomBits: () => 32,
    onKey: () => t.fail('key was taken'),
    onState: (state) => states.push(state),
    nowMs: () => performance.now(),
  })
  source.start()
  t.ok(await until(() => states.length >= 2))
  await source.close()
  t.match(states.slice(0, 2), [{ up: true }, { up: false, reason: /other keys than enc_keys gave/ }])
  t.match(source.counts(), { keys: 0, keysUnequal: 1, keysLost: 1 })
})

t.test('containers survive writing and reading, and no octets make the reader throw', async () => {
  const keys = fc.uniqueArray(fc.tuple(fc.uuid(), fc.uint8Array({ minLength: 1, maxLength: 70 })), {
    selector: ([id]) => id,
    maxLength: 5,
  })
  fc.assert(
    fc.property(keys, (pairs) => {
      const body = writeKeyContainer(pairs.map(([id, bytes]) => new Etsi014Key(id, bytes)))
      const asJson = JSON.parse(Buffer.from(body).toString())
      const read = readKeyContainer(body, 5)
      if (read.kind === 'bad' || !body.every((octet) => octet === 0)) return false
      return pairs.every(([id, bytes], index) => {
        const hex = Buffer.from(bytes).toString('hex')
        const plain = asJson.keys[index]
        const found = read.value[index]
        return (
          plain.key_ID === id &&
          Buffer.from(plain.key, 'base64').toString('hex') === hex &&
          Buffer.from(found?.bytes ?? []).toString('hex') === hex
        )
      })
    }),
  )
  const parts = fc.constantFrom(
    '"key"',
    ':',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"AAAA"',
    '"keys"',
    '"key_ID"',
    'é',
    ' ',
    '0',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.array(parts).map((list) => new TextEncoder().encode(list.join(''))),
      ),
      (body) => {
        readKeyContainer(body, 5)
      },
    ),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
      return Buffer.from(fromBase64(toBase64(bytes)) ?? []).equals(Buffer.from(bytes))
    }),
  )
})

t.test('texts of keys and queues show no key', async (t) => {
  const key = new Etsi014Key('id', new Uint8Array([222, 173, 190, 239]))
  const queue = new OctetQueue()
  queue.add(new Uint8Array([222, 173, 190, 239]))
  const texts = [
    JSON.stringify(key),
    inspect(key),
    String(key),
    JSON.stringify(queue),
    inspect(queue, { depth: 9 }),
  ].join(' ')
  t.notMatch(texts, /222|dead|3q2\+/i)
})

t.test('the octet queue hands out each octet once, in order, and overwrites it', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 9 }), fc.nat({ max: 12 })), { maxLength: 40 }),
      (steps) => {
        const queue = new OctetQueue()
        const added: Uint8Array[] = []
        let expected: number[] = []
        for (const step of steps) {
          if (typeof step !== 'number') {
            const bytes = Uint8Array.from(step)
            added.push(bytes)
            queue.add(bytes)
            expected.push(...step)
          } else if (step % 3 === 0) {
            queue.keepNewest(step)
            expected = expected.slice(Math.max(0, expected.length - step))
          } else {
            const taken = queue.take(step)
            if (taken === undefined ? expected.length >= step : `${taken}` !== `${expected.splice(0, step)}`)
              return false
          }
          if (queue.bytes !== expected.length) return false
        }
        queue.keepNewest(0)
        return added.every((bytes) => bytes.every((octet) => octet === 0))
      },
    ),
  )
})

t.test('the rate is what the stock grew by and what was taken meanwhile', async (t) => {
  const meter = new RateMeter()
  const at = (keys: number, nowMs: number): number => meter.look({ storedKeyCount: keys, keySizeBits: 256 }, nowMs)
  t.equal(at(100, 0), 0)
  t.equal(at(110, 1000), 2560)
  meter.pulled(256 * 50)
  t.equal(at(70, 2000), 2560)
  meter.restart()
  t.equal(at(500, 9000), 2560, 'what came while the manager was away says nothing')
  t.ok(Math.abs(at(500, 10_000) - 0.7 * 2560) < 1e-9)
})
