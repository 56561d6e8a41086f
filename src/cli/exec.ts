import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { commandIn } from '../../netns/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { asBadInput, labNamed } from './netlab/labs.ts'
import { parseOptions } from './options.ts'

const OPTIONS = { lab: { type: 'string' } } as const

export const command: Command = {
  summary: 'run a command in the place of a node of a lab',
  help: `
usage: q104 exec LAB/NODE -- COMMAND [ARGS]
       q104 exec [--lab LAB] NODE -- COMMAND [ARGS]

Runs a command in the node's network namespace, of a lab that is up or running, and ends with its exit code. The command ends
with the lab. NODE may be hub, which has the management network only.

Example: ./q104 exec tiny/cc -- ping -c 3 10.64.0.2`,

  async run(args) {
    const end = args.indexOf('--')
    const { values, positionals } = parseOptions(end === -1 ? args : args.slice(0, end), OPTIONS)
    const wanted = end === -1 ? [] : args.slice(end + 1)
    const [place, ...more] = positionals
    if (place === undefined) throw new CliError('LAB/NODE is needed, found nothing')
    if (end === -1 || more.length > 0) throw new CliError(`put -- before the command: q104 exec ${place} -- COMMAND`)
    if (wanted.length === 0) throw new CliError('a command is needed after --, found nothing')
    const slash = place.indexOf('/')
    const lab = slash === -1 ? values.lab : place.slice(0, slash)
    const { command, env } = await asBadInput(async () => commandIn(labNamed(lab), place.slice(slash + 1), wanted))
    return runInForeground(command, env)
  },
}

/** Ctrl-C in the terminal reaches the command, which may take it as it likes; we wait for its end. */
async function runInForeground(command: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  process.on('SIGINT', () => {})
  process.on('SIGQUIT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
  })
}
