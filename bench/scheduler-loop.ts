/**
 * `npm run bench -- scheduler-loop [--seeds N] [--duration S] [--rate R] [--risk P] [--bound NAME] [--solver own|highs] [--voltage W [--band PU]]`:
 * the IEEE 39 lab in virtual time under the greedy and
 * the rolling policy, the same seeds for both, in turns. Prints means with 95 % intervals, and of the differences seed by seed.
 * `--rate` is the links' effectiveRatePerS; at 1500 key is short, at the scenario's 2200 it just suffices. With `--voltage` the rolling policy
 * without and with this voltageWeight.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadHighs, rollingSolverOf } from '../src/cli/process/highs.ts'
import { type LabPlan, type LabRecord, LabWorld, type Metrics, parseScenario, planOf } from '../src/experiment/index.ts'
import { cryptoReady } from '../src/protocol/index.ts'
import type { PlanDetail, PolicyMeans } from '../src/scheduler/index.ts'
import { setting } from './iec104/figures.ts'
import { type Outside, outsideOf } from './scheduler/voltages.ts'

/** One side of the comparison. */
type Arm = { readonly name: string; readonly policy: 'greedy' | 'rolling'; readonly voltageWeight: number }
/** Times at which the stock fell below K_safe: in the two seconds of the load step's own burst of events, and otherwise. */
type Falls = { readonly inBurst: number; readonly otherwise: number }
type Run = {
  readonly metrics: Metrics
  readonly details: readonly PlanDetail[]
  readonly falls: Falls
  readonly outside: Outside
  /** Ticks recorded in which a chain was off because the grid was better without it. */
  readonly betterOff: number
}

const FIGURES: readonly { readonly name: string; readonly of: (run: Run) => number }[] = [
  { name: 'P_full', of: ({ metrics }) => metrics.pFull },
  { name: 'P_delivered', of: ({ metrics }) => metrics.pDelivered },
  { name: 'degraded a run', of: ({ metrics }) => metrics.degraded },
  { name: 'key used, kbit', of: ({ metrics }) => (metrics.keys?.usedBits ?? Number.NaN) / 1000 },
  { name: 'max |df|, Hz', of: ({ metrics }) => metrics.maxAbsDeltaFHz ?? Number.NaN },
  { name: 'eta', of: ({ metrics }) => metrics.keyUtilizationRatio ?? Number.NaN },
  { name: 'TRR, s', of: ({ metrics }) => metrics.trrS ?? Number.NaN },
  { name: 'switches', of: ({ metrics }) => metrics.switches },
  { name: 'voltages outside, 1e-6 pu, mean', of: ({ outside }) => 1e6 * outside.meanPu },
  { name: 'voltages outside, pu, worst', of: ({ outside }) => outside.worstPu },
  { name: 'chains turned off for the grid', of: ({ betterOff }) => betterOff },
  { name: 'least stock, kbit', of: ({ metrics }) => (metrics.keys?.minPoolBits ?? Number.NaN) / 1000 },
  { name: 'runs below K_safe by the burst', of: ({ falls }) => Math.min(1, falls.inBurst) },
  { name: 'runs below K_safe otherwise', of: ({ falls }) => Math.min(1, falls.otherwise) },
]

