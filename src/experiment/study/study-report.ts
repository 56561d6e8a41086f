/** A study as text, as a page, and its runs as CSV. */
import type { RunResult } from './run-of.ts'
import type { Estimate } from './statistics.ts'
import { MEASURES, type RowSummary, type Study } from './study.ts'

/** How the study was made: what must be told to repeat it, and what it took. */
export type StudyHead = {
  readonly command: string
  readonly version: string
  readonly seeds: readonly number[]
  /** Sentences on time taken and the like. */
  readonly remarks: readonly string[]
}

export type Figure = { readonly title: string; readonly svg: string }

type Table = {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The study as text for the terminal. */
export function studyText(study: Study, summaries: readonly RowSummary[], head: StudyHead): string {
  const lines = [study.title, ...headLines(head), '']
  for (const table of tablesOf(summaries)) lines.push(table.title, ...textRows(table), '')
  lines.push(...study.notes.map((note) => `- ${note}`))
  return `${lines.join('\n')}\n`
}

/** The study as one page without scripts and without anything from elsewhere. */
export function studyHtml(
  study: Study,
  summaries: readonly RowSummary[],
  head: StudyHead,
  figures: readonly Figure[],
): string {
  const tables = tablesOf(summaries).map(
    ({ title, head: cells, rows }) =>
      `<h2>${escapeHtml(title)}</h2>\n<table>\n<tr>${cells.map((cell) => `<th>${escapeHtml(cell)}</th>`).join('')}</tr>\n` +
      `${rows.map((row) => `<tr>${row.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`).join('\n')}\n</table>`,
  )
  const drawn = figures.map(({ title, svg }) => `<figure>${svg}<figcaption>${escapeHtml(title)}</figcaption></figure>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${escapeHtml(study.title)}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #d8dee4; vertical-align: top }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .25rem }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto }
code { background: #f3f5f7; padding: .1rem .3rem }
</style>
</head>
<body>
<h1>${escapeHtml(study.title)}</h1>
${headLines(head)
  .map((line) => `<p>${escapeHtml(line)}</p>`)
  .join('\n')}
${tables.join('\n')}
<ul>
${study.notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('\n')}
</ul>
${drawn.join('\n')}
</body>
</html>
`
}

/** Every run on a line. */
export function studyCsv(results: readonly RunResult[]): string {
  const classes = [...new Set(results.flatMap(({ metrics }) => Object.keys(metrics.byClass)))].sort()
  const head = [
    'row',
    'seed',
    'valid',
    ...MEASURES.map(({ id }) => id),
    ...classes.flatMap((name) => [`tasks.${name}`, `pFull.${name}`, `pDelivered.${name}`]),
  ]
  const lines = results.map(({ row, seed, metrics }) =>
    [
      row,
      seed,
      metrics.valid,
      ...MEASURES.map(({ of }) => of(metrics) ?? ''),
      ...classes.flatMap((name) => {
        const { tasks = '', pFull = '', pDelivered = '' } = metrics.byClass[name] ?? {}
        return [tasks, pFull, pDelivered]
      }),
    ]
      .map(csvCell)
      .join(','),
  )
  return `${[head.join(','), ...lines].join('\n')}\n`
}

function csvCell(value: string | number | boolean): string {
  const text = String(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function headLines({ command, version, seeds, remarks }: StudyHead): readonly string[] {
  const [first, last] = [seeds[0] ?? 0, seeds.at(-1) ?? 0]
  return [`q104 ${version}, seeds ${first} to ${last}: ${command}`, ...remarks]
}

function tablesOf(summaries: readonly RowSummary[]): readonly Table[] {
  const main = summaries.filter(({ paper }) => paper !== undefined)
  const others = summaries.filter(({ paper }) => paper === undefined)
  const title = 'Means with 95 % bootstrap intervals'
  return [
    ...(main.length > 0 ? [paperTable(main)] : []),
    ...(main.length > 0 ? [measureTable(`${title}, all measures`, main)] : []),
    ...(others.length > 0 ? [measureTable(main.length > 0 ? `${title}, variants` : title, others)] : []),
    classTable(summaries),
  ]
}

/** Ours beside the paper's. */
function paperTable(summaries: readonly RowSummary[]): Table {
  const shown = MEASURES.filter(({ id }) => ['pFull', 'maxAbsDeltaFHz', 'keyUtilizationRatio', 'trrS'].includes(id))
  return {
    title: 'Ours [95 % interval] and the paper’s',
    head: ['scenario', 'runs', ...shown.map(({ label, unit }) => withUnit(label, unit))],
    rows: summaries.map(({ label, runs, validRuns, measures, paper }) => [
      label,
      validRuns === runs ? `${runs}` : `${validRuns} valid of ${runs}`,
      ...shown.map(({ id, digits }) => {
        const printed = paper?.[id as keyof typeof paper]
        return `${estimateText(measures[id] ?? null, digits)}${printed === undefined ? '' : ` | ${printed}`}`
      }),
    ]),
  }
}

function measureTable(title: string, summaries: readonly RowSummary[]): Table {
  return {
    title,
    head: ['scenario', 'runs', ...MEASURES.map(({ label, unit }) => withUnit(label, unit))],
    rows: summaries.map(({ label, runs, validRuns, measures }) => [
      label,
      validRuns === runs ? `${runs}` : `${validRuns} valid of ${runs}`,
      ...MEASURES.map(({ id, digits }) => estimateText(measures[id] ?? null, digits)),
    ]),
  }
}

function classTable(summaries: readonly RowSummary[]): Table {
  const classes = [...new Set(summaries.flatMap((row) => Object.keys(row.classes)))].sort()
  return {
    title: 'P_full by class of tasks',
    head: ['scenario', ...classes],
    rows: summaries.map(({ label, classes: own }) => [
      label,
      ...classes.map((name) => estimateText(own[name]?.pFull ?? null, 3)),
    ]),
  }
}

function withUnit(label: string, unit: string): string {
  return unit === '' ? label : `${label}, ${unit}`
}

function estimateText(value: Estimate | null, digits: number): string {
  if (value === null) return '-'
  const { mean, low, high } = value
  return `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`
}

function textRows({ head, rows }: Table): readonly string[] {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => (row[column] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd()
  return [line(head), ...rows.map(line)]
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
