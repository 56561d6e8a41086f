/** The metrics of a run, from its records alone: a pure function, so that any run can be judged again from its files. */
import type { LabEvent } from '../runtime/contract.ts'
import { type PoolTotals, poolTotals, reconcileBooks } from './books.ts'
import { type GameMetrics, gameMetricsOf } from './game-metrics.ts'
import { byName, type LabRecord, numberOf, textOf } from './records.ts'
import { type TaskRecord, tasksOf } from './tasks.ts'

/** Frequency band, Hz, whose breach counts as disturbed (TRR). */
export const BAND_HZ = 0.05

/** What the records do not say. */
export type MetricsContext = {
  readonly seed: number
  readonly version: string
  /** Length of the run without the time in which what was under way could finish; levels of the stock count until then. */
  readonly durationS?: number
  /** Tasks issued before, and key generated and used before, do not count; default 0. */
  readonly warmupS?: number
  readonly impairment: 'netem' | 'transport' | 'virtual'
  readonly isolation: 'netns' | 'userns' | 'loopback' | 'virtual'
  /** Channels that draw on the pool; default all. */
  readonly isPoolChannel?: (channel: number) => boolean
  /** Stock that the pool was given at the start, bits; counted neither as generated in the run nor as a change. */
  readonly initialBits?: number
  /** Nodes that must have left counters; a missing one makes the run invalid. */
  readonly nodes?: readonly string[]
  /** What the run itself found wrong (a process that died, a clock that lagged); each makes it invalid. */
  readonly problems?: readonly string[]
}

/** Tasks of one class, or all. Ratios are NaN-free: 1 when there was no task. */
export type ClassMetrics = {
  readonly tasks: number
  /** Required suite, within the deadline (the paper's P_succ). */
  readonly pFull: number
  /** Any suite, within the deadline. */
  readonly pDelivered: number
  readonly degraded: number
  readonly late: number
  readonly failed: number
}

export type KeyMetrics = PoolTotals & {
  /** Change of the stock (pool and reserved) over the run, bits. */
  readonly stockChangeBits: number
  /** Generated after the warm-up, without what was there at the start, bits. */
  readonly windowGeneratedBits: number
  /** Discarded after the warm-up because the stock was full, bits. */
  readonly overflowBits: number
  readonly minPoolBits: number
  readonly maxPoolBits: number
  /** Seconds at each level of the stock. */
  readonly levelS: Readonly<Record<string, number>>
  readonly breaks: number
}

export type Metrics = ClassMetrics & {
  readonly valid: boolean
  /** Why the run must not be used; empty if valid. */
  readonly invalidReasons: readonly string[]
  readonly byClass: Readonly<Record<string, ClassMetrics>>
  /** Largest deviation of the centre of inertia, Hz. */
  readonly maxAbsDeltaFHz: number | null
  /** Largest deviation of any machine, Hz. */
  readonly worstMachineHz: number | null
  /** Bits used / bits generated within the run, the initial stock not counted as generated; null without generation. */
  readonly keyUtilizationRatio: number | null
  readonly keys: KeyMetrics | null
  /** Seconds with |df| above 0.05 Hz. */
  readonly trrS: number | null
  /** From the first disturbance to the last return into the band, s; 0 if it was never left, null if still outside. */
  readonly returnS: number | null
  readonly deadlineMisses: number
  /** Changes of chains' states or paths by the scheduler. */
  readonly switches: number
  /** Where control centres play for key by messages. */
  readonly game?: GameMetrics
  readonly booksBalanced: boolean
  readonly bookDifferences: readonly string[]
  /** Q3P frames sent, all nodes. */
  readonly frames: number
  readonly framesReceived: number
  readonly retransmissions: number
  readonly impairment: MetricsContext['impairment']
  readonly isolation: MetricsContext['isolation']
  readonly seed: number
  readonly version: string
  /** Tasks that were not full, in order of issue, with where their time went. */
  readonly lost: readonly TaskRecord[]
}

