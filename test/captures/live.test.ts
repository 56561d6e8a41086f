import { readFileSync } from 'node:fs'
import t from 'tap'
import { cryptoReady } from '../../src/protocol/index.ts'
import { LabUnderTest } from '../cli/lab-under-test.ts'
import { decodeAll, disagreements, tshark, tsharkRows, withoutTshark } from './tshark.ts'

type Fact = Readonly<Record<string, string | number | boolean | null>>

t.before(async () => {
  await cryptoReady
})

t.test('every frame of a live lab is decoded, and its ASDUs are those the nodes have counted', async (t) => {
  const lab = new LabUnderTest('t-wire', 'scenarios/tiny.yaml', '--duration', '9s', '--keylog')
  const { stdout } = await lab.finished
  const pcapng = readFileSync(lab.file('capture.pcapng'))
  const keyLog = readFileSync(lab.file('keys.log'), 'utf8')
  const decoded = decodeAll(pcapng, keyLog)
  t.ok(decoded.length > 150, `${decoded.length} frames; ${stdout.split('\n')[0]}`)
  t.same([...new Set(decoded.map(({ opened }) => opened?.tag))], ['good'])
  t.same([...new Set(decoded.map(({ content }) => content?.kind))].sort(), ['apdu', 'handshake'])

  const sent = new Map<string, number>()
  for (const { opened, fields, content } of decoded) {
    if (opened?.sequence !== 'new' || content?.kind !== 'apdu' || content.apdu.format !== 'I') continue
    const key = `${fields?.channel} ${content.apdu.asdu[0]}`
    sent.set(key, (sent.get(key) ?? 0) + 1)
  }
  const counted = countedBy(readFileSync(lab.file('events.jsonl'), 'utf8'))
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
  })
  t.same(await lab.leftovers(), [])
})

/** `channel type` -> ASDUs that the sending node has counted. */
function countedBy(eventsJsonl: string): Map<string, number> {
  const events: Fact[] = eventsJsonl
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  // The channel a node sends on is the one whose stream it keeps the sender's books of.
  const channelOf = new Map(
    events
      .filter(({ name, side }) => name === 'books' && side === 'sender')
      .map(({ node, channel }) => [`${node} ${Number(channel) >> 1}`, channel]),
  )
  const counted = new Map<string, number>()
  for (const { name, node, link, ...facts } of events) {
    if (name !== 'counters') continue
    for (const [fact, count] of Object.entries(facts)) {
      const typeId = /^sentType(\d+)$/.exec(fact)?.[1]
      if (typeId !== undefined) counted.set(`${channelOf.get(`${node} ${link}`)} ${typeId}`, Number(count))
    }
  }
  return counted
}
