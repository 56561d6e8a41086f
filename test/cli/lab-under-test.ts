import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The built command: what `./q104` runs once it has set up what is missing. */
const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')

/** How a finished `q104` ended. */
export type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** tap hooks into child processes by NODE_OPTIONS; a lab's processes are not its business. */
const env = (): NodeJS.ProcessEnv => {
  const { NODE_OPTIONS: _, ...rest } = process.env
  return rest
}

/** Runs `q104` to its end. */
export function q104(...args: readonly string[]): Finished {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], { encoding: 'utf8', env: env() })
  return { code: status, stdout, stderr }
}

/** A `q104 run` in the background, in a lab of its own. */
export class LabUnderTest {
  readonly lab: string
  readonly out: string
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  #stdout = ''

  constructor(lab: string, scenario: string, ...options: readonly string[]) {
    this.lab = lab
    this.out = mkdtempSync(join(tmpdir(), `q104-test-${lab}-`))
    // What a test that failed has left is there to be looked at.
    process.once('exit', (code) => {
      if (code === 0) rmSync(this.out, { recursive: true, force: true })
    })
    const args = ['run', scenario, '--lab', lab, '--out', this.out, ...options]
    this.child = spawn(process.execPath, [BIN, ...args], { env: env(), stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    this.child.stdout?.on('data', (chunk) => {
      this.#stdout += chunk
    })
    this.child.stderr?.on('data', (chunk) => {
      stderr += chunk
    })
    this.finished = new Promise((resolve) => {
      this.child.once('close', (code) => resolve({ code, stdout: this.#stdout, stderr }))
    })
  }

  /** Resolves once the run prints this, or has ended. */
  async printed(text: RegExp): Promise<void> {
    while (!text.test(this.#stdout) && this.child.exitCode === null && this.child.signalCode === null) await sleep(50)
  }

  /** What it has printed so far that fits. */
  said(text: RegExp): string | undefined {
    return text.exec(this.#stdout)?.[0]
  }

  /** Process ids in a node's namespace. */
  pidsOf(node: string): readonly number[] {
    const { stdout } = spawnSync('ip', ['netns', 'pids', `q104-${this.lab}-${node}`], { encoding: 'utf8' })
    return stdout.split('\n').filter(Boolean).map(Number)
  }

  /** Process ids of the lab's processes that run this program. */
  pidsRunning(program: string): readonly number[] {
    const ofProgram = (pid: string): boolean => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === program
      } catch {
        return false
      }
    }
    return readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && ofProgram(pid) && this.#isOurs(pid))
      .map(Number)
  }

  file(name: string): string {
    return join(this.out, name)
  }

  metrics(): Record<string, unknown> {
    return JSON.parse(readFileSync(this.file('metrics.json'), 'utf8'))
  }

  /** What is left of the lab on this machine: namespaces, lock, processes and temporary folders; empty when all is gone. */
  async leftovers(): Promise<readonly string[]> {
    const deadlineMs = performance.now() + 10_000
    for (;;) {
      const left = this.#leftovers()
      if (left.length === 0 || performance.now() > deadlineMs) return left
      await sleep(100)
    }
  }

  #leftovers(): readonly string[] {
    const namespaces = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.split('\n')
    const lock = `/run/q104/${this.lab}.lock`
    const processes = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && this.#isOurs(pid))
    return [
      ...namespaces.filter((name) => name.startsWith(`q104-${this.lab}-`)),
      ...(existsSync(lock) ? [lock] : []),
      ...processes.map((pid) => `process ${pid}`),
    ]
  }

  /** A lab's processes carry its name in their environment. */
  #isOurs(pid: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`Q104_LAB=${this.lab}`)
    } catch {
      return false
    }
  }
}
