import type { LinkState } from '../runtime/contract.ts'
import type { Random } from './random.ts'

/** Shape of the jitter about the delay. */
export type JitterShape = 'normal' | 'uniform' | 'pareto'

/**
 * Losses in bursts: the model of Gilbert and Elliott. The link is in its good state, where `lossRatio` of the law holds,
 * or in its bad one; before each datagram's successor it may change over.
 */
export type BurstLoss = {
  /** Probability, at each datagram, of leaving the good state. */
  readonly startRatio: number
  /** Probability, at each datagram, of leaving the bad state: a burst is 1 / endRatio datagrams long on average. */
  readonly endRatio: number
  /** Part of the datagrams lost in the bad state. */
  readonly lossRatio: number
}

/** What a link does to a datagram: the law that `tc netem` applies on the egress of a link, in one direction. */
export type LinkLaw = {
  readonly delayMs: number
  /** Scale of the jitter, ms: see `jitterDeviation`. Datagrams may overtake each other, unless the rate is limited. */
  readonly jitterMs: number
  readonly jitter: JitterShape
  /** Part of the datagrams lost while the link is up, independent of each other; with `burst`, in its good state. */
  readonly lossRatio: number
  readonly burst?: BurstLoss
  /** Part of the datagrams that are sent twice; the copy has a delay and a loss of its own. */
  readonly duplicateRatio?: number
  /** Part of the datagrams that skip the delay, and so overtake those before them. */
  readonly reorderRatio?: number
  /**
   * Line rate, bit/s of Ethernet frames (a datagram and `FRAME_OVERHEAD_BYTES`), with a queue as long as it takes;
   * absent: no limit. Behind a limited rate no datagram overtakes another but by `reorderRatio`.
   */
  readonly bandwidthBps?: number
  /** The link is broken: every datagram is lost. */
  readonly outage: boolean
}

/** What an Ethernet frame carries besides the datagram: Ethernet header 14, IPv4 header 20, UDP header 8. */
export const FRAME_OVERHEAD_BYTES = 42

/** A link that delivers at once, loses nothing. */
export const CLEAR: LinkLaw = Object.freeze({ delayMs: 0, jitterMs: 0, jitter: 'normal', lossRatio: 0, outage: false })

/** The law of a link in the state its model reports: the state's delay, and an outage while it is down. */
export function lawInState(law: LinkLaw, state: Pick<LinkState, 'up' | 'delayMs'>): LinkLaw {
  return { ...law, delayMs: state.delayMs, outage: !state.up }
}

/** The kernel holds a jitter in 31 bits of nanoseconds. */
const MAX_JITTER_MS = 2_000
/** Largest deviation that netem's tables hold, in units of the jitter. */
const MAX_DEVIATION = 4

/**
 * Deviation of one delay from `delayMs`, in units of `jitterMs`, at most `MAX_DEVIATION` either way:
 * `normal` has standard deviation 1, `uniform` lies in -1..1, `pareto` is (4/3) (u^(-1/3) - 1.5), u uniform in (0, 1]: mean
 * about 0, all of it above -2/3, a long tail of late datagrams (netem's Pareto table).
 */
export function jitterDeviation(shape: JitterShape, random: Random): number {
  switch (shape) {
    case 'normal':
      return Math.max(-MAX_DEVIATION, Math.min(MAX_DEVIATION, random.normal()))
    case 'uniform':
      return 2 * random.uniform() - 1
    case 'pareto':
      return Math.min(MAX_DEVIATION, (4 / 3) * (1 / Math.cbrt(1 - random.uniform()) - 1.5))
  }
}

/** One direction of a link under a law. */
export class Impairment {
  #law: LinkLaw
  readonly #random: Random
  /** Latest arrival so far of a datagram that did not skip the delay. */
  #lastMs = 0
  #inBurst = false

  constructor(law: LinkLaw, random: Random) {
    this.#law = checkedLaw(law)
    this.#random = random
  }

