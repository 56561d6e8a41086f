import { SEQ_MODULUS } from '../iec104/apci.ts'
import type { Suite } from './types.ts'

/** A received I-frame: the APDU and the suite it came in. */
export type ReceivedFrame = { readonly apdu: Uint8Array; readonly suite: Suite }

/** Puts the I-frames of a session in the order of N(S), holding a bounded number of those that came too early. */
export class ReorderBuffer {
  readonly #limit: number
  readonly #held = new Map<number, ReceivedFrame>()
  #nextSeq = 0

  /** `limit`: how far ahead of the next frame a frame is held, at least the peer's k, below 16384. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Frames held back. */
  get held(): number {
    return this.#held.size
  }

  /** Takes a frame and gives those that are now in order; undefined when it lies outside the window. */
  take(sendSeq: number, frame: ReceivedFrame): readonly ReceivedFrame[] | undefined {
    const ahead = (sendSeq - this.#nextSeq + SEQ_MODULUS) % SEQ_MODULUS
    if (ahead > this.#limit) return undefined
    this.#held.set(sendSeq, frame)
    const run: ReceivedFrame[] = []
    for (;;) {
      const next = this.#held.get(this.#nextSeq)
      if (next === undefined) return run
      this.#held.delete(this.#nextSeq)
      this.#nextSeq = (this.#nextSeq + 1) % SEQ_MODULUS
      run.push(next)
    }
  }
}
