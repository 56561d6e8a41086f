import type { KeyBlock } from '../runtime/contract.ts'
import { SLOT_BYTES } from './pool.ts'

/** What one end of a channel is to get: blocks wait here until it says that it holds them. */
export class Outbox {
  readonly client: string
  readonly isSender: boolean
  /** Whether the end is subscribed, and whether it acknowledges (else what it was given counts as held). */
  subscription: { readonly acknowledges: boolean } | undefined
  /** The process that was given key last; another one of the same name has lost what this one held. */
  instance: string | undefined
  #sentSlots = 0
  #blocks: KeyBlock[] = []

  constructor(client: string, isSender: boolean) {
    this.client = client
    this.isSender = isSender
  }

  /** Slots below this have been given to the end at least once. */
  get sentSlots(): number {
    return this.#sentSlots
  }

  get backlogSlots(): number {
    return this.#blocks.reduce((sum, block) => sum + block.bytes.length / SLOT_BYTES, 0)
  }

  /** Takes a block of its own (the caller keeps no copy) and gives what is to be sent now, if anything. */
  add(block: KeyBlock): KeyBlock | undefined {
    if (this.subscription === undefined) {
      this.#blocks.push(block)
      return undefined
    }
    this.#sentSlots = endSlot(block)
    if (!this.subscription.acknowledges) return block
    this.#blocks.push(block)
    return copy(block)
  }

  /** Copies of the waiting blocks that reach beyond `fromSlot`, which count as sent from now on. */
  give(fromSlot: number): KeyBlock[] {
    const blocks = this.#blocks.filter((block) => endSlot(block) > fromSlot)
    const last = blocks.at(-1)
    if (last !== undefined) this.#sentSlots = Math.max(this.#sentSlots, endSlot(last))
    return blocks.map(copy)
  }

  emptyBlock(channel: number): KeyBlock {
    return { channel, slot: this.#sentSlots, bytes: new Uint8Array(0) }
  }

  /** The end holds the stream up to `heldSlots`: blocks before it are overwritten. */
  drop(heldSlots: number): void {
    this.#sentSlots = Math.max(this.#sentSlots, heldSlots)
    const kept = this.#blocks.filter((block) => endSlot(block) > heldSlots)
    for (const block of this.#blocks) if (endSlot(block) <= heldSlots) block.bytes.fill(0)
    this.#blocks = kept
  }
}

function endSlot(block: KeyBlock): number {
  return block.slot + block.bytes.length / SLOT_BYTES
}

function copy(block: KeyBlock): KeyBlock {
  return { ...block, bytes: block.bytes.slice() }
}
