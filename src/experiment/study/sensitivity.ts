/** How S-1 to S-3 depend on fibre length, breaks, load and stock: one of them at a time away from Table I. */
import { CASES, type CaseId, type Variant, variantOf } from '../cases.ts'
import type { Scenario } from '../scenario-schema.ts'
import { withBreaks, withLength, withLoad, withStock } from './changes.ts'
import type { Row, Study } from './study.ts'

export type SensitivityOptions = {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  readonly policy: Scenario['scheduler']['policy']
}

const LENGTHS_KM = [10, 15, 25, 30] as const
const BREAKS_PER_S = [0.001, 0.003, 0.01, 0.03] as const
const LOADS = [0.5, 0.75, 1.25, 1.5] as const
const STOCKS = [0.25, 0.5, 2, 4] as const

/** Rows: each case as in Table I, then each parameter at each of its values. */
export function sensitivity({ scenario, seeds, policy }: SensitivityOptions): Study {
  const variant = (id: CaseId): Variant =>
    id === 'S-3' ? { ...variantOf(id, scenario), policy } : variantOf(id, scenario)
  const rows = (name: string, what: string, changed: Scenario): readonly Row[] =>
    CASES.map((id) => ({ id: `${name} ${id}`, label: `${id}, ${what}`, scenario: changed, variant: variant(id) }))
  const { capBits } = scenario.keys.thresholds
  return {
    name: 'sensitivity',
    title: 'Sensitivity of S-1 to S-3: fibre length, break rate, load, stock',
    notes: ['One parameter at a time; all others as in Table I. Load: reports and set-points; AGC keeps its period.'],
    rows: [
      ...rows('base', 'as in Table I', scenario),
      ...LENGTHS_KM.flatMap((km) => rows(`length-${km}`, `${km} km`, withLength(scenario, km))),
      ...BREAKS_PER_S.flatMap((rate) => rows(`breaks-${rate}`, `breaks ${rate} /s`, withBreaks(scenario, rate))),
      ...LOADS.flatMap((load) => rows(`load-${load}`, `load x ${load}`, withLoad(scenario, load))),
      ...STOCKS.flatMap((stock) => rows(`stock-${stock}`, `stock x ${stock}`, withStock(scenario, capBits * stock))),
    ],
    seeds,
  }
}
