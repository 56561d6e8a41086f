import type { KeyBlock } from '../runtime/contract.ts'
import { SLOT_BYTES } from './pool-options.ts'

/** What one end of a channel is to get: blocks wait here until it says that it holds them. */
export class Outbox {
  readonly client: string
  readonly isSender: boolean
  /** Whether the end is subscribed, and whether it acknowledges (else what it was given counts as held). */
  subscription: { readonly acknowledges: boolean } | undefined
  /** The process that was given key last; another one of the same name has lost what this one held. */
  instance: string | undefined
  #sentSlots = 0
  #heldSlots = 0
  #backlogSlots = 0
  /** In stream order. */
  #blocks: KeyBlock[] = []

  constructor(client: string, isSender: boolean) {
    this.client = client
    this.isSender = isSender
  }

  /** Slots below this have been given to the end at least once. */
  get sentSlots(): number {
    return this.#sentSlots
  }

  /** The end has said that it holds the slots below this. */
  get heldSlots(): number {
    return this.#heldSlots
  }

  get backlogSlots(): number {
    return this.#backlogSlots
  }

  /** Takes up an earlier life: what was sent then is not here any more. */
  restore(sentSlots: number): void {
    this.#sentSlots = sentSlots
  }

  /** Takes a block of its own (the caller keeps no copy) and gives what is to be sent now, if anything. */
  add(block: KeyBlock): KeyBlock | undefined {
    const isSubscribed = this.subscription !== undefined
    if (isSubscribed) this.#sentSlots = endSlot(block)
    if (this.subscription?.acknowledges === false) {
      this.#heldSlots = this.#sentSlots
      return block
    }
    this.#blocks.push(block)
    this.#backlogSlots += slotsOf(block)
    return isSubscribed ? copy(block) : undefined
  }

  /** Copies of the waiting blocks that reach beyond `fromSlot`, at most so many; they count as sent from now on. */
  give(fromSlot: number, maxBlocks = Number.POSITIVE_INFINITY): KeyBlock[] {
    const first = this.#firstBeyond(fromSlot)
    const blocks = this.#blocks.slice(first, first + maxBlocks)
    const last = blocks.at(-1)
    if (last !== undefined) this.#sentSlots = Math.max(this.#sentSlots, endSlot(last))
    return blocks.map(copy)
  }

  /** The end holds the stream up to `heldSlots`: blocks before it are overwritten. */
  drop(heldSlots: number): void {
    this.#heldSlots = Math.max(this.#heldSlots, heldSlots)
    this.forget(heldSlots)
  }

  /** Nobody is to get what waits below `slot`: it is overwritten. */
  forget(slot: number): void {
    this.#sentSlots = Math.max(this.#sentSlots, slot)
    const count = this.#firstBeyond(slot)
    if (count === 0) return
    for (const block of this.#blocks.splice(0, count)) {
      this.#backlogSlots -= slotsOf(block)
      block.bytes.fill(0)
    }
  }

  /** Index of the first block that reaches beyond `slot`. */
  #firstBeyond(slot: number): number {
    let [low, high] = [0, this.#blocks.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const block = this.#blocks[middle]
      if (block !== undefined && endSlot(block) > slot) high = middle
      else low = middle + 1
    }
    return low
  }
}

function slotsOf(block: KeyBlock): number {
  return block.bytes.length / SLOT_BYTES
}

function endSlot(block: KeyBlock): number {
  return block.slot + slotsOf(block)
}

function copy({ channel, slot, bytes }: KeyBlock): KeyBlock {
  return { channel, slot, bytes: bytes.slice() }
}
