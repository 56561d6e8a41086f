import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { main } from '../../src/cli/main.ts'
import { cryptoReady, encodeHandshake, Ledger, Q3pChannel, type Suite } from '../../src/protocol/index.ts'
import { PcapngFile, rawUdpPacket } from '../../src/runtime/index.ts'

await cryptoReady
const root = t.testdir()
let runs = 0

type Line = Readonly<Record<string, unknown>>
type Run = {
  readonly datagrams: readonly Uint8Array[]
  readonly keys?: readonly string[]
  readonly marks?: { readonly slots: number; readonly msgIds: number }
  readonly events?: readonly Line[]
}

/** A run folder as `q104 run` leaves it. */
function runFolder({ datagrams, keys, marks, events }: Run): string {
  const folder = join(root, `run-${runs++}`)
  mkdirSync(join(folder, 'ledgers'), { recursive: true })
  const capture = new PcapngFile(join(folder, 'capture.pcapng'), { userAppl: 'q104' })
  const interfaceId = capture.writer.addInterface({ name: 'cc-gwa' })
  const ends = {
    sourceAddress: '127.0.0.1',
    sourcePort: 10_104,
    destinationAddress: '127.0.0.2',
    destinationPort: 10_104,
  }
  for (const [index, bytes] of datagrams.entries()) {
    const timestampNs = BigInt(1_767_225_600_000 + index) * 1_000_000n
    capture.writer.frame({ interfaceId, timestampNs, bytes: rawUdpPacket(ends, bytes) })
  }
  capture.flush()
  if (keys !== undefined) writeFileSync(join(folder, 'keys.log'), `${['# q3p key log 1', ...keys].join('\n')}\n`)
  if (events !== undefined) {
    writeFileSync(join(folder, 'events.jsonl'), events.map((event) => `${JSON.stringify(event)}\n`).join(''))
  }
  if (marks !== undefined) {
    const ledger = Ledger.create({ node: 'cc', run: 'tiny-1', ends: [{ link: 3, end: 0 }] })
    ledger.reserve({ channel: 6, side: 'sender', ...marks })
    while (ledger.nextWrite() !== undefined) ledger.settle()
    writeFileSync(join(folder, 'ledgers', 'cc.ledger'), ledger.image)
  }
  return folder
}

/** The first end of link 3 and what it logs. `life` tells its key streams apart unless the same key is handed out again. */
function sender(slot = 0, life = 0): { channel: Q3pChannel; keys: string[] } {
  const keys: string[] = []
  const log = { keyLog: (record: { line: () => string }) => void keys.push(record.line()) }
  const channel = new Q3pChannel({ link: 3, end: 0, aesMaxMessages: 64, aesMaxMs: 60_000, ...log })
  const bytes = Uint8Array.from({ length: 4 * 2000 }, (_, index) => (4 * slot + index) * 73 + life)
  channel.addKey({ channel: 6, slot, bytes })
  return { channel, keys }
}

function seal(channel: Q3pChannel, count: number, text = 1, suites: readonly Suite[] = ['otp', 'aes']): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => {
    const sealed = channel.seal(
      'data',
      new Uint8Array(20).fill(text + index),
      suites[index % suites.length] ?? 'otp',
      0,
    )
    if ('wait' in sealed) throw new Error('no key')
    return sealed.datagram
  })
}

function open(channel: Q3pChannel, epoch = 1): Uint8Array {
  const numbers = { answers: 0, acceptsMsgId: 0, acceptsSlot: 0, k: 12, aesMaxMessages: 64, name: 'cc' }
  const sealed = channel.handshake((msgId) => encodeHandshake({ epoch, msgId, ...numbers }))
  if ('wait' in sealed) throw new Error('no key')
  return sealed.datagram
}

async function audit(...args: readonly string[]): Promise<{ code: number; text: string }> {
  let text = ''
  const restore = [process.stdout, process.stderr].map((stream) => {
    const write = stream.write
    stream.write = ((chunk: string) => {
      text += chunk
      return true
    }) as typeof write
    return () => {
      stream.write = write
    }
  })
  try {
    return { code: await main(['audit', ...args]), text }
  } finally {
    for (const back of restore) back()
  }
}

const POOL = { usedBits: 10, expiredBits: 0, discardedBits: 5, reservedBits: 7, poolBits: 8, generatedBits: 30 }

