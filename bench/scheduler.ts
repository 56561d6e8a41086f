/**
 * `npm run bench -- scheduler [--instances N] [--only SIZE|highs] [--highs N] [--highs-limit S] [--ratio N] [--risk N] [--clock wall|cpu]`:
 * the rolling problem's solver on random instances (bench/scheduler/instances.ts), cold and over the ticks that follow, and HiGHS on
 * the same instances, taken in turns. With `--clock cpu` limits and times are the process's CPU time, for machines that do
 * other work besides; it counts the garbage collector's and the compiler's threads too.
 */
import { parseArgs } from 'node:util'
import { loadHighs } from '../src/cli/process/highs.ts'
import { judge, leastSlack, solve, tangentRows, type WarmStart } from '../src/scheduler/index.ts'
import { median, quantile, setting } from './iec104/figures.ts'
import { guessedSpread, type Instance, instance, nextTick } from './scheduler/instances.ts'
import { riskReport } from './scheduler/risk.ts'

type Goal = {
  readonly name: string
  readonly chains: number
  readonly steps: number
  readonly gap: number
  /** Limit of a solve, ms. */
  readonly limitMs: number
  /** What is asked of the warm solves, or of the cold ones. */
  readonly share?: { readonly of: 'warm' | 'cold' | 'all'; readonly atLeast: number }
  readonly warmMedianMs?: number
  readonly coldMedianMs?: number
}

const GOALS: readonly Goal[] = [
  {
    name: '20x10',
    chains: 20,
    steps: 10,
    gap: 1e-4,
    limitMs: 100,
    share: { of: 'warm', atLeast: 0.95 },
    warmMedianMs: 25,
  },
  {
    name: '40x10',
    chains: 40,
    steps: 10,
    gap: 1e-4,
    limitMs: 100,
    share: { of: 'warm', atLeast: 0.95 },
    warmMedianMs: 25,
  },
  { name: '250x10', chains: 250, steps: 10, gap: 1e-3, limitMs: 100, share: { of: 'all', atLeast: 0.95 } },
  { name: '1000x10', chains: 1000, steps: 10, gap: 1e-4, limitMs: 200, coldMedianMs: 100, warmMedianMs: 30 },
  { name: '10000x5', chains: 10_000, steps: 5, gap: 1e-5, limitMs: 300, warmMedianMs: 150 },
  { name: '40x20', chains: 40, steps: 20, gap: 1e-3, limitMs: 100, share: { of: 'all', atLeast: 0.7 } },
]
/** Ticks after the first one. */
const WARM_TICKS = 3
const WARM_UP_SOLVES = 30
const ORACLE_SIZES = [
  [4, 4],
  [6, 5],
  [8, 6],
] as const

type Clock = () => number
type Sample = { readonly ms: number; readonly gap: number; readonly proven: boolean; readonly isWarm: boolean }

export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      instances: { type: 'string', default: '40' },
      only: { type: 'string' },
      highs: { type: 'string', default: '100' },
      'highs-limit': { type: 'string', default: '20' },
      ratio: { type: 'string', default: '5' },
      risk: { type: 'string', default: '50' },
      clock: { type: 'string', default: 'wall' },
    },
  })
  const clock: Clock = values.clock === 'cpu' ? cpuMs : () => performance.now()
  console.log(setting())
  console.log(`clock: ${values.clock}; times in ms\n`)
  let missed = 0
  for (const goal of GOALS) {
    if (values.only !== undefined && values.only !== goal.name) continue
    const count = Math.max(3, Math.round(Number(values.instances) * (goal.chains > 500 ? 0.25 : 1)))
    missed += report(goal, samplesOf(goal, { count, clock }))
  }
  if (Number(values.risk) > 0 && (values.only ?? 'risk') === 'risk') riskReport(Number(values.risk))
  const oracle = { count: Number(values.highs), limitS: Number(values['highs-limit']) }
  if (oracle.count > 0 && (values.only ?? 'highs') === 'highs') missed += await againstHighs(oracle)
  if (Number(values.ratio) > 0 && values.only !== 'risk') {
    for (const goal of GOALS.slice(0, 2)) {
      if (values.only !== undefined && values.only !== goal.name) continue
      missed += await ratioToHighs(goal, { count: Number(values.ratio), limitS: oracle.limitS, clock })
    }
  }
  return missed === 0 ? 0 : 1
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Cold and warm solves of random instances, after some to warm the compiler up. */
function samplesOf(goal: Goal, { count, clock }: { readonly count: number; readonly clock: Clock }): readonly Sample[] {
  const samples: Sample[] = []
  for (let seed = 1; seed <= (goal.chains > 500 ? 8 : WARM_UP_SOLVES); seed++)
    ticks(goal, { seed: 100_000 + seed, clock })
  for (let seed = 1; seed <= count; seed++) samples.push(...ticks(goal, { seed, clock }))
  return samples
}

