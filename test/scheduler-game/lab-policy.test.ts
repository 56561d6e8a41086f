import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseScenario, planOf, worldOf } from '../../src/experiment/index.ts'
import { GridModel, gridCase, solvePowerFlow } from '../../src/grid/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import type { PoolStatus } from '../../src/runtime/contract.ts'
import {
  CHAINS_ALONE,
  type Chain,
  chain,
  enumerateGame,
  type Game,
  type GameAgent,
  type GameSpec,
  gameChainOf,
  LabGamePolicy,
  type LabTerms,
  planAlone,
  policyOf,
  type SchedulerView,
  solveExact,
  taskChainOf,
  topology,
} from '../../src/scheduler/index.ts'

const LINKS = topology([
  { link: 1, ends: ['cc', 'gwT'], pooled: true },
  { link: 2, ends: ['cc', 'gw1'], pooled: true },
  { link: 3, ends: ['gwT', 'gw1'], pooled: true },
  { link: 4, ends: ['gwT', 'rtuT'], pooled: true },
  { link: 5, ends: ['gw1', 'rtu1'], pooled: true },
])

function command(id: string, taskType: string, ratePerS: number): Chain {
  return chain({
    id,
    taskType,
    priority: 1,
    requiredSuite: 'otp',
    allowedSuites: ['otp', 'aes'],
    paths: [
      ['cc', 'gw1', 'rtu1'],
      ['cc', 'gwT', 'gw1', 'rtu1'],
    ],
    deadlineMs: 2000,
    ratePerS,
    apduBytes: 20,
  })
}

const CHAINS = [
  ...[1, 2, 3, 4].map((n) => command(`agc-${n}`, 'agc', 1)),
  ...[1, 2, 3, 4].map((n) => command(`setpoint-${n}`, 'setpoint', 1)),
]
const SPEC: GameSpec = {
  solver: 'exact',
  agents: [
    { id: 'TSO', nodes: ['gwT'], taskTypes: ['agc'] },
    { id: 'DSO1', nodes: ['gw1'], taskTypes: [] },
  ],
  followerWeight: 0.3,
  floorRatio: 0.95,
  riskRatio: 0.05,
}

function view(poolBits: number, rateBps: number, down: readonly number[] = []): SchedulerView {
  const books = { generatedBits: poolBits, usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0, poolBits }
  const links = [{ link: 1, up: true, rateBps, delayMs: 1 }]
  const status: PoolStatus = { tMs: 0, level: 'normal', safeBits: 4000, thBits: 8000, capBits: 99_999, books, links }
  return { status, chains: CHAINS, topology: LINKS, linkUp: new Map(down.map((link) => [link, false])), deltaFHz: 0 }
}

function policy(spec: Partial<GameSpec> = {}): LabGamePolicy {
  return new LabGamePolicy({ spec: { ...SPEC, ...spec }, horizonS: 10, minDwellMs: 2000, messagesPerRekey: 64 })
}

const otpOf = (plan: ReturnType<LabGamePolicy['plan']>, type: string) =>
  [...plan.decisions].filter(([id, { state }]) => id.startsWith(type) && state === 2).length

t.test('with key to spare every chain has its required suite', async (t) => {
  for (const solver of ['equal', 'demand', 'ldCp', 'exact', 'social'] as const) {
    const plan = policy({ solver }).plan(view(90_000, 9_000), 0)
    t.ok(
      [...plan.decisions.values()].every(({ state, why }) => state === 2 && why === 'required suite'),
      solver,
    )
  }
})

t.test('when key is short the followers keep what the floor grants them, and without a floor nothing', async (t) => {
  // Eight chains take 4.6 kbit/s with the one-time pad; there is a little more than half of it.
  const short = view(8_000, 2_700)
  const fair = policy().plan(short, 0)
  t.ok(otpOf(fair, 'setpoint') >= 1 && otpOf(fair, 'agc') >= otpOf(fair, 'setpoint'))
  t.ok(
    [...fair.decisions.values()].some(({ state, why }) => state === 1 && why === 'AES: key is short'),
    'the others fall back to AES',
  )
  const printed = policy({ followerWeight: 0, floorRatio: 0 }).plan(short, 0)
  t.equal(otpOf(printed, 'setpoint'), 0)
  t.ok(otpOf(printed, 'agc') > otpOf(fair, 'agc'))
})

