import type { Etsi014Store } from './etsi014-store.ts'
import { SLOT_BYTES } from './pool-options.ts'

export type Etsi014PoolStoreOptions = {
  /** Two SAEs each, and the link whose key they share; a pair is there once. */
  readonly pairs: readonly { readonly link: number; readonly saes: readonly [string, string] }[]
  /** Key of a link that outsiders may have now, and the most there can be, bits. */
  readonly stock: (link: number) => { readonly availableBits: number; readonly capBits: number }
  /** Takes whole slots of a link's key out of the pool for good: all or, when there is less, none. */
  readonly draw: (link: number, slots: number) => Uint8Array | undefined
}

/** A key manager's store that is a running lab's key pool: each pair of SAEs has the key of one link. */
export class Etsi014PoolStore implements Etsi014Store {
  readonly #options: Etsi014PoolStoreOptions
  readonly #linkOf = new Map<string, number>()

  constructor(options: Etsi014PoolStoreOptions) {
    this.#options = options
    for (const { link, saes } of options.pairs) this.#linkOf.set(nameOf(...saes), link)
  }

  /** Whether the two are a pair, whichever of them is the master. */
  mayShare(masterSaeId: string, slaveSaeId: string): boolean {
    return this.#linkOf.has(nameOf(masterSaeId, slaveSaeId))
  }

  stock(masterSaeId: string, slaveSaeId: string): { readonly availableBits: number; readonly capBits: number } {
    const link = this.#linkOf.get(nameOf(masterSaeId, slaveSaeId))
    return link === undefined ? { availableBits: 0, capBits: 0 } : this.#options.stock(link)
  }

  /** The pool goes by slots of 32 bits: what is left of the last one is overwritten, and counts as used. */
  take(masterSaeId: string, slaveSaeId: string, bits: number): Uint8Array | undefined {
    const link = this.#linkOf.get(nameOf(masterSaeId, slaveSaeId))
    const sizeBytes = bits / 8
    const bytes = link === undefined ? undefined : this.#options.draw(link, Math.ceil(sizeBytes / SLOT_BYTES))
    if (bytes === undefined || bytes.length === sizeBytes) return bytes
    const wanted = bytes.slice(0, sizeBytes)
    bytes.fill(0)
    return wanted
  }
}

function nameOf(saeId: string, otherSaeId: string): string {
  return [saeId, otherSaeId].sort().join(' ')
}
