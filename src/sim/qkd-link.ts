import { BB84, type KeyRate, keyRate, type RateModel } from './key-rate.ts'
import type { Random } from './random.ts'

/**
 * Something that happens to a link from `fromMs` (lab time) until `toMs`.
 *
 * - `cut`: the fibre is cut, no key and no datagram passes.
 * - `attenuation`: loss on top of the fibre's (bending, wind, heat).
 * - `emi`: wrong detections (electromagnetic interference, vibration), added to the share of wrong signal detections.
 * - `background`: detections without signal (stray light, dark counts).
 */
export type Disturbance = { readonly fromMs: number; readonly toMs: number } & (
  | { readonly kind: 'cut' }
  | { readonly kind: 'attenuation'; readonly addedDb: number }
  | { readonly kind: 'emi'; readonly errorRatio: number }
  | { readonly kind: 'background'; readonly backgroundPerS: number }
)

/** A QKD link and the classical channel on the same fibre. All but `link` and `lengthKm` have defaults. */
export type QkdLinkOptions = {
  readonly link: number
  readonly lengthKm: number
  readonly rateModel?: RateModel
  /** a0; default 0.2. */
  readonly attenuationDbPerKm?: number
  /** Standard deviation of the attenuation's slow drift; default 0.04. */
  readonly attenuationStdDbPerKm?: number
  /** Correlation time of that drift; default 60. */
  readonly attenuationTauS?: number
  /** 1 / lambda_G, how fast the rate follows its mean; default 5. */
  readonly rateTauS?: number
  /** Standard deviation of the rate about its mean, of the mean; default 0.05. */
  readonly rateStdRatio?: number
  /** Poisson rate of breaks while the link is up; default 1/5000. */
  readonly breakRatePerS?: number
  /** Shortest and longest break, uniform between; default 3 to 5. */
  readonly breakDurationS?: readonly [number, number]
  /** After a break the mean rate rises to its full value over this time, linearly; default 0. */
  readonly recoveryS?: number
  /** Mean one-way delay; default 4.9 us/km and 0.5 ms of devices. */
  readonly delayMs?: number
  /** Standard deviation of the delay's slow wander (queues, bending); default 0.05. Jitter of single datagrams is the link law's. */
  readonly delayStdMs?: number
  /** Correlation time of that wander; default 5. */
  readonly delayTauS?: number
  readonly disturbances?: readonly Disturbance[]
}

/** What a link did in one step. */
export type QkdStep = {
  readonly up: boolean
  /** Rate at the end of the step; 0 while the link is down. */
  readonly rateBps: number
  /** Whole bits of key finished in the step. */
  readonly bits: number
  readonly qber: number
  /** Loss of the whole fibre, disturbances included. */
  readonly attenuationDb: number
  readonly delayMs: number
  /** The link went up or down, or its rate or delay moved noticeably since the last step that said so. */
  readonly changed: boolean
}

/** Light in fibre, group index 1.47. */
export const PROPAGATION_MS_PER_KM = 0.0049
export const DEVICE_DELAY_MS = 0.5

/** What counts as noticeable: a tenth of a millisecond, a tenth of the rate. */
const DELAY_STEP_MS = 0.1
const RATE_STEP_RATIO = 0.1

const DEFAULTS = {
  rateModel: BB84 as RateModel,
  attenuationDbPerKm: 0.2,
  attenuationStdDbPerKm: 0.04,
  attenuationTauS: 60,
  rateTauS: 5,
  rateStdRatio: 0.05,
  breakRatePerS: 1 / 5000,
  breakDurationS: [3, 5] as readonly [number, number],
  recoveryS: 0,
  delayStdMs: 0.05,
  delayTauS: 5,
}

/** What a step of an Ornstein-Uhlenbeck process keeps of the old value, and its noise, of the standard deviation. */
type Decay = { readonly kept: number; readonly noise: number }
type Decays = { readonly dtMs: number; readonly attenuation: Decay; readonly delay: Decay; readonly rate: Decay }

const NONE: readonly Disturbance[] = []

/**
 * Model of a QKD link, in steps of any length.
 *
 * Attenuation: a0 L plus an Ornstein-Uhlenbeck drift whose effect on the mean transmittance is taken out. Rate: an
 * Ornstein-Uhlenbeck process about the rate that the model gives for the present transmittance and noise, in exact
 * discretisation, not below 0. Breaks: a Poisson process while the link is up. A break or cut begins and ends on a step.
 */
