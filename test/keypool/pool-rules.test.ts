import fc from 'fast-check'
import t from 'tap'
import {
  AUTHENTICATION_SLOTS,
  carryHopByHop,
  KeyPool,
  type KeyPoolOptions,
  MAX_WANT_SLOTS,
  RelayMap,
  SLOT_BYTES,
} from '../../src/keypool/pure.ts'
import type { KeyBlock, PoolBooks } from '../../src/runtime/contract.ts'

/** Every 4 bytes it gives are different from all before. */
function counterBytes(): (n: number) => Uint8Array {
  let next = 1
  return (n) => {
    const view = new DataView(new ArrayBuffer(n))
    for (let at = 0; at < n; at += 4) view.setUint32(at, next++)
    return new Uint8Array(view.buffer)
  }
}

/** Four pool links round a square a-b-c-d, a local link, and a relay link between a and c. */
const SQUARE: KeyPoolOptions['links'] = [
  { link: 0, keys: 'pool', ends: ['a', 'b'] },
  { link: 1, keys: 'pool', ends: ['b', 'c'] },
  { link: 2, keys: 'pool', ends: ['c', 'd'] },
  { link: 3, keys: 'pool', ends: ['d', 'a'] },
  { link: 4, keys: 'local', ends: ['a', 'x'] },
  { link: 5, keys: 'relay', ends: ['a', 'c'] },
]
const CHANNELS = 12

function makePool(options: Partial<KeyPoolOptions> = {}): KeyPool {
  return new KeyPool({
    poolKind: 'shared',
    links: SQUARE,
    capBits: 320_000,
    safeBits: 0,
    thBits: 0,
    randomBytes: counterBytes(),
    ...options,
  })
}

function slotsOf(blocks: readonly KeyBlock[]): number {
  return blocks.reduce((sum, block) => sum + block.bytes.length / SLOT_BYTES, 0)
}

function told(blocks: readonly KeyBlock[]): string[] {
  return blocks.map((block) => `${block.channel}@${block.slot}+${block.bytes.length / SLOT_BYTES}`)
}

function imbalanceBits(books: PoolBooks): number {
  const { generatedBits, usedBits, expiredBits, discardedBits, reservedBits, poolBits } = books
  return generatedBits - usedBits - expiredBits - discardedBits - reservedBits - poolBits
}

// --- reserve -------------------------------------------------------------------------------------------------------

t.test('nobody but supervision and the top chain gets what is reserved for them', async (t) => {
  const reserve = { authenticationBits: 20 * 32, topChainBits: 30 * 32 }
  const pool = makePool({ reserve })
  pool.generate(0, 32 * 70, 0)
  t.equal(slotsOf(pool.want(0, 100)), 20, 'what is open to all')
  t.same(pool.want(0, 200), [], 'and nothing more: the stream has what supervision needs')
  t.equal(slotsOf(pool.want(2, 50)), 12, 'a stream that has nothing gets what supervision needs')
  t.equal(slotsOf(pool.want(4, 40, { topUpToSlot: 25 })), 25, 'the top chain gets what it asks for, not more')
  t.equal(slotsOf(pool.want(0, 200, { topUpToSlot: 40 })), 13, 'and its reserve ends')
  t.equal(pool.books().poolBits, 0)
})

t.test('the reserves are filled before anybody is served, and again before the next', async (t) => {
  const pool = makePool({ reserve: { authenticationBits: 320, topChainBits: 320 } })
  pool.want(0, 100)
  t.equal(slotsOf(pool.generate(0, 32 * 5, 0)), 5, 'supervision needs them at once')
  t.equal(slotsOf(pool.generate(0, 32 * 40, 0)), 20)
  t.equal(pool.books().poolBits, 20 * 32, 'what stays behind')
  t.equal(slotsOf(pool.generate(0, 32 * 7, 0)), 7)
})

t.test('only the channels of the top chain may speak for it', async (t) => {
  const pool = makePool({ reserve: { authenticationBits: 0, topChainBits: 320, topChainChannels: [2] } })
  pool.generate(0, 320, 0)
  t.same(pool.want(0, 5, { topUpToSlot: 5 }), [])
  t.equal(slotsOf(pool.want(2, 5, { topUpToSlot: 5 })), 5)
})

