import type { KeyBlock } from '../runtime/contract.ts'
import { SLOT_BYTES } from './pool-options.ts'

/** Key of one channel that was fetched ahead, in stream order. What is taken out is the taker's, who overwrites it. */
export class KeyBuffer {
  #blocks: KeyBlock[] = []

  /** End of what is here; undefined when nothing is. */
  get endSlot(): number | undefined {
    const last = this.#blocks.at(-1)
    return last && endOf(last)
  }

  /** Takes over a block that begins where the last one ends. */
  add(block: KeyBlock): void {
    this.#blocks.push(block)
  }

  /** All that is here below `slot`, at once. */
  takeUpTo(slot: number): KeyBlock[] {
    const taken: KeyBlock[] = []
    for (let block = this.#blocks[0]; block !== undefined && block.slot < slot; block = this.#blocks[0]) {
      if (endOf(block) > slot) {
        const cut = (slot - block.slot) * SLOT_BYTES
        taken.push({ ...block, bytes: block.bytes.slice(0, cut) })
        block.bytes.fill(0, 0, cut)
        this.#blocks[0] = { ...block, slot, bytes: block.bytes.subarray(cut) }
        break
      }
      taken.push(block)
      this.#blocks.shift()
    }
    return taken
  }

  /** Overwrites all that is here. */
  wipe(): void {
    for (const { bytes } of this.#blocks) bytes.fill(0)
    this.#blocks = []
  }

  toJSON(): { readonly endSlot: number | undefined } {
    return { endSlot: this.endSlot }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `KeyBuffer { endSlot: ${this.endSlot} }`
  }
}

function endOf(block: KeyBlock): number {
  return block.slot + block.bytes.length / SLOT_BYTES
}
