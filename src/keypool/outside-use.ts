import type { Source } from './sources.ts'

/** What of the pool went to programs outside the lab, by the link whose key it was. */
export class OutsideUse {
  readonly #slots = new Map<number, number>()
  readonly #changed = new Set<number>()

  /** Takes all of so many slots or none. What is set aside stays, and those of the lab who wait for the stock go first. */
  take(link: number, source: Source | undefined, slots: number): boolean {
    if (source === undefined || source.queue.size > 0 || source.stock.openSlots < slots) return false
    source.stock.take({ slots, authenticationSlots: 0, topChainSlots: 0 })
    this.#slots.set(link, (this.#slots.get(link) ?? 0) + slots)
    this.#changed.add(link)
    return true
  }

  /** In all, bits. */
  get bits(): number {
    return [...this.#slots.values()].reduce((sum, slots) => sum + slots * 32, 0)
  }

  /** Link and slots, of those where it has changed since this was last asked. */
  takeChanges(): (readonly [number, number])[] {
    const changes = [...this.#changed].map((link) => [link, this.#slots.get(link) ?? 0] as const)
    this.#changed.clear()
    return changes
  }

  restore(use: readonly (readonly [number, number])[]): void {
    for (const [link, slots] of use) {
      this.#slots.set(link, slots)
      this.#changed.add(link)
    }
  }
}
