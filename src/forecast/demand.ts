/** Periods that are looked for, s: set-point rounds, secondary control (4 s), general interrogation and telemetry. */
const PERIODS_S: readonly number[] = [1, 2, 4, 5, 10]
/** Ratio of level noise to observation noise of each filter of the bank; the first is (nearly) a constant rate. */
const LEVEL_RATIOS: readonly number[] = [1e-7, 1e-5, 1e-3, 1e-2]
/** Weights before anything was seen: steady rates are the rule. */
const LEVEL_PRIORS: readonly number[] = [1, 0.3, 0.1, 0.03]
/** Memory of the filters' likelihoods, steps: 1 / (1 - this). */
const LIKELIHOOD_KEPT = 0.997
/** Innovation expected before traffic was seen, bits: a one-time-pad message on a link; it counts as this many steps. */
const PRIOR_NOISE_BITS = 300
const PRIOR_STEPS = 30
/** A profile follows the traffic over about this many periods. */
const PROFILE_MEMORY = 24
/** Part of the variance that a profile must explain to be used, and below which it is dropped. */
const PROFILE_ON = 0.06
const PROFILE_OFF = 0.02
const EXPLAINED_PACE = 0.003

/** Innovations beyond this many standard deviations are cut off there. */
const WILD_SDS = 8
/** Where no period is known, sums over one are sums over this. */
const DEFAULT_PERIOD_STEPS = 40

/** A local level filter: level' = level + w, seen with noise (Kalman; variances in units of the observation noise). */
export class LevelFilter {
  level = 0
  /** Variance of the level over that of the observation noise. */
  p = 1
  logLikelihood = 0
  readonly ratio: number

  constructor(ratio: number) {
    this.ratio = ratio
  }

  update(seen: number, noiseVariance: number): void {
    this.p += this.ratio
    const variance = (this.p + 1) * noiseVariance
    const innovation = seen - this.level
    const fit = -0.5 * (Math.log(variance) + Math.min(25, (innovation * innovation) / variance))
    this.logLikelihood = LIKELIHOOD_KEPT * this.logLikelihood + fit
    const gain = this.p / (this.p + 1)
    this.level += gain * innovation
    this.p = gain
  }
}

/** Demand folded over one period: what each phase takes more or less than the level. */
class Profile {
  readonly bins: Float64Array
  readonly #visits: Uint32Array
  active = false
  /** Mean squares of what is left without and with the profile, out of sample. */
  #without = 0
  #with = 0

  constructor(steps: number) {
    this.bins = new Float64Array(steps)
    this.#visits = new Uint32Array(steps)
  }

  /** Part of the variance that the profile explains, out of sample. */
  get explained(): number {
    return this.#without > 0 ? Math.max(0, 1 - this.#with / this.#without) : 0
  }

  /** Phase with the largest demand. */
  get peak(): number {
    let peak = 0
    for (let i = 1; i < this.bins.length; i++) if (this.at(i) > this.at(peak)) peak = i
    return peak
  }

  at(step: number): number {
    return this.bins[step % this.bins.length] ?? 0
  }