export class QkdLink {
  readonly link: number
  readonly #options: typeof DEFAULTS & { readonly lengthKm: number }
  readonly #random: Random
  /** e^-(c L sigma)^2/2 with c = ln 10 / 10: makes E[eta] that of the mean attenuation. */
  readonly #meanCorrection: number
  readonly #meanDelayMs: number
  #disturbances: Disturbance[]
  #nowMs = 0
  /** Standard normal states of the two drifts. */
  #attenuationDrift: number
  #delayDrift: number
  #rateBps: number
  #carryBits = 0
  #up = true
  #nextBreakMs: number
  #brokenUntilMs = 0
  #repairedMs = -Infinity
  #decays: Decays | undefined
  /** What the link would make over no fibre at all. */
  #clear: KeyRate | undefined
  #told: { readonly rateBps: number; readonly delayMs: number } | undefined

  /** @throws RangeError naming the first option out of range. */
  constructor(options: QkdLinkOptions, random: Random) {
    const { link, lengthKm, delayMs, disturbances = [], ...given } = options
    this.link = link
    this.#options = { ...DEFAULTS, ...given, lengthKm }
    checkRanges(this.#options)
    this.#random = random
    const lossStd = (Math.LN10 / 10) * lengthKm * this.#options.attenuationStdDbPerKm
    this.#meanCorrection = Math.exp(-(lossStd ** 2) / 2)
    this.#meanDelayMs = delayMs ?? lengthKm * PROPAGATION_MS_PER_KM + DEVICE_DELAY_MS
    this.#disturbances = [...disturbances]
    this.#attenuationDrift = random.normal()
    this.#delayDrift = random.normal()
    const { rateBps } = this.#mean(this.#attenuationDb())
    this.#rateBps = Math.max(0, rateBps * (1 + this.#options.rateStdRatio * random.normal()))
    this.#nextBreakMs = this.#drawBreakMs()
  }

  /** Adds a disturbance while running. */
  disturb(disturbance: Disturbance): void {
    this.#disturbances.push(disturbance)
  }

  /** Ends every disturbance of this kind that acts now; a mended `cut` also ends a break of the link's own. */
  mend(kind: Disturbance['kind']): void {
    this.#disturbances = this.#disturbances.filter((one) => one.kind !== kind || one.fromMs > this.#nowMs)
    if (kind === 'cut') this.#brokenUntilMs = Math.min(this.#brokenUntilMs, this.#nowMs)
  }

  /** Moves the link on by `dtMs`. */
  step(dtMs: number): QkdStep {
    this.#nowMs += dtMs
    const nowMs = this.#nowMs
    if (this.#disturbances.length > 0) this.#disturbances = this.#disturbances.filter(({ toMs }) => toMs > nowMs)
    const { attenuation, delay } = this.#decaysOver(dtMs)
    this.#attenuationDrift = this.#drift(this.#attenuationDrift, 1, attenuation)
    this.#delayDrift = this.#drift(this.#delayDrift, 1, delay)
    const attenuationDb = this.#attenuationDb()
    const mean = this.#mean(attenuationDb)

    const wasUp = this.#up
    this.#breakOrRepair()
    this.#stepRate(mean.rateBps, wasUp, dtMs)
    this.#carryBits += (this.#rateBps * dtMs) / 1000
    const bits = Math.floor(this.#carryBits)
    this.#carryBits -= bits

    const delayMs = Math.max(0, this.#meanDelayMs + this.#options.delayStdMs * this.#delayDrift)
    const changed = this.#up !== wasUp || this.#moved(delayMs)
    if (changed) this.#told = { rateBps: this.#rateBps, delayMs }
    return { up: this.#up, rateBps: this.#rateBps, bits, qber: mean.qber, attenuationDb, delayMs, changed }
  }

  #attenuationDb(): number {
    const { attenuationDbPerKm, attenuationStdDbPerKm, lengthKm } = this.#options
    let db = (attenuationDbPerKm + attenuationStdDbPerKm * this.#attenuationDrift) * lengthKm
    for (const active of this.#active()) if (active.kind === 'attenuation') db += active.addedDb
    return db
  }

  /** Mean rate and QBER now, breaks apart. */
  #mean(attenuationDb: number): KeyRate {
    const fibreRatio = Math.min(1, 10 ** (-attenuationDb / 10) * this.#meanCorrection)
    const { rateModel } = this.#options
    if (this.#disturbances.length === 0 && rateModel.kind === 'bb84' && rateModel.backgroundPerS === 0) {
      // Without background the error rate is fixed, and the rate goes with the light that arrives.
      this.#clear ??= keyRate(rateModel, 1)
      return { rateBps: this.#clear.rateBps * fibreRatio, qber: this.#clear.qber }
    }
    let backgroundPerS = 0
    let errorRatio = 0
    for (const active of this.#active()) {
      if (active.kind === 'background') backgroundPerS += active.backgroundPerS
      else if (active.kind === 'emi') errorRatio += active.errorRatio
    }
    return keyRate(rateModel, fibreRatio, { backgroundPerS, errorRatio })
  }

  #breakOrRepair(): void {
    const nowMs = this.#nowMs
    if (this.#up && nowMs >= this.#nextBreakMs) {
      const [shortestS, longestS] = this.#options.breakDurationS
      this.#brokenUntilMs = nowMs + 1000 * (shortestS + (longestS - shortestS) * this.#random.uniform())
    }
    const up = nowMs >= this.#brokenUntilMs && !this.#active().some(({ kind }) => kind === 'cut')
    if (up && !this.#up) {
      this.#repairedMs = nowMs
      this.#nextBreakMs = this.#drawBreakMs()
    }
    this.#up = up
  }

  #stepRate(meanBps: number, wasUp: boolean, dtMs: number): void {
    const { recoveryS, rateStdRatio } = this.#options
    // Where no secret key can be distilled there is none, however good the moment before was.
    if (!this.#up || meanBps === 0) {
      this.#rateBps = 0
      return
    }
    const rampRatio = recoveryS > 0 ? Math.min(1, (this.#nowMs - this.#repairedMs) / (1000 * recoveryS)) : 1
    const targetBps = meanBps * rampRatio
    if (!wasUp) this.#rateBps = targetBps
    else {
      const noise = this.#drift(this.#rateBps - targetBps, rateStdRatio * targetBps, this.#decaysOver(dtMs).rate)
      this.#rateBps = Math.max(0, targetBps + noise)
    }
  }

  /** Exact step of an Ornstein-Uhlenbeck process about 0. */
  #drift(value: number, std: number, { kept, noise }: Decay): number {
    return value * kept + std * noise * this.#random.normal()
  }

  /** Steps are all of one length, so their exponentials are taken once. */
  #decaysOver(dtMs: number): Decays {
    if (this.#decays?.dtMs === dtMs) return this.#decays
    const { attenuationTauS, delayTauS, rateTauS } = this.#options
    const over = (tauS: number): Decay => {
      const steps = dtMs / (1000 * tauS)
      return { kept: Math.exp(-steps), noise: Math.sqrt(-Math.expm1(-2 * steps)) }
    }
    this.#decays = { dtMs, attenuation: over(attenuationTauS), delay: over(delayTauS), rate: over(rateTauS) }
    return this.#decays
  }

  #moved(delayMs: number): boolean {
    const told = this.#told
    if (told === undefined || Math.abs(delayMs - told.delayMs) >= DELAY_STEP_MS) return true
    return Math.abs(this.#rateBps - told.rateBps) > RATE_STEP_RATIO * Math.max(told.rateBps, this.#rateBps)
  }

  #active(): readonly Disturbance[] {
    if (this.#disturbances.length === 0) return NONE
    return this.#disturbances.filter(({ fromMs }) => fromMs <= this.#nowMs)
  }

  #drawBreakMs(): number {
    const { breakRatePerS } = this.#options
    return breakRatePerS > 0 ? this.#nowMs + this.#random.exponential(1000 / breakRatePerS) : Infinity
  }
}

function checkRanges(options: typeof DEFAULTS & { readonly lengthKm: number }): void {
  const { attenuationTauS, rateTauS, delayTauS, breakDurationS, lengthKm } = options
  const refuse = (name: string): never => {
    throw new RangeError(`QKD link: ${name} is out of range`)
  }
  for (const [name, value] of Object.entries({ attenuationTauS, rateTauS, delayTauS })) if (!(value > 0)) refuse(name)
  if (!(lengthKm >= 0)) refuse('lengthKm')
  for (const name of [
    'attenuationDbPerKm',
    'attenuationStdDbPerKm',
    'rateStdRatio',
    'breakRatePerS',
    'recoveryS',
    'delayStdMs',
  ] as const) {
    if (!(options[name] >= 0)) refuse(name)
  }
  if (!(breakDurationS[0] > 0 && breakDurationS[1] >= breakDurationS[0])) refuse('breakDurationS')
}
