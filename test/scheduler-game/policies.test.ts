import t from 'tap'
import {
  demandShares,
  type GamePolicy,
  type KeySupply,
  SocialPolicy,
  SplitPolicy,
  type StackelbergOptions,
  StackelbergPolicy,
  StockWorld,
  type TaskChain,
  type WorldAgent,
} from '../../src/scheduler/index.ts'
import { randomStream } from '../../src/sim/index.ts'

const TERMS = { lossPerHz: 1000, lossPerPu: 1000, lossPerMw: 0.1 }

function task(id: string, ratePerS: number, degradeLoss: number, extra: Partial<TaskChain> = {}): TaskChain {
  return {
    id,
    ratePerS,
    otpBits: 576,
    aesBits: 4,
    states: [0, 1, 2],
    dropLoss: 5 * degradeLoss,
    degradeLoss,
    switchLoss: 0.05,
    frequencyHz: 0,
    voltagePu: 0,
    loadMw: 0,
    ...extra,
  }
}

/** One large agent and three smaller ones, 16 kbit/s with the one-time pad together. */
const AGENTS: readonly WorldAgent[] = [
  { id: 'tso', chains: Array.from({ length: 10 }, (_, l) => task(`agc-${l}`, 0.8, 1 + 0.2 * l)) },
  ...[12, 16, 20].map((count, j) => ({
    id: `dso${j + 1}`,
    chains: Array.from({ length: count }, (_, l) =>
      l % 4 === 0
        ? task(`shed-${j}-${l}`, 0.05, 0, { states: [0, 2], dropLoss: 1, frequencyHz: 0.002 })
        : task(`set-${j}-${l}`, 0.6, 0.4 + 0.05 * l, { voltagePu: 0.0005 }),
    ),
  })),
]

class SteadySupply implements KeySupply {
  readonly #rateBps: number
  constructor(rateBps: number) {
    this.#rateBps = rateBps
  }
  step(dtMs: number): number {
    return (this.#rateBps * dtMs) / 1000
  }
  forecast(steps: number) {
    const supplyBits = Array.from({ length: steps }, () => this.#rateBps)
    return { supplyBits, supplyStdBits: supplyBits.map((_, step) => 100 * Math.sqrt(step + 1)) }
  }
}

function worldOf(policy: GamePolicy, rateBps: number, seed = 1): StockWorld {
  const streams = AGENTS.map(({ id, chains }) => chains.map((chain) => randomStream(seed, `${id} ${chain.id}`)))
  return new StockWorld({
    agents: AGENTS,
    policy,
    supply: new SteadySupply(rateBps),
    poisson: (agent, chain, mean) => streams[agent]?.[chain]?.poisson(mean) ?? 0,
    terms: TERMS,
    tickMs: 100,
    planEvery: 10,
    windowS: 10,
    initialBits: 40_000,
    capBits: 120_000,
    bufferBits: 1_000,
    reserveBits: 8_000,
    riskRatio: 0.05,
  })
}

const exact = (options: Partial<StackelbergOptions> = {}) => new StackelbergPolicy({ solver: 'exact', ...options })
const POLICIES: readonly (() => GamePolicy)[] = [
  () => new SplitPolicy('equal'),
  () => new SplitPolicy('demand'),
  () => exact(),
  () => new StackelbergPolicy({ solver: 'ld-cp' }),
  () => new StackelbergPolicy({ solver: 'ld-cp', ldCp: { form: 'printed' } }),
  () => new SocialPolicy(),
]

t.test('with key enough for all, every policy runs every chain with the one-time pad', async (t) => {
  for (const make of POLICIES) {
    const world = worldOf(make(), 60_000)
    const report = world.run(30)
    t.ok(
      world.lastDecision?.states.every((states) => states.every((state) => state === 2)),
      make().name,
    )
    t.equal(report.fairness.fairnessIndex, 1)
    t.equal(report.shortMessages, 0)
  }
})

t.test('key is conserved, and a message that has none is counted', async (t) => {
  for (const make of POLICIES) {
    const world = worldOf(make(), 7_000)
    const report = world.run(20)
    const later = world.run(20)
    const used = [report, later].flatMap(({ deliveries }) => deliveries.map(({ deliveredBits }) => deliveredBits))
    const spent = used.reduce((sum, bits) => sum + bits, 0) + report.discardedBits + later.discardedBits
    const had = 40_000 + report.generatedBits + later.generatedBits
    t.ok(spent <= had && spent > 0.5 * had, `${make().name}: ${spent} of ${had}`)
    t.ok(report.shortMessages + later.shortMessages < 0.01 * (report.messages + later.messages))
  }
})

t.test('a run is a function of its seed', async (t) => {
  const [a, b] = [worldOf(exact(), 7_000, 3), worldOf(exact(), 7_000, 3)]
  t.same(a.run(20), b.run(20))
  t.not(worldOf(exact(), 7_000, 4).run(20).messages, a.run(20).messages)
})

t.test(
  'the fairness floor keeps the followers near their share, and the leader gains on a split by demand',
  async (t) => {
    const report = (policy: GamePolicy) => {
      const world = worldOf(policy, 7_000)
      world.run(20)
      return world.run(60)
    }
    const [split, game, printed] = [
      report(new SplitPolicy('demand')),
      report(exact()),
      report(exact({ followerWeight: 0, floorRatio: 0 })),
    ]
    t.ok(game.fairness.fairnessIndex >= 0.95, `F_K ${game.fairness.fairnessIndex}`)
    t.ok((game.lossPerS[0] ?? 0) < (split.lossPerS[0] ?? 0), 'the leader loses less than in the split')
    t.ok(printed.fairness.fairnessIndex < 0.6, `as printed the followers starve: F_K ${printed.fairness.fairnessIndex}`)
    t.ok(printed.fairness.minShare < game.fairness.minShare)
  },
)

t.test('an equal split is not one by demand', async (t) => {
  const views = AGENTS.map((agent) => ({ ...agent, states: agent.chains.map(() => 2 as const) }))
  t.same(new SplitPolicy('equal').shares(views), [0.25, 0.25, 0.25, 0.25])
  const shares = new SplitPolicy('demand').shares(views)
  t.same(shares, demandShares(views))
  t.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-12)
  t.ok((shares[3] ?? 0) > (shares[1] ?? 1))
})

t.test('on one shared pool a split policy plans each agent in its part of it', async (t) => {
  const states = AGENTS.map(({ chains }) => chains.map(() => 2 as const))
  const stock = {
    stockBits: 20_000,
    supplyBits: Array.from({ length: 10 }, () => 4_000),
    supplyStdBits: Array.from({ length: 10 }, () => 300),
    bufferBits: 500,
    reserveBits: 4_000,
    riskRatio: 0.05,
  }
  const view = {
    agents: AGENTS.map((agent, a) => ({ ...agent, states: states[a] ?? [] })),
    stocks: [stock],
    windowS: 10,
    terms: TERMS,
  }
  const { grantsBits } = new SplitPolicy('equal').decide(view)
  const quarter = 60_000 / 4
  t.ok(
    grantsBits.every((bits) => bits <= quarter && bits > 0.7 * quarter),
    'a quarter each, less what uncertainty asks for',
  )
  const policy = exact()
  const first = policy.decide(view)
  t.equal(first.grantsBits.length, 4)
  t.ok(
    first.states.flat().some((state) => state === 1),
    'there is not enough for all',
  )
})
