/** What a scenario must be beyond its schema: references that lead somewhere, orders, and a topology that can work. */
import { type CaseFacts, caseFacts } from './case-facts.ts'
import { checkChains } from './chain-check.ts'
import { checkEtsi014, checkQuotas, checkRelays, checkReserve, checkServe014 } from './key-check.ts'
import { mastersOf, ownerOf } from './masters.ts'
import type { Scenario } from './scenario-schema.ts'
import { type Path, type Problem, quote } from './scenario-source.ts'
import { hopsFrom, linksOf, type NodeKind, neighboursOf, nodesOf, pairOf, type TopologyLink } from './topology.ts'

/** Everything a check may look at. */
export type Subject = {
  readonly scenario: Scenario
  readonly facts: CaseFacts
  readonly kinds: ReadonlyMap<string, NodeKind>
  readonly links: readonly TopologyLink[]
}

/** Every problem of a scenario that the schema accepts; none if it can be run. */
export function checkScenario(scenario: Scenario): readonly Problem[] {
  const nodes = nodesOf(scenario)
  const subject: Subject = {
    scenario,
    facts: caseFacts(scenario.grid.case),
    // Of two nodes with one id the first counts, so that a copy makes one problem, not a dozen.
    kinds: new Map(nodes.toReversed().map(({ id, kind }) => [id, kind])),
    links: linksOf(scenario),
  }
  return [
    ...checkNames(subject),
    ...checkLinks(subject),
    ...checkAreas(subject),
    ...checkReach(subject),
    ...checkStations(subject),
    ...checkGrid(subject),
    ...checkKeys(subject),
    ...checkQuotas(subject),
    ...checkReserve(subject),
    ...checkRelays(subject),
    ...checkEtsi014(subject),
    ...checkServe014(subject),
    ...checkUnits(subject),
    ...checkChains(subject),
    ...checkFaults(subject),
    ...checkGame(subject),
  ]
}

function checkNames({ scenario, links }: Subject): readonly Problem[] {
  const { rtus } = scenario.topology.nodes
  const cas = rtus.map(({ ca }, index) => ({ id: String(ca ?? index + 1), path: rtuPath(index, ca) }))
  const chains = scenario.chains === 'auto' ? [] : scenario.chains
  return [
    ...repeated(nodesOf(scenario), 'node'),
    ...repeated(cas, 'common address'),
    ...repeated(
      links.map(({ id, path, spec }) => ({ id, path: spec?.id === undefined ? path : [...path, 'id'] })),
      'link',
    ),
    ...repeated(
      chains.map(({ id }, index) => ({ id, path: ['chains', index, 'id'] })),
      'chain',
    ),
  ]
}

function rtuPath(index: number, ca: number | undefined): Path {
  const path = ['topology', 'nodes', 'rtus', index]
  return ca === undefined ? path : [...path, 'ca']
}

function repeated(items: readonly { readonly id: string; readonly path: Path }[], what: string): readonly Problem[] {
  const seen = new Set<string>()
  return items.flatMap(({ id, path }) => {
    const again = seen.has(id)
    seen.add(id)
    return again ? [problem(path, `duplicate ${what}`, `${quote(id)} again`, 'a name used once')] : []
  })
}

/** Who may be joined by a link. */
const JOINABLE: readonly (readonly [NodeKind, NodeKind])[] = [
  ['master', 'master'],
  ['master', 'gateway'],
  ['master', 'rtu'],
  ['gateway', 'gateway'],
  ['gateway', 'rtu'],
  ['rtu', 'ied'],
]

