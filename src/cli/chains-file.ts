/** Reads the file of chains that a scenario names: YAML, or TypeScript, which is run apart and may give values only. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ChainsSource, plainChains, yamlChains } from '../experiment/index.ts'
import { CliError } from './errors.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const COMPILER = join(ROOT, 'node_modules', 'typescript', 'lib', 'tsc.js')
const DSL = join(ROOT, 'build', 'src', 'experiment', 'chain-dsl.js')
const TIMEOUT_MS = 20_000
const MAX_OUTPUT_BYTES = 8 << 20
/** Prints the list that the module exports. */
const RUNNER = `
const { chains } = await import(process.argv[2])
process.stdout.write(JSON.stringify(chains ?? null))
`

/** The chains of a file; `file` is relative to the folder of the scenario. @throws CliError if it cannot be used. */
export async function loadChains(file: string, scenarioFile: string): Promise<ChainsSource> {
  const path = resolve(dirname(scenarioFile), file)
  const kind = extname(path)
  if (kind === '.ts') return plainChains(await chainsOfProgram(path), file)
  if (kind !== '.yaml' && kind !== '.yml') {
    throw new CliError(`${scenarioFile}: chains.file: found '${file}', expected a file that ends in .yaml, .yml or .ts`)
  }
  try {
    return yamlChains(await readFile(path, 'utf8'), file)
  } catch (error) {
    throw asCliError(error, file)
  }
}

/**
 * What a TypeScript file exports as `chains`. It is compiled by itself, without a check of its types (the values are
 * checked), and run in a process of its own that may read its own folder and nothing else, and write nothing.
 */
async function chainsOfProgram(path: string): Promise<unknown> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'q104-chains-')))
  try {
    await readFile(path).catch((error: unknown) => {
      throw asCliError(error, path)
    })
    const options = ['--ignoreConfig', '--noCheck', '--noResolve', '--module', 'esnext', '--target', 'es2022']
    await run([COMPILER, ...options, '--rootDir', dirname(path), '--outDir', dir, path], path)
    const library = join(dir, 'node_modules', 'q104')
    await mkdir(library, { recursive: true })
    await cp(DSL, join(library, 'index.js'))
    const modules = JSON.stringify({ type: 'module', exports: './index.js' })
    await Promise.all([
      writeFile(join(library, 'package.json'), modules),
      writeFile(join(dir, 'package.json'), modules),
      writeFile(join(dir, 'runner.js'), RUNNER),
    ])
    const module = join(dir, `${basename(path, '.ts')}.js`)
    const text = await run(
      ['--no-warnings', permissionFlag(), `--allow-fs-read=${dir}/*`, join(dir, 'runner.js'), module],
      path,
    )
    return JSON.parse(text)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** The name it has in this version of Node. */
function permissionFlag(): string {
  return process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
}

/** Runs Node; its standard output. @throws CliError with what it complains of. */
function run(args: readonly string[], path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: {}, timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, encoding: 'utf8' } as const
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const said = error.killed === true ? `not done after ${TIMEOUT_MS / 1000} s` : complaintOf(`${stdout}\n${stderr}`)
      reject(new CliError(`${path}: cannot be used as a file of chains: ${said}`))
    })
  })
}

/** The line that says what is wrong. */
function complaintOf(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  return lines.find((line) => /error|Error/.test(line))?.trim() ?? lines[0] ?? 'it ended without a word'
}

function asCliError(error: unknown, file: string): unknown {
  if (error instanceof Error && 'code' in error) return new CliError(`${file}: cannot be read (${error.code})`)
  return error
}
