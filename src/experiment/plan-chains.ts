/** The chains of a plan: those the scenario lists, or one for each shedding IED, AGC unit and set-point unit. */
import type { MasterChain } from '../master/index.ts'
import { chain } from '../scheduler/index.ts'
import { caseFacts } from './case-facts.ts'
import { masterFor, mastersOf, ownerOf } from './masters.ts'
import { IOA_BASE } from './plan-types.ts'
import type { Ways } from './routes.ts'
import type { Scenario, ScenarioChain, ScenarioIed } from './scenario-schema.ts'

type TaskType = ScenarioChain['taskType']

/** Shedding before AGC before set-points, unless the scenario says otherwise. */
const PRIORITY: Readonly<Record<TaskType, number>> = { shedding: 0, agc: 1, setpoint: 2 }
/** C_SC_NA_1 and C_SE_NC_1 with all headers. */
const APDU_BYTES: Readonly<Record<TaskType, number>> = { shedding: 16, agc: 20, setpoint: 20 }
/** Reports go after every command. */
const REPORT_PRIORITY = { telemetry: 3, pmu: 4 } as const
/** M_ME_TF_1: APCI and ASDU header, and one value with its address, quality and time tag. */
const BLOCK_HEADER_BYTES = 12
const VALUE_BYTES = 15
/** A command, its confirmation and its termination. */
const MESSAGES_A_COMMAND = 3

export type PlannedChain = MasterChain & { readonly taskType: TaskType | 'report'; readonly bus: number }

/** The common address of every RTU. */
export function casOf(scenario: Scenario): ReadonlyMap<string, number> {
  return new Map(scenario.topology.nodes.rtus.map(({ id, ca }, index) => [id, ca ?? index + 1]))
}

/** All chains: those of commands, with the point each one's commands go to, and those of reports. */
export function chainsOf(scenario: Scenario, ways: Ways): readonly PlannedChain[] {
  return [...commandChains(scenario, ways), ...(scenario.tasks.telemetry.planned ? reportChains(scenario, ways) : [])]
}

/** Chains of what stations report by themselves: one for each PMU, and one for the telemetry behind each first gateway. */
function reportChains(scenario: Scenario, ways: Ways): readonly PlannedChain[] {
  const cas = casOf(scenario)
  const { ieds } = scenario.topology.nodes
  const { pmu, telemetry } = scenario.tasks
  const groups = new Map<string, { readonly ied: ScenarioIed; readonly cas: Set<number> }>()
  for (const ied of ieds) {
    const [path] = ways.paths(ownerOf(scenario, ied.rtu), ied.rtu, ied.id)
    if (path === undefined) continue
    const id = ied.kind === 'pmu' ? `pmu-${ied.id}` : `telemetry-${path[1]}`
    const group = groups.get(id) ?? { ied, cas: new Set() }
    groups.set(id, group)
    group.cas.add(cas.get(ied.rtu) ?? 0)
  }
  return [...groups].map(([id, group]) => {
    const { ied } = group
    const isPmu = ied.kind === 'pmu'
    const made = chain({
      id,
      taskType: isPmu ? 'pmu' : 'telemetry',
      priority: isPmu ? REPORT_PRIORITY.pmu : REPORT_PRIORITY.telemetry,
      requiredSuite: isPmu ? pmu.suite : telemetry.suite,
      allowedSuites: ['otp', 'aes'],
      paths: ways.paths(ownerOf(scenario, ied.rtu), ied.rtu, ied.id),
      deadlineMs: (isPmu ? pmu.deadlineS : telemetry.deadlineS) * 1000,
      ratePerS: isPmu ? 1 / pmu.periodS : group.cas.size / telemetry.periodS,
      apduBytes: isPmu ? BLOCK_HEADER_BYTES + pmu.objects * VALUE_BYTES : BLOCK_HEADER_BYTES + 2 * VALUE_BYTES,
    })
    return { chain: made, reports: [...group.cas], taskType: 'report' as const, bus: ied.bus }
  })
}

