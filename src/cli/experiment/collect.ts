import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionOptions, Queue } from 'bullmq'
import type { Job, RunResult } from '../../experiment/index.ts'
import { CliError } from '../errors.ts'
import { openEvents, openQueue, queueIdOf } from './run-queue.ts'

/** Even if every word of Redis went astray, results are looked for this often. */
const LOOK_MS = 3_000
const BATCH = 100
const REACH_MS = 5_000

export type Collection = {
  readonly connection: ConnectionOptions
  /** Names the sweep: the same name again goes on with it. */
  readonly sweep: string
  readonly jobs: readonly Job[]
  readonly interrupted: AbortSignal
  readonly onResult: (result: RunResult, done: number, workers: number) => void
}

/**
 * Puts runs on the queue, unless they are there already, and gathers each one's result once, in the order of the jobs.
 *
 * @throws CliError when Redis cannot be reached; Error naming a run that failed.
 */
export async function collectRuns({ connection, sweep, jobs, interrupted, onResult }: Collection) {
  const queue = openQueue(connection)
  await reach(queue)
  const events = openEvents(connection)
  const found = new Map<string, RunResult>()
  const idOf = new Map(jobs.map((job) => [queueIdOf(sweep, job), job]))
  let isNews = true
  events.on('completed', () => {
    isNews = true
  })
  events.on('failed', () => {
    isNews = true
  })
  events.on('error', () => {})
  try {
    await events.waitUntilReady()
    for (let from = 0; from < jobs.length; from += BATCH) {
      await queue.addBulk(
        jobs.slice(from, from + BATCH).map((job) => ({
          name: 'run',
          data: job,
          opts: { jobId: queueIdOf(sweep, job), removeOnComplete: false, removeOnFail: false },
        })),
      )
    }
    for (let lookedMs = Number.NEGATIVE_INFINITY; found.size < jobs.length && !interrupted.aborted; await sleep(100)) {
      if (!isNews && performance.now() - lookedMs < LOOK_MS) continue
      isNews = false
      lookedMs = performance.now()
      const workers = await queue.getWorkersCount()
      for (const [id, job] of idOf) {
        if (found.has(job.id)) continue
        const result = await resultOf(queue, id, job)
        if (result === undefined) continue
        found.set(job.id, result)
        onResult(result, found.size, workers)
      }
    }
    interrupted.throwIfAborted()
    for (const id of idOf.keys()) await queue.remove(id)
    return jobs.map((job) => found.get(job.id)).filter((result) => result !== undefined)
  } finally {
    await Promise.all([events.close(), queue.close()])
  }
}

async function reach(queue: Queue): Promise<void> {
  let why = 'no answer'
  queue.on('error', (error) => {
    why = error.message || String((error as { code?: unknown }).code ?? error.name)
  })
  const isReady = await Promise.race([
    queue.waitUntilReady().then(() => true),
    sleep(REACH_MS, false, { ref: false }),
  ]).catch(() => false)
  if (isReady) return
  await queue.close().catch(() => {})
  throw new CliError(`--redis: Redis cannot be reached (${why})`)
}

/** The result of a run that is complete. What came over Redis is held against the run that was asked for. */
async function resultOf(queue: Queue<Job, RunResult>, id: string, job: Job): Promise<RunResult | undefined> {
  const queued = await queue.getJob(id)
  if (queued?.finishedOn === undefined) return undefined
  if (queued.failedReason) throw new Error(`run ${job.id} failed: ${queued.failedReason}`)
  const result = queued.returnvalue
  const fits = result?.id === job.id && result.row === job.row && result.seed === job.seed
  if (!fits || typeof result.metrics?.valid !== 'boolean') throw new Error(`run ${job.id}: its result is not one`)
  return result
}
