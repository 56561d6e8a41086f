import type { StockObservation } from './contract.ts'

/** What is assumed of the QKD links; the defaults are those of the link model. */
export type SupplyOptions = {
  readonly stepMs: number
  /** 1 / lambda_G, how fast a link's rate follows its mean; default 5. */
  readonly rateTauS?: number
  /** Standard deviation of the rate about its mean, of the mean; default 0.05. */
  readonly rateStdRatio?: number
  /** Correlation time of the mean (attenuation); default 60. */
  readonly meanTauS?: number
  /** Standard deviation of the mean, of the mean: 0.04 dB/km over 20 km; default 0.18. */
  readonly meanStdRatio?: number
  /** Shortest and longest break, uniform between; default 3 to 5. */
  readonly breakDurationS?: readonly [number, number]
  /** Breaks of a link that is up, before any were seen; default 1/5000. */
  readonly breakRatePerS?: number
}

/** Key of a step is whole bits with a carry: the difference of two uniform remainders, variance 2/12. */
const ROUNDING_VARIANCE = 1 / 6
/** The prior of the break rate weighs as much as this time of one link under watch, s. */
const PRIOR_WATCH_S = 500
/** How fast the scale of the noise follows the innovations, a step. */
const NOISE_PACE = 0.005
/** A link that has been mended counts as just mended for this long, steps. */
const MEND_STEPS = 20

/**
 * Kalman filter of one link. State: g, the bits a step now, and m, the mean it reverts to:
 * g' = a g + (1 - a) m + w1, m' = m + w2 (its reversion is far slower than the horizon). Seen: the bits of the step.
 */
export class LinkFilter {
  g = 0
  m = 0
  pgg = 0
  pgm = 0
  pmm = 0
  up = false
  seen = false
  /** Steps since the link went down, or since it came up. */
  stateSteps = 0
  /** Length of the last break, steps. */
  lastBreakSteps = 0
  /** Innovation of the last step, bits. */
  innovation = 0
  /** Variance that was predicted for it, bits^2. */
  innovationVariance = 1

  /** Moves one step on and takes in what was seen. `a` is e^(-dt/tau); q1, q2: variances of w1, w2 relative to m^2. */
  step(
    up: boolean,
    bits: number,
    { a, q1, q2 }: { readonly a: number; readonly q1: number; readonly q2: number },
  ): void {
    this.stateSteps++
    this.innovation = 0
    const wasUp = this.up
    if (up !== wasUp) {
      if (up) this.lastBreakSteps = this.seen ? this.stateSteps : 0
      this.stateSteps = 0
      this.up = up
    }
    const scale = this.m * this.m
    this.pmm += q2 * scale
    if (!up) return
    if (!this.seen) {
      this.#begin(bits)
      return
    }
    if (!wasUp) {
      // A mended link begins at its mean, and the mean is all that is known.
      this.g = this.m
      this.pgg = this.pmm
      this.pgm = this.pmm
    } else {
      this.g = a * this.g + (1 - a) * this.m
      this.pgg = a * a * this.pgg + 2 * a * (1 - a) * this.pgm + (1 - a) ** 2 * this.pmm + q1 * scale
      this.pgm = a * this.pgm + (1 - a) * this.pmm
    }
    this.#update(bits)
  }

  #begin(bits: number): void {
    this.seen = true
    this.g = bits
    this.m = bits
    this.pgg = ROUNDING_VARIANCE
    this.pmm = ROUNDING_VARIANCE + (0.05 * bits) ** 2
    this.pgm = ROUNDING_VARIANCE
  }

  #update(bits: number): void {
    const variance = this.pgg + ROUNDING_VARIANCE
    const innovation = bits - this.g
    const gainG = this.pgg / variance
    const gainM = this.pgm / variance
    this.innovation = innovation
    this.innovationVariance = variance
    this.g = Math.max(0, this.g + gainG * innovation)
    this.m = Math.max(0, this.m + gainM * innovation)
    this.pmm = Math.max(0, this.pmm - gainM * this.pgm)
    this.pgm *= 1 - gainG
    this.pgg *= 1 - gainG
  }
}

/**
 * Break-aware Kalman filter of the key supply of all links (MODEL: (11)-(16), f linear). A link that is down gives nothing and is
 * expected back by the law of its breaks; a link that is up may break.
 */
export class LinkSupply {
  readonly #a: number
  readonly #q1: number
  readonly #q2: number
  readonly #stepS: number
  readonly #breakSteps: readonly [number, number]
  readonly #filters = new Map<number, LinkFilter>()
  #breaks: number
  #watchS = PRIOR_WATCH_S
  /** Innovations larger than the model's make it expect larger ones. */
  #noiseScale = 1
  /** Sum of the innovations of the last step, and its predicted standard deviation, bits. */
  innovation = 0
  innovationSd = 1

  constructor(options: SupplyOptions) {
    const { stepMs, rateTauS = 5, rateStdRatio = 0.05, meanTauS = 60, meanStdRatio = 0.18 } = options
    const { breakDurationS = [3, 5], breakRatePerS = 1 / 5000 } = options
    this.#stepS = stepMs / 1000
    this.#a = Math.exp(-this.#stepS / rateTauS)
    this.#q1 = rateStdRatio ** 2 * (1 - this.#a ** 2)
    this.#q2 = meanStdRatio ** 2 * -Math.expm1((-2 * this.#stepS) / meanTauS)
    this.#breakSteps = [breakDurationS[0] / this.#stepS, breakDurationS[1] / this.#stepS]
    this.#breaks = breakRatePerS * PRIOR_WATCH_S
  }

