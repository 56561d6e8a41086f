import t from 'tap'
import { ConformalQuantile } from '../../src/forecast/conformal.ts'
import { Demand, LevelFilter } from '../../src/forecast/demand.ts'
import { LinkFilter, LinkSupply } from '../../src/forecast/link-supply.ts'
import {
  Adam,
  backward,
  carryState,
  forwardStep,
  type Network,
  networkOf,
  parameterCount,
  tapeOf,
} from '../../src/forecast/lstm.ts'
import { projectionOf } from '../../src/forecast/stock-model.ts'
import { Trust } from '../../src/forecast/trust.ts'
import { randomStream } from '../../src/sim/index.ts'

const near = (t: Tap, found: number, expected: number, tolerance: number, what: string): void =>
  void t.ok(
    Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${what}: ${found}, expected ${expected}`,
  )
type Tap = Pick<typeof t, 'ok'>

t.test('the gradient of the LSTM is that of finite differences', async (t) => {
  const random = randomStream(1, 'gradient')
  const shape = { inputs: 3, units: 5, outputs: 2 }
  const steps = 7
  const count = parameterCount(shape.inputs, shape.units, shape.outputs)
  const network = networkOf(shape, () => random.uniform(), new Float64Array(count))
  for (let i = 0; i < count; i++) network.parameters[i] = random.normal() * 0.6
  const x = Float64Array.from({ length: steps * shape.inputs }, () => random.normal())
  const target = Float64Array.from({ length: steps * shape.outputs }, () => random.normal())
  const start = Float64Array.from({ length: 2 * shape.units }, () => random.normal())
  const run = (net: Network) => {
    const tape = tapeOf(net, steps)
    tape.h.set(start.subarray(0, shape.units))
    tape.c.set(start.subarray(shape.units))
    for (let s = 0; s < steps; s++) forwardStep(net, tape, s, x, s * shape.inputs)
    const loss = tape.outputs.reduce((sum, y, i) => sum + 0.5 * (y - (target[i] ?? 0)) ** 2, 0)
    return { tape, loss }
  }
  const { tape } = run(network)
  const dOutputs = tape.outputs.map((y, i) => y - (target[i] ?? 0))
  const gradient = new Float64Array(count)
  backward(network, tape, steps, { x, at: 0, dOutputs, gradient })
  const h = 1e-5
  let worst = 0
  for (let i = 0; i < count; i++) {
    const value = network.parameters[i] ?? 0
    network.parameters[i] = value + h
    const above = run(network).loss
    network.parameters[i] = value - h
    const below = run(network).loss
    network.parameters[i] = value
    const numeric = (above - below) / (2 * h)
    worst = Math.max(worst, Math.abs(numeric - (gradient[i] ?? 0)) / Math.max(1e-3, Math.abs(numeric)))
  }
  t.ok(worst < 1e-5, `largest relative difference of ${count} derivatives: ${worst}`)
})

t.test('steps taken one by one with the state carried give what a whole tape gives', async (t) => {
  const random = randomStream(2, 'carry')
  const network = networkOf({ inputs: 4, units: 8, outputs: 3 }, () => random.uniform())
  const x = Float32Array.from({ length: 40 }, () => random.normal())
  const [whole, single] = [tapeOf(network, 10), tapeOf(network, 1)]
  for (let s = 0; s < 10; s++) {
    forwardStep(network, whole, s, x, 4 * s)
    forwardStep(network, single, 0, x, 4 * s)
    carryState(network, single, 1)
    t.same(single.outputs, whole.outputs.slice(3 * s, 3 * s + 3))
  }
})

t.test('Adam with the LSTM learns to remember an input of five steps ago', async (t) => {
  const random = randomStream(3, 'adam')
  const network = networkOf({ inputs: 1, units: 8, outputs: 1 }, () => random.uniform())
  const adam = new Adam(network.parameters.length)
  const gradient = new Float64Array(network.parameters.length)
  const steps = 30
  let loss = 0
  for (let update = 0; update < 600; update++) {
    const x = Float64Array.from({ length: steps }, () => (random.uniform() < 0.5 ? -1 : 1))
    const tape = tapeOf(network, steps)
    const dOutputs = new Float64Array(steps)
    for (let s = 0; s < steps; s++) forwardStep(network, tape, s, x, s)
    let sum = 0
    for (let s = 5; s < steps; s++) {
      const error = (tape.outputs[s] ?? 0) - (x[s - 5] ?? 0)
      dOutputs[s] = error / (steps - 5)
      sum += error * error
    }
    backward(network, tape, steps, { x, at: 0, dOutputs, gradient })
    adam.step(network.parameters, gradient, 0.02)
    loss = sum / (steps - 5)
  }
  t.ok(loss < 0.3, `mean square error ${loss}; without memory 1`)
})

t.test('the filter of a level settles at the solution of its Riccati equation', async (t) => {
  for (const ratio of [1e-4, 1e-2, 0.5]) {
    const filter = new LevelFilter(ratio)
    for (let i = 0; i < 5_000; i++) filter.update(1, 1)
    const prior = (ratio + Math.sqrt(ratio * ratio + 4 * ratio)) / 2
    near(t, filter.p + ratio, prior, 1e-6, `variance before an update, noise ratio ${ratio}`)
    near(t, filter.level, 1, 1e-6, 'level')
  }
})

t.test('the filter of a link is the matrix Kalman filter of its two states', async (t) => {
  const random = randomStream(4, 'matrix')
  const [a, q1, q2] = [0.98, 1e-4, 1e-5]
  const filter = new LinkFilter()
  filter.step(true, 1000, { a, q1, q2 })
  let x = [filter.g, filter.m]
  let p = [
    [filter.pgg, filter.pgm],
    [filter.pgm, filter.pmm],
  ]
  const at = (m: readonly (readonly number[])[], i: number, j: number): number => m[i]?.[j] ?? 0
  const f = [
    [a, 1 - a],
    [0, 1],
  ]
  for (let step = 0; step < 200; step++) {
    const bits = 1000 + 30 * random.normal()
    // The noise goes with the square of the mean as it was.
    const scale = (x[1] ?? 0) ** 2
    const q = [
      [q1 * scale, 0],
      [0, q2 * scale],
    ]
    // The mean moves before the rate follows it, so its noise counts in the same step.
    const moved = [0, 1].map((i) => [0, 1].map((j) => at(p, i, j) + (i === 1 && j === 1 ? at(q, 1, 1) : 0)))
    const predicted = [0, 1].map((i) =>
      [0, 1].map((j) => {
        let sum = i === 0 && j === 0 ? at(q, 0, 0) : 0
        for (const k of [0, 1]) for (const l of [0, 1]) sum += at(f, i, k) * at(moved, k, l) * at(f, j, l)
        return sum
      }),
    )
    const mean = [a * (x[0] ?? 0) + (1 - a) * (x[1] ?? 0), x[1] ?? 0]
    const variance = at(predicted, 0, 0) + 1 / 6
    const gain = [at(predicted, 0, 0) / variance, at(predicted, 1, 0) / variance]
    const innovation = bits - (mean[0] ?? 0)
    x = mean.map((value, i) => value + (gain[i] ?? 0) * innovation)
    p = [0, 1].map((i) => [0, 1].map((j) => at(predicted, i, j) - (gain[i] ?? 0) * at(predicted, 0, j)))
    filter.step(true, bits, { a, q1, q2 })
  }
  near(t, filter.g, x[0] ?? 0, 1e-9, 'rate')
  near(t, filter.m, x[1] ?? 0, 1e-9, 'mean')
  near(t, filter.pgg, at(p, 0, 0), 1e-9, 'variance of the rate')
  near(t, filter.pgm, at(p, 0, 1), 1e-9, 'covariance')
  near(t, filter.pmm, at(p, 1, 1), 1e-9, 'variance of the mean')
})

t.test('the variance of cumulated supply is the double sum of the covariances of its steps', async (t) => {
  // A link whose rate reverts to a mean that is known well: covariances of an Ornstein-Uhlenbeck process.
  const supply = new LinkSupply({ stepMs: 100, rateTauS: 2, rateStdRatio: 0.1, meanStdRatio: 0, breakRatePerS: 0 })
  const bits = 1_000_000
  // The scale of the noise follows the innovations: feed what the model expects on average.
  const random = randomStream(5, 'ou')
  const a = Math.exp(-0.1 / 2)
  let rate = 0
  for (let i = 0; i < 20_000; i++) {
    rate = a * rate + 0.1 * bits * Math.sqrt(1 - a * a) * random.normal()
    const seen = Math.max(0, Math.round(bits + rate))
    supply.observe({
      tMs: 100 * i,
      stockBits: 0,
      generatedBits: seen,
      consumedBits: 0,
      links: [{ link: 0, up: true, generatedBits: seen }],
    })
  }
  const steps = 50
  const [mean, variance] = [new Float64Array(steps), new Float64Array(steps)]
  supply.project(steps, mean, variance)
  let expected = 0
  const stationary = (0.1 * bits) ** 2
  for (let i = 1; i <= steps; i++) {
    for (let j = 1; j <= steps; j++) expected += stationary * (a ** Math.abs(i - j) - a ** (i + j))
  }
  near(t, Math.sqrt(variance[steps - 1] ?? 0), Math.sqrt(expected), 0.1, 'standard deviation of 50 steps together')
  near(t, supply.noiseScale, 1, 0.2, 'scale of the noise')
})

t.test('a link that is down gives nothing at first and is back within the longest break', async (t) => {
  const supply = new LinkSupply({ stepMs: 100 })
  const see = (i: number, up: boolean): void => {
    const bits = up ? 100 : 0
    supply.observe({
      tMs: 100 * i,
      stockBits: 0,
      generatedBits: bits,
      consumedBits: 0,
      links: [{ link: 7, up, generatedBits: bits }],
    })
  }
  for (let i = 0; i < 100; i++) see(i, true)
  see(100, false)
  const [mean, variance] = [new Float64Array(60), new Float64Array(60)]
  supply.project(60, mean, variance)
  t.equal(mean[20], 0, 'in two seconds it is still down')
  near(t, mean[39] ?? 0, 50, 0.06, 'after four seconds it is back in half of the cases')
  near(t, mean[55] ?? 0, 100, 0.02, 'after five it is back')
  // Return uniform over 2 s: at a step after it the sum has the variance of that time.
  near(t, Math.sqrt(variance[55] ?? 0), (100 * 20) / Math.sqrt(12), 0.1, 'spread by the time of return')
  for (let i = 101; i < 400; i++) see(i, false)
  supply.project(60, mean, variance)
  t.ok((mean[0] ?? 0) < 1, 'after 30 s it is a cut, and nothing is expected soon')
  t.ok((mean[59] ?? 0) < 25)
})

t.test('the phase of periodic bursts is learnt, and lost steps do not shift it', async (t) => {
  const demand = new Demand({ stepMs: 100 })
  const random = randomStream(6, 'bursts')
  for (let i = 0; i < 1_200; i++) {
    if (i % 97 === 0) continue
    demand.observe(i, (i % 40 === 13 ? 6_000 : 0) + 300 * random.poisson(0.1), false)
  }
  const [mean, variance] = [new Float64Array(80), new Float64Array(80)]
  demand.project(80, mean, variance)
  const first = mean.indexOf(Math.max(...mean.subarray(0, 40)))
  t.equal((1_200 + first) % 40, 13, 'the next burst is expected where it will be')
  t.ok((mean[first] ?? 0) > 4_000, `of its size: ${mean[first]}`)
  t.ok((mean[(first + 20) % 80] ?? 0) < 500, 'and nothing between')
  t.ok(demand.period().explained > 0.3)
})

t.test('Poisson traffic has no period, and an empty pool does not count as little demand', async (t) => {
  const demand = new Demand({ stepMs: 100 })
  const random = randomStream(7, 'poisson')
  for (let i = 0; i < 3_000; i++) demand.observe(i, 300 * random.poisson(1), false)
  t.equal(demand.period().explained, 0)
  near(t, demand.levelBits, 300, 0.15, 'level')
  for (let i = 3_000; i < 3_500; i++) demand.observe(i, 0, true)
  near(t, demand.levelBits, 300, 0.15, 'level after 50 s without key')
})

t.test('a conformal bound is missed as often as asked, whatever the scores do', async (t) => {
  const random = randomStream(8, 'conformal')
  const laws: readonly ((i: number) => number)[] = [
    () => random.normal(),
    (i) => random.normal() * (i % 4_000 < 2_000 ? 1 : 6),
    (i) => random.normal() + i / 1_000,
    () => (random.uniform() < 0.08 ? 50 * random.exponential(1) : 0.01 * random.normal()),
    (i) => 3 * Math.sin(i / 40) + 0.3 * random.normal(),
  ]
  for (const [k, law] of laws.entries()) {
    const bound = new ConformalQuantile(0.05)
    let missed = 0
    const steps = 20_000
    for (let i = 0; i < steps; i++) {
      const score = law(i)
      const miss = score > bound.quantile()
      if (miss) missed++
      bound.update(score, miss)
    }
    t.ok(Math.abs(missed / steps - 0.05) < 0.004, `law ${k}: ${missed / steps}`)
  }
})

t.test('corrections are trusted as far as they come true, in each regime apart', async (t) => {
  const trust = new Trust()
  const random = randomStream(9, 'trust')
  const projection = projectionOf(50)
  projection.stockSd.fill(100)
  const horizon = 0
  t.equal(trust.ratio(0, horizon), 1, 'fully to begin with')
  let due = { said: 0, regime: 1 as 0 | 1 }
  for (let i = 0; i < 4_000; i++) {
    // In regime 1 the correction comes true by half; in regime 0 it says nothing of what comes.
    const seen = due.regime === 1 ? 0.5 * due.said : 0
    const stockBits = 1_000 + 100 * (seen + 0.1 * random.normal())
    projection.stock.fill(1_000)
    const regime = Math.floor(i / 200) % 2 === 0 ? 0 : 1
    const said = random.normal()
    trust.observe(stockBits, { regime, outputs: new Float64Array(10).fill(said), projection })
    due = { said, regime }
  }
  near(t, trust.ratio(1, horizon), 0.5, 0.05, 'half')
  t.ok(trust.ratio(0, horizon) < 0.05, 'not at all')
})
