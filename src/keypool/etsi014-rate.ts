import type { Etsi014Status } from './etsi014-messages.ts'

/** Weight of the newest reading. */
const SMOOTHING = 0.3

/**
 * How fast a key manager's stock grows, bit/s: what it holds more than at the last look, and what was taken meanwhile.
 * Key that others take, or that a full manager throws away, is not seen, so the figure is a lower bound.
 */
export class RateMeter {
  #last: { readonly storedBits: number; readonly atMs: number } | undefined
  #pulledBits = 0
  #rateBps: number | undefined

  /** This many bits were taken since the last look. */
  pulled(bits: number): void {
    this.#pulledBits += bits
  }

  look(status: Pick<Etsi014Status, 'storedKeyCount' | 'keySizeBits'>, nowMs: number): number {
    const storedBits = status.storedKeyCount * status.keySizeBits
    const last = this.#last
    if (last !== undefined && nowMs <= last.atMs) return this.#rateBps ?? 0
    this.#last = { storedBits, atMs: nowMs }
    const grownBits = storedBits - (last?.storedBits ?? 0) + this.#pulledBits
    this.#pulledBits = 0
    if (last === undefined) return this.#rateBps ?? 0
    const readingBps = Math.max(0, (grownBits * 1000) / (nowMs - last.atMs))
    this.#rateBps = this.#rateBps === undefined ? readingBps : this.#rateBps + SMOOTHING * (readingBps - this.#rateBps)
    return this.#rateBps
  }

  /** The manager was away: what it made meanwhile is unknown. */
  restart(): void {
    this.#last = undefined
    this.#pulledBits = 0
  }
}
