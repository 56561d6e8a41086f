import { readFileSync } from 'node:fs'
import t from 'tap'
import { chainSetsOf, parseScenario, planOf, withChains } from '../../src/experiment/index.ts'
import { Master, type MasterOrder } from '../../src/master/index.ts'
import type { LabEvent, PoolStatus } from '../../src/runtime/contract.ts'
import { GreedyPolicy, policyOf, StaticPolicy } from '../../src/scheduler/index.ts'

const WALL_MS = 1_800_000_000_000
const scenario = parseScenario(readFileSync('scenarios/tiny.yaml', 'utf8'), 'tiny.yaml')

/** A control centre alone, its ticks and what it told. */
class Centre {
  readonly master: Master
  readonly events: LabEvent[] = []
  nowMs = 0

  constructor() {
    const config = planOf(scenario).nodes.find(({ kind }) => kind === 'master')
    if (config?.kind !== 'master') throw new Error('no master')
    this.master = new Master(config.config, { policy: new GreedyPolicy(), random: () => 0.5 })
    this.#take({ kind: 'start', wallMs: WALL_MS })
  }

  order(order: MasterOrder): this {
    return this.#take(order)
  }

  pool(status: PoolStatus): this {
    return this.#take({ kind: 'pool', status })
  }

  tick(): this {
    this.nowMs += 100
    return this.#take({ kind: 'wake' })
  }

  told(name: string): readonly LabEvent[] {
    return this.events.filter((event) => event.name === name)
  }

  #take(input: Parameters<Master['handle']>[0]): this {
    for (const effect of this.master.handle(input, this.nowMs))
      if (effect.kind === 'event') this.events.push(effect.event)
    return this
  }
}

const GEN = { id: 'gen', taskType: 'agc', path: ['cc', 'gwA', 'rtu1', 'gen30'] }

function setOf(chains: readonly unknown[]) {
  const checked = withChains(scenario, chains)
  if (checked.kind === 'refused') throw new Error(JSON.stringify(checked.problems))
  const set = chainSetsOf(checked.scenario).get('cc')
  if (set === undefined) throw new Error('no master cc')
  return set
}

t.test('another set of chains is in use from the next tick on, all of it', async (t) => {
  const centre = new Centre()
  t.same(centre.master.status().chains, { off: 0, aes: 0, otp: 2 })
  centre.order({ kind: 'setChains', request: 1, set: setOf([GEN]) })
  t.same(centre.master.status().chains, { off: 0, aes: 0, otp: 2 }, 'not before the tick')
  centre.tick()
  t.match(centre.told('order.done'), [{ request: 1, order: 'setChains' }])
  t.same(centre.master.status().chains, { off: 0, aes: 0, otp: 1 })
  t.match(centre.told('plan').at(-1), { why: 'gen otp path 0 (required suite)' })
})

t.test('a set that the master cannot run is refused as a whole', async (t) => {
  const centre = new Centre()
  const { chains } = setOf([GEN])
  const [{ chain } = { chain: undefined }] = chains
  if (chain === undefined) throw new Error('no chain')
  const nowhere = { chain: { ...chain, paths: [['cc', 'rtu1', 'gen30']] } }
  centre.order({ kind: 'setChains', request: 7, set: { chains: [...chains, nowhere] } }).tick()
  t.match(centre.told('order.refused'), [{ request: 7, problems: /twice.*no link between cc and rtu1/ }])
  t.same(centre.master.status().chains, { off: 0, aes: 0, otp: 2 }, 'nothing has changed')
  const targetless = { chains: chains.map(({ chain: other }) => ({ chain: other })), shedding: undefined }
  const agc = { periodMs: 1000, kp: 1, kiPerS: 1, mwPerHz: 1, units: [{ chain: 'gen' }] }
  const { shedding: _, ...set } = targetless
  centre.order({ kind: 'setChains', request: 8, set: { ...set, agc } }).tick()
  t.match(centre.told('order.refused').at(-1), { request: 8, problems: /no chain gen with a target/ })
})

