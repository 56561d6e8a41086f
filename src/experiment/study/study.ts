/** Studies: rows of runs over the same seeds, and what they are compared with. */
import type { Variant } from '../cases.ts'
import type { Scenario } from '../scenario-schema.ts'
import type { Job, RunMetrics, RunResult } from './run-of.ts'
import { type Estimate, estimate } from './statistics.ts'

/** Figures that the paper prints for a row, as it prints them. */
export type PaperFigures = {
  readonly pFull?: string
  readonly maxAbsDeltaFHz?: string
  readonly keyUtilizationRatio?: string
  readonly trrS?: string
}

export type Row = {
  readonly id: string
  readonly label: string
  readonly scenario: Scenario
  /** What is made of the scenario; undefined: nothing. */
  readonly variant: Variant | undefined
  readonly paper?: PaperFigures
  /** Runs of a row that only varies another may be fewer; default all seeds. */
  readonly runs?: number
}

export type Study = {
  readonly name: string
  readonly title: string
  /** What must be said wherever the table is shown, one sentence each. */
  readonly notes: readonly string[]
  readonly rows: readonly Row[]
  readonly seeds: readonly number[]
}

/** All runs of a study, row by row. */
export function jobsOf({ rows, seeds }: Study): readonly Job[] {
  return rows.flatMap(({ id, scenario, variant, runs = seeds.length }) =>
    seeds.slice(0, runs).map((seed) => ({ id: `${id}/${seed}`, row: id, seed, scenario, variant })),
  )
}

/** A figure of a run: name, unit, and how it is read from the metrics. */
export type Measure = {
  readonly id: string
  readonly label: string
  readonly unit: string
  readonly digits: number
  readonly of: (metrics: RunMetrics) => number | null
}

/** The measures of every table. Ratios are of one. */
export const MEASURES: readonly Measure[] = [
  { id: 'pFull', label: 'P_full', unit: '', digits: 3, of: ({ pFull }) => pFull },
  { id: 'pDelivered', label: 'P_delivered', unit: '', digits: 3, of: ({ pDelivered }) => pDelivered },
  { id: 'maxAbsDeltaFHz', label: 'max |df|', unit: 'Hz', digits: 3, of: ({ maxAbsDeltaFHz }) => maxAbsDeltaFHz },
  { id: 'worstMachineHz', label: 'worst machine', unit: 'Hz', digits: 3, of: ({ worstMachineHz }) => worstMachineHz },
  {
    id: 'keyUtilizationRatio',
    label: 'eta',
    unit: '',
    digits: 3,
    of: ({ keyUtilizationRatio }) => keyUtilizationRatio,
  },
  {
    id: 'overflowRatio',
    label: 'overflow',
    unit: '',
    digits: 3,
    of: ({ keys }) =>
      keys === null || keys.windowGeneratedBits === 0 ? null : keys.overflowBits / keys.windowGeneratedBits,
  },
  {
    id: 'stockChangeKbit',
    label: 'stock change',
    unit: 'kbit',
    digits: 1,
    of: ({ keys }) => keys && keys.stockChangeBits / 1000,
  },
  { id: 'trrS', label: 'TRR', unit: 's', digits: 2, of: ({ trrS }) => trrS },
  { id: 'returnS', label: 'final return', unit: 's', digits: 2, of: ({ returnS }) => returnS },
  { id: 'deadlineMisses', label: 'misses', unit: '', digits: 1, of: ({ deadlineMisses }) => deadlineMisses },
  { id: 'switches', label: 'switches', unit: '', digits: 1, of: ({ switches }) => switches },
]

export type RowSummary = {
  readonly id: string
  readonly label: string
  readonly paper?: PaperFigures
  readonly runs: number
  readonly validRuns: number
  readonly measures: Readonly<Record<string, Estimate | null>>
  /** P_full and P_delivered of each class of tasks. */
  readonly classes: Readonly<
    Record<string, { readonly tasks: number; readonly pFull: Estimate | null; readonly pDelivered: Estimate | null }>
  >
}

/** Estimates of a row's measures over its valid runs. */
export function summaryOf({ id, label, paper }: Row, results: readonly RunResult[]): RowSummary {
  const own = results.filter(({ row }) => row === id)
  const valid = own.filter(({ metrics }) => metrics.valid)
  const of = (name: string, read: (metrics: RunMetrics) => number | null) =>
    estimate(
      valid.map(({ metrics }) => read(metrics)).filter((value) => value !== null),
      `${id} ${name}`,
    ) ?? null
  const classes = [...new Set(valid.flatMap(({ metrics }) => Object.keys(metrics.byClass)))].sort()
  return {
    id,
    label,
    ...(paper && { paper }),
    runs: own.length,
    validRuns: valid.length,
    measures: Object.fromEntries(MEASURES.map((measure) => [measure.id, of(measure.id, measure.of)])),
    classes: Object.fromEntries(
      classes.map((name) => [
        name,
        {
          tasks: valid.reduce((sum, { metrics }) => sum + (metrics.byClass[name]?.tasks ?? 0), 0),
          pFull: of(`${name} pFull`, (metrics) => metrics.byClass[name]?.pFull ?? null),
          pDelivered: of(`${name} pDelivered`, (metrics) => metrics.byClass[name]?.pDelivered ?? null),
        },
      ]),
    ),
  }
}
