/** What the pool's status tells of the key stock, in steps of the forecast; and the use that no chain explains. */
import type { StockObservation } from '../../forecast/index.ts'
import type { PoolStatus } from '../../runtime/contract.ts'

/** More steps than this between two reports are taken as one pause. */
const MOST_STEPS = 20
/** Steps that are taken together: channels fetch key in lots, which even out over more than one step. */
const BLOCK_STEPS = 10
/** Memory of the unexplained use, blocks. */
const MEMORY_BLOCKS = 20
/** Unexplained use further off than this many standard deviations counts as this far: rare bursts are what K_safe is for. */
const CLIP_SDS = 3

export class StockWatch {
  readonly #stepMs: number
  #last: PoolStatus | undefined
  #blocks = 0
  #blockSteps = 0
  #blockBits = 0
  #blockPlanned2 = 0
  #meanBits = 0
  #variance2 = 0

  constructor(stepMs: number) {
    this.#stepMs = stepMs
  }

  /** Mean use beyond that of the chains, bits a step. */
  get otherBits(): number {
    return Math.max(0, this.#meanBits / BLOCK_STEPS)
  }

  /** Its variance, bits^2 a step. */
  get otherVariance2(): number {
    return this.#variance2 / BLOCK_STEPS
  }

  /**
   * The steps between the last status and this one, evenly divided; none if it is not newer.
   * @param planned what the chains were to use in a step: mean, and its variance
   */
  take(
    status: PoolStatus,
    planned: { readonly bits: number; readonly variance2: number },
  ): readonly StockObservation[] {
    const last = this.#last
    if (last !== undefined && status.tMs <= last.tMs) return []
    this.#last = status
    if (last === undefined || last.capBits === 0) return []
    const steps = Math.round((status.tMs - last.tMs) / this.#stepMs)
    if (steps < 1) {
      this.#last = last
      return []
    }
    const { generatedBits: total, ...books } = status.books
    const generatedBits = total - last.books.generatedBits
    const lostBits = books.discardedBits + books.expiredBits - last.books.discardedBits - last.books.expiredBits
    const consumedBits = Math.max(0, generatedBits - lostBits - (books.poolBits - last.books.poolBits))
    if (steps > MOST_STEPS) return []
    const part = 1 / steps
    const observations: StockObservation[] = []
    // The books count key in whole slots, and key handed over at the start; the links' rates are what they make.
    const links = status.links
      .filter(({ rateBps, up }) => rateBps > 0 || !up)
      .map(({ link, up, rateBps }) => ({ link, up, generatedBits: up ? (rateBps * this.#stepMs) / 1000 : 0 }))
    const madeBits = links.reduce((sum, { generatedBits: bits }) => sum + bits, 0)
    for (let i = 1; i <= steps; i++) {
      observations.push({
        tMs: last.tMs + i * this.#stepMs,
        stockBits: last.books.poolBits + (books.poolBits - last.books.poolBits) * i * part,
        generatedBits: madeBits,
        consumedBits: consumedBits * part,
        links,
      })
      this.#note(consumedBits * part - planned.bits, planned.variance2)
    }
    return observations
  }

  #note(bits: number, planned2: number): void {
    this.#blockBits += bits
    this.#blockPlanned2 += planned2
    if (++this.#blockSteps < BLOCK_STEPS) return
    const off = this.#blockBits - this.#meanBits
    const planned = this.#blockPlanned2
    this.#blockSteps = 0
    this.#blockBits = 0
    this.#blockPlanned2 = 0
    // The first block holds the channels' first fetch.
    if (this.#blocks++ === 0) return
    const weight = 1 / Math.min(this.#blocks, MEMORY_BLOCKS)
    const reach = this.#blocks <= 3 ? Number.POSITIVE_INFINITY : CLIP_SDS * Math.sqrt(this.#variance2 + planned)
    const clipped = Math.max(-reach, Math.min(reach, off))
    this.#meanBits += weight * clipped
    this.#variance2 += weight * (Math.max(0, clipped * clipped - planned) - this.#variance2)
  }
}
