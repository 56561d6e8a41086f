import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type ChannelMark, type LedgerContent, LedgerError, readLedger } from '../../protocol/index.ts'
import { type PcapngContent, PcapngError, parseRecords, type RecordedEvent, readPcapng } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'
import { KeyBook } from './key-book.ts'

/** What a run has left, read. */
export type RunEvidence = {
  readonly capture: PcapngContent
  readonly ledgers: readonly (LedgerContent & { readonly file: string })[]
  readonly keys: KeyBook | undefined
  readonly events: readonly RecordedEvent[]
}

/** A run folder, or a capture alone. CliError for what is missing or cannot be read, naming the file. */
export function readRun(path: string): RunEvidence {
  if (!existsSync(path)) throw new CliError(`${path}: there is no such run`)
  if (!statSync(path).isDirectory()) return { capture: readCapture(path), ledgers: [], keys: undefined, events: [] }
  const keysFile = join(path, 'keys.log')
  const eventsFile = join(path, 'events.jsonl')
  return {
    capture: readCapture(join(path, 'capture.pcapng')),
    ledgers: ledgerFiles(path).map((file) => ({ file, ...readLedgerFile(file) })),
    keys: existsSync(keysFile) ? new KeyBook(readFileSync(keysFile, 'utf8')) : undefined,
    events: existsSync(eventsFile) ? readEvents(eventsFile) : [],
  }
}

/** The sender's mark of a channel in the ledgers of a run. */
export function senderMark({ ledgers }: RunEvidence, channel: number): ChannelMark | undefined {
  return ledgers.flatMap(({ marks }) => marks).find((mark) => mark.channel === channel && mark.side === 'sender')
}

/** A sender's books of one life of its node: it used `firstSlot`..`usedSlots`, and discarded so many of them. */
export type ClosedBooks = {
  readonly firstSlot: number
  readonly usedSlots: number
  readonly discardedSlots: number
}

/** The sender's books of a channel in the last life of its node, if that has ended in order: then they are its last word. */
export function closedBooks({ events }: RunEvidence, channel: number): ClosedBooks | undefined {
  const last = events.findLast((event) => {
    return event.name === 'books' && event['channel'] === channel && event['side'] === 'sender'
  })
  const ofNode = events.filter(({ node }) => node === last?.node)
  const lastLife = ofNode.slice(ofNode.findLastIndex(({ name }) => name === 'ledger.resumed') + 1)
  const isClosed = lastLife.some(({ name, ...facts }) => name === 'counters' && facts['link'] === channel >> 1)
  // The books of an earlier life were not closed: it may have used more.
  if (last === undefined || !isClosed || !lastLife.includes(last)) return undefined
  const fact = (name: string): number => Number(last[name] ?? 0)
  return { firstSlot: fact('firstSlot'), usedSlots: fact('usedSlots'), discardedSlots: fact('discardedSlots') }
}

/** How far the key server has assigned a channel's stream, if it has closed its books. */
export function assignedSlots({ events }: RunEvidence, channel: number): number | undefined {
  const last = events.findLast(({ name, ...facts }) => name === 'stream' && facts['channel'] === channel)
  return last && Number(last['assignedSlots'])
}

function ledgerFiles(run: string): readonly string[] {
  const folders = [run, join(run, 'ledgers')].filter((folder) => existsSync(folder))
  return folders.flatMap((folder) => {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.ledger'))
      .map((name) => join(folder, name))
  })
}

function readLedgerFile(file: string): LedgerContent {
  try {
    return readLedger(readFileSync(file))
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    throw new CliError(`${file}: ${error.fault}: ${error.message}`)
  }
}

function readCapture(file: string): PcapngContent {
  if (!existsSync(file)) throw new CliError(`${file}: there is no capture, so there is nothing to audit`)
  try {
    return readPcapng(readFileSync(file))
  } catch (error) {
    if (!(error instanceof PcapngError)) throw error
    throw new CliError(`${file}: not a pcapng capture: ${error.message}`)
  }
}

function readEvents(file: string): readonly RecordedEvent[] {
  try {
    return parseRecords(readFileSync(file, 'utf8'))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new CliError(`${basename(file)}: not JSON lines: ${error.message}`)
  }
}
