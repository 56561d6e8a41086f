/** How the chains move the grid's frequency and voltages, linearised for the rolling scheduler: responses of the grid model to small steps. */
import { GridModel, gridCase, STEP_MS } from '../grid/index.ts'
import type { Responses, VoltageResponses } from '../scheduler/index.ts'
import type { PlannedChain } from './plan-chains.ts'
import type { Scenario } from './scenario-schema.ts'

const SAMPLE_S = 0.1
/** Small enough to be linear, large enough for the digits. */
const PROBE_MW = 10

/**
 * Responses of a scenario, undefined where neither frequency nor voltages count. Secondary control is the only task that answers the
 * frequency step by step: its chains share the correction that the controller asks for, kp mwPerHz in each of its periods. Shedding takes no key
 * in the plan and is never given up for it; set-points do not follow the frequency, and move voltages up as often as down.
 */
export function responsesOf(scenario: Scenario, chains: readonly PlannedChain[]): Responses | undefined {
  const { scheduler, grid, tasks } = scenario
  const { frequencyWeight, voltageWeight } = scheduler.rolling
  const agc = chains.filter(({ taskType }) => taskType === 'agc')
  if (scheduler.policy !== 'rolling' || frequencyWeight + voltageWeight === 0 || agc.length === 0) return undefined
  const mwPerHzS = (tasks.agc.kp * tasks.agc.mwPerHz) / tasks.agc.periodS / agc.length
  const voltage = voltageWeight === 0 ? {} : { voltage: voltageResponsesOf(scenario, { agc, mwPerHzS }) }
  if (frequencyWeight === 0) return { weight: 0, sampleS: SAMPLE_S, samples: [], decay: [], unitsPerHz: {}, ...voltage }
  const share = PROBE_MW / agc.length
  const model = () => new GridModel(gridCase(grid.case), grid.model)

  const controlled = model()
  for (const { bus } of agc) controlled.setReference(bus, share)
  const perMw = samplesOf(controlled, scheduler.horizonS).map((hz) => hz / PROBE_MW)

  // What is left of a deviation by itself: of the deviation after a load step, from its deepest point on.
  const disturbed = model()
  const [first] = grid.disturbances.flatMap((each) => (each.kind === 'loadStep' ? [each.bus] : []))
  disturbed.addLoad(first ?? largestLoad(disturbed), PROBE_MW)
  const fall = samplesOf(disturbed, 2 * scheduler.horizonS)
  const deepest = fall.reduce((best, hz, i) => (Math.abs(hz) > Math.abs(fall[best] ?? 0) ? i : best), 0)
  const decay = fall.slice(deepest).map((hz) => hz / (fall[deepest] ?? 1))

  return {
    weight: frequencyWeight,
    sampleS: SAMPLE_S,
    samples: [perMw],
    decay,
    unitsPerHz: Object.fromEntries(agc.map(({ chain }) => [chain.id, [mwPerHzS]])),
    ...voltage,
  }
}

/** Voltages at the buses with devices after each unit alone was asked for more; buses of which no voltage is told do no harm. */
function voltageResponsesOf(
  { scheduler, grid, topology }: Scenario,
  { agc, mwPerHzS }: { readonly agc: readonly PlannedChain[]; readonly mwPerHzS: number },
): VoltageResponses {
  const { horizonS, rolling } = scheduler
  const made = gridCase(grid.case)
  const start = new GridModel(made, grid.model)
  const told = [...new Set(topology.nodes.ieds.map(({ bus }) => bus))]
  const buses = told.map((bus) => ({ bus, referencePu: start.voltagePu(bus) }))
  const stepMs = (horizonS * 1000) / rolling.steps
  const movedBy = (unit: number): readonly (readonly number[])[] => {
    const model = new GridModel(made, grid.model)
    model.setReference(unit, PROBE_MW)
    const moved = buses.map((): number[] => [])
    let tMs = 0
    for (let i = 1; i <= rolling.steps; i++) {
      for (; tMs < i * stepMs; tMs += STEP_MS) model.step()
      for (const [b, { bus, referencePu }] of buses.entries()) {
        moved[b]?.push((model.voltagePu(bus) - referencePu) / PROBE_MW)
      }
    }
    return moved
  }
  return {
    weight: rolling.voltageWeight,
    bandPu: rolling.voltageBandPu,
    buses,
    chains: Object.fromEntries(agc.map(({ chain, bus }) => [chain.id, { mwPerHzS, puPerMw: movedBy(bus) }])),
  }
}

function samplesOf(model: GridModel, lengthS: number): number[] {
  const every = Math.round((SAMPLE_S * 1000) / STEP_MS)
  const samples = [0]
  for (let i = 0; i < Math.ceil(lengthS / SAMPLE_S); i++) {
    for (let step = 0; step < every; step++) model.step()
    samples.push(model.coiHz())
  }
  return samples
}

function largestLoad({ grid }: GridModel): number {
  const [first] = grid.buses.toSorted((a, b) => b.loadMw - a.loadMw)
  return first?.bus ?? 0
}
