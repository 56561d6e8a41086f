/** Labs killed while they come up, again and again, and what is left of them afterwards. */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { labOfNamespace } from '../../netns/index.ts'

export type Left = {
  readonly namespaces: readonly string[]
  readonly processes: readonly string[]
  readonly files: readonly string[]
}

export const NOTHING_LEFT: Left = { namespaces: [], processes: [], files: [] }

export type CycleSetting = {
  readonly lab: string
  readonly cycles: number
  readonly env: NodeJS.ProcessEnv
  /** Folders that are empty when nothing is left. */
  readonly stateDirs: readonly string[]
  readonly tempDirs: readonly string[]
  /** Command that is killed at some moment of its life, another one in each cycle. */
  readonly killed: readonly string[]
  /** Command that is then run to its end; undefined: the next cycle does the same. */
  readonly again?: readonly string[] | undefined
  /** Whether that command's output says that it did what it should. */
  readonly wasUp: (output: string) => boolean
  /** Takes the lab down. */
  readonly down: readonly string[]
  /** Last command, run to its end. Default `down`. */
  readonly last?: readonly string[]
  /** Life of the command, where it is not measured first, ms. */
  readonly wholeMs?: number
  readonly onCycle?: (done: number) => void
}

export type CyclesDone = {
  readonly outcomes: readonly { readonly isUp: boolean; readonly output: string }[]
  /** Output of commands that failed by themselves before they were killed. */
  readonly failures: readonly string[]
  readonly left: Left
  /** Veth interfaces of this namespace more than there were before. */
  readonly veths: number
  readonly endCode: number | null
  readonly killedMs: readonly number[]
  readonly tookMs: number
}

/** How long what is left may take to go: a janitor clears up after who was killed. */
const CLEAR_DEADLINE_MS = 10_000

export async function killCycles(setting: CycleSetting): Promise<CyclesDone> {
  const { lab, cycles, env, stateDirs, tempDirs, killed, again, wasUp, down, last = down, onCycle } = setting
  const beganMs = performance.now()
  const vethsBefore = veths()
  const runToEnd = ([file = '', ...args]: readonly string[]) => spawnSync(file, args, { env, encoding: 'utf8' })
  const wholeMs = setting.wholeMs ?? lifeOf(() => runToEnd(killed))
  if (setting.wholeMs === undefined) runToEnd(down)
  const outcomes: { isUp: boolean; output: string }[] = []
  const failures: string[] = []
  const killedMs: number[] = []
  for (let cycle = 0; cycle < cycles; cycle++) {
    const [file = '', ...args] = killed
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        output += bytes
      })
    }
    const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const startMs = performance.now()
    // From its start to a little after its end.
    await Promise.race([sleep((wholeMs * 1.1 * (cycle + 0.5)) / cycles), exit])
    child.kill('SIGKILL')
    killedMs.push(performance.now() - startMs)
    if ((await exit) !== null && child.exitCode !== 0) failures.push(output)
    if (again !== undefined) {
      const { stdout, stderr } = runToEnd(again)
      outcomes.push({ isUp: wasUp(stdout), output: stdout + stderr })
      if (cycle % 2 === 1) runToEnd(down)
    }
    onCycle?.(cycle + 1)
  }
  const { status } = runToEnd(last)
  const look = () => leftOf(lab, [...stateDirs, ...tempDirs])
  const deadline = performance.now() + CLEAR_DEADLINE_MS
  while (JSON.stringify(look()) !== JSON.stringify(NOTHING_LEFT) && performance.now() < deadline) await sleep(50)
  return {
    ...{ outcomes, failures, left: look(), veths: Math.max(0, veths() - vethsBefore) },
    ...{ endCode: status, killedMs, tookMs: performance.now() - beganMs },
  }
}

export function leftOf(lab: string, folders: readonly string[]): Left {
  const files = folders.flatMap((folder) => readdirSync(folder))
  return { namespaces: labNamespaces(lab), processes: labProcesses(lab), files }
}

function lifeOf(work: () => void): number {
  const startMs = performance.now()
  work()
  return performance.now() - startMs
}

function labNamespaces(lab: string): string[] {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => labOfNamespace(line.split(' ')[0] ?? '') === lab)
}

function veths(): number {
  const { stdout } = spawnSync('ip', ['-o', 'link', 'show', 'type', 'veth'], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line !== '').length
}

/** Processes that carry a lab's name in their environment, or are its janitor. */
function labProcesses(lab: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return environment.includes(`Q104_LAB=${lab}`) || (line.includes('q104-janitor') && line.includes(`/${lab}.lock`))
    } catch {
      return false
    }
  })
}
