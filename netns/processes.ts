import { readdirSync, readFileSync, statSync } from 'node:fs'

/** A process, told from a later one with the same pid by its start time (clock ticks since boot, /proc/pid/stat). */
export type ProcessIdentity = { readonly pid: number; readonly startTicks: number }

/** Identity of a running process, or undefined if there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command's name may hold spaces and brackets; the fields start behind its last bracket.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startTicks = Number(fields[18])
    return state === 'Z' || state === 'X' || !Number.isSafeInteger(startTicks) ? undefined : { pid, startTicks }
  } catch {
    return undefined
  }
}

export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  return identify(pid)?.startTicks === startTicks
}

/** Sends SIGKILL; a process that has ended already is no error. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended on its own.
  }
}

/** Folder of the network namespaces that `ip netns` knows. */
export const NETNS_DIR = '/run/netns'

/** Pids of the processes in any of these network namespaces, in one walk through /proc. Never those of our own. */
export function pidsInNamespaces(namespaces: readonly string[], netnsDir = NETNS_DIR): number[] {
  return [...pidsByNamespace(namespaces, netnsDir).values()].flat()
}

/** The same by namespace; one without processes is left out. */
export function pidsByNamespace(namespaces: readonly string[], netnsDir = NETNS_DIR): Map<string, number[]> {
  const nameOf = new Map(namespaces.map((name) => [fileIdentity(`${netnsDir}/${name}`), name]))
  nameOf.delete(fileIdentity('/proc/self/ns/net'))
  nameOf.delete(undefined)
  const pids = new Map<string, number[]>()
  if (nameOf.size === 0) return pids
  for (const pid of allPids()) {
    const name = nameOf.get(fileIdentity(`/proc/${pid}/ns/net`))
    if (name !== undefined) pids.set(name, [...(pids.get(name) ?? []), pid])
  }
  return pids
}

/** Pids of the processes, but our own, that were started with this variable in their environment. */
export function pidsWithEnv(name: string, value: string): number[] {
  return allPids().filter((pid) => pid !== process.pid && environmentOf(pid).includes(`${name}=${value}`))
}

/** Names of all network namespaces that `ip netns` knows. */
export function namespaceNames(netnsDir = NETNS_DIR): string[] {
  try {
    return readdirSync(netnsDir)
  } catch {
    return []
  }
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** Empty for a process that has ended or is another user's. */
function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function fileIdentity(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