  /** Noise of the rates over that of the model, as the innovations of about 20 s have it. */
  get noiseScale(): number {
    return this.#noiseScale
  }

  observe({ generatedBits, links }: StockObservation): void {
    const noise = { a: this.#a, q1: this.#q1 * this.#noiseScale, q2: this.#q2 * this.#noiseScale }
    this.innovation = 0
    let variance = 0
    // Whoever does not know the links sees one that is always up.
    const seen = links.length > 0 ? links : [{ link: -1, up: true, generatedBits }]
    for (const { link, up, generatedBits: bits } of seen) {
      const filter = this.#filterOf(link)
      const wasUp = filter.up
      const known = filter.seen
      filter.step(up, bits, noise)
      if (wasUp && !up) this.#breaks++
      if (!up) continue
      this.#watchS += this.#stepS
      if (!wasUp || !known) continue
      this.innovation += filter.innovation
      variance += filter.innovationVariance
    }
    // A link that is not told of any more makes no key.
    if (seen.length < this.#filters.size) {
      const told = new Set(seen.map(({ link }) => link))
      for (const [link, filter] of this.#filters) if (!told.has(link)) filter.step(filter.up, 0, noise)
    }
    if (variance === 0) return
    this.innovationSd = Math.sqrt(variance)
    // Of all links together: where the books know the sum alone, what each link made is a guess.
    const nis = Math.min(25, this.innovation ** 2 / variance)
    this.#noiseScale = clamp(this.#noiseScale * (1 + NOISE_PACE * (nis - 1)), 0.2, 20)
  }

  #filterOf(link: number): LinkFilter {
    const known = this.#filters.get(link)
    if (known !== undefined) return known
    const fresh = new LinkFilter()
    this.#filters.set(link, fresh)
    return fresh
  }

  /** Links down now, of all; the longest a link has been down and the time since the last repair, in steps. */
  outages(): { downRatio: number; downSteps: number; mended: number } {
    let down = 0
    let downSteps = 0
    let mended = 0
    for (const filter of this.#filters.values()) {
      if (!filter.up) {
        down++
        downSteps = Math.max(downSteps, filter.stateSteps)
      } else if (filter.lastBreakSteps > 0 && filter.stateSteps < MEND_STEPS) {
        mended = Math.max(mended, 1 - filter.stateSteps / MEND_STEPS)
      }
    }
    return { downRatio: down / Math.max(1, this.#filters.size), downSteps, mended }
  }

  /** Mean bits of each step to come into `mean`, and the variance of their sum so far into `sumVariance`. */
  project(steps: number, mean: Float64Array, sumVariance: Float64Array): void {
    mean.fill(0, 0, steps)
    sumVariance.fill(0, 0, steps)
    this.#projectUp(steps, mean, sumVariance)
    for (const filter of this.#filters.values())
      if (!filter.up && filter.seen) this.#projectDown(filter, steps, mean, sumVariance)
  }

  /** The links have one transition matrix, so their sum is propagated once. */
  #projectUp(steps: number, mean: Float64Array, sumVariance: Float64Array): void {
    const a = this.#a
    const b = 1 - a
    let [g, m, pgg, pgm, pmm, squares] = [0, 0, 0, 0, 0, 0]
    for (const filter of this.#filters.values()) {
      if (!filter.up) continue
      g += filter.g
      m += filter.m
      pgg += filter.pgg
      pgm += filter.pgm
      pmm += filter.pmm
      squares += filter.m * filter.m
    }
    const q1 = this.#q1 * this.#noiseScale * squares
    const q2 = this.#q2 * this.#noiseScale * squares
    const breakRatio = (this.#breaks / this.#watchS) * this.#stepS
    const outSteps = (this.#breakSteps[0] + this.#breakSteps[1]) / 2
    let [psg, psm, pss, upRatio, breakVariance] = [0, 0, 0, 1, 0]
    for (let i = 0; i < steps; i++) {
      g = a * g + b * m
      const carried = a * psg + b * psm
      pgg = a * a * pgg + 2 * a * b * pgm + b * b * pmm + q1
      pgm = a * pgm + b * pmm
      pmm += q2
      psg = carried + pgg
      psm += pgm
      pss += 2 * carried + pgg
      upRatio += (1 - upRatio) / outSteps - breakRatio * upRatio
      breakVariance += breakRatio * squares * Math.min(i + 1, outSteps) ** 2
      mean[i] = g * upRatio
      sumVariance[i] = pss + breakVariance
    }
  }

  /** With T the step of return: N = steps it gives key in, E[N] = sum P(T <= s), E[N^2] = sum (2 (h - s) + 1) P(T <= s). */
  #projectDown(filter: LinkFilter, steps: number, mean: Float64Array, sumVariance: Float64Array): void {
    const [shortest, longest] = this.#breakSteps
    const out = filter.stateSteps
    const from = Math.max(shortest, out)
    let first = 0
    let second = 0
    for (let i = 0; i < steps; i++) {
      const s = i + 1
      // Longer than any break: a cut. It is as likely to last as long again as it has lasted.
      const back = out < longest ? clamp((out + s - from) / (longest - from), 0, 1) : s / (s + out)
      second += 2 * first + back
      first += back
      mean[i] = (mean[i] ?? 0) + back * filter.m
      const spread = filter.m ** 2 * (second - first * first) + filter.pmm * first * first
      sumVariance[i] = (sumVariance[i] ?? 0) + Math.max(0, spread)
    }
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}
