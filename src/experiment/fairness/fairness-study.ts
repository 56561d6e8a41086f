/** The paper's fairness figures 2 to 4: S-4 against S-5 on the 118-bus zones, by iterations and by breaks. */
import { deviationOf, type Estimate, estimate, meanOf, medianOf } from '../study/statistics.ts'
import type { GameJob, GameKind, GameResult } from './game-run.ts'

export type FairnessOptions = {
  readonly seeds: readonly number[]
  /** Runs of each point of figures 3 and 4. */
  readonly pointRuns: number
}

/** Once in 5000 s. */
const BREAKS_PER_S = 1 / 5000
const SETTLE_S = 50
/** Window of F_K. */
const MEASURE_S = 10
const BUDGETS = [1, 2, 5, 10, 20, 40, 60, 80, 100, 120] as const
const BREAK_RATES = [0, 1 / 5000, 0.001, 0.002, 0.003] as const
const BREAK_BUDGETS = [5, 20, 60, 120] as const

/** Policies of figure 2, with what the paper's median is. */
export const GAME_ROWS: readonly { readonly kind: GameKind; readonly label: string; readonly paper?: string }[] = [
  { kind: 'equal', label: 'S-4 equal split', paper: '0.72' },
  { kind: 'demand', label: 'S-4 split by demand', paper: '0.72' },
  { kind: 'ld-cp', label: 'S-5 LD-CP', paper: '0.86' },
  { kind: 'ld-cp-printed', label: 'S-5 LD-CP as printed', paper: '0.86' },
  { kind: 'exact', label: 'S-5 exact', paper: '0.86' },
  { kind: 'printed-game', label: 'S-5 game as printed', paper: '0.86' },
  { kind: 'social', label: 'social optimum' },
]

/** What must be said wherever the figures are shown. */
export const FAIRNESS_NOTES = [
  'Agents draw on one key stock that four 50 km trunks fill; messages come as Poisson processes and take their key at once. No messages travel and no frames are lost in these runs.',
  'The paper does not say how S-4 splits the key: equally and by demand are both shown.',
  'S-5 has floors (0.95 of the share by demand) and 0.3 of the followers’ loss in the leader’s; the game as printed has neither. F_K is chosen by these two numbers, which the paper does not give.',
  'LD-CP as it is built here needs few rounds. Figures 3 and 4 take the printed form with small steps, begun anew every tick, in which the number of iterations matters at all.',
] as const

/** All runs: figure 2, then 3, then 4. */
export function fairnessJobs({ seeds, pointRuns }: FairnessOptions): readonly GameJob[] {
  const times = { settleS: SETTLE_S, measureS: MEASURE_S }
  const few = seeds.slice(0, pointRuns)
  return [
    ...GAME_ROWS.flatMap(({ kind }) =>
      seeds.map((seed) => ({ id: `figure2/${kind}/${seed}`, kind, seed, breakRatePerS: BREAKS_PER_S, ...times })),
    ),
    ...BUDGETS.flatMap((maxIterations) =>
      few.map((seed) => ({
        id: `figure3/${maxIterations}/${seed}`,
        kind: 'small-steps' as const,
        seed,
        breakRatePerS: BREAKS_PER_S,
        maxIterations,
        ...times,
      })),
    ),
    ...BREAK_RATES.flatMap((breakRatePerS) =>
      BREAK_BUDGETS.flatMap((maxIterations) =>
        few.map((seed) => ({
          id: `figure4/${breakRatePerS}/${maxIterations}/${seed}`,
          kind: 'small-steps' as const,
          seed,
          breakRatePerS,
          maxIterations,
          ...times,
        })),
      ),
    ),
  ]
}

export type GameRowSummary = {
  readonly kind: GameKind
  readonly label: string
  readonly paper?: string
  readonly fairnessIndex: Estimate | undefined
  readonly minShare: Estimate | undefined
  readonly rawJain: Estimate | undefined
  readonly leaderLossPerS: Estimate | undefined
  readonly socialLossPerS: Estimate | undefined
}