/** Metrics of a run. `records` may come in any order, as files of several processes do. */
export function metricsOf(records: readonly LabRecord[], context: MetricsContext): Metrics {
  const named = byName(records)
  const warmupMs = (context.warmupS ?? 0) * 1000
  const tasks = tasksOf(records).filter(({ issuedMs }) => issuedMs >= warmupMs)
  const classes = [...new Set(tasks.map(({ taskClass }) => taskClass))].sort()
  const books = reconcileBooks(records, context.isPoolChannel)
  const keys = keysOf(named, context)
  const grid = gridOf(named)
  const counters = named.get('counters') ?? []
  const all = classMetrics(tasks)
  const lastMs = records.reduce((last, { tMs }) => Math.max(last, tMs), 0)
  const game = gameMetricsOf(records, context.durationS === undefined ? lastMs : context.durationS * 1000)
  const invalidReasons = [
    ...(context.problems ?? []),
    ...missingCounters(counters, context.nodes ?? []),
    ...(books.agree
      ? []
      : books.differences.length === 0
        ? ['no books of the keys']
        : ['the books of the keys do not agree']),
    ...(grid.maxAbsDeltaFHz === null ? ['no record of the grid'] : []),
    ...(tasks.length === 0 ? ['no task was issued'] : []),
  ]
  return {
    valid: invalidReasons.length === 0,
    invalidReasons,
    ...all,
    byClass: Object.fromEntries(
      classes.map((name) => [name, classMetrics(tasks.filter(({ taskClass }) => taskClass === name))]),
    ),
    ...grid,
    keyUtilizationRatio: keys?.ratio ?? null,
    keys: keys?.metrics ?? null,
    deadlineMisses: all.late + all.failed,
    switches: switchesOf(named),
    ...(game && { game }),
    booksBalanced: books.agree,
    bookDifferences: books.differences,
    frames: total(counters, 'framesSent'),
    framesReceived: total(counters, 'framesReceived'),
    retransmissions: total(counters, 'retransmissions'),
    impairment: context.impairment,
    isolation: context.isolation,
    seed: context.seed,
    version: context.version,
    lost: tasks.filter(({ outcome }) => outcome !== 'full'),
  }
}

type Named = ReadonlyMap<string, readonly LabRecord[]>

function classMetrics(tasks: readonly TaskRecord[]): ClassMetrics {
  const count = (outcome: TaskRecord['outcome']) => tasks.filter((task) => task.outcome === outcome).length
  const [full, degraded] = [count('full'), count('degraded')]
  const share = (part: number) => (tasks.length === 0 ? 1 : part / tasks.length)
  return {
    tasks: tasks.length,
    pFull: share(full),
    pDelivered: share(full + degraded),
    degraded,
    late: count('late'),
    failed: count('failed'),
  }
}

type GridMetrics = Pick<Metrics, 'maxAbsDeltaFHz' | 'worstMachineHz' | 'trrS' | 'returnS'>

/** The grid's own summary counts every integration step; without one, the samples of the record have to do. */
function gridOf(named: Named): GridMetrics {
  const summary = named.get('grid.summary')?.at(-1)
  if (summary !== undefined) {
    return {
      maxAbsDeltaFHz: numberOf(summary, 'maxAbsDeltaFHz') ?? null,
      worstMachineHz: numberOf(summary, 'maxWorstMachineHz') ?? null,
      trrS: numberOf(summary, 'secondsAboveBand') ?? null,
      returnS: numberOf(summary, 'lastReturnS') ?? null,
    }
  }
  const samples = named.get('grid') ?? []
  if (samples.length === 0) return { maxAbsDeltaFHz: null, worstMachineHz: null, trrS: null, returnS: null }
  const largest = (fact: string) =>
    samples.reduce((most, sample) => Math.max(most, Math.abs(numberOf(sample, fact) ?? 0)), 0)
  const isAbove = (sample: LabRecord | undefined) => Math.abs(numberOf(sample ?? NOTHING, 'deltaFHz') ?? 0) > BAND_HZ
  const fromMs = named.get('grid.disturbance')?.[0]?.tMs ?? 0
  let aboveMs = 0
  let returnS: number | null = 0
  for (const [index, sample] of samples.entries()) {
    if (!isAbove(sample)) continue
    const next = samples[index + 1]
    aboveMs += (next?.tMs ?? sample.tMs) - sample.tMs
    returnS = next === undefined || isAbove(next) ? null : (next.tMs - fromMs) / 1000
  }
  return { maxAbsDeltaFHz: largest('deltaFHz'), worstMachineHz: largest('worstHz'), trrS: aboveMs / 1000, returnS }
}

