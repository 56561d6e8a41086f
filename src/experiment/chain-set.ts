/** The chains of a running lab as one set: written out, checked against the scenario, and made ready for the master. */
import type { ChainSet, MasterConfig } from '../master/index.ts'
import { planOf } from './plan.ts'
import { entriesOf } from './plan-chains.ts'
import { waysOf } from './routes.ts'
import { checkScenario } from './scenario-check.ts'
import { findingsOf } from './scenario-issues.ts'
import { type Scenario, type ScenarioChain, ScenarioSchema } from './scenario-schema.ts'
import { type Path, type Problem, pathText } from './scenario-source.ts'

/** What is wrong with a chain, and where in what was given. */
export type ChainProblem = {
  readonly place: string
  readonly message: string
  readonly found: string
  readonly expected: string
}

export type CheckedChains =
  | { readonly kind: 'ok'; readonly scenario: Scenario }
  | { readonly kind: 'refused'; readonly problems: readonly ChainProblem[] }

/** The chains of a scenario as its file could list them: `auto` is written out. */
export function chainEntriesOf(scenario: Scenario): readonly ScenarioChain[] {
  return entriesOf(scenario, waysOf(scenario))
}

/**
 * The scenario with these chains in place of its own, or every problem of them.
 * @param value a list of chains, of any origin
 * @param prefix path that is left out of the problems' places: `['chains', 3]` when only that one was given
 */
export function withChains(scenario: Scenario, value: unknown, prefix: Path = ['chains']): CheckedChains {
  const candidate = { ...scenario, chains: value }
  const parsed = ScenarioSchema.safeParse(candidate)
  const problems = parsed.success
    ? checkScenario(parsed.data)
    : findingsOf(parsed.error.issues, candidate).map(({ problem }) => problem)
  if (parsed.success && problems.length === 0) return { kind: 'ok', scenario: parsed.data }
  return { kind: 'refused', problems: problems.map((problem) => chainProblem(problem, prefix)) }
}

/** What each master is told when its chains change: the chains, and the applications that use them. */
export function chainSetsOf(scenario: Scenario): ReadonlyMap<string, ChainSet> {
  return new Map(
    planOf(scenario).nodes.flatMap((node) => (node.kind === 'master' ? [[node.id, chainSetOf(node.config)]] : [])),
  )
}

function chainSetOf({ chains, agc, shedding, setpoints }: MasterConfig): ChainSet {
  return { chains, ...(agc && { agc }), ...(shedding && { shedding }), ...(setpoints && { setpoints }) }
}

function chainProblem({ path, message, found, expected }: Problem, prefix: Path): ChainProblem {
  const isWithin = prefix.every((step, index) => path[index] === step)
  const rest = isWithin ? path.slice(prefix.length) : path
  return { place: rest.length === 0 ? 'chain' : pathText(rest), message, found, expected }
}
