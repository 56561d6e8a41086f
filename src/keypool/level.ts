import type { StockLevel } from '../runtime/contract.ts'

const LEVELS: readonly StockLevel[] = ['protect', 'reconfigure', 'warn', 'normal']

/** The level `warn` begins this far above K_th (our choice; the model gives K_safe and K_th only). */
export const WARN_RATIO = 1.25

/** Level of the key stock. It falls as soon as K is below a bound and rises again only `hysteresisRatio` above it. */
export class LevelGauge {
  readonly #fallBits: readonly number[]
  readonly #riseBits: readonly number[]
  #rank = LEVELS.length - 1

  /** `reachBits` is the most the stock can hold; no bound is set above it, so a full stock is always `normal`. */
  constructor(bounds: { safeBits: number; thBits: number; reachBits: number; hysteresisRatio: number }) {
    const { safeBits, thBits, reachBits, hysteresisRatio } = bounds
    this.#fallBits = [safeBits, thBits, WARN_RATIO * thBits].map((bits) => Math.min(bits, reachBits))
    this.#riseBits = this.#fallBits.map((bits) => Math.min(bits * (1 + hysteresisRatio), reachBits))
    this.update(0)
  }

  get level(): StockLevel {
    return LEVELS[this.#rank] ?? 'protect'
  }

  update(poolBits: number): void {
    while (this.#rank > 0 && poolBits < (this.#fallBits[this.#rank - 1] ?? 0)) this.#rank--
    while (poolBits >= (this.#riseBits[this.#rank] ?? Number.POSITIVE_INFINITY)) this.#rank++
  }
}