export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '30' },
      duration: { type: 'string', default: '40' },
      rate: { type: 'string', default: '1500' },
      solver: { type: 'string', default: 'own' },
      bound: { type: 'string', default: 'allocated' },
      risk: { type: 'string', default: '0.05' },
      voltage: { type: 'string' },
      band: { type: 'string', default: '0.005' },
    },
  })
  await cryptoReady
  const means = values.solver === 'highs' ? { solver: rollingSolverOf(await loadHighs()) } : undefined
  console.log(setting())
  console.log(
    `IEEE 39, ${values.duration} s, effectiveRatePerS ${values.rate}, ${values.seeds} seeds; ${values.bound}, risk ${values.risk}; mean and 95 % interval`,
  )
  const arms: readonly [Arm, Arm] =
    values.voltage === undefined
      ? [
          { name: 'greedy', policy: 'greedy', voltageWeight: 0 },
          { name: 'rolling', policy: 'rolling', voltageWeight: 0 },
        ]
      : [
          { name: 'without', policy: 'rolling', voltageWeight: 0 },
          { name: `with ${values.voltage}`, policy: 'rolling', voltageWeight: Number(values.voltage) },
        ]
  const runs: readonly [Run[], Run[]] = [[], []]
  for (let seed = 1; seed <= Number(values.seeds); seed++) {
    for (const [i, arm] of arms.entries()) runs[i]?.push(runOf(arm, { ...values, seed, means }))
    process.stderr.write(`\r${seed} of ${values.seeds} seeds`)
  }
  process.stderr.write('\n')
  for (const { name, of } of FIGURES) {
    const [one, other] = [runs[0].map(of), runs[1].map(of)]
    const change = other.map((value, i) => value - (one[i] ?? Number.NaN))
    console.log(
      `${name.padEnd(31)} ${arms[0].name} ${interval(one)}   ${arms[1].name} ${interval(other)}   difference ${interval(change)}`,
    )
  }
  const solved = runs[1].flatMap(({ details }) => details).filter(({ mode }) => mode !== 'waiting')
  const share = (mode: PlanDetail['mode']) => solved.filter((detail) => detail.mode === mode).length / solved.length
  const proven = solved.filter((detail) => detail.proven).length / solved.length
  console.log(
    `plans recorded ${solved.length}: key to spare ${percent(share('spare'))}, the end kept ${percent(share('optimal'))}, without the end ${percent(share('reserve'))}, protect ${percent(share('protect'))}; gap proven ${percent(proven)}`,
  )
  const invalid = runs.flat().filter(({ metrics }) => !metrics.valid).length
  console.log(`runs that are not valid: ${invalid}`)
  return invalid === 0 ? 0 : 1
}

type RunOptions = {
  readonly duration: string
  readonly rate: string
  readonly bound: string
  readonly risk: string
  readonly band: string
  readonly seed: number
  readonly means: PolicyMeans | undefined
}

function runOf({ policy, voltageWeight }: Arm, options: RunOptions): Run {
  const { duration, rate, bound, risk, band, seed, means } = options
  const voltages = `voltageWeight: ${voltageWeight}, voltageBandPu: ${band}`
  const text = readFileSync('scenarios/ieee39.yaml', 'utf8')
    .replace('policy: greedy', `policy: ${policy}, rolling: { riskBound: ${bound}, risk: ${risk}, ${voltages} }`)
    .replace('durationS: 60', `durationS: ${duration}`)
    .replace('effectiveRatePerS: 2200', `effectiveRatePerS: ${rate}`)
  const plan = planOf(parseScenario(text, 'scenarios/ieee39.yaml'))
  const world = new LabWorld(plan, seed, means && { means })
  const records = world.run()
  const details = records
    .filter(({ name }) => name === 'plan.detail')
    .map((record) => JSON.parse(String(record['detail'])) as PlanDetail)
  return {
    metrics: world.metrics('bench'),
    details,
    falls: fallsOf(records, plan),
    outside: outsideOf(records, plan, Number(band)),
    betterOff: records.filter(({ name, why }) => name === 'plan' && String(why).includes('are better without it'))
      .length,
  }
}

const BURST_MS = 2_000

function fallsOf(records: readonly LabRecord[], { durationS, grid, keyserver }: LabPlan): Falls {
  const { safeBits } = keyserver.pool
  const stepMs = grid.disturbances[0]?.atMs ?? Number.POSITIVE_INFINITY
  const falls = { inBurst: 0, otherwise: 0 }
  let before = 0
  for (const record of records) {
    if (record.name !== 'pool' || record.tMs > durationS * 1000) continue
    const bits = Number(record['poolBits'])
    if (before >= safeBits && bits < safeBits) {
      if (record.tMs > stepMs && record.tMs <= stepMs + BURST_MS) falls.inBurst++
      else falls.otherwise++
    }
    before = bits
  }
  return falls
}

function interval(values: readonly number[]): string {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1)
  // Student's t at 97.5 % by Cornish and Fisher; 2.045 for thirty values.
  const freedom = Math.max(1, values.length - 1)
  const half = (1.96 + 2.372 / freedom + 2.823 / freedom ** 2) * Math.sqrt(variance / values.length)
  return `${mean.toFixed(4)} +- ${half.toFixed(4)}`
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`
}
