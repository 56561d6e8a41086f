import { HOST, inNamespace, insideHolder, type LabAccess } from './access.ts'
import { LAB_ID } from './clear-lab.ts'
import { LabError } from './errors.ts'
import { accessOf, isUp, liveOwner, lockedLabs, readRecord, type StandingLab } from './lock-record.ts'
import { labOfNamespace, namespaceName } from './plan.ts'
import { namespaceNames, pidsByNamespace } from './processes.ts'

/** A lab on this machine, by what is known of it. */
export type KnownLab = { readonly lab: string } & (
  | { readonly kind: 'running'; readonly pid: number }
  | { readonly kind: 'standing'; readonly standing: StandingLab }
  /** Its process was killed, or part of it is gone. */
  | { readonly kind: 'leftover' }
)

/** All labs that have a lock or namespaces here, by name. */
export function knownLabs(): readonly KnownLab[] {
  const names = new Set([...lockedLabs(), ...namespaceNames().flatMap((name) => labOfNamespace(name) ?? [])])
  return [...names].sort().map((lab): KnownLab => {
    const record = readRecord(lab)
    const owner = liveOwner(record)
    const standing = record?.standing
    if (standing !== undefined && isUp(standing)) return { lab, kind: 'standing', standing }
    return owner === undefined ? { lab, kind: 'leftover' } : { lab, kind: 'running', pid: owner.pid }
  })
}

/** Namespaces of a lab, and the processes in each; none in loopback isolation. */
export function namespacesOf(known: KnownLab): ReadonlyMap<string, readonly number[]> {
  const { netnsDir } = accessTo(known)
  const names = namespaceNames(netnsDir).filter((name) => labOfNamespace(name) === known.lab)
  const pids = pidsByNamespace(names, netnsDir)
  return new Map(names.map((name) => [name, pids.get(name) ?? []]))
}

/**
 * How to run a command in the place of a node, and what to add to its environment, so that it is known as the lab's.
 * @throws LabError if the lab is not up or there is no such node
 */
export function commandIn(
  known: KnownLab,
  node: string,
  command: readonly string[],
): { readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  const { lab } = known
  if (known.kind === 'leftover') throw new LabError(`lab ${lab} is not up`)
  const env = { Q104_LAB: lab, ...(known.kind === 'standing' && { [LAB_ID]: known.standing.id }) }
  const namespaces = [...namespacesOf(known).keys()]
  if (namespaces.length === 0) return { command, env }
  const namespace = namespaceName(lab, node)
  if (!namespaces.includes(namespace)) {
    const nodes = namespaces.map((name) => name.slice(namespaceName(lab, '').length))
    throw new LabError(`there is no node ${JSON.stringify(node)} in lab ${lab}; nodes: ${nodes.sort().join(', ')}`)
  }
  const { prefix } = accessTo(known)
  // Whoever enters another mount namespace stands in its root.
  const here = prefix.length === 0 ? [] : ['env', '-C', process.cwd()]
  return { command: [...prefix, ...here, ...inNamespace(namespace), ...command], env }
}

function accessTo(known: KnownLab): LabAccess {
  if (known.kind === 'standing') return accessOf(known.standing)
  const isHere = namespaceNames().some((name) => labOfNamespace(name) === known.lab)
  return known.kind === 'leftover' || isHere ? HOST : insideHolder(known.pid)
}
