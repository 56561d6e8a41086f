import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { Metrics, Scenario } from '../../experiment/index.ts'
import { CliError } from '../errors.ts'

const BIN = fileURLToPath(new URL('../bin.js', import.meta.url))

export type LiveRun = {
  readonly scenario: Scenario
  /** Folder of the run's files. */
  readonly out: string
  readonly lab: string
  readonly isolation?: string
  /** Progress of the lab on the terminal. */
  readonly isTold: boolean
  readonly interrupted: AbortSignal
}

/** Runs a scenario live, as `q104 run` does, in a process of its own; gives its metrics. CliError when it refused, Error when it left none. */
export async function runLive({ scenario, out, lab, isolation, isTold, interrupted }: LiveRun): Promise<Metrics> {
  mkdirSync(out, { recursive: true })
  const file = join(out, 'replayed.yaml')
  writeFileSync(file, stringify(scenario))
  const args = ['run', file, '--lab', lab, '--out', out, ...(isolation === undefined ? [] : ['--isolation', isolation])]
  const child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const last: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      if (isTold) process.stderr.write(data)
      last.push(String(data))
      if (last.length > 20) last.shift()
    })
  }
  const interrupt = (): void => void child.kill('SIGINT')
  interrupted.addEventListener('abort', interrupt)
  const [code] = (await once(child, 'exit')) as [number | null]
  interrupted.removeEventListener('abort', interrupt)
  if (code === 2) throw new CliError(`the live run was refused:\n${last.join('').trim()}`)
  // 1: the run was made and is not valid; its metrics say why.
  if (code !== 0 && code !== 1) throw new Error(`q104 run ended with ${code ?? 'a signal'}\n${last.join('')}`)
  return JSON.parse(readFileSync(join(out, 'metrics.json'), 'utf8')) as Metrics
}
