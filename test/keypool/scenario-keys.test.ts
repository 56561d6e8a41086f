/** What a scenario says of its keys, as it comes out in virtual time: quotas, reserves, expiry, relays. */
import t from 'tap'
import {
  type LabPlan,
  type LabRecord,
  type Metrics,
  parseScenario,
  planOf,
  ScenarioError,
  worldOf,
} from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'

t.before(async () => {
  await cryptoReady
})

function run(yaml: string): { plan: LabPlan; records: readonly LabRecord[]; metrics: Metrics } {
  const plan = planOf(parseScenario(yaml, 'test.yaml'))
  const lab = worldOf(plan)
  const records = lab.run()
  return { plan, records, metrics: lab.metrics('test') }
}

function problemsOf(yaml: string): string {
  try {
    parseScenario(yaml, 'test.yaml')
  } catch (error) {
    if (error instanceof ScenarioError) return error.message
    throw error
  }
  return ''
}

/** Two stations behind one gateway: rtu1 is asked for set-points without end, rtu2 sheds a load at 5 s. */
function rivals(keys: string): string {
  return `
name: rivals
seed: 3
durationS: 20
grid:
  case: ieee39
  disturbances: [{ kind: loadStep, atS: 10, bus: 16, mw: 400 }]
topology:
  nodes:
    master: { id: cc }
    gateways: [{ id: gw }]
    rtus: [{ id: rtu1 }, { id: rtu2 }]
    ieds:
      - { id: gen30, kind: generator, rtu: rtu1, bus: 30 }
      - { id: load3, kind: load, rtu: rtu2, bus: 3, shedMw: 42.5 }
  links:
    - { between: [cc, gw], lengthKm: 60 }
    - { between: [gw, rtu1], lengthKm: 60 }
    - { between: [gw, rtu2], lengthKm: 60 }
tasks:
  telemetry: { periodS: 1 }
  setpoints: { ratePerS: 12, timeoutS: 2 }
scheduler: { policy: static }
keys:
  initialBits: 20000
  buffer: { lowBits: 256, highBits: 512 }
  linkModel: { breakRatePerS: 0, rateModel: { kind: bb84, effectiveRatePerS: 10000 } }
  thresholds: { safeBits: 1000, thBits: 2000, capBits: 60000 }
${keys}`
}

/** From the order to shed to the open breaker, ms. */
function shedMs(records: readonly LabRecord[]): number {
  const issued = records.find(({ name, taskType }) => name === 'task.issued' && taskType === 'shedding')
  const shed = records.find(({ name }) => name === 'grid.shed')
  return (shed?.tMs ?? Number.POSITIVE_INFINITY) - (issued?.tMs ?? 0)
}

t.test(
  'the key that is kept for the most urgent chain is there when others have spent all that was open',
  async (t) => {
    const without = run(rivals('  reserve: { topChainBits: 0, authenticationBits: 0 }'))
    const kept = run(rivals('  reserve: { topChainBits: 4000, authenticationBits: 2000 }'))
    for (const { metrics } of [without, kept]) t.same(metrics.bookDifferences, [])
    t.equal(without.metrics.keys?.minPoolBits, 0, 'set-points spend all they can get')
    t.ok(shedMs(without.records) > 1000, `without, the breaker waits for key: ${shedMs(without.records)} ms`)
    t.ok(shedMs(kept.records) < 300, `with it, it does not: ${shedMs(kept.records)} ms`)
    const { reserve } = kept.plan.keyserver.pool
    t.same(reserve, { authenticationBits: 2000, topChainBits: 4000, topChainChannels: [0, 1, 4, 5] })
  },
)

