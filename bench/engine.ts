/**
 * `npm run bench -- engine [SCENARIO] [ROUNDS] [SECONDS]`: the virtual-time engine alone, in lab seconds per second of CPU
 * time of one core: the whole run with its drain and records, then the metrics. A run is as long as those of Table I (300 s
 * after 120 s of warm-up) unless said otherwise. The median of the rounds counts; the first two, in which V8 still
 * compiles, are shown apart. It runs on a worker thread, as the studies do.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { WORKER_LIMITS } from '../src/cli/experiment/local-runs.ts'
import { parseScenario, planOf, worldOf } from '../src/experiment/index.ts'
import { cryptoReady } from '../src/protocol/index.ts'
import { machine, quantile } from './q3p/machine.ts'

/** Lab time of a run of Table I, s. */
const TABLE1_S = 420
const COLD_ROUNDS = 2

export async function bench(args: readonly string[]): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { args }, resourceLimits: WORKER_LIMITS })
  const [code] = (await once(worker, 'exit')) as [number]
  return code
}

async function measure(args: readonly string[]): Promise<void> {
  await cryptoReady
  const file = args[0] ?? 'scenarios/ieee39.yaml'
  const rounds = Number(args[1] ?? 7)
  const durationS = Number(args[2] ?? TABLE1_S)
  const plan = planOf({ ...parseScenario(readFileSync(file, 'utf8'), file), durationS })
  const ratios: number[] = []
  process.stdout.write(`${machine()}\n${file}: ${plan.durationS} s of lab time, ${plan.nodes.length} nodes\n`)
  for (let round = 1 - COLD_ROUNDS; round <= rounds; round += 1) {
    const lab = worldOf(plan, plan.seed + round + COLD_ROUNDS)
    const start = process.cpuUsage()
    const records = lab.run()
    const ran = process.cpuUsage(start)
    const metrics = lab.metrics('bench')
    const judged = process.cpuUsage(start)
    const runS = (ran.user + ran.system) / 1e6
    const metricsS = (judged.user + judged.system) / 1e6 - runS
    const ratio = plan.durationS / runS
    if (round > 0) ratios.push(ratio)
    process.stdout.write(
      `${round <= 0 ? 'cold   ' : `round ${round}`}: ${runS.toFixed(3)} s CPU, ${ratio.toFixed(0)} times real time; metrics ${metricsS.toFixed(3)} s; ` +
        `${records.length} records, ${metrics.frames} frames, P_full ${metrics.pFull.toFixed(4)}\n`,
    )
  }
  const sorted = Float64Array.from(ratios)
  const [median, best] = [quantile(sorted, 0.5), quantile(sorted, 1)].map((ratio) => ratio.toFixed(0))
  process.stdout.write(`median: ${median}, best: ${best} times real time (goal 300); ${machine()}\n`)
}

// The worker is this same file, run as the studies run theirs.
if (!isMainThread && workerData?.args !== undefined) await measure(workerData.args)
