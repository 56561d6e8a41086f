import { linkSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { clearLab, removeFiles } from './clear-lab.ts'
import {
  isUp,
  LabBusyError,
  type LockRecord,
  liveOwner,
  lockFile,
  parseRecord,
  readRecord,
  type StandingLab,
} from './lock-record.ts'
import { clearDeadDirs } from './process-dir.ts'
import { identify, isAlive, kill, type ProcessIdentity } from './processes.ts'

/** A lab that is ours until `release`, `leave` or our death. */
export type LabLock = {
  readonly lab: string
  readonly file: string
  readonly owner: ProcessIdentity
  /** The standing lab that was found, up or in part: only for who asked to take it. */
  readonly standing: StandingLab | undefined
  /** Notes the janitor, so that a later run waits for it, and the loopback addresses that the lab uses. */
  noteJanitor(janitor: ProcessIdentity, loopbackNetwork?: string): void
  /** Gives the lab up and lets it stand. */
  leave(standing: StandingLab): void
  /** Gives the lab up; a second call does nothing. */
  release(): void
}

/** How long a new run waits for a dead run's janitor before it takes over, ms. */
const JANITOR_WAIT_MS = 10_000
/** How long a command waits for another one that works on the same standing lab, ms. */
const COMMAND_WAIT_MS = 10_000
const POLL_MS = 20

/** The live holder of a lab, or undefined if nobody runs it. */
export function labHolder(lab: string): ProcessIdentity | undefined {
  return liveOwner(readRecord(lab))
}

/**
 * Takes the lab: makes its lock file, or takes over one whose process is gone, clearing what it left behind, and the folders
 * of any other of our processes that are gone. A standing lab is refused, or taken with its network as it is.
 * @throws LabBusyError if a live process holds it, or it stands and is not to be taken. PlanError for a bad name.
 */
export async function acquireLab(lab: string, onStanding: 'refuse' | 'take' = 'refuse'): Promise<LabLock> {
  const file = lockFile(lab)
  const owner = identify(process.pid)
  if (owner === undefined) throw new Error('/proc does not show this process')
  clearDeadDirs()
  const deadlineMs = performance.now() + COMMAND_WAIT_MS
  for (;;) {
    const found = await withClaim(file, owner, () => tryToTake(lab, owner, onStanding))
    switch (found.kind) {
      case 'taken': {
        const isTaken = found.standing !== undefined && onStanding === 'take'
        if (!isTaken) await clearLab(lab, found.standing)
        write(file, { owner, ...(isTaken && { standing: found.standing }) })
        return lockOf(lab, file, owner, isTaken ? found.standing : undefined)
      }
      case 'clearing':
        await waitForJanitor(found.janitor)
        break
      case 'owned':
        if (!found.isCommand || onStanding === 'refuse' || performance.now() > deadlineMs) throw busy(lab, found.pid)
        await sleep(POLL_MS)
    }
  }
}

type Found =
  | { readonly kind: 'taken'; readonly standing: StandingLab | undefined }
  | { readonly kind: 'clearing'; readonly janitor: ProcessIdentity }
  | { readonly kind: 'owned'; readonly pid: number; readonly isCommand: boolean }

function tryToTake(lab: string, owner: ProcessIdentity, onStanding: 'refuse' | 'take'): Found {
  const record = readRecord(lab)
  const other = liveOwner(record)
  const standing = record?.standing
  if (other !== undefined) return { kind: 'owned', pid: other.pid, isCommand: standing !== undefined }
  if (record?.janitor !== undefined && isAlive(record.janitor)) return { kind: 'clearing', janitor: record.janitor }
  if (standing !== undefined && onStanding === 'refuse' && isUp(standing)) {
    const advice = `take it down first (q104 down ${lab}), or give this run another --lab name`
    throw new LabBusyError(`lab ${lab} is up and kept (q104 up); ${advice}`)
  }
  removeDrafts(lab)
  // A standing lab stays on record until nothing of it is left.
  write(lockFile(lab), { owner, ...(standing && { standing }) })
  return { kind: 'taken', standing }
}

function busy(lab: string, pid: number): LabBusyError {
  const message = `lab ${lab} is in use by process ${pid}; end it first, or give this run another --lab name`
  return new LabBusyError(message, pid)
}

function lockOf(lab: string, file: string, owner: ProcessIdentity, standing: StandingLab | undefined): LabLock {
  let held = true
  return {
    lab,
    file,
    owner,
    standing,
    noteJanitor: (janitor, loopbackNetwork) =>
      write(file, { owner, janitor, ...(loopbackNetwork !== undefined && { loopbackNetwork }) }),
    leave: (left) => {
      write(file, { standing: left })
      held = false
    },
    release: () => {
      if (held && readRecord(lab)?.owner?.pid === owner.pid) {
        removeFiles(lab)
        unlinkSync(file)
      }
      held = false
    },
  }
}

/** Removes what processes that were killed while they wrote have left beside the lock file. */
function removeDrafts(lab: string): void {
  const file = lockFile(lab)
  for (const name of readdirSync(dirname(file))) {
    const pid = /^\.(?:claim\.)?(\d+)(?:\.stale)?$/.exec(name.slice(`${lab}.lock`.length))?.[1]
    if (!name.startsWith(`${lab}.lock`) || pid === undefined || identify(Number(pid)) !== undefined) continue
    rmSync(join(dirname(file), name), { force: true })
  }
}

/** Replaces the file in one step. */
function write(file: string, record: LockRecord): void {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 })
  renameSync(draft, file)
}

/** Does something to a lock file while nobody else who asks for it first may. */
async function withClaim<T>(file: string, owner: ProcessIdentity, action: () => T): Promise<T> {
  const claim = `${file}.claim`
  while (!publish(claim, owner)) {
    const text = readText(claim)
    const claimant = parseRecord(text ?? '').owner
    if (text !== undefined && (claimant === undefined || !isAlive(claimant))) removeStale(claim, text)
    await sleep(POLL_MS)
  }
  try {
    return action()
  } finally {
    unlinkSync(claim)
  }
}

/** Makes a file with its content in one step; false if there is one already. */
function publish(file: string, owner: ProcessIdentity): boolean {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, JSON.stringify({ owner }), { mode: 0o600 })
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  } finally {
    unlinkSync(draft)
  }
}

/** Moves a dead process's file away; puts it back if another process has replaced it since we read `text`. */
function removeStale(file: string, text: string): void {
  const aside = `${file}.${process.pid}.stale`
  try {
    renameSync(file, aside)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  if (readText(aside) !== text) {
    try {
      linkSync(aside, file)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
  }
  unlinkSync(aside)
}

async function waitForJanitor(janitor: ProcessIdentity): Promise<void> {
  const deadline = performance.now() + JANITOR_WAIT_MS
  while (isAlive(janitor)) {
    if (performance.now() > deadline) kill(janitor.pid)
    await sleep(POLL_MS)
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