t.test('a chain goes round a link that is down, at once, and comes back after the dwell time', async (t) => {
  const one = policy()
  t.equal(one.plan(view(90_000, 9_000), 0).decisions.get('agc-1')?.path, 0)
  t.equal(one.plan(view(90_000, 9_000, [2]), 100).decisions.get('agc-1')?.path, 1)
  t.equal(one.plan(view(90_000, 9_000), 1000).decisions.get('agc-1')?.path, 1)
  t.equal(one.plan(view(90_000, 9_000), 2200).decisions.get('agc-1')?.path, 0)
  t.equal(one.plan(view(90_000, 9_000, [2, 1]), 9000).decisions.get('agc-1')?.pathUp, false)
})

t.test('an empty pool turns off no chain that may use AES while the channels hold key', async (t) => {
  const empty = view(0, 0)
  const books = { ...empty.status.books, reservedBits: 20_000 }
  const stateOf = (given: SchedulerView) => policy().plan(given, 0).decisions.get('setpoint-1')?.state
  t.equal(stateOf(empty), 0)
  t.equal(stateOf({ ...empty, status: { ...empty.status, books } }), 1)
})

t.test('before the key server has spoken every chain has its required suite', async (t) => {
  const silent = view(0, 0)
  const plan = policy().plan({ ...silent, status: { ...silent.status, capBits: 0 } }, 0)
  t.ok([...plan.decisions.values()].every(({ state }) => state === 2))
})

t.test('a specification without agents is refused', async (t) => {
  const spec = { horizonS: 10, dwellS: 2, protectedPriority: 0, messagesPerRekey: 64 }
  t.throws(() => policyOf({ ...spec, policy: 'game' }), RangeError)
  t.equal(policyOf({ ...spec, policy: 'game', game: SPEC }).name, 'game, S-5 exact')
})

const AREAS = 'scenarios/areas.yaml'
const areasWith = (terms: object | undefined) => {
  const scenario = parseScenario(readFileSync(AREAS, 'utf8'), AREAS)
  const { game } = scenario.scheduler
  if (game === undefined) throw new Error('areas.yaml plays the game')
  const scheduler = { ...scenario.scheduler, game: { ...game, ...(terms && { terms }) } }
  return planOf({ ...scenario, scheduler } as typeof scenario)
}
const TERMS = { lossPerHz: 1000, lossPerPu: 1000, lossPerMw: 0.1 }