t.test('who has a quota is not starved by a chain that wants more than there is', async (t) => {
  const quotas = `
  pool: quota
  quotas:
    - { id: first, links: [cc-gw], weight: 2, from: [cc-gw] }
    - { id: one, links: [gw-rtu1], from: [gw-rtu1, gw-rtu2] }
    - { id: two, links: [gw-rtu2], from: [gw-rtu1, gw-rtu2] }`
  const { plan, metrics, records } = run(rivals(quotas))
  t.same(metrics.bookDifferences, [])
  t.same(
    plan.keyserver.pool.quotas?.map(({ id, channels, fromLinks, capBits }) => [id, channels, fromLinks, capBits]),
    [
      ['first', [0, 1], [0], 30_000],
      ['one', [2, 3], [1, 2], 15_000],
      ['two', [4, 5], [1, 2], 15_000],
    ],
  )
  const hopWaits = records.filter((record) => record.name === 'hop' && record['toLink'] === 2 && record.node === 'gw')
  t.ok(hopWaits.length > 0 && hopWaits.every((record) => Number(record['keyWaitMs']) < 10), 'its own hop has key')
  t.ok((metrics.keys?.minPoolBits ?? 0) > 3000, 'what is its own nobody else has spent')
})

t.test('quotas by themselves: every chain the same part, spread over the hops of its path', async (t) => {
  const { keyserver } = planOf(parseScenario(rivals('  pool: quota'), 'test.yaml'))
  t.same(
    keyserver.pool.quotas?.map(({ id, weight, capBits }) => [id, weight, capBits]),
    [
      ['cc-gw', 1, 30_000],
      ['gw-rtu1', 0.5, 15_000],
      ['gw-rtu2', 0.5, 15_000],
    ],
  )
  t.match(keyserver.pool.reserve, { authenticationBits: 0, topChainBits: 0 })
})

t.test('key grows old in the pool and with the nodes, and the books say how much', async (t) => {
  const { metrics, records } = run(
    rivals('  expiryS: 4').replace('ratePerS: 12', 'ratePerS: 0').replace('10000 }', '100000 }'),
  )
  t.same(metrics.bookDifferences, [])
  t.ok((metrics.keys?.expiredBits ?? 0) > 1000, 'in the pool')
  const discarded = records.filter((record) => record.name === 'books' && Number(record['discardedSlots']) > 0)
  t.ok(discarded.length > 0, 'with the nodes')
  t.equal(metrics.pDelivered, 1)
})

t.test('quotas, reserves and relays that cannot be are refused by name and place', async (t) => {
  t.match(problemsOf(rivals('  quotas: [{ id: a, links: [cc-gw] }]')), /quotas of a pool without.*pool: quota/)
  const odd = problemsOf(
    rivals('  pool: quota\n  quotas: [{ id: a, links: [cc-gw, nobody, cc-gw, rtu1-gen30], from: [cc-gw] }]'),
  )
  t.match(odd, /unknown link.*'nobody'/)
  t.match(odd, /second quota.*'cc-gw'/)
  t.match(odd, /link without pool.*'rtu1-gen30'/)
  t.match(odd, /link left out.*draws on/)
  t.match(problemsOf(rivals('  reserve: { topChainBits: 60000 }')), /reserves too large.*capBits/)
  t.match(problemsOf(rivals('  relayNodes: [nobody]')), /unknown node.*'nobody'/)
  const stranded = rivals('').replace('[gw, rtu2], lengthKm: 60', '[gw, rtu2], keys: relay, lengthKm: 60')
  t.match(problemsOf(stranded), /relay without a way.*'gw-rtu2'/)
})

/** rtu1 has QKD to gwB alone; its link to gwA, over which the commands go, lives on key that is relayed. */
const RELAYED = `
name: relayed
seed: 5
durationS: 40
grid:
  case: ieee39
  disturbances: [{ kind: loadStep, atS: 20, bus: 16, mw: 400 }]
topology:
  nodes:
    master: { id: cc }
    gateways: [{ id: gwA }, { id: gwB }]
    rtus: [{ id: rtu1 }]
    ieds:
      - { id: gen30, kind: generator, rtu: rtu1, bus: 30 }
      - { id: load3, kind: load, rtu: rtu1, bus: 3, shedMw: 42.5 }
  links:
    - { between: [cc, gwA], lengthKm: 20 }
    - { between: [cc, gwB], lengthKm: 20 }
    - { between: [gwA, gwB], lengthKm: 20 }
    - { between: [gwA, rtu1], lengthKm: 20, keys: relay }
    - { between: [gwB, rtu1], lengthKm: 20 }
chains:
  - { id: agc, taskType: agc, path: [cc, gwA, rtu1, gen30], allowedSuites: [otp] }
  - { id: shed, taskType: shedding, path: [cc, gwA, rtu1, load3], allowedSuites: [otp] }
tasks: { telemetry: { periodS: 2 }, agc: { units: [30], periodS: 1 } }
scheduler: { policy: static }
faults: [{ kind: cutLink, link: gwA-gwB, atS: 15, forS: 10 }]
keys: { linkModel: { breakRatePerS: 0 } }
`

