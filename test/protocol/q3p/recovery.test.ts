import { inspect } from 'node:util'
import t from 'tap'
import {
  cryptoReady,
  encodeHandshake,
  HEADER_BYTES,
  type KeyLogRecord,
  LINK_DEFAULTS,
  parseHandshake,
  parseHeader,
  parseKeyLogLine,
  Q3pChannel,
  SecureLink,
  type SecureLinkEffect,
  SLOT_RANGE,
  type Suite,
  TAG_BYTES,
} from '../../../src/protocol/index.ts'
import { CLEAN, type End, idOf, keyReuse, LinkWorld, testAsdu } from './link-world.ts'

await cryptoReady

function upWorld(more: Partial<ConstructorParameters<typeof LinkWorld>[0]> = {}): LinkWorld {
  const world = new LinkWorld({ seed: 1, faults: CLEAN, ...more })
  world.open()
  world.run(1000)
  return world
}

const handshakesOf = (world: LinkWorld, end: End) =>
  world.of(end, 'send').flatMap(({ bytes, atMs }) => {
    const header = parseHeader(bytes)
    if ('drop' in header || header.command !== 'handshake') return []
    const handshake = parseHandshake(bytes.subarray(HEADER_BYTES, bytes.length - TAG_BYTES))
    return handshake === undefined ? [] : [{ ...handshake, atMs, bytes }]
  })
const lastUpMs = (world: LinkWorld, end: End): number => world.of(end, 'up').at(-1)?.atMs ?? -1

t.test('a handshake survives encoding, and what is none is refused', async (t) => {
  const handshake = {
    epoch: 2 ** 41,
    answers: 7,
    msgId: 2 ** 33 + 1,
    acceptsMsgId: 9,
    acceptsSlot: 2 ** 40,
    k: 12,
    aesMaxMessages: 64,
    name: 'gw-ä',
  }
  const payload = encodeHandshake(handshake)
  t.same(parseHandshake(payload), handshake)
  t.equal(payload.length, 49 + 5)
  for (const bad of [
    payload.subarray(1),
    payload.subarray(0, 40),
    payload.with(48, 9),
    payload.with(0, 0),
    payload.with(4, 0xff),
  ]) {
    t.equal(parseHandshake(bad), undefined)
  }
  t.throws(() => encodeHandshake({ ...handshake, name: 'x'.repeat(65) }), RangeError)
})

t.test('a controlled end that lost its session asks, and is back in a quarter of a second', async (t) => {
  const world = upWorld()
  world.run(10_000)
  world.restart(1)
  world.run(12_000)
  t.ok(lastUpMs(world, 1) - 10_000 < 300, `up ${lastUpMs(world, 1) - 10_000} ms after the crash`)
  const [ask] = handshakesOf(world, 1).filter(({ atMs }) => atMs > 10_000)
  t.match(ask, { atMs: 10_250, answers: 0 })
  t.match(world.of(0, 'down'), [{ reason: 'restarted' }])
})

t.test('the asking ends: eight times with a back-off, then the peer has noticed by itself', async (t) => {
  const world = new LinkWorld({ seed: 1, faults: CLEAN })
  world.input(1, { kind: 'open' })
  world.run(120_000)
  t.same(
    handshakesOf(world, 1).map(({ atMs }) => atMs),
    [250, 750, 1750, 3750, 7750, 15_750, 31_750, 47_750],
  )
  t.equal(world.links[1].wakeAtMs, undefined, 'then it waits for the peer')
  world.input(0, { kind: 'open' })
  world.run(121_000)
  t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
})

t.test('an end that asks without end costs its peer one handshake in 250 ms, and a repeated one nothing', async (t) => {
  const world = upWorld()
  const before = handshakesOf(world, 0).length
  const asker = new Q3pChannel({ link: 0, end: 1, aesMaxMessages: 64, aesMaxMs: 60_000 })
  // The peer's own end, in the hands of somebody who crashes it every 10 ms.
  const slot = world.links[1].books()[0].assignedSlots
  const key = Uint8Array.from({ length: 4 * 4000 }, (_, index) => index * 13)
  world.input(0, { kind: 'keyBlock', block: { channel: 1, slot, bytes: key.slice() } })
  asker.addKey({ channel: 1, slot, bytes: key })
  let asked: Uint8Array | undefined
  for (let count = 0; count < 100; count += 1) {
    const sealed = asker.handshake((msgId) =>
      encodeHandshake({
        epoch: 1e6 + count,
        answers: 0,
        msgId,
        acceptsMsgId: 0,
        acceptsSlot: 0,
        k: 12,
        aesMaxMessages: 64,
        name: '',
      }),
    )
    if ('wait' in sealed) throw new Error('no key')
    asked = sealed.datagram
    world.at(1000 + 10 * count, 0, { kind: 'datagram', bytes: sealed.datagram })
  }
  world.run(2000)
  const made = handshakesOf(world, 0).length - before
  t.ok(made >= 1 && made <= 5, `${made} handshakes in a second of asking`)
  const used = world.links[0].books()[0].usedSlots
  t.same(world.links[0].handle({ kind: 'datagram', bytes: asked ?? key }, 2000), [])
  t.equal(world.links[0].books()[0].usedSlots, used)
})

