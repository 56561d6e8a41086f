import t from 'tap'
import type { Suite } from '../../../src/protocol/index.ts'
import { CLEAN, type End, type Faults, idOf, keyReuse, LinkWorld, random, testAsdu } from './link-world.ts'

const ROUGH: Faults = { delayMs: 10, jitterMs: 30, lossRatio: 0.05, duplicateRatio: 0.05, corruptRatio: 0.03 }

/** Both ends send a message about every `periodMs` until `untilMs`; gives how many. */
function traffic(world: LinkWorld, seed: number, periodMs: number, fromMs: number, untilMs: number): number {
  const rng = random(seed)
  let id = 0
  for (let atMs = fromMs; atMs < untilMs; atMs += periodMs * (0.5 + rng())) {
    const end: End = rng() < 0.5 ? 0 : 1
    const suite: Suite = rng() < 0.5 ? 'otp' : 'aes'
    id += 1
    const asdu = testAsdu(id, 15 + Math.floor(rng() * 30))
    world.at(atMs, end, { kind: 'message', message: { id, asdu, suite, priority: Math.floor(rng() * 3) } })
  }
  return id
}

function upWorld(faults: Faults = CLEAN, more: Partial<ConstructorParameters<typeof LinkWorld>[0]> = {}): LinkWorld {
  const world = new LinkWorld({ seed: 1, faults, ...more })
  world.open()
  world.run(1000)
  return world
}

const sentIds = (world: LinkWorld, end: End): readonly number[] => world.of(end, 'sent').map(({ id }) => id)
const deliveredIds = (world: LinkWorld, end: End): readonly number[] =>
  world.of(end, 'deliver').map(({ asdu }) => idOf(asdu))
const books = (world: LinkWorld): unknown => {
  const [a, b] = [world.links[0].books(), world.links[1].books()]
  return [a[0].usedSlots - b[1].usedSlots, b[0].usedSlots - a[1].usedSlots]
}

t.test('the ends come up by handshake and STARTDT and carry an ASDU each way', async (t) => {
  const world = upWorld()
  t.equal(world.of(0, 'up').length, 1)
  t.equal(world.of(1, 'up').length, 1)
  t.ok(
    world.of(0, 'up').every(({ atMs }) => atMs <= 3 + 4 * 5),
    'two round trips after the key came',
  )
  world.send(0, { id: 1, asdu: testAsdu(1, 16), suite: 'otp', priority: 0 })
  world.send(1, { id: 2, asdu: testAsdu(2, 16), suite: 'aes', priority: 0 })
  world.run(2000)
  t.match(world.of(1, 'deliver'), [{ suite: 'otp', atMs: 1005 }])
  t.match(world.of(0, 'deliver'), [{ suite: 'aes', atMs: 1005 }])
  t.match(world.of(0, 'sent'), [{ id: 1, suite: 'otp', queueMs: 0, keyWaitMs: 0, keySlots: 6 + 4 }])
  t.match(world.of(0, 'acked'), [{ id: 1, rttMs: 110 }], 'acknowledged after t2')
  t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
})

t.test('an idle hour is kept alive by test frames alone', async (t) => {
  const world = upWorld()
  world.run(3_600_000)
  t.same([world.of(0, 'down').length, world.of(1, 'down').length], [0, 0])
  t.ok(world.datagrams < 2000, `${world.datagrams} datagrams`)
})

t.test(
  'under loss, duplication, reordering and corruption all arrives once, in the order sent, and the books agree',
  async (t) => {
    let [messages, datagrams] = [0, 0]
    for (const seed of [11, 12, 13, 14, 15, 16, 17]) {
      const world = new LinkWorld({ seed, faults: ROUGH, keySkewMs: seed % 2 === 0 ? 25 : 0 })
      world.open()
      messages += traffic(world, seed + 100, 30, 2000, 62_000)
      world.run(62_000)
      world.run(72_000)
      world.faults = { ...CLEAN, jitterMs: 20, duplicateRatio: 0.2 }
      world.close()
      world.run(80_000)
      datagrams += world.datagrams
      t.same(deliveredIds(world, 1), sentIds(world, 0), `seed ${seed}: first to second end`)
      t.same(deliveredIds(world, 0), sentIds(world, 1), `seed ${seed}: second to first end`)
      const endings = [0, 1].flatMap((end) => world.of(end === 0 ? 0 : 1, 'lost'))
      t.same(endings, [], `seed ${seed}: nothing lost`)
      t.same(
        [0, 1].map((end) => world.of(end === 0 ? 0 : 1, 'down').map(({ reason }) => reason)),
        [['stopped'], ['stopped']],
        `seed ${seed}: never closed before the end`,
      )
      t.same(books(world), [0, 0], `seed ${seed}: books agree`)
      t.same(keyReuse(world.sealed.keys()), [], `seed ${seed}: no key twice`)
      t.ok(world.isQuiet, `seed ${seed}: quiet after the drain`)
      const counters = world.links[1].counters()
      t.ok(
        (counters['retransmissions'] ?? 0) > 0 && (counters['dropTag'] ?? 0) > 0 && (counters['dropReplayed'] ?? 0) > 0,
      )
    }
    t.comment(`${messages} messages, ${datagrams} datagrams`)
    t.ok(datagrams > 20_000)
  },
)

