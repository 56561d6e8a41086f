import { readFileSync } from 'node:fs'
import t from 'tap'
import { explanationAt } from '../../src/cli/explain/explanation.ts'
import { explanationText } from '../../src/cli/explain/explanation-text.ts'
import { parseScenario, planOf } from '../../src/experiment/index.ts'
import type { MasterConfig } from '../../src/master/index.ts'
import { Planning } from '../../src/master/planning.ts'
import { Allocation, normalQuantile, policyOf, quantilesOf, RollingPolicy } from '../../src/scheduler/index.ts'
import { StockWatch } from '../../src/scheduler/rolling/stock-watch.ts'
import { CHAINS, LINKS, make, options, policy, RESPONSES, settled, states, status, view } from './one-tick.ts'

t.test('with key enough every chain has its required suite on its first path', async (t) => {
  const plan = settled({ poolBits: 90_000, rateBps: 4_000 })
  t.same(states(plan), [2, 2, 2, 2])
  t.same(
    [...plan.decisions.values()].map(({ path }) => path),
    [0, 0, 0, 0],
  )
})

t.test('when key is short the chains that are worth least give way, and come back with the key', async (t) => {
  const rolling = policy()
  const seen: string[] = []
  for (let tMs = 100; tMs <= 3000; tMs += 100) {
    const plan = rolling.plan(view({ tMs, poolBits: tMs < 2000 ? 9_000 : 60_000, rateBps: 1_500 }), tMs)
    seen.push(states(plan).join(''))
  }
  const [short = '', rich = ''] = [seen[18], seen.at(-1)]
  t.ok(/1/.test(short), `some in AES: ${short}`)
  t.equal([...short].toSorted().join(''), short, 'those of little weight first')
  t.equal(rich, '2222')
})

t.test('a chain is never planned over a link that is down, or a way too slow for its deadline', async (t) => {
  const cut = settled({ poolBits: 90_000, rateBps: 4_000, down: [2] })
  t.same(
    [...cut.decisions.values()].map(({ path, pathUp }) => `${path} ${pathUp}`),
    CHAINS.map(() => '1 true'),
  )
  const slow = settled({ poolBits: 90_000, rateBps: 4_000, delayMs: [0, 1, 1500] })
  t.same(
    [...slow.decisions.values()].map(({ path }) => path),
    [1, 1, 1, 1],
  )
  const apart = settled({ poolBits: 90_000, rateBps: 4_000, down: [2, 4] })
  t.same(
    [...apart.decisions.values()].map(({ path, pathUp }) => `${path} ${pathUp}`),
    CHAINS.map(() => '0 false'),
  )
})

t.test(
  'K_th at the end is asked for on average, so that supply which pays for all chains lets all have their suite',
  async (t) => {
    t.same(states(settled({ poolBits: 13_000, rateBps: 2_100 })), [2, 2, 2, 2])
    const detail = settled({ poolBits: 13_000, rateBps: 2_100 }).detail?.make()
    t.equal(detail?.mode, 'optimal')
  },
)

t.test('with key to spare a chain gets a better suite than it needs, and only then', async (t) => {
  const report = make({ id: 'report', requiredSuite: 'aes', priority: 5 })
  const chains = [...CHAINS, report]
  const rich = settled({ poolBits: 90_000, rateBps: 4_000 }, chains)
  t.same(states(rich), [2, 2, 2, 2, 2])
  t.equal(rich.decisions.get('report')?.why, 'better than required: key to spare')
  t.match(rich.detail?.make(), { mode: 'spare' })
  t.same(states(settled({ poolBits: 13_000, rateBps: 2_100 }, chains)), [2, 2, 2, 2, 1])
})

