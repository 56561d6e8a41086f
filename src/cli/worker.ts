import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import type { Job, RunResult } from '../experiment/index.ts'
import { CliError } from './errors.ts'
import { WORKER_LIMITS } from './experiment/local-runs.ts'
import { openWorker, redisOf } from './experiment/run-queue.ts'
import type { Command } from './main.ts'
import { parseCount, parseOptions } from './options.ts'
import { untilSignal } from './process/until-signal.ts'
import { version } from './version.ts'

const OPTIONS = {
  redis: { type: 'string' },
  threads: { type: 'string' },
  quiet: { type: 'boolean', default: false },
} as const

export const command: Command = {
  summary: 'take runs of sweeps from Redis and carry them out',
  help: `
usage: q104 worker --redis URL [options]

Takes runs that q104 sweep has put on Redis, carries them out in virtual time and hands the results back, until it is
told to end (Ctrl-C, SIGTERM); it then finishes what it has begun. Workers may be started and may die at any time, on any
machine that reaches the Redis: the run of a worker that died is given to another one after ten seconds. A worker takes
the runs of its own version of q104 only. Whoever can write to the Redis can give runs to the workers: keep it to yourself.

  --redis URL     redis://[:PASSWORD@]HOST:PORT[/DB]
  --threads N     runs at a time (default: the machine's processors)
  --quiet         say nothing of single runs

Example: ./q104 worker --redis redis://127.0.0.1:6379 --threads 2`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    if (positionals.length > 0) throw new CliError(`nothing but options is expected, found ${positionals.join(' ')}`)
    if (values.redis === undefined) throw new CliError('--redis URL is needed')
    const threads = values.threads === undefined ? availableParallelism() : parseCount(values.threads, '--threads')
    if (threads < 1 || threads > 256) throw new CliError(`--threads: found ${threads}, expected 1 to 256`)
    const pool = new Piscina({
      filename: new URL('./experiment/run-worker.js', import.meta.url).href,
      name: 'run',
      minThreads: threads,
      maxThreads: threads,
      resourceLimits: WORKER_LIMITS,
    })
    const say = (text: string): void => void process.stderr.write(`${text}\n`)
    const worker = openWorker(
      redisOf(values.redis),
      threads,
      async (job: Job): Promise<RunResult> => await pool.run(job),
    )
    let lastError = ''
    worker.on('error', (error) => {
      // Redis may be away for a while; the worker connects again by itself.
      const text = error.message || error.name
      if (text !== lastError) say(`worker: ${text}`)
      lastError = text
    })
    worker.on('completed', (job) => {
      lastError = ''
      if (!values.quiet) say(`done ${job.id}`)
    })
    worker.on('failed', (job, error) => say(`failed ${job?.id}: ${error.message}`))
    say(`q104 ${version()} worker: ${threads} runs at a time`)
    await untilSignal()
    say('worker: ending when the runs under way are done')
    await worker.close()
    await pool.destroy()
    return 0
  },
}
