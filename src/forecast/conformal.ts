/** Scores kept in a window: the calibration's first, then those that were seen. */
const WINDOW = 2_000
/** How fast the level follows its errors (gamma of adaptive conformal inference). */
const PACE = 0.015

/**
 * One-sided adaptive conformal inference (Gibbs and Candes, NeurIPS 2021) for one regime and horizon. Scores are
 * (mean - seen) / sd; the bound mean - q sd is missed when the score is above q. q is the (1 - alpha) quantile of the last
 * scores, and alpha rises after a bound that held and falls after one that was missed: alpha' = alpha + gamma (alpha* - missed). So
 * the part of missed bounds tends to alpha* whatever the traffic does.
 */
export class ConformalQuantile {
  readonly #target: number
  #alpha: number
  /** Sorted, and in order of arrival. */
  readonly #sorted = new Float64Array(WINDOW)
  readonly #arrived = new Float64Array(WINDOW)
  #count = 0
  #next = 0

  /** @param scores from calibration; without them the bound begins as a normal one */
  constructor(missRatio: number, scores: readonly number[] = []) {
    this.#target = missRatio
    this.#alpha = missRatio
    const first = scores.length > 0 ? scores : NORMAL_SCORES
    // Spread over a part of the window, so that what is seen counts more within a minute.
    for (let i = 0; i < PRIOR; i++) this.#insert(first[Math.floor(((i + 0.5) * first.length) / PRIOR)] ?? 0)
  }

  get alpha(): number {
    return this.#alpha
  }

  /** q: how many standard deviations the bound lies below the mean. */
  quantile(): number {
    const n = this.#count
    const least = 1 / (n + 1)
    const top = this.#sorted[n - 1] ?? 0
    // Beyond the largest score it goes on, so that the bound can always be lowered until it holds.
    if (this.#alpha < least) return top + (least - this.#alpha) * 20 * Math.max(1, Math.abs(top))
    const place = Math.min(1, 1 - this.#alpha) * (n + 1) - 1
    if (place <= 0) return (this.#sorted[0] ?? 0) + place
    const low = Math.min(n - 1, Math.floor(place))
    const high = Math.min(n - 1, low + 1)
    const from = this.#sorted[low] ?? 0
    return from + (place - low) * ((this.#sorted[high] ?? 0) - from)
  }

  /** A bound given earlier has come due: its score, and whether it was missed. */
  update(score: number, missed: boolean): void {
    this.#alpha += PACE * (this.#target - (missed ? 1 : 0))
    if (Number.isFinite(score)) this.#insert(score)
  }

  #insert(score: number): void {
    if (this.#count === WINDOW) this.#remove(this.#arrived[this.#next] ?? 0)
    const at = this.#place(score)
    this.#sorted.copyWithin(at + 1, at, this.#count)
    this.#sorted[at] = score
    this.#count++
    this.#arrived[this.#next] = score
    this.#next = (this.#next + 1) % WINDOW
  }

  #remove(score: number): void {
    const at = this.#place(score)
    this.#sorted.copyWithin(at, at + 1, this.#count)
    this.#count--
  }

  /** How many scores are smaller. */
  #place(score: number): number {
    let [low, high] = [0, this.#count]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle] ?? 0) < score) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Scores from calibration that a window begins with. */
const PRIOR = 600
/** Quantiles of the standard normal distribution at 0.025, 0.075, ... 0.975, and the tail at 0.995. */
const NORMAL_SCORES: readonly number[] = [
  -1.96, -1.44, -1.15, -0.935, -0.755, -0.598, -0.454, -0.319, -0.189, -0.063, 0.063, 0.189, 0.319, 0.454, 0.598, 0.755,
  0.935, 1.15, 1.44, 1.96,
]