function checkLinks({ scenario, kinds }: Subject): readonly Problem[] {
  const pairs = new Set<string>()
  const rtuOf = new Map(scenario.topology.nodes.ieds.map(({ id, rtu }) => [id, rtu]))
  return scenario.topology.links.flatMap(({ between: [a, b] }, index) => {
    const path = ['topology', 'links', index, 'between']
    const unknown = [a, b].flatMap((id, end) =>
      kinds.has(id) ? [] : [problem([...path, end], 'unknown node', quote(id), 'the id of a node in topology.nodes')],
    )
    if (unknown.length > 0) return unknown
    if (a === b) return [problem(path, 'link to itself', `${quote(a)} twice`, 'two different nodes')]
    const twice = pairs.has(pairOf(a, b))
    pairs.add(pairOf(a, b))
    if (twice) return [problem(path, 'second link of a pair', `${a} and ${b} again`, 'one link between two nodes')]
    const [kindA, kindB] = [kinds.get(a), kinds.get(b)]
    const joinable = JOINABLE.some(([x, y]) => (x === kindA && y === kindB) || (x === kindB && y === kindA))
    if (!joinable) {
      const expected = 'master-master, master-gateway, master-rtu, gateway-gateway, gateway-rtu or rtu-ied'
      return [problem(path, 'link that joins the wrong kinds', `${kindA}-${kindB}`, expected)]
    }
    const ied = kindA === 'ied' ? a : b
    const owner = rtuOf.get(ied)
    if (owner === undefined || owner === a || owner === b) return []
    return [problem(path, 'link to a foreign RTU', `${a}-${b}`, `${ied} on its own RTU ${quote(owner)}`)]
  })
}

/** Every RTU must be reached through gateways from the master that has it, and, with a unit in AGC, from the one that leads. */
function checkReach({ scenario, kinds, links }: Subject): readonly Problem[] {
  const { nodes } = scenario.topology
  const neighbours = neighboursOf(links)
  const reached = new Map(
    mastersOf(scenario).map((id) => [id, hopsFrom(id, neighbours, (node) => kinds.get(node) === 'gateway')]),
  )
  const unreached = (list: 'gateways' | 'rtus', mastersFor: (id: string) => readonly string[]) =>
    nodes[list].flatMap(({ id }, index) =>
      mastersFor(id).flatMap((master) => {
        const path = ['topology', 'nodes', list, index, 'id']
        const expected = `links that join it to the master${master === nodes.master.id ? '' : ` ${quote(master)}`}`
        return reached.get(master)?.has(id) === true ? [] : [problem(path, 'unreachable node', quote(id), expected)]
      }),
    )
  const areaOf = (gateway: string) => nodes.areaMasters.find(({ gateways }) => gateways.includes(gateway))
  const isInAgc = (rtu: string) =>
    nodes.ieds.some((ied) => ied.rtu === rtu && ied.kind === 'generator' && scenario.tasks.agc.units.includes(ied.bus))
  return [
    ...unreached('gateways', (id) => [areaOf(id)?.id ?? nodes.master.id]),
    ...unreached('rtus', (id) => [...new Set([ownerOf(scenario, id), ...(isInAgc(id) ? [nodes.master.id] : [])])]),
  ]
}

/** Areas are made of gateways, each of one area. */
function checkAreas({ scenario, kinds }: Subject): readonly Problem[] {
  const taken = new Set<string>()
  return scenario.topology.nodes.areaMasters.flatMap(({ gateways }, area) =>
    gateways.flatMap((id, index) => {
      const path = ['topology', 'nodes', 'areaMasters', area, 'gateways', index]
      if (kinds.get(id) !== 'gateway') return [problem(path, 'unknown gateway', quote(id), 'the id of a gateway')]
      const again = taken.has(id)
      taken.add(id)
      return again ? [problem(path, 'gateway of two areas', quote(id), 'each gateway in one area')] : []
    }),
  )
}

function checkStations({ scenario, facts, kinds }: Subject): readonly Problem[] {
  const places = new Set<string>()
  return scenario.topology.nodes.ieds.flatMap((ied, index) => {
    const path = ['topology', 'nodes', 'ieds', index]
    const found: Problem[] = []
    if (kinds.get(ied.rtu) !== 'rtu') {
      found.push(
        problem([...path, 'rtu'], 'IED without RTU', quote(ied.rtu), 'the id of an RTU in topology.nodes.rtus'),
      )
    }
    const bus = facts.buses.get(ied.bus)
    if (bus === undefined) {
      found.push(unknownBus([...path, 'bus'], ied.bus, scenario))
    } else if (ied.kind === 'generator' && !bus.machine) {
      found.push(problem([...path, 'bus'], 'bus without a machine', String(ied.bus), `one of ${machineList(facts)}`))
    } else if (ied.kind === 'load' && ied.shedMw > bus.loadMw) {
      const expected = `at most the ${bus.loadMw} MW of load at bus ${ied.bus}`
      found.push(problem([...path, 'shedMw'], 'sheds more than there is', `${ied.shedMw}`, expected))
    }
    const place = `${ied.rtu} ${ied.bus}`
    if (places.has(place)) {
      const expected = 'one IED a bus and RTU (their object addresses would be the same)'
      found.push(problem([...path, 'bus'], 'bus taken', `${ied.bus} again on ${quote(ied.rtu)}`, expected))
    }
    places.add(place)
    return found
  })
}

