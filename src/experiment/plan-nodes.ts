/** The configuration of each kind of node, from a plan's draft. */
import type { GatewayConfig } from '../gateway/index.ts'
import type { IedConfig } from '../ied/index.ts'
import type { MasterConfig } from '../master/index.ts'
import type { RtuConfig, RtuPoint } from '../rtu/index.ts'
import { caseFacts } from './case-facts.ts'
import type { Draft } from './plan-draft.ts'
import { IOA_BASE } from './plan-types.ts'
import type { ScenarioIed } from './scenario-schema.ts'

/** A value older than this many telemetry periods is stale: one report may be lost, not two. */
const STALE_PERIODS = 2.5

/** Links of a node, in the order of the plan, as its own ends. */
function endsOf(draft: Draft, id: string) {
  return draft.links
    .filter(({ ends }) => ends.includes(id))
    .map(({ ends: [a, b] }) => draft.endOf(id, a === id ? b : a))
}

export function masterConfig(draft: Draft): MasterConfig {
  const { scenario, links, ways, cas, chains, linkOf } = draft
  const { tasks, scheduler, outputs, topology, grid } = scenario
  const { id } = topology.nodes.master
  const of = (type: string) => chains.filter(({ taskType }) => taskType === type)
  const idsOf = (type: string) => of(type).map(({ chain }) => chain.id)
  const facts = caseFacts(grid.case)
  const { agc, shedding, setpoints, telemetry } = tasks
  return {
    id,
    links: endsOf(draft, id),
    topology: links.map(({ link, ends, keys }) => ({ link, ends, pooled: keys === 'pool' })),
    stations: topology.nodes.rtus.map((rtu) => ({
      ca: cas.get(rtu.id) ?? 0,
      links: ways.nextHops(id, rtu.id).map((next) => linkOf(id, next)),
    })),
    chains: chains.map(({ chain, target }) => ({ chain, ...(target === undefined ? {} : { target }) })),
    measurements: {
      machines: topology.nodes.ieds
        .filter(({ kind }) => kind === 'generator')
        .map(({ rtu, bus }) => ({
          ca: cas.get(rtu) ?? 0,
          ioa: IOA_BASE.frequency + bus,
          weight: facts.buses.get(bus)?.inertiaMws ?? 0,
        })),
      staleMs: telemetry.periodS * 1000 * STALE_PERIODS,
    },
    ...(of('agc').length > 0 && {
      agc: {
        periodMs: agc.periodS * 1000,
        kp: agc.kp,
        kiPerS: agc.kiPerS,
        mwPerHz: agc.mwPerHz,
        units: idsOf('agc').map((chain) => ({ chain })),
      },
    }),
    ...(of('shedding').length > 0 && {
      shedding: {
        thresholdHz: -shedding.detectionHz,
        timeoutMs: shedding.timeoutS * 1000,
        retryMs: shedding.retryS * 1000,
        chains: idsOf('shedding'),
      },
    }),
    ...(of('setpoint').length > 0 && {
      setpoints: {
        units: idsOf('setpoint').map((chain) => ({ chain, ratePerS: setpoints.ratePerS })),
        stepMw: setpoints.stepMw,
        timeoutMs: setpoints.timeoutS * 1000,
      },
    }),
    tickMs: scheduler.tickMs,
    ...(scheduler.policy === 'greedy' && { requeueMs: scheduler.requeueMs }),
    drainMs: outputs.drainS * 1000,
  }
}

export function gatewayConfig(draft: Draft, id: string): GatewayConfig {
  const { scenario, ways, cas, linkOf } = draft
  const { master, rtus } = scenario.topology.nodes
  const linksTo = (to: string) => ways.nextHops(id, to).map((next) => linkOf(id, next))
  return {
    id,
    links: endsOf(draft, id),
    routes: Object.fromEntries(rtus.map((rtu) => [cas.get(rtu.id) ?? 0, linksTo(rtu.id)])),
    toCentre: linksTo(master.id),
  }
}

export function rtuConfig(draft: Draft, id: string): RtuConfig {
  const { scenario, ways, cas, endOf } = draft
  const { master, rtus, ieds } = scenario.topology.nodes
  const own = ieds.filter(({ rtu }) => rtu === id)
  const tcp = rtus.find((rtu) => rtu.id === id)?.tcp
  return {
    id,
    ca: cas.get(id) ?? 0,
    upLinks: ways.nextHops(id, master.id).map((next) => endOf(id, next)),
    ieds: own.map((ied) => ({ link: endOf(id, ied.id), ioas: Object.values(pointsOf(ied)) })),
    points: own.flatMap((ied) => groupedPoints(pointsOf(ied))),
    ...(tcp && { tcp }),
  }
}

export function iedConfig(draft: Draft, ied: ScenarioIed): IedConfig {
  const { scenario, cas, endOf } = draft
  const { telemetry } = scenario.tasks
  const { ieds } = scenario.topology.nodes
  const periodMs = telemetry.periodS * 1000
  return {
    id: ied.id,
    ca: cas.get(ied.rtu) ?? 0,
    bus: ied.bus,
    kind: ied.kind,
    link: endOf(ied.id, ied.rtu),
    points: pointsOf(ied),
    samplePeriodMs: scenario.grid.samplePeriodMs,
    telemetryPeriodMs: periodMs,
    // Spread over the period, so that devices do not all speak at once.
    telemetryPhaseMs: (periodMs * (ieds.indexOf(ied) + 0.5)) / ieds.length,
    telemetryDeadlineMs: telemetry.deadlineS * 1000,
    telemetrySuite: telemetry.suite,
    deadbandHz: ied.kind === 'generator' ? telemetry.deadbandHz : telemetry.loadDeadbandHz,
    ...(ied.kind === 'load' && { shedMw: ied.shedMw, breakerDelayMs: ied.breakerDelayMs }),
  }
}

/** Interrogation groups of an RTU: a group a kind of point. */
const GROUPS = [
  ['breakerIoa', 1],
  ['frequencyIoa', 2],
  ['voltageIoa', 3],
  ['powerIoa', 4],
] as const

function groupedPoints(points: IedConfig['points']): RtuPoint[] {
  return GROUPS.flatMap(([name, group]) => {
    const ioa = points[name]
    return ioa === undefined ? [] : [{ ioa, group }]
  })
}

/** Object addresses of an IED's points. */
function pointsOf({ kind, bus }: ScenarioIed): IedConfig['points'] {
  const measured = { frequencyIoa: IOA_BASE.frequency + bus, voltageIoa: IOA_BASE.voltage + bus }
  return kind === 'load'
    ? { ...measured, breakerIoa: IOA_BASE.breaker + bus, commandIoa: IOA_BASE.shed + bus }
    : { ...measured, powerIoa: IOA_BASE.power + bus, setpointIoa: IOA_BASE.setpoint + bus }
}
