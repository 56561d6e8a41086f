/** `q104` as a process of its own, and what it prints. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { join } from 'node:path'

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')

/** tap hooks into child processes by NODE_OPTIONS; these are not its business. */
const { NODE_OPTIONS: _, ...env } = process.env

export class Q104 {
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  #text = ''
  #isOver = false

  /** Its words, and variables to add to its environment. */
  constructor(...given: readonly (string | Readonly<Record<string, string>>)[]) {
    const args = given.filter((one) => typeof one === 'string')
    const variables = Object.assign({}, ...given.filter((one) => typeof one !== 'string'))
    const options = { env: { ...env, ...variables }, stdio: ['ignore', 'pipe', 'pipe'] } satisfies SpawnOptions
    this.#child = spawn(process.execPath, [BIN, ...args], options)
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk) => {
        this.#text += chunk
      })
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        this.#isOver = true
        resolve(code)
      })
    })
  }

  get text(): string {
    return this.#text
  }

  /** The first group of what it prints sooner or later, after so many characters; '' when it ends before. */
  async printed(what: RegExp, from = 0): Promise<string> {
    const find = (): RegExpExecArray | null => what.exec(this.#text.slice(from))
    while (find() === null && !this.#isOver) await new Promise((resolve) => setTimeout(resolve, 30))
    return find()?.[1] ?? ''
  }

  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal)
    return this.ended
  }
}
