const ASK_AGAIN_MS = 1000

/** State of the stream that is asked for. */
export type StreamLevel = { readonly usedSlots: number; readonly availableSlots: number }

export type KeyDemandOptions = {
  /** Ask when fewer slots than this are available or on their way. */
  readonly lowWaterSlots: number
  /** Slots to have after asking, at least the low water. */
  readonly highWaterSlots: number
}

/** Decides when to ask the key server for more of the sending stream, so that sealing need not wait. */
export class KeyDemand {
  readonly #options: KeyDemandOptions
  #askedUpToSlot = 0
  #askAgainAtMs: number | undefined

  /** RangeError for marks that are not 0 <= low <= high. */
  constructor(options: KeyDemandOptions) {
    const { lowWaterSlots, highWaterSlots } = options
    if (!(lowWaterSlots >= 0 && highWaterSlots >= lowWaterSlots)) {
      throw new RangeError(`water marks ${lowWaterSlots} and ${highWaterSlots}, not 0 <= low <= high`)
    }
    this.#options = options
  }

  /** When to look again although nothing happened: key that was asked for did not come. */
  get wakeAtMs(): number | undefined {
    return this.#askAgainAtMs
  }

  /**
   * The slot to ask up to, or undefined when enough is there or on its way. `requiredSlots` is what the next messages
   * need at once; with `isAhead` false only that is asked for.
   */
  askUpTo(level: StreamLevel, requiredSlots: number, isAhead: boolean, nowMs: number): number | undefined {
    const lowSlots = Math.max(requiredSlots, isAhead ? this.#options.lowWaterSlots : 0)
    if (level.availableSlots >= lowSlots) {
      this.#askAgainAtMs = undefined
      return undefined
    }
    const isOnItsWay = this.#askedUpToSlot - level.usedSlots >= lowSlots
    if (isOnItsWay && this.#askAgainAtMs !== undefined && nowMs < this.#askAgainAtMs) return undefined
    const highSlots = Math.max(requiredSlots, isAhead ? this.#options.highWaterSlots : 0)
    this.#askedUpToSlot = Math.max(this.#askedUpToSlot, level.usedSlots + highSlots)
    this.#askAgainAtMs = nowMs + ASK_AGAIN_MS
    return this.#askedUpToSlot
  }
}