t.test('an outage of 5 s is survived without closing, one of 20 s closes and restarts', async (t) => {
  for (const [outageMs, closes] of [
    [5000, false],
    [20_000, true],
  ] as const) {
    const isOut = (nowMs: number): boolean => nowMs >= 5000 && nowMs < 5000 + outageMs
    const world = upWorld({ ...CLEAN, isOut }, { seed: 3 })
    traffic(world, 4, 200, 2000, 60_000)
    world.run(9999)
    t.equal(world.links[0].isUp, false, 'stalled during the outage')
    world.run(70_000)
    const ends = [0, 1] as const
    t.equal(
      ends.some((end) => world.of(end, 'down').length > 0),
      closes,
      `${outageMs} ms`,
    )
    t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
    for (const end of ends) {
      const other = end === 0 ? 1 : 0
      const got = new Set(deliveredIds(world, other))
      const gone = new Set(world.of(end, 'lost').map(({ id }) => id))
      t.same(
        sentIds(world, end).filter((id) => !got.has(id) && !gone.has(id)),
        [],
        'nothing vanishes untold',
      )
      t.same(
        deliveredIds(world, other),
        sentIds(world, end).filter((id) => got.has(id)),
        'in order, once',
      )
      t.equal(world.of(end, 'lost').length > 0, closes)
    }
    t.same(keyReuse(world.sealed.keys()), [])
    world.close()
    world.run(90_000)
    t.same(books(world), [0, 0])
    t.ok(world.isQuiet)
    if (!closes) t.ok(world.of(0, 'acked').every(({ rttMs }) => rttMs < 5000 + 3500))
  }
})

t.test('a retransmission is the same datagram octet for octet and takes no key', async (t) => {
  const world = upWorld()
  const usedSlots = world.links[0].books()[0].usedSlots
  world.faults = { ...CLEAN, lossRatio: 1 }
  world.send(0, { id: 1, asdu: testAsdu(1, 20), suite: 'otp', priority: 0 })
  world.run(1300)
  const frames = world.of(0, 'send').filter(({ atMs }) => atMs >= 1000)
  t.ok(frames.length >= 2)
  t.equal(new Set(frames.map(({ bytes }) => Buffer.from(bytes).toString('hex'))).size, 1)
  t.equal(world.links[0].books()[0].usedSlots - usedSlots, 7 + 4)
})

t.test(
  'a lost acknowledgement is recovered by a fresh test frame, though repeated datagrams get no answer',
  async (t) => {
    const world = upWorld()
    world.faults = { ...CLEAN, isOut: (nowMs, from) => from === 1 && nowMs < 1250 }
    world.send(0, { id: 1, asdu: testAsdu(1, 20), suite: 'otp', priority: 0 })
    world.run(4000)
    t.match(world.of(0, 'acked'), [{ id: 1 }])
    t.same(deliveredIds(world, 1), [1])
    t.ok((world.of(0, 'acked')[0]?.rttMs ?? 9999) < 1000)
    t.same(world.of(0, 'down'), [])
  },
)

