import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { KeyClient } from '../../src/keypool/index.ts'
import type { KeyBlock } from '../../src/runtime/contract.ts'
import { until } from './key-lab.ts'
import { Q104 } from './q104-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'q104-keyserver-'))
t.teardown(() => rmSync(dir, { recursive: true }))
const journal = join(dir, 'keyserver.journal')

function start(...more: readonly string[]): Q104 {
  const links = more.includes('--link') ? [] : ['--link', '0=gwa,gwb']
  return new Q104('keyserver', '--dir', dir, '--listen', '127.0.0.1:0', '--rate', '1Mbit', ...links, ...more)
}

/** Fetches key of channel 0 up to a slot, at both ends; gives what each got. */
async function fetchKey(port: string, upToSlot: number): Promise<readonly KeyBlock[][]> {
  const clients = ['gwa', 'gwb'].map((nodeId) => {
    const [caPem = '', certPem = '', keyPem = ''] = ['ca.pem', `${nodeId}.pem`, `${nodeId}.key.pem`].map((name) =>
      readFileSync(join(dir, name), 'utf8'),
    )
    const client = new KeyClient({
      address: `127.0.0.1:${port}`,
      ...{ serverName: 'keyserver', caPem, certPem, keyPem, nodeId, links: [0] },
    })
    const blocks: KeyBlock[] = []
    client.onBlock((block) => blocks.push({ ...block, bytes: block.bytes.slice() }))
    return { client, blocks }
  })
  await Promise.all(clients.map(({ client }) => client.ready))
  clients[0]?.client.fetch(0, upToSlot)
  const hasAll = (blocks: readonly KeyBlock[]): boolean => {
    const last = blocks.at(-1)
    return last !== undefined && last.slot + last.bytes.length / 4 >= upToSlot
  }
  await until(() => clients.every(({ blocks }) => hasAll(blocks)))
  await Promise.all(clients.map(({ client }) => client.close()))
  return clients.map(({ blocks }) => blocks.filter(({ bytes }) => bytes.length > 0))
}

t.test('a key server that is killed and started again hands out no slot twice', async (t) => {
  const slots = new Set<number>()
  const octets = new Set<string>()
  let goal = 0
  for (let life = 0; life < 3; life++) {
    const server = start()
    const port = await server.printed(/serving keys on 127\.0\.0\.1:(\d+)/)
    if (life > 0) t.match(server.text, /goes on where it ended; \d+ bits of the pool were lost/)
    goal += 40
    const [own = [], peer = []] = await fetchKey(port, goal)
    const bytesOf = (blocks: readonly KeyBlock[]): Buffer => Buffer.concat(blocks.map(({ bytes }) => bytes))
    t.ok(bytesOf(own).length > 0 && bytesOf(own).equals(bytesOf(peer)), 'both ends have the same')
    for (const { slot, bytes } of own) {
      for (let index = 0; index < bytes.length / 4; index++) {
        if (slots.has(slot + index)) t.fail(`slot ${slot + index} was handed out twice`)
        slots.add(slot + index)
        octets.add(Buffer.from(bytes.subarray(4 * index, 4 * index + 4)).toString('hex'))
      }
    }
    await server.end(life === 1 ? 'SIGTERM' : 'SIGKILL')
  }
  t.equal(slots.size, 120)
  t.ok(octets.size > 115, 'nor the same key')
})

t.test('a journal that is cut off is refused; how far key may be handed out is in it beforehand', async (t) => {
  const text = readFileSync(journal, 'utf8')
  const marks = [...text.matchAll(/"marks":\[\[0,(\d+)\]/g)].map((match) => Number(match[1]))
  t.ok(Math.max(...marks) >= 1024)
  writeFileSync(journal, text.slice(0, -7))
  const refused = start()
  t.equal(await refused.ended, 2)
  t.match(refused.text, /JOURNAL_BROKEN.*is cut off\nwhat it handed out is not known any more/)
  writeFileSync(journal, text)
})

t.test('a journal of other links, one that is gone and one that is changed are refused', async (t) => {
  const foreign = start('--link', '0=gwa,gwc')
  t.equal(await foreign.ended, 2)
  t.match(foreign.text, /JOURNAL_FOREIGN.*another lab or run\nit is of other --link options/)
  const text = readFileSync(journal, 'utf8')
  writeFileSync(journal, text.replace(/"generatedSlots":(\d)/, '"generatedSlots":9$1'))
  const changed = start()
  t.equal(await changed.ended, 2)
  t.match(changed.text, /JOURNAL_BROKEN: line \d+ of .* is not as it was written/)
  writeFileSync(journal, text)
  const first = start('--first-start')
  t.equal(await first.ended, 2)
  t.match(first.text, /keyserver\.journal: found a journal, expected none with --first-start/)
  renameSync(journal, `${journal}.away`)
  const missing = start()
  t.equal(await missing.ended, 2)
  t.match(missing.text, /JOURNAL_MISSING.*is gone\nwithout it slots could be handed out twice; --first-start/)
  const anew = start('--first-start')
  t.not(await anew.printed(/serving keys on 127\.0\.0\.1:(\d+)/), '')
  t.notMatch(anew.text, /goes on/)
  t.equal(await anew.end(), 0)
})
