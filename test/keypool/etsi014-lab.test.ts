/** A lab, live, all of whose key comes from `q104 kme` over HTTPS with certificates on both sides. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Etsi014Client } from '../../src/keypool/etsi014-index.ts'
import { Q104 } from './q104-process.ts'

function sae(name: string, port: string): string {
  return `{ id: ${name}, url: 'https://127.0.0.1:${port}', ca: ca.pem, cert: ${name}.pem, key: ${name}.key.pem }`
}

function scenario(port: string): string {
  return `
name: by-the-kme
seed: 2
durationS: 6
grid: { case: ieee39, disturbances: [{ kind: loadStep, atS: 1, bus: 16, mw: 400 }] }
topology:
  nodes:
    master: { id: cc }
    gateways: [{ id: gw }]
    rtus: [{ id: rtu1 }]
    ieds:
      - { id: load3, kind: load, rtu: rtu1, bus: 3, shedMw: 42.5 }
      - { id: gen30, kind: generator, rtu: rtu1, bus: 30 }
  links:
    - { between: [cc, gw], lengthKm: 20 }
    - { between: [gw, rtu1], lengthKm: 20 }
tasks: { telemetry: { periodS: 1 } }
outputs: { drainS: 1 }
keys:
  serve014:
    listen: 127.0.0.1:0
    pairs: [{ link: cc-gw, saes: [app-cc, app-gw] }]
  source: etsi014
  etsi014:
    pollMs: 100
    links:
      - { link: cc-gw, master: ${sae('sae-cc', port)}, slave: ${sae('sae-gw', port)} }
      - { link: gw-rtu1, master: ${sae('sae-gw', port)}, slave: ${sae('sae-rtu', port)}, keySizeBits: 1024 }
`
}

/** Without root the way to the key manager leads out of a user namespace as well. */
const hasUserns = spawnSync('unshare', ['--user', '--map-root-user', '--net', '--mount', 'true']).status === 0
const isolation = hasUserns ? 'userns' : 'loopback'

/** What an outside pair of programs does with a lab that runs; gives the bits that they got. */
async function outsiders(t: Test, url: string, dir: string): Promise<number> {
  const clientOf = (saeId: string): Etsi014Client => {
    const [caPem = '', certPem = '', keyPem = ''] = ['ca.pem', `${saeId}.pem`, `${saeId}.key.pem`].map((name) =>
      readFileSync(join(dir, name), 'utf8'),
    )
    return new Etsi014Client({ url, caPem, certPem, keyPem })
  }
  const [master, slave] = [clientOf('app-cc'), clientOf('app-gw')]
  t.teardown(() => {
    for (const client of [master, slave]) client.close()
  })
  let stored = 0
  for (let tries = 0; tries < 200 && stored < 10; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    stored = await master.status('app-gw').then(
      (status) => status.storedKeyCount,
      () => 0,
    )
  }
  t.ok(stored >= 10, `${stored} keys there`)
  const keys = await master.encKeys('app-gw', { number: 3, sizeBits: 264 })
  const same = await slave.decKeys(
    'app-cc',
    keys.map(({ keyId }) => keyId),
  )
  t.same(
    keys.map(({ bytes }) => [...bytes]),
    same.map(({ bytes }) => [...bytes]),
  )
  const [first] = keys
  await t.rejects(slave.decKeys('app-cc', [first?.keyId ?? '']), 'each key once')
  await t.rejects(master.encKeys('cc'), 'a node of the lab is no SAE')
  // 99 octets, in slots of 4.
  return 25 * 32
}

t.test('a lab runs on key of a key manager, gives some to others, and the books know each bit of it', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-kme-lab-'))
  const saes = ['sae-cc', 'sae-gw', 'sae-rtu'].flatMap((name) => ['--sae', name])
  const kme = new Q104('kme', '--dir', dir, ...saes, '--rate', '40kbit', '--listen', '127.0.0.1:0', '--json')
  t.teardown(async () => {
    await kme.end()
    rmSync(dir, { recursive: true })
  })
  const port = await kme.printed(/https:\/\/127\.0\.0\.1:(\d+)/)
  const file = join(dir, 'lab.yaml')
  writeFileSync(file, scenario(port))
  const out = join(dir, 'run')
  const lab = new Q104('run', file, '--isolation', isolation, '--lab', `kme-${process.pid}`, '--out', out, '--no-page')
  const url = await lab.printed(/app-gw: (https:[^;]+);/)
  const givenBits = await outsiders(t, url, join(out, 'sae'))
  const code = await lab.ended
  t.equal(code, 0, lab.text)
  const metrics = JSON.parse(readFileSync(join(out, 'metrics.json'), 'utf8'))
  t.match(metrics, { valid: true, booksBalanced: true, bookDifferences: [] })
  t.match(metrics.byClass.shedding, { tasks: 1, pFull: 1 })
  const events = readFileSync(join(out, 'events.jsonl'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  const counts = events.find(({ name }) => name === 'etsi014')
  const { generatedBits, outsideUsedBits } = events.findLast(({ name }) => name === 'pool')
  t.equal(outsideUsedBits, givenBits)
  t.ok(counts.bits > 20_000 && counts.keysLost === 0 && counts.faults === 0, JSON.stringify(counts))
  t.ok(generatedBits <= counts.bits && generatedBits > counts.bits - 2000, `${generatedBits} bits in the books`)
  const calls = kme.text
  t.match(calls, /"saeId":"sae-cc","call":"POST enc_keys","status":200/)
  t.match(calls, /"saeId":"sae-gw","call":"POST dec_keys","status":200/)
  const audit = new Q104('audit', out)
  t.equal(await audit.ended, 0, audit.text)
  t.match(audit.text, /PROVEN: no key slot protects two messages/)
  t.notMatch(readFileSync(join(out, 'scenario.yaml'), 'utf8'), /BEGIN/, 'no private key is copied')
})

t.test('a run that is killed leaves no socket of its ways to the outside', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-kme-lab-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'lab.yaml')
  const pairs = 'pairs: [{ link: cc-gw, saes: [app-cc, app-gw] }]'
  writeFileSync(file, scenario('1').replace(/pairs:.*$/s, pairs))
  const options = ['--isolation', isolation, '--lab', `kmek-${process.pid}`, '--out', join(dir, 'run'), '--no-page']
  const state = join(dir, 'state')
  const lab = new Q104({ Q104_STATE_DIR: state }, 'run', file, ...options)
  await lab.printed(/app-gw: (https:[^;]+);/)
  const files = (): string[] => readdirSync(state, { recursive: true }).map(String)
  t.ok(
    files().some((name) => /^p\w+-\w+$/.test(name)),
    files().join(' '),
  )
  await lab.end('SIGKILL')
  for (let tries = 0; tries < 200 && files().length > 0; tries++) await new Promise((go) => setTimeout(go, 50))
  t.same(files(), [])
})

t.test('what is missing for it is said before anything starts', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-kme-lab-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'lab.yaml')
  writeFileSync(file, scenario('1'))
  const run = new Q104('run', file)
  t.equal(await run.ended, 2)
  t.match(run.text, /keys\.etsi014\.links\[0\]\.master\.ca: found .*ca\.pem \(ENOENT\), expected a file to read/)
})
