import { type FileHandle, link, lstat, open, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { Ledger, LedgerError, type LedgerIdentity } from '../protocol/index.ts'
import type { ChannelMark } from './contract.ts'

export type LedgerOptions = LedgerIdentity & {
  readonly file: string
  /**
   * 'new': the node's first start, there must be no file; 'existing': any later one, there must be one. There is no third
   * way: a ledger that is missing when it should be there would let key be used twice.
   */
  readonly expect: 'new' | 'existing'
}

/** A ledger file cannot be trusted; the message names the file and what is wrong, and says what can be done. */
export class LedgerFileError extends Error {
  override readonly name = 'LedgerFileError'
  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`ledger ${file}: ${problem}`, options)
  }
}

/**
 * The ledger of a node on disk (mode 0600): its channels' high-water marks, each durable (written and synced) before
 * `onDurable` hears of it. Marks that come while the disk is at work go together with the next write.
 */
export class LedgerFile {
  /** What the earlier lives of the node have left; empty at its first start. */
  readonly recovered: readonly ChannelMark[]
  readonly #ledger: Ledger
  readonly #handle: FileHandle
  #onDurable: (mark: ChannelMark) => void = () => {}
  #onFailed: (error: unknown) => void = (error) => {
    throw error
  }
  #work: Promise<void> | undefined
  #hasFailed = false

  private constructor(ledger: Ledger, handle: FileHandle) {
    this.#ledger = ledger
    this.#handle = handle
    this.recovered = ledger.marks
  }

  /**
   * Opens or makes the file. A copy that a crash has left half written is put right before this returns.
   * @throws LedgerFileError for a file that is missing, there already, torn, cut off, foreign or open to others.
   */
  static async open({ file, expect, ...identity }: LedgerOptions): Promise<LedgerFile> {
    if (expect === 'new') await create(file, Ledger.create(identity).image)
    const handle = await openFile(file)
    try {
      const bytes = await handle.readFile()
      const ledger = new LedgerFile(read(file, bytes, identity), handle)
      await ledger.#write()
      return ledger
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Set both before the first `reserve`. A ledger that cannot be written any more must stop its node. */
  onDurable(durable: (mark: ChannelMark) => void, failed: (error: unknown) => void): void {
    this.#onDurable = durable
    this.#onFailed = failed
  }

  /** Returns at once; `onDurable` gets the mark when it is on disk. */
  reserve(mark: ChannelMark): void {
    this.#ledger.reserve(mark)
    this.#begin()
  }

  /** Finishes the writes under way. */
  async close(): Promise<void> {
    await this.#work
    await this.#handle.close()
  }

  #begin(): void {
    if (this.#work !== undefined || this.#hasFailed || this.#ledger.nextWrite() === undefined) return
    this.#work = this.#write()
      .catch((error: unknown) => {
        this.#hasFailed = true
        this.#onFailed(error)
      })
      .finally(() => {
        this.#work = undefined
        this.#begin()
      })
  }

  async #write(): Promise<void> {
    for (let next = this.#ledger.nextWrite(); next !== undefined; next = this.#ledger.nextWrite()) {
      const { bytesWritten } = await this.#handle.write(next.bytes, 0, next.bytes.length, next.offset)
      if (bytesWritten !== next.bytes.length) throw new Error(`ledger: ${bytesWritten} of ${next.bytes.length} octets`)
      await this.#handle.datasync()
      for (const mark of this.#ledger.settle()) this.#onDurable(mark)
    }
  }
}

/** The file appears under its name whole and synced, or not at all, and never in place of another. */
async function create(file: string, image: Uint8Array): Promise<void> {
  const draft = draftOf(file)
  await rm(draft, { force: true })
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.write(image)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    await link(draft, file)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
    const problem = 'is there already, so the node ran before: restart it with it, or begin another run'
    throw new LedgerFileError(file, problem, { cause: error })
  } finally {
    await rm(draft, { force: true })
  }
  const folder = await open(dirname(file), 'r')
  await folder.sync()
  await folder.close()
}

async function openFile(file: string): Promise<FileHandle> {
  try {
    // A crash at the first start may have left the draft as a second name.
    await rm(draftOf(file), { force: true })
    const { mode, nlink } = await lstat(file)
    if ((mode & 0o170000) !== 0o100000 || nlink !== 1) throw new LedgerFileError(file, 'is no plain file of one name')
    if ((mode & 0o022) !== 0)
      throw new LedgerFileError(file, `others may write it (mode ${(mode & 0o777).toString(8)})`)
    return await open(file, 'r+')
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
    const problem = `is missing in ${dirname(file)}: without it nobody knows which key was used; begin another run`
    throw new LedgerFileError(basename(file), problem, { cause: error })
  }
}

function read(file: string, bytes: Uint8Array, identity: LedgerIdentity): Ledger {
  try {
    return Ledger.read(bytes, identity)
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    throw new LedgerFileError(file, `${error.fault}: ${error.message}; begin another run`, { cause: error })
  }
}

function draftOf(file: string): string {
  return `${file}.new`
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