t.test('an AES message passes an OTP message that waits for key, and the wait is told apart', async (t) => {
  const world = upWorld(CLEAN, { keyBudgetSlots: 40 })
  world.send(0, { id: 1, asdu: testAsdu(1, 200), suite: 'otp', priority: 0 })
  world.send(0, { id: 2, asdu: testAsdu(2, 20), suite: 'aes', priority: 2 })
  world.run(3000)
  t.same(deliveredIds(world, 1), [2])
  t.equal(world.links[0].queued, 1)
  world.keyBudgetSlots = 1000
  world.supply()
  world.run(4000)
  t.same(deliveredIds(world, 1), [2, 1])
  t.match(world.of(0, 'sent'), [
    { id: 2, queueMs: 0, keyWaitMs: 0 },
    { id: 1, queueMs: 0, keyWaitMs: 2003, keySlots: 52 + 4 },
  ])
})

t.test('a frame whose key comes later is held and opened when the key is there', async (t) => {
  const world = new LinkWorld({ seed: 5, faults: CLEAN, keySkewMs: 400 })
  world.open()
  world.run(5000)
  world.send(0, { id: 1, asdu: testAsdu(1, 20), suite: 'otp', priority: 0 })
  world.run(6000)
  t.same(deliveredIds(world, 1), [1])
  t.equal(world.of(0, 'up')[0]?.atMs, 403 + 3 * 5, 'the answer follows the key at once, then STARTDT')
  t.notOk(world.links[1].counters()['dropNoKeyYet'])
})

t.test('the queue goes by priority, loses the least urgent when full, and drops what has expired', async (t) => {
  const world = new LinkWorld({ seed: 6, faults: CLEAN, link: { queueLimit: 3 } })
  const message = (id: number, priority: number, more = {}): void =>
    world.send(0, { id, asdu: testAsdu(id, 20), suite: id % 2 === 0 ? 'otp' : 'aes', priority, ...more })
  message(1, 2)
  message(2, 1)
  message(3, 0, { expiresAtMs: 50 })
  message(4, 3)
  message(5, 0)
  t.match(world.of(0, 'lost'), [
    { id: 4, reason: 'queueFull' },
    { id: 1, reason: 'queueFull' },
  ])
  world.run(100)
  world.open()
  world.run(1000)
  t.match(world.of(0, 'lost').slice(2), [{ id: 3, reason: 'expired' }])
  t.same(sentIds(world, 0), [5, 2])
  world.close()
  message(6, 0)
  t.match(world.of(0, 'lost').slice(3), [{ id: 6, reason: 'closing' }])
  world.run(3000)
  t.ok(world.isQuiet)
  t.same(books(world), [0, 0])
})

t.test('closing lets the controlled end finish its queue before STOPDT is confirmed', async (t) => {
  const world = upWorld()
  for (let id = 1; id <= 60; id += 1) world.send(1, { id, asdu: testAsdu(id, 40), suite: 'otp', priority: 1 })
  world.close()
  world.run(9000)
  t.equal(deliveredIds(world, 0).length, 60)
  t.same([world.of(1, 'lost'), world.of(0, 'lost')], [[], []])
  t.ok(world.isQuiet)
  t.same(books(world), [0, 0])
})

t.test('key is fetched ahead, and asked for again each second while it does not come', async (t) => {
  const world = new LinkWorld({ seed: 7, faults: CLEAN, keyBudgetSlots: 0 })
  world.open()
  world.run(3500)
  const asked = world.of(0, 'fetchKeys')
  t.same(
    asked.map(({ atMs }) => atMs),
    [0, 1000, 2000, 3000],
  )
  t.same(new Set(asked.map(({ channel, upToSlot }) => `${channel} ${upToSlot}`)), new Set(['0 192']))
  t.equal(world.datagrams, 0, 'nothing is sent without key')
  world.keyBudgetSlots = 1e6
  world.supply()
  world.run(4000)
  t.ok(world.links[0].isUp)
  world.send(0, { id: 1, asdu: testAsdu(1, 249), suite: 'otp', priority: 0 })
  world.send(0, { id: 2, asdu: testAsdu(2, 249), suite: 'otp', priority: 0 })
  world.send(0, { id: 3, asdu: testAsdu(3, 249), suite: 'otp', priority: 0 })
  world.run(4100)
  t.same(deliveredIds(world, 1), [1, 2, 3])
})