t.test('an asking that was held back cannot end a session that came after it', async (t) => {
  const world = new LinkWorld({ seed: 1, faults: { ...CLEAN, isOut: (nowMs, from) => from === 1 && nowMs < 700 } })
  world.input(1, { kind: 'open' })
  world.run(600)
  const [held] = handshakesOf(world, 1)
  world.input(0, { kind: 'open' })
  world.run(3000)
  t.ok(held && world.links[0].isUp)
  t.same(world.links[0].handle({ kind: 'datagram', bytes: held?.bytes ?? new Uint8Array(0) }, 3000), [])
  t.match(world.links[0].counters(), { dropOldEpoch: 1 })
  t.ok(world.links[0].isUp)
})

t.test('an end tells what it can open after a restart, and the peer goes on there and discards the rest', async (t) => {
  const world = upWorld({ ledgerMs: 2 })
  world.run(5000)
  const { usedSlots, assignedSlots } = world.links[0].books()[0]
  const rxMark = world.marks[1].get('0 receiver')
  world.restart(1, true)
  world.run(20_000)
  const [books] = world.links[0].books()
  t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
  t.equal(books.discardedSlots, assignedSlots - usedSlots, 'exactly what the peer did not have')
  const firstAfter = world
    .of(0, 'send')
    .filter(({ atMs }) => atMs > 5000)
    .map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(4))
  const shown = firstAfter.at(-1) ?? 0
  t.ok(
    rxMark !== undefined && shown >= rxMark.msgIds,
    `Msg-Id ${shown} is beyond the ${rxMark?.msgIds} of the earlier life`,
  )
  t.same(keyReuse(world.sealed.keys()), [])
})

t.test('with a ledger nothing is sealed or accepted before the mark above it is durable', async (t) => {
  const world = upWorld({ ledgerMs: 40 })
  t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
  t.equal(
    world.of(0, 'up')[0]?.atMs,
    3 + 40 + 5 + 40 + 5 + 40 + 2 * 5,
    'key, then the disk of the one, the other, the one',
  )
  for (const end of [0, 1] as const) {
    for (const { mark } of world.of(end, 'reserve')) {
      const books = world.links[end].books()[mark.side === 'sender' ? 0 : 1]
      t.ok(mark.slots <= books.usedSlots + SLOT_RANGE && mark.channel === books.channel)
    }
  }
  let id = 0
  for (let atMs = 1000; atMs < 9000; atMs += 20) {
    id += 1
    world.at(atMs, 0, { kind: 'message', message: { id, asdu: testAsdu(id, 30), suite: 'otp', priority: 0 } })
  }
  world.run(10_000)
  const waits = world.of(0, 'sent').map(({ queueMs, keyWaitMs }) => queueMs + keyWaitMs)
  t.equal(waits.length, id)
  t.ok(Math.max(...waits) < 100, `longest wait ${Math.max(...waits)} ms`)
  t.equal(waits.filter((waitMs) => waitMs > 0.5 && waitMs < 41).length, 0, 'no command waits for the disk')
  t.ok(world.of(0, 'reserve').length < id / 5, `${world.of(0, 'reserve').length} marks for ${id} messages`)
})

t.test('without its ledger’s word an end stands still, and loses nothing', async (t) => {
  const link = new SecureLink({ ...LINK_DEFAULTS, link: 0, end: 0, epoch: 1 })
  const effects = [
    ...link.handle({ kind: 'open', marks: [] }, 0),
    ...link.handle({ kind: 'keyBlock', block: { channel: 0, slot: 0, bytes: new Uint8Array(800).fill(1) } }, 0),
  ]
  const isMark = (effect: SecureLinkEffect): effect is SecureLinkEffect & { kind: 'reserve' } =>
    effect.kind === 'reserve'
  t.same(
    effects.filter(({ kind }) => kind === 'send'),
    [],
  )
  const [reserve] = effects.filter(isMark)
  t.match(reserve?.mark, { channel: 0, side: 'sender', slots: SLOT_RANGE })
  t.ok((link.wakeAtMs ?? 1e9) >= 1000, 'it does not spin')
  if (reserve === undefined) return
  t.match(link.handle({ kind: 'reserved', mark: reserve.mark }, 5), [{ kind: 'send' }])
})

