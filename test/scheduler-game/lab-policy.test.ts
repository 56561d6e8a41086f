import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseScenario, planOf, worldOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import type { PoolStatus } from '../../src/runtime/contract.ts'
import {
  type Chain,
  chain,
  type GameSpec,
  LabGamePolicy,
  policyOf,
  type SchedulerView,
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