t.test('a run without reuse is proven, with ledger, key log, books and retransmissions', async (t) => {
  const { channel, keys } = sender()
  const datagrams = [open(channel), ...seal(channel, 30)]
  const { usedSlots } = channel.books()[0]
  const path = runFolder({
    datagrams: [...datagrams, ...datagrams.slice(3, 9)],
    keys,
    marks: { slots: 512, msgIds: 1024 },
    events: [
      { tMs: 1, node: 'keyserver', name: 'pool', ...POOL },
      { tMs: 2, node: 'cc', name: 'books', channel: 6, side: 'sender', assignedSlots: 2000, usedSlots },
      { tMs: 3, node: 'cc', name: 'counters', link: 3 },
    ],
  })
  const { code, text } = await audit(path)
  t.equal(code, 0)
  t.match(text, /channel 6 \(link 3, cc-gwa\): proven/)
  t.match(text, /37 frames, 31 distinct \(1 handshake, 15 otp, 15 aes\); 31 opened with keys\.log/)
  t.match(text, `slots 0..${usedSlots} of 512 reserved, ${usedSlots} in messages, 1 epochs`)
  t.match(text, /PROVEN: no key slot protects two messages\n$/)
  const json = await audit(path, '--json')
  t.match(JSON.parse(json.text), {
    verdict: 'proven',
    messages: 37,
    channels: [{ channel: 6, opened: 31, violations: [] }],
  })
})

t.test('a sender that starts anew on used key is found out, frame by frame', async (t) => {
  const [first, second] = [sender(), sender()]
  const before = [open(first.channel), ...seal(first.channel, 5, 1, ['otp'])]
  const again = [open(second.channel), ...seal(second.channel, 5, 1, ['otp']), ...seal(second.channel, 2, 99)]
  t.same(before, again.slice(0, 6), 'the same messages would be the same datagrams')
  const changed = [open(second.channel, 2), ...seal(sender().channel, 0)]
  const third = sender()
  open(third.channel)
  const other = seal(third.channel, 5, 50, ['otp'])
  const { code, text } = await audit(runFolder({ datagrams: [...before, ...other, ...changed] }))
  t.equal(code, 1)
  t.match(text, /msgIdTwice: Msg-Id 1 on two different messages \(frames 2 and 7\)/)
  t.match(text, /slotTwice: slots from 8 protect frame 2 and frame 7 \(frames 2 and 7\)/)
  t.match(text, /VIOLATED: \d+ findings\n$/)
  t.match(text, /note: no keys\.log/)
})

t.test('overlap of a pad with an AES key, and of two AES keys, is a reuse too', async (t) => {
  const [first, second] = [sender(), sender()]
  const before = [open(first.channel), ...seal(first.channel, 1, 1, ['otp'])]
  open(second.channel)
  second.channel.skipTo(10, 50)
  const { code, text } = await audit(runFolder({ datagrams: [...before, ...seal(second.channel, 2, 9, ['aes'])] }))
  t.equal(code, 1)
  t.match(text, /slotTwice: slots from 10 protect frame 2 and AES key 10 \(frames 2 and 3\)/)
})

t.test('Msg-Ids and epochs that go back, and use beyond ledger and books, are named', async (t) => {
  const { channel } = sender()
  const early = [open(channel, 7), ...seal(channel, 2)]
  channel.skipTo(0, 5000)
  const late = [open(channel, 7), ...seal(channel, 3)]
  const json = await audit(
    runFolder({
      datagrams: [...early.slice(0, 2), ...late, ...early.slice(2)],
      marks: { slots: 30, msgIds: 5001 },
      events: [
        { tMs: 1, node: 'keyserver', name: 'pool', ...POOL, poolBits: 9 },
        { tMs: 2, node: 'cc', name: 'books', channel: 6, side: 'sender', assignedSlots: 2000, usedSlots: 20 },
        { tMs: 3, node: 'cc', name: 'counters', link: 3 },
      ],
    }),
    '--json',
  )
  t.equal(json.code, 1)
  const { channels, violations } = JSON.parse(json.text)
  t.match(violations, [{ rule: 'books', text: 'at 1 ms the pool had generated 30 bits, its parts are 31' }])
  const rules = channels[0].violations.map(({ rule, frames }: { rule: string; frames: number[] }) => [rule, frames])
  t.same(
    rules.filter(([rule]: [string]) => rule === 'msgIdBack'),
    [['msgIdBack', [6, 7]]],
  )
  t.same(
    rules.filter(([rule]: [string]) => rule === 'epochBack'),
    [['epochBack', [1, 3]]],
  )
  t.equal(rules.filter(([rule]: [string]) => rule === 'beyondLedger').length, 2)
  t.equal(rules.filter(([rule]: [string]) => rule === 'beyondBooks').length, 2)
})

