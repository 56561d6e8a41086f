import {
  type GamePolicy,
  type LdCpOptions,
  priceOfFairness,
  SocialPolicy,
  SplitPolicy,
  StackelbergPolicy,
  type WorldAgent,
} from '../../src/scheduler/index.ts'
import { meanOf, progress, quantileOf, stdOf, table } from './figures.ts'
import { type RunResult, runOnce } from './runs.ts'
import { ieee118Agents } from './zones.ts'

/** Once in 5000 s, as the paper has it. */
const BREAK_RATE_PER_S = 1 / 5000
const SETTLE_S = 20
const MEASURE_S = 10
/** A plan a second: ten of a run's plans fall into the window that is measured. */
const PLAN_EVERY = 10

type Maker = { readonly name: string; readonly make: () => GamePolicy }

const PRINTED_GAME = { followerWeight: 0, floorRatio: 0 }
/** Each tick starts anew and each round sees the 2 % of pairs nearest to change: many small rounds. */
const SMALL_STEPS: LdCpOptions = { form: 'printed', pairsKept: 0.02, shrinking: false, proximalWeight: 0.05 }

const POLICIES: readonly Maker[] = [
  { name: 'S-4 equal split', make: () => new SplitPolicy('equal') },
  { name: 'S-4 by demand', make: () => new SplitPolicy('demand') },
  { name: 'S-5 LD-CP, improved', make: () => new StackelbergPolicy({ solver: 'ld-cp' }) },
  { name: 'S-5 LD-CP, printed', make: () => new StackelbergPolicy({ solver: 'ld-cp', ldCp: { form: 'printed' } }) },
  { name: 'S-5 exact', make: () => new StackelbergPolicy({ solver: 'exact' }) },
  {
    name: 'printed game, LD-CP',
    make: () => new StackelbergPolicy({ solver: 'ld-cp', ldCp: { form: 'printed' }, ...PRINTED_GAME }),
  },
  { name: 'printed game, exact', make: () => new StackelbergPolicy({ solver: 'exact', ...PRINTED_GAME }) },
  { name: 'social optimum', make: () => new SocialPolicy() },
]

/** Figure 2: F_K of the scenarios. */
export function fairness(runs: number): void {
  const agents = agentsOnce()
  console.log(
    `\nF_K on the key stock of the 118-bus zones, ${runs} runs, ${SETTLE_S} s to settle, F_K over ${MEASURE_S} s`,
  )
  const all = POLICIES.map(({ name, make }) => ({ name, results: runsOf(agents, make, { name, runs }) }))
  const optimum = all.find(({ name }) => name === 'social optimum')?.results.map(({ socialPerS }) => socialPerS) ?? []
  const rows = [
    [
      'policy',
      'F_K p25',
      'median',
      'p75',
      'least',
      'min share',
      'raw Jain',
      'TSO loss/s',
      'all loss/s',
      'price of f.',
      'short',
      'plan p50 ms',
      'p95',
    ],
  ]
  for (const { name, results } of all) {
    const index = results.map(({ fairness }) => fairness.fairnessIndex)
    const prices = results.map(({ socialPerS }, run) => priceOfFairness(socialPerS, optimum[run] ?? Number.NaN))
    const plans = results.flatMap(({ planCpuMs }) => planCpuMs)
    const messages = results.reduce((sum, each) => sum + each.messages, 0)
    rows.push([
      name,
      ...[0.25, 0.5, 0.75, 0].map((ratio) => quantileOf(index, ratio).toFixed(3)),
      meanOf(results.map(({ fairness }) => fairness.minShare)).toFixed(3),
      meanOf(results.map(({ fairness }) => fairness.rawJain)).toFixed(3),
      meanOf(results.map(({ lossPerS }) => lossPerS[0] ?? 0)).toFixed(2),
      meanOf(results.map(({ socialPerS }) => socialPerS)).toFixed(2),
      meanOf(prices).toFixed(3),
      `${results.reduce((sum, each) => sum + each.shortMessages, 0)}/${messages}`,
      quantileOf(plans, 0.5).toFixed(1),
      quantileOf(plans, 0.95).toFixed(1),
    ])
  }
  table(rows)
  console.log('paper, figure 2: median 0.72 (S-4, split not said), 0.86 (S-5)')
}

const BUDGETS = [1, 2, 5, 10, 20, 40, 60, 80, 100, 120] as const

