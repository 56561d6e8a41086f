/** A bounded series of samples over the whole run: when it is full, every other sample goes and the spacing doubles. */

/** Columns of a history, each as long as `tMs`. `null`: not known at that time. */
export type HistoryColumns = {
  readonly tMs: readonly number[]
  readonly columns: Readonly<Record<string, readonly (number | null)[]>>
}

const MAX_SAMPLES = 2_400
const FIRST_SPACING_MS = 100

export class History {
  readonly #names: readonly string[]
  readonly #maxSamples: number
  #tMs: number[] = []
  #values: (number | null)[][] = []
  #spacingMs = FIRST_SPACING_MS

  constructor(names: readonly string[], maxSamples: number = MAX_SAMPLES) {
    this.#names = names
    this.#maxSamples = maxSamples
    this.clear()
  }

  get spacingMs(): number {
    return this.#spacingMs
  }

  get size(): number {
    return this.#tMs.length
  }

  clear(): void {
    this.#tMs = []
    this.#values = this.#names.map(() => [])
    this.#spacingMs = FIRST_SPACING_MS
  }

  /** Takes a sample if the last one is a spacing ago; says whether it did. Time that goes back is not taken. */
  add(tMs: number, sample: Readonly<Record<string, number | null>>): boolean {
    const last = this.#tMs.at(-1)
    if (last !== undefined && tMs - last < this.#spacingMs * 0.9) return false
    if (this.#tMs.length >= this.#maxSamples) this.#thin()
    this.#tMs.push(tMs)
    for (const [index, name] of this.#names.entries()) this.#values[index]?.push(sample[name] ?? null)
    return true
  }

  columns(): HistoryColumns {
    return {
      tMs: [...this.#tMs],
      columns: Object.fromEntries(this.#names.map((name, index) => [name, [...(this.#values[index] ?? [])]])),
    }
  }

  /** Takes over what another one gave by `columns`. */
  load({ tMs, columns }: HistoryColumns): void {
    this.clear()
    for (const [index, at] of tMs.entries()) {
      this.#tMs.push(at)
      for (const [column, name] of this.#names.entries()) this.#values[column]?.push(columns[name]?.[index] ?? null)
    }
    const [first = 0, second = FIRST_SPACING_MS] = tMs
    this.#spacingMs = Math.max(FIRST_SPACING_MS, second - first)
    while (this.#tMs.length > this.#maxSamples) this.#thin()
  }

  #thin(): void {
    const isKept = (_: unknown, index: number): boolean => index % 2 === 0
    this.#tMs = this.#tMs.filter(isKept)
    this.#values = this.#values.map((column) => column.filter(isKept))
    this.#spacingMs *= 2
  }
}

/** What is drawn over time: stock and its bounds are bits, frequencies Hz, voltages p.u. */
export const SERIES = ['poolBits', 'deltaFHz', 'worstHz', 'minVoltagePu', 'maxVoltagePu'] as const
