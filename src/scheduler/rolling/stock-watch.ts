/** What the pool's status tells of the key stock, in steps of the forecast; and the use that no chain explains. */
import type { StockObservation } from '../../forecast/index.ts'
import type { PoolStatus } from '../../runtime/contract.ts'

/** More steps than this between two reports are taken as one pause. */
const MOST_STEPS = 20
/** Steps that are taken together: channels fetch key in lots, which even out over more than one step. */
const BLOCK_STEPS = 10
/** Blocks kept of the unexplained use. */
const BLOCKS_KEPT = 30
/** Blocks before anything is said of it. */
const FEWEST_BLOCKS = 3
/** A block further off than this many standard deviations is a burst, and left out: rare bursts are what K_safe is for. */
const BURST_SDS = 3
/** The deviations' 90 % quantile is that of a normal distribution at this many standard deviations (lots hide from the median). */
const SDS_OF_NINE_TENTHS = 1.645
/** Time spans, blocks, over which the spread of the cumulated use is looked at. */
const LONGEST_SPAN = 10

type Block = { readonly bits: number; readonly planned2: number }

/**
 * How the variance of the cumulated unexplained use grows with time: `lot2 + walk2 blocks`. What channels fetch ahead now they do
 * not fetch later, so lots add a variance once, however long the time; use that is really unforeseen adds more with every block.
 */
type Growth = { readonly meanBits: number; readonly lot2: number; readonly walk2: number }

const NOTHING: Growth = { meanBits: 0, lot2: 0, walk2: 0 }

export class StockWatch {
  readonly #stepMs: number
  #last: PoolStatus | undefined
  #isFirst = true
  #blockSteps = 0
  #blockBits = 0
  #blockPlanned2 = 0
  readonly #blocks: Block[] = []
  #growth = NOTHING

  constructor(stepMs: number) {
    this.#stepMs = stepMs
  }

  /** Mean use beyond that of the chains, bits a step. */
  get otherBits(): number {
    return Math.max(0, this.#growth.meanBits / BLOCK_STEPS)
  }

  /** Variance of that use over the next steps together, bits^2. */
  otherVariance2(steps: number): number {
    const { lot2, walk2 } = this.#growth
    const blocks = steps / BLOCK_STEPS
    return lot2 * Math.min(1, blocks) + walk2 * blocks
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
    const block = { bits: this.#blockBits, planned2: this.#blockPlanned2 }
    this.#blockSteps = 0
    this.#blockBits = 0
    this.#blockPlanned2 = 0
    // The first block holds the channels' first fetch.
    if (this.#isFirst) this.#isFirst = false
    else {
      this.#blocks.push(block)
      if (this.#blocks.length > BLOCKS_KEPT) this.#blocks.shift()
      this.#growth = growthOf(this.#blocks)
    }
  }
}

function growthOf(all: readonly Block[]): Growth {
  if (all.length < FEWEST_BLOCKS) return NOTHING
  const blocks = withoutBursts(all)
  const meanBits = blocks.reduce((sum, { bits }) => sum + bits, 0) / blocks.length
  const spans: { span: number; variance2: number }[] = []
  for (let span = 1; span <= Math.min(LONGEST_SPAN, Math.floor(blocks.length / 2)); span++) {
    let square = 0
    for (let from = 0; from + span <= blocks.length; from++) {
      let bits = -span * meanBits
      let planned2 = 0
      for (const block of blocks.slice(from, from + span)) {
        bits += block.bits
        planned2 += block.planned2
      }
      square += bits * bits - planned2
    }
    spans.push({ span, variance2: Math.max(0, square / (blocks.length - span + 1)) })
  }
  return { meanBits, ...fitted(spans) }
}

/** The blocks, with what lies far off the median taken for the median. */
function withoutBursts(blocks: readonly Block[]): readonly Block[] {
  const middle = quantile(
    blocks.map(({ bits }) => bits),
    0.5,
  )
  const plannedSd = Math.sqrt(
    quantile(
      blocks.map(({ planned2 }) => planned2),
      0.5,
    ),
  )
  const deviation = quantile(
    blocks.map(({ bits }) => Math.abs(bits - middle)),
    0.9,
  )
  const reach = BURST_SDS * Math.max(plannedSd, deviation / SDS_OF_NINE_TENTHS)
  return blocks.map((block) => (Math.abs(block.bits - middle) <= reach ? block : { ...block, bits: middle }))
}

/** Least squares with neither part below 0. The longer a span, the fewer of them there are: weight 1 / span. */
function fitted(spans: readonly { readonly span: number; readonly variance2: number }[]): Omit<Growth, 'meanBits'> {
  let [weights, lengths, squares, values, products] = [0, 0, 0, 0, 0]
  for (const { span, variance2 } of spans) {
    const weight = 1 / span
    weights += weight
    lengths += weight * span
    squares += weight * span * span
    values += weight * variance2
    products += weight * span * variance2
  }
  const determinant = weights * squares - lengths * lengths
  if (!(determinant > 1e-9)) return { lot2: 0, walk2: squares > 0 ? products / squares : 0 }
  const walk2 = (weights * products - lengths * values) / determinant
  const lot2 = (squares * values - lengths * products) / determinant
  if (walk2 < 0) return { lot2: values / weights, walk2: 0 }
  return lot2 < 0 ? { lot2: 0, walk2: products / squares } : { lot2, walk2 }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0
}
