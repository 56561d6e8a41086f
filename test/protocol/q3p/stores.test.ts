import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { KeyStream, ReplayWindow, rebuildCounter, WINDOW_MESSAGES } from '../../../src/protocol/index.ts'

const octets = (slots: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length: 4 * slots }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 0xff)

t.test('a counter is rebuilt from its low 32 bits anywhere within 2^31 of the reference', async (t) => {
  const reference = fc.integer({ min: 0, max: 2 ** 53 - 2 ** 33 })
  const distance = fc.integer({ min: -(2 ** 31) + 1, max: 2 ** 31 })
  fc.assert(
    fc.property(reference, distance, (near, ahead) => {
      const counter = near + ahead
      return counter < 0 || rebuildCounter(counter % 2 ** 32, near) === counter
    }),
    { numRuns: 2000 },
  )
  t.equal(rebuildCounter(5, -1), 5, 'nothing seen yet')
  t.equal(rebuildCounter(0, 2 ** 32 - 1), 2 ** 32, 'the low word wraps')
  t.equal(rebuildCounter(2 ** 32 - 1, 2 ** 32), 2 ** 32 - 1, 'a late one from before the wrap')
  t.equal(rebuildCounter(2 ** 32 - 1, 3), 2 ** 32 - 1, 'never negative')
  t.ok(Number.isSafeInteger(rebuildCounter(0, Number.MAX_SAFE_INTEGER)))
})

t.test('the replay window agrees with a set of all accepted counters', async (t) => {
  const steps = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: -40, max: 40 }) },
      { weight: 2, arbitrary: fc.integer({ min: -1200, max: 1200 }) },
      { weight: 1, arbitrary: fc.integer({ min: -3000, max: 100_000 }) },
    ),
    { maxLength: 300 },
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 40 }), steps, (start, walk) => {
      const window = new ReplayWindow()
      const seen = new Set<number>()
      let [at, highest] = [start, -1]
      for (const step of walk) {
        at = Math.max(0, at + step)
        const expected = at <= highest - WINDOW_MESSAGES ? 'tooOld' : seen.has(at) ? 'replayed' : 'fresh'
        if (window.check(at) !== expected) return false
        if (expected === 'fresh') {
          window.accept(at)
          seen.add(at)
          highest = Math.max(highest, at)
        }
        if (window.highest !== highest) return false
      }
      return true
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('a sender takes each slot once, in order, whatever the sizes', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(900), fc.nat(1500)), { maxLength: 20 }), (steps) => {
      const [stream, taken] = [new KeyStream(), [] as number[]]
      let length = 0
      for (const [append, take] of steps) {
        if (stream.append(length, octets(append, length)) !== 'appended') return false
        length += append
        const available = stream.availableSlots
        const run = stream.take(take)
        if ((run === undefined) !== take > available) return false
        if (run === undefined) continue
        if (run.slot !== taken.length / 4) return false
        taken.push(...run.bytes)
      }
      const stored: number[] = []
      for (let from = 0, step = 0; step < steps.length; step += 1) {
        const append = steps[step]?.[0] ?? 0
        stored.push(...octets(append, from))
        from += append
      }
      return (
        stream.lengthSlots === length &&
        stream.usedSlots === taken.length / 4 &&
        Buffer.compare(Buffer.from(taken), Buffer.from(stored.slice(0, taken.length))) === 0
      )
    }),
    { numRuns: 100 },
  )
  t.pass()
})

t.test('a stream takes contiguous blocks and repetitions that agree, and refuses all else', async (t) => {
  const stream = new KeyStream()
  t.equal(stream.append(100, octets(10)), 'appended', 'the first block may begin anywhere')
  t.same([stream.lengthSlots, stream.usedSlots, stream.availableSlots], [110, 100, 10])
  t.equal(stream.append(100, octets(10)), 'duplicate')
  t.equal(stream.append(102, octets(10).subarray(8, 20)), 'duplicate')
  t.equal(stream.append(100, octets(10, 2)), 'conflict')
  t.equal(stream.append(105, octets(10)), 'overlap')
  t.equal(stream.append(111, octets(1)), 'gap')
  t.equal(stream.append(110, new Uint8Array(3)), 'malformed')
  t.equal(stream.append(-1, octets(1)), 'malformed')
  t.equal(stream.append(2 ** 53 - 1, octets(4)), 'malformed')
  stream.take(10)
  t.equal(stream.append(100, octets(10, 2)), 'duplicate', 'used octets are gone, so nothing can disagree')
  t.equal(stream.append(110, octets(2)), 'appended')
  t.same([stream.lengthSlots, stream.usedSlots, stream.availableSlots], [112, 110, 2])
  const restarted = new KeyStream()
  t.equal(restarted.append(5000, new Uint8Array(0)), 'appended', 'an empty first block says where the stream stands')
  t.same([restarted.lengthSlots, restarted.usedSlots], [5000, 5000])
})

t.test('a receiver reads out of order, burns what it accepted, and counts gaps as used', async (t) => {
  const stream = new KeyStream()
  const all = octets(3000)
  stream.append(0, all)
  t.same(stream.read(1020, 10), all.subarray(4080, 4120), 'over the edge of a chunk')
  stream.burn(1020, 10)
  t.equal(stream.usedSlots, 1030)
  t.equal(stream.read(1029, 2), 'gone')
  t.same(stream.read(1000, 20), all.subarray(4000, 4080), 'a late frame still finds its slots')
  t.equal(stream.read(2990, 11), 'notYet')
  stream.burn(2500, 4)
  stream.burnBelow(2100)
  t.equal(stream.usedSlots, 2504)
  t.equal(stream.read(2099, 1), 'gone')
  t.equal(stream.read(5, 1), 'gone')
  t.same(stream.read(2100, 2), all.subarray(8400, 8408))
  const late = new KeyStream()
  t.equal(late.read(3, 1), 'notYet')
  late.append(50, octets(2))
  t.equal(late.read(3, 1), 'gone')
  t.equal(late.read(49, 4), 'gone')
})

t.test('no text form of a stream holds key octets', async (t) => {
  const stream = new KeyStream()
  stream.append(0, new Uint8Array(64).fill(0xab))
  const texts = [JSON.stringify(stream), inspect(stream, { showHidden: true, depth: 9 }), String(stream)]
  t.notMatch(texts.join(' '), /171|abab/i)
  t.equal(texts[0], '{"lengthSlots":16,"usedSlots":0}')
})
