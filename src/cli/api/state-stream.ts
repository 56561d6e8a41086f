/** The state as server-sent events: at most ten a second, changed parts only, and a slow reader gets the newest, not all. */
import type { Writable } from 'node:stream'
import type { LabState } from '../../dashboard/index.ts'

const PERIOD_MS = 100
/** Parts longer than this are sent once a second at most. */
const LONG_CHARS = 65_536
const LONG_PERIOD_MS = 1_000
/** A comment this often keeps a quiet connection known to be alive. */
const ALIVE_MS = 10_000
const MAX_READERS = 32

type Part = { text: string; version: number; madeMs: number }
type Reader = {
  readonly response: Writable
  /** Version of each part that it was sent last. */
  readonly sent: Map<string, number>
  isBusy: boolean
  writtenMs: number
}

export class StateStream {
  readonly #state: () => LabState
  readonly #nowMs: () => number
  readonly #parts = new Map<string, Part>()
  readonly #readers = new Set<Reader>()
  readonly #timer: NodeJS.Timeout

  constructor(state: () => LabState, nowMs: () => number = () => performance.now()) {
    this.#state = state
    this.#nowMs = nowMs
    this.#timer = setInterval(() => this.tick(), PERIOD_MS)
    this.#timer.unref()
  }

  get readers(): number {
    return this.#readers.size
  }

  /** Takes a response over, or says that there are too many readers. */
  add(response: Writable): boolean {
    if (this.#readers.size >= MAX_READERS) return false
    const reader: Reader = { response, sent: new Map(), isBusy: false, writtenMs: this.#nowMs() }
    response.on('drain', () => {
      reader.isBusy = false
    })
    response.on('close', () => this.#readers.delete(reader))
    response.on('error', () => this.#readers.delete(reader))
    this.#readers.add(reader)
    this.#refresh()
    this.#send(reader)
    return true
  }

  /** Sends what has changed since, and ends all connections. */
  close(): void {
    clearInterval(this.#timer)
    this.#refresh()
    for (const reader of this.#readers) {
      this.#send(reader)
      reader.response.end()
    }
    this.#readers.clear()
  }

  /** Sends every reader that is ready what has changed since it was sent something. */
  tick(): void {
    if (this.#readers.size === 0) return
    this.#refresh()
    for (const reader of this.#readers) this.#send(reader)
  }

  #refresh(): void {
    const nowMs = this.#nowMs()
    for (const [name, value] of Object.entries(this.#state())) {
      const part = this.#parts.get(name)
      if (part !== undefined && part.text.length > LONG_CHARS && nowMs - part.madeMs < LONG_PERIOD_MS) continue
      const text = JSON.stringify(value)
      if (part === undefined) this.#parts.set(name, { text, version: 1, madeMs: nowMs })
      else if (part.text !== text) Object.assign(part, { text, version: part.version + 1, madeMs: nowMs })
    }
  }

  /** While a reader has not taken what it was sent, it is sent nothing; later it gets the parts as they are then. */
  #send(reader: Reader): void {
    if (reader.isBusy) return
    const changed = [...this.#parts].filter(([name, { version }]) => reader.sent.get(name) !== version)
    const nowMs = this.#nowMs()
    if (changed.length === 0) {
      if (nowMs - reader.writtenMs > ALIVE_MS) this.#write(reader, ':\n\n')
      return
    }
    for (const [name, { version }] of changed) reader.sent.set(name, version)
    const body = changed.map(([name, { text }]) => `"${name}":${text}`).join(',')
    this.#write(reader, `event: state\ndata: {${body}}\n\n`)
  }

  #write(reader: Reader, text: string): void {
    reader.writtenMs = this.#nowMs()
    reader.isBusy = !reader.response.write(text)
  }
}
