import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { HOST, type LabAccess } from './access.ts'
import { LabError } from './errors.ts'
import { accessOf, controlSocket, labTempDir, type StandingLab } from './lock-record.ts'
import { checkLabName, labOfNamespace } from './plan.ts'
import { isAlive, kill, namespaceNames, pidsInNamespaces, pidsWithEnv } from './processes.ts'
import { lines, runTool } from './run-tool.ts'

/** What clearing a lab found. */
export type Cleared = { readonly namespaces: readonly string[]; readonly killedPids: readonly number[] }

/** Environment variable by which processes that were started in a standing lab are found again. */
export const LAB_ID = 'Q104_LAB_ID'

const KILL_DEADLINE_MS = 5_000

/** Clears what is left of a lab that is ours: namespaces, processes in them, its files; of a standing lab also the rest. */
export async function clearLab(lab: string, standing?: StandingLab): Promise<Cleared> {
  removeFiles(lab)
  const host = await clearNamespaces(lab)
  if (standing === undefined) return host
  const { id, holder } = standing
  const held = holder !== undefined && isAlive(holder) ? namespaceNames(accessOf(standing).netnsDir) : []
  // The holder's death ends its mount and network namespaces, and those made inside them.
  const killedPids = await killAll(lab, () => [
    ...pidsWithEnv(LAB_ID, id),
    ...(holder !== undefined && isAlive(holder) ? [holder.pid] : []),
  ])
  return { namespaces: [...host.namespaces, ...held], killedPids: [...new Set([...host.killedPids, ...killedPids])] }
}

/** Removes what a run keeps beside its lock. */
export function removeFiles(lab: string): void {
  rmSync(controlSocket(lab), { force: true })
  rmSync(labTempDir(lab), { recursive: true, force: true })
}

/**
 * Kills (SIGKILL) every process in the lab's namespaces and deletes them; veth pairs vanish with them. Loopback labs
 * leave nothing of the kind.
 */
export async function clearNamespaces(lab: string, { prefix, netnsDir }: LabAccess = HOST): Promise<Cleared> {
  checkLabName(lab)
  const ours = (): string[] => namespaceNames(netnsDir).filter((name) => labOfNamespace(name) === lab)
  const namespaces = ours()
  const killedPids = await killAll(lab, () => pidsInNamespaces(namespaces, netnsDir))
  if (namespaces.length > 0) {
    const input = lines(namespaces.map((name) => `netns del ${name}`))
    // -force: one that another run has deleted meanwhile must not keep the rest.
    await runTool([...prefix, 'ip', '-force', '-batch', '-'], { input })
    const left = ours()
    if (left.length > 0) throw new LabError(`namespaces ${left.join(', ')} could not be deleted`)
  }
  return { namespaces, killedPids }
}

/** Kills (SIGKILL) the processes of a lab until none is found. */
export async function killAll(lab: string, find: () => readonly number[]): Promise<readonly number[]> {
  const killed = new Set<number>()
  const deadline = performance.now() + KILL_DEADLINE_MS
  for (let pids = find(); pids.length > 0; pids = find()) {
    if (performance.now() > deadline) throw new LabError(`processes ${pids.join(', ')} of lab ${lab} do not end`)
    for (const pid of pids) {
      killed.add(pid)
      kill(pid)
    }
    await sleep(10)
  }
  return [...killed]
}