t.test('a reserve that ages is made good from what is open to all', async (t) => {
  const pool = makePool({ reserve: { authenticationBits: 320, topChainBits: 320 }, expiryMs: 1000 })
  pool.generate(0, 32 * 20, 0)
  pool.generate(0, 32 * 15, 500)
  pool.expire(1200)
  t.equal(pool.books().poolBits, 15 * 32)
  t.equal(slotsOf(pool.want(0, 40)), 10, 'what supervision may have is whole')
  t.equal(slotsOf(pool.want(2, 9, { topUpToSlot: 9 })), 5, 'and the top chain has the rest')
})

t.test('whatever is asked and reported, ordinary wants leave the reserves whole', async (t) => {
  const step = fc.record({
    channel: fc.constantFrom(0, 1, 2, 3, 10, 11),
    slots: fc.integer({ min: 0, max: 80 }),
    top: fc.integer({ min: 0, max: 80 }),
    use: fc.integer({ min: 0, max: 60 }),
    bits: fc.integer({ min: 0, max: 2000 }),
  })
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const authenticationSlots = 24
    const topSlots = 40
    const pool = makePool({ reserve: { authenticationBits: authenticationSlots * 32, topChainBits: topSlots * 32 } })
    let topGiven = 0
    let everFull = false
    const ends = new Map<number, number>()
    const topGoals = new Map<number, number>()
    const take = (blocks: readonly KeyBlock[], poolBefore: number): void => {
      for (const { channel, slot, bytes } of blocks) {
        ends.set(channel, slot + bytes.length / 4)
        topGiven += Math.max(0, Math.min(topGoals.get(channel) ?? 0, slot + bytes.length / 4) - slot)
      }
      const left = pool.books().poolBits / 32
      if (left < topSlots && poolBefore >= topSlots && everFull && topGiven === 0) {
        // Supervision may have gone below the sum, but only by its own part.
        throw new Error(`the reserve of the top chain was touched: ${left}`)
      }
    }
    for (const { channel, slots, top, use, bits } of steps) {
      const before = pool.books().poolBits / 32
      take(pool.generate(0, bits, 0), before)
      if (pool.books().poolBits / 32 >= authenticationSlots + topSlots) everFull = true
      const end = ends.get(channel) ?? 0
      if (top > 60) topGoals.set(channel, Math.max(topGoals.get(channel) ?? 0, end + Math.min(slots, top)))
      const details = top > 60 ? { topUpToSlot: end + top } : {}
      take(pool.want(channel, end + slots, details), pool.books().poolBits / 32)
      pool.reportUse(channel, Math.min(use, pool.assignedSlots(channel)))
      if (imbalanceBits(pool.books()) !== 0 || imbalanceBits(pool.relayBooks()) !== 0) throw new Error('no balance')
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

// --- quotas --------------------------------------------------------------------------------------------------------

const CHAINS: Partial<KeyPoolOptions> = {
  poolKind: 'quota',
  links: SQUARE.slice(0, 2),
  quotas: [
    { id: 'shed-1', channels: [0, 1, 2, 3] },
    { id: 'shed-2', channels: [0, 1], fromLinks: [0] },
    { id: 'agc', channels: [0, 1], fromLinks: [0], weight: 2 },
  ],
  capBits: 3 * 10 * 32,
}

t.test('each quota gets its fixed part of the key and nobody else can spend it', async (t) => {
  const pool = makePool(CHAINS)
  pool.generate(0, 32 * 16, 0)
  t.equal(slotsOf(pool.want(0, 20, { quota: 'shed-1' })), 4)
  t.equal(slotsOf(pool.want(0, 40, { quota: 'agc' })), 8, 'twice the weight')
  t.same(told(pool.generate(1, 32 * 3, 0)), ['0@12+3'], 'link 1 feeds only one of them')
  t.equal(pool.books().poolBits, 4 * 32, 'the part of shed-2 lies untouched')
  t.throws(() => pool.want(0, 50), /NO_QUOTA/, 'several name the channel')
  t.throws(() => pool.want(2, 5, { quota: 'agc' }), /NO_QUOTA agc for channel 2/)
  t.same(pool.want(2, 5), [], 'the only quota of a channel is its default, and it has nothing left')
})

t.test('what a quota does not use is discarded when its part of the cap is full', async (t) => {
  const pool = makePool(CHAINS)
  pool.generate(1, 32 * 25, 0)
  t.match(pool.books(), { generatedBits: 800, poolBits: 320, discardedBits: 480 })
  pool.generate(0, 32 * 16, 0)
  t.match(pool.books(), { poolBits: 320 + 12 * 32, discardedBits: 480 + 4 * 32 })
  t.equal(imbalanceBits(pool.books()), 0)
})

t.test('quotas that leave a link or a channel out are refused', async (t) => {
  const make = (quotas: KeyPoolOptions['quotas']) => () => makePool({ ...CHAINS, ...(quotas && { quotas }) })
  t.throws(make([{ id: 'a', channels: [0, 1], fromLinks: [0] }]), /link 1.*channel 2 is in no quota/)
  t.throws(make([]), /no quotas/)
  t.throws(() => makePool({ quotas: [{ id: 'a', channels: [0] }] }), /quotas in a pool of kind shared/)
  t.throws(() => makePool({ reserve: { authenticationBits: 320_000, topChainBits: 1 } }), /more than capBits/)
})

// --- fair turns and deadlines --------------------------------------------------------------------------------------

t.test('a small want waits for one turn of a huge one, not for all of it', async (t) => {
  const pool = makePool()
  pool.want(0, MAX_WANT_SLOTS)
  pool.generate(0, 32 * 10, 0)
  pool.want(2, 20)
  t.same(told(pool.generate(0, 32 * 54, 100)), ['0@10+54'], 'the turn that is under way ends')
  t.same(told(pool.generate(0, 32 * 30, 200)), ['2@0+20', '0@64+10'], 'then it is the small one’s')
})

t.test('those who always want more get equal parts', async (t) => {
  const pool = makePool()
  const channels = [0, 1, 2, 3, 4]
  for (const channel of channels) pool.want(channel, 30_000 + 5000 * channel)
  for (let tick = 0; tick < 200; tick++) pool.generate(0, 32 * 37, tick * 100)
  const got = channels.map((channel) => pool.assignedSlots(channel))
  t.ok(Math.max(...got) - Math.min(...got) <= 64, `${got}`)
})

t.test(
  'in the order of arrival each want is served as a whole, and one that grew again waits behind the others',
  async (t) => {
    const pool = makePool({ order: 'arrival' })
    pool.want(0, 1000)
    pool.want(2, 20)
    pool.want(0, 1010)
    pool.want(4, 5, { deadlineMs: 900 })
    t.same(told(pool.generate(0, 32 * 990, 0)), ['0@0+990'])
    t.equal(pool.nextDeadlineMs, 900)
    t.same(told(pool.generate(0, 32 * 25, 100)), ['0@990+10', '2@0+15'])
    t.same(pool.withdrawOverdue(900), [4], 'dropped at its deadline')
    t.same(told(pool.generate(0, 32 * 100, 1000)), ['2@15+5', '0@1000+10'])
    t.same([imbalanceBits(pool.books()), pool.books().poolBits], [0, 85 * 32])
    t.equal(slotsOf(pool.want(4, 5)), 5, 'and can be wanted again')
  },
)

t.test(
  'in the order of arrival the books balance, and what is wanted and there is given, whatever comes',
  async (t) => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('want' as const), channel: fc.integer({ min: 0, max: 7 }), slots: fc.nat(80) }),
      fc.record({ kind: fc.constant('generate' as const), channel: fc.constant(0), slots: fc.nat(60) }),
      fc.record({
        kind: fc.constant('withdraw' as const),
        channel: fc.integer({ min: 0, max: 7 }),
        slots: fc.constant(0),
      }),
      fc.record({ kind: fc.constant('resume' as const), channel: fc.integer({ min: 0, max: 7 }), slots: fc.nat(120) }),
    )
    const { failed, counterexample } = fc.check(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pool = makePool({ order: 'arrival' })
        for (const { kind, channel, slots } of steps) {
          if (kind === 'want') pool.want(channel, pool.wantedSlots(channel) + slots)
          else if (kind === 'generate') pool.generate(0, 32 * slots, 0)
          else if (kind === 'withdraw') pool.withdraw(channel)
          else pool.resume(channel, slots)
          const waits = [0, 1, 2, 3, 4, 5, 6, 7].some((each) => pool.wantedSlots(each) > pool.assignedSlots(each))
          if (imbalanceBits(pool.books()) !== 0 || (waits && kind !== 'resume' && pool.books().poolBits > 0))
            return false
        }
        return true
      }),
      { numRuns: 300 },
    )
    t.notOk(failed, JSON.stringify(counterexample))
  },
)

