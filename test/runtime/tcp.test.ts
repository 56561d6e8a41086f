import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import t from 'tap'
import { writeLabCa } from '../../src/keypool/index.ts'
import { dialTcp, type Listener, listenTcp, type OctetStream, TcpError } from '../../src/runtime/index.ts'
import { loadTls } from '../../src/runtime/tcp-tls.ts'

const HOST = '127.0.0.1'
const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Waits for the next value of a callback. */
function once<T>(): { readonly take: (value: T) => void; readonly value: Promise<T> } {
  let take: (value: T) => void = () => {}
  const value = new Promise<T>((resolve) => {
    take = resolve
  })
  return { take: (given) => take(given), value }
}

/** A listener and one connection to it, both ends. */
async function pair(
  options: { listen?: object; dial?: object } = {},
): Promise<{ listener: Listener; near: OctetStream; far: OctetStream; close: () => Promise<void> }> {
  const far = once<OctetStream>()
  const near = once<OctetStream>()
  const failure = once<string>()
  const listener = await listenTcp({ host: HOST, port: 0, ...options.listen }, far.take)
  const dialer = dialTcp(
    { host: HOST, port: listener.port, ...options.dial },
    { onConnection: near.take, onFailure: failure.take },
  )
  const ends = await Promise.race([
    Promise.all([near.value, far.value]),
    failure.value.then((reason) => Promise.reject(new Error(reason))),
  ]).catch(async (error: unknown) => {
    dialer.close()
    await listener.close()
    throw error
  })
  const close = async (): Promise<void> => {
    dialer.close()
    await listener.close()
  }
  return { listener, near: ends[0], far: ends[1], close }
}

