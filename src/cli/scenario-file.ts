import { access, constants, readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { chainsFileOf, parseScenario, type Scenario, ScenarioError } from '../experiment/index.ts'
import { loadChains } from './chains-file.ts'
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
    const chains = chainsFileOf(text, file)
    const scenario = parseScenario(text, file, chains === undefined ? undefined : await loadChains(chains, file))
    return await withFiles(scenario, file)
  } catch (error) {
    if (error instanceof ScenarioError) throw new CliError(`the scenario is not valid\n${error.message}`)
    throw error
  }
}

/** The scenario with the files it names found and readable; a name is relative to the scenario's folder. */
async function withFiles(scenario: Scenario, file: string): Promise<Scenario> {
  const { etsi014 } = scenario.keys
  if (etsi014 === undefined) return scenario
  const problems: string[] = []
  const find = async (name: string, place: string): Promise<string> => {
    const path = resolve(dirname(file), name)
    const found = await access(path, constants.R_OK).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code ?? 'error',
    )
    if (found !== undefined) problems.push(`${file}: ${place}: found ${path} (${found}), expected a file to read`)
    return path
  }
  const saeOf = async <Sae extends { ca: string; cert: string; key: string }>(
    sae: Sae,
    place: string,
  ): Promise<Sae> => {
    const [ca, cert, key] = await Promise.all([
      find(sae.ca, `${place}.ca`),
      find(sae.cert, `${place}.cert`),
      find(sae.key, `${place}.key`),
    ])
    return { ...sae, ca, cert, key }
  }
  const links = await Promise.all(
    etsi014.links.map(async (link, index) => {
      const place = `keys.etsi014.links[${index}]`
      const [master, slave] = [await saeOf(link.master, `${place}.master`), await saeOf(link.slave, `${place}.slave`)]
      return { ...link, master, slave }
    }),
  )
  if (problems.length > 0) throw new CliError(`the scenario is not valid\n${problems.join('\n')}`)
  return { ...scenario, keys: { ...scenario.keys, etsi014: { ...etsi014, links } } }
}