t.test('a want that nobody waits for any more is dropped at its deadline, and a later one holds it', async (t) => {
  const pool = makePool()
  pool.want(0, 10, { deadlineMs: 1000 })
  pool.want(2, 10, { deadlineMs: 1000 })
  pool.want(2, 10, { deadlineMs: 3000 })
  pool.want(4, 10)
  t.equal(pool.nextDeadlineMs, 1000)
  t.same(pool.withdrawOverdue(999), [])
  t.same(pool.withdrawOverdue(1000), [0])
  t.equal(pool.nextDeadlineMs, 3000)
  t.same(
    [0, 2, 4].map((channel) => pool.wantedSlots(channel)),
    [0, 10, 10],
  )
  pool.withdraw(4)
  t.same(told(pool.generate(0, 32 * 100, 1100)), ['2@0+10'])
  t.equal(pool.nextDeadlineMs, undefined)
  t.equal(slotsOf(pool.want(0, 10)), 10, 'and can be wanted again')
})

// --- key for programs outside --------------------------------------------------------------------------------------

t.test(
  'those outside get all they ask for or nothing, nothing of a reserve, and nothing while the lab waits',
  async (t) => {
    const reserve = { authenticationBits: 32 * 10, topChainBits: 32 * 10, topChainChannels: [0] }
    const pool = makePool({ reserve })
    pool.generate(0, 32 * 50, 0)
    t.match(pool.openStock(0), { availableBits: 32 * 30 })
    t.equal(pool.drawOutside(0, 31), undefined)
    t.equal(pool.drawOutside(0, 12)?.length, 48)
    t.equal(pool.drawOutside(4, 1), undefined, 'a local link has none')
    t.equal(pool.outsideUseBits(), 32 * 12)
    t.match(pool.books(), { usedBits: 32 * 12, poolBits: 32 * 38 })
    t.match(pool.takeChanges(), { outsideUse: [[0, 12]] })
    pool.want(2, 100)
    t.equal(pool.drawOutside(0, 1), undefined, 'the lab waits for more')
    pool.withdraw(2)
    pool.generate(0, 32 * 50, 0)
    t.equal(pool.drawOutside(1, 4)?.length, 16)
    const record = pool.takeChanges()
    t.match(record, { outsideUse: [[1, 4]] })
    t.equal(imbalanceBits(pool.books()), 0)
    const next = makePool({ reserve })
    if (record !== undefined)
      next.restore({
        ...record,
        outsideUse: [
          [0, 12],
          [1, 4],
        ],
      })
    t.equal(next.outsideUseBits(), 32 * 16)
    t.match(
      next.takeChanges(),
      {
        outsideUse: [
          [0, 12],
          [1, 4],
        ],
      },
      'and is written down again',
    )
  },
)

