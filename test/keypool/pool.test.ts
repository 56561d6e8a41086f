import fc from 'fast-check'
import t from 'tap'
import { KeyPool, type KeyPoolOptions, MAX_WANT_SLOTS, SLOT_BYTES } from '../../src/keypool/pure.ts'
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

function makePool(options: Partial<KeyPoolOptions> = {}): KeyPool {
  return new KeyPool({
    poolKind: 'shared',
    links: [
      { link: 0, keys: 'pool' },
      { link: 1, keys: 'pool' },
      { link: 2, keys: 'local' },
    ],
    capBits: 32_000,
    safeBits: 3200,
    thBits: 6400,
    randomBytes: counterBytes(),
    ...options,
  })
}

function slotsOf(block: KeyBlock): number {
  return block.bytes.length / SLOT_BYTES
}

function imbalanceBits(books: PoolBooks): number {
  const { generatedBits, usedBits, expiredBits, discardedBits, reservedBits, poolBits } = books
  return generatedBits - usedBits - expiredBits - discardedBits - reservedBits - poolBits
}

const arbChannel = fc.integer({ min: 0, max: 5 })
const arbSlots = fc.integer({ min: 0, max: 400 })
const arbStep = fc.oneof(
  fc.record({
    kind: fc.constant('generate' as const),
    link: fc.integer({ min: 0, max: 1 }),
    bits: fc.double({ min: 0, max: 9000, noNaN: true }),
  }),
  fc.record({ kind: fc.constant('want' as const), channel: arbChannel, slots: arbSlots }),
  fc.record({ kind: fc.constant('use' as const), channel: arbChannel, slots: arbSlots }),
  fc.record({ kind: fc.constant('discard' as const), channel: arbChannel, slots: arbSlots }),
  fc.record({ kind: fc.constant('resume' as const), channel: arbChannel, slots: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ kind: fc.constant('expire' as const), waitMs: fc.integer({ min: 0, max: 500 }) }),
)

