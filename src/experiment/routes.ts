/** Ways through the topology: which way round a link runs, and what each relay prefers towards centre and stations. */
import { mastersOf } from './masters.ts'
import type { Scenario } from './scenario-schema.ts'
import {
  hopsFrom,
  linksOf,
  type NodeKind,
  neighboursOf,
  nodesOf,
  pairOf,
  type TopologyLink,
  walks,
} from './topology.ts'

/** Most ways a chain or a route may choose from, and the longest of them. */
const MAX_WAYS = 8
const MAX_HOPS = 15

/**
 * Links whose first end is the one nearer to a centre (fewer hops; between equals, the one the file names first). Between two
 * centres the one that `masters` names first leads.
 */
export function oriented(links: readonly TopologyLink[], masters: readonly string[]): readonly TopologyLink[] {
  const neighbours = neighboursOf(links)
  const hops = masters.map((master) => hopsFrom(master, neighbours, () => true))
  const far = (id: string) => {
    const rank = masters.indexOf(id)
    if (rank >= 0) return rank / masters.length
    return Math.min(...hops.map((from) => from.get(id) ?? Number.POSITIVE_INFINITY))
  }
  return links.map((link) => {
    const [a, b] = link.ends
    return far(b) < far(a) ? { ...link, ends: [b, a] as const } : link
  })
}

/** The ways of a scenario's topology. */
export function waysOf(scenario: Scenario): Ways {
  const links = oriented(linksOf(scenario), mastersOf(scenario))
  return new Ways(links, new Map(nodesOf(scenario).map(({ id, kind }) => [id, kind])))
}

/** The ways between nodes of one lab. */
export class Ways {
  readonly #neighbours: ReadonlyMap<string, readonly string[]>
  readonly #kinds: ReadonlyMap<string, NodeKind>
  /** Place of each link in the file. */
  readonly #places: ReadonlyMap<string, number>

  constructor(links: readonly TopologyLink[], kinds: ReadonlyMap<string, NodeKind>) {
    this.#places = new Map(links.map(({ ends }, place) => [pairOf(...ends), place]))
    this.#neighbours = neighboursOf(links)
    this.#kinds = kinds
  }

  /** Paths from the centre through gateways to a station, shortest first, and on to `ied` where one is named. */
  paths(master: string, rtu: string, ied?: string): readonly (readonly string[])[] {
    const found = this.#walks(master, rtu)
    return ied === undefined ? found : found.map((path) => [...path, ied])
  }

  /** Neighbours by which a node reaches another through gateways, the one on the shortest way first. */
  nextHops(from: string, to: string): readonly string[] {
    return [...new Set(this.#walks(from, to).flatMap((walk) => walk[1] ?? []))]
  }

  #walks(from: string, to: string): readonly (readonly string[])[] {
    const through = (id: string) => this.#kinds.get(id) === 'gateway'
    const found = walks({ from, to, neighbours: this.#neighbours, through, maxWalks: MAX_WAYS, maxHops: MAX_HOPS })
    return found.toSorted((a, b) => a.length - b.length || this.#placeOf(a) - this.#placeOf(b))
  }

  /** Of ways of equal length the one whose links stand further up in the file comes first. */
  #placeOf(walk: readonly string[]): number {
    return walk.reduce((sum, id, step) => sum + (this.#places.get(pairOf(walk[step - 1] ?? '', id)) ?? 0), 0)
  }
}