t.test(
  'lots that channels fetch ahead add their spread once, what is really unforeseen adds up, and bursts are left out',
  async (t) => {
    const watched = (drawn: (second: number) => number) => {
      const watch = new StockWatch(100)
      let [generatedBits, poolBits] = [100_000, 50_000]
      for (let tick = 1; tick <= 400; tick++) {
        generatedBits += 100
        poolBits += 100 - (tick % 10 === 0 ? drawn(tick / 10) : 0)
        const now = status({ tMs: 100 * tick, poolBits, rateBps: 1_000 })
        watch.take({ ...now, books: { ...now.books, generatedBits } }, { bits: 0, variance2: 0 })
      }
      return watch
    }
    const lots = watched((second) => (second % 2 === 0 ? 2_000 : 0))
    t.ok(lots.otherVariance2(100) < 2 * lots.otherVariance2(10), 'lots')
    t.equal(Math.round(lots.otherBits), 100)
    // Now high, now low for ten seconds: what comes once in a while lasts.
    const levels = watched((second) => (Math.floor(second / 10) % 2 === 0 ? 2_000 : 0))
    t.ok(levels.otherVariance2(100) > 5 * levels.otherVariance2(10), 'levels')
    const burst = watched((second) => (second === 30 ? 40_000 : second % 2 === 0 ? 2_000 : 0))
    // The burst alone is 40,000^2.
    t.ok(burst.otherVariance2(100) < 0.02 * 40_000 ** 2, 'bursts')
  },
)

t.test('the risk is divided among the rows by what they save, and is never more in all', async (t) => {
  const allocation = new Allocation(4)
  const risk = 0.05
  t.same([...allocation.shares], [0.25, 0.25, 0.25, 0.25])
  for (let i = 0; i < 50; i++) allocation.note(Float64Array.of(0, 0, 1e-3, 3e-3), Float64Array.of(1, 1, 1_000, 1_000))
  const { shares } = allocation
  t.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-9)
  t.same(
    [...shares].map((share) => Math.round(1_000 * share)),
    [125, 125, 250, 500],
  )
  const z = quantilesOf({ bound: 'allocated', risk, steps: 4, shares })
  for (const [row, share] of shares.entries()) t.ok(Math.abs((z[row] ?? 0) - normalQuantile(1 - risk * share)) < 1e-9)
  for (let i = 0; i < 50; i++) allocation.note(new Float64Array(4), Float64Array.of(1, 1, 1, 1))
  t.ok(
    allocation.shares.every((share) => Math.abs(share - 0.25) < 1e-3),
    'evenly again when key costs nothing',
  )
})

t.test('when no plan keeps K_safe it goes to protect mode and says so', async (t) => {
  const plan = settled({ poolBits: 3_000, rateBps: 100 })
  t.equal(plan.level, 'protect')
  t.same(states(plan), [2, 1, 1, 1])
  t.match(plan.detail?.make(), { mode: 'protect' })
})

t.test('it never plans more than the chance rows allow', async (t) => {
  for (const poolBits of [4_500, 6_000, 9_000, 20_000]) {
    const detail = settled({ poolBits, rateBps: 1_000 }).detail?.make()
    if (detail?.mode === 'protect') continue
    t.ok(
      detail?.slackBits.every((bits) => bits >= -1e-6),
      `stock ${poolBits}`,
    )
    t.ok((detail?.gap ?? 1) <= 1, `gap ${detail?.gap}`)
  }
})

t.test('the same views give the same plans', async (t) => {
  const run = () => settled({ poolBits: 9_000, rateBps: 1_200 })
  t.same([...run().decisions], [...run().decisions])
})

t.test('before the key server has spoken every chain has its required suite', async (t) => {
  const unknown = view({ tMs: 0, poolBits: 0, rateBps: 0 })
  const plan = policy().plan({ ...unknown, status: { ...unknown.status, capBits: 0 } }, 0)
  t.same(states(plan), [2, 2, 2, 2])
})

t.test('a scenario’s `rolling` makes the policy with the shipped forecast', async (t) => {
  const spec = { policy: 'rolling', horizonS: 10, dwellS: 2, protectedPriority: 0, messagesPerRekey: 64 } as const
  const made = policyOf(spec)
  t.equal(made.name, 'rolling')
  for (let tMs = 100; tMs <= 500; tMs += 100) made.plan(view({ tMs, poolBits: 50_000, rateBps: 3_000 }), tMs)
  const plan = made.plan(view({ tMs: 600, poolBits: 50_000, rateBps: 3_000 }), 600)
  t.match(plan.detail?.make().forecast, /kalman/)
})