t.test('whatever happens, the books balance, streams grow slot by slot, and no material is given twice', async (t) => {
  const property = fc.property(
    fc.constantFrom('shared' as const, 'perLink' as const),
    fc.array(arbStep, { maxLength: 120 }),
    (poolKind, steps) => {
      const pool = makePool({ poolKind, expiryMs: 700 })
      const ends = [0, 0, 0, 0, 0, 0]
      const seen = new Set<number>()
      const used = { pool: 0, generatedBits: 0 }
      let tMs = 0
      for (const step of steps) {
        let blocks: KeyBlock[] = []
        if (step.kind === 'generate') {
          blocks = pool.generate(step.link, step.bits, tMs)
          used.generatedBits += step.bits
        } else if (step.kind === 'expire') {
          tMs += step.waitMs
          pool.expire(tMs)
        } else {
          const end = ends[step.channel] ?? 0
          if (step.kind === 'want') blocks = pool.want(step.channel, end + step.slots)
          if (step.kind === 'use') pool.reportUse(step.channel, step.slots)
          if (step.kind === 'discard') pool.discard(step.channel, step.slots)
          if (step.kind === 'resume') {
            pool.resume(step.channel, end + step.slots)
            ends[step.channel] = end + step.slots
          }
        }
        for (const block of blocks) {
          if (block.slot !== ends[block.channel]) throw new Error(`channel ${block.channel} is not contiguous`)
          if (slotsOf(block) < 1 || !Number.isInteger(slotsOf(block))) throw new Error('a block is not whole slots')
          ends[block.channel] = block.slot + slotsOf(block)
          const view = new DataView(block.bytes.buffer)
          for (let at = 0; at < block.bytes.length; at += 4) {
            const material = view.getUint32(at)
            if (seen.has(material)) throw new Error('material was given twice')
            seen.add(material)
          }
        }
        const books = pool.books()
        if (imbalanceBits(books) !== 0 || imbalanceBits(pool.localBooks()) !== 0)
          throw new Error('books do not balance')
        if (Object.values(books).some((bits) => bits < 0)) throw new Error('a negative balance')
        if (books.poolBits > 32_000) throw new Error('more than the cap')
        if (used.generatedBits - books.generatedBits < -1e-6) throw new Error('more booked than generated')
        if (used.generatedBits - books.generatedBits > 64) throw new Error('a generated slot is lost')
        if (pool.localBooks().poolBits !== 0) throw new Error('the local store keeps a stock')
      }
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('fractions of a slot are carried to the next generation', async (t) => {
  const pool = makePool()
  for (let tick = 0; tick < 10; tick++) pool.generate(0, 12.8, tick * 100)
  t.equal(pool.books().generatedBits, 128)
})

t.test('a want is absolute: asking again for the same slots gives nothing', async (t) => {
  const pool = makePool()
  pool.generate(0, 3200, 0)
  t.equal(pool.want(0, 10).length, 1)
  t.same(pool.want(0, 10), [])
  t.same(pool.want(0, 4), [])
  t.equal(pool.want(0, 11)[0]?.slot, 10)
  t.equal(pool.assignedSlots(0), 11)
})

t.test('a short pool gives what it has at once and the rest as it arrives, in turns', async (t) => {
  const pool = makePool()
  pool.generate(0, 32 * 3, 0)
  const told = (blocks: KeyBlock[]) => blocks.map((block) => [block.channel, block.slot, slotsOf(block)])
  t.same(told(pool.want(0, 5)), [[0, 0, 3]])
  t.same(told(pool.want(2, 2)), [])
  t.same(told(pool.want(0, 9)), [], 'a raised want queues behind the other')
  t.same(told(pool.generate(1, 32, 100)), [[0, 3, 1]])
  t.same(told(pool.generate(1, 32 * 5, 200)), [
    [0, 4, 3],
    [2, 0, 2],
  ])
  t.same(told(pool.generate(1, 32 * 5, 300)), [[0, 7, 2]])
  t.equal(pool.books().poolBits, 32 * 3)
})

t.test('material that somebody waits for does not overflow the cap', async (t) => {
  const pool = makePool({ capBits: 320, safeBits: 0, thBits: 0 })
  pool.want(0, 30)
  pool.generate(0, 32 * 50, 0)
  t.match(pool.books(), { reservedBits: 960, poolBits: 320, discardedBits: 320 })
})

t.test('per-link stocks do not lend to each other and share the cap equally', async (t) => {
  const pool = makePool({ poolKind: 'perLink', capBits: 640, safeBits: 0, thBits: 0 })
  pool.generate(0, 32 * 30, 0)
  t.match(pool.books(), { poolBits: 320, discardedBits: 640 })
  t.same(pool.want(2, 1), [], 'link 1 has nothing')
  t.equal(pool.generate(1, 32, 0).length, 1)
})

t.test('a local link is never short and stays out of K and the pool books', async (t) => {
  const pool = makePool()
  t.equal(slotsOf(pool.want(4, 1000)[0] ?? { channel: 0, slot: 0, bytes: new Uint8Array() }), 1000)
  t.ok(pool.reportUse(4, 400))
  t.match(pool.localBooks(), { generatedBits: 32_000, usedBits: 12_800, reservedBits: 19_200, poolBits: 0 })
  t.match(pool.books(), { generatedBits: 0, reservedBits: 0 })
  t.throws(() => pool.generate(2, 32, 0), /NOT_A_POOL_LINK 2/)
})

t.test('material expires by age, oldest first, and assigned material does not', async (t) => {
  const pool = makePool({ expiryMs: 1000 })
  pool.generate(0, 3200, 0)
  pool.generate(0, 3200, 600)
  pool.want(0, 50)
  pool.expire(1001)
  t.match(pool.books(), { expiredBits: 1600, poolBits: 3200, reservedBits: 1600 })
  pool.expire(1601)
  t.match(pool.books(), { expiredBits: 4800, poolBits: 0 })
})

t.test('what was never assigned can be neither used nor discarded', async (t) => {
  const pool = makePool()
  pool.generate(0, 3200, 0)
  pool.want(0, 10)
  t.notOk(pool.reportUse(0, 11))
  t.notOk(pool.discard(0, 11))
  t.notOk(pool.reportUse(0, -1))
  t.notOk(pool.reportUse(0, Number.NaN))
  t.ok(pool.discard(0, 4))
  t.ok(pool.reportUse(0, 10))
  t.match(pool.books(), { discardedBits: 128, usedBits: 192, reservedBits: 0 })
  t.throws(() => pool.want(0, 10 + MAX_WANT_SLOTS + 1), /TOO_FAR/)
  t.throws(() => pool.want(99, 1), /UNKNOWN_CHANNEL 99/)
})

t.test('the level falls at its bounds and rises only the hysteresis above them', async (t) => {
  const pool = makePool()
  const seen: string[] = []
  const fill = (toBits: number): void => {
    pool.generate(0, toBits - pool.books().poolBits, 0)
    seen.push(`${toBits} ${pool.level}`)
  }
  const draw = (toBits: number): void => {
    pool.want(0, pool.assignedSlots(0) + (pool.books().poolBits - toBits) / 32)
    seen.push(`${toBits} ${pool.level}`)
  }
  t.equal(pool.level, 'protect')
  fill(3328)
  fill(3360)
  draw(3200)
  draw(3168)
  fill(6688)
  fill(6720)
  draw(6400)
  draw(6368)
  fill(8384)
  fill(8416)
  draw(8000)
  draw(7968)
  t.same(seen, [
    '3328 protect',
    '3360 reconfigure',
    '3200 reconfigure',
    '3168 protect',
    '6688 reconfigure',
    '6720 warn',
    '6400 warn',
    '6368 reconfigure',
    '8384 warn',
    '8416 normal',
    '8000 normal',
    '7968 warn',
  ])
})

t.test('a full pool is normal even when its bounds touch the cap', async (t) => {
  const pool = makePool({ capBits: 1000, safeBits: 1000, thBits: 1000 })
  pool.generate(0, 1000, 0)
  t.equal(pool.level, 'normal')
})

t.test('bad options are refused with every problem named', async (t) => {
  const links = [
    { link: 0, keys: 'pool' as const },
    { link: 0, keys: 'pool' as const },
  ]
  t.throws(() => makePool({ links, capBits: 0, thBits: 7, safeBits: 9 }), {
    message: /capBits 0 .*safeBits 9 .*thBits 7 .*link 0 is named twice/,
  })
})

t.test('the status carries level, bounds, books and links', async (t) => {
  const pool = makePool()
  pool.generate(0, 9600, 0)
  const links = [{ link: 0, up: true, rateBps: 1000, delayMs: 2 }]
  t.match(pool.status(100, links), { tMs: 100, level: 'normal', safeBits: 3200, thBits: 6400, capBits: 32_000, links })
})
