/** What the chains of a lab do for the grid, for the game's losses (25): frequency, voltage at the station, MW. */
import { GridModel, gridCase, STEP_MS } from '../grid/index.ts'
import type { GridHelp, LabTerms } from '../scheduler/index.ts'
import type { PlannedChain } from './plan-chains.ts'
import type { Scenario, ScenarioIed } from './scenario-schema.ts'

/** Small enough to be linear, large enough for the digits. */
const PROBE_MW = 10
/** The deepest frequency after a load step comes within this time. */
const FALL_MS = 8_000

/**
 * The game's grid terms, undefined where the scenario gives them no weight. A chain that sheds steers the load of its breaker, a set-point
 * chain at most `stepMw` of its unit. Chains of secondary control have none: they answer the frequency, not local wants, and what they
 * move is not bounded.
 */
export function gameTermsOf(scenario: Scenario, chains: readonly PlannedChain[]): LabTerms | undefined {
  const { scheduler, grid, topology, tasks } = scenario
  const terms = scheduler.game?.terms
  if (scheduler.policy !== 'game' || terms === undefined) return undefined
  const { lossPerHz, lossPerPu, lossPerMw } = terms
  if (lossPerHz === undefined && lossPerPu + lossPerMw === 0) return undefined
  const made = gridCase(grid.case)
  const atRest = () => new GridModel(made, grid.model)
  const { ieds } = topology.nodes
  const hzPerMw = lossPerHz === undefined ? undefined : nadirHzPerMw(atRest())
  const puPerMw = lossPerPu > 0 ? voltageSensitivity(atRest, scheduler.horizonS) : () => 0
  const helps = chains.flatMap(({ chain, taskType }): readonly (readonly [string, Partial<GridHelp>])[] => {
    const ied = ieds.find(({ id }) => id === chain.paths[0]?.at(-1))
    const loadMw = ied === undefined ? 0 : steeredMw(ied, taskType, tasks.setpoints.stepMw)
    if (ied === undefined || loadMw === 0) return []
    const station = [...new Set(ieds.flatMap(({ rtu, bus }) => (rtu === ied.rtu ? [bus] : [])))]
    const voltagePu = loadMw * puPerMw(ied, station)
    const frequency = hzPerMw === undefined || taskType !== 'shedding' ? {} : { frequencyHz: loadMw * hzPerMw }
    return [[chain.id, { voltagePu, loadMw, ...frequency }]]
  })
  return { weights: { lossPerHz: lossPerHz ?? 1, lossPerPu, lossPerMw }, chains: Object.fromEntries(helps) }
}

function steeredMw(ied: ScenarioIed, taskType: PlannedChain['taskType'], stepMw: number): number {
  if (taskType === 'shedding') return ied.kind === 'load' ? ied.shedMw : 0
  return taskType === 'setpoint' ? stepMw : 0
}

/** How much deeper the frequency falls for each MW that is missing. */
function nadirHzPerMw(model: GridModel): number {
  const [largest] = model.grid.buses.toSorted((a, b) => b.loadMw - a.loadMw)
  model.addLoad(largest?.bus ?? 0, PROBE_MW)
  let deepest = 0
  for (let tMs = 0; tMs < FALL_MS; tMs += STEP_MS) {
    model.step()
    deepest = Math.min(deepest, model.coiHz())
  }
  return -deepest / PROBE_MW
}

/** Largest change of a voltage at a station's buses by each MW at the IED's bus, of either sign, after the game's window. */
function voltageSensitivity(
  atRest: () => GridModel,
  windowS: number,
): (ied: ScenarioIed, station: readonly number[]) => number {
  const before = atRest()
  return ({ kind, bus }, station) => {
    const after = atRest()
    if (kind === 'generator') after.setReference(bus, PROBE_MW)
    else after.addLoad(bus, -PROBE_MW)
    for (let tMs = 0; tMs < windowS * 1000; tMs += STEP_MS) after.step()
    return Math.max(...station.map((each) => Math.abs(after.voltagePu(each) - before.voltagePu(each)))) / PROBE_MW
  }
}
