import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  breaksFigure,
  FAIRNESS_NOTES,
  fairnessCsv,
  fairnessFigure,
  fairnessJobs,
  fairnessSummary,
  fairnessText,
  type GameJob,
  type GameResult,
  iterationsFigure,
} from '../../experiment/index.ts'
import { version } from '../version.ts'
import { pngOf, svgOf } from './draw.ts'
import { runLocally } from './local-runs.ts'
import { clockText, StudyProgress } from './progress.ts'

export type FairnessRun = {
  readonly seeds: readonly number[]
  readonly workers: number
  readonly out: string
  readonly command: string
  readonly json: boolean
}

/** Runs of each point of figures 3 and 4 at most. */
const POINT_RUNS = 10

/** Runs the fairness study and writes its files. @returns the exit code. */
export async function runFairness({ seeds, workers, out, command, json }: FairnessRun): Promise<number> {
  const jobs = fairnessJobs({ seeds, pointRuns: Math.min(POINT_RUNS, seeds.length) })
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  process.once('SIGINT', interrupt)
  process.stderr.write(`fairness on the 118-bus zones: ${jobs.length} runs on ${workers} workers, into ${out}\n`)
  const progress = new StudyProgress(jobs.length)
  const begunMs = performance.now()
  try {
    const results = await runLocally<GameJob, GameResult>({
      name: 'play',
      jobs,
      workers,
      interrupted: interrupted.signal,
      onResult: ({ id }, done) => progress.step(done, id),
    })
    const summary = fairnessSummary(results)
    const took = `${jobs.length} runs in ${clockText((performance.now() - begunMs) / 1000)} on ${workers} workers`
    const head = `q104 ${version()}, seeds ${seeds[0]} to ${seeds.at(-1)}: ${command}\n${took}\n`
    const text = `${head}\n${fairnessText(summary)}\n${FAIRNESS_NOTES.map((note) => `- ${note}`).join('\n')}\n`
    const folder = join(out, 'figures')
    await mkdir(folder, { recursive: true })
    const drawn: string[] = []
    for (const [name, spec] of [
      ['figure2', fairnessFigure(results)],
      ['figure3', iterationsFigure(results)],
      ['figure4', breaksFigure(summary)],
    ] as const) {
      const svg = await svgOf(spec)
      drawn.push(`<figure>${svg}</figure>`)
      await writeFile(join(folder, `${name}.svg`), svg)
      await writeFile(join(folder, `${name}.png`), pngOf(svg))
    }
    const metrics = { study: 'fairness', version: version(), seeds, ...summary, runs: results }
    await writeFile(join(out, 'metrics.json'), `${JSON.stringify(metrics, null, 1)}\n`)
    await writeFile(join(out, 'runs.csv'), fairnessCsv(results))
    await writeFile(join(out, 'table.txt'), text)
    await writeFile(join(out, 'about.json'), `${JSON.stringify({ command, version: version(), took })}\n`)
    await writeFile(join(out, 'report.html'), pageOf(text, drawn))
    process.stdout.write(json ? `${JSON.stringify(summary)}\n` : `\n${text}\nfiles in ${out}\n`)
    return 0
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    process.stderr.write('interrupted: nothing was written\n')
    return 130
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}

function pageOf(text: string, figures: readonly string[]): string {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Fairness of TSO and DSOs</title>
<style>body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem } svg { max-width: 100%; height: auto } pre { overflow-x: auto }</style>
</head>
<body>
<h1>Fairness of TSO and DSOs on the 118-bus zones</h1>
<pre>${escaped}</pre>
${figures.join('\n')}
</body>
</html>
`
}
