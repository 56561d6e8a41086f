/** What `q104 experiment` and `q104 sweep` have in common: which study, on what, with how many runs. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { ablation, plainRuns, type Scenario, type Study, sensitivity, table1 } from '../../experiment/index.ts'
import { CliError } from '../errors.ts'
import { onePositional, parseChoice, parseCount } from '../options.ts'
import { loadScenario } from '../scenario-file.ts'

const STUDIES = ['table1', 'ablation', 'sensitivity', 'runs'] as const
/** Policies of S-3; the first is the one in the main rows. */
const POLICIES: readonly [Policy, ...Policy[]] = ['rolling', 'greedy']
const MAX_RUNS = 100_000
const MAX_WORKERS = 256
/** Runs of each variant of what a study does not identify. */
const VARIANT_RUNS = 10

type Policy = Scenario['scheduler']['policy']

export const STUDY_OPTIONS = {
  runs: { type: 'string' },
  workers: { type: 'string' },
  seed: { type: 'string' },
  scenario: { type: 'string' },
  variants: { type: 'string' },
  out: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const

/** The part of the help that tells of them. */
export const STUDY_HELP = `  table1        S-1, S-2 and S-3 on the IEEE 39-bus system beside the paper's Table I; figure 1
  ablation      S-3 with one part taken away: policy, paths, suites, the one stock
  sensitivity   S-1 to S-3 over fibre length, break rate, load and stock
  runs          the scenario as it stands, over many seeds

Every run is the lab itself in virtual time: all nodes, protocol, keys and the grid, deterministic by seed.

  --runs N          Monte Carlo runs a row (default 30)
  --seed N          first seed; the runs take N, N + 1, ... (default 1)
  --workers N       worker threads (default: the machine's processors); results do not depend on it
  --scenario FILE   scenario in place of scenarios/table1.yaml
  --variants N      runs of each variant of what table1 does not identify (default ${VARIANT_RUNS}; 0: none)
  --out DIR         where the files go (default runs/experiment-STUDY-SEED): report.html, table.txt, metrics.json (the same
                    for the same seeds, whatever the workers), runs.csv, figures/, about.json (command, version, times)
  --json            print the summary as JSON on stdout`

type Values = Readonly<Partial<Record<Exclude<keyof typeof STUDY_OPTIONS, 'json'>, string>>> & {
  readonly json: boolean
}

export type StudyRequest = {
  readonly study: Study
  readonly workers: number
  readonly out: string
  readonly seed: number
  readonly json: boolean
}

/** Reads the options and the scenario. @throws CliError. */
export async function studyRequest(values: Values, positionals: readonly string[]): Promise<StudyRequest> {
  const name = parseChoice(onePositional([...positionals], 'STUDY'), STUDIES, 'STUDY')
  const { seeds, seed, workers } = seedsOf(values, 30)
  const variantRuns = Math.min(seeds.length, inRange(values.variants, VARIANT_RUNS, 0, MAX_RUNS, '--variants'))
  const scenario = await loadScenario(values.scenario ?? 'scenarios/table1.yaml')
  return {
    study: studyOf(name, { scenario, seeds, variantRuns }),
    workers,
    seed,
    out: values.out ?? join('runs', `experiment-${name}-${seed}`),
    json: values.json,
  }
}

/** Seeds and workers that were asked for. @throws CliError. */
export function seedsOf(values: Pick<Values, 'runs' | 'seed' | 'workers'>, defaultRuns: number) {
  const runs = inRange(values.runs, defaultRuns, 1, MAX_RUNS, '--runs')
  const seed = inRange(values.seed, 1, 0, 999_999_999 - MAX_RUNS, '--seed')
  const workers = inRange(values.workers, availableParallelism(), 1, MAX_WORKERS, '--workers')
  return { seeds: Array.from({ length: runs }, (_, index) => seed + index), seed, workers }
}

type StudyTerms = { readonly scenario: Scenario; readonly seeds: readonly number[]; readonly variantRuns: number }

function studyOf(name: (typeof STUDIES)[number], { scenario, seeds, variantRuns }: StudyTerms): Study {
  switch (name) {
    case 'table1':
      return table1({ scenario, seeds, variantRuns, policies: POLICIES })
    case 'ablation':
      return ablation({ scenario, seeds, policies: POLICIES })
    case 'sensitivity':
      return sensitivity({ scenario, seeds, policy: POLICIES[0] })
    case 'runs':
      return plainRuns(scenario, seeds)
  }
}

/** A whole number within a range. @throws CliError. */
function inRange(text: string | undefined, otherwise: number, least: number, most: number, option: string): number {
  if (text === undefined) return otherwise
  const value = parseCount(text, option)
  if (value >= least && value <= most) return value
  throw new CliError(`${option}: found ${value}, expected ${least} to ${most}`)
}