const NOTHING: LabEvent = { name: '' }

function keysOf(
  named: Named,
  { initialBits = 0, durationS, warmupS = 0 }: MetricsContext,
): { readonly metrics: KeyMetrics; readonly ratio: number | null } | undefined {
  const all = named.get('pool') ?? []
  const last = poolTotals(all.at(-1))
  if (last === undefined) return undefined
  const startMs = warmupS * 1000
  // Of a run with a warm-up only what came after it counts; otherwise what was there at the start is taken off.
  const before = warmupS > 0 ? poolTotals(all.findLast(({ tMs }) => tMs <= startMs)) : undefined
  const stockBefore = before === undefined ? initialBits : before.poolBits + before.reservedBits
  const endMs = durationS === undefined ? Number.POSITIVE_INFINITY : durationS * 1000
  // Before it was given its first key the pool is not low but not there yet.
  const pool = all.filter(
    (record) => record.tMs >= startMs && record.tMs <= endMs && (numberOf(record, 'generatedBits') ?? 0) > 0,
  )
  const stock = pool.map((record) => numberOf(record, 'poolBits') ?? 0)
  const levelS: Record<string, number> = {}
  for (const [index, record] of pool.entries()) {
    const level = textOf(record, 'level') ?? 'unknown'
    const untilMs = pool[index + 1]?.tMs ?? Math.max(record.tMs, Math.min(endMs, all.at(-1)?.tMs ?? 0))
    levelS[level] = (levelS[level] ?? 0) + (untilMs - record.tMs) / 1000
  }
  const generatedBits = last.generatedBits - (before?.generatedBits ?? initialBits)
  const usedBits = last.usedBits - (before?.usedBits ?? 0)
  return {
    metrics: {
      ...last,
      stockChangeBits: last.poolBits + last.reservedBits - stockBefore,
      windowGeneratedBits: generatedBits,
      overflowBits: last.discardedBits - (before?.discardedBits ?? 0),
      minPoolBits: stock.reduce((least, bits) => Math.min(least, bits), Number.POSITIVE_INFINITY),
      maxPoolBits: stock.reduce((most, bits) => Math.max(most, bits), 0),
      levelS,
      breaks: breaksOf(named),
    },
    ratio: generatedBits > 0 ? usedBits / generatedBits : null,
  }
}

/** Each `plan` record of a master after its first lists in `why` the chains that have another state or path, parted by semicolons. */
function switchesOf(named: Named): number {
  const seen = new Set<string>()
  const changes = (named.get('plan') ?? []).flatMap((plan) => {
    const isFirst = !seen.has(plan.node)
    seen.add(plan.node)
    return isFirst ? [] : [textOf(plan, 'why') ?? '']
  })
  return changes.reduce((sum, why) => sum + why.split(';').filter((part) => part.trim() !== '').length, 0)
}

/** Breaks of links; link model and key server may both have recorded the same one. */
function breaksOf(named: Named): number {
  const down = new Set<number>()
  let breaks = 0
  const records = [...(named.get('qkd.break') ?? []), ...(named.get('qkd.repair') ?? [])].sort((a, b) => a.tMs - b.tMs)
  for (const record of records) {
    const link = numberOf(record, 'link') ?? -1
    if (record.name === 'qkd.repair') down.delete(link)
    else if (!down.has(link)) {
      down.add(link)
      breaks += 1
    }
  }
  return breaks
}

function missingCounters(counters: readonly LabRecord[], nodes: readonly string[]): readonly string[] {
  const seen = new Set(counters.map(({ node }) => node))
  const missing = nodes.filter((node) => !seen.has(node))
  return missing.length === 0 ? [] : [`no counters of ${missing.join(', ')}: not drained to the end`]
}

function total(records: readonly LabRecord[], fact: string): number {
  return records.reduce((sum, record) => sum + (numberOf(record, fact) ?? 0), 0)
}
