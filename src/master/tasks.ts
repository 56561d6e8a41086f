import { type AsduView, cot } from '../protocol/index.ts'
import type { LabEvent, Suite } from '../runtime/contract.ts'
import type { Chain } from '../scheduler/index.ts'

/** A command to be given, with its task's terms. */
export type TaskSpec = {
  readonly chain: Chain
  readonly ca: number
  readonly ioa: number
  readonly typeId: number
  /** The command, activation, as it is sent on every attempt. */
  readonly asdu: Uint8Array
  /** Age at which the task is given up, ms. */
  readonly timeoutMs: number
  /** Time after which an attempt without confirmation, or refused, is made again, ms; undefined: one attempt. */
  readonly retryMs?: number
  /** The task ends unfinished tasks of the same chain: only the newest counts. */
  readonly replaces?: boolean
  /** Waits also past its deadline while its chain is off; otherwise it ends there. */
  readonly waitsWhenOff?: boolean
}

/** How a task ended; `done`, `late` and `suite` (a lesser suite than required) took effect. */
export type TaskReason =
  | 'done'
  | 'late'
  | 'suite'
  | 'off'
  | 'replaced'
  | 'timeout'
  | 'refused'
  | 'unknownType'
  | 'unknownCause'
  | 'unknownCa'
  | 'unknownIoa'
  | 'drain'

/** Which attempt of which task a message is. */
export type Attempt = { readonly task: string; readonly attempt: number }

/** What to do with a chain's commands now: the suite (undefined: chain off), the first hop's link (undefined: down). */
export type Way = { readonly suite: Suite | undefined; readonly link: number | undefined }

/** What the table asks for, in order. */
export type TaskEffect =
  | { readonly kind: 'event'; readonly event: LabEvent }
  | {
      readonly kind: 'send'
      readonly link: number
      readonly asdu: Uint8Array
      readonly suite: Suite
      readonly priority: number
      readonly expiresAtMs: number
      readonly attempt: Attempt
    }

type Task = TaskSpec & {
  readonly id: string
  readonly issuedMs: number
  /** waiting (for its turn, its chain or its link) -> queued (in the link) -> sent -> confirmed. */
  state: 'waiting' | 'queued' | 'sent' | 'confirmed'
  attempt: number
  /** When the next attempt is due, in the states waiting, sent and confirmed. */
  retryAtMs: number
  hasBeenConfirmed: boolean
  isLate: boolean
}

const UNKNOWN: ReadonlyMap<number, TaskReason> = new Map([
  [cot.unknownTypeId, 'unknownType'],
  [cot.unknownCot, 'unknownCause'],
  [cot.unknownCa, 'unknownCa'],
  [cot.unknownIoa, 'unknownIoa'],
])

/** Octets of an ASDU before its first information object (type, VSQ, two of cause, two of address). */
const ASDU_HEADER_BYTES = 6
const SUITE_RANK: Readonly<Record<Suite, number>> = { aes: 1, otp: 2 }

/**
 * The tasks under way, from issue to effect. Each (CA, IOA) has one command outstanding; later ones wait behind it. A task
 * counts as ok when ACTTERM comes within its deadline and the answer came in the required suite or a better one (relays
 * and devices answer in the suite of the command); as delivered in any suite.
 */
export class TaskTable {
  /** Unfinished tasks, oldest first. */
  readonly #tasks = new Map<string, Task>()
  readonly #requeueMs: number
  readonly #prefix: string
  #effects: TaskEffect[] = []
  #issued = 0
  #ok = 0
  #late = 0

  /**
   * `requeueMs`: age in the link's queue at which a command is taken back and sent as the plan then says. `prefix` goes before
   * the tasks' ids.
   */
  constructor(requeueMs: number = Number.POSITIVE_INFINITY, prefix = '') {
    this.#requeueMs = requeueMs
    this.#prefix = prefix
  }

  get size(): number {
    return this.#tasks.size
  }

