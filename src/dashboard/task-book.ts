/** Follows commands from issue to effect by the record's lines, and says where their time went. */
import type { LabRecord, LatencyView, TaskSplit } from './state.ts'

/** Records of other processes may come a little later than the end of the task they belong to. */
const SETTLE_MS = 1_000
/** Tasks told one by one, and those that quantiles are taken of, each kind. */
const MAX_RECENT = 60
const MAX_IN_QUANTILES = 200
/** Tasks under way that are followed; beyond that the oldest is let go. */
const MAX_OPEN = 5_000

type Open = {
  readonly task: string
  readonly taskType: string
  readonly chain: string
  readonly point: string
  readonly issuedMs: number
  readonly deadlineMs: number
  turnMs: number | undefined
  keyWaitMs: number
  queueMs: number
  breakerMs: number
  end: { readonly tMs: number; readonly outcome: TaskSplit['outcome']; readonly reason: string } | undefined
}

export class TaskBook {
  readonly #open = new Map<string, Open>()
  /** The command under way at each point, the newest. */
  readonly #atPoint = new Map<string, Open>()
  #ended: Open[] = []
  readonly #recent: TaskSplit[] = []
  readonly #byType = new Map<string, TaskSplit[]>()

  /** The latest commands, newest first. */
  get recent(): readonly TaskSplit[] {
    return this.#recent.toReversed()
  }

  /** Takes a record's line; the split of tasks that were settled by it come by `settle`. */
  take(record: LabRecord): void {
    switch (record.name) {
      case 'task.issued':
        this.#issued(record)
        return
      case 'task.sent':
        this.#sent(record)
        return
      case 'hop':
        this.#waited(this.#atPoint.get(pointOf(record)), record)
        return
      case 'ied.done': {
        const open = this.#atPoint.get(pointOf(record))
        if (open !== undefined) open.breakerMs += number(record, 'breakerMs')
        return
      }
      case 'task.done':
        this.#done(record)
    }
  }

  /** The chain of the command under way at a point. */
  chainAt(record: LabRecord): string | undefined {
    return this.#atPoint.get(pointOf(record))?.chain
  }

  chainOf(task: string): string | undefined {
    return this.#open.get(task)?.chain
  }

  /** Tasks whose records have all come by now. */
  settle(nowMs: number): void {
    const due = this.#ended.filter(({ end }) => (end?.tMs ?? 0) + SETTLE_MS <= nowMs)
    if (due.length === 0) return
    this.#ended = this.#ended.filter((open) => !due.includes(open))
    for (const open of due) {
      this.#letGo(open)
      const split = splitOf(open)
      if (split !== undefined) this.#keep(split)
    }
  }

  latency(): readonly LatencyView[] {
    return [...this.#byType].map(([taskType, splits]) => latencyOf(taskType, splits))
  }

  #issued(record: LabRecord): void {
    const open: Open = {
      task: text(record, 'task'),
      taskType: text(record, 'taskType'),
      chain: text(record, 'chain'),
      point: pointOf(record),
      issuedMs: record.tMs,
      deadlineMs: number(record, 'deadlineMs'),
      turnMs: undefined,
      keyWaitMs: 0,
      queueMs: 0,
      breakerMs: 0,
      end: undefined,
    }
    const oldest = this.#open.size >= MAX_OPEN ? this.#open.values().next().value : undefined
    if (oldest !== undefined) this.#letGo(oldest)
    this.#open.set(open.task, open)
    this.#atPoint.set(open.point, open)
  }

  #sent(record: LabRecord): void {
    const open = this.#open.get(text(record, 'task'))
    if (open === undefined) return
    open.turnMs ??= number(record, 'waitMs')
    this.#waited(open, record)
  }

  #waited(open: Open | undefined, record: LabRecord): void {
    if (open === undefined) return
    const keyWaitMs = number(record, 'keyWaitMs')
    open.keyWaitMs += keyWaitMs
    // The record counts the wait for key within the time in the queue.
    open.queueMs += Math.max(0, number(record, 'queueMs') - keyWaitMs)
  }

  #done(record: LabRecord): void {
    const open = this.#open.get(text(record, 'task'))
    if (open === undefined || open.end !== undefined) return
    const reason = text(record, 'reason')
    open.end = { tMs: record.tMs, outcome: outcomeOf(reason), reason }
    this.#ended.push(open)
  }

  #letGo(open: Open): void {
    if (this.#open.get(open.task) === open) this.#open.delete(open.task)
    if (this.#atPoint.get(open.point) === open) this.#atPoint.delete(open.point)
  }

  #keep(split: TaskSplit): void {
    push(this.#recent, split, MAX_RECENT)
    // What never took effect has no time to be compared.
    if (split.outcome === 'failed') return
    const list = this.#byType.get(split.taskType) ?? []
    this.#byType.set(split.taskType, list)
    push(list, split, MAX_IN_QUANTILES)
  }
}

/** What a task's reason to end means for its deadline. */
export function outcomeOf(reason: string): TaskSplit['outcome'] {
  if (reason === 'done') return 'full'
  if (reason === 'suite') return 'degraded'
  return reason === 'late' ? 'late' : 'failed'
}

function splitOf(open: Open): TaskSplit | undefined {
  const { task, taskType, chain, deadlineMs, keyWaitMs, queueMs, breakerMs, end } = open
  if (end === undefined) return undefined
  const latencyMs = end.tMs - open.issuedMs
  const turnMs = Math.min(latencyMs, open.turnMs ?? latencyMs)
  const wireMs = Math.max(0, latencyMs - turnMs - keyWaitMs - queueMs - breakerMs)
  const parts = { turnMs, keyWaitMs, queueMs, wireMs, breakerMs }
  return {
    task,
    taskType,
    chain,
    tMs: end.tMs,
    outcome: end.outcome,
    reason: end.reason,
    latencyMs,
    deadlineMs,
    ...parts,
  }
}

function latencyOf(taskType: string, splits: readonly TaskSplit[]): LatencyView {
  const mean = (part: 'turnMs' | 'keyWaitMs' | 'queueMs' | 'wireMs' | 'breakerMs'): number =>
    splits.length === 0 ? 0 : splits.reduce((sum, split) => sum + split[part], 0) / splits.length
  const sorted = splits.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b)
  const quantile = (ratio: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(ratio * sorted.length))] ?? 0
  return {
    taskType,
    tasks: splits.length,
    turnMs: mean('turnMs'),
    keyWaitMs: mean('keyWaitMs'),
    queueMs: mean('queueMs'),
    wireMs: mean('wireMs'),
    breakerMs: mean('breakerMs'),
    medianMs: quantile(0.5),
    p95Ms: quantile(0.95),
    deadlineMs: splits.at(-1)?.deadlineMs ?? 0,
  }
}

function push<T>(list: T[], item: T, max: number): void {
  list.push(item)
  if (list.length > max) list.shift()
}

function pointOf(record: LabRecord): string {
  return `${record['ca']}/${record['ioa']}`
}

function number(record: LabRecord, fact: string): number {
  const value = record[fact]
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}

function text(record: LabRecord, fact: string): string {
  const value = record[fact]
  return typeof value === 'string' ? value : ''
}
