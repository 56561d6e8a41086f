import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Isolation } from './plan.ts'
import { lastErrorLine, runTool, toolEnv } from './run-tool.ts'
import { ensureStateDir } from './state-dir.ts'

/** Set to 1 in the environment of a q104 that runs inside the user namespace made by `reexecInUserns`. */
export const INSIDE_USERNS = 'Q104_INSIDE_USERNS'

/** The isolation that was asked for cannot be had here; the message says why. */
export class IsolationError extends Error {
  override readonly name = 'IsolationError'
}

/** `unshare` arguments of a user namespace in which we are root, with a network and mounts of its own. */
export const USERNS = ['unshare', '--user', '--map-root-user', '--net', '--mount']

/** Makes a namespace and a veth pair and removes them again; `$1` is the namespace's name. */
const PROBE = `
set -e
ip netns add "$1"
trap 'ip netns del "$1"' EXIT
ip link add name q104probe0 netns "$1" type veth peer name q104probe1 netns "$1"
`

export type Detected = { readonly isolation: Isolation; readonly why: string }

export function insideUserns(): boolean {
  return process.env[INSIDE_USERNS] === '1'
}

/**
 * The strongest isolation that works here, found by trying, or the one asked for.
 * `userns` means: `reexecInUserns` first, unless `insideUserns()` already.
 * @throws IsolationError if the one asked for does not work here.
 */
export async function detectIsolation(asked?: Isolation): Promise<Detected> {
  if (asked === 'loopback') return { isolation: 'loopback', why: 'loopback addresses, as asked' }
  if (insideUserns()) {
    if (asked === 'netns') throw new IsolationError('netns isolation: this process is inside a user namespace already')
    const failure = await probe([])
    if (failure === undefined) return { isolation: 'userns', why: 'network namespaces inside a user namespace' }
    throw new IsolationError(`userns isolation: no network namespace can be made inside the user namespace: ${failure}`)
  }
  const netnsFailure = asked === 'userns' ? 'not asked for' : await probeNetns()
  if (netnsFailure === undefined) return { isolation: 'netns', why: 'network namespaces can be made (root)' }
  if (asked === 'netns') throw new IsolationError(`netns isolation does not work here: ${netnsFailure}`)
  const usernsFailure = await probe([...USERNS, 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh'])
  if (usernsFailure === undefined) {
    const why = 'network namespaces inside a user namespace'
    return {
      isolation: 'userns',
      why: asked === 'userns' ? `${why}, as asked` : `${why} (as ourselves: ${netnsFailure})`,
    }
  }
  if (asked === 'userns') throw new IsolationError(`userns isolation does not work here: ${usernsFailure}`)
  return {
    isolation: 'loopback',
    why: `loopback addresses only (namespaces as ourselves: ${netnsFailure}; in a user namespace: ${usernsFailure})`,
  }
}

/**
 * Whether the kernel has netem (sch_netem): adds one to the loopback device of a fresh namespace, as root or else in a
 * user namespace. Leaves nothing behind.
 */
export async function hasNetem(): Promise<boolean> {
  const add = ['tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms']
  const asRoot = await runTool(['unshare', '--net', ...add])
  if (asRoot.code === 0) return true
  return (await runTool(['unshare', '--user', '--map-root-user', '--net', ...add])).code === 0
}

/** Why no network namespace can be made as ourselves, or undefined if one can. */
async function probeNetns(): Promise<string | undefined> {
  return process.getuid?.() === 0 ? probe([]) : 'not root'
}

async function probe(prefix: readonly string[]): Promise<string | undefined> {
  const result = await runTool([...prefix, 'sh', '-c', PROBE, 'sh', `q104probe-${process.pid}`])
  return result.code === 0 ? undefined : lastErrorLine(result)
}

/**
 * Prepares the user namespace and becomes the command. `$1` is the state directory: where it lies below /run, it stays
 * visible beneath the fresh tmpfs that `ip netns` needs there, so that locks are shared with runs outside.
 */
const ENTER = `
state=$1; shift
case $state in /run/*) exec 9<"$state" || exit 126 ;; esac
mount -t tmpfs -o mode=755 tmpfs /run || exit 126
case $state in /run/*) mkdir -p "$state" && mount -c --rbind /proc/self/fd/9 "$state" || exit 126; exec 9<&- ;; esac
ip link set dev lo up || exit 126
exec setpriv --pdeathsig KILL "$@"
`

/** What the inner process is given beside what every one gets: environment, and sockets, by file descriptor, as 3 and on. */
export type Inherited = {
  readonly env?: Readonly<Record<string, string>>
  readonly sockets?: readonly number[]
}

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * Runs `node <args>` inside a user namespace where it is root, with its own network and a fresh /run; resolves with its
 * exit code (128 + signal number if a signal ended it). The inner process has a session of its own: a Ctrl-C in the
 * terminal reaches only us and is forwarded, so it arrives once. If we are killed, it is killed too.
 */
export async function reexecInUserns(args: readonly string[], inherited: Inherited = {}): Promise<number> {
  const stateDir = ensureStateDir()
  const command = [process.execPath, ...process.execArgv, ...args]
  const child = spawn('unshare', [...USERNS.slice(1), 'sh', '-c', ENTER, 'sh', stateDir, ...command], {
    env: { ...process.env, PATH: toolEnv()['PATH'], [INSIDE_USERNS]: '1', Q104_STATE_DIR: stateDir, ...inherited.env },
    stdio: ['inherit', 'inherit', 'inherit', ...(inherited.sockets ?? [])],
    detached: true,
  })
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal)
  for (const signal of FORWARDED) process.on(signal, forward)
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on('error', (error) => reject(new IsolationError(`unshare (util-linux): ${error.message}`)))
      child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
    })
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward)
  }
}
