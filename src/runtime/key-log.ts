import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import { KEY_LOG_HEADER } from '../protocol/index.ts'
import type { KeyLogRecord } from './contract.ts'

/** What is said in the first lines when a key log is kept. */
export function keyLogWarning(file: string): string {
  return `WARNING: a key log is kept: ${file} has every key of this run in the clear`
}

/**
 * `keys.log`: the key that sealed and opened the messages of a run, for Wireshark, `q104 decode` and `q104 audit`. Mode
 * 0600, one record a line, written at once, so that what was used is in it whatever becomes of the process.
 */
export class KeyLogFile {
  readonly #descriptor: number

  /** Makes the file, or goes on with one. Throws for a file that others may read. */
  constructor(path: string) {
    this.#descriptor = openSync(path, 'a', 0o600)
    const { mode, size } = fstatSync(this.#descriptor)
    if ((mode & 0o077) !== 0) {
      closeSync(this.#descriptor)
      throw new Error(`key log ${path}: others may read it (mode ${(mode & 0o777).toString(8)}, not 600)`)
    }
    if (size === 0) writeSync(this.#descriptor, `${KEY_LOG_HEADER}\n`)
  }

  write(record: KeyLogRecord): void {
    writeSync(this.#descriptor, `${record.line()}\n`)
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}
