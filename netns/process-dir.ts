import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { identify, isAlive } from './processes.ts'
import { ensureStateDir } from './state-dir.ts'

/** Pid and start of the process to the base 36, so that the path of a socket in the folder stays short. */
const NAME = /^p([0-9a-z]+)-([0-9a-z]+)$/
const BASE = 36

/**
 * Makes a folder (mode 0700) for files of this process, beside the labs' locks. Its maker removes it; if it is killed before,
 * the next one who takes a lab does.
 * @throws StateDirError if the folder of the locks cannot be had
 */
export function makeProcessDir(): string {
  clearDeadDirs()
  const owner = identify(process.pid)
  if (owner === undefined) throw new Error('/proc does not show this process')
  const path = join(ensureStateDir(), `p${owner.pid.toString(BASE)}-${owner.startTicks.toString(BASE)}`)
  mkdirSync(path, { mode: 0o700, recursive: true })
  return path
}

/** Whether the path is a folder that `makeProcessDir` makes for this user, whatever process it is of. */
export function isProcessDir(path: string): boolean {
  return dirname(path) === ensureStateDir() && NAME.test(basename(path))
}

/** Removes the folders of this user's processes that have ended. */
export function clearDeadDirs(): void {
  const stateDir = ensureStateDir()
  for (const name of readdirSync(stateDir)) {
    const [, pid, startTicks] = NAME.exec(name) ?? []
    if (pid === undefined || startTicks === undefined) continue
    if (isAlive({ pid: Number.parseInt(pid, BASE), startTicks: Number.parseInt(startTicks, BASE) })) continue
    rmSync(join(stateDir, name), { recursive: true, force: true })
  }
}
