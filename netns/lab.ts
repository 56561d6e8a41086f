import type { LinkLaw } from '../src/sim/index.ts'
import { HOST, inNamespace, type LabAccess } from './access.ts'
import { clearNamespaces } from './clear-lab.ts'
import { LabError } from './errors.ts'
import { checkLoopbackNetwork } from './lock-record.ts'
import { NETEM_ENV, netemArgs } from './netem.ts'
import { type LabPlan, LINK_PREFIX_BITS, type LinkPlan, MANAGEMENT_INTERFACE, MANAGEMENT_PREFIX_BITS } from './plan.ts'
import { lastErrorLine, lines, runTool, type ToolOptions } from './run-tool.ts'

const BRIDGE = 'br0'
/** Tools run at once: building waits for the kernel, not for more processes. */
const PARALLEL = 4

/** No IPv6 on the lab's interfaces (no neighbour discovery between the frames), where /proc/sys may be written. */
const CONFIGURE = `
for which in all default; do echo 1 >/proc/sys/net/ipv6/conf/$which/disable_ipv6; done 2>/dev/null
[ "$1" = forward ] && { echo 1 >/proc/sys/net/ipv4/ip_forward || exit 1; }
exec ip -batch -
`

/** The namespaces, links and addresses of a running lab. In loopback isolation there is nothing to build. */
export class LabNetwork {
  readonly plan: LabPlan
  readonly #access: LabAccess

  private constructor(plan: LabPlan, access: LabAccess) {
    this.plan = plan
    this.#access = access
  }

  /** The network of a lab that is up already. */
  static attach(plan: LabPlan, access: LabAccess = HOST): LabNetwork {
    return new LabNetwork(plan, access)
  }

  /**
   * Builds the network.
   * @throws LabError naming the refused step; what was built is taken down again. LabBusyError if another lab has the
   * loopback addresses.
   */
  static async up(plan: LabPlan, access: LabAccess = HOST): Promise<LabNetwork> {
    const network = new LabNetwork(plan, access)
    if (plan.isolation === 'loopback') {
      checkLoopbackNetwork(plan)
      return network
    }
    const forward = plan.routes.length > 0 ? 'forward' : ''
    try {
      await batch([...access.prefix, 'ip', '-batch', '-'], createCommands(plan))
      await inParallel([...configureCommands(plan)], ([namespace, commands]) =>
        batch([...access.prefix, ...inNamespace(namespace), 'sh', '-c', CONFIGURE, 'sh', forward], commands),
      )
    } catch (error) {
      await network.down()
      throw error
    }
    return network
  }

