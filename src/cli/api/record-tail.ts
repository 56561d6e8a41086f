/** Reads what the processes of a running lab have written into their parts of the record since the last time. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { LabRecord } from '../../dashboard/index.ts'

/** Most that is read of one file at a time; the rest follows. */
const MAX_READ_BYTES = 1 << 20
/** A line longer than this is no record of ours. */
const MAX_LINE_BYTES = 1 << 20

type Part = { readonly path: string; fd: number | undefined; offset: number; rest: Buffer }

export class RecordTail {
  readonly #parts: readonly Part[]
  readonly #chunk = Buffer.allocUnsafe(MAX_READ_BYTES)

  constructor(paths: readonly string[]) {
    this.#parts = paths.map((path) => ({ path, fd: undefined, offset: 0, rest: Buffer.alloc(0) }))
  }

  /** The new records of all files, in order of their times. */
  read(): readonly LabRecord[] {
    const records = this.#parts.flatMap((part) => this.#readPart(part))
    return records.sort((a, b) => a.tMs - b.tMs)
  }

  close(): void {
    for (const part of this.#parts) if (part.fd !== undefined) closeSync(part.fd)
  }

  #readPart(part: Part): readonly LabRecord[] {
    part.fd ??= open(part.path)
    if (part.fd === undefined || fstatSync(part.fd).size <= part.offset) return []
    const sizeBytes = readSync(part.fd, this.#chunk, 0, MAX_READ_BYTES, part.offset)
    part.offset += sizeBytes
    const text = Buffer.concat([part.rest, this.#chunk.subarray(0, sizeBytes)])
    const end = text.lastIndexOf(0x0a)
    const rest = text.subarray(end + 1)
    part.rest = rest.length > MAX_LINE_BYTES ? Buffer.alloc(0) : Buffer.from(rest)
    return text
      .toString('utf8', 0, end + 1)
      .split('\n')
      .flatMap(recordOf)
  }
}

function open(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    // The process has not made it yet.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** None for the torn line of a process that was killed. */
function recordOf(line: string): readonly LabRecord[] {
  if (!line.endsWith('}')) return []
  try {
    return [JSON.parse(line) as LabRecord]
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}