t.test('the grid terms of a lab are what the grid says', async (t) => {
  const { gameTerms } = areasWith(TERMS).scheduler
  t.same(gameTerms?.weights, TERMS)
  const ids = ['setpoint-32', 'setpoint-33', 'setpoint-37', 'shedding-3', 'shedding-8']
  t.same(Object.keys(gameTerms?.chains ?? {}).toSorted(), ids, 'those of secondary control have none')
  t.equal(gameTerms?.chains['shedding-3']?.loadMw, 42.5)
  t.equal(gameTerms?.chains['setpoint-37']?.loadMw, 2)
  const settle = (change: (model: GridModel) => void) => {
    const model = new GridModel(gridCase('ieee39'))
    change(model)
    let deepest = 0
    for (let i = 0; i < 2_500; i++) {
      model.step()
      deepest = Math.min(deepest, model.coiHz())
    }
    return { deepest, voltages: [3, 30, 37, 8, 32, 33].map((bus) => model.voltagePu(bus)) }
  }
  const rest = settle(() => undefined)
  const moved = (change: (model: GridModel) => void, buses: readonly number[]) => {
    const { voltages } = settle(change)
    return Math.max(...buses.map((b) => Math.abs((voltages[b] ?? 0) - (rest.voltages[b] ?? 0))))
  }
  const near = (found: number | undefined, expected: number, what: string) =>
    t.ok(Math.abs((found ?? 0) - expected) <= 0.3 * expected && expected > 0, `${what}: ${found}, model ${expected}`)
  const { chains = {} } = gameTerms ?? {}
  near(
    chains['shedding-3']?.voltagePu,
    moved((model) => model.addLoad(3, -42.5), [0, 1, 2]),
    'load 3',
  )
  near(
    chains['shedding-8']?.voltagePu,
    moved((model) => model.addLoad(8, -42.5), [3, 4, 5]),
    'load 8',
  )
  // And not by the model: a power flow in which all machines take up the same part of the load.
  const grid = gridCase('ieee39')
  const machines = grid.machines.map((each) => ({ ...each, pMw: each.pMw - 42.5 / grid.machines.length }))
  const buses = grid.buses.map((each) => (each.bus === 8 ? { ...each, loadMw: each.loadMw - 42.5 } : each))
  const flow = solvePowerFlow({ ...grid, machines, buses })
  const row = grid.buses.findIndex(({ bus }) => bus === 8)
  near(chains['shedding-8']?.voltagePu, (flow.vmPu[row] ?? 0) - (solvePowerFlow(grid).vmPu[row] ?? 0), 'power flow')
  near(chains['setpoint-37']?.voltagePu, moved((model) => model.setReference(37, 20), [0, 1, 2]) / 10, 'unit 37')
  const saved = settle((model) => model.addLoad(16, 357.5)).deepest - settle((model) => model.addLoad(16, 400)).deepest
  near(chains['shedding-3']?.frequencyHz, saved, 'frequency')
})

t.test('without weights a lab has no grid terms, and a chain that sheds is worth its own weight', async (t) => {
  t.equal(areasWith(undefined).scheduler.gameTerms, undefined)
  t.equal(areasWith({ lossPerPu: 0, lossPerMw: 0 }).scheduler.gameTerms, undefined)
  const shed = command('shedding-3', 'shedding', 1)
  const hzOf = (each: Chain, grid: LabTerms) => taskChainOf(each, { hops: 2, messagesPerRekey: 64, grid }).frequencyHz
  t.equal(hzOf(shed, CHAINS_ALONE), shed.lossWeight)
  t.equal(hzOf(command('constructor', 'setpoint', 1), CHAINS_ALONE), 0)
  const local = areasWith({ lossPerPu: 1000, lossPerMw: 0 }).scheduler.gameTerms
  t.equal(local && hzOf(shed, local), shed.lossWeight, 'also where only local terms have a weight')
  const all = areasWith(TERMS).scheduler.gameTerms
  const added = command('shedding-99', 'shedding', 1)
  t.equal(all && 1000 * hzOf(added, all), added.lossWeight, 'and so is one that the plan did not know')
})

