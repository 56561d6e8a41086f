/**
 * `npm run bench -- engine [SCENARIO] [ROUNDS]`: the virtual-time engine alone, in lab seconds per second of CPU time of
 * one core: the whole run with its drain and records, then the metrics. The median of the rounds counts; the first, in
 * which V8 still compiles, is shown apart. It runs on a worker thread, as the studies do.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { WORKER_LIMITS } from '../src/cli/experiment/local-runs.ts'
import { parseScenario, planOf, worldOf } from '../src/experiment/index.ts'
import { cryptoReady } from '../src/protocol/index.ts'
import { machine, quantile } from './q3p/machine.ts'

export async function bench(args: readonly string[]): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { args }, resourceLimits: WORKER_LIMITS })
  const [code] = (await once(worker, 'exit')) as [number]
  return code
}

async function measure(args: readonly string[]): Promise<void> {
  await cryptoReady
  const file = args[0] ?? 'scenarios/ieee39.yaml'
  const rounds = Number(args[1] ?? 5)
  const plan = planOf(parseScenario(readFileSync(file, 'utf8'), file))
  const ratios: number[] = []
  process.stdout.write(`${machine()}\n${file}: ${plan.durationS} s of lab time, ${plan.nodes.length} nodes\n`)
  for (let round = 0; round <= rounds; round += 1) {
    const lab = worldOf(plan, plan.seed + round)
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
      `${round === 0 ? 'cold ' : `round ${round}`}: ${runS.toFixed(3)} s CPU, ${ratio.toFixed(0)} times real time; metrics ${metricsS.toFixed(3)} s; ` +
        `${records.length} records, ${metrics.frames} frames, P_full ${metrics.pFull.toFixed(4)}\n`,
    )
  }
  process.stdout.write(`median: ${quantile(Float64Array.from(ratios), 0.5).toFixed(0)} times real time (goal 300)\n`)
}

// The worker is this same file, run as the studies run theirs.
if (!isMainThread && workerData?.args !== undefined) await measure(workerData.args)
