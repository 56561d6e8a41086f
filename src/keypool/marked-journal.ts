import type { JournalEntry, KeyJournal } from './journal.ts'
import type { PoolRecord } from './pool-record.ts'
import type { StreamRecord } from './stream.ts'

/**
 * Slots for which a stream is marked in the journal ahead of use, because a durable write takes milliseconds: so many, or more
 * where they last for less than ten seconds.
 */
const MIN_AHEAD_SLOTS = 1024
const MAX_AHEAD_SLOTS = 65_536
const MARK_LIFE_MS = 10_000

/** Up to where the journal allows a stream to be assigned, since when, and by how much that was ahead. */
type Mark = { readonly slot: number; readonly atMs: number; readonly aheadSlots: number }
type Moved = readonly (readonly [channel: number, mark: Mark])[]

/** A key server's journal, in which no stream is assigned beyond a durable mark. */
export class MarkedJournal {
  readonly #journal: KeyJournal
  readonly #assigned: () => Iterable<readonly [channel: number, assignedSlots: number]>
  readonly #marks = new Map<number, Mark>()
  #isPreparing = false

  /** `assigned`: the length of every stream. */
  constructor(journal: KeyJournal, assigned: () => Iterable<readonly [channel: number, assignedSlots: number]>) {
    this.#journal = journal
    this.#assigned = assigned
  }

  /** Takes up a mark of an earlier life. */
  restore(channel: number, slot: number): void {
    this.#marks.set(channel, { slot, atMs: 0, aheadSlots: MIN_AHEAD_SLOTS })
  }

  /** Writes down what has changed; when it returns, it may be made known. Throws when it cannot be written. */
  write(changes: PoolRecord, nowMs: number): void {
    const isBeyond = changes.streams.some(({ channel, assignedSlots }) => assignedSlots > this.#markOf(channel).slot)
    const moved = isBeyond ? this.#moved(nowMs) : []
    this.#journal.append({ ...changes, marks: slotsOf(moved) }, isBeyond)
    for (const [channel, mark] of moved) this.#marks.set(channel, mark)
    if (!this.#isPreparing && changes.streams.some((stream) => this.#isLow(stream))) this.#prepare(nowMs)
  }

  /** So that nobody waits for the disk when a mark is reached. */
  #prepare(nowMs: number): void {
    if (this.#journal.prepare === undefined) return
    const moved = this.#moved(nowMs)
    this.#isPreparing = true
    this.#journal.prepare(slotsOf(moved), () => {
      this.#isPreparing = false
      for (const [channel, mark] of moved) if (mark.slot > this.#markOf(channel).slot) this.#marks.set(channel, mark)
    })
  }

  #isLow({ channel, assignedSlots }: StreamRecord): boolean {
    const { slot, aheadSlots } = this.#markOf(channel)
    return slot - assignedSlots < aheadSlots / 4
  }

  /** One durable write serves all streams that will soon need one. */
  #moved(nowMs: number): Moved {
    const moved: (readonly [number, Mark])[] = []
    for (const [channel, assignedSlots] of this.#assigned()) {
      const mark = this.#markOf(channel)
      if (assignedSlots === 0 || mark.slot - assignedSlots > mark.aheadSlots / 2) continue
      const factor = nowMs - mark.atMs < MARK_LIFE_MS ? 2 : 0.5
      const aheadSlots = Math.min(MAX_AHEAD_SLOTS, Math.max(MIN_AHEAD_SLOTS, mark.aheadSlots * factor))
      moved.push([channel, { slot: assignedSlots + aheadSlots, atMs: nowMs, aheadSlots }])
    }
    return moved
  }

  #markOf(channel: number): Mark {
    return this.#marks.get(channel) ?? { slot: 0, atMs: Number.NEGATIVE_INFINITY, aheadSlots: MIN_AHEAD_SLOTS }
  }
}

function slotsOf(moved: Moved): JournalEntry['marks'] {
  return moved.map(([channel, { slot }]) => [channel, slot] as const)
}