t.test('octets arrive in order both ways, those sent before anybody listened too', async (t) => {
  const { near, far, close } = await pair()
  near.write(octets('abc'))
  near.write(octets('def'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  const got = once<string>()
  let text = ''
  far.onData((chunk) => {
    text += Buffer.from(chunk).toString()
    if (text.length === 6) got.take(text)
  })
  t.equal(await got.value, 'abcdef')
  const back = once<Uint8Array>()
  near.onData(back.take)
  far.write(octets('ok'))
  t.same(Buffer.from(await back.value).toString(), 'ok')
  t.match(far.peer, /^127\.0\.0\.1:\d+$/)
  t.equal(far.peerName, undefined)
  await close()
})

t.test('an end that closes is told so, its peer too, and what was written before still arrives', async (t) => {
  const { near, far, close } = await pair()
  const [nearEnd, farEnd] = [once<string>(), once<string>()]
  const got = once<Uint8Array>()
  near.onClose(nearEnd.take)
  far.onClose(farEnd.take)
  far.onData(got.take)
  near.write(octets('last'))
  near.close()
  t.equal(Buffer.from(await got.value).toString(), 'last')
  t.equal(await nearEnd.value, 'closed')
  t.equal(await farEnd.value, 'peer closed')
  near.write(octets('ignored'))
  await close()
})

t.test('a paused stream holds octets back until it is resumed', async (t) => {
  const { near, far, close } = await pair()
  const got: string[] = []
  const more = once<void>()
  far.onData((chunk) => {
    got.push(Buffer.from(chunk).toString())
    more.take()
  })
  far.pause()
  near.write(octets('held'))
  await new Promise((resolve) => setTimeout(resolve, 30))
  t.same(got, [])
  far.resume()
  await more.value
  t.same(got, ['held'])
  await close()
})

t.test('a peer that does not read is cut off when too much waits for it', async (t) => {
  const { near, far, close } = await pair({ dial: { maxBufferedBytes: 100_000 } })
  const end = once<string>()
  near.onClose(end.take)
  far.pause()
  const chunk = new Uint8Array(65_536)
  for (let sent = 0; sent < 400; sent += 1) near.write(chunk)
  t.match(await end.value, /^slow reader: \d+ octets wait$/)
  await close()
})

t.test('a dialler tries again until somebody listens, and again when the connection is lost', async (t) => {
  const reserved = await listenTcp({ host: HOST, port: 0 }, () => {})
  const { port } = reserved
  await reserved.close()
  const failures: (readonly [string, number | undefined])[] = []
  const firstFailure = once<void>()
  let streams = 0
  const twice = once<void>()
  const dialer = dialTcp(
    { host: HOST, port, retry: { minMs: 10, maxMs: 40 } },
    {
      onConnection: () => {
        streams += 1
        if (streams === 2) twice.take()
      },
      onFailure: (reason, retryMs) => {
        failures.push([reason, retryMs])
        if (failures.length === 3) firstFailure.take()
      },
    },
  )
  await firstFailure.value
  const listener = await listenTcp({ host: HOST, port }, (stream) => stream.close())
  await twice.value
  dialer.close()
  await listener.close()
  t.match(failures[0]?.[0], /^127\.0\.0\.1:\d+: nobody listens there \(ECONNREFUSED\)$/)
  t.same(
    failures.slice(0, 3).map(([, retryMs]) => retryMs),
    [10, 20, 40],
  )
})

t.test('an address in use is an error that names it', async (t) => {
  const listener = await listenTcp({ host: HOST, port: 0 }, () => {})
  await t.rejects(
    listenTcp({ host: HOST, port: listener.port }, () => {}),
    {
      name: 'TcpError',
      message: `${HOST}:${listener.port}: cannot listen: the address is in use (EADDRINUSE)`,
    },
  )
  await listener.close()
})

t.test('more connections than allowed are closed at once', async (t) => {
  const { listener, close } = await pair({ listen: { maxConnections: 1 } })
  const closed = once<void>()
  connect(listener.port, HOST)
    .on('close', () => closed.take())
    .on('error', () => {})
  await closed.value
  t.pass('closed')
  await close()
})

t.test('TLS by IEC 62351-3', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-tcp-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  await writeLabCa(join(dir, 'a'), ['rtu', 'scada'], Date.now())
  await writeLabCa(join(dir, 'b'), ['scada'], Date.now())
  const files = (ca: string, id: string) => ({
    caFile: join(dir, ca, 'ca.pem'),
    certFile: join(dir, ca, `${id}.pem`),
    keyFile: join(dir, ca, `${id}.key.pem`),
  })
  const rtu = files('a', 'rtu')
  const scada = files('a', 'scada')
  const echo = async (near: OctetStream, far: OctetStream): Promise<string> => {
    const got = once<Uint8Array>()
    near.onData(got.take)
    far.onData((chunk) => far.write(chunk))
    near.write(octets('hello'))
    return Buffer.from(await got.value).toString()
  }

  for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    await t.test(`both ends show their certificates, at least ${minVersion}`, async (t) => {
      const { near, far, close } = await pair({ listen: { tls: { ...rtu, minVersion } }, dial: { tls: scada } })
      t.equal(await echo(near, far), 'hello')
      t.equal(near.peerName, 'rtu')
      t.equal(far.peerName, 'scada')
      await close()
    })
  }

  await t.test('TLS 1.2 with a peer that has no newer one; nothing older', async (t) => {
    const listener = await listenTcp({ host: HOST, port: 0, tls: rtu }, (stream) => stream.write(octets('x')))
    const { context } = loadTls(scada, Date.now())
    const versions: (string | null)[] = []
    for (const maxVersion of ['TLSv1.2', 'TLSv1.1'] as const) {
      const ended = once<void>()
      const socket = tlsConnect({ ...context, minVersion: 'TLSv1', maxVersion, host: HOST, port: listener.port })
      socket.on('data', () => {
        versions.push(socket.getProtocol())
        socket.destroy()
      })
      socket.on('error', () => versions.push('refused'))
      socket.on('close', () => ended.take())
      await ended.value
    }
    t.same(versions, ['TLSv1.2', 'refused'])
    await listener.close()
  })

  await t.test('a renegotiation is refused', async (t) => {
    const ends: string[] = []
    const listener = await listenTcp({ host: HOST, port: 0, tls: rtu }, (stream) => {
      stream.onData(() => {})
      stream.onClose((reason) => ends.push(reason))
    })
    const { context } = loadTls(scada, Date.now())
    const outcome = once<string>()
    const options = { ...context, maxVersion: 'TLSv1.2', secureOptions: 0, host: HOST, port: listener.port } as const
    const socket = tlsConnect(options, () => {
      socket.renegotiate({}, (error) => outcome.take(error === null ? 'renegotiated' : 'refused'))
    })
    socket.on('error', () => outcome.take('refused'))
    socket.on('close', () => outcome.take('refused'))
    const timer = setTimeout(() => outcome.take('no answer'), 1000)
    t.not(await outcome.value, 'renegotiated')
    clearTimeout(timer)
    socket.destroy()
    await listener.close()
  })

  await t.test('a redialled connection resumes its session, within its lifetime', async (t) => {
    const reused: boolean[] = []
    const { context } = loadTls(rtu, Date.now())
    const { createServer } = await import('node:tls')
    const done = once<void>()
    const server = createServer({ ...context, requestCert: true }, (socket) => {
      reused.push(socket.isSessionReused())
      socket.on('error', () => {})
      socket.end('bye')
      if (reused.length === 3) done.take()
    })
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const dialer = dialTcp(
      { host: HOST, port, tls: scada, retry: { minMs: 10, maxMs: 10 } },
      { onConnection: (stream) => stream.onData(() => {}) },
    )
    await done.value
    dialer.close()
    server.close()
    t.same(reused, [false, true, true])
  })

  await t.test('who has no certificate, one of another authority, or another name is refused', async (t) => {
    const refused: string[] = []
    const listener = await listenTcp(
      {
        host: HOST,
        port: 0,
        tls: { ...rtu, peerNames: ['scada2'] },
        onRefused: (_peer, reason) => refused.push(reason),
      },
      () => t.fail('connected'),
    )
    for (const tls of [files('b', 'scada'), scada]) {
      const ended = once<void>()
      const own = loadTls(tls, Date.now()).context
      const socket = tlsConnect({ ...own, rejectUnauthorized: false, host: HOST, port: listener.port })
      socket.on('error', () => {})
      socket.on('close', () => ended.take())
      socket.resume()
      await ended.value
    }
    const bare = once<void>()
    const socket = tlsConnect({ rejectUnauthorized: false, host: HOST, port: listener.port })
    socket.on('error', () => {})
    socket.on('close', () => bare.take())
    socket.resume()
    await bare.value
    t.equal(refused.length, 3)
    t.match(refused[1], "the peer is 'scada', expected scada2")
    await listener.close()
  })

  await t.test('a server of another authority or another name is not taken', async (t) => {
    await t.rejects(pair({ listen: { tls: files('b', 'scada') }, dial: { tls: scada } }), /self-signed|verify|unable/i)
    const expectsOther = { ...scada, peerNames: ['rtu7'] }
    await t.rejects(pair({ listen: { tls: rtu }, dial: { tls: expectsOther } }), /the peer is 'rtu', expected rtu7/)
  })

  await t.test('a plain peer of a TLS listener is refused', async (t) => {
    const refused = once<string>()
    const listener = await listenTcp(
      { host: HOST, port: 0, tls: rtu, onRefused: (_peer, reason) => refused.take(reason) },
      () => t.fail('connected'),
    )
    const socket = connect(listener.port, HOST, () => socket.write(Uint8Array.of(0x68, 4, 7, 0, 0, 0)))
    socket.on('error', () => {})
    t.type(await refused.value, 'string')
    socket.destroy()
    await listener.close()
  })

  await t.test('errors name the file and what is wrong with it', async (t) => {
    const broken = join(dir, 'broken.pem')
    writeFileSync(broken, 'nothing')
    const faultOf = (options: object): string => {
      try {
        loadTls({ ...rtu, ...options }, Date.now())
        return 'none'
      } catch (error) {
        return error instanceof TcpError ? error.message : `not a TcpError: ${error}`
      }
    }
    const gone = join(dir, 'gone.pem')
    t.equal(faultOf({ caFile: gone }), `${gone}: cannot be read (ENOENT)`)
    t.match(faultOf({ certFile: broken }), `${broken}: holds no certificate in PEM`)
    t.match(faultOf({ keyFile: broken }), `${broken}: holds no private key in PEM`)
    t.equal(
      faultOf({ keyFile: scada.keyFile }),
      `${scada.keyFile}: is not the key of the certificate in ${rtu.certFile}`,
    )
    t.match(faultOf({ sessionLifetimeS: 0 }), 'sessionLifetimeS: found 0, expected 1..86400')
    t.throws(() => loadTls(rtu, Date.now() + 3 * 365 * 86_400_000), /expired on/)
  })
})
