/**
 * Joins the records of a run into tasks: for each command and each telemetry sample what became of it, and where its time
 * went. The records of relays and IEDs name no task; they belong to the one under way at the same (CA, IOA).
 */
import type { Suite } from '../runtime/contract.ts'
import { byName, groupBy, type LabRecord, numberOf, textOf } from './records.ts'

/** What became of a task. `degraded`: in time, but in a weaker suite than required. */
export type Outcome = 'full' | 'degraded' | 'late' | 'failed'

/** Time at one node until the message left it. */
export type HopTime = {
  readonly node: string
  readonly tMs: number
  readonly suite: Suite | null
  /** Waiting for its turn, without the wait for key. */
  readonly queueMs: number
  readonly keyWaitMs: number
  /** Towards the IED, or back. */
  readonly direction: 'control' | 'monitor'
}

/** A command or a telemetry sample. Times in ms of lab time. */
export type TaskRecord = {
  readonly task: string
  readonly taskClass: string
  readonly chain: string | null
  readonly ca: number
  readonly ioa: number
  readonly issuedMs: number
  /** null: none. */
  readonly deadlineMs: number | null
  readonly requiredSuite: Suite
  readonly outcome: Outcome
  /** Issue to the effect's confirmation (ACTTERM), or a sample's arrival; null if it never came. */
  readonly latencyMs: number | null
  readonly reason: string | null
  readonly hops: readonly HopTime[]
  /** Waiting in the centre before its first sending: chain off, no link, or another command to the same point. */
  readonly turnMs: number
  readonly keyWaitMs: number
  readonly queueMs: number
  readonly breakerMs: number
  /** What is left of the time: propagation, retransmission, processing. */
  readonly wireMs: number
  /** The last node that is known to have had it, for a task that never ended well. */
  readonly lastSeenAt: string | null
}

/** All commands and telemetry samples of a run, in order of issue. */
export function tasksOf(records: readonly LabRecord[]): readonly TaskRecord[] {
  const named = byName(records)
  return [...commandsOf(named), ...telemetryOf(named)].sort((a, b) => a.issuedMs - b.issuedMs)
}

type Named = ReadonlyMap<string, readonly LabRecord[]>

function commandsOf(named: Named): readonly TaskRecord[] {
  const list = (name: string) => named.get(name) ?? []
  const byTask = (name: string) => groupBy(list(name), (record) => String(record['task']))
  const [sent, done] = [byTask('task.sent'), byTask('task.done')]
  const points = groupBy(['hop', 'hop.noRoute', 'ied.act', 'ied.done'].flatMap(list), pointOf)
  const lastMs = Math.max(0, ...[...named.values()].map((all) => all.at(-1)?.tMs ?? 0))
  // A point's records belong to the task that was issued last before them.
  return [...groupBy(list('task.issued'), pointOf)].flatMap(([point, issued]) =>
    issued.map((record, index) => {
      const untilMs = issued[index + 1]?.tMs ?? lastMs
      const task = String(record['task'])
      const end = done.get(task)?.at(-1)
      const spanMs = end === undefined ? untilMs : Math.min(untilMs, end.tMs)
      const along = (points.get(point) ?? []).filter(({ tMs }) => tMs >= record.tMs && tMs <= spanMs)
      return commandOf({ record, sent: sent.get(task) ?? [], along, end, lastMs })
    }),
  )
}

type CommandParts = {
  readonly record: LabRecord
  readonly sent: readonly LabRecord[]
  readonly along: readonly LabRecord[]
  readonly end: LabRecord | undefined
  readonly lastMs: number
}

function commandOf({ record, sent, along, end, lastMs }: CommandParts): TaskRecord {
  const hopRecords = [...sent, ...along.filter(({ name }) => name === 'hop')].sort((a, b) => a.tMs - b.tMs)
  const hops = hopRecords.map(hopOf)
  const requiredSuite = suiteOf(record, 'requiredSuite') ?? 'aes'
  const deadlineMs = numberOf(record, 'deadlineMs') ?? null
  const tookEffect = end?.['ok'] === true || end?.['delivered'] === true || end?.['reason'] === 'late'
  const latencyMs = tookEffect && end !== undefined ? (numberOf(end, 'latencyMs') ?? end.tMs - record.tMs) : null
  const acts = along.filter(({ name }) => name === 'ied.act')
  // Of several attempts the last one counts, and of that only the way to the IED: the answer is in the command's suite.
  const lastSentMs = sent.at(-1)?.tMs ?? 0
  const towards = hops.filter(({ direction, tMs }) => direction === 'control' && tMs >= lastSentMs)
  const answer = end === undefined ? null : suiteOf(end, 'suite')
  const suites = [...towards.map(({ suite }) => suite), ...(answer === null ? [] : [answer])]
  const lost = along.filter(({ name }) => name === 'hop.noRoute').at(-1)
  const last = [...hopRecords, ...acts].sort((a, b) => a.tMs - b.tMs).at(-1)
  const breakerMs = sumOf(
    along.filter(({ name }) => name === 'ied.done'),
    'breakerMs',
  )
  const reason = end === undefined ? 'no answer' : (textOf(end, 'reason') ?? null)
  const wholeMs = latencyMs ?? (end?.tMs ?? lastMs) - record.tMs
  // What never left the centre waited there all the time.
  const turnMs = Math.min(wholeMs, sent.length === 0 ? wholeMs : (numberOf(sent[0] ?? record, 'waitMs') ?? 0))
  return {
    ...identity(record, textOf(record, 'taskType') ?? 'command', String(record['task'])),
    chain: textOf(record, 'chain') ?? null,
    deadlineMs,
    requiredSuite,
    outcome: outcomeOf({ latencyMs, deadlineMs, requiredSuite, suites }),
    latencyMs,
    reason: end?.['ok'] === true ? null : lost === undefined ? reason : `${reason}, no route at ${lost.node}`,
    hops,
    ...timesOf({ hops, turnMs, breakerMs, wholeMs }),
    lastSeenAt: tookEffect ? null : (last?.node ?? record.node),
  }
}

