import type { PoolRecord } from './pool-record.ts'
import type { StreamRecord, TallyRecord } from './stream.ts'

/** One step of a key server's life as it is written down. */
export type JournalEntry = PoolRecord & {
  /** Channel and slot: the stream may be assigned up to there. Written durably before any of it is handed out. */
  readonly marks: readonly (readonly [number, number])[]
}

/** What the lives of a key server so far have left. */
export type JournalPast = {
  readonly entry: JournalEntry
  /**
   * Whether the entry is the very last that was written. If not (the machine failed, not only the process), more may have
   * been assigned than it says, though never beyond the marks.
   */
  readonly exact: boolean
}

/** Where a key server keeps what must outlive its process (WIRE rules 1 and 6). It holds no key. */
export type KeyJournal = {
  /** Undefined in the first life. */
  readonly past: JournalPast | undefined
  /**
   * Writes an entry before what it tells of is made known to anybody. It survives the process; `durable`: the machine as well.
   * Throws when it cannot be written: then nothing may be handed out any more.
   */
  readonly append: (entry: JournalEntry, durable: boolean) => void
  /**
   * Writes marks before they are needed, without waiting for the disk, and calls back once they are durable; never where that
   * fails. Absent where a durable `append` does not wait either.
   */
  readonly prepare?: ((marks: JournalEntry['marks'], done: () => void) => void) | undefined
}

/** A journal that is torn in the middle, another lab's, lost, or shared with another process. */
export class JournalError extends Error {
  override readonly name = 'JournalError'
  readonly code: 'JOURNAL_BROKEN' | 'JOURNAL_FOREIGN' | 'JOURNAL_MISSING' | 'JOURNAL_SHARED'

  constructor(code: JournalError['code'], details: string) {
    super(`${code}: ${details}`)
    this.code = code
  }
}

/** First line of a journal. `boot` names the machine's uptime in which the lines after it were written. */
export type JournalHead = { readonly q104: 'key journal 1'; readonly identity: string; readonly boot: string }

/** Digits of a check sum. */
const SUM_BYTES = 8
const ALL_ONES = 0xffffffff
const NOTHING: TallyRecord = { generatedSlots: 0, usedSlots: 0, expiredSlots: 0, discardedSlots: 0 }

/** All entries of a journal in one: the latest word on everything. */
export class JournalState {
  #latest: Pick<PoolRecord, 'pool' | 'local' | 'relay'> = { pool: NOTHING, local: NOTHING, relay: NOTHING }
  readonly #streams = new Map<number, StreamRecord>()
  readonly #relayUse = new Map<number, number>()
  readonly #outsideUse = new Map<number, number>()
  readonly #marks = new Map<number, number>()

  take({ pool, local, relay, relayUse, outsideUse = [], streams, marks }: JournalEntry): void {
    this.#latest = { pool, local, relay }
    for (const stream of streams) this.#streams.set(stream.channel, stream)
    for (const [link, slots] of relayUse) this.#relayUse.set(link, slots)
    for (const [link, slots] of outsideUse) this.#outsideUse.set(link, slots)
    for (const [channel, slot] of marks) this.#marks.set(channel, Math.max(slot, this.#marks.get(channel) ?? 0))
  }

  /** An entry that tells of nothing new but marks. */
  withMarks(marks: JournalEntry['marks']): JournalEntry {
    return { ...this.#latest, streams: [], relayUse: [], marks }
  }

  entry(): JournalEntry {
    const [streams, relayUse, marks] = [[...this.#streams.values()], [...this.#relayUse], [...this.#marks]]
    const outsideUse = [...this.#outsideUse]
    return { ...this.#latest, streams, relayUse, marks, ...(outsideUse.length > 0 && { outsideUse }) }
  }
}

/** A line of a journal: check sum over line number and JSON, a space, the JSON, a line feed. */
export function journalLine(number: number, value: JournalHead | JournalEntry): Buffer {
  const line = Buffer.from(`${' '.repeat(SUM_BYTES)} ${JSON.stringify(value)}\n`)
  const ofNumber = sumOn(ALL_ONES, Buffer.from(`${number} `), 0)
  line.write(hex(sumOn(ofNumber, line.subarray(0, -1), SUM_BYTES + 1)), 'latin1')
  return line
}

/**
 * Reads a journal. A torn last line is left out, and told of: it is what a failing machine leaves, and was never acted upon.
 * Everything else that is not as it was written is refused with a JournalError, never guessed at.
 */
export function readJournal(
  text: string,
  name: string,
): { readonly head: JournalHead; readonly state: JournalState; readonly torn: boolean } {
  const lines = text.split('\n')
  const torn = lines.pop() !== ''
  const values = lines.map((line, number) => parseLine(line, number))
  // A last line may also have its line feed, but not all that stands before it, on a disk that writes out of order.
  const tornInside = values.length > 1 && values.at(-1) === undefined
  const good = tornInside ? values.slice(0, -1) : values
  const bad = good.indexOf(undefined)
  if (bad >= 0) throw new JournalError('JOURNAL_BROKEN', `line ${bad + 1} of ${name} is not as it was written`)
  const [head, ...entries] = good
  if (!isHead(head)) throw new JournalError('JOURNAL_BROKEN', `${name} does not begin as a key journal`)
  const state = new JournalState()
  for (const [index, entry] of entries.entries()) {
    if (!isEntry(entry)) throw new JournalError('JOURNAL_BROKEN', `line ${index + 2} of ${name} is no entry`)
    state.take(entry)
  }
  return { head, state, torn: torn || tornInside }
}

function parseLine(line: string, number: number): unknown {
  const json = line.slice(SUM_BYTES + 1)
  const sum = hex(sumOn(ALL_ONES, Buffer.from(`${number} ${json}`), 0))
  if (line[SUM_BYTES] !== ' ' || line.slice(0, SUM_BYTES) !== sum) return undefined
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

function isHead(value: unknown): value is JournalHead {
  const { q104, identity, boot } = (value ?? {}) as Partial<Record<keyof JournalHead, unknown>>
  return q104 === 'key journal 1' && typeof identity === 'string' && typeof boot === 'string'
}

function isEntry(value: unknown): value is JournalEntry {
  const entry = (value ?? {}) as Partial<Record<keyof JournalEntry, unknown>>
  const tallies = [entry.pool, entry.local, entry.relay] as (Partial<TallyRecord> | undefined)[]
  const lists = [entry.streams, entry.relayUse, entry.marks]
  return tallies.every((tally) => Number.isSafeInteger(tally?.generatedSlots)) && lists.every(Array.isArray)
}

/** Goes on with a CRC-32 as in IEEE 802.3 over octets from a place on; it begins with all ones. */
function sumOn(begun: number, octets: Uint8Array, from: number): number {
  let crc = begun
  for (let at = from; at < octets.length; at++) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (octets[at] ?? 0)) & 0xff] ?? 0)
  return crc
}

function hex(crc: number): string {
  return ((crc ^ ALL_ONES) >>> 0).toString(16).padStart(SUM_BYTES, '0')
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})
