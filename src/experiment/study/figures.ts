/** The figures of the studies as Vega-Lite specifications: data and marks, drawn elsewhere. */
import type { RunResult } from './run-of.ts'
import type { Row } from './study.ts'

/** A Vega-Lite specification, plain data. */
export type VegaLiteSpec = Readonly<Record<string, unknown>>

const BASE = {
  $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
  background: 'white',
  config: { font: 'DejaVu Sans, sans-serif', axis: { labelFontSize: 12, titleFontSize: 13 }, view: { stroke: null } },
}

/** Figure 1: the time to recover (TRR) of every run, by scenario, with the paper's ranges beside it. */
export function trrFigure(rows: readonly Row[], results: readonly RunResult[]): VegaLiteSpec {
  const shown = rows.filter(({ paper }) => paper !== undefined)
  const labels = new Map(shown.map(({ id, label }) => [id, label]))
  const values = results.flatMap(({ row, seed, metrics }) =>
    labels.has(row) && metrics.valid && metrics.trrS !== null ? [{ row, seed, trrS: metrics.trrS }] : [],
  )
  const ranges = shown.flatMap(({ id, paper }) => {
    const [low, high] = (paper?.trrS ?? '').split('-').map(Number)
    return low === undefined || high === undefined ? [] : [{ row: id, low, high }]
  })
  const x = { field: 'row', type: 'nominal', title: null, sort: shown.map(({ id }) => id), axis: { labelAngle: 0 } }
  return {
    ...BASE,
    title: 'Time with |df| above 0.05 Hz, one point a run; grey: what the paper has for most runs',
    width: 140 * Math.max(3, shown.length),
    height: 320,
    layer: [
      {
        data: { values: ranges },
        mark: { type: 'bar', color: '#d8dee4', width: 90 },
        encoding: { x, y: { field: 'low', type: 'quantitative', title: 'TRR, s' }, y2: { field: 'high' } },
      },
      {
        data: { values },
        mark: { type: 'boxplot', extent: 1.5, size: 36, color: '#6f9ecb', outliers: false },
        encoding: { x, y: { field: 'trrS', type: 'quantitative', title: 'TRR, s', scale: { zero: true } } },
      },
      {
        data: { values },
        transform: [{ calculate: '((datum.seed * 7919) % 61) / 61 - 0.5', as: 'jitter' }],
        mark: { type: 'circle', size: 22, color: '#1b3a57', opacity: 0.7 },
        encoding: {
          x,
          xOffset: { field: 'jitter', type: 'quantitative', scale: { domain: [-1, 1] } },
          y: { field: 'trrS', type: 'quantitative' },
        },
      },
    ],
  }
}
