import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { fidelityText, parseScenario, runOf, type Study, scenarioOfVariant } from '../experiment/index.ts'
import { cryptoReady } from '../protocol/index.ts'
import { CliError } from './errors.ts'
import { runLive } from './experiment/live-run.ts'
import type { Command } from './main.ts'
import { onePositional, parseChoice, parseDurationS, parseOptions } from './options.ts'
import { version } from './version.ts'

const OPTIONS = {
  run: { type: 'string' },
  out: { type: 'string' },
  lab: { type: 'string', default: 'replay' },
  isolation: { type: 'string' },
  duration: { type: 'string' },
} as const
const ISOLATIONS = ['netns', 'userns', 'loopback'] as const

export const command: Command = {
  summary: 'run one of a study’s Monte Carlo runs live, on real sockets',
  help: `
usage: q104 replay FOLDER --run ROW/SEED [options]

Takes a run of a study (FOLDER is what q104 experiment or sweep has written), runs the same scenario with the same seed in
virtual time and live, each node a process on real sockets in real time, and prints both.

  --run ROW/SEED     which one, as in metrics.json, such as S-3/7
  --duration 240s    end it earlier (both worlds)
  --lab NAME         name of the lab (default replay)
  --isolation KIND   netns (root), userns (no root) or loopback; default: the strongest that works here
  --out DIR          where the live run's files go (default FOLDER/replay-ROW-SEED)

Exit code: 0 the live run is valid, 1 it is not, 2 bad input, 130 interrupted.

Example: ./q104 replay runs/experiment-table1-1 --run S-3/7`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const folder = onePositional(positionals, 'FOLDER')
    const [, row = '', digits = ''] = /^(.+)\/(\d+)$/.exec(values.run ?? '') ?? []
    if (row === '') throw new CliError(`--run: found '${values.run ?? 'nothing'}', expected ROW/SEED, such as S-3/7`)
    const seed = Number(digits)
    const isolation = values.isolation && parseChoice(values.isolation, ISOLATIONS, '--isolation')
    const read = await scenarioOf(join(folder, 'study.json'), row)
    const durationS = values.duration === undefined ? read.durationS : parseDurationS(values.duration, '--duration')
    const scenario = { ...read, seed, durationS }
    const interrupted = new AbortController()
    process.once('SIGINT', () => interrupted.abort())
    await cryptoReady
    const { metrics } = runOf(
      { id: `${row}/${seed}`, row, seed, scenario, variant: undefined },
      { version: version(), clockS: () => performance.now() / 1000 },
    )
    const out = values.out ?? join(folder, `replay-${row.replaceAll(/[^\w-]+/g, '-')}-${seed}`)
    const { lab } = values
    const signal = interrupted.signal
    const live = await runLive({
      scenario,
      out,
      lab,
      ...(isolation && { isolation }),
      isTold: true,
      interrupted: signal,
    })
    process.stdout.write(`\n${fidelityText([{ seed, virtual: metrics, live }])}\nfiles in ${out}\n`)
    return signal.aborted ? 130 : live.valid ? 0 : 1
  },
}

/** The scenario of a row as it was run. The file is checked like any scenario, for it may have been edited. */
async function scenarioOf(file: string, row: string) {
  let study: Partial<Study>
  try {
    study = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new CliError(`${file}: ${error instanceof Error ? error.message : 'cannot be read'}`)
  }
  const rows = Array.isArray(study.rows) ? study.rows : []
  const found = rows.find(({ id }) => id === row)
  if (found === undefined)
    throw new CliError(`--run: there is no row '${row}'; rows: ${rows.map(({ id }) => id).join(', ')}`)
  try {
    return parseScenario(
      stringify(found.variant ? scenarioOfVariant(found.scenario, found.variant) : found.scenario),
      file,
    )
  } catch (error) {
    throw new CliError(`${file}, row ${row}: ${error instanceof Error ? error.message : 'not a scenario'}`)
  }
}