t.test('key is asked for the next message, or for all that are queued', async (t) => {
  const askedUpTo = (wantsAll: boolean): number => {
    const link = { lowWaterSlots: 16, highWaterSlots: 32, ...(wantsAll && { wantsAll: true as const }) }
    const world = upWorld(CLEAN, { keyBudgetSlots: 40, link })
    for (const id of [1, 2, 3]) world.send(0, { id, asdu: testAsdu(id, 194), suite: 'otp', priority: 0 })
    for (const id of [4, 5]) world.send(0, { id, asdu: testAsdu(id, 20), suite: 'aes', priority: 1 })
    world.run(1500)
    const last = world.of(0, 'fetchKeys').at(-1)
    const [{ usedSlots }] = world.links[0].books()
    world.keyBudgetSlots = 1000
    world.supply()
    world.run(2500)
    t.same([...deliveredIds(world, 1)].sort(), [1, 2, 3, 4, 5])
    return (last?.upToSlot ?? 0) - usedSlots
  }
  const [message, supervision] = [50 + 4, 12]
  t.equal(askedUpTo(false), message + supervision)
  t.equal(askedUpTo(true), 3 * message + supervision)
})

t.test('garbage, foreign, reflected and repeated datagrams change nothing but counters', async (t) => {
  const world = upWorld()
  world.send(0, { id: 1, asdu: testAsdu(1, 20), suite: 'otp', priority: 0 })
  world.run(2000)
  const [before, wakeAtMs] = [world.links.map((link) => link.books()), world.links.map((link) => link.wakeAtMs)]
  const rng = random(8)
  const own = world.of(0, 'send').map(({ bytes }) => bytes)
  const garbage = Array.from({ length: 300 }, () => Uint8Array.from({ length: rng() * 400 }, () => rng() * 256))
  const answers: unknown[] = []
  for (const bytes of [...own, ...garbage]) {
    answers.push(...world.links[1].handle({ kind: 'datagram', bytes }, world.nowMs))
    answers.push(...world.links[0].handle({ kind: 'datagram', bytes }, world.nowMs))
  }
  t.same(answers, [])
  t.same(
    world.links.map((link) => link.books()),
    before,
  )
  t.same(
    world.links.map((link) => link.wakeAtMs),
    wakeAtMs,
  )
  t.match(world.links[0].counters(), { dropChannel: own.length })
  t.match(world.links[1].counters(), { dropReplayed: own.length })
})

t.test('start order does not matter: the controlling end retries with back-off until the peer is there', async (t) => {
  const world = new LinkWorld({ seed: 9, faults: CLEAN })
  world.input(0, { kind: 'open' })
  world.run(10_000)
  t.same(
    world.of(0, 'send').map(({ atMs }) => atMs - 3),
    [0, 250, 750, 1750, 3750, 6750, 9750],
  )
  world.input(1, { kind: 'open' })
  world.run(14_000)
  t.same([world.links[0].isUp, world.links[1].isUp], [true, true])
})

t.test('an end that crashes and starts anew is taken back, on key that was never used', async (t) => {
  for (const end of [0, 1] as const) {
    const world = upWorld()
    traffic(world, 21, 100, 1000, 90_000)
    world.run(30_000)
    world.restart(end)
    world.run(95_000)
    t.same([world.links[0].isUp, world.links[1].isUp], [true, true], `end ${end}`)
    t.same(keyReuse(world.sealed.keys()), [], 'no key twice over the restart')
    const lastUpMs = Math.max(...world.of(0, 'up').map(({ atMs }) => atMs))
    t.ok(lastUpMs < 30_000 + 600, `up again ${lastUpMs - 30_000} ms after the crash`)
    for (const from of [0, 1] as const) {
      const sent = world.of(from, 'sent').filter(({ atMs }) => atMs > lastUpMs)
      const got = new Set(deliveredIds(world, from === 0 ? 1 : 0))
      t.same(
        sent.filter(({ id }) => !got.has(id)),
        [],
        'all that was sent since then arrived',
      )
    }
    world.close()
    world.run(99_000)
    t.same(books(world), [0, 0])
  }
})

t.test('a link refuses options and messages outside their ranges', async (t) => {
  for (const link of [
    { link: 40_000 },
    { epoch: 0 },
    { k: 0 },
    { aesMaxMessages: 0 },
    { queueLimit: 0 },
    { lowWaterSlots: 500 },
  ]) {
    t.throws(() => new LinkWorld({ seed: 1, faults: CLEAN, link }), RangeError, JSON.stringify(link))
  }
  const world = upWorld()
  t.throws(() => world.send(0, { id: 1, asdu: new Uint8Array(250), suite: 'aes', priority: 0 }), RangeError)
})
