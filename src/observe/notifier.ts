import type { AlertNote } from './alerts.ts'

/** Takes one message to where people read it. Rejects when it did not get there. */
export type Deliver = (subject: string, text: string) => Promise<void>

export type NotifierOptions = {
  /** In the subject: whose alert it is. */
  readonly lab: string
  readonly deliver: Deliver
  /** Messages within a minute at most; what comes on top waits and goes out as one. */
  readonly perMinute?: number
  readonly firstRetryMs?: number
  readonly maxRetryMs?: number
  readonly onProblem?: (problem: string | undefined) => void
}

/** Notes that wait while the receiver is away; beyond them the oldest go, and their number is told. */
const MAX_WAITING = 500
const MINUTE_MS = 60_000

/**
 * Sends alerts in order, each until it has got there, with back-off; a storm of them is gathered into few messages. Its caller
 * never waits and nothing throws. A message whose answer was lost may come twice; it has an id, so it can be told.
 */
export class Notifier {
  readonly #options: Required<Omit<NotifierOptions, 'onProblem'>>
  readonly #onProblem: (problem: string | undefined) => void
  #waiting: AlertNote[] = []
  readonly #sentAtMs: number[] = []
  #dropped = 0
  #busy: Promise<void> | undefined
  #closing = false
  #wakeUp: () => void = () => {}
  #problem: string | undefined

  constructor({
    onProblem = () => {},
    perMinute = 10,
    firstRetryMs = 1_000,
    maxRetryMs = 60_000,
    ...rest
  }: NotifierOptions) {
    this.#options = { ...rest, perMinute, firstRetryMs, maxRetryMs }
    this.#onProblem = onProblem
  }

  send(notes: readonly AlertNote[]): void {
    if (notes.length === 0 || this.#closing) return
    this.#waiting.push(...notes)
    const surplus = this.#waiting.length - MAX_WAITING
    if (surplus > 0) {
      this.#waiting.splice(0, surplus)
      this.#dropped += surplus
    }
    this.#busy ??= this.#work().finally(() => {
      this.#busy = undefined
    })
  }

  /** What waits gets one more try, without heed to the rate. */
  async close(): Promise<void> {
    this.#closing = true
    this.#wakeUp()
    await this.#busy
  }

  async #work(): Promise<void> {
    let retryMs = this.#options.firstRetryMs
    while (this.#waiting.length > 0) {
      await this.#pause(this.#untilAllowedMs())
      const batch = this.#waiting.splice(0)
      try {
        await this.#options.deliver(...this.#messageOf(batch))
        this.#sentAtMs.push(performance.now())
        this.#dropped = 0
        retryMs = this.#options.firstRetryMs
        this.#tell(undefined)
      } catch (error) {
        this.#tell(error instanceof Error ? error.message : String(error))
        if (this.#closing) return
        this.#waiting.unshift(...batch)
        await this.#pause(retryMs)
        retryMs = Math.min(this.#options.maxRetryMs, 2 * retryMs)
      }
    }
  }

  #untilAllowedMs(): number {
    const nowMs = performance.now()
    while ((this.#sentAtMs[0] ?? nowMs) <= nowMs - MINUTE_MS) this.#sentAtMs.shift()
    const oldest = this.#sentAtMs[this.#sentAtMs.length - this.#options.perMinute]
    return oldest === undefined ? 0 : oldest + MINUTE_MS - nowMs
  }

  #messageOf(batch: readonly AlertNote[]): [subject: string, text: string] {
    const lines = batch.map(({ kind, text, tMs }) => `${kind} at ${(tMs / 1000).toFixed(1)} s: ${text}`)
    if (this.#dropped > 0) lines.unshift(`${this.#dropped} earlier alerts were dropped`)
    const [first] = batch
    const what = batch.length === 1 && first ? `${first.id} ${first.kind}` : `${batch.length} alerts`
    return [`Q104 ${this.#options.lab}: ${what}`, lines.join('\n')]
  }

  #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#closing) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      timer.unref()
      this.#wakeUp = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#onProblem(problem)
  }
}
