/** Chains that stand in a file of their own, which a scenario names by `chains: { file: NAME }`. */
import { type Problem, pathText, ScenarioSource } from './scenario-source.ts'

/** The chains that were found there, and how a problem of them is told: with file and place. */
export type ChainsSource = {
  readonly value: unknown
  /** `problem.path` begins with `chains`. */
  readonly report: (problem: Problem) => string
  /** Problems of the file itself. */
  readonly problems: readonly string[]
}

/** The file that a scenario names for its chains, as it is written there; undefined: none. */
export function chainsFileOf(text: string, fileName: string): string | undefined {
  const { value } = new ScenarioSource(text, fileName)
  const chains = typeof value === 'object' && value !== null && 'chains' in value ? value.chains : undefined
  if (typeof chains !== 'object' || chains === null || Object.keys(chains).length !== 1) return undefined
  return 'file' in chains && typeof chains.file === 'string' ? chains.file : undefined
}

/** Chains of a YAML file: a list, or a mapping with `chains`. @throws ScenarioError when it is no YAML. */
export function yamlChains(text: string, fileName: string): ChainsSource {
  const source = new ScenarioSource(text, fileName)
  const { value, duplicates } = source
  const isMapping = typeof value === 'object' && value !== null && 'chains' in value
  const report = (problem: Problem): string =>
    source.report(isMapping ? problem : { ...problem, path: problem.path.slice(1) })
  return {
    value: isMapping ? value.chains : value,
    report,
    problems: duplicates.map((problem) => source.report(problem)),
  }
}

/** Chains that a program gave. */
export function plainChains(value: unknown, fileName: string): ChainsSource {
  const report = ({ path, message, found, expected }: Problem): string =>
    `${fileName}: ${pathText(path)}: ${message}, found ${found}, expected ${expected}`
  return { value, report, problems: [] }
}
