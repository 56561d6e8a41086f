import { once } from 'node:events'
import type { Writable } from 'node:stream'

const CHUNK_CHARS = 65_536

/** Writes many lines in large pieces, as fast as the reader takes them. */
export class LineWriter {
  readonly #out: Writable
  #held = ''
  #isBroken = false

  constructor(out: Writable) {
    this.#out = out
    // A reader that has seen enough (`head`) closes its end.
    out.once('error', () => {
      this.#isBroken = true
    })
  }

  /** False when nobody reads any more. */
  async write(lines: readonly string[]): Promise<boolean> {
    for (const line of lines) this.#held += `${line}\n`
    if (this.#held.length >= CHUNK_CHARS) await this.end()
    return !this.#isBroken
  }

  /** Writes what is left; the stream stays open. */
  async end(): Promise<void> {
    const text = this.#held
    this.#held = ''
    if (this.#isBroken || text === '' || this.#out.write(text)) return
    await once(this.#out, 'drain').catch(() => {})
  }
}
