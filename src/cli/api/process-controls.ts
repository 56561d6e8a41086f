/** Controls on their way to the processes of a lab, and their answers. */
import type { Control, ToProcess } from '../lab/ipc.ts'

/** The master answers at its next tick; a process that takes longer is not well. */
const ANSWER_TIMEOUT_MS = 3_000

type Waiting = { readonly process: string; readonly end: (problem: string | undefined) => void }

export class ProcessControls {
  readonly #tell: (process: string, message: ToProcess) => void
  readonly #waiting = new Map<number, Waiting>()
  #last = 0

  constructor(tell: (process: string, message: ToProcess) => void) {
    this.#tell = tell
  }

  /** Gives what is wrong with the control, or undefined when it has taken effect. */
  ask(process: string, control: Control): Promise<string | undefined> {
    this.#last += 1
    const request = this.#last
    return new Promise((resolve) => {
      const end = (problem: string | undefined): void => {
        clearTimeout(timer)
        this.#waiting.delete(request)
        resolve(problem)
      }
      const timer = setTimeout(() => end(`${process} does not answer`), ANSWER_TIMEOUT_MS)
      this.#waiting.set(request, { process, end })
      this.#tell(process, { kind: 'control', request, control })
    })
  }

  take(request: number, problem: string | undefined): void {
    this.#waiting.get(request)?.end(problem)
  }

  /** A process has ended: it will answer nothing more. */
  gone(process: string): void {
    for (const waiting of this.#waiting.values()) if (waiting.process === process) waiting.end(`${process} has ended`)
  }
}
