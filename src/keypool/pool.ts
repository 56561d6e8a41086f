import type { KeyBlock, LinkState, PoolBooks, PoolStatus, StockLevel } from '../runtime/contract.ts'
import { LevelGauge } from './level.ts'
import { Stock } from './stock.ts'
import { StreamLedger, Tally } from './stream.ts'

/** Bytes in a slot of a key stream. */
export const SLOT_BYTES = 4
/** The furthest a want may reach ahead of its stream, in slots (256 KiB of key). */
export const MAX_WANT_SLOTS = 65_536
/** Streams end here, far below 2^53, so that sums of slots and bits stay exact. */
export const MAX_SLOT = 2 ** 47

export type KeyPoolOptions = {
  /** `shared`: one stock for all links. `perLink`: a stock each, with an equal part of the cap. */
  readonly poolKind: 'shared' | 'perLink'
  /** Links with `keys: local` draw on material of their own, made on demand, which K does not count. */
  readonly links: readonly { readonly link: number; readonly keys: 'pool' | 'local' }[]
  /** K_cap: the most the pool holds; generation beyond it is discarded. */
  readonly capBits: number
  /** K_safe <= K_th <= K_cap. */
  readonly safeBits: number
  readonly thBits: number
  /** A level is left upwards only this far above its bound; default 0.05. */
  readonly hysteresisRatio?: number
  /** Material older than this is expired; default never. */
  readonly expiryMs?: number
  /** Source of key material: `n` fresh bytes. */
  readonly randomBytes: (n: number) => Uint8Array
}

type Want = { readonly stream: StreamLedger; readonly upToSlot: number }
type Source = { readonly stock: Stock; wants: Want[] }

/**
 * The key pool: material not yet assigned, and how far each channel's key stream is assigned and used (MODEL: (10), (40)).
 *
 * The books balance after every call, to the bit: generated = used + expired + discarded + reserved + pool (WIRE rule 6).
 * The pool counts material and draws its bytes only when it assigns them, so at rest it holds no key that could leak; a
 * block it has handed over is its caller's.
 *
 * Unknown links and channels and numbers out of range are the caller's faults and throw a RangeError.
 */
export class KeyPool {
  readonly #options: KeyPoolOptions
  readonly #tally = new Tally()
  readonly #localTally = new Tally()
  readonly #sources: readonly Source[]
  readonly #sourceOf = new Map<number, Source | undefined>()
  readonly #streams = new Map<number, StreamLedger>()
  readonly #gauge: LevelGauge

  /** Throws with every problem of the options. */
  constructor(options: KeyPoolOptions) {
    checkOptions(options)
    this.#options = options
    const poolLinks = options.links.filter((link) => link.keys === 'pool')
    const sourceCount = options.poolKind === 'shared' ? 1 : poolLinks.length
    const capSlots = Math.floor(options.capBits / Math.max(1, sourceCount) / 32)
    this.#sources = Array.from({ length: sourceCount }, () => ({ stock: new Stock(capSlots), wants: [] }))
    for (const [index, { link }] of poolLinks.entries()) {
      this.#sourceOf.set(link, this.#sources[options.poolKind === 'shared' ? 0 : index])
    }
    for (const { link, keys } of options.links) {
      const tally = keys === 'pool' ? this.#tally : this.#localTally
      for (const channel of [2 * link, 2 * link + 1]) this.#streams.set(channel, new StreamLedger(channel, tally))
    }
    const { safeBits, thBits, hysteresisRatio = 0.05 } = options
    this.#gauge = new LevelGauge({ safeBits, thBits, reachBits: sourceCount * capSlots * 32, hysteresisRatio })
  }

