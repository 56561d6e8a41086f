/** The queue on Redis over which the runs of a sweep reach workers of any number of machines. */
import { type ConnectionOptions, Queue, QueueEvents, Worker } from 'bullmq'
import type { Job, RunResult } from '../../experiment/index.ts'
import { CliError } from '../errors.ts'
import { version } from '../version.ts'

const QUEUE = 'runs'
/** A worker that has not renewed its lock for this long is taken for dead, and its run goes to another. */
const LOCK_MS = 10_000
const STALLED_CHECK_MS = 5_000
/** A run is given to as many workers as die of it; a run that fails does so everywhere, and is not tried again. */
const MAX_STALLED = 1_000_000

/** Runs of one version of q104 only: another one might count otherwise. */
function prefix(): string {
  return `q104-${version()}`
}

/** Connection options of a Redis URL. @throws CliError for what is none. */
export function redisOf(url: string): ConnectionOptions {
  if (!/^rediss?:\/\/[^\s]+$/.test(url)) throw new CliError(`--redis: found '${url}', expected redis://HOST:PORT`)
  return { url, maxRetriesPerRequest: null }
}

export function openQueue(connection: ConnectionOptions): Queue<Job, RunResult> {
  return new Queue<Job, RunResult>(QUEUE, { connection, prefix: prefix() })
}

export function openEvents(connection: ConnectionOptions): QueueEvents {
  return new QueueEvents(QUEUE, { connection, prefix: prefix() })
}

/** A worker that carries out up to `concurrency` runs at a time. */
export function openWorker(
  connection: ConnectionOptions,
  concurrency: number,
  run: (job: Job) => Promise<RunResult>,
): Worker<Job, RunResult> {
  return new Worker<Job, RunResult>(QUEUE, async ({ data }) => await run(data), {
    connection,
    prefix: prefix(),
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    maxStalledCount: MAX_STALLED,
  })
}

/** Id of a run in the queue: of its sweep and of itself. BullMQ takes no colon in it. */
export function queueIdOf(sweep: string, job: Pick<Job, 'id'>): string {
  return `${sweep}.${job.id}`.replaceAll(':', '_')
}
