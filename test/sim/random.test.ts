import fc from 'fast-check'
import t from 'tap'
import { EventQueue, randomStream } from '../../src/sim/index.ts'

const N = 100_000

/** Mean and variance. */
function moments(draw: () => number, count = N): readonly [mean: number, variance: number] {
  let sum = 0
  let squares = 0
  for (let i = 0; i < count; i++) {
    const value = draw()
    sum += value
    squares += value * value
  }
  const mean = sum / count
  return [mean, squares / count - mean * mean]
}

function near(
  t: { ok: (value: boolean, text: string) => unknown },
  value: number,
  wanted: number,
  tolerance: number,
  what: string,
): void {
  t.ok(Math.abs(value - wanted) <= tolerance, `${what}: ${value}, wanted ${wanted} within ${tolerance}`)
}

t.test('the same seed and name give the same numbers on every machine', async (t) => {
  const stream = randomStream(1, 'x')
  t.equal(stream.uniform(), 0.4247624054357122)
  t.equal(stream.uniform(), 0.7228832445080491)
  t.equal(stream.normal(), 1.5175737539180911)
  t.equal(stream.exponential(2), 0.14296504485656308)
  t.equal(stream.poisson(3), 2)
  t.same([...stream.bytes(5)], [79, 21, 220, 163, 68])
})

t.test('streams of other names and seeds are unlike', async (t) => {
  const first = (seed: number, name: string) => Buffer.from(randomStream(seed, name).bytes(16)).toString('hex')
  const all = [0, 1, 2, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER].flatMap((seed) =>
    ['', 'a', 'b', 'ab', 'ba', 'link 1', 'link 2'].map((name) => first(seed, name)),
  )
  t.equal(new Set(all).size, all.length)
})

t.test('neighbouring streams are uncorrelated', async (t) => {
  const [a, b] = [randomStream(1, 'link 1'), randomStream(1, 'link 2')]
  const [covariance] = moments(() => (a.uniform() - 0.5) * (b.uniform() - 0.5))
  near(t, covariance * 12, 0, 0.015, 'correlation')
})

t.test('a seed that is no whole number from 0 to 2^53 - 1 is refused', async (t) => {
  for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) t.throws(() => randomStream(seed, 'x'), RangeError)
})

t.test('uniform numbers fill [0, 1) evenly', async (t) => {
  const stream = randomStream(7, 'uniform')
  const counts = new Array<number>(64).fill(0)
  for (let i = 0; i < N; i++) {
    const cell = Math.floor(64 * stream.uniform())
    counts[cell] = (counts[cell] ?? Number.NaN) + 1
  }
  const chiSquare = counts.reduce((sum, count) => sum + (count - N / 64) ** 2 / (N / 64), 0)
  t.ok(chiSquare > 35 && chiSquare < 103, `chi square ${chiSquare} with 63 degrees of freedom`)
})

t.test('normal, exponential and Poisson numbers have their means and variances', async (t) => {
  const stream = randomStream(7, 'moments')
  const [normalMean, normalVariance] = moments(() => stream.normal())
  near(t, normalMean, 0, 0.013, 'normal mean')
  near(t, normalVariance, 1, 0.018, 'normal variance')
  const [kurtosis] = moments(() => stream.normal() ** 4)
  near(t, kurtosis, 3, 0.13, 'fourth moment of the normal')
  const [exponentialMean, exponentialVariance] = moments(() => stream.exponential(5))
  near(t, exponentialMean, 5, 0.07, 'exponential mean')
  near(t, exponentialVariance, 25, 1, 'exponential variance')
  for (const mean of [0, 0.3, 12, 1300]) {
    const count = mean > 100 ? 2000 : N
    const [poissonMean, poissonVariance] = moments(() => stream.poisson(mean), count)
    near(t, poissonMean, mean, 4 * Math.sqrt(mean / count), `Poisson ${mean} mean`)
    near(t, poissonVariance, mean, 6 * mean * Math.sqrt(2 / count) + 0.01 * mean, `Poisson ${mean} variance`)
  }
})

t.test('bytes of any length are even', async (t) => {
  const bytes = randomStream(7, 'bytes').bytes(N + 3)
  t.equal(bytes.length, N + 3)
  const counts = new Array<number>(256).fill(0)
  for (const byte of bytes) counts[byte] = (counts[byte] ?? Number.NaN) + 1
  const chiSquare = counts.reduce((sum, count) => sum + (count - N / 256) ** 2 / (N / 256), 0)
  t.ok(chiSquare > 180 && chiSquare < 345, `chi square ${chiSquare} with 255 degrees of freedom`)
})

t.test(
  'property: the event queue gives items by time, and those of the same time in the order they came',
  async (t) => {
    const operation = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constant('pop' as const))
    const property = fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const queue = new EventQueue<string>()
      const model: { tMs: number; item: string }[] = []
      operations.forEach((operation, index) => {
        if (operation === 'pop') {
          const expected = model.toSorted((a, b) => a.tMs - b.tMs)[0]
          if (expected !== undefined) model.splice(model.indexOf(expected), 1)
          if (queue.pop() !== expected?.item) throw new Error('wrong item')
        } else {
          queue.push(operation, `${index}`)
          model.push({ tMs: operation, item: `${index}` })
        }
        if (queue.size !== model.length) throw new Error('wrong size')
        if (queue.nextMs !== Math.min(...model.map(({ tMs }) => tMs))) throw new Error('wrong time')
      })
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 300, seed: 1 }))
  },
)
