/** The graph a scenario describes: its nodes, its links with the station links that need not be listed, and its walks. */
import type { Scenario } from './scenario-schema.ts'
import type { Path } from './scenario-source.ts'

export type NodeKind = 'master' | 'gateway' | 'rtu' | 'ied'
export type TopologyNode = { readonly id: string; readonly kind: NodeKind; readonly path: Path }
export type TopologyLink = {
  readonly id: string
  readonly ends: readonly [string, string]
  /** The entry in the file; undefined for a station link that was not listed. */
  readonly spec: Scenario['topology']['links'][number] | undefined
  readonly path: Path
}

/** All nodes: master, area masters, gateways, RTUs, IEDs, in the order of the file. */
export function nodesOf(scenario: Scenario): readonly TopologyNode[] {
  const { master, areaMasters, gateways, rtus, ieds } = scenario.topology.nodes
  const at = (list: string, index: number): Path => ['topology', 'nodes', list, index, 'id']
  return [
    { id: master.id, kind: 'master', path: ['topology', 'nodes', 'master', 'id'] },
    ...areaMasters.map(({ id }, index) => ({ id, kind: 'master' as const, path: at('areaMasters', index) })),
    ...gateways.map(({ id }, index) => ({ id, kind: 'gateway' as const, path: at('gateways', index) })),
    ...rtus.map(({ id }, index) => ({ id, kind: 'rtu' as const, path: at('rtus', index) })),
    ...ieds.map(({ id }, index) => ({ id, kind: 'ied' as const, path: at('ieds', index) })),
  ]
}

/** All links: those listed, then one from its RTU to every IED that has none. */
export function linksOf(scenario: Scenario): readonly TopologyLink[] {
  const listed = scenario.topology.links.map((spec, index) => ({
    id: spec.id ?? spec.between.join('-'),
    ends: spec.between,
    spec,
    path: ['topology', 'links', index] as const,
  }))
  const pairs = new Set(listed.map(({ ends }) => pairOf(...ends)))
  const station = scenario.topology.nodes.ieds.flatMap(({ id, rtu }, index) =>
    pairs.has(pairOf(rtu, id))
      ? []
      : [
          {
            id: `${rtu}-${id}`,
            ends: [rtu, id] as const,
            spec: undefined,
            path: ['topology', 'nodes', 'ieds', index, 'rtu'] as const,
          },
        ],
  )
  return [...listed, ...station]
}

/** The same text for both orders of two ends. */
export function pairOf(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}

/** Neighbours of every node. */
export function neighboursOf(links: readonly TopologyLink[]): ReadonlyMap<string, readonly string[]> {
  const map = new Map<string, string[]>()
  const add = (from: string, to: string) => {
    const list = map.get(from)
    if (list === undefined) map.set(from, [to])
    else list.push(to)
  }
  for (const { ends } of links) {
    add(ends[0], ends[1])
    add(ends[1], ends[0])
  }
  return map
}

/** Links from `from` to every node it reaches, passing only through nodes that `through` admits. */
export function hopsFrom(
  from: string,
  neighbours: ReadonlyMap<string, readonly string[]>,
  through: (id: string) => boolean,
): ReadonlyMap<string, number> {
  const hops = new Map([[from, 0]])
  const queue = [from]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (next !== from && !through(next)) continue
    for (const id of neighbours.get(next) ?? []) {
      if (hops.has(id)) continue
      hops.set(id, (hops.get(next) ?? 0) + 1)
      queue.push(id)
    }
  }
  return hops
}

export type WalkQuery = {
  readonly from: string
  readonly to: string
  readonly neighbours: ReadonlyMap<string, readonly string[]>
  /** Nodes that may stand between the ends. */
  readonly through: (id: string) => boolean
  readonly maxWalks: number
  readonly maxHops: number
}

/** Walks without repeated nodes, shortest first, in a fixed order; at most `maxWalks` of them. */
export function walks(query: WalkQuery): readonly (readonly string[])[] {
  const found: string[][] = []
  let front: string[][] = [[query.from]]
  // Breadth first, and the front is bounded, so a dense graph costs a bounded amount of work.
  for (let hop = 0; hop < query.maxHops && front.length > 0 && found.length < query.maxWalks; hop += 1) {
    const next: string[][] = []
    for (const walk of front) {
      for (const id of query.neighbours.get(walk.at(-1) ?? '') ?? []) {
        if (walk.includes(id)) continue
        if (id === query.to) found.push([...walk, id])
        else if (query.through(id) && next.length < 10_000) next.push([...walk, id])
      }
    }
    front = next
  }
  return found.slice(0, query.maxWalks)
}