t.test('a link without QKD lives on key that goes another way when a link breaks', async (t) => {
  const { records, metrics } = run(RELAYED)
  const paths = records
    .filter(({ name }) => name === 'relay.route')
    .map((record) => [Math.round(record.tMs / 1000), record['path']])
  t.same(paths, [
    [0, 'gwA gwB rtu1'],
    [15, 'gwA cc gwB rtu1'],
    [25, 'gwA gwB rtu1'],
  ])
  t.same(metrics.bookDifferences, [])
  t.equal(metrics.byClass['shedding']?.pFull, 1, 'the breaker opened while the link was cut')
  t.ok((metrics.byClass['agc']?.tasks ?? 0) > 30 && metrics.byClass['agc']?.pFull === 1)
  const carried = records.filter(
    (record) => record.name === 'books' && record['side'] === 'sender' && [6, 7].includes(Number(record['channel'])),
  )
  const carriedSlots = new Map(carried.map((record) => [record['channel'], Number(record['assignedSlots'])]))
  const carriedBits = 32 * [...carriedSlots.values()].reduce((sum, slots) => sum + slots, 0)
  const relayUsedBits = Number(records.findLast(({ name }) => name === 'pool')?.['relayUsedBits'])
  t.ok(
    carriedBits > 5000 && relayUsedBits > 2 * carriedBits && relayUsedBits < 3 * carriedBits,
    'L bits a hop: two, and three while the link was cut',
  )
})

t.test('where only some nodes are trusted, relayed key goes round the others', async (t) => {
  const trusting = RELAYED.replace('keys: { ', 'keys: { relayNodes: [gwB], ')
  const { records, metrics } = run(trusting)
  const paths = records.filter(({ name }) => name === 'relay.route').map((record) => record['path'])
  t.same(paths, ['gwA gwB rtu1', null, 'gwA gwB rtu1'])
  t.same(metrics.bookDifferences, [])
})

t.test('who outside gets key of which link is checked, and does nothing in virtual time', async (t) => {
  const of = (pairs: string): string => rivals(`  serve014: { pairs: [${pairs}] }`)
  const good = '{ link: cc-gw, saes: [app-a, app-b] }'
  t.equal(problemsOf(of(good)), '')
  const { plan } = run(of(good).replace('durationS: 20', 'durationS: 2').replace('atS: 10', 'atS: 1'))
  t.same(plan.keyserver.serve014, {
    listen: { host: '127.0.0.1', port: 8444 },
    pairs: [{ link: plan.links.find(({ id }) => id === 'cc-gw')?.link, saes: ['app-a', 'app-b'] }],
    keySizeBits: 256,
  })
  t.match(problemsOf(of('{ link: rtu1-gen30, saes: [app-a, app-b] }')), /link without QKD.*rtu1-gen30/s)
  t.match(problemsOf(of('{ link: cc-gw, saes: [kme, app-b] }')), /name of our own.*kme/s)
  t.match(problemsOf(of('{ link: cc-gw, saes: [app-a, app-a] }')), /two SAEs, each pair once/)
  t.match(problemsOf(of(`${good}, { link: gw-rtu1, saes: [app-b, app-a] }`)), /pairs\[1\].*each pair once/s)
  t.match(problemsOf(of(good).replace('{ pairs', "{ listen: '0.0.0.0:8444', pairs")), /listen.*127\.0\.0\.1:PORT/s)
})
