/** What a worker thread does: one run at a time, in virtual time. */
import {
  type GameJob,
  type GameResult,
  ieee118Agents,
  type Job,
  type RunResult,
  runGame,
  runOf,
} from '../../experiment/index.ts'
import { cryptoReady } from '../../protocol/index.ts'
import { version } from '../version.ts'

/** Carries a job out; called by the pool of workers. */
export async function run(job: Job): Promise<RunResult> {
  await cryptoReady
  return runOf(job, { version: version(), clockS: () => performance.now() / 1000 })
}

/** Their sensitivities take seconds. */
let agents: ReturnType<typeof ieee118Agents> | undefined

/** Carries a run of the game out. */
export function play(job: GameJob): GameResult {
  agents ??= ieee118Agents()
  return runGame(agents, job)
}
