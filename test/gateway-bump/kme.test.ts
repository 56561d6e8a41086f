/** A pair of gateways as processes, each with key from a key manager by ETSI GS QKD 014, and no key server. */
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Q104 } from '../keypool/q104-process.ts'

const HOST = '127.0.0.1'

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

t.test('a pair of gateways that fetch their keys from their key managers, over a kill and a start', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-gateway-kme-'))
  const processes: Q104[] = []
  const run = (...args: readonly string[]): Q104 => {
    const started = new Q104(...args)
    processes.push(started)
    return started
  }
  t.teardown(async () => {
    await Promise.all(processes.map((one) => one.end('SIGKILL')))
    rmSync(dir, { recursive: true })
  })
  const kme = run(
    'kme',
    '--dir',
    dir,
    '--sae',
    'gwa',
    '--sae',
    'gwb',
    '--rate',
    '1Mbit',
    '--listen',
    `${HOST}:0`,
    '--json',
  )
  const kmePort = await kme.printed(/https:\/\/127\.0\.0\.1:(\d+)/)
  const server = run('server', '--port', '0')
  const serverPort = await server.printed(/:(\d+)/)
  const udpPort = await freeUdpPort()
  writeFileSync(join(dir, 'pair.secret'), 'a secret of thirty-two octets, at least')
  const write = (id: string, twin: string, near: string, far: string, secret = 'pair.secret'): string => {
    const path = join(dir, `${id}.yaml`)
    const manager = `{ url: 'https://${HOST}:${kmePort}', twin: ${twin}, secret: ${secret} }`
    writeFileSync(
      path,
      `id: ${id}
near: { ${near} }
far: { link: 3, ${far}, twin: ${twin}, port: ${udpPort}, t1Ms: 2000, t3Ms: 1000 }
keys: { kme: ${manager}, ca: ca.pem, cert: ${id}.pem, key: ${id}.key.pem }
`,
    )
    return path
  }
  const fileA = write('gwa', 'gwb', `listen: '${HOST}:0'`, 'end: 0, local: 127.0.0.1, peer: 127.0.0.2')
  const fileB = write('gwb', 'gwa', `dial: '${HOST}:${serverPort}'`, 'end: 1, local: 127.0.0.2, peer: 127.0.0.1')
  const gwa = run('gateway', '--config', fileA, '--first-start')
  let gwb = run('gateway', '--config', fileB, '--first-start')
  const port = await gwa.printed(/gateway\.ready .*port=(\d+)/)
  await Promise.all([gwa.printed(/(link\.up)/), gwb.printed(/(link\.up)/)])
  const first = run('client', `${HOST}:${port}`, 'gi', 'set', '1', '2001', 'single', 'on')
  t.equal(await first.ended, 0, first.text)

  const seen = gwa.text.length
  await gwb.end('SIGKILL')
  gwb = run('gateway', '--config', fileB)
  await Promise.all([gwa.printed(/(link\.up)/, seen), gwb.printed(/(link\.up)/)])
  const second = run('client', `${HOST}:${port}`, 'gi', 'set', '1', '2001', 'single', 'off')
  t.equal(await second.ended, 0, second.text)

  for (const [sae, call] of [
    ['gwa', 'enc_keys'],
    ['gwa', 'dec_keys'],
    ['gwb', 'enc_keys'],
    ['gwb', 'dec_keys'],
  ]) {
    t.match(kme.text, new RegExp(`"saeId":"${sae}","call":"POST ${call}","status":200`), `${sae} ${call}`)
  }
  t.notMatch(gwa.text + gwb.text, /keys\.failed/)
  t.equal(await gwb.end(), 0)
  t.equal(await gwa.end(), 0)

  writeFileSync(join(dir, 'short.secret'), 'too short')
  const short = write('gwa', 'gwb', `listen: '${HOST}:0'`, 'end: 0, local: 127.0.0.1, peer: 127.0.0.2', 'short.secret')
  const refused = run('gateway', '--config', short)
  t.equal(await refused.ended, 2)
  t.match(refused.text, /keys\.kme\.secret: .*short\.secret: found 9 octets, expected 32 or more/)
})