/** Figure 3: F_K by iteration budget. */
export function iterations(runs: number): void {
  const agents = agentsOnce()
  const variants: readonly { readonly name: string; readonly ldCp: LdCpOptions; readonly warm: boolean }[] = [
    { name: 'improved', ldCp: { form: 'improved' }, warm: true },
    { name: 'printed', ldCp: { form: 'printed' }, warm: true },
    { name: 'small steps, cold', ldCp: SMALL_STEPS, warm: false },
  ]
  console.log(`\nmean F_K (TSO loss/s) by iteration budget of LD-CP, ${runs} runs`)
  const rows = [['LD-CP', ...BUDGETS.map(String), 'rounds p50', 'most']]
  for (const { name, ldCp, warm } of variants) {
    const { cells, rounds } = byBudget(BUDGETS, (maxIterations) =>
      runsOf(agents, () => new StackelbergPolicy({ solver: 'ld-cp', ldCp: { ...ldCp, maxIterations }, warm }), {
        name: `${name}, budget ${maxIterations}`,
        runs,
      }),
    )
    rows.push([
      name,
      ...cells.map((results) => {
        const index = meanOf(results.map(({ fairness }) => fairness.fairnessIndex))
        return `${index.toFixed(3)} (${meanOf(results.map(({ lossPerS }) => lossPerS[0] ?? 0)).toFixed(1)})`
      }),
      String(quantileOf(rounds, 0.5)),
      String(quantileOf(rounds, 1)),
    ])
  }
  table(rows)
  console.log('a budget that no plan of a run used up is the same run: it is not repeated')
  console.log('paper, figure 3: about 0.70 at 5, 0.83-0.84 at 80-100')
}

const BREAK_RATES = [0, 1 / 5000, 0.001, 0.002, 0.003] as const
const BREAK_BUDGETS = [5, 20, 60, 120] as const

/** Figure 4: spread of F_K over break rate and iteration budget. */
export function breaks(runs: number): void {
  const agents = agentsOnce()
  console.log(`\nstandard deviation of F_K over break rate and iteration budget, ${runs} runs each`)
  for (const [name, ldCp, warm] of [
    ['printed', { form: 'printed' } as LdCpOptions, true],
    ['small steps, cold', SMALL_STEPS, false],
  ] as const) {
    const rows = [[`${name}: breaks/s`, ...BREAK_BUDGETS.map((budget) => `budget ${budget}`), 'mean F_K']]
    for (const breakRatePerS of BREAK_RATES) {
      const { cells } = byBudget(BREAK_BUDGETS, (maxIterations) =>
        runsOf(agents, () => new StackelbergPolicy({ solver: 'ld-cp', ldCp: { ...ldCp, maxIterations }, warm }), {
          name: `${name}, ${breakRatePerS}/s, budget ${maxIterations}`,
          runs,
          breakRatePerS,
        }),
      )
      const index = cells.map((results) => results.map(({ fairness }) => fairness.fairnessIndex))
      rows.push([
        String(breakRatePerS),
        ...index.map((each) => stdOf(each).toFixed(4)),
        meanOf(index.at(-1) ?? []).toFixed(3),
      ])
    }
    table(rows)
  }
  console.log('paper, figure 4: below 0.04 at 60 iterations for break rates up to 0.003/s, rising with the rate')
}

/** Runs for rising budgets; once no plan needs more rounds, larger budgets give the same runs. */
function byBudget(
  budgets: readonly number[],
  run: (maxIterations: number) => readonly RunResult[],
): { readonly cells: readonly (readonly RunResult[])[]; readonly rounds: readonly number[] } {
  const cells: (readonly RunResult[])[] = []
  let rounds: readonly number[] = []
  let enough = false
  for (const budget of budgets) {
    const last = cells.at(-1)
    if (enough && last !== undefined) cells.push(last)
    else {
      const results = run(budget)
      rounds = results.flatMap(({ iterations }) => iterations)
      enough = rounds.every((used) => used < budget)
      cells.push(results)
    }
  }
  return { cells, rounds }
}

function runsOf(
  agents: readonly WorldAgent[],
  make: () => GamePolicy,
  { name, runs, breakRatePerS = BREAK_RATE_PER_S }: { name: string; runs: number; breakRatePerS?: number },
): readonly RunResult[] {
  const results = Array.from({ length: runs }, (_, run) => {
    progress(`${name}: run ${run + 1} of ${runs}`)
    const times = { settleS: SETTLE_S, measureS: MEASURE_S, planEvery: PLAN_EVERY }
    return runOnce(agents, make(), { seed: 118 + run, breakRatePerS, ...times })
  })
  progress('')
  return results
}

let made: readonly WorldAgent[] | undefined

/** The agents of the 118-bus zones; their sensitivities take seconds. */
function agentsOnce(): readonly WorldAgent[] {
  progress('sensitivities of the 118-bus zones')
  made ??= ieee118Agents()
  return made
}
