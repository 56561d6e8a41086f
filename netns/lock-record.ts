import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LinkLaw } from '../src/sim/index.ts'
import { HOST, insideHolder, type LabAccess } from './access.ts'
import { insideUserns } from './isolation.ts'
import { checkLabName, type LabPlan } from './plan.ts'
import { isAlive, namespaceNames, type ProcessIdentity } from './processes.ts'
import { ensureStateDir } from './state-dir.ts'

/** A lab that stays up with no process of ours: all that the commands need to know of it. */
export type StandingLab = {
  /** Its processes carry it as Q104_LAB_ID in their environment. */
  readonly id: string
  readonly plan: LabPlan
  /** The scenario that it was made from, as the user named it. */
  readonly scenario: string
  readonly upWallMs: number
  /** Laws of its links, by number: as the scenario has them, and as they are; a link without has none. */
  readonly usualLaws: readonly (readonly [number, LinkLaw])[]
  readonly laws: readonly (readonly [number, LinkLaw])[]
  /** Keeps the user namespace of a lab in `userns` isolation. */
  readonly holder?: ProcessIdentity
}

/**
 * Content of a lab's lock file. With an owner alive the lab is that process's; without, a standing lab is up, and anything
 * else is a leftover. The janitor clears up after an owner that died.
 */
export type LockRecord = {
  readonly owner?: ProcessIdentity
  readonly janitor?: ProcessIdentity
  /** The part of 127.0.0.0/8 that the owner's lab uses. */
  readonly loopbackNetwork?: string
  readonly standing?: StandingLab
}

/** A lab that another live process runs, or that stands. */
export class LabBusyError extends Error {
  override readonly name = 'LabBusyError'
  /** The process, or undefined for a lab that stands. */
  readonly pid: number | undefined
  constructor(message: string, pid?: number) {
    super(message)
    this.pid = pid
  }
}

const LOCK_SUFFIX = '.lock'

export function lockFile(lab: string): string {
  checkLabName(lab)
  return join(ensureStateDir(), lab + LOCK_SUFFIX)
}

/** Socket on which a lab that a process runs can be asked for its laws. */
export function controlSocket(lab: string): string {
  checkLabName(lab)
  return join(ensureStateDir(), `${lab}.sock`)
}

/** Folder for files of a lab while a process runs it: cleared with the lab, whoever clears it. Not made yet. */
export function labTempDir(lab: string): string {
  checkLabName(lab)
  return join(ensureStateDir(), `${lab}.tmp`)
}

/** Names of the labs that have a lock file. */
export function lockedLabs(): string[] {
  return readdirSync(ensureStateDir())
    .filter((name) => name.endsWith(LOCK_SUFFIX))
    .map((name) => name.slice(0, -LOCK_SUFFIX.length))
    .sort()
}

/** Undefined when there is no lock file, empty when it holds nothing that makes sense. */
export function readRecord(lab: string): LockRecord | undefined {
  try {
    return parseRecord(readFileSync(lockFile(lab), 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

export function parseRecord(text: string): LockRecord {
  try {
    const { owner, janitor, loopbackNetwork, standing } = Object(JSON.parse(text))
    return {
      ...(isIdentity(owner) && { owner }),
      ...(isIdentity(janitor) && { janitor }),
      ...(typeof loopbackNetwork === 'string' && { loopbackNetwork }),
      ...(isStanding(standing) && { standing }),
    }
  } catch {
    return {}
  }
}

/** The live process that has the lab, or undefined. */
export function liveOwner(record: LockRecord | undefined): ProcessIdentity | undefined {
  const owner = record?.owner
  return owner !== undefined && isAlive(owner) ? owner : undefined
}

/** How to get to a standing lab's namespaces. */
export function accessOf({ holder }: Pick<StandingLab, 'holder'>): LabAccess {
  return holder === undefined ? HOST : insideHolder(holder.pid)
}

/** Whether all that a standing lab consists of is still there; where that cannot be seen, it is taken for granted. */
export function isUp({ plan, holder }: StandingLab): boolean {
  if (holder !== undefined) return isAlive(holder)
  if (insideUserns()) return true
  const there = new Set(namespaceNames())
  return [plan.hub, ...plan.nodes].every(({ namespace }) => namespace === undefined || there.has(namespace))
}

/** @throws LabBusyError if another lab, run by a live process or standing, uses the same loopback addresses. */
export function checkLoopbackNetwork({ lab, loopbackNetwork }: LabPlan): void {
  if (loopbackNetwork === undefined) return
  for (const other of lockedLabs()) {
    if (other === lab) continue
    const record = readRecord(other)
    const owner = liveOwner(record)
    const used = owner === undefined ? record?.standing?.plan.loopbackNetwork : record?.loopbackNetwork
    if (used !== loopbackNetwork) continue
    const why = `lab ${other} has the loopback addresses ${used} that follow from the name ${lab} too`
    throw new LabBusyError(`${why}; give this lab another --lab name`, owner?.pid)
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  const { pid, startTicks } = Object(value)
  return Number.isSafeInteger(pid) && pid > 0 && Number.isSafeInteger(startTicks)
}

/** The state directory is ours alone, so this guards against files cut short, not against forgery. */
function isStanding(value: unknown): value is StandingLab {
  const { id, plan, laws, usualLaws, holder } = Object(value)
  const { nodes, links, hub } = Object(plan)
  const lists: unknown[] = [nodes, links, laws, usualLaws]
  return typeof id === 'string' && Object(hub) === hub && lists.every(Array.isArray) && (!holder || isIdentity(holder))
}
