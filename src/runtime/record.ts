import { createWriteStream, existsSync, type WriteStream } from 'node:fs'
import type { LabEvent } from './contract.ts'

/** One line of `events.jsonl`. */
export type RecordedEvent = LabEvent & { readonly tMs: number; readonly node: string }

/**
 * Appends a node's events to a JSON-lines file (mode 0600). Buffered by the stream; `close` resolves when all is written. What
 * an earlier process of the node left stays; if it was killed in the middle of a line, that line is ended.
 */
export class Recorder {
  readonly #node: string
  readonly #stream: WriteStream

  constructor(path: string, node: string) {
    this.#node = node
    const isNew = !existsSync(path)
    this.#stream = createWriteStream(path, { flags: 'a', mode: 0o600 })
    if (!isNew) this.#stream.write('\n')
  }

  record(event: LabEvent, tMs: number): void {
    this.#stream.write(`${JSON.stringify({ tMs: Math.round(tMs * 1000) / 1000, node: this.#node, ...event })}\n`)
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#stream.end(resolve))
  }
}

/** Reads a JSON-lines text; torn lines (their writer was killed) are left out. */
export function parseRecords(text: string): RecordedEvent[] {
  return text.split('\n').flatMap((line) => {
    if (!line.endsWith('}')) return []
    const record = JSON.parse(line) as RecordedEvent
    return [record]
  })
}
