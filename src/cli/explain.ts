import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseRecords, type RecordedEvent } from '../runtime/index.ts'
import { CliError } from './errors.ts'
import { explanationAt } from './explain/explanation.ts'
import { explanationText } from './explain/explanation-text.ts'
import type { Command } from './main.ts'
import { onePositional, parseDurationS, parseOptions } from './options.ts'

export const command: Command = {
  summary: 'why the scheduler had each chain in its state at a time of a run',
  help: `
usage: q104 explain RUN --at TIME [--chain ID] [--json]

RUN is the folder of a run, or its events.jsonl. Shows the plan that held at TIME: the forecast of the key stock, what the
chains might use and what they did, the price of key and the rows of the problem that made it, what frequency and voltages
cost where they count, and for each chain what its options would have cost. Greedy and static plans have states and
reasons, but no prices.

  --at TIME    lab time, such as 12.3s
  --chain ID   this chain alone

Exit code 0: shown; 2: there is no such run, or nothing was planned yet at that time.

Example: ./q104 explain runs/ieee39-104 --at 12.3s`,
  async run(args) {
    const { positionals, values } = parseOptions(args, {
      at: { type: 'string' },
      chain: { type: 'string' },
      json: { type: 'boolean', default: false },
    })
    const path = onePositional(positionals, 'RUN')
    if (values.at === undefined) throw new CliError('--at is needed, such as --at 12.3s')
    const atMs = parseDurationS(values.at, '--at') * 1000
    const explanation = explanationAt(eventsOf(path), atMs)
    if (explanation === undefined) throw new CliError(`${path}: no plan was made until ${values.at}`)
    const { chain } = values
    const chosen =
      chain === undefined
        ? explanation
        : { ...explanation, chains: explanation.chains.filter(({ id }) => id === chain) }
    if (chosen.chains.length === 0 && chain !== undefined) throw new CliError(`${path}: there is no chain '${chain}'`)
    process.stdout.write(values.json ? `${JSON.stringify(chosen, null, 2)}\n` : explanationText(chosen))
    return 0
  },
}

function eventsOf(path: string): readonly RecordedEvent[] {
  if (!existsSync(path)) throw new CliError(`${path}: there is no such run`)
  const file = statSync(path).isDirectory() ? join(path, 'events.jsonl') : path
  if (!existsSync(file)) throw new CliError(`${file}: is not there`)
  try {
    return parseRecords(readFileSync(file, 'utf8'))
  } catch (error) {
    if (!(error instanceof Error)) throw error
    throw new CliError(`${file}: ${error.message}`)
  }
}
