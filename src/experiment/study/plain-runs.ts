/** A scenario as it stands, over many seeds. */
import type { Scenario } from '../scenario-schema.ts'
import type { Study } from './study.ts'

/** One row: the scenario itself. */
export function plainRuns(scenario: Scenario, seeds: readonly number[]): Study {
  const { name } = scenario
  return {
    name: 'runs',
    title: `${name}, ${seeds.length} runs`,
    notes: [],
    rows: [
      {
        id: name,
        label: name,
        scenario,
        variant: undefined,
      },
    ],
    seeds,
  }
}
