/** Static routes of the operational plane, for labs whose own programs want more than their neighbour. Pure. */
import type { LinkEnd } from './plan.ts'

/** One route of one node: `ip route add <to> via <via> dev <interface> metric <metric>`. */
export type Route = {
  readonly node: string
  readonly to: string
  readonly via: string
  readonly interface: string
  readonly metric: number
}

type RoutedLink = { readonly ends: readonly [LinkEnd, LinkEnd] }

/**
 * Routes from every node to every link's network that is not its own: by the neighbour on a shortest way, and, with a
 * greater metric, by each other neighbour that is no farther from it than the node itself: such a neighbour does not send it
 * back (RFC 5286, inequality 1, every link counting 1). The kernel takes the next one when an interface goes down.
 */
export function routesOf(links: readonly RoutedLink[], prefixBits: number): readonly Route[] {
  const ports = portsOf(links)
  return links.flatMap(({ ends }) => {
    const hops = hopsTo(
      ends.map(({ node }) => node),
      ports,
    )
    const to = `${networkOf(ends[0].address)}/${prefixBits}`
    return [...ports].flatMap(([node, mine]) => {
      const own = hops.get(node) ?? 0
      if (own === 0) return []
      const ways = mine.flatMap(({ port, peer }) => {
        const far = hops.get(peer.node)
        return far === undefined || far > own ? [] : [{ port, peer, far }]
      })
      ways.sort((a, b) => a.far - b.far)
      return ways.map(({ port, peer, far }, place) => ({
        ...{ node, to, via: peer.address, interface: port.interface },
        metric: 100 * (far + 1) + place,
      }))
    })
  })
}

type Port = { readonly port: LinkEnd; readonly peer: LinkEnd }

function portsOf(links: readonly RoutedLink[]): ReadonlyMap<string, readonly Port[]> {
  const ports = new Map<string, Port[]>()
  for (const { ends } of links) {
    for (const [port, peer] of [ends, [ends[1], ends[0]]] as const) {
      ports.set(port.node, [...(ports.get(port.node) ?? []), { port, peer }])
    }
  }
  return ports
}

/** Links between each node and the nearest of `targets`. */
function hopsTo(targets: readonly string[], ports: ReadonlyMap<string, readonly Port[]>): ReadonlyMap<string, number> {
  const hops = new Map(targets.map((node) => [node, 0]))
  const queue = [...targets]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const { peer } of ports.get(next) ?? []) {
      if (hops.has(peer.node)) continue
      hops.set(peer.node, (hops.get(next) ?? 0) + 1)
      queue.push(peer.node)
    }
  }
  return hops
}

/** The first address of a link's /30, from that of one of its ends. */
function networkOf(address: string): string {
  const octets = address.split('.')
  return [...octets.slice(0, 3), Number(octets[3]) & ~3].join('.')
}
