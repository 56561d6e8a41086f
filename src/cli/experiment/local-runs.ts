import { Piscina } from 'piscina'

/** A run makes many small objects that do not last: with room for them the collector has a sixth less to do. */
export const WORKER_LIMITS = { maxYoungGenerationSizeMb: 96 }

export type LocalRuns<Job, Result> = {
  /** The worker's function. */
  readonly name: 'run' | 'play'
  readonly jobs: readonly Job[]
  /** Worker threads, 1 or more. */
  readonly workers: number
  readonly onResult: (result: Result, done: number) => void
  readonly interrupted: AbortSignal
}

/** Runs all jobs on worker threads; gives the results in the order of the jobs, whatever the number of workers. */
export async function runLocally<Job, Result>({
  name,
  jobs,
  workers,
  onResult,
  interrupted,
}: LocalRuns<Job, Result>): Promise<readonly Result[]> {
  const pool = new Piscina({
    filename: new URL('./run-worker.js', import.meta.url).href,
    name,
    minThreads: workers,
    maxThreads: workers,
    // Every job's scenario waits here rather than in a worker.
    maxQueue: 'auto',
    concurrentTasksPerWorker: 1,
    resourceLimits: WORKER_LIMITS,
  })
  let done = 0
  try {
    const results: Result[] = new Array(jobs.length)
    let next = 0
    const lane = async (): Promise<void> => {
      for (let index = next++; index < jobs.length; index = next++) {
        const job = jobs[index]
        if (job === undefined) return
        const result: Result = await pool.run(job, { signal: interrupted })
        results[index] = result
        done += 1
        onResult(result, done)
      }
    }
    await Promise.all(Array.from({ length: workers }, lane))
    return results
  } finally {
    await pool.destroy()
  }
}