// --- relay ---------------------------------------------------------------------------------------------------------

t.test('relayed key costs its length on every hop and has books of its own', async (t) => {
  const pool = makePool()
  pool.generate(0, 32 * 100, 0)
  t.same(told(pool.want(10, 30)), ['10@0+30'])
  t.match(pool.books(), { usedBits: 60 * 32, poolBits: 40 * 32, reservedBits: 0 })
  t.match(pool.relayBooks(), { generatedBits: 30 * 32, reservedBits: 30 * 32 })
  t.same(
    [...pool.relayUseBits()],
    [
      [0, 960],
      [1, 960],
    ],
  )
  pool.reportUse(10, 30)
  t.match(pool.relayBooks(), { usedBits: 30 * 32, reservedBits: 0 })
  t.same(told(pool.want(11, 30)), ['11@0+20'], 'what is left pays for 20')
  t.same(told(pool.generate(2, 32 * 3, 0)), ['11@20+1'], 'and one slot of three is left over')
  t.equal(pool.books().poolBits, 32)
})

t.test(
  'a relay takes another way when a link breaks, waits when there is none, and goes on when one is back',
  async (t) => {
    const pool = makePool({ poolKind: 'perLink' })
    t.same(pool.takeRouteChanges(), [{ link: 5, path: ['a', 'b', 'c'] }])
    for (const link of [0, 1, 2, 3]) pool.generate(link, 32 * 10, 0)
    t.equal(slotsOf(pool.want(10, 4)), 4)
    pool.setLinkUp(1, false)
    t.equal(slotsOf(pool.want(10, 7)), 3)
    t.same(pool.takeRouteChanges(), [{ link: 5, path: ['a', 'd', 'c'] }])
    t.same(
      [...pool.relayUseBits().values()],
      [128, 128, 96, 96].toSorted((a, b) => b - a),
    )
    pool.setLinkUp(3, false)
    t.same(pool.takeRouteChanges(), [{ link: 5, path: undefined }])
    t.same(pool.want(10, 10), [])
    pool.generate(0, 32 * 10, 0)
    t.same(told(pool.setLinkUp(1, true)), ['10@7+3'], 'it was waiting')
    t.same(pool.takeRouteChanges(), [{ link: 5, path: ['a', 'b', 'c'] }])
  },
)

