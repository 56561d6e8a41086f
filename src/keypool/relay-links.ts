import type { KeyPoolOptions } from './pool-options.ts'
import { RelayMap } from './relay.ts'
import type { Source, Sources } from './sources.ts'
import type { Claim } from './stock.ts'

/** The path that a relay link's key takes from now on, as node ids from end to end; undefined when there is none. */
export type RouteChange = { readonly link: number; readonly path: readonly string[] | undefined }

const NO_CHANGES: readonly RouteChange[] = []

type RelayLink = { readonly ends: readonly [string, string]; route: readonly number[] | undefined }

/** The links without QKD of their own: over which pool links their key is carried, and what that costs. */
export class RelayLinks {
  readonly #relays = new Map<number, RelayLink>()
  readonly #map: RelayMap
  readonly #ends = new Map<number, readonly [string, string]>()
  readonly #sources: Sources
  readonly #isPerLink: boolean
  readonly #down = new Set<number>()
  readonly #useSlots = new Map<number, number>()
  readonly #useChanged = new Set<number>()
  readonly #rerouted = new Set<number>()

  constructor({ links, relayNodes, poolKind }: KeyPoolOptions, sources: Sources) {
    this.#sources = sources
    this.#isPerLink = poolKind === 'perLink'
    const edges = []
    for (const { link, keys, ends } of links) {
      if (ends === undefined || keys === 'local') continue
      this.#ends.set(link, ends)
      if (keys === 'relay') this.#relays.set(link, { ends, route: undefined })
      else edges.push({ link, ends })
    }
    this.#map = new RelayMap(edges, relayNodes)
    this.#reroute()
  }

  /** Whether there are relays whose hops have different stocks. */
  get drawOnSeveral(): boolean {
    return this.#isPerLink && this.#relays.size > 0
  }

  has(link: number): boolean {
    return this.#relays.has(link)
  }

  /** False if that changes nothing for a relay. */
  setLinkUp(link: number, up: boolean): boolean {
    if (this.#relays.size === 0 || up !== this.#down.has(link)) return false
    if (up) this.#down.delete(link)
    else this.#down.add(link)
    this.#reroute()
    return true
  }

  /**
   * Takes from the stocks of the link's route what a claim can have, so much on every hop. Undefined: nothing, or no route.
   * `source` is the stock whose turn it is.
   */
  take(
    link: number,
    source: Source,
    claim: Claim,
  ): { readonly slots: number; readonly route: readonly number[] } | undefined {
    const relay = this.#relays.get(link)
    if (relay === undefined) return undefined
    if (this.#isPerLink) this.#reroute(link)
    const { route } = relay
    if (route === undefined) return undefined
    const prices = this.#prices(route, source)
    const slots = Math.min(...[...prices].map(([from, price]) => from.stock.reach(claim, price)))
    if (slots === 0) return undefined
    for (const [from, price] of prices) from.stock.take({ ...claim, slots }, price)
    for (const hop of route) {
      this.#useSlots.set(hop, (this.#useSlots.get(hop) ?? 0) + slots)
      this.#useChanged.add(hop)
    }
    return { slots, route }
  }

  /** Where a relay link waits when every link has a stock of its own: at the poorest of its route. */
  sourceOf(link: number): Source | undefined {
    const relay = this.#relays.get(link)
    if (relay === undefined || !this.#isPerLink) return undefined
    let poorest: Source | undefined
    for (const hop of relay.route ?? []) {
      const source = this.#sources.of(2 * hop)
      if (source !== undefined && source.stock.slots < (poorest?.stock.slots ?? Number.POSITIVE_INFINITY)) {
        poorest = source
      }
    }
    const [anySource] = this.#sources
    return poorest ?? anySource
  }

  /** What still waits for this stock goes to wait where its route is poorest now. */
  rehome(source: Source): void {
    if (this.#relays.size === 0 || !this.#isPerLink) return
    for (const { stream, slots, deadlineMs } of [...source.queue]) {
      const home = this.sourceOf(stream.channel >> 1)
      if (home === undefined || home === source) continue
      source.queue.remove(stream.channel)
      home.queue.add(stream, slots, deadlineMs)
    }
  }

  takeRouteChanges(): readonly RouteChange[] {
    if (this.#rerouted.size === 0) return NO_CHANGES
    const changes = [...this.#rerouted].map((link) => ({ link, path: this.#pathOf(link) }))
    this.#rerouted.clear()
    return changes
  }

  useBits(): ReadonlyMap<number, number> {
    return new Map([...this.#useSlots].map(([link, slots]) => [link, slots * 32]))
  }

  /** Slots that links have spent on relays, of those where it has changed since this was last asked. */
  takeUseChanges(): (readonly [number, number])[] {
    const changes = [...this.#useChanged].map((link) => [link, this.#useSlots.get(link) ?? 0] as const)
    this.#useChanged.clear()
    return changes
  }

  restoreUse(use: readonly (readonly [number, number])[]): void {
    for (const [link, slots] of use) {
      this.#useSlots.set(link, slots)
      this.#useChanged.add(link)
    }
  }

  #prices(route: readonly number[], source: Source): Map<Source, number> {
    if (!this.#isPerLink) return new Map([[source, route.length]])
    const prices = new Map<Source, number>()
    for (const hop of route) {
      const from = this.#sources.of(2 * hop)
      if (from !== undefined) prices.set(from, (prices.get(from) ?? 0) + 1)
    }
    return prices
  }

  #reroute(only?: number): void {
    const isUp = (hop: number): boolean => !this.#down.has(hop)
    const hasKey = (hop: number): boolean => isUp(hop) && (this.#sources.of(2 * hop)?.stock.slots ?? 0) > 0
    for (const [link, relay] of this.#relays) {
      if (only !== undefined && link !== only) continue
      const [from, to] = relay.ends
      const richest = this.#isPerLink ? this.#map.route(from, to, hasKey) : undefined
      const route = richest ?? this.#map.route(from, to, isUp)
      if (String(route) !== String(relay.route)) this.#rerouted.add(link)
      relay.route = route
    }
  }

  #pathOf(link: number): readonly string[] | undefined {
    const relay = this.#relays.get(link)
    if (relay?.route === undefined) return undefined
    const path: string[] = [relay.ends[0]]
    for (const hop of relay.route) {
      const [first, second] = this.#ends.get(hop) ?? ['', '']
      path.push(path.at(-1) === first ? second : first)
    }
    return path
  }
}