t.test('chains that move between one-time pad and AES in mid-stream lose nothing and keep their order', async (t) => {
  const rough = { delayMs: 10, jitterMs: 40, lossRatio: 0.08, duplicateRatio: 0.05, corruptRatio: 0.03 }
  const world = new LinkWorld({ seed: 23, faults: rough, keySkewMs: 15 })
  world.open()
  const total = 1200
  for (let id = 1; id <= total; id += 1) {
    // A scheduler's tick: every 100 ms the chain's state may be another.
    const suite: Suite = Math.floor(id / 5) % 3 === 0 ? 'aes' : 'otp'
    world.at(2000 + 20 * id, 0, { kind: 'message', message: { id, asdu: testAsdu(id, 20), suite, priority: 0 } })
  }
  world.run(2000 + 20 * total + 10_000)
  const delivered = world.of(1, 'deliver').map(({ asdu }) => idOf(asdu))
  t.same(
    delivered,
    world.of(0, 'sent').map(({ id }) => id),
    'in the order sealed: only a message that waits for key is passed by others',
  )
  t.equal(new Set(delivered).size, total)
  const changes = world.of(1, 'deliver').filter(({ suite }, index, all) => suite !== all[index - 1]?.suite)
  t.ok(changes.length > 100, `${changes.length} changes of suite`)
  t.same(keyReuse(world.sealed.keys()), [])
  t.same([...world.of(0, 'lost'), ...world.of(0, 'down')], [])
})

t.test('a peer of another name is refused, though its key is right', async (t) => {
  const names = (own: string, peer: string) => ({ names: { own, peer } })
  const world = new LinkWorld({ seed: 1, faults: CLEAN, link: names('cc', 'gwa') })
  world.links[1] = new SecureLink({ ...LINK_DEFAULTS, link: 0, end: 1, epoch: 5, ...names('gwb', 'cc') })
  world.open()
  world.run(5000)
  t.same([world.links[0].isUp, world.links[1].isUp], [false, false])
  t.match(world.links[0].counters(), { dropIdentity: 5 })
  t.equal(world.links[0].books()[0].discardedSlots, undefined)
  t.throws(() => new SecureLink({ ...LINK_DEFAULTS, link: 0, end: 1, epoch: 5, ...names('', 'cc') }), RangeError)
})

t.test(
  'key that was fetched and lies unused expires at both ends, and fresh key is there before it is needed',
  async (t) => {
    const world = upWorld({ link: { keyMaxAgeMs: 30_000, t3Ms: 200_000 } })
    const before = world.links[0].books()[0]
    world.run(60_500)
    const after = world.links[0].books()[0]
    t.ok(
      (after.discardedSlots ?? 0) >= before.assignedSlots - before.usedSlots,
      `${after.discardedSlots} slots discarded`,
    )
    t.ok(after.assignedSlots - after.usedSlots >= 64, 'fresh key is there')
    world.send(0, { id: 1, asdu: testAsdu(1, 20), suite: 'otp', priority: 0 })
    world.run(61_000)
    t.match(world.of(0, 'sent'), [{ id: 1, keyWaitMs: 0, queueMs: 0 }])
    t.match(world.of(1, 'deliver'), [{ suite: 'otp' }])
    t.throws(() => new SecureLink({ ...LINK_DEFAULTS, link: 0, end: 0, epoch: 1, keyMaxAgeMs: 0 }), RangeError)
  },
)

