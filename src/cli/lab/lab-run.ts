import { setTimeout as sleep } from 'node:timers/promises'
import type { LinkState } from '../../runtime/contract.ts'
import { type LabClock, labClock, type WakeLag } from '../../runtime/index.ts'
import type { FromProcess, MetricsBody, ProcessSpec, ToProcess } from './ipc.ts'
import { type Ending, LabProcess } from './lab-process.ts'
import { memoryOfMb } from './memory.ts'

/** A process to start: `spec` is sent to it as its `init`; programs that are not ours have a line that says they are ready. */
export type Launch = {
  readonly id: string
  readonly command: readonly string[]
  readonly spec?: ProcessSpec
  readonly readyLine?: RegExp
}

/** What the lab looked like at one moment, for the terminal. */
export type Progress = {
  readonly tS: number
  /** Last status of each process that gives one. */
  readonly statusOf: ReadonlyMap<string, Readonly<Record<string, unknown>>>
  readonly linksDown: readonly number[]
}

export type LabRunOptions = {
  readonly launches: readonly Launch[]
  readonly durationS: number
  /** Ends the run at once, in order (Ctrl-C). */
  readonly interrupted: AbortSignal
  readonly onProgress: (progress: Progress) => void
  readonly onWaiting: (waiting: readonly string[]) => void
  readonly onLinkState: (state: LinkState) => void
  /** How to start a process again that ended unasked; absent or undefined: its end is the end of the run. */
  readonly restart?: (id: string) => Launch | undefined
  /** A process that had ended is ready again and has been told to go. */
  readonly onRestarted?: (id: string) => void
  /** The run begins: lab time from now on. */
  readonly onGo?: (nowMs: LabClock) => void
  readonly onDrain?: () => void
  /** A process told how it is. */
  readonly onStatus?: (id: string, status: Readonly<Record<string, unknown>>) => void
  /** A process answered a control. */
  readonly onControlled?: (request: number, problem: string | undefined) => void
  /** A process ended unasked. */
  readonly onEnded?: (ending: Ending) => void
  readonly onReady?: (pids: ReadonlyMap<string, number>, startupS: number) => void
}

/** How the run went, as far as the processes are concerned. */
export type LabOutcome = {
  readonly failures: readonly Ending[]
  /** Processes that ended unasked and were started again, in order. */
  readonly restarts: readonly Ending[]
  readonly interrupted: boolean
  /** Ids of processes that did not close their books in time. */
  readonly notDrained: readonly string[]
  readonly startupS: number
  readonly processes: number
  /** Largest resident memory of a process of ours, MB, and whose. */
  readonly largestMb: { readonly id: string; readonly mb: number }
  readonly lagOf: ReadonlyMap<string, WakeLag>
  readonly countersOf: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly wallAtStartMs: number
}

const READY_TIMEOUT_MS = 60_000
const DRAIN_TIMEOUT_MS = 8_000
/** Books that changed after a node had drained are reported again within this time. */
const SETTLE_MS = 1_200
const STOP_TIMEOUT_MS = 4_000
const METRICS_TIMEOUT_MS = 900
const PROGRESS_PERIOD_MS = 1_000

/** Starts the processes of a lab, runs it from start to end, and stops all of them whatever happens. */
export class LabRun {
  readonly #options: LabRunOptions
  readonly #processes = new Map<string, LabProcess>()
  readonly #ready = new Set<string>()
  /** Told to drain; a process that is started again meanwhile is told again. */
  readonly #draining = new Set<string>()
  readonly #drained = new Set<string>()
  readonly #failures: Ending[] = []
  readonly #restarts: Ending[] = []
  /** Set when the run has begun: what a process that is started again is told. */
  #go: Extract<ToProcess, { kind: 'go' }> | undefined
  readonly #statusOf = new Map<string, Readonly<Record<string, unknown>>>()
  readonly #waitingFor = new Map<string, string>()
  readonly #linksDown = new Set<number>()
  readonly #lagOf = new Map<string, WakeLag>()
  readonly #countersOf = new Map<string, Readonly<Record<string, number>>>()
  /** Aborted by the first process that ends unasked, and by an interruption. */
  readonly #over = new AbortController()
  #largestMb = { id: '', mb: 0 }
  readonly #asked = new Map<number, (body: MetricsBody) => void>()
  #nextAsk = 0
  /** Lab time; 0 until the run begins. */
  #nowMs: () => number = () => 0