export type FairnessSummary = {
  readonly rows: readonly GameRowSummary[]
  /** Figure 3: mean and median F_K by budget. */
  readonly byBudget: readonly { readonly budget: number; readonly mean: number; readonly median: number }[]
  /** Figure 4: standard deviation of F_K. */
  readonly byBreaks: readonly {
    readonly breakRatePerS: number
    readonly budget: number
    readonly standardDeviation: number
    readonly mean: number
  }[]
}

export function fairnessSummary(results: readonly GameResult[]): FairnessSummary {
  const of = (start: string): readonly GameResult[] => results.filter(({ id }) => id.startsWith(start))
  return {
    rows: GAME_ROWS.map(({ kind, label, paper }) => {
      const own = of(`figure2/${kind}/`)
      const read = (name: keyof GameResult): Estimate | undefined =>
        estimate(
          own.map((result) => Number(result[name])),
          `${kind} ${name}`,
        )
      return {
        kind,
        label,
        ...(paper !== undefined && { paper }),
        fairnessIndex: read('fairnessIndex'),
        minShare: read('minShare'),
        rawJain: read('rawJain'),
        leaderLossPerS: read('leaderLossPerS'),
        socialLossPerS: read('socialLossPerS'),
      }
    }),
    byBudget: BUDGETS.map((budget) => {
      const index = of(`figure3/${budget}/`).map(({ fairnessIndex }) => fairnessIndex)
      return { budget, mean: meanOf(index), median: medianOf(index) }
    }),
    byBreaks: BREAK_RATES.flatMap((breakRatePerS) =>
      BREAK_BUDGETS.map((budget) => {
        const index = of(`figure4/${breakRatePerS}/${budget}/`).map(({ fairnessIndex }) => fairnessIndex)
        return { breakRatePerS, budget, standardDeviation: deviationOf(index), mean: meanOf(index) }
      }),
    ),
  }
}

/** The tables as text. */
export function fairnessText({ rows, byBudget, byBreaks }: FairnessSummary): string {
  const text = (value: Estimate | undefined, digits = 3): string =>
    value === undefined
      ? '-'
      : `${value.mean.toFixed(digits)} [${value.low.toFixed(digits)}, ${value.high.toFixed(digits)}]`
  const lines = [
    'F_K over 10 s: median, mean [95 % interval]; least share; raw Jain; loss a second of the TSO and of all; the paper’s median',
  ]
  for (const row of rows) {
    const { label, paper = '-', fairnessIndex, minShare, rawJain, leaderLossPerS, socialLossPerS } = row
    const cells = [text(minShare), text(rawJain), text(leaderLossPerS, 2), text(socialLossPerS, 1), paper]
    lines.push(
      `  ${label.padEnd(22)} ${fairnessIndex?.median.toFixed(3) ?? '-'}, ${text(fairnessIndex)}; ${cells.join('; ')}`,
    )
  }
  lines.push('', 'F_K by iteration budget of LD-CP (paper: 0.70 at 5, 0.83-0.84 at 80-100)')
  for (const { budget, mean, median } of byBudget) {
    lines.push(`  ${String(budget).padStart(4)}  mean ${mean.toFixed(3)}, median ${median.toFixed(3)}`)
  }
  lines.push(
    '',
    'Standard deviation of F_K by break rate and budget (paper: below 0.04 at 60 iterations up to 0.003 /s)',
  )
  for (const { breakRatePerS, budget, standardDeviation, mean } of byBreaks) {
    lines.push(
      `  ${breakRatePerS} /s, ${budget} iterations: ${standardDeviation.toFixed(4)} (mean F_K ${mean.toFixed(3)})`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** Every run on a line. */
export function fairnessCsv(results: readonly GameResult[]): string {
  const [first] = results
  if (first === undefined) return ''
  const names = Object.keys(first) as (keyof GameResult)[]
  const lines = results.map((result) => names.map((name) => String(result[name] ?? '')).join(','))
  return `${[names.join(','), ...lines].join('\n')}\n`
}
