/** How the chains move the grid's frequency, linearised for the rolling scheduler: responses of the grid model to small steps. */
import { GridModel, gridCase, STEP_MS } from '../grid/index.ts'
import type { Responses } from '../scheduler/index.ts'
import type { PlannedChain } from './plan-chains.ts'
import type { Scenario } from './scenario-schema.ts'

const SAMPLE_S = 0.1
/** Small enough to be linear, large enough for the digits. */
const PROBE_MW = 10

/**
 * Responses of a scenario, undefined where the frequency does not count. Secondary control is the only task that answers the
 * frequency step by step: its chains share the correction that the controller asks for, kp mwPerHz in each of its periods. Shedding takes no key
 * in the plan and is never given up for it; set-points do not follow the frequency.
 */
export function responsesOf(scenario: Scenario, chains: readonly PlannedChain[]): Responses | undefined {
  const { scheduler, grid, tasks } = scenario
  const { frequencyWeight } = scheduler.rolling
  const agc = chains.filter(({ taskType }) => taskType === 'agc')
  if (scheduler.policy !== 'rolling' || frequencyWeight === 0 || agc.length === 0) return undefined
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

  const mwPerHzS = (tasks.agc.kp * tasks.agc.mwPerHz) / tasks.agc.periodS / agc.length
  return {
    weight: frequencyWeight,
    sampleS: SAMPLE_S,
    samples: [perMw],
    decay,
    unitsPerHz: Object.fromEntries(agc.map(({ chain }) => [chain.id, [mwPerHzS]])),
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
