import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import {
  type Job,
  jobsOf,
  type RowSummary,
  type RunResult,
  type Study,
  studyCsv,
  studyHtml,
  studyText,
  summaryOf,
  trrFigure,
} from '../../experiment/index.ts'
import { version } from '../version.ts'
import { runLocally } from './local-runs.ts'
import { clockText, StudyProgress } from './progress.ts'

export type StudyRun = {
  readonly study: Study
  readonly workers: number
  readonly out: string
  readonly command: string
  readonly json: boolean
  /** The Redis over which workers elsewhere take the runs, and the sweep's name there; absent: worker threads here. */
  readonly over?: { readonly redis: string; readonly sweep: string }
}

/** Runs a study and writes its files. @returns the exit code. */
export async function runStudy({ study, workers, out, command, json, over }: StudyRun): Promise<number> {
  const jobs = jobsOf(study)
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  process.once('SIGINT', interrupt)
  const how = over === undefined ? `${workers} workers` : 'workers over Redis'
  process.stderr.write(`${study.title}: ${jobs.length} runs on ${how}, into ${out}\n`)
  const progress = new StudyProgress(jobs.length)
  const begunMs = performance.now()
  try {
    const results =
      over === undefined
        ? await runLocally<Job, RunResult>({
            name: 'run',
            jobs,
            workers,
            interrupted: interrupted.signal,
            onResult: ({ id }, done) => progress.step(done, id),
          })
        : await overRedis(over, jobs, interrupted.signal, progress)
    const wallS = (performance.now() - begunMs) / 1000
    return await writeStudy({ study, results, out, command, json, wallS, how })
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    process.stderr.write('interrupted: nothing was written\n')
    return 130
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}

async function overRedis(
  { redis, sweep }: NonNullable<StudyRun['over']>,
  jobs: readonly Job[],
  interrupted: AbortSignal,
  progress: StudyProgress,
): Promise<readonly RunResult[]> {
  // The queue's library is not loaded where no Redis is asked for.
  const [{ collectRuns }, { redisOf }] = await Promise.all([import('./collect.ts'), import('./run-queue.ts')])
  return await collectRuns({
    connection: redisOf(redis),
    sweep,
    jobs,
    interrupted,
    onResult: ({ id }, done, workers) => progress.step(done, `${id}, ${workers} worker processes`),
  })
}

export type StudyOutput = {
  readonly study: Study
  /** In the order of the study's jobs. */
  readonly results: readonly RunResult[]
  readonly out: string
  readonly command: string
  readonly json: boolean
  readonly wallS: number
  /** On what the runs were made, such as `2 workers`. */
  readonly how: string
}

/** Writes tables, figures and runs of a study, and prints its tables. @returns the exit code. */
export async function writeStudy({ study, results, out, command, json, wallS, how }: StudyOutput): Promise<number> {
  const summaries = study.rows.map((row) => summaryOf(row, results))
  const head = { command, version: version(), seeds: study.seeds, remarks: remarksOf(study, results, wallS, how) }
  const metrics = {
    study: study.name,
    version: version(),
    seeds: study.seeds,
    rows: summaries,
    runs: results.map(({ id, row, seed, metrics: own }) => ({ id, row, seed, metrics: own })),
  }
  await mkdir(join(out, 'figures'), { recursive: true })
  const figures = await drawFigures(study, results, join(out, 'figures'))
  const files: readonly (readonly [string, string])[] = [
    ['metrics.json', `${JSON.stringify(metrics, null, 1)}\n`],
    ['study.json', `${JSON.stringify(study)}\n`],
    ['runs.csv', studyCsv(results)],
    ['table.txt', studyText(study, summaries, head)],
    ['report.html', studyHtml(study, summaries, head, figures)],
    [
      'about.json',
      `${JSON.stringify({ ...head, machine: machine(), took: results.map(({ id, took }) => ({ id, ...took })) }, null, 1)}\n`,
    ],
  ]
  for (const [name, text] of files) await writeFile(join(out, name), text)
  process.stdout.write(
    json ? `${JSON.stringify(summaries)}\n` : `\n${studyText(study, summaries, head)}\nfiles in ${out}\n`,
  )
  return summaries.every(isWhole) ? 0 : 1
}

function isWhole({ runs, validRuns }: RowSummary): boolean {
  return runs === validRuns
}

async function drawFigures(study: Study, results: readonly RunResult[], folder: string) {
  if (!study.rows.some(({ paper }) => paper?.trrS !== undefined)) return []
  // Drawing needs a large library, which other studies do without.
  const { pngOf, svgOf } = await import('./draw.ts')
  const svg = await svgOf(trrFigure(study.rows, results))
  await writeFile(join(folder, 'figure1.svg'), svg)
  await writeFile(join(folder, 'figure1.png'), pngOf(svg))
  return [{ title: 'Figure 1: time to recover', svg }]
}

function remarksOf(study: Study, results: readonly RunResult[], wallS: number, how: string): readonly string[] {
  const sum = (of: (result: RunResult) => number): number => results.reduce((total, result) => total + of(result), 0)
  const runS = sum(({ took }) => took.wallS)
  const labS = sum(({ took }) => took.labS)
  const schedulerS = sum(({ took }) => took.schedulerS)
  const main = new Set(study.rows.filter(({ paper }) => paper !== undefined).map(({ id }) => id))
  const mainS = sum(({ row, took }) => (main.has(row) ? took.wallS : 0))
  const share = (part: number): string => `${((100 * part) / Math.max(runS, 1e-9)).toFixed(1)} %`
  return [
    `${results.length} runs, ${Math.round(labS)} s of lab time in ${clockText(wallS)} on ${how}: ${(labS / runS).toFixed(0)} times real time a worker; scheduler ${schedulerS.toFixed(1)} s (${share(schedulerS)}), rows of the paper ${share(mainS)}`,
  ]
}

function machine(): string {
  return `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${cpus().length} processors, load ${loadavg()[0]?.toFixed(1)}, node ${process.version}`
}