  /**
   * What to put before a command so that it runs in the node's namespace; empty in loopback isolation.
   * @throws LabError if there is no such node.
   */
  execPrefix(nodeId: string): string[] {
    const node = this.plan.nodes.find(({ id }) => id === nodeId)
    if (node === undefined) throw new LabError(`there is no node ${nodeId} in lab ${this.plan.lab}`)
    return [...this.#access.prefix, ...inNamespace(node.namespace)]
  }

  /** The same for the hub, which has the management network only. */
  hubPrefix(): string[] {
    return [...this.#access.prefix, ...inNamespace(this.plan.hub.namespace)]
  }

  /** Applies a law to both directions of a link. See `setLaws`. */
  setLaw(link: number, law: LinkLaw): Promise<void> {
    return this.setLaws(new Map([[link, law]]))
  }

  /**
   * Applies laws to links, by link number, on the egress of both ends; datagrams on their way keep their delay.
   * @throws LabError if there is no such link, no namespaces, or the kernel has no netem. RangeError for a bad law.
   */
  async setLaws(laws: ReadonlyMap<number, LinkLaw>): Promise<void> {
    if (this.plan.isolation === 'loopback') throw new LabError('netem needs network namespaces; this lab has none')
    await inParallel([...lawCommands(this.plan, laws)], ([namespace, commands]) =>
      batch([...this.#access.prefix, 'tc', '-netns', namespace, '-batch', '-'], commands, { env: NETEM_ENV }),
    )
  }

  /** Kills what still runs in the lab's namespaces and deletes them. A second call finds nothing to do. */
  async down(): Promise<void> {
    if (this.plan.isolation !== 'loopback') await clearNamespaces(this.plan.lab, this.#access)
  }
}

/** `ip` commands that make all namespaces, the bridge and every veth pair, run outside of any of them. */
export function createCommands(plan: LabPlan): string[] {
  const hub = needed(plan.hub.namespace)
  const commands = [hub, ...plan.nodes.map((node) => needed(node.namespace))].map((name) => `netns add ${name}`)
  commands.push(`link add name ${BRIDGE} netns ${hub} type bridge`)
  for (const { number, namespace } of plan.nodes) {
    const port = `name ${hubPort(number)} netns ${hub}`
    commands.push(`link add name ${MANAGEMENT_INTERFACE} netns ${needed(namespace)} type veth peer ${port}`)
  }
  const namespaceOf = namespacesById(plan)
  for (const { ends } of plan.links) {
    const [first, second] = ends.map(
      (end) => `name ${end.interface} address ${end.mac} netns ${namespaceOf.get(end.node)}`,
    )
    commands.push(`link add ${first} type veth peer ${second}`)
  }
  return commands
}

/** `ip` commands to run inside each namespace: addresses, neighbours, everything up, routes. */
export function configureCommands(plan: LabPlan): Map<string, string[]> {
  const byNamespace = new Map<string, string[]>()
  byNamespace.set(needed(plan.hub.namespace), [
    ...interfaceUp(BRIDGE, plan.hub.managementAddress, MANAGEMENT_PREFIX_BITS),
    ...plan.nodes.map(({ number }) => `link set dev ${hubPort(number)} master ${BRIDGE} up`),
  ])
  const commandsOf = new Map<string, string[]>()
  for (const { id, namespace, managementAddress } of plan.nodes) {
    const commands = interfaceUp(MANAGEMENT_INTERFACE, managementAddress, MANAGEMENT_PREFIX_BITS)
    byNamespace.set(needed(namespace), commands)
    commandsOf.set(id, commands)
  }
  for (const { ends } of plan.links) {
    for (const [mine, peer] of [ends, [ends[1], ends[0]]] as const) {
      commandsOf
        .get(mine.node)
        ?.push(
          ...interfaceUp(mine.interface, mine.address, LINK_PREFIX_BITS),
          `neighbour add ${peer.address} lladdr ${peer.mac} dev ${mine.interface} nud permanent`,
        )
    }
  }
  for (const { node, to, via, interface: dev, metric } of plan.routes) {
    commandsOf.get(node)?.push(`route add ${to} via ${via} dev ${dev} metric ${metric}`)
  }
  for (const commands of byNamespace.values()) commands.unshift('link set dev lo up')
  return byNamespace
}

/** `tc` commands that put laws on both ends of their links, by namespace. */
export function lawCommands(plan: LabPlan, laws: ReadonlyMap<number, LinkLaw>): Map<string, string[]> {
  const namespaceOf = namespacesById(plan)
  const byNamespace = new Map<string, string[]>()
  for (const [link, law] of laws) {
    const args = netemArgs(law).join(' ')
    for (const end of linkOf(plan, link).ends) {
      const namespace = needed(namespaceOf.get(end.node))
      const commands = byNamespace.get(namespace) ?? []
      commands.push(`qdisc replace dev ${end.interface} root ${args}`)
      byNamespace.set(namespace, commands)
    }
  }
  return byNamespace
}

function linkOf(plan: LabPlan, link: number): LinkPlan {
  const found = plan.links.find((candidate) => candidate.link === link)
  if (found === undefined) throw new LabError(`there is no link ${link} in lab ${plan.lab}`)
  return found
}

function namespacesById(plan: LabPlan): Map<string, string> {
  return new Map(plan.nodes.map(({ id, namespace }) => [id, needed(namespace)]))
}

function hubPort(nodeNumber: number): string {
  return `n${nodeNumber}`
}

function interfaceUp(name: string, address: string, prefixBits: number): string[] {
  return [`address add ${address}/${prefixBits} dev ${name}`, `link set dev ${name} up`]
}

function needed(namespace: string | undefined): string {
  if (namespace === undefined) throw new LabError('this lab has no namespaces (loopback isolation)')
  return namespace
}

async function batch(
  command: readonly string[],
  commands: readonly string[],
  options: ToolOptions = {},
): Promise<void> {
  const result = await runTool(command, { ...options, input: lines(commands) })
  if (result.code === 0) return
  const failed = /Command failed -:(\d+)/.exec(result.stderr)?.[1]
  const reason = result.stderr.trim().split('\n')[0] || lastErrorLine(result)
  throw new LabError(`${command.join(' ').split('\n')[0]}: ${commands[Number(failed) - 1] ?? 'batch'}: ${reason}`)
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values()
  const workers = Array.from({ length: PARALLEL }, async () => {
    for (const item of left) await work(item)
  })
  await Promise.all(workers)
}
