/**
 * How often plans break the chance constraint in whole labs (`npm run bench -- scheduler-joint --runs 1000`): each run is a lab in
 * virtual time in which the plan of one tick is carried out over its horizon (bench/scheduler/joint-run.ts). Results are kept in
 * a file, so that an interrupted measurement goes on where it was.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { Piscina } from 'piscina'
import type { RiskBound } from '../src/scheduler/index.ts'
import { setting } from './iec104/figures.ts'
import { exactInterval } from './scheduler/exact-interval.ts'
import { HORIZON_MS, type JointJob, type JointResult } from './scheduler/joint-run.ts'

export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string', default: '1000' },
      first: { type: 'string', default: '1' },
      risk: { type: 'string', default: '0.05' },
      bound: { type: 'string', default: 'allocated' },
      replanned: { type: 'boolean', default: false },
      workers: { type: 'string', default: '2' },
      file: { type: 'string', default: 'runs/scheduler-joint.jsonl' },
    },
  })
  const same = { held: !values.replanned, risk: Number(values.risk), riskBound: values.bound as RiskBound }
  const first = Number(values.first)
  const jobs: readonly JointJob[] = Array.from({ length: Number(values.runs) }, (_, i) => ({
    seed: first + i,
    ...same,
  }))
  console.log(setting())
  console.log(
    `IEEE 39 without disturbance, key for some two thirds of the use, ${values.bound}, risk ${values.risk}; ${
      same.held ? `the plan of one tick carried out for ${HORIZON_MS / 1000} s` : 'planned anew each tick'
    }; ${jobs.length} runs, seeds from ${first}`,
  )
  report(await resultsOf(jobs, { workers: Number(values.workers), file: values.file }))
  return 0
}

async function resultsOf(
  jobs: readonly JointJob[],
  { workers, file }: { readonly workers: number; readonly file: string },
): Promise<readonly JointResult[]> {
  mkdirSync(dirname(file), { recursive: true })
  const nameOf = ({ seed, held, risk, riskBound }: JointJob): string => `${seed} ${held} ${risk} ${riskBound}`
  const known = new Map<string, JointResult>()
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  for (const line of lines) {
    if (line === '') continue
    const result = JSON.parse(line) as JointResult
    known.set(nameOf(result), result)
  }
  const waiting = jobs.filter((job) => !known.has(nameOf(job)))
  const pool = new Piscina<JointJob, JointResult>({
    filename: new URL('./scheduler/joint-worker.js', import.meta.url).href,
    name: 'jointRun',
    maxThreads: workers,
    minThreads: workers,
  })
  let done = jobs.length - waiting.length
  const lane = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const result = await pool.run(job)
      known.set(nameOf(job), result)
      appendFileSync(file, `${JSON.stringify(result)}\n`)
      process.stderr.write(`\r${++done} of ${jobs.length} runs`)
    }
  }
  await Promise.all(Array.from({ length: workers }, lane))
  process.stderr.write('\n')
  await pool.destroy()
  return jobs.flatMap((job) => known.get(nameOf(job)) ?? [])
}

function report(all: readonly JointResult[]): void {
  const results = all.filter(({ mode }) => mode !== 'protect')
  const binding = results.filter(({ binds }) => binds)
  console.log(
    `plans that keep the chance rows: ${results.length}, of which a row binds in ${binding.length}; protect mode ${all.length - results.length}`,
  )
  const line = (name: string, isBroken: (result: JointResult) => boolean, of = results): void => {
    const broken = of.filter(isBroken).length
    const { low, high } = exactInterval(broken, of.length)
    console.log(
      `  ${name.padEnd(44)} ${broken} of ${of.length}: ${percent(broken / of.length)} (${percent(low)} to ${percent(high)})`,
    )
  }
  line('below K_safe at the end of some step', ({ endBits }) => endBits.some((bits) => bits < 0))
  line('  of those whose rows bind', ({ endBits }) => endBits.some((bits) => bits < 0), binding)
  line('below K_safe in some tick', ({ leastBits }) => leastBits < 0)
  const last = results.map(({ endBits, plannedBits }) => (endBits.at(-1) ?? 0) - (plannedBits.at(-1) ?? 0))
  const mean = last.reduce((sum, bits) => sum + bits, 0) / last.length
  const sd = Math.sqrt(last.reduce((sum, bits) => sum + (bits - mean) ** 2, 0) / Math.max(1, last.length - 1))
  const planned = results.reduce((sum, { plannedBits }) => sum + (plannedBits.at(-1) ?? 0), 0) / results.length
  console.log(
    `  stock above K_safe at the end: planned ${planned.toFixed(0)} bits on average, came out ${mean.toFixed(0)} more, standard deviation ${sd.toFixed(0)}`,
  )
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(2)} %`
}
