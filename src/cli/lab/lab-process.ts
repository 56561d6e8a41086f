import { type ChildProcess, spawn } from 'node:child_process'
import type { FromProcess, ToProcess } from './ipc.ts'

/** How a process of the lab came to its end, for the report. */
export type Ending = { readonly id: string; readonly how: string; readonly lastLines: readonly string[] }

export type LabProcessOptions = {
  readonly id: string
  /** Command and arguments, prefix of the namespace included. */
  readonly command: readonly string[]
  readonly onMessage: (message: FromProcess, from: LabProcess) => void
  /** Called once, whether the end was asked for or not. */
  readonly onEnd: (ending: Ending, asked: boolean) => void
  /** A line on stdout that means the process is ready (for programs that are not ours). */
  readonly readyLine?: RegExp
}

const KEPT_LINES = 12

/**
 * One process of the lab. The kernel ends it when this process dies in whatever way (`setpriv --pdeathsig`); it runs in a
 * process group of its own, so that Ctrl-C in the terminal reaches only the run, which then ends the lab in order.
 */
export class LabProcess {
  readonly id: string
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #stopAsked = false
  #ended = false

  constructor(options: LabProcessOptions) {
    this.id = options.id
    const [command = '', ...args] = ['setpriv', '--pdeathsig', 'KILL', ...options.command]
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true })
    this.#child.on('message', (message: FromProcess) => options.onMessage(message, this))
    const keep = (chunk: Buffer): void => {
      const lines = chunk
        .toString('utf8')
        .split('\n')
        .filter((line) => line.trim() !== '')
      if (options.readyLine !== undefined && lines.some((line) => options.readyLine?.test(line))) {
        options.onMessage({ kind: 'ready' }, this)
      }
      this.#lines.push(...lines)
      this.#lines.splice(0, Math.max(0, this.#lines.length - KEPT_LINES))
    }
    this.#child.stdout?.on('data', keep)
    this.#child.stderr?.on('data', keep)
    const end = (how: string): void => {
      if (this.#ended) return
      this.#ended = true
      options.onEnd({ id: this.id, how, lastLines: this.#lines }, this.#stopAsked)
    }
    this.#child.on('error', (error) => end(`could not be started: ${error.message}`))
    this.#child.on('close', (code, signal) =>
      end(signal === null ? `ended with code ${code}` : `was ended by ${signal}`),
    )
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** What it printed last, at most a dozen lines. */
  get lastLines(): readonly string[] {
    return this.#lines
  }

  get hasEnded(): boolean {
    return this.#ended
  }

  send(message: ToProcess): void {
    // The pipe may close between our check and the write; the end is reported by `close`.
    if (!this.#ended && this.#child.connected) this.#child.send(message, () => {})
  }

  /** Asks for the end: by message where the process speaks ours, by SIGTERM otherwise. */
  stop(): void {
    this.#stopAsked = true
    if (this.#child.connected) this.send({ kind: 'stop' })
    else this.#child.kill('SIGTERM')
  }

  terminate(signal: NodeJS.Signals): void {
    this.#stopAsked = true
    if (!this.#ended) this.#child.kill(signal)
  }
}
