import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  parseScenario,
  planOf,
  StockTrace,
  TRACE_KINDS,
  TRACE_STEP_MS,
  type TraceKind,
} from '../../src/experiment/index.ts'
import {
  FORECASTERS,
  type ForecasterName,
  type ForecastWeights,
  forecasterOf,
  formatWeights,
  HORIZONS,
  hashOf,
  parseWeights,
  type StockObservation,
  shippedWeights,
  trainForecast,
  WeightsError,
} from '../../src/forecast/index.ts'
import { randomStream } from '../../src/sim/index.ts'

const FILE = 'scenarios/ieee39.yaml'
const plan = planOf(parseScenario(readFileSync(FILE, 'utf8'), FILE))
const weights = shippedWeights()

function traceOf(kind: TraceKind, seed: number): StockTrace {
  return new StockTrace(plan, { kind, seed, name: 'test' })
}

function make(name: ForecasterName, extra: Partial<Parameters<typeof forecasterOf>[1]> = {}) {
  return forecasterOf(name, { capBits: 96_000, thBits: 24_000, safeBits: 12_000, weights, ...extra })
}

t.test('the lower band holds in 95 % of the cases at every horizon, calm and low stock alike', async (t) => {
  const tallies = new Map<string, { held: number; count: number }>()
  for (const kind of TRACE_KINDS) {
    for (let seed = 500; seed < 505; seed++) {
      const trace = traceOf(kind, seed)
      const forecaster = make('kalman+lstm', {
        onScore({ regime, horizon, seenBits, lowerBits }) {
          const key = `${regime === 'low' ? 'low' : 'calm'} ${HORIZONS[horizon]}`
          const tally = tallies.get(key) ?? { held: 0, count: 0 }
          tallies.set(key, tally)
          tally.count++
          if (seenBits >= lowerBits) tally.held++
        },
      })
      for (let i = 0; i < 2_500; i++) forecaster.observe(trace.next())
    }
  }
  t.equal(tallies.size, 2 * HORIZONS.length)
  // Fifteen traces only: benchmarks hold the half per cent, on more of them.
  for (const [key, { held, count }] of tallies)
    t.ok(Math.abs(held / count - 0.95) < 0.015, `${key}: ${((100 * held) / count).toFixed(2)} % of ${count}`)
})

t.test(
  'every forecaster gives whole forecasts within the pool, from the first step on and for any length',
  async (t) => {
    for (const name of FORECASTERS) {
      const forecaster = make(name)
      const trace = traceOf('structured', 1)
      for (let i = 0; i < 300; i++) {
        forecaster.observe(trace.next())
        if (i > 2 && i < 295) continue
        for (const steps of [1, 7, 50, 200]) {
          const forecast = forecaster.forecast(steps)
          const { supplyBits, supplySdBits, stockBits, stockLowerBits, demandBits } = forecast
          for (const array of [supplyBits, supplySdBits, stockBits, stockLowerBits, demandBits]) {
            if (array.length !== steps || !array.every((bits) => Number.isFinite(bits) && bits >= 0))
              t.fail(`${name}, ${steps} steps after ${i}: ${array.join(' ')}`)
          }
          if (!stockBits.every((bits) => bits <= 96_000)) t.fail(`${name}: stock above the cap`)
          if (!supplySdBits.every((sd, step) => sd >= (supplySdBits[step - 1] ?? 0) - 1e-9))
            t.fail(`${name}: the spread of cumulated supply falls`)
        }
      }
      t.equal(forecaster.name, name)
      t.throws(() => forecaster.forecast(0), { name: 'RangeError' })
      t.throws(() => forecaster.forecast(1.5), { name: 'RangeError' })
      t.throws(() => forecaster.forecast(1e9), { name: 'RangeError' })
    }
  },
)

t.test('numbers that are none do not spoil a forecast', async (t) => {
  for (const name of FORECASTERS) {
    const forecaster = make(name)
    const trace = traceOf('structured', 2)
    for (let i = 0; i < 400; i++) {
      const observation = trace.next()
      forecaster.observe(i % 50 === 7 ? broken(observation, i) : observation)
    }
    const { stockBits, stockLowerBits, demandBits } = forecaster.forecast(50)
    t.ok([...stockBits, ...stockLowerBits, ...demandBits].every(Number.isFinite), name)
  }
})

function broken(observation: StockObservation, i: number): StockObservation {
  const bad = [Number.NaN, Infinity, -Infinity, -1e300][i % 4] ?? Number.NaN
  return {
    tMs: bad,
    stockBits: bad,
    generatedBits: bad,
    consumedBits: bad,
    links: observation.links.map((link) => ({ ...link, generatedBits: bad })),
  }
}

t.test('the same observations give the same forecasts', async (t) => {
  const run = () => {
    const forecaster = make('kalman+lstm')
    const trace = traceOf('channels', 3)
    for (let i = 0; i < 500; i++) forecaster.observe(trace.next())
    return forecaster.forecast(100)
  }
  t.same(run(), run())
})

