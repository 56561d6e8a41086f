/** A lab, live, all of whose key comes from `q104 kme` over HTTPS with certificates on both sides. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Q104 } from './q104-process.ts'

function sae(name: string, port: string): string {
  return `{ id: ${name}, url: 'https://127.0.0.1:${port}', ca: ca.pem, cert: ${name}.pem, key: ${name}.key.pem }`
}

function scenario(port: string): string {
  return `
name: by-the-kme
seed: 2
durationS: 4
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

t.test('a lab runs on key of a key manager alone, and the books know each bit of it', async (t) => {
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
  const lab = new Q104('run', file, '--isolation', isolation, '--lab', `kme-${process.pid}`, '--out', out)
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
  const { generatedBits } = events.findLast(({ name }) => name === 'pool')
  t.ok(counts.bits > 20_000 && counts.keysLost === 0 && counts.faults === 0, JSON.stringify(counts))
  t.ok(generatedBits <= counts.bits && generatedBits > counts.bits - 2000, `${generatedBits} bits in the books`)
  const calls = kme.text
  t.match(calls, /"saeId":"sae-cc","call":"POST enc_keys","status":200/)
  t.match(calls, /"saeId":"sae-gw","call":"POST dec_keys","status":200/)
  t.notMatch(readFileSync(join(out, 'scenario.yaml'), 'utf8'), /BEGIN/, 'no private key is copied')
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