  constructor(options: LabRunOptions) {
    this.#options = options
    options.interrupted.addEventListener('abort', () => this.#over.abort(), { once: true })
    if (options.interrupted.aborted) this.#over.abort()
  }

  async run(): Promise<LabOutcome> {
    const { launches, durationS, interrupted } = this.#options
    const beganMs = performance.now()
    let startupS = 0
    let wallAtStartMs = 0
    try {
      for (const launch of launches) this.#start(launch)
      await this.#until(() => this.#ready.size === launches.length, READY_TIMEOUT_MS)
      startupS = (performance.now() - beganMs) / 1000
      if (!this.#over.signal.aborted && this.#ready.size < launches.length) this.#blameTheSlow()
      if (!this.#over.signal.aborted) {
        const epochNs = process.hrtime.bigint()
        wallAtStartMs = Date.now()
        this.#go = { kind: 'go', epochNs: String(epochNs), wallMs: wallAtStartMs }
        this.#tellAll(this.#go)
        this.#options.onGo?.(labClock(epochNs))
        this.#options.onReady?.(this.#pids(), startupS)
        this.#nowMs = labClock(epochNs)
        await this.#watch(durationS)
      }
      this.#options.onDrain?.()
      if (!this.#over.signal.aborted) await this.#drain()
    } finally {
      await this.#stopAll()
    }
    const speaking = launches.filter(({ spec }) => spec !== undefined)
    return {
      failures: this.#failures,
      restarts: this.#restarts,
      interrupted: interrupted.aborted,
      notDrained: speaking.map(({ id }) => id).filter((id) => !this.#drained.has(id)),
      startupS,
      processes: launches.length,
      largestMb: this.#largestMb,
      lagOf: this.#lagOf,
      countersOf: this.#countersOf,
      wallAtStartMs,
    }
  }

  /** Hands a message to one process. */
  tell(id: string, message: Parameters<LabProcess['send']>[0]): void {
    this.#processes.get(id)?.send(message)
  }

  /** What the lab looks like now. */
  progress(): Progress {
    return { tS: this.#nowMs() / 1000, statusOf: this.#statusOf, linksDown: [...this.#linksDown] }
  }

  /** Metrics of a process; undefined if there is none of that name, or it does not answer. */
  async metricsOf(id: string, form: 'text' | 'families'): Promise<MetricsBody | undefined> {
    const process = this.#processes.get(id)
    if (process === undefined || process.hasEnded || !this.#ready.has(id)) return undefined
    const ask = this.#nextAsk++
    const answered = new Promise<MetricsBody>((resolve) => this.#asked.set(ask, resolve))
    process.send({ kind: 'metrics', ask, form })
    const answer = await Promise.race([answered, sleep(METRICS_TIMEOUT_MS, undefined, { ref: false })])
    this.#asked.delete(ask)
    return answer
  }

  #start(launch: Launch): void {
    const process = new LabProcess({
      id: launch.id,
      command: launch.command,
      ...(launch.readyLine && { readyLine: launch.readyLine }),
      onMessage: (message, from) => this.#take(message, from.id),
      onEnd: (ending, asked) => {
        if (!asked) this.#onUnaskedEnd(ending)
      },
    })
    this.#processes.set(launch.id, process)
    if (launch.spec !== undefined) process.send({ kind: 'init', spec: launch.spec })
  }

  #onUnaskedEnd(ending: Ending): void {
    this.#options.onEnded?.(ending)
    const again = this.#go === undefined || this.#over.signal.aborted ? undefined : this.#options.restart?.(ending.id)
    if (again === undefined) {
      this.#failures.push(ending)
      this.#over.abort()
      return
    }
    this.#restarts.push(ending)
    this.#start(again)
  }

  #onReadyAgain(id: string): void {
    if (this.#go === undefined) return
    // Lab time goes on; the wall clock of the start belongs to lab time 0.
    this.tell(id, this.#go)
    if (this.#draining.has(id)) this.tell(id, { kind: 'drain' })
    this.#options.onRestarted?.(id)
  }

  #take(message: FromProcess, id: string): void {
    switch (message.kind) {
      case 'ready':
        this.#waitingFor.delete(id)
        if (this.#ready.has(id)) this.#onReadyAgain(id)
        this.#ready.add(id)
        return
      case 'waiting':
        this.#waitingFor.set(id, message.for)
        return
      case 'status':
        this.#statusOf.set(id, message.status)
        this.#options.onStatus?.(id, message.status)
        return
      case 'controlled':
        this.#options.onControlled?.(message.request, message.problem)
        return
      case 'metrics':
        this.#asked.get(message.ask)?.(message.body)
        return
      case 'drained':
        this.#drained.add(id)
        return
      case 'stopped':
        this.#lagOf.set(id, message.lag)
        this.#countersOf.set(id, message.counters)
        return
      case 'linkState':
        if (message.state.up) this.#linksDown.delete(message.state.link)
        else this.#linksDown.add(message.state.link)
        this.#options.onLinkState(message.state)
    }
  }

  async #watch(durationS: number): Promise<void> {
    const untilMs = durationS * 1000
    const nowMs = this.#nowMs
    for (let tickMs = 0; nowMs() < untilMs && !this.#over.signal.aborted; tickMs += PROGRESS_PERIOD_MS) {
      await this.#pause(Math.min(tickMs + PROGRESS_PERIOD_MS, untilMs) - nowMs())
      this.#noteMemory()
      this.#options.onProgress(this.progress())
    }
  }

  /** The grid's figures end here, nodes finish what is under way; the key server, which keeps the books of all, is last. */
  async #drain(): Promise<void> {
    const speaking = this.#options.launches.flatMap(({ id, spec }) =>
      spec === undefined ? [] : [{ id, role: spec.role }],
    )
    const [last, first] = [true, false].map((isLast) =>
      speaking.filter(({ role }) => (role === 'keyserver') === isLast).map(({ id }) => id),
    )
    for (const [ids = [], settleMs] of [[first, SETTLE_MS] as const, [last, 0] as const]) {
      for (const id of ids) {
        this.#draining.add(id)
        this.tell(id, { kind: 'drain' })
      }
      await this.#until(() => ids.every((id) => this.#drained.has(id)), DRAIN_TIMEOUT_MS)
      await this.#pause(settleMs)
    }
  }

  async #stopAll(): Promise<void> {
    const all = [...this.#processes.values()]
    for (const process of all) process.stop()
    const deadlineMs = performance.now() + STOP_TIMEOUT_MS
    while (all.some((process) => !process.hasEnded) && performance.now() < deadlineMs) await sleep(20)
    for (const process of all) process.terminate('SIGKILL')
    while (all.some((process) => !process.hasEnded)) await sleep(10)
  }

  #blameTheSlow(): void {
    for (const { id } of this.#options.launches) {
      if (this.#ready.has(id)) continue
      const peer = this.#waitingFor.get(id)
      const how = `was not ready after ${READY_TIMEOUT_MS / 1000} s${peer === undefined ? '' : `, waits for ${peer}`}`
      this.#failures.push({ id, how, lastLines: this.#processes.get(id)?.lastLines ?? [] })
    }
    this.#over.abort()
  }

  #tellAll(message: Parameters<LabProcess['send']>[0]): void {
    for (const process of this.#processes.values()) process.send(message)
  }

  #pids(): ReadonlyMap<string, number> {
    return new Map([...this.#processes].flatMap(([id, { pid }]) => (pid === undefined ? [] : [[id, pid]])))
  }

  #noteMemory(): void {
    for (const [id, pid] of this.#pids()) {
      const mb = memoryOfMb(pid)
      if (mb !== undefined && mb > this.#largestMb.mb) this.#largestMb = { id, mb }
    }
  }

  /** Waits until the condition holds, the time is over, or the run is. */
  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    let told = performance.now()
    while (!condition() && !this.#over.signal.aborted && performance.now() < deadlineMs) {
      await sleep(20)
      if (performance.now() - told < 5_000) continue
      told = performance.now()
      const waiting = [...this.#waitingFor].map(([id, peer]) => `${id} waits for ${peer}`)
      if (waiting.length > 0) this.#options.onWaiting(waiting)
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#over.signal }).catch(() => {})
  }
}