t.test('from the events alone the plan of any time is explained', async (t) => {
  const config: Pick<MasterConfig, 'chains' | 'links' | 'topology'> = {
    chains: CHAINS.map((each) => ({ chain: each })),
    links: [],
    topology: LINKS.map(({ ends: [a, b], ...link }) => ({ ...link, ends: [a, b] })),
  }
  const planning = new Planning(config, policy())
  const events = []
  for (let tMs = 100; tMs <= 2000; tMs += 100) {
    planning.setStatus(status({ tMs, poolBits: 9_000, rateBps: 1_500 }))
    for (const event of planning.step(() => true, {}, tMs)) events.push({ ...event, tMs, node: 'master' })
  }
  t.equal(explanationAt(events, 50), undefined, 'nothing was planned yet')
  const explained = explanationAt(events, 1950)
  t.equal(explained?.chains.length, 4)
  t.match(explained?.detail, { mode: 'optimal', forecast: 'last step' })
  if (explained === undefined) return
  const text = explanationText(explained)
  for (const part of ['last step', 'binds', 'c1', 'key is worth more elsewhere', 'gap']) t.ok(text.includes(part), part)
  t.notOk(text.includes('NaN'))
})

t.test(
  'where the frequency counts, the grid’s responses come with the plan and chains that are off lose them',
  async (t) => {
    const text = readFileSync('scenarios/ieee39.yaml', 'utf8')
    const planned = (scheduler: string) =>
      planOf(parseScenario(text.replace('{ policy: greedy, tickMs: 100 }', scheduler), 'ieee39.yaml')).scheduler
    t.equal(planned('{ policy: rolling }').responses, undefined, 'by default it does not')
    const { responses } = planned('{ policy: rolling, rolling: { frequencyWeight: 100 } }')
    t.same(Object.keys(responses?.unitsPerHz ?? {}), ['agc-30', 'agc-33', 'agc-34', 'agc-36'])
    t.ok((responses?.samples[0]?.at(-1) ?? 0) > 1e-4, 'more power lifts the frequency')
    t.equal(responses?.decay[0], 1)
    const agc = CHAINS.map((each) => ({ ...each, taskType: 'agc' }))
    const frequencyWeight = { ...responses, weight: 1e6, unitsPerHz: { c1: [15] } }
    const costOf = (deltaFHz: number) => {
      const rolling = new RollingPolicy({ ...options(), responses: { ...RESPONSES, ...frequencyWeight } })
      const seen = { ...view({ tMs: 100, poolBits: 4_100, rateBps: 100 }, agc), deltaFHz }
      rolling.plan(seen, 100)
      return (
        rolling.plan({ ...seen, status: status({ tMs: 200, poolBits: 4_100, rateBps: 100 }) }, 200).detail?.make()
          .objective ?? 0
      )
    }
    t.ok(costOf(-0.1) > costOf(0), 'a deviation costs')
  },
)

t.test('quantiles are those of the distributions they name', async (t) => {
  const near = (a: number, b: number) => t.ok(Math.abs(a - b) < 1e-6, `${a} is ${b}`)
  near(normalQuantile(0.95), 1.6448536269514722)
  near(normalQuantile(0.005), -2.5758293035489004)
  near(quantilesOf({ bound: 'bonferroni', risk: 0.05, steps: 10 })[0] ?? 0, 2.5758293035489004)
  near(quantilesOf({ bound: 'gaussian', risk: 0.05, steps: 10 })[0] ?? 0, 1.6448536269514722)
  near(quantilesOf({ bound: 'cantelli', risk: 0.05, steps: 10 })[0] ?? 0, Math.sqrt(19))
  const errors = Array.from({ length: 1000 }, (_, i) => i / 100)
  t.equal(quantilesOf({ bound: 'empirical', risk: 0.1, steps: 2, errors })[0], 9.49)
  near(quantilesOf({ bound: 'empirical', risk: 0.05, steps: 10, errors: [1, 2, 3] })[0] ?? 0, 2.5758293035489004)
  t.throws(() => quantilesOf({ bound: 'gaussian', risk: 1, steps: 10 }), RangeError)
})
