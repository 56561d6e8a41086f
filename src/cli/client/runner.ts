import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Operation, OperationResult } from '../../master/index.ts'
import { CliError } from '../errors.ts'
import type { ClientNews } from './output.ts'
import type { Done, Session } from './session.ts'
import { type ClientStep, type FileWords, stepsOfLine } from './steps.ts'
import { wordsOf } from './words.ts'

/** What the run came to: all confirmed, something refused or timed out, or words that made no sense. */
export type Outcome = { failed: boolean; badInput: boolean }

export type RunnerOptions = {
  readonly session: Session
  readonly ca: number
  readonly tell: (news: ClientNews) => void
  /** Aborted by an interrupt: ends a wait and a monitor, and with it the run. */
  readonly interrupt: AbortSignal
  /** Lines of further operations. */
  readonly input: NodeJS.ReadableStream
}

/** Runs steps in order, each when the one before is done. */
export class Runner {
  readonly #options: RunnerOptions
  readonly outcome: Outcome = { failed: false, badInput: false }

  constructor(options: RunnerOptions) {
    this.#options = options
  }

  async run(steps: readonly ClientStep[]): Promise<void> {
    for (const step of steps) {
      const { session, interrupt } = this.#options
      if (interrupt.aborted) return
      if (session.state() === 'over') return this.#fail(step.label, 'the connection is over')
      await this.#step(step)
    }
  }

  async #step(step: ClientStep): Promise<void> {
    switch (step.kind) {
      case 'operate':
        this.#finish(step.label, await this.#operate(step.operation))
        break
      case 'getFile':
        return this.#getFile(step)
      case 'putFile':
        return this.#putFile(step)
      case 'wait':
        await this.#pause(step.durationMs)
        break
      case 'monitor':
        await Promise.race([this.#pause(step.durationMs), this.#isOver()])
        if (this.#options.session.state() === 'over') this.#fail(step.label, 'the connection is over')
        break
      case 'stopdt':
        return this.#transfer(step.label, 'stop', 'started')
      case 'startdt':
        return this.#transfer(step.label, 'start', 'stopped')
      case 'stdin':
        return this.#stdin()
    }
  }

  #operate(operation: Operation): Promise<Done> {
    const { session } = this.#options
    if (session.state() !== 'stopped') return session.operate(operation)
    const result: OperationResult = { kind: 'closed', reason: 'the data transfer is stopped' }
    return Promise.resolve({ kind: 'done', id: 0, result, confirmMs: undefined, totalMs: 0 })
  }

  async #getFile({ label, file, toPath }: Extract<ClientStep, { kind: 'getFile' }>): Promise<void> {
    const ioa = await this.#ioaOf(label, file)
    if (ioa === undefined) return
    const done = await this.#operate({ kind: 'getFile', ca: file.ca, ioa, nof: file.nof })
    const octets = done.result.kind === 'confirmed' ? done.result.octets : undefined
    if (octets === undefined) return this.#finish(label, done)
    try {
      writeFileSync(toPath, octets)
    } catch (error) {
      return this.#fail(label, messageOf(error))
    }
    this.#finish(label, done, [`${octets.length} octets written to ${toPath}`])
  }

  async #putFile({ label, file, fromPath }: Extract<ClientStep, { kind: 'putFile' }>): Promise<void> {
    let octets: Uint8Array
    try {
      octets = readFileSync(fromPath)
    } catch (error) {
      return this.#fail(label, messageOf(error))
    }
    const ioa = await this.#ioaOf(label, file)
    if (ioa === undefined) return
    try {
      this.#finish(label, await this.#operate({ kind: 'putFile', ca: file.ca, ioa, nof: file.nof, octets }))
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#fail(label, error.message)
    }
  }

  /** Where a file is: as given, or as the directory says. */
  async #ioaOf(label: string, { ca, nof, ioa }: FileWords): Promise<number | undefined> {
    if (ioa !== undefined) return ioa
    const done = await this.#operate({ kind: 'directory', ca, ioa: 0 })
    if (done.result.kind !== 'confirmed') {
      this.#finish(`${label} (directory)`, done)
      return undefined
    }
    const entry = done.result.directory?.find((each) => each.nof === nof)
    if (entry === undefined) this.#fail(label, `the directory of CA ${ca} has no file ${nof}; --ioa says where it is`)
    return entry?.ioa
  }

  async #transfer(label: string, kind: 'start' | 'stop', from: 'started' | 'stopped'): Promise<void> {
    const { session } = this.#options
    if (session.state() === 'waiting') await session.leaves('waiting')
    session.feed({ kind })
    await session.leaves(from)
    const reached = kind === 'start' ? 'started' : 'stopped'
    if (session.state() !== reached) return this.#fail(label, 'the connection is over')
    this.#options.tell({ kind: 'result', label, result: { kind: 'done' } })
  }

  async #stdin(): Promise<void> {
    const { input, ca, interrupt, session } = this.#options
    const lines = createInterface({ input, signal: interrupt })
    for await (const line of lines) {
      try {
        await this.run(stepsOfLine(wordsOf(line), ca))
      } catch (error) {
        if (!(error instanceof CliError)) throw error
        this.outcome.badInput = true
        process.stderr.write(`q104 client: ${error.message}\n`)
      }
      if (session.state() === 'over' || interrupt.aborted) return
    }
  }

  async #pause(durationMs: number | undefined): Promise<void> {
    const { interrupt } = this.#options
    const MAX_TIMER_MS = 2 ** 31 - 1
    try {
      await sleep(Math.min(durationMs ?? MAX_TIMER_MS, MAX_TIMER_MS), undefined, { signal: interrupt })
    } catch (error) {
      if (!interrupt.aborted) throw error
    }
  }

  async #isOver(): Promise<void> {
    const { session } = this.#options
    for (let state = session.state(); state !== 'over'; state = session.state()) await session.leaves(state)
  }

  #finish(label: string, done: Done, facts: readonly string[] = []): void {
    const { result, confirmMs, totalMs } = done
    if (result.kind !== 'confirmed') this.outcome.failed = true
    this.#options.tell({ kind: 'result', label, result, confirmMs, totalMs, facts })
  }

  #fail(label: string, reason: string): void {
    this.outcome.failed = true
    this.#options.tell({ kind: 'result', label, result: { kind: 'failed', reason } })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
