import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { clearLeftovers } from './lab.ts'
import { checkLabName } from './plan.ts'
import { identify, isAlive, kill, type ProcessIdentity } from './processes.ts'
import { ensureStateDir } from './state-dir.ts'

/** Who holds a lab. The janitor clears up after an owner that died. */
export type LockRecord = { readonly owner: ProcessIdentity; readonly janitor?: ProcessIdentity }

/** A lab that another live process runs. */
export class LabBusyError extends Error {
  override readonly name = 'LabBusyError'
  readonly pid: number
  constructor(lab: string, pid: number) {
    super(`lab ${lab} is in use by process ${pid}; end it first, or give this run another --lab name`)
    this.pid = pid
  }
}

/** A lab that is ours until `release` or our death. */
export type LabLock = {
  readonly lab: string
  readonly file: string
  readonly owner: ProcessIdentity
  /** Notes the janitor, so that a later run waits for it. */
  noteJanitor(janitor: ProcessIdentity): void
  /** Gives the lab up; a second call does nothing. */
  release(): void
}

/** How long a new run waits for a dead run's janitor before it takes over, ms. */
const JANITOR_WAIT_MS = 10_000
const ATTEMPTS = 20

export function lockFile(lab: string): string {
  checkLabName(lab)
  return join(ensureStateDir(), `${lab}.lock`)
}

/** The live holder of a lab, or undefined if nobody runs it. */
export function labHolder(lab: string): ProcessIdentity | undefined {
  const owner = parse(readText(lockFile(lab)))?.owner
  return owner !== undefined && isAlive(owner) ? owner : undefined
}

/**
 * Takes the lab: makes its lock file, or takes over one whose process is gone, clearing what it left behind.
 * @throws LabBusyError if a live process holds it. PlanError for a bad name.
 */
export async function acquireLab(lab: string): Promise<LabLock> {
  const file = lockFile(lab)
  const owner = identify(process.pid)
  if (owner === undefined) throw new Error('/proc does not show this process')
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (publish(file, { owner })) {
      await clearLeftovers(lab)
      return lockOf(lab, file, owner)
    }
    const text = readText(file)
    const record = parse(text)
    if (record !== undefined && isAlive(record.owner)) throw new LabBusyError(lab, record.owner.pid)
    if (record?.janitor !== undefined) await waitForJanitor(record.janitor)
    if (text !== undefined) removeStale(file, text)
  }
  throw new Error(`${file}: too many processes want this lab at once`)
}

function lockOf(lab: string, file: string, owner: ProcessIdentity): LabLock {
  let held = true
  return {
    lab,
    file,
    owner,
    noteJanitor: (janitor) => {
      const draft = `${file}.${process.pid}`
      writeFileSync(draft, JSON.stringify({ owner, janitor }), { mode: 0o600 })
      renameSync(draft, file)
    },
    release: () => {
      if (held && parse(readText(file))?.owner.pid === owner.pid) unlinkSync(file)
      held = false
    },
  }
}

/** Makes the lock file with its content in one step; false if there is one already. */
function publish(file: string, record: LockRecord): boolean {
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 })
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

/** Moves a stale lock away; puts it back if another run has replaced it since we read `text`. */
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
    await sleep(20)
  }
}

function parse(text: string | undefined): LockRecord | undefined {
  if (text === undefined) return undefined
  try {
    const { owner, janitor } = Object(JSON.parse(text))
    if (!isIdentity(owner)) return undefined
    return isIdentity(janitor) ? { owner, janitor } : { owner }
  } catch {
    return undefined
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  const { pid, startTicks } = Object(value)
  return Number.isSafeInteger(pid) && pid > 0 && Number.isSafeInteger(startTicks)
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
