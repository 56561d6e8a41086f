import { readFileSync } from 'node:fs'
import t from 'tap'
import { initialBits, isPoolChannel, type LabPlan, parseScenario, planOf } from '../../src/experiment/index.ts'

function planOfFile(name: string): LabPlan {
  const file = `scenarios/${name}.yaml`
  return planOf(parseScenario(readFileSync(file, 'utf8'), file), { epoch: 7 })
}

/** The node's configuration, of the kind that is asked for. */
function nodeOf<K extends LabPlan['nodes'][number]['kind']>(plan: LabPlan, id: string, kind: K) {
  const node = plan.nodes.find((one) => one.id === id)
  if (node?.kind !== kind) throw new Error(`${id} is no ${kind}`)
  return node as Extract<LabPlan['nodes'][number], { kind: K }>
}

t.test('the main job has its nodes, links and chains', async (t) => {
  const plan = planOfFile('ieee39')
  const count = (kind: string) => plan.nodes.filter((node) => node.kind === kind).length
  t.same(['master', 'gateway', 'rtu', 'ied'].map(count), [1, 2, 8, 18])
  t.same(
    plan.nodes.map(({ number }) => number),
    plan.nodes.map((_, index) => index + 1),
    'numbered from 1',
  )
  t.equal(plan.links.filter(({ keys }) => keys === 'pool').length, 11)
  t.equal(plan.links.filter(({ keys }) => keys === 'local').length, 18)
  const { chains, shedding, agc, setpoints, measurements } = nodeOf(plan, 'cc', 'master').config
  t.equal(shedding?.chains.length, 8)
  t.same(
    agc?.units.map(({ chain }) => chain),
    ['agc-30', 'agc-33', 'agc-34', 'agc-36'],
  )
  t.equal(setpoints?.units.length, 5, 'the other machines, but for bus 39, which has no governor')
  t.equal(chains.length, 17)
  t.equal(measurements.machines.length, 10)
  const weightOf = (bus: number) => measurements.machines.find(({ ioa }) => ioa === 2000 + bus)?.weight
  t.equal(weightOf(39), 50_000, 'H x rating of the equivalent, MW s')
  t.equal(weightOf(30), 4_200)
})

t.test('a plan survives JSON unchanged', async (t) => {
  const plan = planOfFile('ieee39')
  t.same(JSON.parse(JSON.stringify(plan)), plan)
})

t.test('every address is there once', async (t) => {
  const plan = planOfFile('ieee39')
  const unique = (list: readonly unknown[]) => new Set(list).size === list.length
  const rtus = plan.nodes.flatMap((node) => (node.kind === 'rtu' ? [node.config] : []))
  t.ok(unique(rtus.map(({ ca }) => ca)), 'common addresses')
  t.ok(unique(rtus.flatMap(({ ca, ieds }) => ieds.flatMap(({ ioas }) => ioas.map((ioa) => `${ca}/${ioa}`)))), 'points')
  t.ok(unique(plan.links.map(({ link }) => link)), 'links')
  t.ok(unique(plan.links.map(({ ends }) => [...ends].sort().join())), 'pairs')
  t.same(nodeOf(plan, 'load3', 'ied').config.points, {
    frequencyIoa: 2003,
    voltageIoa: 3003,
    breakerIoa: 1003,
    commandIoa: 5003,
  })
  t.same(nodeOf(plan, 'gen30', 'ied').config.points, {
    frequencyIoa: 2030,
    voltageIoa: 3030,
    powerIoa: 4030,
    setpointIoa: 6030,
  })
})