  get law(): LinkLaw {
    return this.#law
  }

  /** Changes the law for datagrams sent from now on, outside of any burst; those on their way arrive as they would have. */
  set law(law: LinkLaw) {
    this.#law = checkedLaw(law)
    this.#inBurst = false
  }

  /**
   * Lab times at which a datagram of `sizeBytes` sent now arrives at the other end: none when it is lost, two when it is
   * doubled. Decides in netem's order: duplicate, lose, delay.
   */
  arrivals(nowMs: number, sizeBytes: number): readonly number[] {
    const { outage, duplicateRatio } = this.#law
    if (outage) return []
    const copies = this.#hits(duplicateRatio) ? 2 : 1
    const left = copies - (this.#isLost() ? 1 : 0)
    if (left === 0) return []
    if (left === 1) return [this.#arrivalMs(nowMs, sizeBytes)]
    // The copy enters the line as a datagram of its own, before the original.
    const copyMs = this.#isLost() ? [] : [this.#arrivalMs(nowMs, sizeBytes)]
    return [...copyMs, this.#arrivalMs(nowMs, sizeBytes)]
  }

  #isLost(): boolean {
    const { lossRatio, burst } = this.#law
    if (burst === undefined) return this.#hits(lossRatio)
    const wasInBurst = this.#inBurst
    if (this.#hits(wasInBurst ? burst.endRatio : burst.startRatio)) this.#inBurst = !wasInBurst
    return this.#hits(wasInBurst ? burst.lossRatio : lossRatio)
  }

  #arrivalMs(nowMs: number, sizeBytes: number): number {
    const { delayMs, jitterMs, jitter, reorderRatio, bandwidthBps } = this.#law
    if (delayMs > 0 && this.#hits(reorderRatio)) return nowMs
    const waitMs = jitterMs === 0 ? delayMs : delayMs + jitterMs * jitterDeviation(jitter, this.#random)
    const arrivesMs =
      bandwidthBps === undefined
        ? nowMs + Math.max(0, waitMs)
        : this.#behindLine(nowMs, waitMs, ((sizeBytes + FRAME_OVERHEAD_BYTES) * 8000) / bandwidthBps)
    this.#lastMs = Math.max(this.#lastMs, arrivesMs)
    return arrivesMs
  }

  /** Behind a limited rate a datagram waits for the one before it, its delay counting from when it was sent. */
  #behindLine(nowMs: number, waitMs: number, lineMs: number): number {
    const lastMs = this.#lastMs
    return lastMs > nowMs ? Math.max(lastMs, nowMs + waitMs) + lineMs : Math.max(nowMs, nowMs + waitMs + lineMs)
  }

  #hits(ratio = 0): boolean {
    return ratio > 0 && this.#random.uniform() < ratio
  }
}

/** The law itself. @throws RangeError naming a value that is out of range. */
export function checkedLaw(law: LinkLaw): LinkLaw {
  const { delayMs, jitterMs, lossRatio, burst, duplicateRatio = 0, reorderRatio = 0, bandwidthBps } = law
  inRange('delayMs', delayMs, 0, 60_000)
  inRange('jitterMs', jitterMs, 0, MAX_JITTER_MS)
  inRange('lossRatio', lossRatio, 0, 1)
  inRange('duplicateRatio', duplicateRatio, 0, 1)
  inRange('reorderRatio', reorderRatio, 0, 1)
  if (bandwidthBps !== undefined) inRange('bandwidthBps', bandwidthBps, 1, 1e12)
  if (burst !== undefined) {
    inRange('burst.startRatio', burst.startRatio, 0, 1)
    inRange('burst.endRatio', burst.endRatio, 0, 1)
    inRange('burst.lossRatio', burst.lossRatio, 0, 1)
  }
  return law
}

function inRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${name} is ${value}, not in ${min}..${max}`)
}
