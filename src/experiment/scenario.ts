/** Reads a scenario file: YAML, schema and checks, with every problem told at once. */

import type { ChainsSource } from './chains-source.ts'
import { checkScenario } from './scenario-check.ts'
import { type Finding, findingsOf, mended } from './scenario-issues.ts'
import { type Scenario, ScenarioSchema } from './scenario-schema.ts'
import { type Path, type Problem, ScenarioError, ScenarioSource } from './scenario-source.ts'

/**
 * A scenario with all its defaults.
 *
 * @param text The file's content, YAML 1.2.
 * @param fileName As problems shall name it.
 * @param chains The chains of the file that the scenario names, in place of its own.
 * @throws ScenarioError with every problem, one a line, in the order of the file.
 */
export function parseScenario(text: string, fileName: string, chains?: ChainsSource): Scenario {
  const source = new ScenarioSource(text, fileName)
  const findings: Finding[] = []
  let value = chains === undefined ? source.value : { ...Object(source.value), chains: chains.value }
  let parsed = ScenarioSchema.safeParse(value)
  // The checks behind the schema see a mended copy, so that one misspelt key does not hide the other problems. What only
  // comes to light through the mending is not the author's problem and not told.
  for (let round = 0; !parsed.success && round < MAX_MENDING_ROUNDS; round += 1) {
    const found = findingsOf(parsed.error.issues, value)
    if (round === 0) findings.push(...found)
    value = mended(value, found)
    parsed = ScenarioSchema.safeParse(value)
  }
  const told = findings.map(({ problem }) => problem.path)
  const checked = (parsed.success ? checkScenario(parsed.data) : []).filter(
    ({ path, because = [] }) => !told.some((wrong) => [path, ...because].some((other) => isAt(other, wrong))),
  )
  const problems = [...source.duplicates, ...findings.map(({ problem }) => problem), ...checked]
  const ofChainsFile = chains?.problems ?? []
  if (problems.length + ofChainsFile.length === 0 && parsed.success) return parsed.data
  const sorted = problems.toSorted((a, b) => source.offsetOf(a) - source.offsetOf(b))
  const report = (problem: Problem): string =>
    chains !== undefined && problem.path[0] === 'chains' ? chains.report(problem) : source.report(problem)
  const lines = [...ofChainsFile, ...sorted.slice(0, MAX_PROBLEMS).map(report)]
  const more = sorted.length - MAX_PROBLEMS
  throw new ScenarioError(more > 0 ? [...lines, `${fileName}: and ${more} more problems`] : lines)
}

const MAX_MENDING_ROUNDS = 4
/** Problems told one by one; a file with more has one cause. */
const MAX_PROBLEMS = 100

/** Whether a path is the other or leads into it. */
function isAt(path: Path, wrong: Path): boolean {
  return wrong.every((step, index) => path[index] === step)
}