t.test('no text of a link, its effects or its errors holds an octet of key', async (t) => {
  const log: KeyLogRecord[] = []
  const [a, b] = [0, 1].map((end) => {
    const options = { ...LINK_DEFAULTS, link: 0, end: end === 0 ? 0 : 1, epoch: 1, keyLog: true } as const
    return new SecureLink(options)
  })
  if (a === undefined || b === undefined) return
  // Every octet of the key is 0xa7, which nothing else here is.
  const key = new Uint8Array(4 * 400).fill(0xa7)
  const texts: string[] = []
  const note = (...values: readonly unknown[]): void => {
    for (const value of values)
      texts.push(JSON.stringify(value) ?? '', inspect(value, { depth: 12, showHidden: true }), String(value))
  }
  const hidden = (effects: readonly SecureLinkEffect[]): void => {
    // Datagrams are what an eavesdropper sees; all else must be harmless.
    note(effects.filter(({ kind }) => kind !== 'send'))
    for (const effect of effects) if (effect.kind === 'keyLog') log.push(effect.record)
  }
  const exchange = (): void => {
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      const effects = from.handle({ kind: 'wake' }, 0)
      hidden(effects)
      for (const effect of effects)
        if (effect.kind === 'send') hidden(to.handle({ kind: 'datagram', bytes: effect.bytes }, 0))
    }
  }
  for (const link of [a, b]) {
    hidden(link.handle({ kind: 'open' }, 0))
    for (const channel of [0, 1]) {
      const effects = link.handle({ kind: 'keyBlock', block: { channel, slot: 0, bytes: key } }, 0)
      hidden(effects)
      const other = link === a ? b : a
      for (const effect of effects)
        if (effect.kind === 'send') hidden(other.handle({ kind: 'datagram', bytes: effect.bytes }, 0))
    }
    exchange()
  }
  note(a, b, a.books(), a.counters(), log)
  for (const bad of [
    () => a.handle({ kind: 'message', message: { id: 1, asdu: new Uint8Array(999), suite: 'otp', priority: 0 } }, 0),
  ]) {
    try {
      bad()
    } catch (error) {
      note(error, error instanceof Error ? error.stack : '')
    }
  }
  t.notMatch(texts.join('\n'), /a7|\b167\b/i)
  t.ok(log.length > 0 && log.every((record) => /a7a7a7a7$/.test(record.line())), 'the key log alone has it')
  t.throws(() => log[0]?.line(), 'once')
})

t.test('a key log opens every message of both directions, and comes only when it was asked for', async (t) => {
  const world = upWorld({ link: { keyLog: true } })
  for (let id = 1; id <= 20; id += 1) {
    const suite = id % 2 === 0 ? 'otp' : 'aes'
    for (const end of [0, 1] as const) world.send(end, { id, asdu: testAsdu(id, 20), suite, priority: 0 })
  }
  world.run(3000)
  const lines = ([0, 1] as const).flatMap((end) => world.of(end, 'keyLog').map(({ record }) => record.line()))
  const records = lines.map((line) => parseKeyLogLine(line))
  t.ok(lines.every((line) => /^[RK] [01] \d+ ([0-9a-f]{8})+$/.test(line)))
  t.notOk(records.includes('bad'))
  const slots = new Set<string>()
  for (const record of records) {
    if (record === undefined || record === 'bad' || record.kind !== 'K') continue
    for (let at = 0; at < record.octets.length / 4; at += 1) slots.add(`${record.channel} ${record.at + at}`)
  }
  const used = world.links[0].books()[0].usedSlots + world.links[1].books()[0].usedSlots
  t.equal(slots.size, used, 'each used slot, and none that is not used')
  t.equal(new Set(lines).size * 2, lines.length, 'each end tells the same of both directions')
  const silent = upWorld()
  t.same(silent.of(0, 'keyLog'), [])
  const sloppy = new SecureLink({ ...LINK_DEFAULTS, link: 0, end: 0, epoch: 1, keyLog: 'yes' as unknown as true })
  const effects = [
    ...sloppy.handle({ kind: 'open' }, 0),
    ...sloppy.handle({ kind: 'keyBlock', block: { channel: 0, slot: 0, bytes: new Uint8Array(800).fill(1) } }, 0),
  ]
  t.ok(effects.some(({ kind }) => kind === 'send'))
  t.notOk(
    effects.some(({ kind }) => kind === 'keyLog'),
    'nothing but true switches it on',
  )
})

t.test('key is overwritten once it is used', async (t) => {
  const channel = new Q3pChannel({ link: 0, end: 0, aesMaxMessages: 64, aesMaxMs: 60_000 })
  const seen: Uint8Array[] = []
  const slice = Uint8Array.prototype.slice
  // Every copy of key is made by `slice`, of which the originals are then overwritten.
  Uint8Array.prototype.slice = function (this: Uint8Array, ...args: [number?, number?]) {
    const copy = slice.apply(this, args)
    if (copy.includes(0xa7)) seen.push(copy as Uint8Array)
    return copy
  } as typeof slice
  try {
    channel.addKey({ channel: 0, slot: 0, bytes: new Uint8Array(4 * 100).fill(0xa7) })
    channel.handshake(() => new Uint8Array(20))
    channel.seal('data', new Uint8Array(30), 'otp', 0)
    channel.seal('data', new Uint8Array(30), 'aes', 0)
    channel.handshake(() => new Uint8Array(20))
  } finally {
    Uint8Array.prototype.slice = slice
  }
  const left = seen.filter((copy) => copy.includes(0xa7))
  t.ok(seen.length >= 5, `${seen.length} copies of key were made`)
  t.equal(left.length, 1, 'what is left is the r of the present epoch')
  t.equal(left[0]?.length, 16)
})
