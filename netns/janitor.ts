import { spawn } from 'node:child_process'
import type { LabLock } from './lock.ts'
import type { LabPlan } from './plan.ts'
import { identify } from './processes.ts'
import { toolEnv } from './run-tool.ts'

/** A process that clears up after us if we die before we have done so ourselves, however we die. */
export type Janitor = {
  readonly pid: number
  /** Sends it home: the lab is down already. Resolves when it has gone. */
  dismiss(): Promise<void>
}

/**
 * `$1` lock file, `$2` text that marks the lock as ours, `$3` and `$4` folders or '', then the namespaces.
 * Reads `go` once it is noted in the lock; then the end of its input means that the owner is dead, and `bye` that there
 * is nothing to do. A process may be forking while it is killed, hence the rounds.
 */
const SCRIPT = `
trap '' INT TERM HUP QUIT
lock=$1 mark=$2 dir=$3 more=$4; shift 4
read -r word || exit 0
read -r word && [ "$word" = bye ] && exit 0
for round in 1 2 3 4 5 6 7 8 9 10; do
  pids=$(for ns in "$@"; do ip netns pids "$ns"; done)
  [ -z "$pids" ] && break
  kill -KILL $pids
  sleep 0.05
done
for ns in "$@"; do echo "netns del $ns"; done | ip -force -batch -
[ -n "$dir" ] && rm -rf -- "$dir"
[ -n "$more" ] && rm -rf -- "$more"
grep -qF -- "$mark" "$lock" && rm -f -- "\${lock%.lock}.sock" "$lock"
exit 0
`

/**
 * Starts the janitor of a lab that we hold. When our end of its pipe closes (we ended, crashed or were killed), it kills
 * what still lives in the lab's namespaces, deletes them, and removes the folders (two at most) and the lock file. It is in a
 * session of its own and ignores what a terminal sends.
 */
export async function startJanitor(plan: LabPlan, lock: LabLock, folders: readonly string[] = []): Promise<Janitor> {
  const namespaces = [plan.hub, ...plan.nodes].flatMap(({ namespace }) => namespace ?? [])
  const mark = JSON.stringify({ owner: lock.owner }).slice(1, -1)
  const [first = '', second = ''] = folders
  const child = spawn('sh', ['-c', SCRIPT, 'q104-janitor', lock.file, mark, first, second, ...namespaces], {
    cwd: '/',
    detached: true,
    env: toolEnv(),
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject))
  child.stdin.on('error', () => {})
  const janitor = identify(child.pid ?? 0)
  if (janitor !== undefined) lock.noteJanitor(janitor, plan.loopbackNetwork)
  child.stdin.write('go\n')
  child.unref()
  return {
    pid: child.pid ?? 0,
    dismiss: async () => {
      child.stdin.end('bye\n')
      child.ref()
      if (child.exitCode === null && child.signalCode === null) await gone
    },
  }
}