function ticks(goal: Goal, { seed, clock }: { readonly seed: number; readonly clock: Clock }): readonly Sample[] {
  const samples: Sample[] = []
  let now: Instance = instance(seed, goal)
  let warm: WarmStart | undefined
  for (let tick = 0; tick <= WARM_TICKS; tick++) {
    const { problem } = now
    const rows = tangentRows(problem, guessedSpread(problem))
    const startMs = clock()
    const answer = solve(problem, rows, {
      limit: { kind: 'time', now: clock, limitMs: goal.limitMs },
      gap: goal.gap,
      ...(warm && { warm }),
    })
    const ms = clock() - startMs
    if (answer.kind === 'none') break
    const judged = judge(problem, answer.plan)
    if (leastSlack(rows, judged) < -1e-6 * (rows.capacityBits.at(-1) ?? 1))
      throw new Error(`seed ${seed}: a row is broken`)
    samples.push({ ms, gap: answer.gap, proven: answer.proven, isWarm: tick > 0 })
    warm = answer.warm
    now = nextTick(now, answer.plan, seed * 10 + tick)
  }
  return samples
}

/** Prints a size; the number of its goals that were missed. */
function report(goal: Goal, samples: readonly Sample[]): number {
  let missed = 0
  console.log(`${goal.name}: to a gap of ${goal.gap} within ${goal.limitMs} ms`)
  const verdict = (isReached: boolean): string => {
    if (!isReached) missed++
    return isReached ? 'reached' : 'MISSED'
  }
  for (const [name, part] of [
    ['cold', samples.filter(({ isWarm }) => !isWarm)],
    ['warm', samples.filter(({ isWarm }) => isWarm)],
    ['all', samples],
  ] as const) {
    const times = part.map(({ ms }) => ms)
    // Late is not in time, proven or not.
    const inTime = part.filter(({ proven, ms }) => proven && ms <= 1.1 * goal.limitMs).length / part.length
    const line = [
      `  ${name.padEnd(5)} ${String(part.length).padStart(4)} solves`,
      `proven ${(100 * inTime).toFixed(1)} %`,
      `ms median ${median(times).toFixed(1)}, 95 % ${quantile(times, 0.95).toFixed(1)}, most ${Math.max(...times).toFixed(1)}`,
      `gap median ${median(part.map(({ gap }) => gap)).toExponential(1)}, most ${Math.max(...part.map(({ gap }) => gap)).toExponential(1)}`,
    ]
    if (goal.share?.of === name)
      line.push(`goal >= ${100 * goal.share.atLeast} % ${verdict(inTime >= goal.share.atLeast)}`)
    const medianGoal = name === 'warm' ? goal.warmMedianMs : name === 'cold' ? goal.coldMedianMs : undefined
    if (medianGoal !== undefined) line.push(`goal <= ${medianGoal} ms ${verdict(median(times) <= medianGoal)}`)
    console.log(line.join('; '))
  }
  return missed
}

