import { cpus, loadavg, totalmem } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Machine, Node, date: what a figure means nothing without. */
export function setting(): string {
  const [cpu] = cpus()
  const gib = (totalmem() / 2 ** 30).toFixed(1)
  const load = loadavg().map((value) => value.toFixed(1))
  return `${cpus().length} x ${cpu?.model ?? 'unknown CPU'}, ${gib} GiB, load ${load.join(' ')}, Node ${process.version}, ${new Date().toISOString().slice(0, 16)}Z`
}

/** The value below which `share` of the values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** A figure of several rounds beside its goal. */
export type Figure = {
  readonly name: string
  readonly unit: string
  readonly rounds: readonly number[]
  readonly goal?: { readonly atLeast: number } | { readonly below: number }
}

export function isReached({ rounds, goal }: Figure): boolean {
  if (goal === undefined) return true
  return 'atLeast' in goal ? median(rounds) >= goal.atLeast : median(rounds) < goal.below
}

/** A line: name, median, least and most of the rounds, goal. */
export function figureText(figure: Figure): string {
  const { name, unit, rounds, goal } = figure
  const wanted =
    goal === undefined ? '' : 'atLeast' in goal ? `goal >= ${number(goal.atLeast)}` : `goal < ${number(goal.below)}`
  const verdict = goal === undefined ? '' : isReached(figure) ? 'reached' : 'MISSED'
  const range = `(${number(Math.min(...rounds))} .. ${number(Math.max(...rounds))})`
  return [name.padEnd(52), `${number(median(rounds))} ${unit}`.padEnd(18), range.padEnd(24), wanted.padEnd(18), verdict]
    .join(' ')
    .trimEnd()
}

function number(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}

/** Collects garbage now, so that what is left is what is held. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}
