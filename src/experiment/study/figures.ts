/** The figures of the studies as Vega-Lite specifications: data and marks, drawn elsewhere. */
import type { FairnessSummary } from '../fairness/fairness-study.ts'
import { GAME_ROWS } from '../fairness/fairness-study.ts'
import type { GameResult } from '../fairness/game-run.ts'
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

/** Figure 2: distribution of F_K by scenario, as violins with boxes. */
export function fairnessFigure(results: readonly GameResult[]): VegaLiteSpec {
  const labels = new Map(GAME_ROWS.map(({ kind, label }) => [kind, label]))
  const values = results
    .filter(({ id }) => id.startsWith('figure2/'))
    .map(({ kind, fairnessIndex }) => ({ row: labels.get(kind) ?? kind, fairnessIndex }))
  const y = { type: 'quantitative', title: 'F_K', scale: { zero: false } }
  return {
    ...BASE,
    title: 'F_K of every run; the paper’s medians are 0.72 (S-4) and 0.86 (S-5)',
    data: { values },
    facet: { column: { field: 'row', type: 'nominal', title: null, sort: GAME_ROWS.map(({ label }) => label) } },
    spec: {
      width: 120,
      height: 300,
      layer: [
        {
          transform: [{ density: 'fairnessIndex', groupby: ['row'], as: ['value', 'density'] }],
          mark: { type: 'area', orient: 'horizontal', color: '#c6dbef' },
          encoding: {
            x: { field: 'density', type: 'quantitative', stack: 'center', axis: null },
            y: { field: 'value', ...y },
          },
        },
        {
          mark: { type: 'boxplot', extent: 1.5, size: 14, color: '#1b3a57' },
          encoding: { y: { field: 'fairnessIndex', ...y } },
        },
      ],
    },
    resolve: { scale: { x: 'independent' } },
  }
}

/** Figure 3: F_K of every run by iteration budget, with the mean. */
export function iterationsFigure(results: readonly GameResult[]): VegaLiteSpec {
  const values = results.filter(({ id }) => id.startsWith('figure3/'))
  const x = { field: 'maxIterations', type: 'quantitative', title: 'iteration budget' }
  const y = { field: 'fairnessIndex', type: 'quantitative', title: 'F_K', scale: { zero: false } }
  return {
    ...BASE,
    title: 'F_K by iteration budget of LD-CP; line: mean',
    width: 520,
    height: 320,
    data: { values },
    layer: [
      { mark: { type: 'circle', color: '#6f9ecb', opacity: 0.6 }, encoding: { x, y } },
      { mark: { type: 'line', color: '#1b3a57' }, encoding: { x, y: { ...y, aggregate: 'mean' } } },
    ],
  }
}

/** Figure 4: standard deviation of F_K over break rate and iteration budget. */
export function breaksFigure({ byBreaks }: FairnessSummary): VegaLiteSpec {
  const position = {
    x: { field: 'budget', type: 'ordinal', title: 'iteration budget', axis: { labelAngle: 0 } },
    y: { field: 'breakRatePerS', type: 'ordinal', title: 'breaks, 1/s', sort: 'descending' },
  }
  return {
    ...BASE,
    title: 'Standard deviation of F_K',
    width: 320,
    height: 260,
    data: { values: byBreaks },
    layer: [
      {
        mark: 'rect',
        encoding: {
          ...position,
          color: { field: 'standardDeviation', type: 'quantitative', title: 'std of F_K', scale: { scheme: 'blues' } },
        },
      },
      {
        mark: { type: 'text', fontSize: 11 },
        encoding: { ...position, text: { field: 'standardDeviation', type: 'quantitative', format: '.4f' } },
      },
    ],
  }
}
