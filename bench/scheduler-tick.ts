/**
 * How long a live master is busy with one tick of the rolling policy (`npm run bench -- scheduler-tick --scenario FILE`): its solves
 * end by the clock, as in a live lab, but the lab around them is in virtual time. While a tick plans, no timer of the
 * protocol runs, so this is what the event loop is late at most.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { LabWorld, parseScenario, planOf } from '../src/experiment/index.ts'
import { cryptoReady } from '../src/protocol/index.ts'
import type { PlanDetail, Policy } from '../src/scheduler/index.ts'
import { setting } from './iec104/figures.ts'

export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: 'string', default: 'scenarios/ieee118.yaml' },
      duration: { type: 'string', default: '30' },
      rate: { type: 'string' },
    },
  })
  await cryptoReady
  const { scenario: file, duration, rate } = values
  const text = readFileSync(file, 'utf8')
    .replace(/policy: \w+/, 'policy: rolling')
    .replace(/durationS: \d+/, `durationS: ${duration}`)
    .replace(/effectiveRatePerS: [\d.e+]+/, (given) => (rate === undefined ? given : `effectiveRatePerS: ${rate}`))
  const scenario = parseScenario(text, file)
  const plan = planOf(scenario)
  const wallMs: number[] = []
  const cpuMs: number[] = []
  let chains = 0
  const timed = (inner: Policy): Policy => ({
    name: inner.name,
    plan(view, nowMs) {
      chains = view.chains.length
      const before = process.cpuUsage()
      const begunMs = performance.now()
      const answer = inner.plan(view, nowMs)
      wallMs.push(performance.now() - begunMs)
      const { user, system } = process.cpuUsage(before)
      cpuMs.push((user + system) / 1000)
      return answer
    },
  })
  const world = new LabWorld(plan, 1, { means: { now: () => performance.now() }, policy: timed })
  const details = world
    .run()
    .filter(({ name }) => name === 'plan.detail')
    .map((record) => JSON.parse(String(record['detail'])) as PlanDetail)
  console.log(setting())
  console.log(
    `${file}, ${duration} s, ${chains} chains, ${scenario.scheduler.rolling.steps} steps, limit of a tick ${scenario.scheduler.rolling.limitMs} ms, ${wallMs.length} ticks`,
  )
  // The first ticks are those of a program that is still being compiled.
  const warm = 20
  console.log(
    `  by the clock: ${spread(wallMs.slice(warm))}; first ${warm}: at most ${Math.max(...wallMs.slice(0, warm)).toFixed(1)}`,
  )
  console.log(`  CPU time:     ${spread(cpuMs.slice(warm))}`)
  const solved = details.filter(({ solveMs }) => solveMs > 0)
  const proven = solved.filter((detail) => detail.proven).length
  console.log(
    `  recorded plans: ${solved.length}, proven ${proven}; solve ${spread(solved.map(({ solveMs }) => solveMs))}`,
  )
  return 0
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN).toFixed(1)
  return `median ${at(0.5)} ms, 95 % ${at(0.95)}, 99 % ${at(0.99)}, most ${at(1)}`
}
