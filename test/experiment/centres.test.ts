import { readFileSync } from 'node:fs'
import t from 'tap'
import { ChainDesk } from '../../src/cli/api/chain-desk.ts'
import { type LabRecord, parseScenario, planOf, type Scenario, worldOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'

const FILE = 'scenarios/areas.yaml'
const TEXT = readFileSync(FILE, 'utf8')
const SCENARIO = parseScenario(TEXT, FILE)

t.before(async () => {
  await cryptoReady
})

function run(change: Partial<Scenario> = {}) {
  const lab = worldOf(planOf({ ...SCENARIO, ...change }))
  const records = lab.run()
  const named = (name: string): readonly LabRecord[] => records.filter((record) => record.name === name)
  return { records, named, metrics: lab.metrics('test') }
}

function withSolver(game: Partial<NonNullable<Scenario['scheduler']['game']>>): Partial<Scenario> {
  const { scheduler } = SCENARIO
  if (scheduler.game === undefined) throw new Error(`${FILE} plays no game`)
  return { scheduler: { ...scheduler, game: { ...scheduler.game, ...game } } }
}

t.test('three control centres run their own chains and play for key by messages', async (t) => {
  const { named, metrics, records } = run()
  t.same(metrics.invalidReasons, [])
  t.same(metrics.bookDifferences, [])
  t.equal(metrics.pDelivered, 1, 'every command and sample arrives')
  const centreOf = new Map(named('task.issued').map(({ node, chain }) => [chain, node]))
  t.same(Object.fromEntries([...centreOf].sort()), {
    'agc-30': 'tso',
    'agc-31': 'tso',
    'setpoint-32': 'dso2',
    'setpoint-33': 'dso2',
    'setpoint-37': 'dso1',
    'shedding-3': 'dso1',
    'shedding-8': 'dso2',
  })
  const tasks = named('task.issued').map(({ task }) => task)
  t.equal(new Set(tasks).size, tasks.length, 'no two centres give a task the same name')
  t.equal(named('task.done').filter(({ node, task }) => !String(task).startsWith(`${node}-`)).length, 0)
  // Station 2 is of area 1, and the TSO has a machine on it: both hear what it reports by itself.
  const hearers = (ca: number) => [
    ...new Set(named('telemetry.received').flatMap((r) => (r['ca'] === ca ? r.node : []))),
  ]
  t.same(hearers(2).sort(), ['dso1', 'tso'])
  t.same(hearers(3), ['dso2'])

  const grantOf = (agent: string) => {
    const said = named('game.round').map(({ round, grants }) => {
      return [round, new RegExp(`${agent} (\\d+)`).exec(String(grants))?.[1]]
    })
    const heard = named('game.grant').flatMap((r) =>
      r['agent'] === agent ? [[r['round'], String(r['grantBits'])]] : [],
    )
    return { said, heard }
  }
  for (const agent of ['DSO1', 'DSO2']) {
    const { said, heard } = grantOf(agent)
    t.ok(heard.length > 30)
    t.same(heard, said, `${agent} has the grants that the leader has made, and no others`)
  }
  t.match(metrics.game, { lastOffersUsed: 0, sharesUsed: 0, lastGrantS: { DSO1: 0 }, floorS: { DSO2: 0 } })
  t.ok((metrics.game?.roundTripMs?.median ?? 99) < 5, 'two ways of 0.75 ms')
  t.ok(named('plan').some(({ aes }) => Number(aes) > 0) && named('plan').some(({ otp }) => Number(otp) > 0))
  t.same(records, run().records, 'the same again')
})

t.test('every policy of the game is played between centres', async (t) => {
  for (const game of [
    { solver: 'equal' },
    { solver: 'demand' },
    { solver: 'ldCp' },
    { solver: 'ldCp', ldCpForm: 'printed' },
    { solver: 'social' },
  ] as const) {
    const { metrics, named } = run({ durationS: 8, ...withSolver(game) })
    t.same(metrics.invalidReasons, [], JSON.stringify(game))
    t.ok((metrics.game?.grantsTaken ?? 0) >= 28, `${metrics.game?.grantsTaken} grants`)
    t.equal(metrics.byClass['shedding']?.pFull, 1)
    t.ok(named('game.round').every(({ solver }) => solver === game.solver))
  }
})

t.test('a centre that is cut off goes on within its last grant, then its floor, and comes back', async (t) => {
  const faults = [{ kind: 'cutLink' as const, atS: 3, forS: 9, link: 'tso-dso2' }]
  const { metrics, named } = run({ faults, durationS: 18 })
  t.same(metrics.invalidReasons, [])
  const told = (node: string) =>
    named('game.basis').flatMap((r) => (r.node === node && r['agent'] === 'DSO2' ? [String(r['basis'])] : []))
  t.same(told('tso'), ['offer', 'lastOffer', 'share', 'offer'])
  t.same(told('dso2'), ['grant', 'lastGrant', 'floor', 'grant'])
  t.equal(metrics.byClass['setpoint']?.pDelivered, 1, 'its commands go on')
  const { game } = metrics
  t.ok((game?.lastOffersUsed ?? 0) >= 9 && (game?.sharesUsed ?? 0) >= 5, JSON.stringify(game))
  t.ok((game?.lastGrantS['DSO2'] ?? 0) > 3 && (game?.floorS['DSO2'] ?? 0) > 2)
  t.equal(game?.floorS['DSO1'], 0)
})

t.test('a lab of several centres plans with other policies too', async (t) => {
  for (const policy of ['static', 'greedy', 'rolling'] as const) {
    const { metrics } = run({ durationS: 3, scheduler: { ...SCENARIO.scheduler, policy } })
    t.same(metrics.invalidReasons, [])
    t.equal(metrics.game, undefined)
  }
})

t.test('a change of chains reaches every master, or none', async (t) => {
  const given: string[] = []
  let refuses = ''
  const desk = new ChainDesk({
    scenario: SCENARIO,
    apply: async (master, { chains }) => {
      given.push(sorted(`${master} ${chains.map(({ chain }) => chain.id).join(' ')}`))
      return master === refuses ? 'cannot' : undefined
    },
    onChange: () => {},
  })
  t.match(await desk.remove('setpoint-33'), { kind: 'ok' })
  t.same(
    given.splice(0),
    ['tso agc-30 agc-31', 'dso1 setpoint-37 shedding-3', 'dso2 setpoint-32 shedding-8'].map(sorted),
    'each its own',
  )
  refuses = 'dso2'
  t.match(await desk.remove('setpoint-37'), { kind: 'refused', status: 409 })
  t.same(given.splice(0).slice(-2), ['tso agc-30 agc-31', 'dso1 setpoint-37 shedding-3'].map(sorted), 'taken back')
  t.ok(desk.list().some(({ id }) => id === 'setpoint-37'))
})

/** The chains of a line in the order of the plan are of no interest. */
function sorted(line: string): string {
  const [master = '', ...chains] = line.split(' ')
  return [master, ...chains.sort()].join(' ')
}

t.test('areas, seats and links of several masters are checked', async (t) => {
  const problemsOf = (from: string, to: string): string => {
    t.ok(TEXT.includes(from), from)
    try {
      parseScenario(TEXT.replace(from, to), 's.yaml')
      return ''
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
  for (const [from, to, problem] of [
    ['gateways: [gw2]', 'gateways: [gw9]', /areaMasters\[1\]\.gateways\[0\]: unknown gateway, found 'gw9'/],
    ['gateways: [gw2]', 'gateways: [gw2, gw1]', /gateways\[1\]: gateway of two areas, found 'gw1'/],
    [
      '    - { between: [tso, dso2], lengthKm: 50 }\n',
      '',
      /no way for grants, found 'dso2', expected a link between tso/,
    ],
    [
      '    - { between: [dso2, gw2], lengthKm: 50 }\n',
      '',
      /unreachable node, found 'gw2', expected links that join it to the master 'dso2'/,
    ],
    [
      '    - { between: [gwT, gw1], lengthKm: 50 }\n',
      '',
      /rtus\[1\]\.id: unreachable node, found 'rtu1', expected links that join it to the master$/m,
    ],
    ['nodes: [dso2]', 'nodes: [gw2]', /agents\[2\]: agent without a seat, found no master/],
    ['nodes: [dso2]', 'nodes: [gw2]', /areaMasters\[1\]\.id: master of no agent, found 'dso2'/],
    ['nodes: [tso]', 'nodes: [dso1]', /agents\[0\]: agent on another seat, found dso1, expected the master 'tso'/],
  ] as const) {
    t.match(problemsOf(from, to), problem)
  }
})
