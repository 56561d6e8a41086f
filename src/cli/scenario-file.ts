import { readFile } from 'node:fs/promises'
import { parseScenario, type Scenario, ScenarioError } from '../experiment/index.ts'
import { CliError } from './errors.ts'

/** Reads and checks a scenario file. @throws CliError with every problem, one a line. */
export async function loadScenario(file: string): Promise<Scenario> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new CliError(`${file}: cannot be read (${error.code})`)
    throw error
  }
  try {
    return parseScenario(text, file)
  } catch (error) {
    if (error instanceof ScenarioError) throw new CliError(`the scenario is not valid\n${error.message}`)
    throw error
  }
}
