import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cryptoReady } from '../../src/protocol/index.ts'
import { readPcapng } from '../../src/runtime/index.ts'
import { LabUnderTest, q104 } from '../cli/lab-under-test.ts'
import { capturedAsdus, countedAsdus, withOneOctetWrong } from './live-check.ts'
import { decodeAll, disagreements, tshark, tsharkRows, withFiles, withoutTshark } from './tshark.ts'

type Fact = Readonly<Record<string, string | number | boolean | null>>

/** Delay that a link is given while the lab runs, one way. */
const BENT_MS = 80

t.before(async () => {
  await cryptoReady
})

/** Runs `q104 capture` beside the lab. */
function captureOf(lab: string, out: string): Promise<{ readonly code: number | null; readonly stdout: string }> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = [join('build', 'src', 'cli', 'bin.js'), 'capture', lab, '--out', out, '--duration', '3s']
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout })))
}

t.test('every frame of a live lab is decoded, and its ASDUs are those the nodes have counted', async (t) => {
  const lab = new LabUnderTest('t-wire', 'scenarios/tiny.yaml', '--duration', '12s', '--keylog')
  await lab.printed(/^t +\d+\/12 s/m)
  const beside = captureOf(lab.lab, lab.file('beside.pcapng'))
  const bent = q104('link', '--lab', lab.lab, 'cc-gwA', 'set', `delay=${BENT_MS}ms`)
  const bentWallMs = Date.now()
  const { stdout } = await lab.finished
  const pcapng = readFileSync(lab.file('capture.pcapng'))
  const keyLog = readFileSync(lab.file('keys.log'), 'utf8')
  const { section, interfaces } = readPcapng(pcapng)
  t.match(section.comment, /lab t-wire: scenario tiny, seed 7, links impaired by (netem|transport); key log: keys\.log/)
  t.same(
    interfaces.map(({ name }) => name),
    ['cc-gwA', 'gwA-rtu1', 'rtu1-load3', 'rtu1-gen30'],
  )
  const decoded = decodeAll(pcapng, keyLog)
  t.ok(decoded.length > 150, `${decoded.length} frames; ${stdout.split('\n')[0]}`)
  t.same([...new Set(decoded.map(({ opened }) => opened?.tag))], ['good'])
  t.same([...new Set(decoded.map(({ content }) => content?.kind))].sort(), ['apdu', 'handshake'])

  const sent = capturedAsdus(decoded)
  const counted = countedAsdus(readFileSync(lab.file('events.jsonl'), 'utf8'))
  t.same([...sent].sort(), [...counted].sort())
  t.ok(counted.size > 20, `${counted.size} counts`)

  await t.test('by tshark too', { skip: withoutTshark }, async (t) => {
    const [capture, keys] = [lab.file('capture.pcapng'), lab.file('keys.log')]
    t.same(disagreements(decoded, tsharkRows(capture, keys)), [])
    t.equal(tshark(capture, keys, ['-Y', '_ws.malformed || q3p.bad_apdu || !(q3p.tag.status == "good")']).stdout, '')
    t.equal(
      tshark(capture, '', ['-Y', 'iec60870_104 || q3p.tag.status != "unverified"']).stdout,
      '',
      'without a key log',
    )
    const spoilt = withOneOctetWrong(keyLog, decoded)
    t.not(spoilt.keyLog, keyLog)
    withFiles(pcapng, spoilt.keyLog, (_, wrongKeys) => {
      const args = ['-Y', 'q3p.tag.status == "bad"', '-T', 'fields', '-e', 'frame.number']
      t.same(tshark(capture, wrongKeys, args).stdout.split('\n').filter(Boolean).map(Number), spoilt.frames)
    })
  })

  await t.test('q104 capture takes the same frames beside it', async (t) => {
    const { code, stdout } = await beside
    t.equal(code, 0)
    t.match(stdout, /beside\.pcapng: \d+ frames by (tcpdump|dumpcap), 0 missed\n {2}cc-gwA \(link 0\): \d+/)
    const frames = decodeAll(readFileSync(lab.file('beside.pcapng')), keyLog)
    t.ok(frames.length > 0, `${frames.length} frames`)
    t.same([...new Set(frames.map(({ opened }) => opened?.tag))], ['good'])
    const all = new Set(decoded.map(({ frame }) => Buffer.from(frame.payload).toString('hex')))
    t.same(
      frames.filter(({ frame }) => !all.has(Buffer.from(frame.payload).toString('hex'))),
      [],
    )
  })
  await t.test('a link bent while the lab ran is seen in the ages of telemetry', async (t) => {
    t.match(bent, { code: 0, stdout: `cc-gwA: delay=${BENT_MS}ms` })
    const events: Fact[] = readFileSync(lab.file('events.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const sample = events.find(({ name }) => name === 'telemetry.sampled')
    const bentMs = bentWallMs - (Number(sample?.['tagMs']) - Number(sample?.['tMs']))
    const received = events.filter(({ name }) => name === 'telemetry.received')
    const later = received.filter(({ tMs, latencyMs }) => Number(tMs) - Number(latencyMs) > bentMs)
    t.ok(
      later.length > 0 && later.every(({ latencyMs }) => Number(latencyMs) >= BENT_MS - 1),
      `${later.length} samples`,
    )
  })
  t.same(await lab.leftovers(), [])
})