function checkGrid({ scenario, facts }: Subject): readonly Problem[] {
  return scenario.grid.disturbances.flatMap((disturbance, index) => {
    const path = ['grid', 'disturbances', index]
    const bus = facts.buses.get(disturbance.bus)
    const found = [...afterEnd(path, disturbance.atS, scenario)]
    if (bus === undefined) found.push(unknownBus([...path, 'bus'], disturbance.bus, scenario))
    else if (disturbance.kind === 'trip' && !bus.machine) {
      const expected = `one of ${machineList(facts)}`
      found.push(problem([...path, 'bus'], 'bus without a machine', String(disturbance.bus), expected))
    }
    return found
  })
}

/** A value and its place under `keys`. */
type Amount = readonly [place: Path, value: number]

function checkKeys({ scenario: { keys } }: Subject): readonly Problem[] {
  const { thresholds, buffer, initialBits, linkModel } = keys
  const of = (name: 'safeBits' | 'thBits' | 'capBits'): Amount => [['thresholds', name], thresholds[name]]
  const [shortestS, longestS] = linkModel.breakDurationS
  return [
    ...ordered('thresholds out of order', of('safeBits'), of('thBits')),
    ...ordered('thresholds out of order', of('thBits'), of('capBits')),
    ...ordered(
      'buffer out of order',
      [['buffer', 'lowBits'], buffer.lowBits],
      [['buffer', 'highBits'], buffer.highBits],
    ),
    ...(initialBits === undefined || initialBits <= thresholds.capBits
      ? []
      : [
          problem(
            ['keys', 'initialBits'],
            'more than the pool holds',
            `${initialBits}`,
            `at most capBits (${thresholds.capBits})`,
          ),
        ]),
    ...(shortestS <= longestS
      ? []
      : [
          problem(
            ['keys', 'linkModel', 'breakDurationS'],
            'durations out of order',
            `[${shortestS}, ${longestS}]`,
            'the shortest first',
          ),
        ]),
  ]
}

function ordered(message: string, [smallPlace, small]: Amount, [largePlace, large]: Amount): readonly Problem[] {
  if (small < large) return []
  const path = ['keys', ...largePlace]
  return [
    {
      ...problem(path, message, `${large}`, `more than ${smallPlace.at(-1)} (${small})`),
      because: [['keys', ...smallPlace]],
    },
  ]
}

/** Units of AGC and set-points must have an IED, once. */
function checkUnits({ scenario, facts }: Subject): readonly Problem[] {
  const { agc, setpoints } = scenario.tasks
  const buses = scenario.topology.nodes.ieds.filter(({ kind }) => kind === 'generator').map(({ bus }) => bus)
  const taken = new Set<number>()
  const check = (list: readonly number[], task: 'agc' | 'setpoints') =>
    list.flatMap((bus, index) => {
      const path = ['tasks', task, 'units', index]
      if (!buses.includes(bus)) {
        const expected =
          buses.length === 0 ? 'a generator IED in topology' : `a bus with a generator IED: ${buses.join(', ')}`
        return [problem(path, 'unit without an IED', String(bus), expected)]
      }
      if (facts.buses.get(bus)?.governor === false) {
        return [problem(path, 'unit without a governor', String(bus), 'a machine whose power can be set')]
      }
      const again = taken.has(bus)
      taken.add(bus)
      return again ? [problem(path, 'unit in use', `${bus} again`, 'each unit in one list, once')] : []
    })
  return [...check(agc.units, 'agc'), ...check(setpoints.units === 'others' ? [] : setpoints.units, 'setpoints')]
}

