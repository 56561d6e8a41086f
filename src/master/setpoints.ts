import type { SetpointCommand } from './agc.ts'

export type SetpointConfig = {
  /** The chains to the units, and how often each is given a new set-point (Poisson), 1/s. */
  readonly units: readonly { readonly chain: string; readonly ratePerS: number }[]
  /** Set-points are uniform in -stepMw..stepMw about the unit's initial load reference. */
  readonly stepMw: number
  /** Age at which a set-point that has not taken effect is given up, ms (10 000). */
  readonly timeoutMs: number
}

/** Operators' and dispatch set-points: an independent Poisson stream on each chain. */
export class Setpoints {
  #config: SetpointConfig
  readonly #random: () => number
  #dueMs: readonly { readonly chain: string; readonly ratePerS: number; atMs: number }[]

  /** `random` gives uniform numbers in 0..1, 1 excluded. The streams begin at `nowMs`. */
  constructor(config: SetpointConfig, random: () => number, nowMs: number) {
    this.#config = config
    this.#random = random
    this.#dueMs = config.units.map(({ chain, ratePerS }) => ({ chain, ratePerS, atMs: nowMs + this.#gapMs(ratePerS) }))
  }

  /** Takes other terms or units; units that stay keep the time of their next set-point. */
  configure(config: SetpointConfig, nowMs: number): void {
    const atMsOf = new Map(this.#dueMs.map(({ chain, ratePerS, atMs }) => [`${ratePerS} ${chain}`, atMs]))
    this.#config = config
    this.#dueMs = config.units.map(({ chain, ratePerS }) => {
      const atMs = atMsOf.get(`${ratePerS} ${chain}`) ?? nowMs + this.#gapMs(ratePerS)
      return { chain, ratePerS, atMs }
    })
  }

  /** When the next set-point is due; infinite when there will be none. */
  get nextAtMs(): number {
    return this.#dueMs.reduce((atMs, due) => Math.min(atMs, due.atMs), Number.POSITIVE_INFINITY)
  }

  /** The set-points that are due. */
  step(nowMs: number): readonly SetpointCommand[] {
    const commands: SetpointCommand[] = []
    for (const due of this.#dueMs) {
      while (due.atMs <= nowMs) {
        commands.push({ chain: due.chain, deltaMw: (2 * this.#random() - 1) * this.#config.stepMw })
        due.atMs += this.#gapMs(due.ratePerS)
      }
    }
    return commands
  }

  #gapMs(ratePerS: number): number {
    return ratePerS > 0 ? (-Math.log(1 - this.#random()) / ratePerS) * 1000 : Number.POSITIVE_INFINITY
  }
}
