import { cot, peekAsdu } from '../../protocol/index.ts'

/** Most events kept; the oldest give way. */
const MAX_RETAINED = 1024

/**
 * What was left over when a connection ended. The outstation was told that its ASDUs had arrived, so its spontaneous
 * ones are kept and go to the master first when data transfer starts again, as an outstation's own buffer would do it.
 * All else is out of date by then and is counted: cyclic values and interrogations come anew, and a command must not be
 * carried out later than its sender thinks.
 */
export class Retained {
  #events: Uint8Array[] = []
  #discarded = 0

  get count(): number {
    return this.#events.length
  }

  /** Takes ASDUs in the order in which they were sent; `isAhead` puts them before those that are here. */
  add(asdus: readonly Uint8Array[], isAhead = false): void {
    const events = asdus.filter(isEvent)
    this.#events = isAhead ? [...events, ...this.#events] : [...this.#events, ...events]
    const excess = Math.max(0, this.#events.length - MAX_RETAINED)
    this.#events.splice(0, excess)
    this.#discarded += asdus.length - events.length + excess
  }

  take(): Uint8Array | undefined {
    return this.#events.shift()
  }

  /** ASDUs given up since the last call. */
  takeDiscarded(): number {
    const count = this.#discarded
    this.#discarded = 0
    return count
  }
}

function isEvent(asdu: Uint8Array): boolean {
  const view = peekAsdu(asdu)
  return view !== undefined && view.cot === cot.spontaneous
}