t.test('the two ends of each link agree, and the controlling one is nearer to the centre', async (t) => {
  const plan = planOfFile('ieee39')
  const ends = new Map<number, Map<string, 0 | 1>>()
  for (const node of plan.nodes) {
    const options =
      node.kind === 'rtu'
        ? [...node.config.upLinks, ...node.config.ieds.map(({ link }) => link)]
        : node.kind === 'ied'
          ? [node.config.link]
          : node.config.links
    for (const { link, end, epoch } of options) {
      t.equal(epoch, 7)
      ends.set(link, (ends.get(link) ?? new Map<string, 0 | 1>()).set(node.id, end))
    }
  }
  for (const {
    link,
    ends: [first, second],
  } of plan.links) {
    t.same(
      [...(ends.get(link) ?? [])].sort(),
      [
        [first, 0],
        [second, 1],
      ].sort(),
      `link ${link} ${first}-${second}`,
    )
  }
  t.ok(
    plan.links.every(({ ends: [, second] }) => second !== 'cc'),
    'the centre is always a first end',
  )
  t.ok(
    plan.links.every(({ ends: [first] }) => !first.startsWith('load') && !first.startsWith('gen')),
    'an IED never',
  )
})

t.test('chains walk links from the centre to the IED that owns their point, with the tie as a way round', async (t) => {
  const plan = planOfFile('ieee39')
  const pairs = new Set(plan.links.flatMap(({ ends: [a, b] }) => [`${a} ${b}`, `${b} ${a}`]))
  const { chains } = nodeOf(plan, 'cc', 'master').config
  for (const { chain, target } of chains) {
    for (const path of chain.paths) {
      const steps = path.slice(1).map((id, step) => `${path[step]} ${id}`)
      t.ok(path[0] === 'cc' && steps.every((pair) => pairs.has(pair)), `${chain.id}: ${path.join(' ')}`)
      const { config } = nodeOf(plan, path.at(-1) ?? '', 'ied')
      t.equal(config.ca, target?.ca)
      t.ok([config.points.commandIoa, config.points.setpointIoa].includes(target?.ioa))
    }
  }
  t.same(chains.find(({ chain }) => chain.id === 'shedding-3')?.chain.paths, [
    ['cc', 'gwA', 'rtu1', 'load3'],
    ['cc', 'gwB', 'gwA', 'rtu1', 'load3'],
  ])
})

t.test('routes of gateways reach every station and the centre, also by way of the tie', async (t) => {
  const plan = planOfFile('ieee39')
  const idOf = (link: number) => plan.links.find((one) => one.link === link)?.id
  const { routes, toCentre } = nodeOf(plan, 'gwA', 'gateway').config
  t.same(toCentre.map(idOf), ['cc-gwA', 'gwA-gwB'])
  t.same(routes[1]?.map(idOf), ['gwA-rtu1'], 'its own station')
  t.same(routes[4]?.map(idOf), ['gwA-gwB'], 'a station of the other gateway')
  t.equal(Object.keys(routes).length, 8)
  const stations = nodeOf(plan, 'cc', 'master').config.stations
  t.same(stations[0]?.links.map(idOf), ['cc-gwA', 'cc-gwB'])
})

t.test('the key server knows pool links, their faults and the initial stock', async (t) => {
  const plan = planOfFile('ieee39')
  const { pool, qkdLinks } = plan.keyserver
  t.equal(qkdLinks.length, 11)
  t.same(qkdLinks[0]?.disturbances, [{ kind: 'cut', fromMs: 20_000, toMs: 24_000 }])
  t.ok(pool.safeBits < pool.thBits && pool.thBits < pool.capBits)
  t.ok(initialBits(plan) <= 72_000 && initialBits(plan) > 72_000 - 11 * 32, 'whole slots')
  const isPool = isPoolChannel(plan)
  t.same([0, 1, 21, 22, 57].map(isPool), [true, true, true, false, false])
})

t.test('chains written out in the scenario are taken as they stand', async (t) => {
  const text = readFileSync('scenarios/tiny.yaml', 'utf8')
  const chains = `
chains:
  - { id: trip, taskType: shedding, priority: 9, requiredSuite: aes, allowedSuites: [aes], path: [cc, gwA, rtu1, load3] }`
  const plan = planOf(parseScenario(text + chains, 'tiny.yaml'))
  const config = nodeOf(plan, 'cc', 'master').config
  t.match(config.chains, [
    { chain: { id: 'trip', priority: 9, requiredSuite: 'aes', allowedSuites: ['aes'] }, target: { ca: 1, ioa: 5003 } },
  ])
  t.equal(config.chains.length, 1)
  t.equal(config.agc, undefined, 'no chain, no AGC')
})
