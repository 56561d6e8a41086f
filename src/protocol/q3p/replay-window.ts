/** Messages behind the newest accepted one that may still come, in any order. */
export const WINDOW_MESSAGES = 1024

const WORD_BITS = 32
/** One word more than the window, so that clearing the words ahead never touches what is inside it (RFC 6479). */
const RING_WORDS = WINDOW_MESSAGES / WORD_BITS + 1
const TWO_32 = 0x1_0000_0000

/**
 * Rebuilds a 64-bit counter from its low 32 bits: of the numbers that end in them, the one nearest to `reference`, as
 * MACsec's extended packet numbers do. Used for Msg-Ids (reference: the highest accepted) and key slots alike.
 * `low32` is 0..2^32-1, `reference` -1..2^53-1 (-1: nothing seen yet); the result is 0..2^53-1.
 */
export function rebuildCounter(low32: number, reference: number): number {
  const near = Math.max(0, reference)
  const candidate = near - (near % TWO_32) + low32
  if (candidate > near + TWO_32 / 2 && candidate >= TWO_32) return candidate - TWO_32
  if (candidate <= near - TWO_32 / 2 && candidate + TWO_32 <= Number.MAX_SAFE_INTEGER) return candidate + TWO_32
  return candidate
}

/** Replay window of one channel: a ring bitmap after RFC 6479. Counters are 0..2^53-1. */
export class ReplayWindow {
  readonly #ring = new Uint32Array(RING_WORDS)
  #highest = -1

  /** Highest accepted counter; -1 before the first. */
  get highest(): number {
    return this.#highest
  }

  /** Whether a message with this counter may be accepted. Changes nothing. */
  check(counter: number): 'fresh' | 'replayed' | 'tooOld' {
    if (counter > this.#highest) return 'fresh'
    if (counter <= this.#highest - WINDOW_MESSAGES) return 'tooOld'
    const word = this.#ring[wordOf(counter) % RING_WORDS] ?? 0
    return (word & bitOf(counter)) === 0 ? 'fresh' : 'replayed'
  }

  /** Marks a counter that `check` found fresh as accepted: call only after the tag has verified. */
  accept(counter: number): void {
    if (counter > this.#highest) {
      const from = this.#highest < 0 ? -1 : wordOf(this.#highest)
      const stepWords = Math.min(wordOf(counter) - from, RING_WORDS)
      for (let step = 0; step < stepWords; step += 1) this.#ring[(wordOf(counter) - step) % RING_WORDS] = 0
      this.#highest = counter
    }
    const index = wordOf(counter) % RING_WORDS
    this.#ring[index] = (this.#ring[index] ?? 0) | bitOf(counter)
  }
}

function wordOf(counter: number): number {
  return Math.floor(counter / WORD_BITS)
}

function bitOf(counter: number): number {
  return 1 << (counter % WORD_BITS)
}
