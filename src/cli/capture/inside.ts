/** A capture in the user namespace that holds a lab: this program, started again in there, takes the plan from its input. */
import { spawn } from 'node:child_process'
import { json } from 'node:stream/consumers'
import type { LabPlan } from '../../../netns/index.ts'

/** Hidden option of `q104 capture`: the plan of the network comes on standard input. */
export const INSIDE = 'inside'

const NAMESPACES = ['--user', '--net', '--mount', '--preserve-credentials']

/** Runs `q104 capture` with the same arguments in the namespaces of a process; gives its exit code. */
export async function captureInside(pid: number, plan: LabPlan, args: readonly string[]): Promise<number> {
  const self = [process.execPath, ...process.argv.slice(1, 2), 'capture', ...args, `--${INSIDE}`]
  // Whoever enters another mount namespace stands in its root.
  const command = ['--target', String(pid), ...NAMESPACES, '--', 'env', '-C', process.cwd(), ...self]
  const child = spawn('nsenter', command, { stdio: ['pipe', 'inherit', 'inherit'] })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(plan))
  // A Ctrl-C in the terminal reaches both; we wait for the end of the one that captures.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

/** The plan that `captureInside` has sent. */
export async function planFromInput(): Promise<LabPlan> {
  return (await json(process.stdin)) as LabPlan
}
