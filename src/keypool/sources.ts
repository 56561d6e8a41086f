import { ArrivalQueue } from './arrival-queue.ts'
import { FairQueue } from './fair-queue.ts'
import type { KeyPoolOptions } from './pool-options.ts'
import { Stock } from './stock.ts'
import type { WaitingLine } from './waiting-line.ts'

/** A stock and those who wait for it. */
export type Source = { readonly stock: Stock; readonly queue: WaitingLine }
/** Where a part of a link's key goes. */
export type Feed = { readonly source: Source; readonly ratio: number }

/** The stocks of a pool: which link fills which, and which channel draws on which. */
export class Sources {
  readonly #sources: Source[] = []
  readonly #feeds = new Map<number, readonly Feed[]>()
  /** Of each channel, the stocks it may draw on by name; its default has the empty name. */
  readonly #ofChannel = new Map<number, Map<string, Source>>()
  /** The most all stocks together hold, in slots. */
  readonly capSlots: number = 0

  constructor(options: KeyPoolOptions) {
    const { poolKind, links, quotas = [], capBits, reserve, order } = options
    const poolLinks = links.filter(({ keys }) => keys === 'pool')
    const count = { shared: 1, perLink: poolLinks.length, quota: quotas.length }[poolKind]
    const share = (bits: number): number => Math.floor(bits / Math.max(1, count) / 32)
    const reserveSlots = {
      authenticationSlots: share(reserve?.authenticationBits ?? 0),
      topChainSlots: share(reserve?.topChainBits ?? 0),
    }
    for (let index = 0; index < count; index++) {
      const ownBits = poolKind === 'quota' ? quotas[index]?.capBits : undefined
      const capSlots = ownBits === undefined ? share(capBits) : Math.floor(ownBits / 32)
      const queue = order === 'arrival' ? new ArrivalQueue() : new FairQueue()
      this.#sources.push({ stock: new Stock(capSlots, reserveSlots), queue })
      this.capSlots += capSlots
    }
    if (poolKind === 'quota') this.#addQuotas(options)
    else this.#addLinks(options)
  }

  [Symbol.iterator](): Iterator<Source> {
    return this.#sources.values()
  }

  /** Slots in all stocks together. */
  get slots(): number {
    let slots = 0
    for (const { stock } of this.#sources) slots += stock.slots
    return slots
  }

  get nextDeadlineMs(): number | undefined {
    let earliest: number | undefined
    for (const { queue } of this.#sources) {
      const atMs = queue.size === 0 ? undefined : queue.nextDeadlineMs
      if (atMs !== undefined) earliest = Math.min(earliest ?? atMs, atMs)
    }
    return earliest
  }

  /** Where the key of a link goes; undefined if the link makes none. */
  feedsOf(link: number): readonly Feed[] | undefined {
    return this.#feeds.get(link)
  }

  /** The stock that a channel draws on, by name or by default. */
  of(channel: number, quota = ''): Source | undefined {
    return this.#ofChannel.get(channel)?.get(quota)
  }

  #addLinks({ poolKind, links }: KeyPoolOptions): void {
    let next = 0
    for (const { link, keys } of links) {
      const source = this.#sources[poolKind === 'shared' ? 0 : next]
      // A relay link of a pool with a stock for each link draws on those of its route.
      if (source === undefined || keys === 'local' || (keys === 'relay' && poolKind === 'perLink')) continue
      if (keys === 'pool') {
        this.#feeds.set(link, [{ source, ratio: 1 }])
        next++
      }
      for (const channel of [2 * link, 2 * link + 1]) this.#ofChannel.set(channel, new Map([['', source]]))
    }
  }

  #addQuotas({ links, quotas = [] }: KeyPoolOptions): void {
    for (const { link, keys } of links) {
      if (keys !== 'pool') continue
      const sharers = quotas.map(({ fromLinks, weight = 1 }) =>
        fromLinks === undefined || fromLinks.includes(link) ? weight : 0,
      )
      const all = sharers.reduce((sum, weight) => sum + weight, 0)
      const feeds = this.#sources.map((source, index) => ({ source, ratio: (sharers[index] ?? 0) / all }))
      this.#feeds.set(
        link,
        feeds.filter(({ ratio }) => ratio > 0),
      )
    }
    for (const [index, { id, channels }] of quotas.entries()) {
      const source = this.#sources[index]
      if (source === undefined) continue
      for (const channel of channels) {
        const named = this.#ofChannel.get(channel) ?? new Map<string, Source>()
        // The only quota of a channel is its default.
        if (named.size === 0) named.set('', source)
        else named.delete('')
        this.#ofChannel.set(channel, named.set(id, source))
      }
    }
  }
}
