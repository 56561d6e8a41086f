/**
 * A live lab, captured and decoded whole, by `q104 decode` and by tshark: `npm run bench -- live-decode [SCENARIO [DURATION]]`.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cryptoReady } from '../src/protocol/index.ts'
import { capturedAsdus, countedAsdus, verdicts, withOneOctetWrong } from '../test/captures/live-check.ts'
import { complaints, decodeAll, disagreements, tshark, tsharkRows, withoutTshark } from '../test/captures/tshark.ts'

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
const LAB = `decode${process.pid % 100_000}`

/** Exit code 1 if a frame is not decoded, or a count differs. Defaults: scenarios/ieee39.yaml, 60s. */
export async function bench([
  scenario = 'scenarios/ieee39.yaml',
  duration = '60s',
]: readonly string[]): Promise<number> {
  if (withoutTshark) throw new Error(withoutTshark)
  await cryptoReady
  const dir = mkdtempSync(join(tmpdir(), 'q104-live-decode-'))
  try {
    const args = ['run', scenario, '--duration', duration, '--keylog', '--lab', LAB, '--out', dir]
    const { status, stdout } = spawnSync(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    console.log(`q104 ${args.join(' ')}: exit code ${status}`)
    if (status !== 0) console.log(String(stdout))
    return judge(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function judge(dir: string): number {
  const [capture, keys, wrongKeys] = ['capture.pcapng', 'keys.log', 'wrong.log'].map((name) => join(dir, name))
  if (capture === undefined || keys === undefined || wrongKeys === undefined) return 1
  const pcapng = readFileSync(capture)
  const keyLog = readFileSync(keys, 'utf8')
  const faults: string[] = []
  const expect = (what: string, isSo: boolean): void => {
    console.log(`${isSo ? 'yes' : 'NO '}  ${what}`)
    if (!isSo) faults.push(what)
  }
  const filtered = (path: string, filter: string): number[] =>
    tshark(capture, path, ['-Y', filter, '-T', 'fields', '-e', 'frame.number'])
      .stdout.split('\n')
      .filter(Boolean)
      .map(Number)

  const decoded = decodeAll(pcapng, keyLog)
  const ofVerdict = verdicts(decoded)
  console.log(`${decoded.length} frames; verdicts of q104 decode: ${JSON.stringify(ofVerdict)}`)
  const complained = complaints(tshark(capture, keys, ['-q']))
  expect('tshark has no complaint', complained.length === 0)
  const good = filtered(keys, 'q3p.tag.status == "good"').length
  expect(
    `tag good on all: ${good} by tshark, ${ofVerdict['good']} by q104 decode`,
    [good, ofVerdict['good']].every((count) => count === decoded.length),
  )
  const inside = filtered(keys, 'q3p.tag.status == "good" && (iec60870_104 || q3p.handshake.epoch)').length
  expect(`an APDU or a HANDSHAKE in every frame: ${inside}`, inside === decoded.length)
  const malformed = filtered(keys, '_ws.malformed || q3p.bad_apdu || _ws.expert.severity == "Error"').length
  expect(`malformed: ${malformed}`, malformed === 0)
  expect(
    'tshark and q104 decode say the same of every field',
    disagreements(decoded, tsharkRows(capture, keys)).length === 0,
  )
  const [captured, counted] = [capturedAsdus(decoded), countedAsdus(readFileSync(join(dir, 'events.jsonl'), 'utf8'))]
  const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((all, one) => all + one, 0)
  const isSame = JSON.stringify([...captured].sort()) === JSON.stringify([...counted].sort())
  expect(
    `ASDUs by channel and type: ${sum(captured)} captured, ${sum(counted)} counted by the nodes, ${counted.size} counts`,
    isSame,
  )

  const shown = filtered('', 'iec60870_104 || q3p.tag.status != "unverified"').length
  const headers = filtered('', 'q3p.msgid').length
  expect(
    `without the key log: ${headers} headers, ${shown} frames with more`,
    headers === decoded.length && shown === 0,
  )

  const spoilt = withOneOctetWrong(keyLog, decoded)
  writeFileSync(wrongKeys, spoilt.keyLog)
  const bad = filtered(wrongKeys, 'q3p.tag.status == "bad"')
  expect(
    `one octet of key wrong: bad ${bad.join(' ')}; sealed with it ${spoilt.frames.join(' ')}`,
    String(bad) === String(spoilt.frames),
  )
  console.log(faults.length === 0 ? 'all as it should be' : `${faults.length} faults`)
  return faults.length === 0 ? 0 : 1
}
