/** What a check of the links found, for people and for files. */
import type { Figure, NetworkCheck } from '../../../netns/index.ts'

/** One line for the terminal of a run. */
export function checkLine({ links, lagMs, problems, tookMs }: NetworkCheck): string {
  const verdict = problems.length === 0 ? 'as their laws say' : `${problems.length} things are off`
  const worstMs = Math.max(0, ...links.map(({ rttMs }) => Math.abs(rttMs.measured - rttMs.asked)))
  const figures = `round trips off by ${worstMs.toFixed(1)} ms at most, timers late by ${lagMs.max.toFixed(0)} ms at most`
  return `${links.length} links measured in ${(tookMs / 1000).toFixed(1)} s: ${verdict} (${figures})`
}

/** `links.json`: all figures, without every datagram's. */
export function checkJson({ links, ...rest }: NetworkCheck): string {
  const brief = links.map(({ directions, ...link }) => ({
    ...link,
    directions: directions.map(({ delaysMs: _, arrived: __, ...figures }) => figures),
  }))
  return `${JSON.stringify({ ...rest, links: brief }, null, 2)}\n`
}

/** A table, a line for each direction of each link. */
export function checkText({ links, lagMs, problems }: NetworkCheck): string {
  const figure = ({ measured, asked }: Figure, scale: number): string =>
    `${(scale * measured).toFixed(2)} (${(scale * asked).toFixed(2)})`
  const rows = links.flatMap(({ directions }) =>
    directions.map(({ from, to, sent, delayMs, jitterMs, lossRatio }) => [
      `${from} to ${to}`,
      figure(delayMs, 1),
      figure(jitterMs, 1),
      figure(lossRatio, 100),
      String(sent),
    ]),
  )
  return [
    ...columns([['measured (asked)', 'delay ms', 'jitter ms', 'loss %', 'datagrams'], ...rows]),
    `timers ${lagMs.median.toFixed(1)} ms late (median), ${lagMs.max.toFixed(0)} ms at most`,
    ...(problems.length === 0 ? ['all as asked for'] : problems),
  ].join('\n')
}

/** Rows of text as lines, each column as wide as its widest cell. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  return rows.map((row) => line(row).trimEnd())
}
