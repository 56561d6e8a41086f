/** What the page must know of a lab beforehand, from its scenario and plan. */
import type { ChainHead, LabHead } from '../../dashboard/index.ts'
import { BAND_HZ, type LabPlan, planOf, policyNames, type Scenario } from '../../experiment/index.ts'

export type HeadContext = Pick<LabHead, 'lab' | 'version' | 'mode' | 'isolation' | 'impairment'>

export function headOf(scenario: Scenario, plan: LabPlan, context: HeadContext): LabHead {
  const { thresholds, aesMaxMessages } = scenario.keys
  const busOf = new Map(scenario.topology.nodes.ieds.map(({ id, bus }) => [id, bus]))
  const node = ({ id, kind }: LabPlan['nodes'][number]): LabHead['nodes'][number] => {
    const bus = busOf.get(id)
    return { id, kind, ...(bus !== undefined && { bus }) }
  }
  return {
    ...context,
    name: scenario.name,
    seed: scenario.seed,
    durationMs: scenario.durationS * 1000,
    nodes: [...plan.nodes.map(node), { id: 'keyserver', kind: 'service' }, { id: 'grid', kind: 'service' }],
    links: plan.links.map(({ link, id, ends, keys, lengthKm, law }) => {
      return { link, id, ends, keys, lengthKm, delayMs: law.delayMs }
    }),
    chains: chainHeadsOf(plan),
    thresholds: { safeBits: thresholds.safeBits, thBits: thresholds.thBits, capBits: thresholds.capBits },
    bandHz: BAND_HZ,
    policy: scenario.scheduler.policy,
    policies: policyNames(),
    buses: plan.grid.case.buses.flatMap(({ bus, loadMw }) => (loadMw > 0 ? [{ bus, loadMw }] : [])),
    messagesPerRekey: aesMaxMessages,
  }
}

/** The chains as the page shows them. */
export function chainHeadsOf(plan: LabPlan): readonly ChainHead[] {
  const chains = plan.nodes.flatMap((node) => (node.kind === 'master' ? node.config.chains : []))
  return chains.map(({ chain, target }) => {
    const { id, taskType, priority, requiredSuite, deadlineMs, apduBytes, paths } = chain
    const { ca, ioa } = target ?? { ca: 0, ioa: 0 }
    return { id, taskType, priority, requiredSuite, deadlineMs, apduBytes, paths, ca, ioa }
  })
}

/** The chains of a scenario after a change. */
export function chainHeadsOfScenario(scenario: Scenario): readonly ChainHead[] {
  return chainHeadsOf(planOf(scenario))
}
