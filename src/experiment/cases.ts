/** The paper's scenarios S-1 to S-3 as variants of one scenario file. */
import { masterFor, mastersOf, ownerOf } from './masters.ts'
import { chainsOf } from './plan-chains.ts'
import { oriented, Ways } from './routes.ts'
import type { Scenario } from './scenario-schema.ts'
import { linksOf, nodesOf, pairOf } from './topology.ts'

/** S-1 static chain and static keys, S-2 static chain and dynamic keys, S-3 reconfigurable. */
export const CASES = ['S-1', 'S-2', 'S-3'] as const
export type CaseId = (typeof CASES)[number]

/** Who draws on which stock: a quota for each station, a stock for each gateway, or one stock for all. */
export type Pooling = 'station' | 'gateway' | 'shared'

/** What an experiment makes of a scenario. */
export type Variant = {
  readonly pooling: Pooling
  /** In what order those who wait for a stock are served. */
  readonly order: Scenario['keys']['order']
  /** Every station is reached by its first path only. */
  readonly isSinglePath: boolean
  /** `static`: every chain in its required suite, reports in one-time pads, whatever the stock does. */
  readonly policy: Scenario['scheduler']['policy']
  /** `otp`: no chain may fall back to AES. Default: the chains say what they may. */
  readonly suites?: 'otp'
  /** Suite of reports that no scheduler decides on. */
  readonly reportSuite: 'otp' | 'aes'
}

/** What makes a scenario that case. */
export function variantOf(id: CaseId, scenario: Scenario): Variant {
  switch (id) {
    case 'S-1':
      return { pooling: 'station', order: 'arrival', isSinglePath: true, policy: 'static', reportSuite: 'otp' }
    case 'S-2':
      return { pooling: 'gateway', order: 'arrival', isSinglePath: true, policy: 'static', reportSuite: 'otp' }
    case 'S-3': {
      const { policy } = scenario.scheduler
      return { pooling: 'shared', order: 'fair', isSinglePath: false, policy, reportSuite: 'aes' }
    }
  }
}

/** The scenario as a variant of it runs. */
export function scenarioOfVariant(scenario: Scenario, variant: Variant): Scenario {
  const { policy, reportSuite, isSinglePath, pooling, order, suites } = variant
  const isStatic = policy === 'static'
  const telemetry = {
    ...scenario.tasks.telemetry,
    sendSuite: reportSuite,
    planned: scenario.tasks.telemetry.planned && !isStatic && suites !== 'otp',
  }
  const topology = { ...scenario.topology, links: linksOnFirstPaths(scenario) }
  const narrowed = isSinglePath ? { ...scenario, topology } : scenario
  return {
    ...narrowed,
    ...(suites === 'otp' && { chains: otpChains(narrowed) }),
    keys: { ...(pooling === 'shared' ? { ...scenario.keys, pool: 'shared' } : dividedKeys(narrowed, pooling)), order },
    tasks: { ...scenario.tasks, telemetry },
    scheduler: { ...scenario.scheduler, policy },
  }
}

/** The command chains written out, so that none may fall back to AES. */
function otpChains(scenario: Scenario): Scenario['chains'] {
  return chainsOf(scenario, waysOf(scenario)).flatMap(({ chain: { id, priority, paths }, taskType }) => {
    const [path, ...alternatives] = paths.map((walk) => [...walk])
    if (taskType === 'report' || path === undefined) return []
    const suites = { requiredSuite: 'otp' as const, allowedSuites: ['otp' as const] }
    return [{ id, taskType, priority, ...suites, path, alternatives }]
  })
}

/** A stock for each station or gateway, fed and drawn on by its links; nothing of it is kept for anybody. */
function dividedKeys(scenario: Scenario, pooling: 'station' | 'gateway'): Scenario['keys'] {
  const rtus = new Set(scenario.topology.nodes.rtus.map(({ id }) => id))
  const groups = new Map<string, string[]>()
  for (const link of oriented(linksOf(scenario), mastersOf(scenario))) {
    const [up, down] = link.ends
    if ((link.spec ?? scenario.topology.stationLink).keys !== 'pool') continue
    const id = pooling === 'station' && rtus.has(down) ? down : up
    groups.set(id, [...(groups.get(id) ?? []), link.id])
  }
  const quotas = [...groups].map(([id, links]) => ({ id, links, from: links, weight: 1 }))
  return { ...scenario.keys, pool: 'quota', quotas }
}

function linksOnFirstPaths(scenario: Scenario): Scenario['topology']['links'] {
  const pairs = pairsOnFirstPaths(scenario)
  return scenario.topology.links.filter(({ between: [a, b] }) => pairs.has(pairOf(a, b)))
}

function pairsOnFirstPaths(scenario: Scenario): ReadonlySet<string> {
  const { ieds } = scenario.topology.nodes
  const ways = waysOf(scenario)
  const masters = mastersOf(scenario)
  const first = ieds.flatMap(({ id, rtu, bus }) => {
    const isInAgc = scenario.tasks.agc.units.includes(bus)
    const from = new Set([ownerOf(scenario, rtu), ...(isInAgc ? [masterFor(scenario, 'agc', rtu)] : [])])
    return [...from].flatMap((master) => ways.paths(master, rtu, id).slice(0, 1))
  })
  // Centres talk with each other whatever the stations do.
  const between = scenario.topology.links.flatMap(({ between: [a, b] }) =>
    masters.includes(a) && masters.includes(b) ? [[a, b]] : [],
  )
  const pairs = new Set<string>()
  for (const path of [...first, ...between]) {
    for (const [step, node] of path.entries()) {
      const next = path[step + 1]
      if (next !== undefined) pairs.add(pairOf(node, next))
    }
  }
  return pairs
}

function waysOf(scenario: Scenario): Ways {
  const kinds = new Map(nodesOf(scenario).map(({ id, kind }) => [id, kind]))
  return new Ways(oriented(linksOf(scenario), mastersOf(scenario)), kinds)
}
