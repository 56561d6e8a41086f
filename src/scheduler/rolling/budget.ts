/** How much a solve may do: until a time, or a number of units of work (about an option looked at once) where no clock may be. */
export type Limit =
  | { readonly kind: 'time'; readonly now: () => number; readonly limitMs: number }
  | { readonly kind: 'work'; readonly units: number }

/** Keeps account of a limit. */
export class Budget {
  readonly #limit: Limit
  readonly #startMs: number
  #spent = 0

  constructor(limit: Limit) {
    this.#limit = limit
    this.#startMs = limit.kind === 'time' ? limit.now() : 0
  }

  /** Notes work done. */
  spend(units: number): void {
    this.#spent += units
  }

  /** Units of work done so far. */
  get spent(): number {
    return this.#spent
  }

  /** Time since the start, ms; 0 without a clock. */
  get elapsedMs(): number {
    return this.#limit.kind === 'time' ? this.#limit.now() - this.#startMs : 0
  }

  /** Share of the limit that is used up; 1 and more: stop. */
  get used(): number {
    return this.#limit.kind === 'time' ? this.elapsedMs / this.#limit.limitMs : this.#spent / this.#limit.units
  }
}
