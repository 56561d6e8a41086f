import fc from 'fast-check'
import t from 'tap'
import type { LinkState, PoolStatus, StockLevel } from '../../src/runtime/contract.ts'
import {
  type Chain,
  type ChainSpec,
  chain,
  GreedyPolicy,
  type Plan,
  type SchedulerView,
  StaticPolicy,
  samePlan,
  topology,
} from '../../src/scheduler/index.ts'

const LINKS = topology([
  { link: 1, ends: ['master', 'gw-a'], pooled: true },
  { link: 2, ends: ['gw-a', 'rtu'], pooled: true },
  { link: 3, ends: ['master', 'gw-b'], pooled: true },
  { link: 4, ends: ['gw-b', 'rtu'], pooled: true },
  { link: 5, ends: ['rtu', 'ied'], pooled: false },
])
const VIA_A = ['master', 'gw-a', 'rtu', 'ied']
const VIA_B = ['master', 'gw-b', 'rtu', 'ied']

function make(spec: Partial<ChainSpec> & { readonly id: string }): Chain {
  return chain({
    taskType: 'setpoint',
    priority: 1,
    requiredSuite: 'otp',
    allowedSuites: ['otp', 'aes'],
    paths: [VIA_A, VIA_B],
    deadlineMs: 2000,
    ratePerS: 1,
    apduBytes: 16,
    ...spec,
  })
}

/** Each of these costs 512 bit/s of OTP (2 pooled hops x 256 bits) and 4 bit/s of AES. */
const SHED = make({ id: 'shed', taskType: 'shed', priority: 0, allowedSuites: ['otp'] })
const AGC = make({ id: 'agc', taskType: 'agc', priority: 1 })
const SETPOINT = make({ id: 'setpoint', priority: 2 })
const RIGID = make({ id: 'rigid', priority: 3, allowedSuites: ['otp'] })
const TELEMETRY = make({ id: 'telemetry', taskType: 'telemetry', priority: 4, requiredSuite: 'aes' })
const CHAINS = [TELEMETRY, RIGID, SETPOINT, AGC, SHED]

type Situation = {
  level: StockLevel
  poolBits?: number
  rateBps?: number
  down?: readonly number[]
  chains?: readonly Chain[]
}

function view({ level, poolBits = 0, rateBps = 0, down = [], chains = CHAINS }: Situation): SchedulerView {
  const links: LinkState[] = [{ link: 1, up: true, rateBps, delayMs: 1 }]
  const books = { generatedBits: poolBits, usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0, poolBits }
  const status: PoolStatus = { tMs: 0, level, safeBits: 16_000, thBits: 32_000, capBits: 144_000, books, links }
  return { status, chains, topology: LINKS, linkUp: new Map(down.map((link) => [link, false])), deltaFHz: 0 }
}

function states(plan: Plan): Record<string, number> {
  return Object.fromEntries([...plan.decisions].map(([id, { state }]) => [id, state]))
}

t.test('at level normal every chain has its required suite, and a better one while key is to spare', async (t) => {
  const poor = new GreedyPolicy().plan(view({ level: 'normal', poolBits: 32_000 }), 0)
  t.same(states(poor), { shed: 2, agc: 2, setpoint: 2, rigid: 2, telemetry: 1 })
  const rich = new GreedyPolicy().plan(view({ level: 'normal', poolBits: 144_000 }), 0)
  t.same(states(rich), { shed: 2, agc: 2, setpoint: 2, rigid: 2, telemetry: 2 })
  t.equal(rich.decisions.get('telemetry')?.why, 'better than required: key to spare')
})

t.test('at level warn every chain has exactly its required suite', async (t) => {
  const plan = new GreedyPolicy().plan(view({ level: 'warn', poolBits: 144_000 }), 0)
  t.same(states(plan), { shed: 2, agc: 2, setpoint: 2, rigid: 2, telemetry: 1 })
})

t.test('at level reconfigure chains that allow AES fall back to it, the least urgent first', async (t) => {
  const at = (rateBps: number) =>
    states(new GreedyPolicy().plan(view({ level: 'reconfigure', poolBits: 16_000, rateBps }), 0))
  t.same(at(4 * 512 + 4), { shed: 2, agc: 2, setpoint: 2, rigid: 2, telemetry: 1 }, 'all of it is covered')
  t.same(at(4 * 512 - 1), { shed: 2, agc: 2, setpoint: 1, rigid: 2, telemetry: 1 })
  t.same(at(3 * 512 - 1), { shed: 2, agc: 1, setpoint: 1, rigid: 2, telemetry: 1 })
  t.same(at(0), { shed: 2, agc: 1, setpoint: 1, rigid: 2, telemetry: 1 }, 'nobody is off at this level')
})

t.test('the stock above K_safe counts as budget, spread over the horizon', async (t) => {
  const at = (poolBits: number) =>
    states(new GreedyPolicy({ horizonS: 10 }).plan(view({ level: 'reconfigure', poolBits, rateBps: 1548 }), 0))
  t.equal(at(16_000)['setpoint'], 1)
  t.equal(at(16_000 + 5200)['setpoint'], 2)
})

t.test('at level protect only the most urgent keep OTP, the others get AES or are off', async (t) => {
  const plan = new GreedyPolicy().plan(view({ level: 'protect' }), 0)
  t.same(states(plan), { shed: 2, agc: 1, setpoint: 1, rigid: 0, telemetry: 1 })
  t.same(
    ['shed', 'agc', 'rigid', 'telemetry'].map((id) => plan.decisions.get(id)?.why),
    ['most urgent: kept', 'AES: key is short', 'off: key is short', 'required suite'],
  )
  const wider = new GreedyPolicy({ protectedPriority: 1 }).plan(view({ level: 'protect' }), 0)
  t.equal(states(wider)['agc'], 2)
})