t.test(
  'where each link has a stock of its own, a relay goes round an empty one and waits at the poorest',
  async (t) => {
    const pool = makePool({ poolKind: 'perLink' })
    for (const link of [0, 2, 3]) pool.generate(link, 32 * 10, 0)
    t.equal(slotsOf(pool.want(10, 15)), 10, 'link 1 has nothing, so round the other side')
    t.same(pool.generate(2, 32 * 9, 0), [], 'one of two hops is not enough')
    t.same(told(pool.generate(3, 32 * 2, 0)), ['10@10+2'])
    t.same(told(pool.generate(1, 32 * 50, 0)), ['10@12+3'], 'and back')
    t.equal(imbalanceBits(pool.books()), 0)
  },
)

t.test('only trusted nodes see relayed key, and the way has the fewest hops', async (t) => {
  const edges = SQUARE.flatMap(({ link, keys, ends }) => (keys === 'pool' && ends ? [{ link, ends }] : []))
  const route = (trusted?: string[]) => new RelayMap(edges, trusted).route('a', 'c', () => true)
  t.same(route(), [0, 1])
  t.same(route(['d']), [3, 2])
  t.equal(route([]), undefined)
  t.same(
    new RelayMap([...edges, { link: 9, ends: ['c', 'a'] }]).route('a', 'c', () => true),
    [9],
  )
  t.equal(
    new RelayMap(edges).route('a', 'nowhere', () => true),
    undefined,
  )
  t.same(
    new RelayMap(edges).route('a', 'c', (link) => link !== 0),
    [3, 2],
  )
})

t.test('key is carried hop by hop under pads that serve once, and nothing on the way shows it', async (t) => {
  const key = Uint8Array.from({ length: 32 }, (_, index) => index)
  const pads = [7, 77, 177].map((seed) => Uint8Array.from({ length: 32 }, (_, index) => (seed * (index + 3)) & 0xff))
  const before = pads.map((pad) => pad.slice())
  const seen: Uint8Array[] = []
  const carried = carryHopByHop(key, pads, (_hop, cipher) => seen.push(cipher.slice()))
  t.same(carried, key)
  t.not(carried, key)
  t.same(
    seen.map((cipher, hop) => cipher.map((byte, index) => byte ^ (before[hop]?.[index] ?? 0))),
    [key, key, key],
  )
  t.ok(seen.every((cipher) => Buffer.compare(cipher, key) !== 0))
  t.ok(pads.every((pad) => pad.every((byte) => byte === 0)))
  t.throws(() => carryHopByHop(key, [new Uint8Array(31)]), /BAD_PAD/)
})

// --- all together --------------------------------------------------------------------------------------------------

const arbStep = fc.oneof(
  fc.record({
    kind: fc.constant('generate' as const),
    link: fc.integer({ min: 0, max: 3 }),
    bits: fc.double({ min: 0, max: 9000, noNaN: true }),
  }),
  fc.record({
    kind: fc.constant('want' as const),
    channel: fc.integer({ min: 0, max: CHANNELS - 1 }),
    slots: fc.integer({ min: 0, max: 300 }),
    top: fc.integer({ min: 0, max: 300 }),
    quota: fc.constantFrom('one', 'two'),
    waitMs: fc.option(fc.integer({ min: 1, max: 400 }), { nil: undefined }),
  }),
  fc.record({
    kind: fc.constantFrom('use' as const, 'discard' as const, 'skip' as const, 'resume' as const),
    channel: fc.integer({ min: 0, max: CHANNELS - 1 }),
    slots: fc.integer({ min: 0, max: 400 }),
  }),
  fc.record({ kind: fc.constant('withdraw' as const), channel: fc.integer({ min: 0, max: CHANNELS - 1 }) }),
  fc.record({ kind: fc.constant('link' as const), link: fc.integer({ min: 0, max: 3 }), up: fc.boolean() }),
  fc.record({ kind: fc.constant('pass' as const), waitMs: fc.integer({ min: 0, max: 500 }) }),
)

