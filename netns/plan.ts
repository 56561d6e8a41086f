/**
 * The lab's network as names and addresses. Pure: the same topology always gives the same plan.
 *
 * Operational plane: one /30 a link, nothing on it but Q3P. Management plane: one /16, every node and the hub on it.
 * In loopback isolation both planes share a /18 of 127.64.0.0/10 that follows from the lab's name.
 */
import { type Route, routesOf } from './routes.ts'

/** How the nodes of a lab are kept apart: namespaces as root, the same inside a user namespace, or addresses alone. */
export type Isolation = 'netns' | 'userns' | 'loopback'

/**
 * Topology of a lab: any graph, links side by side included. `number` is a node's number (1..65533), `link` a link's
 * (0..32767), each unique; in loopback isolation 1..8189 and 0..2047.
 */
export type LabNet = {
  readonly lab: string
  readonly nodes: readonly { readonly id: string; readonly number: number }[]
  readonly links: readonly { readonly link: number; readonly ends: readonly [string, string] }[]
}

export type LinkEnd = {
  readonly node: string
  /** Name of the interface inside the node's namespace; `lo` in loopback isolation. */
  readonly interface: string
  readonly address: string
  /** Hardware address of the veth end. Fixed, so that no ARP is needed on the operational plane. */
  readonly mac: string
}

export type LinkPlan = {
  readonly link: number
  /** `<first end>-<second end>`, the interface's name in captures. */
  readonly name: string
  readonly ends: readonly [LinkEnd, LinkEnd]
}

export type NodePlan = {
  readonly id: string
  readonly number: number
  /** Name of the node's network namespace; undefined in loopback isolation. */
  readonly namespace: string | undefined
  readonly managementAddress: string
}

export type LabPlan = {
  readonly lab: string
  readonly isolation: Isolation
  /** Holds the management bridge, and what runs for the lab as a whole. */
  readonly hub: { readonly namespace: string | undefined; readonly managementAddress: string }
  readonly nodes: readonly NodePlan[]
  readonly links: readonly LinkPlan[]
  /** The lab's part of 127.0.0.0/8, in loopback isolation: no other lab may use it meanwhile. */
  readonly loopbackNetwork: string | undefined
  /** Static routes between nodes that are not neighbours; empty unless asked for. */
  readonly routes: readonly Route[]
}

export type PlanOptions = {
  /**
   * Every node reaches every link's addresses over the operational plane, its relays forwarding. Default: none does, and
   * a datagram reaches the neighbour only, as trusted relays want it.
   */
  readonly routed?: boolean
}

/** The topology cannot be laid out; the message says which name or number is at fault. */
export class PlanError extends Error {
  override readonly name = 'PlanError'
}

export const MANAGEMENT_INTERFACE = 'mgmt0'
/** Width of the management network: /16. */
export const MANAGEMENT_PREFIX_BITS = 16
/** Width of a link's network: /30. */
export const LINK_PREFIX_BITS = 30

const LAB_NAME = /^[a-z0-9-]{1,20}$/
const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/
const INTERFACE_NAME_CHARS = 15
const RESERVED_INTERFACES = ['lo', 'all', 'default', MANAGEMENT_INTERFACE]
export const HUB = 'hub'

/** Where a lab's addresses lie, as 32-bit numbers; the hub has the last address of the management plane. */
type AddressSpace = {
  readonly links: number
  readonly management: number
  readonly hubHost: number
  readonly maxLink: number
}

const NAMESPACES: AddressSpace = {
  links: ipv4(10, 64),
  management: ipv4(10, 200),
  hubHost: 0xfffe,
  maxLink: 0x7fff,
}
/** Loopback labs: 256 networks of this width in 127.64.0.0/10, the lower half for links. */
const LOOPBACK_PREFIX_BITS = 18
const LOOPBACK_SIZE = 2 ** (32 - LOOPBACK_PREFIX_BITS)
const LOOPBACK_LABS = 256

function loopbackSpace(lab: string): AddressSpace {
  const first = ipv4(127, 64) + LOOPBACK_SIZE * (fnv1a(lab) % LOOPBACK_LABS)
  const half = LOOPBACK_SIZE / 2
  return { links: first, management: first + half, hubHost: half - 2, maxLink: half / 4 - 1 }
}

/** @throws PlanError unless `lab` is 1 to 20 characters of a-z, 0-9 and `-`. */
export function checkLabName(lab: string): void {
  if (!LAB_NAME.test(lab)) {
    throw new PlanError(`lab name ${JSON.stringify(lab)}: 1 to 20 characters of a-z, 0-9 and - are allowed`)
  }
}

/**
 * Name of a node's namespace: `q104-<lab>-<node>`. A `-` in the node's id becomes `_`, so that the last `-` always
 * separates lab and node and no lab can take another's namespace for its own.
 */
export function namespaceName(lab: string, nodeId: string): string {
  return `q104-${lab}-${nodeId.replaceAll('-', '_')}`
}

/** The lab that a namespace belongs to, or undefined if its name is none of ours. */
export function labOfNamespace(namespace: string): string | undefined {
  return /^q104-([a-z0-9-]{1,20})-[A-Za-z0-9][A-Za-z0-9_.]*$/.exec(namespace)?.[1]
}

/**
 * Lays out a lab.
 * @throws PlanError for a bad or repeated name or number, or a link whose end is no node.
 */
