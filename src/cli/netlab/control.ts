/**
 * How commands talk to a lab that a process runs: one line of JSON there and one back, on a socket beside the lab's lock.
 * The folder of both is ours alone.
 */
import { existsSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { controlSocket } from '../../../netns/index.ts'
import type { LinkLaw } from '../../sim/index.ts'
import { CliError } from '../errors.ts'

/** A link of a lab, its law at this moment, and the law it would have had nobody bent it. */
export type LabLink = {
  readonly link: number
  readonly name: string
  readonly ends: readonly [string, string]
  readonly law: LinkLaw
  readonly usualLaw: LinkLaw
}

export type LabRequest =
  | { readonly kind: 'links' }
  /** Words as `q104 link ... set` takes them; those of earlier requests for the same link go on. */
  | { readonly kind: 'bend'; readonly link: number; readonly words: readonly string[] }

/** The links after the request, or what is wrong with it. */
export type LabAnswer =
  | { readonly kind: 'links'; readonly appliedBy: 'netem' | 'transport'; readonly links: readonly LabLink[] }
  | { readonly kind: 'refused'; readonly why: string }

export type ControlServer = { close(): void }

const ANSWER_TIMEOUT_MS = 5_000
const MAX_LINE_CHARS = 65_536

/**
 * Answers requests for a lab that this process holds the lock of.
 * @param answer may throw CliError: the request is refused with its message
 */
export async function serveControl(
  lab: string,
  answer: (request: LabRequest) => Promise<LabAnswer>,
): Promise<ControlServer> {
  const path = controlSocket(lab)
  rmSync(path, { force: true })
  const server = createServer((socket) => {
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy())
    socket.on('error', () => {})
    const lines = createInterface({ input: socket })
    lines.once('line', async (line) => {
      lines.close()
      socket.end(`${JSON.stringify(await answerTo(line, answer))}\n`)
    })
  })
  server.unref()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return {
    close: () => {
      server.close()
      rmSync(path, { force: true })
    },
  }
}

async function answerTo(line: string, answer: (request: LabRequest) => Promise<LabAnswer>): Promise<LabAnswer> {
  try {
    const request = requestOf(line)
    return request === undefined
      ? { kind: 'refused', why: 'not a request of this version of q104' }
      : await answer(request)
  } catch (error) {
    if (error instanceof Error) return { kind: 'refused', why: error.message }
    throw error
  }
}

function requestOf(line: string): LabRequest | undefined {
  if (line.length > MAX_LINE_CHARS) return undefined
  const { kind, link, words } = Object(parsed(line))
  if (kind === 'links') return { kind }
  const areWords = Array.isArray(words) && words.every((word) => typeof word === 'string')
  return kind === 'bend' && Number.isSafeInteger(link) && areWords ? { kind, link, words } : undefined
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/**
 * Asks the process that runs a lab.
 * @throws CliError if it does not answer, or refuses
 */
export async function askLab(lab: string, request: LabRequest): Promise<Extract<LabAnswer, { kind: 'links' }>> {
  const answer = await new Promise<LabAnswer>((resolve, reject) => {
    const socket = connect(controlSocket(lab))
    const fail = (why: string): void => reject(new CliError(`lab ${lab} is running, but ${why}`))
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('it does not answer')))
    socket.on('error', ({ message }) => {
      const isThere = existsSync(controlSocket(lab))
      fail(isThere ? `cannot be asked: ${message}` : 'cannot be asked while it starts or ends')
    })
    socket.write(`${JSON.stringify(request)}\n`)
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('end', () => {
      const said = parsed(text)
      if (said === undefined) fail('it does not answer')
      else resolve(said as LabAnswer)
    })
  })
  if (answer.kind === 'refused') throw new CliError(`lab ${lab}: ${answer.why}`)
  return answer
}
