/** Fast load shedding on low frequency. */

export type SheddingConfig = {
  /** Frequency deviation below which load is shed, Hz, negative (-0.03). */
  readonly thresholdHz: number
  /** How long after its issue a shed is still worth trying, ms (30 000). */
  readonly timeoutMs: number
  /** Time after which a command that got no confirmation, or a negative one, is sent again, ms (3 000). */
  readonly retryMs: number
  /** Sends C_SC_TA_1, with a time tag, instead of C_SC_NA_1. */
  readonly timeTagged?: boolean
  /** The chains to the breakers. */
  readonly chains: readonly string[]
}

/** Trips once: what has been shed is gone. */
export class Shedding {
  #config: SheddingConfig
  #hasTripped = false

  constructor(config: SheddingConfig) {
    this.#config = config
  }

  /** Takes other terms; that it has tripped is not forgotten. */
  configure(config: SheddingConfig): void {
    this.#config = config
  }

  /** Called each tick; the chains to issue a shed on now. */
  step(deltaFHz: number | undefined): readonly string[] {
    if (this.#hasTripped || deltaFHz === undefined || deltaFHz >= this.#config.thresholdHz) return []
    this.#hasTripped = true
    return this.#config.chains
  }
}
