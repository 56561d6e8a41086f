/** Secondary control (automatic generation control): proportional-integral on the MW shortage. */

export type AgcConfig = {
  /** ms between two commands (4 000). */
  readonly periodMs: number
  /** Gain on the MW shortage. */
  readonly kp: number
  /** Gain on the time integral of the MW shortage, 1/s. */
  readonly kiPerS: number
  /** Frequency bias: MW shortage per Hz the frequency is too low. */
  readonly mwPerHz: number
  /** The units: the chain that carries the commands, and the unit's share (shares are scaled to a sum of 1). */
  readonly units: readonly { readonly chain: string; readonly share?: number }[]
  /** Most that one unit is set off its initial load reference, MW, either way (default: no limit). */
  readonly limitMw?: number
}

/** A set-point: change of the unit's load reference from its initial value, MW. */
export type SetpointCommand = { readonly chain: string; readonly deltaMw: number }

/** The controller. Pure: `step` is called by the master each period. */
export class Agc {
  #config: AgcConfig
  #shareSum: number
  /** Integral of the shortage, MW s. */
  #integralMwS = 0
  #lastMs: number | undefined

  constructor(config: AgcConfig) {
    this.#config = config
    this.#shareSum = sharesOf(config)
  }

  /** Takes other terms or units; the integral goes on. */
  configure(config: AgcConfig): void {
    this.#config = config
    this.#shareSum = sharesOf(config)
  }

  /**
   * One step on the frequency deviation (Hz); the commands for all units, or none while the deviation is unknown (the
   * integral then stands still).
   */
  step(deltaFHz: number | undefined, nowMs: number): readonly SetpointCommand[] {
    if (deltaFHz === undefined) {
      this.#lastMs = nowMs
      return []
    }
    const { kp, kiPerS, mwPerHz, units, limitMw = Number.POSITIVE_INFINITY } = this.#config
    const shortageMw = -deltaFHz * mwPerHz
    const elapsedS = (nowMs - (this.#lastMs ?? nowMs)) / 1000
    this.#lastMs = nowMs
    const integralMwS = this.#integralMwS + shortageMw * elapsedS
    const wantedMw = kp * shortageMw + kiPerS * integralMwS
    // Units at their limit must not wind the integral up further.
    const isAtLimit = units.every(({ share = 1 }) => Math.abs((wantedMw * share) / this.#shareSum) > limitMw)
    if (!isAtLimit) this.#integralMwS = integralMwS
    return units.map(({ chain, share = 1 }) => {
      const deltaMw = (wantedMw * share) / this.#shareSum
      return { chain, deltaMw: Math.min(limitMw, Math.max(-limitMw, deltaMw)) }
    })
  }
}

function sharesOf({ units }: AgcConfig): number {
  return units.reduce((sum, { share = 1 }) => sum + share, 0)
}
