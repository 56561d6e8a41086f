import { CliError } from './errors.ts'

/** A command of `./q104`: what `--help` says of it and what it does. `run` gives the exit code. */
export type Command = {
  readonly summary: string
  readonly help: string
  readonly run: (args: readonly string[]) => Promise<number>
}

/** Commands are loaded when they are used. */
const COMMANDS: ReadonlyMap<string, () => Promise<{ readonly command: Command }>> = new Map([
  ['run', () => import('./run.ts')],
  ['validate', () => import('./validate.ts')],
  ['schema', () => import('./schema.ts')],
  ['up', () => import('./up.ts')],
  ['status', () => import('./status.ts')],
  ['exec', () => import('./exec.ts')],
  ['link', () => import('./link.ts')],
  ['train', () => import('./train.ts')],
  ['down', () => import('./down.ts')],
  ['view', () => import('./view.ts')],
  ['audit', () => import('./audit.ts')],
  ['experiment', () => import('./experiment.ts')],
  ['replay', () => import('./replay.ts')],
  ['sweep', () => import('./sweep.ts')],
  ['worker', () => import('./worker.ts')],
  ['explain', () => import('./explain.ts')],
  ['doctor', () => import('./doctor.ts')],
  ['keyserver', () => import('./keyserver.ts')],
  ['kme', () => import('./kme.ts')],
  ['gateway', () => import('./gateway.ts')],
  ['client', () => import('./client.ts')],
  ['server', () => import('./server.ts')],
  ['decode', () => import('./decode.ts')],
  ['capture', () => import('./capture.ts')],
])

async function overview(): Promise<string> {
  const lines = ['q104: a SCADA emulator for grids protected by quantum key distribution', '', 'Commands:']
  for (const [name, load] of COMMANDS) lines.push(`  ${name.padEnd(10)} ${(await load()).command.summary}`)
  lines.push('', 'q104 COMMAND --help tells more.', 'Example: ./q104 run scenarios/ieee39.yaml --duration 30s', '')
  return lines.join('\n')
}

/** Runs the command line. Exit codes: 0 done, 1 failed or not valid, 2 bad input, 130 interrupted. */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(await overview())
    return name === undefined ? 2 : 0
  }
  const load = COMMANDS.get(name)
  if (load === undefined) {
    process.stderr.write(`q104: there is no command '${name}'; commands: ${[...COMMANDS.keys()].join(', ')}\n`)
    return 2
  }
  const { command } = await load()
  // What stands behind `--` is another program's.
  const own = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (own.includes('--help') || own.includes('-h')) {
    process.stdout.write(`${command.help.trim()}\n`)
    return 0
  }
  try {
    return await command.run(rest)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    process.stderr.write(`q104 ${name}: ${error.message}\n`)
    return 2
  }
}
