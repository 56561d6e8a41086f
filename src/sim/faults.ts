import type { Random } from './random.ts'

/** What goes wrong with datagrams on top of the link's law: each is the part of the datagrams it happens to. */
export type FaultLaw = {
  readonly dropRatio?: number
  readonly duplicateRatio?: number
  /** One bit flipped somewhere. */
  readonly corruptRatio?: number
  /** Cut to a random shorter length. */
  readonly truncateRatio?: number
  /** Held back by up to `reorderMs`. */
  readonly reorderRatio?: number
  /** Default 20. */
  readonly reorderMs?: number
}

/** A datagram as it goes on the link after the faults. */
export type Faulted = { readonly bytes: Uint8Array; readonly holdMs: number }

/** Does to datagrams what a fault law says, from its own random stream. */
export class FaultInjector {
  readonly #law: FaultLaw
  readonly #random: Random

  constructor(law: FaultLaw, random: Random) {
    this.#law = law
    this.#random = random
  }

  /** The datagrams that go on in place of this one: none, one or two. Takes `bytes` over and may change them. */
  apply(bytes: Uint8Array): readonly Faulted[] {
    const { dropRatio, duplicateRatio, corruptRatio, truncateRatio } = this.#law
    if (this.#hits(dropRatio)) return []
    const copies = this.#hits(duplicateRatio) ? [bytes, bytes.slice()] : [bytes]
    return copies.map((copy) => {
      if (this.#hits(corruptRatio)) this.#flipBit(copy)
      const sizeBytes = this.#hits(truncateRatio) ? this.#below(copy.length) : copy.length
      return { bytes: copy.subarray(0, sizeBytes), holdMs: this.#holdMs() }
    })
  }

  #holdMs(): number {
    const { reorderRatio, reorderMs = 20 } = this.#law
    return this.#hits(reorderRatio) ? reorderMs * this.#random.uniform() : 0
  }

  #flipBit(bytes: Uint8Array): void {
    const bit = this.#below(8 * bytes.length)
    const at = bit >> 3
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
  }

  #below(limit: number): number {
    return Math.floor(limit * this.#random.uniform())
  }

  #hits(ratio = 0): boolean {
    return ratio > 0 && this.#random.uniform() < ratio
  }
}