t.test(
  'a sender that was killed and went on behind its ledger is proven, with the books of its last life',
  async (t) => {
    const [first, second] = [sender(), sender(100, 9)]
    const before = [open(first.channel), ...seal(first.channel, 9)]
    second.channel.skipTo(0, 5000)
    const after = [open(second.channel, 2), ...seal(second.channel, 9, 50)]
    const [{ usedSlots }] = second.channel.books()
    const books = { channel: 6, side: 'sender', assignedSlots: 2100 }
    const run = (last: object, assignedSlots = 2100): Run => ({
      datagrams: [...before, ...after],
      marks: { slots: 512, msgIds: 6000 },
      events: [
        // The last word of the first life: it used more before it was killed.
        { tMs: 1, node: 'cc', name: 'books', ...books, assignedSlots: 100, usedSlots: 8 },
        { tMs: 2, node: 'cc', name: 'ledger.resumed', marks: 1 },
        ...(Object.keys(last).length > 0 ? [{ tMs: 3, node: 'cc', name: 'books', ...books, ...last }] : []),
        { tMs: 4, node: 'cc', name: 'counters', link: 3 },
        { tMs: 5, node: 'keyserver', name: 'stream', channel: 6, assignedSlots },
      ],
    })
    const verdict = async (folder: Run): Promise<string> => (await audit(runFolder(folder))).text
    t.match(await verdict(run({ usedSlots, firstSlot: 100 })), /PROVEN/)
    t.match(await verdict(run({})), /PROVEN/, 'books of a life that was killed are no last word')
    t.match(
      await verdict(run({ usedSlots, firstSlot: 100, discardedSlots: 1 })),
      /beyondBooks: \d+ slots in messages and 1/,
    )
    t.match(await verdict(run({ usedSlots: usedSlots - 1, firstSlot: 100 })), /beyondBooks: slots up to/)
    t.match(await verdict(run({}, usedSlots - 1)), /beyondBooks: slots up to \d+ used, the key server assigned/)
  },
)

t.test('with a key log forged and damaged datagrams are told from true ones', async (t) => {
  const { channel, keys } = sender()
  const datagrams = [open(channel), ...seal(channel, 10)]
  const [, otp = new Uint8Array(0), aes = new Uint8Array(0)] = datagrams
  const forged = [otp.with(30, 1), aes.with(30, 1), otp.with(7, 200), aes.with(4, 0x7f)]
  const known = await audit(runFolder({ datagrams: [...datagrams, ...forged], keys }))
  t.equal(known.code, 0)
  t.match(
    known.text,
    /15 frames, 15 distinct \(1 handshake, 5 otp, 5 aes\); 11 opened with keys\.log, 4 forged or damaged/,
  )
  const unknown = await audit(runFolder({ datagrams: [...datagrams, ...forged] }))
  t.equal(unknown.code, 1, 'without it they look like reuse')
  const changed = await audit(runFolder({ datagrams, keys: [...keys, 'K 6 8 00000000'] }))
  t.match(changed.text, /keyChanged: keys\.log has two keys for slot 8/)
})

t.test('what is missing or cannot be read ends with code 2 and the name of the file', async (t) => {
  const good = runFolder({ datagrams: [open(sender().channel)], marks: { slots: 9, msgIds: 9 } })
  for (const [args, message] of [
    [[], /RUN is needed/],
    [[join(root, 'nowhere')], /nowhere: there is no such run/],
    [[root], /capture\.pcapng: there is no capture, so there is nothing to audit/],
    [[runFolder({ datagrams: [new Uint8Array(40)] })], /there is no Q3P message in the capture/],
    [[good, '--yes'], /Unknown option/],
  ] as const) {
    const { code, text } = await audit(...args)
    t.equal(code, 2)
    t.match(text, message)
  }
  writeFileSync(join(good, 'ledgers', 'cc.ledger'), new Uint8Array(8192))
  t.match(await audit(good), { code: 2, text: /cc\.ledger: notALedger: neither copy is whole/ })
  writeFileSync(join(good, 'capture.pcapng'), 'not a capture, but text of some length')
  t.match(await audit(good), { code: 2, text: /capture\.pcapng: not a pcapng capture: no section header at byte 0/ })
})

t.test('a capture alone can be audited', async (t) => {
  const { channel } = sender()
  const path = runFolder({ datagrams: [open(channel), ...seal(channel, 3)] })
  const { code, text } = await audit(join(path, 'capture.pcapng'))
  t.equal(code, 0)
  t.match(text, /note: no ledgers/)
})