  /** Tasks issued, ok, and past their deadline or ended without being ok, so far. */
  get counts(): { readonly issued: number; readonly ok: number; readonly late: number } {
    return { issued: this.#issued, ok: this.#ok, late: this.#late }
  }

  /** Takes the effects gathered since the last call. */
  takeEffects(): readonly TaskEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  issue(spec: TaskSpec, nowMs: number): string {
    const { chain, ca, ioa, typeId } = spec
    if (spec.replaces === true) {
      for (const task of this.#tasks.values()) if (task.chain.id === chain.id) this.#end(task, 'replaced', nowMs)
    }
    this.#issued += 1
    const id = `${this.#prefix}t${this.#issued}`
    const begin = { state: 'waiting', attempt: 0, retryAtMs: nowMs, hasBeenConfirmed: false, isLate: false } as const
    this.#tasks.set(id, { ...spec, id, issuedMs: nowMs, ...begin })
    const { taskType, requiredSuite, deadlineMs } = chain
    this.#event('task.issued', id, { taskType, chain: chain.id, ca, ioa, typeId, requiredSuite, deadlineMs })
    return id
  }

  /** Ends what is over, and sends what is due and may go; called each tick and when something has changed. */
  step(wayOf: (chain: Chain) => Way, nowMs: number): void {
    for (const task of this.#tasks.values()) {
      const ageMs = nowMs - task.issuedMs
      if (!task.isLate && ageMs > task.chain.deadlineMs) {
        task.isLate = true
        this.#late += 1
      }
      if (ageMs >= task.timeoutMs) this.#end(task, 'timeout', nowMs)
      else if (task.isLate && task.state === 'waiting' && task.waitsWhenOff !== true) {
        if (wayOf(task.chain).suite === undefined) this.#end(task, 'off', nowMs)
      }
    }
    // One command a point: whoever has begun keeps the point, then the oldest that may go gets it.
    const holders = new Map<string, Task>()
    for (const task of this.#tasks.values()) if (task.attempt > 0) holders.set(pointOf(task), task)
    for (const task of this.#tasks.values()) {
      if ((holders.get(pointOf(task)) ?? task) !== task) continue
      this.#advance(task, wayOf(task.chain), nowMs)
      if (task.attempt > 0) holders.set(pointOf(task), task)
    }
  }

  /** The message of an attempt was sealed and sent. */
  onSent(
    { task: id, attempt }: Attempt,
    facts: { readonly link: number; readonly suite: Suite } & Waits,
    nowMs: number,
  ): void {
    const task = this.#tasks.get(id)
    if (task === undefined || task.attempt !== attempt) return
    task.state = 'sent'
    task.retryAtMs = nowMs + (task.retryMs ?? Number.POSITIVE_INFINITY)
    this.#event('task.sent', id, { ...facts, attempt, waitMs: nowMs - task.issuedMs - facts.queueMs - facts.keyWaitMs })
  }

  /** The message of an attempt was given up by the link: the next one may go at once. */
  onLost({ task: id, attempt }: Attempt, nowMs: number): void {
    const task = this.#tasks.get(id)
    if (task === undefined || task.attempt !== attempt || task.state === 'confirmed') return
    task.state = 'waiting'
    task.retryAtMs = nowMs
  }

  /** An answer to a command: types 45 to 69 in monitor direction. Answers that fit no task are ignored. */
  onAnswer(asdu: Uint8Array, view: AsduView, suite: Suite, nowMs: number): void {
    for (const task of this.#tasks.values()) {
      if (task.attempt === 0 || !isAnswerTo(task, asdu, view)) continue
      const unknown = UNKNOWN.get(view.cot)
      if (unknown !== undefined) this.#end(task, unknown, nowMs)
      else if (view.negative) this.#refused(task, nowMs)
      else if (view.cot === cot.activationCon) this.#confirmed(task, nowMs)
      else if (view.cot === cot.activationTermination) this.#terminated(task, suite, nowMs)
      return
    }
  }

  /** Ends every task. */
  endAll(reason: TaskReason, nowMs: number): void {
    for (const task of this.#tasks.values()) this.#end(task, reason, nowMs)
  }

  #advance(task: Task, { suite, link }: Way, nowMs: number): void {
    if (task.state === 'queued' || nowMs < task.retryAtMs || suite === undefined || link === undefined) return
    task.state = 'queued'
    task.attempt += 1
    const { id, asdu, chain, attempt } = task
    this.#effects.push({
      kind: 'send',
      link,
      asdu,
      suite,
      priority: chain.priority,
      expiresAtMs: Math.min(task.issuedMs + task.timeoutMs, nowMs + this.#requeueMs),
      attempt: { task: id, attempt },
    })
  }

  #refused(task: Task, nowMs: number): void {
    if (task.retryMs === undefined) this.#end(task, 'refused', nowMs)
    else {
      task.state = 'waiting'
      task.retryAtMs = nowMs + task.retryMs
    }
  }

  #confirmed(task: Task, nowMs: number): void {
    task.state = 'confirmed'
    task.retryAtMs = nowMs + (task.retryMs ?? Number.POSITIVE_INFINITY)
    if (task.hasBeenConfirmed) return
    task.hasBeenConfirmed = true
    this.#event('task.confirmed', task.id, { latencyMs: nowMs - task.issuedMs })
  }

  #terminated(task: Task, suite: Suite, nowMs: number): void {
    if (!task.hasBeenConfirmed) this.#confirmed(task, nowMs)
    const { deadlineMs, requiredSuite } = task.chain
    const isFull = SUITE_RANK[suite] >= SUITE_RANK[requiredSuite]
    this.#end(task, nowMs - task.issuedMs > deadlineMs ? 'late' : isFull ? 'done' : 'suite', nowMs, suite)
  }

  #end(task: Task, reason: TaskReason, nowMs: number, suite?: Suite): void {
    this.#tasks.delete(task.id)
    const ok = reason === 'done'
    if (ok) this.#ok += 1
    else if (!task.isLate) this.#late += 1
    const { taskType, id: chain } = task.chain
    const delivered = ok || reason === 'suite'
    const latencyMs = nowMs - task.issuedMs
    this.#event('task.done', task.id, { taskType, chain, ok, delivered, latencyMs, suite: suite ?? null, reason })
  }

  #event(name: string, task: string, facts: Omit<LabEvent, 'name' | 'task'>): void {
    this.#effects.push({ kind: 'event', event: { name, task, ...facts } })
  }
}

function pointOf({ ca, ioa }: Task): string {
  return `${ca} ${ioa}`
}

/** Time in the link's queue: for link, window and turn; and for nothing but key. */
type Waits = { readonly queueMs: number; readonly keyWaitMs: number }

/** An answer repeats the command's information object, so the answer to a replaced command is told from ours. */
function isAnswerTo(task: Task, asdu: Uint8Array, view: AsduView): boolean {
  if (view.ca !== task.ca || view.ioa !== task.ioa || view.typeId !== task.typeId) return false
  if (asdu.length !== task.asdu.length) return false
  for (let i = ASDU_HEADER_BYTES; i < asdu.length; i++) if (asdu[i] !== task.asdu[i]) return false
  return true
}
