import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import {
  type JournalEntry,
  JournalError,
  type JournalHead,
  type JournalPast,
  JournalState,
  journalLine,
  type KeyJournal,
  readJournal,
} from './journal.ts'

export type JournalFileOptions = {
  readonly path: string
  /** What the journal belongs to (lab, run, links): any JSON. A journal of something else is refused. */
  readonly identity: unknown
  /** Whether there was an earlier life, so that there must be a journal; default false: whatever is there. */
  readonly mustExist?: boolean
  /** The file is written anew, short, when it has grown by so much; default 16 MiB. */
  readonly rewriteBytes?: number
  /**
   * Whether marks are synced to the disk, so that they outlive the machine; default true. A lab does not outlive its machine:
   * its key server needs what outlives the process alone, and must not wait for the disk.
   */
  readonly outlivesMachine?: boolean
}

export type JournalFile = KeyJournal & { readonly close: () => void }

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

/**
 * Opens the journal of a key server, or begins one (mode 0600). Throws a JournalError for a file that is broken, another
 * lab's, or missing though it must exist, and what the file system throws.
 */
export function openKeyJournal(options: JournalFileOptions): JournalFile {
  const { path, mustExist = false } = options
  const identity = createHash('sha256').update(JSON.stringify(options.identity)).digest('hex')
  const boot = bootId()
  mkdirSync(dirname(path), { recursive: true })
  if (!existsSync(path)) {
    if (mustExist) throw new JournalError('JOURNAL_MISSING', `${path}, of an earlier life of this key server, is gone`)
    return new FileJournal(options, { q104: 'key journal 1', identity, boot }, new JournalState(), undefined)
  }
  const { head, state, torn } = readJournal(readFileSync(path, 'utf8'), path)
  if (head.identity !== identity) throw new JournalError('JOURNAL_FOREIGN', `${path} belongs to another lab or run`)
  // A process that dies leaves whole lines; only a machine that fails may leave half a one.
  if (torn && head.boot === boot) throw new JournalError('JOURNAL_BROKEN', `${path} is cut off`)
  const past = { entry: state.entry(), exact: !torn && boot !== '' && head.boot === boot }
  return new FileJournal(options, { ...head, boot }, state, past)
}

class FileJournal implements JournalFile {
  readonly past: JournalPast | undefined
  readonly prepare: KeyJournal['prepare']
  readonly #path: string
  readonly #rewriteBytes: number
  readonly #syncs: boolean
  readonly #head: JournalHead
  readonly #state: JournalState
  #file = -1
  #lines = 0
  #sizeBytes = 0
  #inode = 0
  #rewriteAtBytes = 0

  constructor(options: JournalFileOptions, head: JournalHead, state: JournalState, past: JournalPast | undefined) {
    this.#path = options.path
    this.#rewriteBytes = options.rewriteBytes ?? 16 * 2 ** 20
    this.#syncs = options.outlivesMachine ?? true
    this.#head = head
    this.#state = state
    this.past = past
    if (this.#syncs) this.prepare = (marks, done) => this.#prepare(marks, done)
    this.#rewrite()
  }

  append(entry: JournalEntry, durable: boolean): void {
    if (durable) this.#checkAlone()
    this.#write(journalLine(this.#lines, entry))
    if (durable && this.#syncs) fsyncSync(this.#file)
    this.#state.take(entry)
    if (this.#sizeBytes >= this.#rewriteAtBytes) this.#rewrite()
  }

  #prepare(marks: JournalEntry['marks'], done: () => void): void {
    this.#checkAlone()
    const file = this.#file
    this.append(this.#state.withMarks(marks), false)
    fsync(file, (error) => {
      // A file that was written anew meanwhile has the marks, and is synced.
      if (error === null || this.#file !== file) done()
    })
  }

  #checkAlone(): void {
    const { size, ino } = statSync(this.#path)
    if (size === this.#sizeBytes && ino === this.#inode) return
    throw new JournalError('JOURNAL_SHARED', `another process writes ${this.#path}`)
  }

  close(): void {
    if (this.#file < 0) return
    fsyncSync(this.#file)
    closeSync(this.#file)
    this.#file = -1
  }

  /** A reader finds the old file or the new one, each whole, whenever the machine fails. */
  #rewrite(): void {
    const next = `${this.#path}.new`
    const old = this.#file
    if (old >= 0) this.#checkAlone()
    this.#file = openSync(next, 'w', 0o600)
    this.#inode = fstatSync(this.#file).ino
    this.#lines = 0
    this.#sizeBytes = 0
    this.#write(journalLine(0, this.#head))
    this.#write(journalLine(1, this.#state.entry()))
    this.#rewriteAtBytes = this.#sizeBytes + this.#rewriteBytes
    if (this.#syncs) fsyncSync(this.#file)
    renameSync(next, this.#path)
    if (this.#syncs) {
      const folder = openSync(dirname(this.#path), 'r')
      fsyncSync(folder)
      closeSync(folder)
    }
    if (old >= 0) closeSync(old)
  }

  #write(line: Buffer): void {
    if (writeSync(this.#file, line) !== line.length) throw new Error(`ENOSPC: ${this.#path} took half a line`)
    this.#lines++
    this.#sizeBytes += line.length
  }
}

/** The same as long as the machine runs, so that what was written to a file is in it; empty where it cannot be told. */
function bootId(): string {
  try {
    return readFileSync(BOOT_ID_FILE, 'utf8').trim()
  } catch {
    return ''
  }
}