function telemetryOf(named: Named): readonly TaskRecord[] {
  const keyOf = (record: LabRecord) => `${pointOf(record)} ${record['tagMs']}`
  const received = groupBy(named.get('telemetry.received') ?? [], keyOf)
  return (named.get('telemetry.sampled') ?? []).map((record) => {
    const arrival = received.get(keyOf(record))?.[0]
    const requiredSuite = suiteOf(record, 'requiredSuite') ?? 'aes'
    const deadlineMs = numberOf(record, 'deadlineMs') ?? null
    const latencyMs = arrival === undefined ? null : (numberOf(arrival, 'latencyMs') ?? arrival.tMs - record.tMs)
    const suites = arrival === undefined ? [] : [suiteOf(arrival, 'suite')]
    return {
      ...identity(record, textOf(record, 'taskClass') ?? 'telemetry', keyOf(record)),
      chain: null,
      deadlineMs,
      requiredSuite,
      outcome: outcomeOf({ latencyMs, deadlineMs, requiredSuite, suites }),
      latencyMs,
      reason: arrival === undefined ? 'not received' : null,
      hops: [],
      ...timesOf({ hops: [], turnMs: 0, breakerMs: 0, wholeMs: latencyMs ?? 0 }),
      lastSeenAt: arrival === undefined ? record.node : null,
    }
  })
}

function identity(record: LabRecord, taskClass: string, task: string) {
  return { task, taskClass, ca: numberOf(record, 'ca') ?? 0, ioa: numberOf(record, 'ioa') ?? 0, issuedMs: record.tMs }
}

type Spent = {
  readonly hops: readonly HopTime[]
  readonly turnMs: number
  readonly breakerMs: number
  readonly wholeMs: number
}

function timesOf({ hops, turnMs, breakerMs, wholeMs }: Spent) {
  const keyWaitMs = hops.reduce((sum, hop) => sum + hop.keyWaitMs, 0)
  const queueMs = hops.reduce((sum, hop) => sum + hop.queueMs, 0)
  return {
    turnMs,
    keyWaitMs,
    queueMs,
    breakerMs,
    wireMs: Math.max(0, wholeMs - turnMs - keyWaitMs - queueMs - breakerMs),
  }
}

type Judged = {
  readonly latencyMs: number | null
  readonly deadlineMs: number | null
  readonly requiredSuite: Suite
  readonly suites: readonly (Suite | null)[]
}

function outcomeOf({ latencyMs, deadlineMs, requiredSuite, suites }: Judged): Outcome {
  if (latencyMs === null) return 'failed'
  if (deadlineMs !== null && latencyMs > deadlineMs) return 'late'
  const isFull = suites.every((suite) => suite === 'otp' || (requiredSuite === 'aes' && suite === 'aes'))
  return isFull ? 'full' : 'degraded'
}

/** Causes of confirmations: ACTCON, DEACTCON, ACTTERM, and the negative answers (IEC 60870-5-101, 7.2.3). */
const MONITOR_COTS: readonly number[] = [7, 9, 10, 44, 45, 46, 47]

function hopOf(record: LabRecord): HopTime {
  const keyWaitMs = numberOf(record, 'keyWaitMs') ?? 0
  return {
    node: record.node,
    tMs: record.tMs,
    suite: suiteOf(record, 'suite'),
    // The records count the wait for key within the time in the queue.
    queueMs: Math.max(0, (numberOf(record, 'queueMs') ?? 0) - keyWaitMs),
    keyWaitMs,
    direction: MONITOR_COTS.includes(numberOf(record, 'cot') ?? 6) ? 'monitor' : 'control',
  }
}

function pointOf(record: LabRecord): string {
  return `${record['ca']}/${record['ioa']}`
}

function suiteOf(record: LabRecord, fact: string): Suite | null {
  const value = record[fact]
  return value === 'otp' || value === 'aes' ? value : null
}

function sumOf(records: readonly LabRecord[], fact: string): number {
  return records.reduce((sum, record) => sum + (numberOf(record, fact) ?? 0), 0)
}