t.test('wild traffic makes it fall back to the filter alone and say so, and it comes back', async (t) => {
  const forecaster = make('kalman+lstm')
  const trace = traceOf('structured', 4)
  const random = randomStream(4, 'wild')
  const sources: string[] = []
  for (let i = 0; i < 4_000; i++) {
    const observation = trace.next()
    const wild = i >= 1_000 && i < 1_400
    // Ten times the demand in lumps that no training has shown.
    const consumedBits = wild ? (random.uniform() < 0.3 ? 40_000 * random.exponential(1) : 0) : observation.consumedBits
    const stockBits = wild ? 96_000 * random.uniform() : observation.stockBits
    forecaster.observe({ ...observation, consumedBits, stockBits })
    sources.push(forecaster.forecast(1).source)
  }
  t.equal(sources[900], 'kalman+lstm', 'the network is in use on traffic like that of its training')
  t.match(sources[1_390], /^kalman \(fall-back: .+\)$/)
  const last = sources.lastIndexOf('kalman+lstm')
  t.ok(last > 1_400, `back after the wild time, at step ${sources.indexOf('kalman+lstm', 1_400)}`)
  const kalman = make('kalman')
  t.equal(kalman.forecast(1).source, 'kalman')
})

t.test('what cannot be made is refused', async (t) => {
  t.throws(() => forecasterOf('kalman+lstm', { capBits: 1000, thBits: 100 }), /needs weights/)
  t.throws(() => make('kalman', { capBits: 0 }), { name: 'RangeError' })
  t.throws(() => make('kalman', { thBits: 1e9 }), { name: 'RangeError' })
  t.throws(() => make('kalman', { stepMs: 0 }), { name: 'RangeError' })
})

function train(seed: number): ForecastWeights {
  const job = trainForecast({
    seed,
    runs: 3,
    steps: 400,
    stepMs: TRACE_STEP_MS,
    trace: (purpose, index) =>
      new StockTrace(plan, { kind: TRACE_KINDS[index % 3] ?? 'paper', seed, name: `${purpose} ${index}` }),
    uniform: (name) => {
      const random = randomStream(seed, name)
      return () => random.uniform()
    },
    config: { scenario: plan.name },
    training: { units: 4, epochs: 2, batch: 2 },
  })
  let last = 0
  for (;;) {
    const step = job.next()
    if (step.done) return step.value
    if (step.value.phase === 'traces' && step.value.doneRatio < last) throw new Error('progress went back')
    last = step.value.phase === 'traces' ? step.value.doneRatio : 0
  }
}

t.test('training with the same seed writes the same octets, with another seed others', async (t) => {
  const text = formatWeights(train(5))
  t.equal(formatWeights(train(5)), text)
  t.not(formatWeights(train(6)), text)
  t.equal(formatWeights(parseWeights(text, 'file')), text, 'and reading them back loses nothing')
})

t.test('a weights file that is not whole and fitting is refused by name and place', async (t) => {
  const text = formatWeights(train(7))
  const file = JSON.parse(text)
  const refused = (changed: unknown, message: RegExp): void => {
    t.throws(() => parseWeights(JSON.stringify(changed), 'bad.json'), { name: 'WeightsError', message })
  }
  t.throws(() => parseWeights('{', 'bad.json'), { name: 'WeightsError', message: /bad\.json: not JSON/ })
  refused(null, /bad\.json/)
  refused([], /format is missing/)
  refused({ ...file, version: 2 }, /version is 2; expected 1/)
  refused({ ...file, config: { ...file.config, runs: 4 } }, /configHash/)
  refused({ ...file, seed: 8 }, /checksum/)
  refused({ ...file, seed: 'x' }, /seed is 'x'; expected a number/)
  refused({ ...file, residual: { ...file.residual, inputs: 3 } }, /residual\.inputs is 3; expected/)
  refused({ ...file, residual: { ...file.residual, units: 1e9 } }, /residual\.units/)
  refused(
    { ...file, residual: { ...file.residual, parameters: 'AAAA' } },
    /residual\.parameters is text of 4 characters/,
  )
  const octets = file.residual.parameters.length
  refused({ ...file, residual: { ...file.residual, parameters: '?'.repeat(octets) } }, /not base64/)
  refused({ ...file, residual: { ...file.residual, parameters: '/'.repeat(octets) } }, /finite/)
  refused({ ...file, scores: [] }, /scores is a list of 0; expected a list of 2/)
  refused({ ...file, novelty: { ...file.novelty, regret: -1 } }, /novelty\.regret/)
  refused({ ...file, novelty: { ...file.novelty, low: [] } }, /novelty\.low/)
  t.throws(
    () => parseWeights(text.replace('"__proto__"', ''), 'x').seed.toFixed(1) && parseWeights('"', 'x'),
    WeightsError,
  )
  // Any octet changed, anywhere: refused, or read as the same weights, and never another kind of error.
  const random = randomStream(9, 'mutations')
  for (let i = 0; i < 300; i++) {
    const at = Math.floor(text.length * random.uniform())
    const changed = text.slice(0, at) + String.fromCharCode(32 + Math.floor(95 * random.uniform())) + text.slice(at + 1)
    if (changed === text) continue
    try {
      const read = parseWeights(changed, 'mutated')
      if (formatWeights(read) !== text) t.fail(`another file was taken: octet ${at}`)
    } catch (error) {
      if (!(error instanceof WeightsError)) t.fail(`octet ${at}: ${error}`)
    }
  }
  t.equal(hashOf('a') === hashOf('b'), false)
})
