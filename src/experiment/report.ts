/** The report of a run: plain text for the terminal, and the same as one self-contained HTML page. */
import type { GameMetrics } from './game-metrics.ts'
import type { ClassMetrics, Metrics } from './metrics.ts'
import type { TaskRecord } from './tasks.ts'

/** What the report says of the run beside its metrics. */
export type ReportHead = { readonly name: string; readonly durationS: number }

type Table = {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly note?: string
}

/** Most lost tasks listed; the rest are in events.jsonl. */
const MAX_LOST = 30

/** The report as text, to be printed at the end of a run. Ends in a newline. */
export function reportText(metrics: Metrics, head: ReportHead): string {
  const lines = [...headLines(metrics, head), '']
  for (const table of tablesOf(metrics))
    lines.push(table.title, ...textRows(table), ...(table.note === undefined ? [] : [`  ${table.note}`]), '')
  return `${lines.join('\n').trimEnd()}\n`
}

/** The report as a page of its own, without script and without anything from elsewhere. */
export function reportHtml(metrics: Metrics, head: ReportHead): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${escapeHtml(head.name)} ${metrics.seed}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #d8dee4; vertical-align: top }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .25rem }
</style>
</head>
<body>
<h1>${escapeHtml(head.name)}</h1>
${reportTables(metrics, head)}
</body>
</html>
`
}

/** The report's lines and tables as HTML, to stand in a page. */
export function reportTables(metrics: Metrics, head: ReportHead): string {
  const lead = headLines(metrics, head).map((line) => `<p>${escapeHtml(line)}</p>`)
  return [...lead, ...tablesOf(metrics).map(htmlTable)].join('\n')
}

function headLines(metrics: Metrics, { name, durationS }: ReportHead): readonly string[] {
  const { seed, version, isolation, impairment, valid, invalidReasons } = metrics
  return [
    `Run ${name}, seed ${seed}, ${durationS} s; isolation ${isolation}, link delays by ${impairment}; q104 ${version}`,
    valid ? 'Valid: yes' : `Valid: NO (${invalidReasons.join('; ')})`,
  ]
}

function tablesOf(metrics: Metrics): readonly Table[] {
  const tables = [resultTable, classTable, keyTable, gameTable, bookTable, lostTable].map((table) => table(metrics))
  return tables.filter(({ rows, note }) => rows.length > 0 || note !== undefined)
}

function resultTable(metrics: Metrics): Table {
  const { frames, framesReceived, retransmissions } = metrics
  return {
    title: 'Result',
    head: ['', ''],
    rows: [
      ['P_succ (required suite, in time)', ratio(metrics.pFull)],
      ['P delivered (any suite, in time)', ratio(metrics.pDelivered)],
      ['max |df|, centre of inertia', unit(metrics.maxAbsDeltaFHz, 4, 'Hz')],
      ['max |df|, worst machine', unit(metrics.worstMachineHz, 4, 'Hz')],
      ['TRR, time outside 0.05 Hz', unit(metrics.trrS, 2, 's')],
      ['last return after the disturbance', unit(metrics.returnS, 2, 's')],
      [
        'key utilisation (used / generated)',
        metrics.keyUtilizationRatio === null ? '-' : ratio(metrics.keyUtilizationRatio),
      ],
      ['deadline misses', String(metrics.deadlineMisses)],
      ['switches of chains', String(metrics.switches)],
      ['Q3P frames sent / received', `${frames} / ${framesReceived} (${retransmissions} retransmissions)`],
    ],
  }
}

function classTable({ byClass, ...all }: Metrics): Table {
  const row = (name: string, of: ClassMetrics) => [
    name,
    String(of.tasks),
    ratio(of.pFull),
    ratio(of.pDelivered),
    String(of.degraded),
    String(of.late),
    String(of.failed),
  ]
  return {
    title: 'Tasks by class',
    head: ['class', 'tasks', 'P_full', 'P_delivered', 'degraded', 'late', 'failed'],
    rows: [...Object.entries(byClass).map(([name, of]) => row(name, of)), row('all', all)],
  }
}

function keyTable({ keys }: Metrics): Table {
  if (keys === null) return { title: 'Keys', head: [], rows: [], note: 'no record of the key pool' }
  const levels = Object.entries(keys.levelS).map(([level, seconds]) => `${level} ${seconds.toFixed(0)} s`)
  return {
    title: 'Keys, bits',
    head: ['', ''],
    rows: [
      ['generated (initial stock included)', String(keys.generatedBits)],
      ['used', String(keys.usedBits)],
      ['expired', String(keys.expiredBits)],
      ['discarded (overflow, crashes)', String(keys.discardedBits)],
      ['reserved (with the channels)', String(keys.reservedBits)],
      ['in the pool', `${keys.poolBits} (from ${keys.minPoolBits} to ${keys.maxPoolBits} in the run)`],
      ['change of the stock', String(keys.stockChangeBits)],
      ['level of the stock', levels.join(', ')],
      ['breaks of links', String(keys.breaks)],
    ],
  }
}

function gameTable({ game }: Metrics): Table {
  if (game === undefined) return { title: '', head: [], rows: [] }
  const times = (quantiles: GameMetrics['roundMs']) =>
    quantiles === null
      ? '-'
      : `${quantiles.median.toFixed(1)} (95 % ${quantiles.p95.toFixed(1)}, largest ${quantiles.max.toFixed(1)})`
  const seconds = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .map(([agent, s]) => `${agent} ${s.toFixed(1)}`)
      .join(', ')
  return {
    title: 'Game between control centres',
    head: ['', ''],
    rows: [
      ['rounds', String(game.rounds)],
      ['offers wanted', String(game.offersWanted)],
      ['of them missing: last offer / share by demand used', `${game.lastOffersUsed} / ${game.sharesUsed}`],
      ['grants confirmed', String(game.grantsTaken)],
      ['call to settlement, ms', times(game.roundMs)],
      ['grant to confirmation, ms', times(game.roundTripMs)],
      ['within an older grant, s', seconds(game.lastGrantS)],
      ['within the floor, s', seconds(game.floorS)],
    ],
  }
}

function bookTable({ booksBalanced, bookDifferences }: Metrics): Table {
  const note = booksBalanced ? 'agree to the bit: both ends of every channel, and the pool' : undefined
  const rows = bookDifferences.map((difference) => [difference])
  if (note !== undefined) return { title: 'Key books', head: [], rows: [], note }
  return { title: 'Key books: DO NOT AGREE', head: [], rows: rows.length > 0 ? rows : [['no books were recorded']] }
}

function lostTable({ lost }: Metrics): Table {
  const shown = lost.slice(0, MAX_LOST)
  const more = lost.length > shown.length ? { note: `and ${lost.length - shown.length} more (events.jsonl)` } : {}
  const title = 'Where tasks that were not full lost their time'
  if (lost.length === 0) return { title, head: [], rows: [], note: 'no task did' }
  return {
    title,
    head: [
      'task',
      'class',
      'chain or point',
      'issued s',
      'outcome',
      'turn ms',
      'key ms',
      'queue ms',
      'wire ms',
      'breaker ms',
      'path and end',
    ],
    rows: shown.map((task) => [
      task.taskClass === 'telemetry' ? '-' : task.task,
      task.taskClass,
      task.chain ?? `${task.ca}/${task.ioa}`,
      (task.issuedMs / 1000).toFixed(2),
      task.outcome,
      ...[task.turnMs, task.keyWaitMs, task.queueMs, task.wireMs, task.breakerMs].map((ms) => ms.toFixed(0)),
      pathOf(task),
    ]),
    ...more,
  }
}

/** `cc otp > gwA otp (key 312) > rtu1 otp; late`: each hop with its suite, and the waits that matter. */
function pathOf(task: TaskRecord): string {
  const hops = task.hops.map(({ node, suite, keyWaitMs, queueMs, direction }) => {
    const waits = [
      keyWaitMs >= 1 ? `key ${keyWaitMs.toFixed(0)}` : '',
      queueMs >= 1 ? `queue ${queueMs.toFixed(0)}` : '',
    ].filter((wait) => wait !== '')
    return `${direction === 'monitor' ? '< ' : ''}${node} ${suite ?? '?'}${waits.length === 0 ? '' : ` (${waits.join(', ')})`}`
  })
  const end = [task.reason, task.lastSeenAt === null ? null : `last seen at ${task.lastSeenAt}`].filter(
    (part) => part !== null,
  )
  return [hops.join(' '), end.join(', ')].filter((part) => part !== '').join('; ')
}

function ratio(value: number): string {
  return value.toFixed(4)
}

function unit(value: number | null, digits: number, name: string): string {
  return value === null ? '-' : `${value.toFixed(digits)} ${name}`
}

function textRows({ head, rows }: Table): readonly string[] {
  const all = head.some((cell) => cell !== '') ? [head, ...rows] : rows
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
}

function htmlTable({ title, head, rows, note }: Table): string {
  const cells = (row: readonly string[], tag: string) =>
    row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')
  const top = head.some((cell) => cell !== '') ? `<thead><tr>${cells(head, 'th')}</tr></thead>` : ''
  const body = rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('\n')
  const table = rows.length === 0 ? '' : `<table>${top}<tbody>\n${body}\n</tbody></table>`
  return `<h2>${escapeHtml(title)}</h2>\n${table}${note === undefined ? '' : `<p>${escapeHtml(note)}</p>`}`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
