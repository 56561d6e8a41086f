import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseApdu, parseHeader } from '../../src/protocol/index.ts'
import { readPcapng } from '../../src/runtime/index.ts'
import { LabUnderTest } from './lab-under-test.ts'

const TINY = 'scenarios/tiny.yaml'
const IP_AND_UDP_BYTES = 28

t.test('a live run carries commands from the centre to the breaker and its books agree to the bit', async (t) => {
  const lab = new LabUnderTest('t-live', TINY, '--duration', '11s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  const metrics = lab.metrics()
  t.match(metrics, { valid: true, booksBalanced: true, pFull: 1, seed: 7, version: String })
  t.match(String(metrics['isolation']), /^(netns|userns|loopback)$/)
  t.match(String(metrics['impairment']), /^(netem|transport)$/)
  t.match(
    stdout.split('\n')[0],
    /isolation .*links impaired/,
    'the first line says how the lab is isolated and impaired',
  )

  const events = readFileSync(lab.file('events.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const shed = events.find(({ name, typeId }) => name === 'ied.act' && typeId === 45)
  t.ok(shed, 'the breaker was told to open')
  const way = events.filter(({ name, ioa, cot }) => name === 'hop' && ioa === shed?.ioa && cot === 6)
  t.same(
    way.map(({ node }) => node),
    ['gwA', 'rtu1'],
    'by way of gateway and RTU',
  )

  const { interfaces, frames } = readPcapng(readFileSync(lab.file('capture.pcapng')))
  t.same(interfaces.map(({ name }) => name).sort(), ['cc-gwA', 'gwA-rtu1', 'rtu1-gen30', 'rtu1-load3'])
  t.ok(frames.length >= Number(metrics['frames']) * 0.99, 'the capture has the frames that were sent')
  const datagrams = frames.map(({ bytes }) => bytes.subarray(IP_AND_UDP_BYTES))
  const headers = datagrams.map((bytes) => parseHeader(bytes))
  t.same(
    headers.filter((header) => 'drop' in header),
    [],
    'every datagram has the Q3P header',
  )
  t.same(datagrams.filter(carriesAsduInClear), [], 'no datagram carries an ASDU in clear')
  t.same(await lab.leftovers(), [])
})

/** The payload parses as an I-frame: by chance one encrypted payload in some ten thousand does. */
function carriesAsduInClear(datagram: Uint8Array): boolean {
  const payload = datagram.subarray(20, -16)
  try {
    return parseApdu(payload).format === 'I'
  } catch {
    return false
  }
}

t.test('without namespaces the lab runs on loopback addresses', async (t) => {
  const lab = new LabUnderTest('t-loop', TINY, '--isolation', 'loopback', '--duration', '8s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  t.match(lab.metrics(), { valid: true, isolation: 'loopback', impairment: 'transport' })
  t.ok(readPcapng(readFileSync(lab.file('capture.pcapng'))).frames.length > 50)
  t.same(await lab.leftovers(), [])
})

t.test('inside a user namespace the lab runs as it does for root', async (t) => {
  const lab = new LabUnderTest('t-user', TINY, '--isolation', 'userns', '--duration', '8s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  t.match(lab.metrics(), { valid: true, isolation: 'userns' })
  t.same(await lab.leftovers(), [])
})
