/** Why a plan is as it is: what was foreseen, what key was worth, and what each chain's options would have cost. */

/** Steps are those of the horizon. */
export type PlanDetail = {
  /**
   * `spare`: solved with the reserve at the end to spare, so that better suites than required are chosen. `optimal`: with the
   * reserve at the end on average. `reserve`: only without it. `protect`: no plan keeps the rows, so the most
   * urgent chains alone are served. `waiting`: the pool has not been heard of yet.
   */
  readonly mode: 'spare' | 'optimal' | 'reserve' | 'protect' | 'waiting'
  /** Who made the forecast. */
  readonly forecast: string
  readonly stepMs: number
  readonly stockBits: number
  readonly supplyBits: readonly number[]
  /** Lower band of the stock as the forecast gives it, if use goes on as seen. */
  readonly stockLowerBits: readonly number[]
  /** Use that no chain explains, bits a step. */
  readonly otherBits: number
  /** Key the chains may use up to each step, and use on average by the plan. */
  readonly availableBits: readonly number[]
  readonly usedBits: readonly number[]
  /** What the chance row leaves. */
  readonly slackBits: readonly number[]
  /** What a bit more up to each step would save. */
  readonly rowPrices: readonly number[]
  /** Where frequency or voltages count: what they cost in the plan, of its value. */
  readonly deviations?: readonly DeviationDetail[]
  /** Cost of the plan, and what no plan costs less than. */
  readonly objective: number
  readonly bound: number
  /** What is between them, of what can be avoided of the cost. */
  readonly gap: number
  readonly proven: boolean
  /** Time the solver took, ms; 0 where it has no clock. */
  readonly solveMs: number
  readonly chains: readonly ChainDetail[]
}

/** A deviation over all steps. */
export type DeviationDetail = {
  /** Whose voltage it is; 0: the frequency. */
  readonly bus: number
  readonly cost: number
  /** Largest one: Hz off either way, or pu outside the band (below 0: within). */
  readonly worst: number
}

/** A chain in the first step: its options, a second each. */
export type ChainDetail = {
  readonly chain: string
  /** Index of the option taken. */
  readonly taken: number
  readonly options: readonly {
    /** `off`, or suite and path: `otp 0`. */
    readonly name: string
    readonly usable: boolean
    readonly costPerS: number
    /** Mean key, bit/s. */
    readonly keyBps: number
    /** That key at the plan's prices, and the risk it brings. */
    readonly keyCostPerS: number
    /** What a second more of it would add to the cost of frequency and voltages; absent where they do not count. */
    readonly gridCostPerS?: number
  }[]
}