export function planLab(net: LabNet, isolation: Isolation, { routed = false }: PlanOptions = {}): LabPlan {
  checkLabName(net.lab)
  const separate = isolation !== 'loopback'
  const space = separate ? NAMESPACES : loopbackSpace(net.lab)
  checkNodes(net, space)
  checkLinks(net, space)
  if (routed && !separate) throw new PlanError('routes need network namespaces; loopback isolation has none')
  const nameOf = (id: string): string | undefined => (separate ? namespaceName(net.lab, id) : undefined)
  const interfaces = new Map(net.nodes.map((node) => [node.id, interfaceNames(net, node.id)]))
  const end = (link: number, node: string, side: 1 | 2): LinkEnd => ({
    node,
    interface: separate ? (interfaces.get(node)?.get(link) ?? '') : 'lo',
    address: dotted(space.links + 4 * link + side),
    mac: `02:68:${hexOctet(link >> 8)}:${hexOctet(link)}:00:${hexOctet(side)}`,
  })
  const links = net.links.map(({ link, ends: [first, second] }) => ({
    link,
    name: `${first}-${second}`,
    ends: [end(link, first, 1), end(link, second, 2)] as const,
  }))
  return {
    lab: net.lab,
    isolation,
    hub: { namespace: nameOf(HUB), managementAddress: dotted(space.management + space.hubHost) },
    nodes: net.nodes.map(({ id, number }) => ({
      id,
      number,
      namespace: nameOf(id),
      managementAddress: dotted(space.management + number),
    })),
    links,
    loopbackNetwork: separate ? undefined : `${dotted(space.links)}/${LOOPBACK_PREFIX_BITS}`,
    routes: routed ? routesOf(links, LINK_PREFIX_BITS) : [],
  }
}

/**
 * Names of one node's link interfaces, by link number: the peer's id where it fits in 15 characters and is unique on
 * this node, else the id's beginning with the link number (base 36) behind it.
 */
export function interfaceNames(net: LabNet, nodeId: string): ReadonlyMap<number, string> {
  const mine = net.links.flatMap(({ link, ends: [first, second] }) => {
    if (first === nodeId) return [{ link, peer: second }]
    return second === nodeId ? [{ link, peer: first }] : []
  })
  const timesNamed = new Map<string, number>()
  for (const { peer } of mine) timesNamed.set(peer, (timesNamed.get(peer) ?? 0) + 1)
  const plain = (peer: string): boolean =>
    peer.length <= INTERFACE_NAME_CHARS && timesNamed.get(peer) === 1 && !RESERVED_INTERFACES.includes(peer)
  const taken = new Set(mine.filter(({ peer }) => plain(peer)).map(({ peer }) => peer))
  const names = new Map<number, string>()
  for (const { link, peer } of mine) {
    const name = plain(peer) ? peer : shortened(peer, link, taken)
    taken.add(name)
    names.set(link, name)
  }
  return names
}

function shortened(peer: string, link: number, taken: ReadonlySet<string>): string {
  const suffix = `-${link.toString(36)}`
  for (let chars = INTERFACE_NAME_CHARS - suffix.length; chars > 0; chars--) {
    const name = peer.slice(0, chars) + suffix
    if (!taken.has(name)) return name
  }
  throw new PlanError(`no free interface name of ${INTERFACE_NAME_CHARS} characters towards ${peer}`)
}

function checkNodes(net: LabNet, { hubHost }: AddressSpace): void {
  const numbers = new Set<number>()
  const namespaces = new Set([namespaceName(net.lab, HUB)])
  for (const { id, number } of net.nodes) {
    if (!NODE_ID.test(id)) {
      throw new PlanError(`node id ${JSON.stringify(id)}: a letter or digit, then up to 62 letters, digits, _ . -`)
    }
    if (!Number.isInteger(number) || number < 1 || number >= hubHost) {
      throw new PlanError(`node ${id}: number ${number} is not in 1..${hubHost - 1}`)
    }
    if (numbers.has(number)) throw new PlanError(`node ${id}: number ${number} is used twice`)
    const namespace = namespaceName(net.lab, id)
    if (namespaces.has(namespace)) throw new PlanError(`node ${id}: the namespace name ${namespace} is used twice`)
    numbers.add(number)
    namespaces.add(namespace)
  }
}

function checkLinks(net: LabNet, { maxLink }: AddressSpace): void {
  const ids = new Set(net.nodes.map(({ id }) => id))
  const numbers = new Set<number>()
  for (const { link, ends } of net.links) {
    if (!Number.isInteger(link) || link < 0 || link > maxLink) {
      throw new PlanError(`link ${link} between ${ends.join(' and ')}: number not in 0..${maxLink}`)
    }
    if (numbers.has(link)) throw new PlanError(`link ${link}: number used twice`)
    if (ends[0] === ends[1]) throw new PlanError(`link ${link} joins ${ends[0]} to itself`)
    const unknown = ends.find((id) => !ids.has(id))
    if (unknown !== undefined) throw new PlanError(`link ${link}: there is no node ${JSON.stringify(unknown)}`)
    numbers.add(link)
  }
}

function ipv4(a: number, b: number): number {
  return a * 2 ** 24 + b * 2 ** 16
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (const octet of Buffer.from(text)) hash = Math.imul(hash ^ octet, 0x01000193)
  return hash >>> 0
}

function hexOctet(value: number): string {
  return (value & 255).toString(16).padStart(2, '0')
}