/** Claims of optimality and values against HiGHS; the number of sizes with a false one. */
async function againstHighs({ count, limitS }: { readonly count: number; readonly limitS: number }): Promise<number> {
  const highs = await loadHighs()
  let wrong = 0
  console.log('\nagainst HiGHS (both to 1e-9, every fourth instance without frequency)')
  for (const [chains, steps] of ORACLE_SIZES) {
    let [both, unequal, falseClaims, infeasible, open] = [0, 0, 0, 0, 0]
    for (let seed = 1; seed <= count; seed++) {
      const { problem } = instance(seed, { chains, steps, frequency: seed % 4 !== 0 })
      const rows = tangentRows(problem, guessedSpread(problem))
      const own = solve(problem, rows, { limit: { kind: 'work', units: 1e8 }, gap: 1e-9 })
      const oracle = highs(problem, rows, { gap: 1e-9, limitS })
      if (own.kind === 'none' || oracle.isInfeasible) {
        if (own.kind === 'none' && oracle.isInfeasible) infeasible++
        else if (own.kind === 'plan' || own.proven) falseClaims++
        continue
      }
      // A bound above a plan that HiGHS has, or a proof beside a better plan, is a false claim, whatever HiGHS proves.
      if (own.bound > oracle.objective * (1 + 1e-6)) falseClaims++
      const isProven = oracle.objective - oracle.bound <= 1e-6 * oracle.objective
      if (!isProven || !own.proven) open++
      else {
        both++
        if (Math.abs(own.objective - oracle.objective) > 1e-6 * oracle.objective) unequal++
      }
    }
    if (falseClaims + unequal > 0) wrong++
    console.log(
      `  ${`${chains}x${steps}`.padEnd(6)} ${count} instances: both prove ${both} (unequal ${unequal}), both infeasible ${infeasible}, not proven by one ${open}, false claims ${falseClaims}`,
    )
  }
  return wrong
}

/** Time of HiGHS over ours to the same gap, instance by instance. */
async function ratioToHighs(
  goal: Goal,
  { count, limitS, clock }: { readonly count: number; readonly limitS: number; readonly clock: Clock },
): Promise<number> {
  const highs = await loadHighs()
  const ratios: number[] = []
  const highsMs: number[] = []
  let atLimit = 0
  let falseClaims = 0
  for (let seed = 1; seed <= count; seed++) {
    const first = instance(seed, goal)
    const rows = tangentRows(first.problem, guessedSpread(first.problem))
    const limit = { kind: 'time', now: clock, limitMs: goal.limitMs } as const
    const cold = solve(first.problem, rows, { limit, gap: goal.gap })
    if (cold.kind === 'none') continue
    const { problem } = nextTick(first, cold.plan, seed)
    const nextRows = tangentRows(problem, guessedSpread(problem))
    const startMs = clock()
    const own = solve(problem, nextRows, { limit, gap: goal.gap, warm: cold.warm })
    const ownMs = clock() - startMs
    if (own.kind === 'none' || !own.proven) continue
    const highsStartMs = clock()
    const oracle = highs(problem, nextRows, { gap: goal.gap, limitS, exact: false })
    const ms = clock() - highsStartMs
    if (oracle.objective - oracle.bound > goal.gap * oracle.objective) atLimit++
    // Tangents lie below the squares, so both bounds are bounds of the problem itself.
    const isFalse = own.bound > oracle.objective * (1 + 1e-6) || oracle.bound > own.objective * (1 + 1e-6)
    if (isFalse) falseClaims++
    highsMs.push(ms)
    ratios.push(ms / ownMs)
  }
  const reached = median(ratios) >= 50
  console.log(
    `\n${goal.name} to ${goal.gap}, warm, one program of HiGHS with nine tangents a frequency: HiGHS median ${median(highsMs).toFixed(0)} ms` +
      ` (${atLimit} of ${ratios.length} stopped at ${limitS} s or short of the gap), ratio median ${median(ratios).toFixed(0)}, least ${Math.min(...ratios).toFixed(0)}; goal >= 50 ${reached ? 'reached' : 'MISSED'}; false claims ${falseClaims}`,
  )
  return reached && falseClaims === 0 ? 0 : 1
}
