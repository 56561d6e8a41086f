import type { PoolBooks } from '../runtime/contract.ts'

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
}

/** One channel's key stream as the pool sees it: [0, spent) is used or discarded, [spent, assigned) is reserved. */
export class StreamLedger {
  readonly channel: number
  readonly tally: Tally
  #assignedSlots = 0
  #spentSlots = 0
  /** Where the stream is to reach, all wants taken together. */
  wantedSlots = 0

  constructor(channel: number, tally: Tally) {
    this.channel = channel
    this.tally = tally
  }

  get assignedSlots(): number {
    return this.#assignedSlots
  }

  assign(slots: number): void {
    this.#assignedSlots += slots
    this.tally.reservedSlots += slots
  }

  use(upToSlot: number): void {
    this.tally.usedSlots += this.#spend(upToSlot)
  }

  discard(upToSlot: number): void {
    this.tally.discardedSlots += this.#spend(upToSlot)
  }

  /** Goes on at `slot`: what lies before was assigned in an earlier run, whose books are closed. */
  resume(slot: number): void {
    this.discard(this.#assignedSlots)
    this.#assignedSlots = slot
    this.#spentSlots = slot
    this.wantedSlots = Math.max(this.wantedSlots, slot)
  }

  #spend(upToSlot: number): number {
    const slots = Math.max(0, upToSlot - this.#spentSlots)
    this.#spentSlots += slots
    this.tally.reservedSlots -= slots
    return slots
  }
}
