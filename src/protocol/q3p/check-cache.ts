import type { GcmCheck } from './gcm-check.ts'

const MAX_CHECKS = 64

/**
 * Tag checkers by the slot of their key, the latest added last: so forged frames that name the same unused key cost one set-up of
 * the cipher, not one each. Bounded, and wiped when they go.
 */
export class CheckCache {
  readonly #checks = new Map<number, GcmCheck>()

  get(slot: number): GcmCheck | undefined {
    return this.#checks.get(slot)
  }

  /** Adds one; beyond 64 the oldest goes. */
  add(slot: number, check: GcmCheck): void {
    this.#checks.set(slot, check)
    if (this.#checks.size <= MAX_CHECKS) return
    for (const oldest of this.#checks.keys()) {
      this.#remove(oldest)
      return
    }
  }

  /** Forgets those whose slot is in `fromSlot` to below `endSlot`. */
  drop(fromSlot: number, endSlot: number): void {
    for (const slot of this.#checks.keys()) if (slot >= fromSlot && slot < endSlot) this.#remove(slot)
  }

  clear(): void {
    for (const slot of this.#checks.keys()) this.#remove(slot)
  }

  #remove(slot: number): void {
    this.#checks.get(slot)?.wipe()
    this.#checks.delete(slot)
  }
}