t.test('the most urgent class there is counts as protected, whatever its number', async (t) => {
  const plan = new GreedyPolicy().plan(view({ level: 'protect', chains: [RIGID, TELEMETRY] }), 0)
  t.same(states(plan), { rigid: 2, telemetry: 1 })
})

t.test('a chain leaves a path whose link is cut at once and comes back after the dwell time', async (t) => {
  const policy = new GreedyPolicy({ minDwellMs: 2000 })
  const path = (down: readonly number[], nowMs: number) => {
    const { decisions } = policy.plan(view({ level: 'warn', down, chains: [AGC] }), nowMs)
    return [decisions.get('agc')?.path, decisions.get('agc')?.pathUp]
  }
  t.same(path([], 0), [0, true])
  t.same(path([2], 100), [1, true], 'away from the cut')
  t.same(path([], 200), [1, true], 'stays, the link may break again')
  t.same(path([], 2099), [1, true])
  t.same(path([], 2100), [0, true])
  t.same(path([2], 2200), [1, true])
  t.same(path([3], 2300), [0, true], 'no dwelling on a path that is down')
  t.same(path([2, 3], 2400), [0, false], 'no path is up: stays where it is')
})

t.test('a chain that was lowered is raised again only after the dwell time, and lowered at any time', async (t) => {
  const policy = new GreedyPolicy({ minDwellMs: 2000 })
  const agc = (level: StockLevel, nowMs: number) => states(policy.plan(view({ level }), nowMs))['agc']
  t.same(
    [
      agc('normal', 0),
      agc('protect', 100),
      agc('normal', 200),
      agc('normal', 2000),
      agc('normal', 2100),
      agc('protect', 2200),
      agc('normal', 4199),
      agc('normal', 4200),
    ],
    [2, 1, 1, 1, 2, 1, 1, 2],
  )
})

t.test(
  'the plan keeps the level of the stock and an entry for every chain, and forgets chains that are gone',
  async (t) => {
    const policy = new GreedyPolicy()
    t.equal(policy.plan(view({ level: 'protect' }), 0).level, 'protect')
    t.equal(policy.plan(view({ level: 'normal' }), 0).level, 'normal', 'the level is never held back')
    t.same([...policy.plan(view({ level: 'normal', chains: [AGC] }), 100).decisions.keys()], ['agc'])
    t.equal(policy.plan(view({ level: 'normal', chains: [] }), 200).decisions.size, 0)
  },
)

const level = fc.constantFrom<StockLevel>('normal', 'warn', 'reconfigure', 'protect')
const situation = fc.record({
  level,
  poolBits: fc.integer({ min: 0, max: 144_000 }),
  rateBps: fc.integer({ min: 0, max: 8000 }),
  down: fc.subarray([1, 2, 3, 4]),
})
const need = fc.record({
  requiredSuite: fc.constantFrom('otp' as const, 'aes' as const),
  widest: fc.boolean(),
  ratePerS: fc.integer({ min: 0, max: 5 }),
  apduBytes: fc.integer({ min: 6, max: 255 }),
  priorities: fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 4 }),
})

t.test('property: over any history a chain is never worse off than a less urgent one of equal needs', async (t) => {
  const property = fc.property(
    fc.array(need, { minLength: 1, maxLength: 4 }),
    fc.array(situation, { minLength: 1, maxLength: 30 }),
    (needs, history) => {
      const chains = needs.flatMap(({ widest, priorities, requiredSuite, ratePerS, apduBytes }, group) =>
        priorities.map((priority) => {
          const allowedSuites = widest ? (['otp', 'aes'] as const) : [requiredSuite]
          const id = `${group}-${priority}`
          return make({ id, priority, requiredSuite, allowedSuites, ratePerS, apduBytes })
        }),
      )
      const policy = new GreedyPolicy({ minDwellMs: 500 })
      const mostUrgent = Math.min(...chains.map(({ priority }) => priority))
      history.forEach((now, tick) => {
        // Every other chain comes later: chains can be added while running.
        const present = tick < 5 ? chains.filter((_, index) => index % 2 === 0) : chains
        const { decisions } = policy.plan(view({ ...now, chains: present }), tick * 100)
        const state = (id: string) => decisions.get(id)?.state ?? -1
        for (const one of present) {
          if (one.priority === mostUrgent && state(one.id) === 0) throw new Error(`${one.id} is off`)
          for (const other of present) {
            const equal = one.id.split('-')[0] === other.id.split('-')[0]
            if (equal && one.priority < other.priority && state(one.id) < state(other.id)) {
              throw new Error(`${one.id} is worse off than ${other.id} at ${tick}`)
            }
          }
        }
      })
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300, seed: 1 }))
})

t.test('the static policy keeps every chain in its required suite on its first path', async (t) => {
  const policy = new StaticPolicy()
  const plan = policy.plan(view({ level: 'protect', down: [1] }), 0)
  t.same(states(plan), { shed: 2, agc: 2, setpoint: 2, rigid: 2, telemetry: 1 })
  t.same(plan.decisions.get('agc'), { state: 2, path: 0, pathUp: false, why: 'required suite' })
  t.ok(samePlan(plan, policy.plan(view({ level: 'protect' }), 100)))
  t.notOk(samePlan(plan, policy.plan(view({ level: 'warn' }), 100)))
})

t.test('options out of range are refused by name', async (t) => {
  t.throws(() => new GreedyPolicy({ horizonS: 0 }), /horizonS/)
  t.throws(() => new GreedyPolicy({ messagesPerRekey: Number.NaN }), /messagesPerRekey/)
})
