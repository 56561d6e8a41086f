import type { Chain } from './chain.ts'

/** A link as the scheduler sees it. */
export type LinkInfo = {
  readonly link: number
  /** Draws on the QKD pool (`keys: pool`), not on a station-local store. */
  readonly pooled: boolean
}

/** Links by the pair of nodes they join, in either order; made by `topology`, read by `linkBetween`. */
export type Topology = ReadonlyMap<string, LinkInfo>

/** Makes the look-up of links from the scenario's list. */
export function topology(
  links: Iterable<{ readonly link: number; readonly ends: readonly [string, string]; readonly pooled: boolean }>,
): Topology {
  const table = new Map<string, LinkInfo>()
  for (const { link, ends, pooled } of links) table.set(pairKey(...ends), Object.freeze({ link, pooled }))
  return table
}

/** The link that joins two nodes, or undefined when they are no neighbours. */
export function linkBetween(table: Topology, nodeA: string, nodeB: string): LinkInfo | undefined {
  return table.get(pairKey(nodeA, nodeB))
}

/** Links of paths that were asked for before: plans are made anew every tick, paths hardly ever. */
const KNOWN = new WeakMap<Topology, WeakMap<readonly string[], readonly (LinkInfo | undefined)[]>>()

/** The links along a path, undefined where two of its nodes are no neighbours. Paths and topology must not change. */
export function linksAlong(path: readonly string[], table: Topology): readonly (LinkInfo | undefined)[] {
  let paths = KNOWN.get(table)
  if (paths === undefined) {
    paths = new WeakMap()
    KNOWN.set(table, paths)
  }
  let links = paths.get(path)
  if (links === undefined) {
    links = path.slice(1).map((to, index) => linkBetween(table, path[index] ?? '', to))
    paths.set(path, links)
  }
  return links
}

/** What is wrong with a set of chains on a topology: ids given twice, and hops where there is no link. */
export function chainSetProblems(chains: readonly Chain[], table: Topology): string[] {
  const problems: string[] = []
  const seen = new Set<string>()
  for (const { id, paths } of chains) {
    if (seen.has(id)) problems.push(`chain ${id} is given twice`)
    seen.add(id)
    for (const path of paths) {
      for (let i = 1; i < path.length; i++) {
        const [from = '', to = ''] = [path[i - 1], path[i]]
        if (linkBetween(table, from, to) === undefined) problems.push(`chain ${id}: no link between ${from} and ${to}`)
      }
    }
  }
  return problems
}

function pairKey(nodeA: string, nodeB: string): string {
  return nodeA < nodeB ? `${nodeA}\0${nodeB}` : `${nodeB}\0${nodeA}`
}
