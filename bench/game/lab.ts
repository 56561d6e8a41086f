import { readFileSync } from 'node:fs'
import { parseScenario, planOf, type Scenario, worldOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import { progress, table } from './figures.ts'

const SCENARIO = 'scenarios/ieee118.yaml'

/** The 118-bus scenario in virtual time, all nodes and messages, once with every policy. */
export async function lab(): Promise<void> {
  await cryptoReady
  const scenario = parseScenario(readFileSync(SCENARIO, 'utf8'), SCENARIO)
  const { game } = scenario.scheduler
  if (game === undefined) throw new Error(`${SCENARIO} plays no game`)
  const solvers = ['equal', 'demand', 'ldCp', 'exact', 'social'] as const
  const variants: readonly (readonly [string, Scenario['scheduler']])[] = [
    ['greedy', { ...scenario.scheduler, policy: 'greedy' }],
    ...solvers.map((solver) => [solver, { ...scenario.scheduler, game: { ...game, solver } }] as const),
  ]
  console.log(
    `\n${SCENARIO} in virtual time, seed ${scenario.seed}, ${scenario.durationS} s; without remote control 0.255 Hz`,
  )
  const rows = [
    ['policy', 'P_full', 'P_delivered', 'agc', 'setpoint', 'shedding', 'max |df| Hz', 'TRR s', 'eta', 'plans'],
  ]
  for (const [name, scheduler] of variants) {
    progress(`${SCENARIO}: ${name}`)
    const world = worldOf(planOf({ ...scenario, scheduler }))
    const records = world.run()
    const { pFull, pDelivered, byClass, maxAbsDeltaFHz, trrS, keyUtilizationRatio } = world.metrics('bench')
    rows.push([
      name,
      ...[pFull, pDelivered, byClass['agc']?.pFull, byClass['setpoint']?.pFull, byClass['shedding']?.pFull].map(ratio),
      ratio(maxAbsDeltaFHz),
      ratio(trrS),
      ratio(keyUtilizationRatio),
      String(records.filter((record) => record.name === 'plan').length),
    ])
  }
  progress('')
  table(rows)
}

function ratio(value: number | null | undefined): string {
  return typeof value === 'number' ? value.toFixed(3) : '-'
}
