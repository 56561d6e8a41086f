/** The paper's scenarios S-1 to S-3 as variants of one scenario file. */
import type { KeyPoolOptions } from '../keypool/pure.ts'
import { type PlanOptions, planOf } from './plan.ts'
import type { LabPlan, PlanLink } from './plan-types.ts'
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
  /** Every station is reached by its first path only. */
  readonly isSinglePath: boolean
  /** `static`: every chain in its required suite, reports in one-time pads, whatever the stock does. */
  readonly policy: Scenario['scheduler']['policy']
  /** Suite of reports that no scheduler decides on. */
  readonly reportSuite: 'otp' | 'aes'
}

/** What makes a scenario that case. */
export function variantOf(id: CaseId, scenario: Scenario): Variant {
  switch (id) {
    case 'S-1':
      return { pooling: 'station', isSinglePath: true, policy: 'static', reportSuite: 'otp' }
    case 'S-2':
      return { pooling: 'gateway', isSinglePath: true, policy: 'static', reportSuite: 'otp' }
    case 'S-3':
      return { pooling: 'shared', isSinglePath: false, policy: scenario.scheduler.policy, reportSuite: 'aes' }
  }
}

/** The scenario as a variant of it runs. The pool's division is the plan's (`planOfVariant`). */
export function scenarioOfVariant(scenario: Scenario, variant: Variant): Scenario {
  const { policy, reportSuite, isSinglePath } = variant
  const isStatic = policy === 'static'
  const telemetry = {
    ...scenario.tasks.telemetry,
    sendSuite: reportSuite,
    planned: scenario.tasks.telemetry.planned && !isStatic,
  }
  return {
    ...scenario,
    topology: isSinglePath ? { ...scenario.topology, links: linksOnFirstPaths(scenario) } : scenario.topology,
    tasks: { ...scenario.tasks, telemetry },
    scheduler: { ...scenario.scheduler, policy },
  }
}

/** The plan of a scenario that `scenarioOfVariant` gave. */
export function planOfVariant(
  scenario: Scenario,
  { pooling }: Pick<Variant, 'pooling'>,
  options?: PlanOptions,
): LabPlan {
  const plan = planOf(scenario, options)
  if (pooling === 'shared') return plan
  const { pool } = plan.keyserver
  return { ...plan, keyserver: { ...plan.keyserver, pool: { ...pool, ...dividedPool(scenario, plan, pooling) } } }
}

/** A stock for each station or gateway: fed by the links on its stations' first paths, drawn on by all of its links. */
function dividedPool(
  scenario: Scenario,
  plan: LabPlan,
  pooling: 'station' | 'gateway',
): Pick<KeyPoolOptions, 'poolKind' | 'quotas'> {
  const rtus = new Set(scenario.topology.nodes.rtus.map(({ id }) => id))
  const firstPaths = pairsOnFirstPaths(scenario)
  const groups = new Map<string, { links: PlanLink[]; feeds: number[] }>()
  for (const link of plan.links) {
    const [up, down] = link.ends
    if (link.keys !== 'pool') continue
    const id = pooling === 'station' && rtus.has(down) ? down : up
    const group = groups.get(id) ?? { links: [], feeds: [] }
    groups.set(id, group)
    group.links.push(link)
    if (firstPaths.has(pairOf(up, down))) group.feeds.push(link.link)
  }
  return {
    poolKind: 'quota',
    quotas: [...groups].map(([id, { links, feeds }]) => ({
      id,
      channels: links.flatMap(({ link }) => [2 * link, 2 * link + 1]),
      fromLinks: feeds,
    })),
  }
}

function linksOnFirstPaths(scenario: Scenario): Scenario['topology']['links'] {
  const pairs = pairsOnFirstPaths(scenario)
  return scenario.topology.links.filter(({ between: [a, b] }) => pairs.has(pairOf(a, b)))
}

function pairsOnFirstPaths(scenario: Scenario): ReadonlySet<string> {
  const { master, ieds } = scenario.topology.nodes
  const kinds = new Map(nodesOf(scenario).map(({ id, kind }) => [id, kind]))
  const ways = new Ways(oriented(linksOf(scenario), master.id), kinds)
  const pairs = new Set<string>()
  for (const { id, rtu } of ieds) {
    const [path = []] = ways.paths(master.id, rtu, id)
    for (const [step, node] of path.entries()) {
      const next = path[step + 1]
      if (next !== undefined) pairs.add(pairOf(node, next))
    }
  }
  return pairs
}