function checkFaults({ scenario, links }: Subject): readonly Problem[] {
  return scenario.faults.flatMap((fault, index) => {
    const path = ['faults', index]
    const link = links.find(({ id }) => id === fault.link)
    const isQkd = (link?.spec?.keys ?? scenario.topology.stationLink.keys) === 'pool'
    const known = link !== undefined && isQkd
    const expected = 'the id of a link with keys: pool'
    const unknown = problem(
      [...path, 'link'],
      link === undefined ? 'unknown link' : 'link without QKD',
      quote(fault.link),
      expected,
    )
    return [...afterEnd(path, fault.atS, scenario), ...(known ? [] : [unknown])]
  })
}

function checkGame({ scenario, kinds, links }: Subject): readonly Problem[] {
  const { policy, game } = scenario.scheduler
  if (game === undefined) {
    return policy === 'game'
      ? [problem(['scheduler', 'policy'], 'no game', 'game', 'a section scheduler.game with agents')]
      : []
  }
  const agents = game.agents.map(({ id }, index) => ({ id, path: ['scheduler', 'game', 'agents', index] }))
  const unknown = game.agents.flatMap(({ nodes }, agent) =>
    nodes.flatMap((node, index) => {
      const path = ['scheduler', 'game', 'agents', agent, 'nodes', index]
      return kinds.has(node) ? [] : [problem(path, 'unknown node', quote(node), 'the id of a node')]
    }),
  )
  return [...repeated(agents, 'agent'), ...unknown, ...(policy === 'game' ? checkSeats(scenario, game, links) : [])]
}

/** Of several masters each is one agent, the one that leads is the first, and it has a link to every other. */
function checkSeats(
  scenario: Scenario,
  { agents }: NonNullable<Scenario['scheduler']['game']>,
  links: readonly TopologyLink[],
): readonly Problem[] {
  const masters = mastersOf(scenario)
  if (masters.length === 1) return []
  const pairs = new Set(links.map(({ ends }) => pairOf(...ends)))
  const seats = agents.map(({ nodes }) => nodes.filter((node) => masters.includes(node)))
  const seatProblems = seats.flatMap((found, index) => {
    const path = ['scheduler', 'game', 'agents', index]
    const what = found.length === 0 ? 'no master' : found.join(', ')
    if (found.length !== 1) return [problem(path, 'agent without a seat', what, 'one master among its nodes')]
    const isFirst = found[0] === masters[0]
    if (isFirst === (index === 0)) return []
    const expected = index === 0 ? `the master ${quote(masters[0] ?? '')}` : 'an area master: the first agent leads'
    return [problem(path, 'agent on another seat', what, expected)]
  })
  const areaProblems = masters.slice(1).flatMap((id, index) => {
    const path = ['topology', 'nodes', 'areaMasters', index, 'id']
    const seated = seats.filter((found) => found.includes(id)).length
    const agent = seated === 1 ? [] : [problem(path, 'master of no agent', quote(id), 'one agent with it in its nodes')]
    if (pairs.has(pairOf(masters[0] ?? '', id))) return agent
    return [...agent, problem(path, 'no way for grants', quote(id), `a link between ${masters[0]} and ${id}`)]
  })
  return [...seatProblems, ...areaProblems]
}

function afterEnd(path: Path, atS: number, { durationS }: Scenario): Problem[] {
  if (atS < durationS) return []
  const late = problem([...path, 'atS'], 'after the end', `${atS}`, `less than durationS (${durationS})`)
  return [{ ...late, because: [['durationS']] }]
}

function unknownBus(path: Path, bus: number, scenario: Scenario): Problem {
  return problem(path, 'unknown bus', String(bus), `a bus of ${scenario.grid.case}`)
}

function machineList(facts: CaseFacts): string {
  return [...facts.buses].flatMap(([bus, { machine }]) => (machine ? [bus] : [])).join(', ')
}

function problem(path: Path, message: string, found: string, expected: string): Problem {
  return { path, message, found, expected }
}
