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

/** Pids of the processes in any of these network namespaces, in one walk through /proc. Never those of our own. */
export function pidsInNamespaces(namespaces: readonly string[]): number[] {
  const own = fileIdentity('/proc/self/ns/net')
  const wanted = new Set(namespaces.map((name) => fileIdentity(`/run/netns/${name}`)))
  wanted.delete(own)
  wanted.delete(undefined)
  if (wanted.size === 0) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && wanted.has(fileIdentity(`/proc/${name}/ns/net`)))
    .map(Number)
}

/** Names of all network namespaces that `ip netns` knows. */
export function namespaceNames(): string[] {
  try {
    return readdirSync('/run/netns')
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