t.test('the applications use the chains that are there', async (t) => {
  const centre = new Centre()
  centre.order({ kind: 'setChains', request: 1, set: setOf([]) }).tick()
  for (let tick = 0; tick < 100; tick++) centre.tick()
  t.same(centre.told('task.issued'), [], 'none without a chain')
  centre.order({ kind: 'setChains', request: 2, set: setOf([GEN]) }).tick()
  t.match(centre.told('order.done').at(-1), { request: 2 })
  t.same(centre.master.status().chains, { off: 0, aes: 0, otp: 1 })
})

t.test('a chain that is switched off by hand is off whatever the policy says, until it is switched on', async (t) => {
  const centre = new Centre()
  centre.order({ kind: 'setEnabled', request: 1, chain: 'agc-30', enabled: false }).tick()
  t.match(centre.told('plan').at(-1), { off: 1, why: 'agc-30 off path 0 (off: switched off by hand)' })
  t.same(centre.master.status().disabled, ['agc-30'])
  centre.order({ kind: 'setEnabled', request: 2, chain: 'agc-30', enabled: true }).tick()
  t.match(centre.told('plan').at(-1), { off: 0, otp: 2 })
  centre.order({ kind: 'setEnabled', request: 3, chain: 'nobody', enabled: false }).tick()
  t.match(centre.told('order.refused'), [{ request: 3, problems: 'no chain nobody' }])
})

t.test('the policy is changed between two ticks', async (t) => {
  const centre = new Centre()
  t.equal(centre.master.status().policy, 'greedy')
  centre.order({ kind: 'setPolicy', request: 1, policy: new StaticPolicy() }).tick()
  t.equal(centre.master.status().policy, 'static')
})

t.test('its status tells the stock as the policy expects it, for as long as the policy expects anything', async (t) => {
  const centre = new Centre()
  centre.tick()
  t.equal(centre.master.status().forecast, undefined, 'greedy expects nothing')
  const policy = policyOf({
    policy: 'rolling',
    horizonS: 5,
    dwellS: 1,
    protectedPriority: 1,
    messagesPerRekey: 64,
  })
  centre.order({ kind: 'setPolicy', request: 1, policy })
  centre.tick()
  t.equal(centre.master.status().forecast, undefined, 'nor rolling before the pool has spoken')
  for (let tick = 0; tick < 50; tick++) centre.pool(poolOf(centre.nowMs)).tick()
  const { forecast } = centre.master.status()
  t.match(forecast, { source: /kalman/, tMs: centre.nowMs - 100 })
  if (forecast === undefined) return
  const { stepMs, stockBits, stockLowerBits } = forecast
  t.equal(stepMs * stockBits.length, 5_000, 'as far as the horizon')
  t.equal(stockLowerBits.length, stockBits.length)
  for (const [step, bits] of stockBits.entries()) {
    const lowerBits = stockLowerBits[step] ?? Number.NaN
    t.ok(lowerBits >= 0 && lowerBits < bits && bits <= 100_000, `step ${step}: ${lowerBits} < ${bits}`)
  }
  t.ok((stockBits.at(-1) ?? 0) > (stockBits[0] ?? 0), 'key keeps coming in')
  centre.order({ kind: 'setPolicy', request: 2, policy: new GreedyPolicy() }).tick()
  t.equal(centre.master.status().forecast, undefined)
})

/** A pool that gains 2 kbit/s. */
function poolOf(tMs: number): PoolStatus {
  const gainedBits = 2 * tMs
  const books = { usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0 }
  return {
    tMs,
    level: 'normal',
    safeBits: 4_000,
    thBits: 8_000,
    capBits: 100_000,
    books: { ...books, generatedBits: gainedBits, poolBits: 20_000 + gainedBits },
    links: [{ link: 1, up: true, rateBps: 2_000, delayMs: 1 }],
  }
}
