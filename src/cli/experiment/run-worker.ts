/** What a worker thread does: one run at a time, in virtual time. */
import { type Job, type RunResult, runOf } from '../../experiment/index.ts'
import { cryptoReady } from '../../protocol/index.ts'
import { version } from '../version.ts'

/** Carries a job out; called by the pool of workers. */
export async function run(job: Job): Promise<RunResult> {
  await cryptoReady
  return runOf(job, { version: version(), clockS: () => performance.now() / 1000 })
}
