import t from 'tap'
import {
  CLEAR,
  FaultInjector,
  type FaultLaw,
  FRAME_OVERHEAD_BYTES,
  Impairment,
  type LinkLaw,
  lawInState,
  randomStream,
} from '../../src/sim/index.ts'

const N = 50_000

function delays(law: Partial<LinkLaw>, count = N): (number | undefined)[] {
  const impairment = new Impairment({ ...CLEAR, ...law }, randomStream(1, 'link 1'))
  return Array.from({ length: count }, (_, i) => {
    const [arrivesMs] = impairment.arrivals(i, 100)
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
  const arrivals = Array.from({ length: 1000 }, (_, i) => impairment.arrivals(i, 100)).flat()
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
  t.same(impairment.arrivals(0, 100), [])
  impairment.law = lawInState(law, { up: true, delayMs: 7 })
  t.same(impairment.arrivals(10, 100), [17])
})

t.test('pareto jitter has a long tail above the delay and a short one below', async (t) => {
  const pareto = got(delays({ delayMs: 20, jitterMs: 3, jitter: 'pareto' })).toSorted((a, b) => a - b)
  const at = (part: number): number => pareto[Math.floor(part * pareto.length)] ?? Number.NaN
  t.ok(at(0) >= 18 && at(0.999) > 31 && (pareto.at(-1) ?? 0) <= 32, `${at(0)} to ${pareto.at(-1)}`)
  t.ok(Math.abs(at(0.5) - 20 - 4 * (Math.cbrt(2) - 1.5)) < 0.05, `median ${at(0.5)}`)
})

t.test('losses in bursts have the length and the number of the model of Gilbert and Elliott', async (t) => {
  const burst = { startRatio: 0.01, endRatio: 0.25, lossRatio: 0.8 }
  const lost = delays({ lossRatio: 0.001, burst }).map((delay) => delay === undefined)
  const badPart = 0.01 / 0.26
  const wanted = badPart * 0.8 + (1 - badPart) * 0.001
  const ratio = lost.filter(Boolean).length / N
  t.ok(Math.abs(ratio - wanted) < 0.004, `${ratio} lost of ${wanted}`)
  const after = lost.filter((_, i) => lost[i - 1] === true)
  const conditional = after.filter(Boolean).length / after.length
  // A loss is nearly always in the bad state: it goes on with 1 - 0.25, and loses 0.8 there.
  t.ok(Math.abs(conditional - 0.75 * 0.8) < 0.06, `${conditional} after a loss`)
})

t.test('a new law ends a burst', async (t) => {
  const burst = { startRatio: 1, endRatio: 0, lossRatio: 1 }
  const impairment = new Impairment({ ...CLEAR, burst }, randomStream(1, 'x'))
  t.same([impairment.arrivals(0, 1), impairment.arrivals(1, 1), impairment.arrivals(2, 1)], [[0], [], []])
  impairment.law = { ...CLEAR, burst }
  t.same([impairment.arrivals(3, 1), impairment.arrivals(4, 1)], [[3], []])
})

t.test('a doubled datagram has two delays, and survives the loss of one', async (t) => {
  const impairment = new Impairment(
    { ...CLEAR, delayMs: 10, jitterMs: 1, duplicateRatio: 0.2, lossRatio: 0.1 },
    randomStream(1, 'x'),
  )
  const arrivals = Array.from({ length: N }, (_, i) => impairment.arrivals(0, i % 100))
  const part = (copies: number): number => arrivals.filter(({ length }) => length === copies).length / N
  t.ok(Math.abs(part(0) - 0.8 * 0.1) < 0.005, `${part(0)} lost`)
  t.ok(Math.abs(part(2) - 0.2 * 0.9 * 0.9) < 0.006, `${part(2)} doubled`)
  t.ok(arrivals.every(([a, b]) => a === undefined || a !== b))
})

t.test('a datagram that skips the delay overtakes those before it', async (t) => {
  const all = delays({ delayMs: 10, reorderRatio: 0.1 })
  const skipped = all.filter((delay) => delay === 0).length / N
  t.ok(Math.abs(skipped - 0.1) < 0.006, `${skipped}`)
  t.same(new Set(all), new Set([0, 10]))
  t.same(new Set(delays({ reorderRatio: 1 }, 100)), new Set([0]), 'without a delay there is nothing to skip')
})

t.test('a line of limited rate sends one frame after the other', async (t) => {
  // 8 bit/ms; a datagram of 10 octets is a frame of 52.
  const impairment = new Impairment({ ...CLEAR, delayMs: 1, bandwidthBps: 8000 }, randomStream(1, 'x'))
  const frame = (nowMs: number, sizeBytes: number) => impairment.arrivals(nowMs, sizeBytes)[0]
  t.same([frame(0, 10), frame(0, 10), frame(200, 5)], [53, 105, 248])
  t.equal(FRAME_OVERHEAD_BYTES, 42)
})

t.test('behind a limited rate jitter lets nothing overtake', async (t) => {
  const law: LinkLaw = { ...CLEAR, delayMs: 20, jitterMs: 10, jitter: 'uniform', bandwidthBps: 8e6 }
  const impairment = new Impairment(law, randomStream(1, 'x'))
  const arrivals = Array.from({ length: 1000 }, (_, i) => impairment.arrivals(i, 58)).flat()
  const gaps = arrivals.slice(1).map((arrivesMs, i) => arrivesMs - (arrivals[i] ?? 0))
  t.ok(Math.min(...gaps) > 0.0999, `${Math.min(...gaps)} ms between two`)
})

t.test('a law out of range is refused', async (t) => {
  const random = randomStream(1, 'x')
  const burst = { startRatio: 0.1, endRatio: 0.1, lossRatio: 2 }
  const bad = [{ delayMs: -1 }, { jitterMs: Number.NaN }, { lossRatio: 1.1 }, { bandwidthBps: 0 }, { burst }]
  for (const wrong of [...bad, { duplicateRatio: -0.1 }, { reorderRatio: 1.5 }, { jitterMs: 2_001 }]) {
    t.throws(() => new Impairment({ ...CLEAR, ...wrong }, random), RangeError, JSON.stringify(wrong))
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
