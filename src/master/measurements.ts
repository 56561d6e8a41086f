/** The control centre's picture of the grid: latest values, and the frequency of the centre of inertia. */

export type MeasurementsConfig = {
  /** Measured machine speeds: the point, and the machine's inertia H x S (any unit, the same for all). */
  readonly machines: readonly { readonly ca: number; readonly ioa: number; readonly weight: number }[]
  /** Measured voltages, pu, where somebody asks for them. Of several at a bus the last one counts. */
  readonly voltages?: readonly { readonly bus: number; readonly ca: number; readonly ioa: number }[]
  /** Age by time tag at which a value no longer counts, ms. */
  readonly staleMs: number
  /** Share of the inertia that must be measured for an estimate, 0..1 (default 0.5). */
  readonly minWeightRatio?: number
}

export type Measurement = { readonly value: number; readonly tagWallMs: number; readonly isValid: boolean }

/** Latest values by point. Bounded: no more points than `MAX_POINTS` are kept. */
export class Measurements {
  readonly #config: MeasurementsConfig
  readonly #values = new Map<number, Measurement>()
  readonly #weightSum: number

  constructor(config: MeasurementsConfig) {
    this.#config = config
    this.#weightSum = config.machines.reduce((sum, { weight }) => sum + weight, 0)
  }

  /** Takes a value; one whose tag is older than what is there is a late arrival and is dropped. */
  set(ca: number, ioa: number, measurement: Measurement): void {
    const key = keyOf(ca, ioa)
    const last = this.#values.get(key)
    if (last === undefined ? this.#values.size >= MAX_POINTS : last.tagWallMs > measurement.tagWallMs) return
    this.#values.set(key, measurement)
  }

  get(ca: number, ioa: number): Measurement | undefined {
    return this.#values.get(keyOf(ca, ioa))
  }

  /** Frequency deviation of the centre of inertia, Hz: the mean of fresh machine speeds by inertia; undefined if too few. */
  coiHz(nowWallMs: number): number | undefined {
    const { machines, minWeightRatio = 0.5 } = this.#config
    let sum = 0
    let weights = 0
    for (const { ca, ioa, weight } of machines) {
      const value = this.#fresh(ca, ioa, nowWallMs)
      if (value === undefined) continue
      sum += weight * value
      weights += weight
    }
    return weights > 0 && weights >= minWeightRatio * this.#weightSum ? sum / weights : undefined
  }

  /** Fresh voltages by bus, pu; undefined where nobody asks for them. */
  voltagesPu(nowWallMs: number): ReadonlyMap<number, number> | undefined {
    const { voltages } = this.#config
    if (voltages === undefined) return undefined
    const found = new Map<number, number>()
    for (const { bus, ca, ioa } of voltages) {
      const value = this.#fresh(ca, ioa, nowWallMs)
      if (value !== undefined && Number.isFinite(value)) found.set(bus, value)
    }
    return found
  }

  #fresh(ca: number, ioa: number, nowWallMs: number): number | undefined {
    const measurement = this.#values.get(keyOf(ca, ioa))
    if (measurement === undefined || !measurement.isValid) return undefined
    return nowWallMs - measurement.tagWallMs > this.#config.staleMs ? undefined : measurement.value
  }
}

const MAX_POINTS = 100_000

/** CA and IOA in one number: 16 and 24 bits. */
function keyOf(ca: number, ioa: number): number {
  return ca * 0x100_0000 + ioa
}