  /** Takes what is left of the demand when level and other profiles are taken off. */
  update(step: number, rest: number): void {
    const bin = step % this.bins.length
    const before = this.bins[bin] ?? 0
    const visits = Math.min(PROFILE_MEMORY, (this.#visits[bin] ?? 0) + 1)
    this.#visits[bin] = visits
    if (visits > 2) {
      this.#without += EXPLAINED_PACE * (rest * rest - this.#without)
      this.#with += EXPLAINED_PACE * ((rest - before) ** 2 - this.#with)
    }
    // The first visits count for less: a single burst is no period yet.
    const change = (rest - before) / (visits + 1)
    const mean = change / this.bins.length
    for (let i = 0; i < this.bins.length; i++) this.bins[i] = (this.bins[i] ?? 0) - mean
    this.bins[bin] = before + change - mean
    const { explained } = this
    if (explained > PROFILE_ON && visits > 3) this.active = true
    else if (explained < PROFILE_OFF) this.active = false
  }
}

export type DemandOptions = {
  readonly stepMs: number
  /** Look for periods; default true. Without: a constant rate slowly followed. */
  readonly phases?: boolean
}

/**
 * Key demand from the traffic seen: a bank of local level filters weighed by their likelihood (constant, drifting and switching
 * rates) and, on top, profiles of the periods found in it (secondary control every 4 s), whose phase it learns.
 */
export class Demand {
  readonly #bank: readonly LevelFilter[]
  readonly #weights: Float64Array
  readonly #profiles: readonly Profile[]
  #step = 0
  #seen = 0
  /** Mean square of the innovation, bits^2, and mean demand, bits a step, over about 60 s. */
  #square = PRIOR_NOISE_BITS ** 2
  /** The same over about 10 s. */
  #recentSquare = PRIOR_NOISE_BITS ** 2
  #mean = 0
  /** Innovation of the last step, bits. */
  innovation = 0

  constructor({ stepMs, phases = true }: DemandOptions) {
    this.#bank = (phases ? LEVEL_RATIOS : LEVEL_RATIOS.slice(0, 1)).map((ratio) => new LevelFilter(ratio))
    this.#weights = new Float64Array(this.#bank.length).fill(1 / this.#bank.length)
    this.#profiles = phases ? PERIODS_S.map((s) => new Profile(Math.max(1, Math.round((1000 * s) / stepMs)))) : []
  }

  /** Mean demand over the last minute or so, bits a step. */
  get meanBits(): number {
    return this.#mean
  }

  /** Standard deviation of the innovation, bits. */
  get noiseSd(): number {
    return Math.sqrt(this.#square)
  }

  /** Demand without its periodic part, bits a step. */
  get levelBits(): number {
    return this.#bank.reduce((sum, filter, i) => sum + (this.#weights[i] ?? 0) * filter.level, 0)
  }

  /** Level of one filter of the bank; 0 is the slowest. */
  bankLevel(index: number): number {
    return (this.#bank[index] ?? this.#bank.at(-1))?.level ?? 0
  }

  /** The strongest period in use: its steps, the phase since its peak (0..1), the part of the variance that it explains. */
  period(): { readonly steps: number; readonly phase: number; readonly explained: number } {
    const best = this.#profiles.filter(({ active }) => active).sort((x, y) => y.explained - x.explained)[0]
    if (best === undefined) return { steps: DEFAULT_PERIOD_STEPS, phase: 0, explained: 0 }
    const steps = best.bins.length
    return { steps, phase: ((this.#step + steps - best.peak) % steps) / steps, explained: best.explained }
  }

  /** What would be expected in the step numbered `step`. */
  #expected(step: number): number {
    let sum = this.levelBits
    for (const profile of this.#profiles) if (profile.active) sum += profile.at(step)
    return Math.max(0, sum)
  }

  /**
   * @param step number of the step, so that a lost one does not shift the phase
   * @param censored the stock was empty, so more may have been wanted
   */
  observe(step: number, bits: number, censored: boolean): void {
    this.#step = step
    const expected = this.#expected(step)
    this.innovation = bits - expected
    if (censored && bits < expected) {
      this.innovation = 0
      return
    }
    this.#seen++
    // A level far from the mean is a change that has come to stay, or a wild time that has gone.
    const steady = this.levelBits > this.#mean / 2 && this.levelBits < 2 * this.#mean
    const pace = Math.max(steady ? 1 / 600 : 1 / 100, 1 / this.#seen)
    if (this.#seen === 1) for (const filter of this.#bank) filter.level = bits
    const square = this.innovation ** 2
    // What is beyond all measure counts as measure at most: a wild minute must not be believed for five.
    const reach = WILD_SDS * Math.sqrt(this.#square)
    const taken = Math.min(expected + reach, Math.max(expected - reach, bits))
    this.#mean += pace * (taken - this.#mean)
    this.#recentSquare += (1 / 100) * (square - this.#recentSquare)
    // After a wild time the noise is small again long before its mean is: then it is followed faster.
    const memory = this.#recentSquare < this.#square / 4 ? 50 : 400
    this.#square = Math.max(1, this.#square + (square - this.#square) / Math.min(memory, this.#seen + PRIOR_STEPS))
    let periodic = 0
    for (const profile of this.#profiles) if (profile.active) periodic += profile.at(step)
    const level = this.levelBits
    for (const profile of this.#profiles) {
      const others = periodic - (profile.active ? profile.at(step) : 0)
      profile.update(step, taken - level - others)
    }
    for (const filter of this.#bank) filter.update(taken - periodic, this.#square)
    this.#weigh()
  }

  #weigh(): void {
    const best = Math.max(...this.#bank.map(({ logLikelihood }) => logLikelihood))
    let sum = 0
    for (const [i, { logLikelihood }] of this.#bank.entries()) {
      const weight = (LEVEL_PRIORS[i] ?? 0) * Math.exp(logLikelihood - best)
      this.#weights[i] = weight
      sum += weight
    }
    for (let i = 0; i < this.#weights.length; i++) this.#weights[i] = (this.#weights[i] ?? 0) / sum
  }

  /** Mean bits of each step to come into `mean`, and the variance of their sum so far into `sumVariance`. */
  project(steps: number, mean: Float64Array, sumVariance: Float64Array): void {
    const level = this.levelBits
    const spread = this.#spread(level)
    // Compound Poisson: the variance goes with the demand, so it is larger in a burst and in a busy time.
    const perBit = this.#square / Math.max(1, this.#mean)
    let noise = 0
    let drift = 0
    for (let i = 0; i < steps; i++) {
      const bits = this.#expected(this.#step + 1 + i)
      mean[i] = bits
      noise += perBit * Math.max(0.1 * this.#mean, 0.5 * bits + 0.5 * level)
      drift = (i + 1) ** 2 * (spread.level + (spread.walk * (i + 1)) / 3)
      sumVariance[i] = noise + drift
    }
  }

  /** Variance of the level, between the filters of the bank too, and of its walk in a step; bits^2. */
  #spread(mixed: number): { readonly level: number; readonly walk: number } {
    let level = 0
    let walk = 0
    for (const [i, filter] of this.#bank.entries()) {
      const weight = this.#weights[i] ?? 0
      level += weight * (filter.p * this.#square + (filter.level - mixed) ** 2)
      walk += weight * filter.ratio * this.#square
    }
    return { level, walk }
  }
}
