/** The configuration of each kind of node, from a plan's draft. */
import type { GatewayConfig } from '../gateway/index.ts'
import type { IedConfig } from '../ied/index.ts'
import type { MasterConfig } from '../master/index.ts'
import type { RtuConfig, RtuPoint } from '../rtu/index.ts'
import { caseFacts } from './case-facts.ts'
import { mastersOf, originatorOf } from './masters.ts'
import type { Draft } from './plan-draft.ts'
import { topPriorityOf } from './plan-keys.ts'
import { seatOf } from './plan-seats.ts'
import { IOA_BASE, MOST_URGENT } from './plan-types.ts'
import type { ScenarioIed } from './scenario-schema.ts'

/** A value older than this many telemetry periods is stale: one report may be lost, not two. */
const STALE_PERIODS = 2.5

/** Links of a node, in the order of the plan, as its own ends. */
function endsOf(draft: Draft, id: string) {
  return draft.links
    .filter(({ ends }) => ends.includes(id))
    .map(({ ends: [a, b] }) => draft.endOf(id, a === id ? b : a))
}

export function masterConfig(draft: Draft, id: string): MasterConfig {
  const { scenario, links, ways, cas, linkOf } = draft
  const { tasks, scheduler, outputs, topology, grid } = scenario
  const { master, areaMasters, rtus, ieds } = topology.nodes
  const chains = draft.chains.filter(({ chain }) => chain.paths[0]?.[0] === id)
  const stations = rtus.filter((rtu) => draft.centresOf(rtu.id).includes(id))
  const { meterBus } = [master, ...areaMasters].find((each) => each.id === id) ?? {}
  const originator = originatorOf(scenario, id)
  const of = (type: string) => chains.filter(({ taskType }) => taskType === type)
  const idsOf = (type: string) => of(type).map(({ chain }) => chain.id)
  const facts = caseFacts(grid.case)
  const { agc, shedding, setpoints, telemetry } = tasks
  return {
    id,
    links: endsOf(draft, id),
    topology: links.map(({ link, ends, keys }) => ({ link, ends, pooled: keys !== 'local' })),
    ...(originator > 0 && { originator, taskPrefix: `${id}-` }),
    ...seatOf(draft, id),
    stations: stations.map((rtu) => ({
      ca: cas.get(rtu.id) ?? 0,
      links: ways.nextHops(id, rtu.id).map((next) => linkOf(id, next)),
    })),
    chains: chains.map(({ chain, target, reports }) => ({
      chain,
      ...(target === undefined ? {} : { target }),
      ...(reports === undefined ? {} : { reports }),
    })),
    ...(meterBus !== undefined && { meter: { bus: meterBus, periodMs: grid.samplePeriodMs } }),
    measurements: {
      machines: ieds
        .filter(({ kind, rtu }) => kind === 'generator' && stations.some(({ id }) => id === rtu))
        // Of two IEDs on a machine the first one's speed counts.
        .filter(({ bus }, index, all) => all.findIndex((other) => other.bus === bus) === index)
        .map(({ rtu, bus }) => ({
          ca: cas.get(rtu) ?? 0,
          ioa: IOA_BASE.frequency + bus,
          weight: facts.buses.get(bus)?.inertiaMws ?? 0,
        })),
      ...(scheduler.policy === 'rolling' &&
        scheduler.rolling.voltageWeight > 0 && {
          voltages: ieds
            .filter(({ kind, rtu }) => kind !== 'pmu' && stations.some(({ id }) => id === rtu))
            .map((ied) => ({ bus: ied.bus, ca: cas.get(ied.rtu) ?? 0, ioa: IOA_BASE.voltage + ied.bus })),
        }),
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
    ...(scheduler.policy !== 'static' && { requeueMs: scheduler.requeueMs }),
    drainMs: outputs.drainS * 1000,
  }
}

export function gatewayConfig(draft: Draft, id: string): GatewayConfig {
  const { scenario, ways, cas, linkOf } = draft
  const { master, areaMasters, rtus } = scenario.topology.nodes
  const linksTo = (to: string) => ways.nextHops(id, to).map((next) => linkOf(id, next))
  const masters = mastersOf(scenario)
  const own = areaMasters.find(({ gateways }) => gateways.includes(id)) ?? master
  return {
    id,
    links: endsOf(draft, id),
    routes: Object.fromEntries(rtus.map((rtu) => [cas.get(rtu.id) ?? 0, linksTo(rtu.id)])),
    toCentre: linksTo(own.id),
    ...(masters.length > 1 && {
      centres: Object.fromEntries(masters.map((each) => [originatorOf(scenario, each), linksTo(each)])),
    }),
    priorities: prioritiesOf(draft),
  }
}

/** C_SC_NA_1 and C_SE_NC_1. */
const COMMAND_TYPES: Readonly<Record<string, number>> = { shedding: 45, agc: 50, setpoint: 50 }

/** Commands of the most urgent chains, and their confirmations, go before all others on every hop. */
function prioritiesOf({ chains }: Draft): { readonly byType: Readonly<Record<number, number>> } {
  const top = topPriorityOf(chains)
  const types = chains.flatMap(({ chain, taskType }) => (chain.priority === top ? (COMMAND_TYPES[taskType] ?? []) : []))
  return { byType: Object.fromEntries(types.map((type) => [type, MOST_URGENT])) }
}

export function rtuConfig(draft: Draft, id: string): RtuConfig {
  const { scenario, ways, cas, endOf } = draft
  const { rtus, ieds } = scenario.topology.nodes
  const centres = draft.centresOf(id)
  const upHops = new Set(centres.flatMap((centre) => ways.nextHops(id, centre)))
  const own = ieds.filter(({ rtu }) => rtu === id)
  const tcp = rtus.find((rtu) => rtu.id === id)?.tcp
  return {
    id,
    ca: cas.get(id) ?? 0,
    upLinks: [...upHops].map((next) => endOf(id, next)),
    ...(mastersOf(scenario).length > 1 && { centres: centres.map((centre) => originatorOf(scenario, centre)) }),
    ieds: own.map((ied) => ({
      link: endOf(id, ied.id),
      ioas: [...Object.values(pointsOf(ied)), ...reportedIoas(draft, ied)],
    })),
    points: own.flatMap((ied) => groupedPoints(pointsOf(ied))),
    priorities: prioritiesOf(draft),
    // A block that is late is worth nothing, and must not keep the others waiting.
    ...(own.some(({ kind }) => kind === 'pmu') && { holdMs: scenario.tasks.pmu.deadlineS * 1000 }),
    ...(tcp && { tcp }),
  }
}

export function iedConfig(draft: Draft, ied: ScenarioIed): IedConfig {
  const { scenario, cas, endOf } = draft
  const { telemetry, pmu } = scenario.tasks
  const { ieds } = scenario.topology.nodes
  const bursts = burstsOf(draft, ied)
  const periodMs = telemetry.periodS * 1000
  return {
    id: ied.id,
    ca: cas.get(ied.rtu) ?? 0,
    bus: ied.bus,
    kind: ied.kind === 'generator' ? 'generator' : 'load',
    link: endOf(ied.id, ied.rtu),
    points: pointsOf(ied),
    priorities: prioritiesOf(draft),
    samplePeriodMs: scenario.grid.samplePeriodMs,
    telemetryPeriodMs: periodMs,
    // Spread over the period, so that devices do not all speak at once.
    telemetryPhaseMs: (periodMs * (ieds.indexOf(ied) + 0.5)) / ieds.length,
    telemetryDeadlineMs: telemetry.deadlineS * 1000,
    telemetryRequiredSuite: ied.kind === 'pmu' ? pmu.suite : telemetry.suite,
    telemetrySuite: telemetry.sendSuite,
    deadbandHz: ied.kind === 'generator' ? telemetry.deadbandHz : telemetry.loadDeadbandHz,
    ...(ied.kind === 'load' && { shedMw: ied.shedMw, breakerDelayMs: ied.breakerDelayMs }),
    ...(ied.kind === 'pmu' && {
      pmu: {
        firstIoa: IOA_BASE.block + 1,
        objects: pmu.objects,
        periodMs: pmu.periodS * 1000,
        phaseMs: (pmu.periodS * 1000 * (ieds.indexOf(ied) + 0.5)) / ieds.length,
        deadlineMs: pmu.deadlineS * 1000,
      },
    }),
    ...(bursts.length > 0 && { bursts }),
  }
}

/** What an IED reports at each disturbance of the grid. */
function burstsOf({ scenario }: Draft, ied: ScenarioIed): NonNullable<IedConfig['bursts']> {
  const { atLoad, elsewhere, withinS, deadlineS, suite } = scenario.tasks.events
  const events = ied.kind === 'load' ? atLoad : elsewhere
  if (events === 0) return []
  return scenario.grid.disturbances.map(({ atS }) => ({
    firstIoa: IOA_BASE.event + 1,
    events,
    atMs: atS * 1000,
    withinMs: withinS * 1000,
    deadlineMs: deadlineS * 1000,
    requiredSuite: suite,
  }))
}

/** Addresses of an IED's phasor block and events. */
function reportedIoas({ scenario }: Draft, ied: ScenarioIed): readonly number[] {
  const { events, pmu } = scenario.tasks
  const run = (base: number, count: number) => Array.from({ length: count }, (_, index) => base + 1 + index)
  return [
    ...(ied.kind === 'pmu' ? run(IOA_BASE.block, pmu.objects) : []),
    ...run(IOA_BASE.event, ied.kind === 'load' ? events.atLoad : events.elsewhere),
  ]
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
  if (kind === 'pmu') return {}
  const measured = { frequencyIoa: IOA_BASE.frequency + bus, voltageIoa: IOA_BASE.voltage + bus }
  return kind === 'load'
    ? { ...measured, breakerIoa: IOA_BASE.breaker + bus, commandIoa: IOA_BASE.shed + bus }
    : { ...measured, powerIoa: IOA_BASE.power + bus, setpointIoa: IOA_BASE.setpoint + bus }
}
