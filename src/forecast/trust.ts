import { HORIZONS, MAX_HORIZON, type Projection } from './stock-model.ts'

const RING = MAX_HORIZON + 1
/** Memory, steps of the regime. */
const MEMORY_STEPS = 600
/** Full trust to begin with weighs as much as this many steps with a correction of a tenth of a standard deviation. */
const PRIOR = 100 * 0.1 ** 2

/**
 * How far a network's corrections are to be followed, from 0 to 1, for each regime and horizon: the slope of what was missing on what
 * the network had said, by least squares over the last minute or so. A network that has learnt how a stock is ruled elsewhere
 * says much that does not come true here; then the slope falls to 0 and the basis stands alone.
 */
export class Trust {
  /** Products of corrections with what was missing, and with themselves. */
  readonly #products = new Float64Array(2 * HORIZONS.length).fill(PRIOR)
  readonly #squares = new Float64Array(2 * HORIZONS.length).fill(PRIOR)
  readonly #means = new Float64Array(RING * HORIZONS.length)
  readonly #sds = new Float64Array(RING * HORIZONS.length)
  readonly #said = new Float64Array(RING * HORIZONS.length)
  readonly #regimes = new Uint8Array(RING)
  #count = 0

  ratio(regime: 0 | 1, horizon: number): number {
    const at = regime * HORIZONS.length + horizon
    const square = this.#squares[at] ?? 0
    return square > 1e-9 ? Math.min(1, Math.max(0, (this.#products[at] ?? 0) / square)) : 1
  }

  /** Takes in the stock of a step, and what basis and network say in it. */
  observe(
    stockBits: number,
    {
      regime,
      outputs,
      projection,
    }: { readonly regime: 0 | 1; readonly outputs: Float64Array; readonly projection: Projection },
  ): void {
    this.#settle(stockBits)
    const slot = this.#count % RING
    this.#regimes[slot] = regime
    for (const [k, horizon] of HORIZONS.entries()) {
      const at = slot * HORIZONS.length + k
      this.#means[at] = projection.stock[horizon - 1] ?? 0
      this.#sds[at] = projection.stockSd[horizon - 1] ?? 1
      this.#said[at] = outputs[k] ?? 0
    }
    this.#count++
  }

  #settle(stockBits: number): void {
    for (const [k, horizon] of HORIZONS.entries()) {
      const issued = this.#count - horizon
      if (issued < 0) continue
      const slot = issued % RING
      const at = slot * HORIZONS.length + k
      const said = this.#said[at] ?? 0
      // One wild step must not decide.
      const missing = Math.min(4, Math.max(-4, (stockBits - (this.#means[at] ?? 0)) / (this.#sds[at] ?? 1)))
      const place = (this.#regimes[slot] ?? 0) * HORIZONS.length + k
      const kept = 1 - 1 / MEMORY_STEPS
      this.#products[place] = kept * (this.#products[place] ?? 0) + said * missing
      this.#squares[place] = kept * (this.#squares[place] ?? 0) + said * said
    }
  }
}
