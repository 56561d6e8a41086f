import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  fidelityOf,
  fidelityText,
  type Job,
  jobsOf,
  type Pair,
  plainRuns,
  type RunResult,
  type Scenario,
} from '../../experiment/index.ts'
import { version } from '../version.ts'
import { runLive } from './live-run.ts'
import { runLocally } from './local-runs.ts'

export type FidelityRequest = {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  readonly workers: number
  readonly out: string
  readonly lab: string
  readonly isolation?: string
  readonly command: string
}

/** Runs each seed in virtual time and live, and compares. @returns 0 when all differences lie within their bounds. */
export async function compareWorlds(request: FidelityRequest): Promise<number> {
  const { scenario, seeds, workers, out, lab, isolation, command } = request
  // A capture is no part of the comparison and costs the live runs time.
  const compared = { ...scenario, outputs: { ...scenario.outputs, capture: false } }
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  process.once('SIGINT', interrupt)
  try {
    process.stderr.write(`${seeds.length} runs in virtual time, then live, ${scenario.durationS} s each\n`)
    const jobs = jobsOf(plainRuns(compared, seeds))
    const virtual = await runLocally<Job, RunResult>({
      name: 'run',
      jobs,
      workers,
      interrupted: interrupted.signal,
      onResult: () => {},
    })
    const pairs: Pair[] = []
    for (const { seed, metrics } of virtual) {
      if (interrupted.signal.aborted) break
      const live = await runLive({
        scenario: { ...compared, seed },
        out: join(out, `live-${seed}`),
        lab,
        ...(isolation !== undefined && { isolation }),
        isTold: false,
        interrupted: interrupted.signal,
      }).catch((error: unknown) => {
        if (interrupted.signal.aborted) return undefined
        throw error
      })
      // What was compared before it was interrupted is still told.
      if (live === undefined) break
      pairs.push({ seed, virtual: metrics, live })
      process.stderr.write(
        `live ${pairs.length}/${seeds.length}, seed ${seed}: ${live.valid ? 'valid' : live.invalidReasons.join('; ')}\n`,
      )
    }
    const text = fidelityText(pairs)
    const rows = fidelityOf(pairs)
    mkdirSync(out, { recursive: true })
    writeFileSync(join(out, 'fidelity.txt'), `q104 ${version()}: ${command}\n\n${text}`)
    writeFileSync(
      join(out, 'fidelity.json'),
      `${JSON.stringify({ version: version(), command, rows, pairs }, null, 1)}\n`,
    )
    process.stdout.write(`${text}\nfiles in ${out}\n`)
    if (interrupted.signal.aborted) return 130
    return rows.every(({ isWithin }) => isWithin) ? 0 : 1
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}