t.test(
  'with the terms of a lab the exact answer is the best of all, and with key for all each agent’s own',
  async (t) => {
    const plan = areasWith(TERMS)
    const { gameTerms } = plan.scheduler
    if (gameTerms === undefined) throw new Error('no terms')
    const agentOf = (node: (typeof plan.nodes)[number], grid: LabTerms, rank: number): GameAgent => {
      const chains = node.kind === 'master' ? node.config.chains.map((each) => each.chain) : []
      const context = {
        windowS: 10,
        terms: grid.weights,
        role: rank === 0 ? ('leader' as const) : ('follower' as const),
      }
      return {
        id: node.id,
        chains: chains.map((each) => {
          // As if there were no AES, and each chain were used: what is off is then a matter of what it is worth.
          const task = taskChainOf({ ...each, ratePerS: 1 }, { hops: 3, messagesPerRekey: 64, grid })
          return gameChainOf({ ...task, states: [0, 2] }, 2, context)
        }),
      }
    }
    const gameWith = (grid: LabTerms, budgetBits: number): Game => {
      const [leader, ...followers] = plan.nodes
        .filter(({ kind }) => kind === 'master')
        .map((n, i) => agentOf(n, grid, i))
      if (leader === undefined) throw new Error('no master')
      const floors = followers.map((follower) => ({ ...follower, floorBits: budgetBits / 10 }))
      return { leader, followers: floors, followerWeight: 0.3, budgetBits, riskPriceBits: 0.001 }
    }
    let changed = 0
    for (let budgetBits = 0; budgetBits <= 80_000; budgetBits += 4_000) {
      const game = gameWith(gameTerms, budgetBits)
      const found = enumerateGame(game, 'optimistic')
      const { answer } = solveExact(game)
      t.equal(answer.gap, 0)
      t.ok(Math.abs((found?.loss.objective ?? Number.NaN) - answer.loss.objective) < 1e-4, `${budgetBits} bits`)
      const alone = solveExact(gameWith(CHAINS_ALONE, budgetBits)).answer
      if (JSON.stringify(alone.followers) !== JSON.stringify(answer.followers)) changed++
    }
    t.ok(changed >= 1, `the grid changes ${changed} answers`)
    const slack = gameWith(gameTerms, 1e9)
    const { answer } = solveExact(slack)
    for (const [j, follower] of slack.followers.entries()) t.same(answer.followers[j], planAlone(follower, 1e9, 0.001))
    t.same(answer.leader, planAlone(slack.leader, 1e9, 0.001))
  },
)

t.test('where voltages count, key goes to the chain that holds them', async (t) => {
  // Two chains of a follower without AES, key for one.
  const chains = [1, 2].map((n) => ({ ...command(`setpoint-${n}`, 'setpoint', 1), allowedSuites: ['otp' as const] }))
  const grid = (voltagePu: number): LabTerms => ({
    weights: { lossPerHz: 1, lossPerPu: 1000, lossPerMw: 0 },
    chains: { 'setpoint-2': { voltagePu } },
  })
  const terms = { policy: 'game', horizonS: 10, dwellS: 2, protectedPriority: 0, messagesPerRekey: 64 } as const
  const follower = { seat: { kind: 'follower', agent: 'DSO1', leader: 'TSO', share: 1 } } as const
  // One scheduler for all, and a follower's own.
  for (const means of [{}, follower]) {
    const made = (gameTerms: LabTerms) => policyOf({ ...terms, game: SPEC, gameTerms }, means)
    const kept = (voltagePu: number, lossWeight: number) => {
      const first = chains.map((each, n) => (n === 0 ? { ...each, lossWeight } : each))
      const plan = made(grid(voltagePu)).plan({ ...view(14_000, 300), chains: first }, 0)
      return [...plan.decisions.values()].map(({ state }) => state)
    }
    t.same(kept(0, 11), [2, 0])
    t.same(kept(0.005, 11), [0, 2], '0.005 pu cost 5 a second more')
    t.same(kept(0.005, 16), [2, 0])
  }
})

t.test('the 118-bus scenario plays the game in virtual time and sheds in time', async (t) => {
  await cryptoReady
  const file = 'scenarios/ieee118.yaml'
  const scenario = parseScenario(readFileSync(file, 'utf8'), file)
  const lab = worldOf(planOf({ ...scenario, durationS: 14 }))
  const records = lab.run()
  const metrics = lab.metrics('test')
  t.equal(metrics.valid, true)
  t.equal(records.filter(({ name }) => name === 'grid.shed').length, 9)
  const { maxAbsDeltaFHz } = metrics
  t.ok(maxAbsDeltaFHz !== null && maxAbsDeltaFHz < 0.15, `0.255 Hz without remote control, ${maxAbsDeltaFHz} with it`)
  const plans = records.filter(({ name }) => name === 'plan')
  t.ok(
    plans.some(({ aes }) => Number(aes) > 0),
    'key is short at times',
  )
  t.equal(plans.at(-1)?.['off'], 0)
})
