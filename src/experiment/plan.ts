/** From a scenario to the plan of a lab: addresses, links, routes and the configuration of every process. */
import { gridCase } from '../grid/index.ts'
import { LINK_DEFAULTS, type SecureLinkOptions } from '../protocol/index.ts'
import { DEVICE_DELAY_MS, PROPAGATION_MS_PER_KM } from '../sim/index.ts'
import { mastersOf, ownerOf } from './masters.ts'
import { casOf, chainsOf } from './plan-chains.ts'
import type { Draft } from './plan-draft.ts'
import { gameTermsOf } from './plan-game-terms.ts'
import { keyServerOf, topPriorityOf } from './plan-keys.ts'
import { gatewayConfig, iedConfig, masterConfig, rtuConfig } from './plan-nodes.ts'
import { responsesOf } from './plan-responses.ts'
import { type LabPlan, MOST_URGENT, type PlanLink, type PlanNode } from './plan-types.ts'
import { oriented, Ways } from './routes.ts'
import type { Scenario } from './scenario-schema.ts'
import { linksOf, nodesOf, type TopologyLink } from './topology.ts'

/** Slots of a key stream are 4 bytes. */
const SLOT_BITS = 32

export type PlanOptions = {
  /** Epoch of the links' sessions, 1..2^52, larger at each run that keeps key of an earlier one: wall time in ms will do. */
  readonly epoch?: number
}

/** The plan of a scenario that `parseScenario` gave. */
export function planOf(scenario: Scenario, { epoch = 1 }: PlanOptions = {}): LabPlan {
  const nodes = nodesOf(scenario)
  const masters = mastersOf(scenario)
  const topologyLinks = oriented(linksOf(scenario), masters)
  const links = topologyLinks.map((link, number) => linkOfPlan(scenario, link, number))
  const ways = new Ways(topologyLinks, new Map(nodes.map(({ id, kind }) => [id, kind])))
  const between = new Map(
    links.flatMap(
      (link) =>
        [
          [link.ends.join(' '), link],
          [link.ends.toReversed().join(' '), link],
        ] as const,
    ),
  )
  const planLink = (a: string, b: string): PlanLink => {
    const link = between.get(`${a} ${b}`)
    if (link === undefined) throw new RangeError(`no link between ${a} and ${b}`)
    return link
  }
  const cas = casOf(scenario)
  const chains = chainsOf(scenario, ways)
  const draft: Draft = {
    scenario,
    links,
    ways,
    cas,
    chains,
    centresOf: (rtu) => {
      const own = chains.filter(({ target }) => target?.ca === cas.get(rtu))
      return [...new Set([ownerOf(scenario, rtu), ...own.flatMap(({ chain }) => chain.paths[0]?.[0] ?? [])])]
    },
    linkOf: (a, b) => planLink(a, b).link,
    endOf: (node, neighbour) => {
      const { link, ends } = planLink(node, neighbour)
      return {
        ...linkOptions(scenario),
        // Priorities are the chains' at the master, and by kind of message (MOST_URGENT) elsewhere.
        topPriority: masters.includes(node)
          ? (topPriorityOf(chains.filter(({ chain }) => chain.paths[0]?.[0] === node)) ?? MOST_URGENT)
          : MOST_URGENT,
        link,
        end: ends[0] === node ? 0 : 1,
        epoch,
        names: { own: node, peer: neighbour },
      }
    },
  }
  const { name, seed, durationS, warmupS, grid, scheduler, outputs } = scenario
  const responses = responsesOf(scenario, draft.chains)
  const gameTerms = gameTermsOf(scenario, draft.chains)
  return {
    name,
    seed,
    durationS,
    warmupS,
    drainS: outputs.drainS,
    nodes: nodes.map(({ id }, index) => ({ id, number: index + 1, ...nodeConfig(draft, id) })),
    links,
    keyserver: keyServerOf(scenario, links, draft.chains),
    grid: {
      case: gridCase(grid.case),
      model: grid.model,
      disturbances: grid.disturbances.map(({ atS, ...disturbance }) => ({ ...disturbance, atMs: atS * 1000 })),
    },
    scheduler: {
      ...scheduler,
      messagesPerRekey: scenario.keys.aesMaxMessages,
      ...(responses && { responses }),
      ...(gameTerms && { gameTerms }),
    },
    outputs,
  }
}

/** Whether a channel draws on the pool: its link is not one with keys of its own. */
export function isPoolChannel(plan: LabPlan): (channel: number) => boolean {
  const pool = new Set(plan.links.filter(({ keys }) => keys === 'pool').map(({ link }) => link))
  return (channel) => pool.has(Math.floor(channel / 2))
}

/** Key handed to the pool before the run, bits. */
export function initialBits(plan: LabPlan): number {
  return plan.keyserver.initial.reduce((sum, { bits }) => sum + bits, 0)
}

type NodePart = PlanNode extends infer Part ? (Part extends PlanNode ? Omit<Part, 'id' | 'number'> : never) : never

function nodeConfig(draft: Draft, id: string): NodePart {
  const { gateways, rtus, ieds } = draft.scenario.topology.nodes
  if (gateways.some((gateway) => gateway.id === id)) return { kind: 'gateway', config: gatewayConfig(draft, id) }
  if (rtus.some((rtu) => rtu.id === id)) return { kind: 'rtu', config: rtuConfig(draft, id) }
  const ied = ieds.find((entry) => entry.id === id)
  return ied === undefined
    ? { kind: 'master', config: masterConfig(draft, id) }
    : { kind: 'ied', config: iedConfig(draft, ied) }
}

function linkOfPlan(scenario: Scenario, { id, ends, spec }: TopologyLink, link: number): PlanLink {
  const { stationLink, linkDefaults } = scenario.topology
  const { lengthKm, keys, delayMs } = spec ?? stationLink
  const law = {
    delayMs: delayMs ?? lengthKm * PROPAGATION_MS_PER_KM + DEVICE_DELAY_MS,
    jitterMs: spec?.jitterMs ?? linkDefaults.jitterMs,
    jitter: 'normal' as const,
    lossRatio: spec?.lossRatio ?? linkDefaults.lossRatio,
    outage: false,
  }
  return { link, id, ends, lengthKm, keys, law }
}

function linkOptions({ keys, outputs }: Scenario): Omit<SecureLinkOptions, 'link' | 'end' | 'epoch'> {
  return {
    ...LINK_DEFAULTS,
    aesMaxMessages: keys.aesMaxMessages,
    aesMaxMs: keys.aesMaxS * 1000,
    lowWaterSlots: Math.ceil(keys.buffer.lowBits / SLOT_BITS),
    highWaterSlots: Math.ceil(keys.buffer.highBits / SLOT_BITS),
    keyMaxAgeMs: keys.expiryS * 1000,
    ...(keys.order === 'arrival' && { wantsAll: true as const }),
    ...(outputs.keylog && { keyLog: true as const }),
  }
}
