import type { PoolBooks } from '../runtime/contract.ts'

/** Totals of a tally as they are written down, in slots; what is reserved or in the pool is written elsewhere. */
export type TallyRecord = {
  readonly generatedSlots: number
  readonly usedSlots: number
  readonly expiredSlots: number
  readonly discardedSlots: number
}

/** A channel's stream as it is written down. Every slot before `assignedSlots` is one of used, discarded, skipped, reserved. */
export type StreamRecord = {
  readonly channel: number
  /** The stream's length. */
  readonly assignedSlots: number
  /** Slots below are spent: used, discarded or skipped. */
  readonly settledSlots: number
  readonly usedSlots: number
  readonly discardedSlots: number
  /** Discarded slots that the sender's present process has told of. */
  readonly toldDiscardedSlots: number
  /** Slot numbers that never stood for key. */
  readonly skippedSlots: number
  /** Assigned and not yet spent: runs of slots [from, to), ascending. */
  readonly reserved: readonly (readonly [number, number])[]
}

/** Books in slots; `poolSlots` is kept where the material is. */
export class Tally {
  generatedSlots = 0
  usedSlots = 0
  expiredSlots = 0
  discardedSlots = 0
  reservedSlots = 0

  books(poolSlots: number): PoolBooks {
    return {
      generatedBits: this.generatedSlots * 32,
      usedBits: this.usedSlots * 32,
      expiredBits: this.expiredSlots * 32,
      discardedBits: this.discardedSlots * 32,
      reservedBits: this.reservedSlots * 32,
      poolBits: poolSlots * 32,
    }
  }

  record(): TallyRecord {
    const { generatedSlots, usedSlots, expiredSlots, discardedSlots } = this
    return { generatedSlots, usedSlots, expiredSlots, discardedSlots }
  }

  /** Takes up an earlier life's totals. Its streams are restored already; what was in its pool is lost: discarded. */
  restore(record: TallyRecord): void {
    const { generatedSlots, usedSlots, expiredSlots } = record
    Object.assign(this, { generatedSlots, usedSlots, expiredSlots })
    this.discardedSlots = generatedSlots - usedSlots - expiredSlots - this.reservedSlots
  }
}

type Run = { from: number; to: number }

/** One channel's key stream as the pool sees it: which of its slots are reserved, and what became of the others. */
export class StreamLedger {
  readonly channel: number
  readonly tally: Tally
  /** Where the stream is to reach, all wants taken together. */
  wantedSlots = 0
  /** Where it is to reach for the top-priority chain; at most `wantedSlots`. */
  topWantedSlots = 0
  readonly #changed: Set<StreamLedger>
  #assignedSlots = 0
  #settledSlots = 0
  #usedSlots = 0
  #discardedSlots = 0
  #toldDiscardedSlots = 0
  #skippedSlots = 0
  #runs: Run[] = []

  /** Puts itself into `changed` whenever its record changes. */
  constructor(channel: number, tally: Tally, changed: Set<StreamLedger>) {
    this.channel = channel
    this.tally = tally
    this.#changed = changed
  }

  get assignedSlots(): number {
    return this.#assignedSlots
  }

  /** Slots assigned and not yet spent, as far as reports say. */
  get unspentSlots(): number {
    return this.#runs.reduce((sum, { from, to }) => sum + to - from, 0)
  }

  assign(slots: number): void {
    const last = this.#runs.at(-1)
    if (last?.to === this.#assignedSlots) last.to += slots
    else this.#runs.push({ from: this.#assignedSlots, to: this.#assignedSlots + slots })
    this.#assignedSlots += slots
    this.tally.reservedSlots += slots
    this.#changed.add(this)
  }

  /** The sender is done with all below `upToSlot`, and has discarded so many slots since its process began. */
  use(upToSlot: number, toldDiscardedSlots: number): void {
    const passedSlots = Math.max(0, upToSlot - this.#settledSlots)
    const slots = this.#settle(upToSlot)
    // Numbers that never stood for key are among what the sender calls discarded.
    const freshSlots = toldDiscardedSlots - this.#toldDiscardedSlots - (passedSlots - slots)
    const discardedSlots = Math.min(slots, Math.max(0, freshSlots))
    this.#toldDiscardedSlots = Math.max(this.#toldDiscardedSlots, toldDiscardedSlots)
    this.#count(slots - discardedSlots, discardedSlots)
  }

  /** All below `upToSlot` that is not known to be used is lost with the sender's process; another one begins. */
  discard(upToSlot: number): void {
    this.#toldDiscardedSlots = 0
    this.#count(0, this.#settle(upToSlot))
  }

  /** Goes on at `slot`: the numbers up to there never stand for key. */
  skipTo(slot: number): void {
    if (slot <= this.#assignedSlots) return
    this.#skippedSlots += slot - this.#assignedSlots
    this.#assignedSlots = slot
    this.wantedSlots = Math.max(this.wantedSlots, slot)
    this.#changed.add(this)
  }

  record(): StreamRecord {
    return {
      channel: this.channel,
      assignedSlots: this.#assignedSlots,
      settledSlots: this.#settledSlots,
      usedSlots: this.#usedSlots,
      discardedSlots: this.#discardedSlots,
      toldDiscardedSlots: this.#toldDiscardedSlots,
      skippedSlots: this.#skippedSlots,
      reserved: this.#runs.map(({ from, to }) => [from, to] as const),
    }
  }

  /** Takes up an earlier life's stream. */
  restore(record: StreamRecord): void {
    this.#assignedSlots = record.assignedSlots
    this.#settledSlots = record.settledSlots
    this.#toldDiscardedSlots = record.toldDiscardedSlots
    this.#usedSlots = record.usedSlots
    this.#discardedSlots = record.discardedSlots
    this.#skippedSlots = record.skippedSlots
    this.#runs = record.reserved.map(([from, to]) => ({ from, to }))
    this.wantedSlots = record.assignedSlots
    this.tally.reservedSlots += this.unspentSlots
    this.#changed.add(this)
  }

  #count(usedSlots: number, discardedSlots: number): void {
    this.#usedSlots += usedSlots
    this.#discardedSlots += discardedSlots
    this.tally.usedSlots += usedSlots
    this.tally.discardedSlots += discardedSlots
    this.tally.reservedSlots -= usedSlots + discardedSlots
    this.#changed.add(this)
  }

  /** Takes the reserved slots below `slot` and gives how many they were. */
  #settle(slot: number): number {
    let spent = 0
    const kept: Run[] = []
    for (const { from, to } of this.#runs) {
      const cut = Math.min(Math.max(from, slot), to)
      spent += cut - from
      if (cut < to) kept.push({ from: cut, to })
    }
    this.#runs = kept
    this.#settledSlots = Math.max(this.#settledSlots, slot)
    return spent
  }
}
