import { lstatSync, mkdirSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { StateDirError } from './errors.ts'

/** A socket's path has at most 107 octets; behind the folder's come a lab's name and a suffix. */
const MAX_PATH_BYTES = 80

/**
 * Directory of lab locks: $Q104_STATE_DIR if set, /run/q104 as root, else $XDG_RUNTIME_DIR/q104, else /tmp/q104-<uid>.
 * Not made yet; see `ensureStateDir`.
 */
export function stateDirPath(env: NodeJS.ProcessEnv = process.env, uid: number = process.getuid?.() ?? 0): string {
  const { Q104_STATE_DIR: given, XDG_RUNTIME_DIR: runtimeDir } = env
  if (given) return given
  if (uid === 0) return '/run/q104'
  return runtimeDir && isAbsolute(runtimeDir) ? join(runtimeDir, 'q104') : `/tmp/q104-${uid}`
}

/**
 * Makes the state directory (mode 0700) where it is missing.
 * @throws StateDirError if it cannot be made, its path is too long for a socket in it, or another user owns it or can write to
 *   it: whoever could plant a lock there could stop our labs.
 */
export function ensureStateDir(): string {
  const path = stateDirPath()
  const bytes = Buffer.byteLength(path)
  if (bytes > MAX_PATH_BYTES)
    throw new StateDirError(`${path} has ${bytes} octets, at most ${MAX_PATH_BYTES} are possible`)
  make(path)
  const stat = lstatSync(path)
  if (!stat.isDirectory()) throw new StateDirError(`${path} is not a directory`)
  if (stat.uid !== process.getuid?.()) throw new StateDirError(`${path} belongs to user ${stat.uid}, not to us`)
  if ((stat.mode & 0o077) !== 0) throw new StateDirError(`${path} is open to other users; it must have mode 0700`)
  return path
}

function make(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700, recursive: true })
  } catch (error) {
    throw new StateDirError(`folder of the labs' locks: ${error instanceof Error ? error.message : String(error)}`)
  }
}
