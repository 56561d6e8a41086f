/** A budget of calls: `perS` a second, and as many at once after a second of quiet. */
export class CallLimit {
  readonly #perS: number
  #left: number
  #atMs = 0

  constructor(perS: number) {
    this.#perS = perS
    this.#left = perS
  }

  /** Whether one more call may be answered at this time. */
  take(nowMs: number): boolean {
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#left = Math.min(this.#perS, this.#left + (passedMs * this.#perS) / 1000)
    this.#atMs = Math.max(this.#atMs, nowMs)
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