t.test(
  'with relays, quotas, reserves, deadlines and broken links the books balance and nothing is given twice',
  async (t) => {
    const quotas = [
      { id: 'one', channels: [0, 1, 2, 3, 4, 5, 6, 7, 10, 11] },
      { id: 'two', channels: [0, 1, 2, 3, 4, 5, 6, 7, 10, 11], fromLinks: [1, 2], weight: 3 },
    ]
    const property = fc.property(
      fc.constantFrom('shared' as const, 'perLink' as const, 'quota' as const),
      fc.boolean(),
      fc.array(arbStep, { maxLength: 150 }),
      (poolKind, hasReserve, steps) => {
        const reserve = { authenticationBits: 3200, topChainBits: 3200 }
        const pool = makePool({
          ...{ poolKind, capBits: 64_000, expiryMs: 700 },
          ...(poolKind === 'quota' && { quotas }),
          ...(hasReserve && { reserve }),
        })
        const ends = new Array<number>(CHANNELS).fill(0)
        const seen = new Set<number>()
        let tMs = 0
        for (const step of steps) {
          let blocks: KeyBlock[] = []
          if (step.kind === 'generate') blocks = pool.generate(step.link, step.bits, tMs)
          if (step.kind === 'want') {
            const upToSlot = (ends[step.channel] ?? 0) + step.slots
            const quota = poolKind === 'quota' ? { quota: step.quota } : {}
            const deadline = step.waitMs === undefined ? {} : { deadlineMs: tMs + step.waitMs }
            blocks = pool.want(step.channel, upToSlot, { topUpToSlot: step.top, ...quota, ...deadline })
          }
          if (step.kind === 'use') pool.reportUse(step.channel, step.slots)
          if (step.kind === 'discard') pool.discard(step.channel, step.slots)
          if (step.kind === 'skip') pool.reportUse(step.channel, step.slots, step.slots >> 1)
          if (step.kind === 'resume' && step.slots < 30) {
            pool.resume(step.channel, (ends[step.channel] ?? 0) + step.slots)
            ends[step.channel] = (ends[step.channel] ?? 0) + step.slots
          }
          if (step.kind === 'withdraw') pool.withdraw(step.channel)
          if (step.kind === 'link') blocks = pool.setLinkUp(step.link, step.up)
          if (step.kind === 'pass') {
            tMs += step.waitMs
            pool.expire(tMs)
            pool.withdrawOverdue(tMs)
          }
          for (const { channel, slot, bytes } of blocks) {
            if (slot !== ends[channel] || bytes.length === 0) throw new Error(`channel ${channel} is not contiguous`)
            ends[channel] = slot + bytes.length / SLOT_BYTES
            const view = new DataView(bytes.buffer, bytes.byteOffset)
            for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
              if (seen.has(view.getUint32(at))) throw new Error('material was given twice')
              seen.add(view.getUint32(at))
            }
          }
          for (const books of [pool.books(), pool.localBooks(), pool.relayBooks()]) {
            if (imbalanceBits(books) !== 0) throw new Error('books do not balance')
            if (Object.values(books).some((bits) => bits < 0)) throw new Error('a negative balance')
          }
          if (pool.books().poolBits > 64_000) throw new Error('more than the cap')
          for (const { channel, assignedSlots, usedSlots, discardedSlots, skippedSlots, reserved } of pool.streams()) {
            const reservedSlots = reserved.reduce((sum, [from, to]) => sum + to - from, 0)
            const sum = usedSlots + discardedSlots + skippedSlots + reservedSlots
            if (sum !== assignedSlots || assignedSlots !== ends[channel]) throw new Error(`stream ${channel}: ${sum}`)
            if (pool.wantedSlots(channel) < assignedSlots) throw new Error('wanted less than it has')
          }
        }
        // With every link up and key in plenty, whoever still waits is served.
        for (const link of [0, 1, 2, 3]) pool.setLinkUp(link, true)
        for (let round = 0; round < 4; round++) for (const link of [0, 1, 2, 3]) pool.generate(link, 3_200_000, tMs)
        for (const { channel, assignedSlots } of pool.streams()) {
          if (pool.wantedSlots(channel) !== assignedSlots) throw new Error(`channel ${channel} starves`)
        }
      },
    )
    t.doesNotThrow(() => fc.assert(property, { numRuns: 400 }))
    t.equal(AUTHENTICATION_SLOTS, 12)
  },
)
