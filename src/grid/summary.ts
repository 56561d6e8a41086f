/** What a run's frequency was like, from one sample a step. */
export type GridSummary = {
  /** Largest absolute frequency deviation of the centre of inertia, Hz. */
  readonly maxAbsDeltaFHz: number
  /** Largest absolute speed deviation of any connected machine, Hz. */
  readonly maxWorstMachineHz: number
  /** Time with the centre of inertia outside the band, s: the integral form of TRR. */
  readonly secondsAboveBand: number
  /**
   * From the first disturbance to the final return into the band, s: 0 when the band was never left, null when there was
   * no disturbance or the frequency is still outside.
   */
  readonly lastReturnS: number | null
}

/** Keeps the figures of a `GridSummary` as the run goes. */
export class SummaryKeeper {
  readonly #bandHz: number
  readonly #stepMs: number
  #maxAbsDeltaFHz = 0
  #maxWorstMachineHz = 0
  #stepsAbove = 0
  #disturbedAtMs: number | undefined
  #returnedAtMs: number | undefined
  #outside = false

  constructor(bandHz: number, stepMs: number) {
    this.#bandHz = bandHz
    this.#stepMs = stepMs
  }

  /** The first call marks the disturbance that the return is counted from. */
  disturbed(tMs: number): void {
    this.#disturbedAtMs ??= tMs
  }

  note(tMs: number, deltaFHz: number, worstHz: number): void {
    this.#maxAbsDeltaFHz = Math.max(this.#maxAbsDeltaFHz, Math.abs(deltaFHz))
    this.#maxWorstMachineHz = Math.max(this.#maxWorstMachineHz, worstHz)
    const outside = Math.abs(deltaFHz) > this.#bandHz
    if (outside) this.#stepsAbove++
    else if (this.#outside) this.#returnedAtMs = tMs
    this.#outside = outside
  }

  /** A step of a collapsed grid: outside the band, whatever its last numbers were. */
  noteCollapsed(): void {
    this.#stepsAbove++
    this.#outside = true
  }

  summary(): GridSummary {
    return {
      maxAbsDeltaFHz: this.#maxAbsDeltaFHz,
      maxWorstMachineHz: this.#maxWorstMachineHz,
      secondsAboveBand: (this.#stepsAbove * this.#stepMs) / 1000,
      lastReturnS: this.#lastReturnS(),
    }
  }

  #lastReturnS(): number | null {
    if (this.#disturbedAtMs === undefined || this.#outside) return null
    return this.#returnedAtMs === undefined ? 0 : Math.max(0, this.#returnedAtMs - this.#disturbedAtMs) / 1000
  }
}