  /** Adds `bits` (may be a fraction) that a link generated. Gives the blocks that waiting wants now get. */
  generate(link: number, bits: number, tMs: number): KeyBlock[] {
    const source = this.#sourceOf.get(link)
    if (source === undefined) throw new RangeError(`NOT_A_POOL_LINK ${link}`)
    if (!(bits >= 0 && bits <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`BAD_BITS ${bits} on link ${link}`)
    this.#tally.generatedSlots += source.stock.add(bits, tMs)
    // Wants first: material that somebody waits for never counts as overflow.
    const blocks = this.#serve(source)
    this.#tally.discardedSlots += source.stock.takeOverflow()
    this.#gauge.update(this.#poolSlots * 32)
    return blocks
  }

  /**
   * The stream of `channel` is to reach `upToSlot`; asking again for the same costs nothing. Gives what there is now, the
   * rest comes from later `generate` calls, oldest want first.
   */
  want(channel: number, upToSlot: number): KeyBlock[] {
    const stream = this.#stream(channel)
    if (!isSlot(upToSlot)) throw new RangeError(`BAD_SLOT ${upToSlot} of channel ${channel}`)
    if (upToSlot - stream.assignedSlots > MAX_WANT_SLOTS)
      throw new RangeError(`TOO_FAR ${upToSlot} of channel ${channel}`)
    if (upToSlot <= stream.wantedSlots) return []
    stream.wantedSlots = upToSlot
    const source = this.#sourceOf.get(channel >> 1)
    if (source === undefined) {
      const slots = upToSlot - stream.assignedSlots
      this.#localTally.generatedSlots += slots
      return [this.#assign(stream, slots)]
    }
    source.wants.push({ stream, upToSlot })
    const blocks = this.#serve(source)
    this.#gauge.update(this.#poolSlots * 32)
    return blocks
  }

  /** The sender has used its stream up to `usedSlots`. False, and nothing changes, if so much was never assigned. */
  reportUse(channel: number, usedSlots: number): boolean {
    const stream = this.#stream(channel)
    if (!isSlot(usedSlots) || usedSlots > stream.assignedSlots) return false
    stream.use(usedSlots)
    return true
  }

  /** Reserved slots below `upToSlot` will never be used (a crash skipped them). False if so much was never assigned. */
  discard(channel: number, upToSlot: number): boolean {
    const stream = this.#stream(channel)
    if (!isSlot(upToSlot) || upToSlot > stream.assignedSlots) return false
    stream.discard(upToSlot)
    return true
  }

  /** Lets the stream go on at `slot`, because an end holds an earlier run's key up to there. Reserved slots are discarded. */
  resume(channel: number, slot: number): void {
    const stream = this.#stream(channel)
    if (isSlot(slot) && slot > stream.assignedSlots) stream.resume(slot)
  }

  /** Expires pool material older than `expiryMs` at `tMs`. Assigned material does not expire. */
  expire(tMs: number): void {
    const { expiryMs } = this.#options
    if (expiryMs === undefined) return
    for (const { stock } of this.#sources) this.#tally.expiredSlots += stock.takeOlderThan(tMs - expiryMs)
    this.#gauge.update(this.#poolSlots * 32)
  }

  /** Length of the channel's stream: slots below it are assigned. */
  assignedSlots(channel: number): number {
    return this.#stream(channel).assignedSlots
  }

  /** Where the channel's stream is to reach, all wants taken together. */
  wantedSlots(channel: number): number {
    return this.#stream(channel).wantedSlots
  }

  get level(): StockLevel {
    return this.#gauge.level
  }

  books(): PoolBooks {
    return this.#tally.books(this.#poolSlots)
  }

  /** Books of the links with `keys: local`; their pool is always empty. */
  localBooks(): PoolBooks {
    return this.#localTally.books(0)
  }

  status(tMs: number, links: readonly LinkState[]): PoolStatus {
    const { safeBits, thBits, capBits } = this.#options
    return { tMs, level: this.level, safeBits, thBits, capBits, books: this.books(), links }
  }

  get #poolSlots(): number {
    return this.#sources.reduce((sum, source) => sum + source.stock.slots, 0)
  }

  #stream(channel: number): StreamLedger {
    const stream = this.#streams.get(channel)
    if (stream === undefined) throw new RangeError(`UNKNOWN_CHANNEL ${channel}`)
    return stream
  }

  #serve(source: Source): KeyBlock[] {
    const blocks: KeyBlock[] = []
    let done = 0
    for (const { stream, upToSlot } of source.wants) {
      const taken = source.stock.take(Math.max(0, upToSlot - stream.assignedSlots))
      if (taken > 0) blocks.push(this.#assign(stream, taken))
      if (stream.assignedSlots < upToSlot) break
      done++
    }
    if (done > 0) source.wants.splice(0, done)
    return blocks
  }

  #assign(stream: StreamLedger, slots: number): KeyBlock {
    const slot = stream.assignedSlots
    stream.assign(slots)
    // A plain array of our own: the source may give a Buffer, whose `slice` shares memory and would share its overwriting.
    const drawn = this.#options.randomBytes(slots * SLOT_BYTES)
    const bytes = new Uint8Array(drawn)
    drawn.fill(0)
    return { channel: stream.channel, slot, bytes }
  }
}

/** Whether a number can be a position in a key stream. */
export function isSlot(slot: number): boolean {
  return Number.isInteger(slot) && slot >= 0 && slot <= MAX_SLOT
}

function checkOptions(options: KeyPoolOptions): void {
  const { capBits, safeBits, thBits, hysteresisRatio = 0.05, expiryMs = 1, links } = options
  const problems: string[] = []
  if (!(Number.isSafeInteger(capBits) && capBits >= 32)) problems.push(`capBits ${capBits} is not an integer >= 32`)
  if (!(safeBits >= 0 && safeBits <= thBits)) problems.push(`safeBits ${safeBits} is not in 0..thBits`)
  if (!(thBits >= 0 && thBits <= capBits)) problems.push(`thBits ${thBits} is not in 0..capBits ${capBits}`)
  if (!(hysteresisRatio >= 0 && hysteresisRatio < 1)) problems.push(`hysteresisRatio ${hysteresisRatio} is not in 0..1`)
  if (!(expiryMs > 0)) problems.push(`expiryMs ${expiryMs} is not positive`)
  const seen = new Set<number>()
  for (const { link } of links) {
    if (!(Number.isInteger(link) && link >= 0 && link <= 32_767)) problems.push(`link ${link} is not in 0..32767`)
    if (seen.has(link)) problems.push(`link ${link} is named twice`)
    seen.add(link)
  }
  if (problems.length > 0) throw new RangeError(`BAD_POOL_OPTIONS: ${problems.join('; ')}`)
}
