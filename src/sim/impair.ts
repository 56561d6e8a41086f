import type { LinkState } from '../runtime/contract.ts'
import type { Random } from './random.ts'

/** What a link does to a datagram: the law that `tc netem` applies on the egress of a link, in one direction. */
export type LinkLaw = {
  readonly delayMs: number
  /** Standard deviation (`normal`) or half width (`uniform`) of the delay, ms. Datagrams may overtake each other. */
  readonly jitterMs: number
  readonly jitter: 'normal' | 'uniform'
  /** Part of the datagrams lost while the link is up, independent of each other. */
  readonly lossRatio: number
  /** Line rate, bit/s, with a queue as long as it takes; absent: no limit. */
  readonly bandwidthBps?: number
  /** The link is broken: every datagram is lost. */
  readonly outage: boolean
}

/** A link that delivers at once, loses nothing. */
export const CLEAR: LinkLaw = Object.freeze({ delayMs: 0, jitterMs: 0, jitter: 'normal', lossRatio: 0, outage: false })

/** The law of a link in the state its model reports: the state's delay, and an outage while it is down. */
export function lawInState(law: LinkLaw, state: Pick<LinkState, 'up' | 'delayMs'>): LinkLaw {
  return { ...law, delayMs: state.delayMs, outage: !state.up }
}

/** One direction of a link under a law. */
export class Impairment {
  #law: LinkLaw
  readonly #random: Random
  #lineFreeMs = 0

  constructor(law: LinkLaw, random: Random) {
    this.#law = checked(law)
    this.#random = random
  }

  get law(): LinkLaw {
    return this.#law
  }

  /** Changes the law for datagrams sent from now on; those on their way arrive as they would have. */
  set law(law: LinkLaw) {
    this.#law = checked(law)
  }

  /** Lab time at which a datagram sent now arrives at the other end, or undefined when it is lost. */
  schedule(nowMs: number, sizeBytes: number): number | undefined {
    const { delayMs, jitterMs, jitter, lossRatio, bandwidthBps, outage } = this.#law
    if (outage) return undefined
    if (lossRatio > 0 && this.#random.uniform() < lossRatio) return undefined
    let sentMs = nowMs
    if (bandwidthBps !== undefined) {
      sentMs = Math.max(nowMs, this.#lineFreeMs) + (sizeBytes * 8000) / bandwidthBps
      this.#lineFreeMs = sentMs
    }
    if (jitterMs === 0) return sentMs + delayMs
    const deviation = jitter === 'normal' ? this.#random.normal() : 2 * this.#random.uniform() - 1
    return sentMs + Math.max(0, delayMs + jitterMs * deviation)
  }
}

function checked(law: LinkLaw): LinkLaw {
  const { delayMs, jitterMs, lossRatio, bandwidthBps = 1 } = law
  const fits = delayMs >= 0 && jitterMs >= 0 && lossRatio >= 0 && lossRatio <= 1 && bandwidthBps > 0
  if (!fits) throw new RangeError(`not a link law: ${JSON.stringify(law)}`)
  return law
}
