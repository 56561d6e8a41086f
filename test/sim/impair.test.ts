import t from 'tap'
import {
  CLEAR,
  FaultInjector,
  type FaultLaw,
  Impairment,
  type LinkLaw,
  lawInState,
  randomStream,
} from '../../src/sim/index.ts'

const N = 50_000

function delays(law: Partial<LinkLaw>, count = N): (number | undefined)[] {
  const impairment = new Impairment({ ...CLEAR, ...law }, randomStream(1, 'link 1'))
  return Array.from({ length: count }, (_, i) => {
    const arrivesMs = impairment.schedule(i, 100)
    return arrivesMs === undefined ? undefined : arrivesMs - i
  })
}

const got = (all: readonly (number | undefined)[]) => all.filter((value) => value !== undefined)
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const std = (values: readonly number[]) => {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
}

t.test('a link without jitter delivers everything after its delay', async (t) => {
  t.same(new Set(delays({ delayMs: 5 }, 1000)), new Set([5]))
  t.same(new Set(delays({}, 1000)), new Set([0]))
})

t.test('jitter has its standard deviation, or stays within its width, about the delay', async (t) => {
  const normal = got(delays({ delayMs: 20, jitterMs: 2, jitter: 'normal' }))
  t.ok(Math.abs(mean(normal) - 20) < 0.05 && Math.abs(std(normal) - 2) < 0.04, `${mean(normal)} +- ${std(normal)}`)
  const uniform = got(delays({ delayMs: 20, jitterMs: 2, jitter: 'uniform' }))
  const range = [Math.min(...uniform.slice(0, 9999)), Math.max(...uniform.slice(0, 9999))]
  t.ok((range[0] ?? 0) >= 18 && (range[1] ?? 99) <= 22, `${range}`)
  t.ok(Math.abs(std(uniform) - 2 / Math.sqrt(3)) < 0.02, `${std(uniform)}`)
})

t.test('no datagram arrives before it is sent', async (t) => {
  t.ok(got(delays({ delayMs: 1, jitterMs: 5 })).every((delayMs) => delayMs >= 0))
})

t.test('jitter lets datagrams overtake each other', async (t) => {
  const impairment = new Impairment({ ...CLEAR, delayMs: 10, jitterMs: 3 }, randomStream(1, 'x'))
  const arrivals = got(Array.from({ length: 1000 }, (_, i) => impairment.schedule(i, 100)))
  t.ok(arrivals.some((arrivesMs, i) => arrivesMs < (arrivals[i - 1] ?? 0)))
})

t.test('losses come at their rate and independently', async (t) => {
  const lost = delays({ lossRatio: 0.1 }).map((delayMs) => delayMs === undefined)
  const ratio = lost.filter(Boolean).length / N
  t.ok(Math.abs(ratio - 0.1) < 0.005, `${ratio}`)
  const after = lost.filter((_, i) => lost[i - 1] === true)
  const conditional = after.filter(Boolean).length / after.length
  t.ok(Math.abs(conditional - 0.1) < 0.015, `${conditional} after a loss`)
})

t.test('a broken link loses all, a repaired one nothing more', async (t) => {
  const law: LinkLaw = { ...CLEAR, delayMs: 5 }
  const impairment = new Impairment(law, randomStream(1, 'x'))
  impairment.law = lawInState(law, { up: false, delayMs: 6 })
  t.equal(impairment.schedule(0, 100), undefined)
  impairment.law = lawInState(law, { up: true, delayMs: 7 })
  t.equal(impairment.schedule(10, 100), 17)
})

t.test('a line of limited rate sends one datagram after the other', async (t) => {
  const impairment = new Impairment({ ...CLEAR, delayMs: 1, bandwidthBps: 8000 }, randomStream(1, 'x'))
  t.same([impairment.schedule(0, 10), impairment.schedule(0, 10), impairment.schedule(100, 5)], [11, 21, 106])
})

t.test('a law out of range is refused', async (t) => {
  const random = randomStream(1, 'x')
  for (const bad of [{ delayMs: -1 }, { jitterMs: Number.NaN }, { lossRatio: 1.1 }, { bandwidthBps: 0 }]) {
    t.throws(() => new Impairment({ ...CLEAR, ...bad }, random), RangeError)
  }
})

function faulted(law: FaultLaw): {
  dropped: number
  doubled: number
  flippedBits: number
  cut: number
  heldMs: number[]
} {
  const injector = new FaultInjector(law, randomStream(1, 'faults'))
  const seen = { dropped: 0, doubled: 0, flippedBits: 0, cut: 0, heldMs: [] as number[] }
  for (let i = 0; i < 10_000; i++) {
    const out = injector.apply(new Uint8Array(40))
    if (out.length === 0) seen.dropped++
    if (out.length === 2) seen.doubled++
    for (const { bytes, holdMs } of out) {
      for (const byte of bytes) for (let rest = byte; rest > 0; rest &= rest - 1) seen.flippedBits++
      if (bytes.length < 40) seen.cut++
      if (holdMs > 0) seen.heldMs.push(holdMs)
    }
  }
  return seen
}

t.test('each fault happens at its rate, and nothing else does', async (t) => {
  const none = { dropped: 0, doubled: 0, flippedBits: 0, cut: 0, heldMs: [] }
  const about = (count: number, wanted: number) => Math.abs(count - wanted) < 5 * Math.sqrt(wanted)
  t.same(faulted({}), none)
  const { dropped, ...afterDrop } = faulted({ dropRatio: 0.05 })
  t.ok(about(dropped, 500) && afterDrop.doubled + afterDrop.flippedBits + afterDrop.cut === 0, `${dropped} dropped`)
  const { doubled, ...afterDouble } = faulted({ duplicateRatio: 0.05 })
  t.ok(about(doubled, 500) && afterDouble.dropped + afterDouble.flippedBits === 0, `${doubled} doubled`)
  const { flippedBits, ...afterFlip } = faulted({ corruptRatio: 0.05 })
  t.ok(about(flippedBits, 500) && afterFlip.cut === 0, `${flippedBits} bits flipped`)
  const { cut } = faulted({ truncateRatio: 0.05 })
  t.ok(about(cut, 500), `${cut} cut`)
  const { heldMs } = faulted({ reorderRatio: 0.05, reorderMs: 8 })
  t.ok(about(heldMs.length, 500) && Math.max(...heldMs) < 8, `${heldMs.length} held`)
})

t.test('a copy and its original suffer apart', async (t) => {
  const injector = new FaultInjector({ duplicateRatio: 1, corruptRatio: 0.5 }, randomStream(1, 'faults'))
  const pairs = Array.from({ length: 100 }, () =>
    injector.apply(new Uint8Array(8)).map(({ bytes }) => bytes.some(Boolean)),
  )
  t.ok(pairs.some(([a, b]) => a !== b))
})

t.test('an empty datagram survives every fault', async (t) => {
  const injector = new FaultInjector({ corruptRatio: 1, truncateRatio: 1 }, randomStream(1, 'faults'))
  t.equal(injector.apply(new Uint8Array(0))[0]?.bytes.length, 0)
})