function commandChains(scenario: Scenario, ways: Ways): readonly PlannedChain[] {
  const cas = casOf(scenario)
  const { ieds } = scenario.topology.nodes
  const masters = mastersOf(scenario)
  return entriesOf(scenario, ways).flatMap((entry) => {
    const ied = ieds.find(({ id }) => id === entry.path.at(-1))
    if (ied === undefined) return []
    const { taskType } = entry
    const terms = termsOf(scenario, taskType)
    const made = chain({
      id: entry.id,
      taskType,
      priority: entry.priority ?? PRIORITY[taskType],
      requiredSuite: entry.requiredSuite ?? terms.requiredSuite,
      allowedSuites: [...new Set([entry.requiredSuite ?? terms.requiredSuite, ...entry.allowedSuites])],
      paths: [entry.path, ...entry.alternatives],
      deadlineMs: entry.deadlineMs ?? terms.deadlineS * 1000,
      ratePerS: entry.ratePerS ?? MESSAGES_A_COMMAND * terms.ratePerS,
      apduBytes: APDU_BYTES[taskType],
      ...(entry.lossWeight !== undefined && { lossWeight: entry.lossWeight }),
      ...(entry.degradeWeight !== undefined && { degradeWeight: entry.degradeWeight }),
      ...(entry.switchWeight !== undefined && { switchWeight: entry.switchWeight }),
    })
    const base = taskType === 'shedding' ? IOA_BASE.shed : IOA_BASE.setpoint
    const target = { ca: cas.get(ied.rtu) ?? 0, ioa: base + ied.bus }
    return masters.includes(made.paths[0]?.[0] ?? '') ? [{ chain: made, target, taskType, bus: ied.bus }] : []
  })
}

/** The chains as a file lists them. */
export function entriesOf(scenario: Scenario, ways: Ways): readonly ScenarioChain[] {
  return scenario.chains === 'auto' ? automatic(scenario, ways) : scenario.chains
}

function automatic(scenario: Scenario, ways: Ways): readonly ScenarioChain[] {
  const { ieds } = scenario.topology.nodes
  return ieds.flatMap((ied) => {
    const taskType = taskOf(scenario, ied)
    if (taskType === undefined) return []
    const [path, ...alternatives] = ways.paths(masterFor(scenario, taskType, ied.rtu), ied.rtu, ied.id)
    if (path === undefined) return []
    const twice = ieds.some((other) => other !== ied && other.kind !== 'pmu' && other.bus === ied.bus)
    const entry = {
      id: `${taskType}-${twice ? ied.id : ied.bus}`,
      taskType,
      path: [...path],
      alternatives: alternatives.map((way) => [...way]),
    }
    return [{ ...entry, allowedSuites: ['otp' as const, 'aes' as const] }]
  })
}

/** What a chain to this IED is for; undefined if no task needs one. */
function taskOf({ tasks, grid }: Scenario, ied: ScenarioIed): TaskType | undefined {
  if (ied.kind === 'pmu') return undefined
  if (ied.kind === 'load') return 'shedding'
  if (tasks.agc.units.includes(ied.bus)) return 'agc'
  const { units } = tasks.setpoints
  if (units !== 'others') return units.includes(ied.bus) ? 'setpoint' : undefined
  return caseFacts(grid.case).buses.get(ied.bus)?.governor === true ? 'setpoint' : undefined
}

function termsOf({ tasks }: Scenario, taskType: TaskType) {
  switch (taskType) {
    // Shedding is so rare that it does not count in the expected demand.
    case 'shedding':
      return { ...tasks.shedding, ratePerS: 0 }
    case 'agc':
      return { ...tasks.agc, ratePerS: 1 / tasks.agc.periodS }
    case 'setpoint':
      return tasks.setpoints
  }
}
