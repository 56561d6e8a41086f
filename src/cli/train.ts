import { access, constants, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { planOf, StockTrace, TRACE_KINDS, TRACE_STEP_MS } from '../experiment/index.ts'
import { formatWeights, hashOf, TRAINING, type TrainProgress, trainForecast } from '../forecast/index.ts'
import { randomStream } from '../sim/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { parseCount, parseOptions } from './options.ts'
import { loadScenario } from './scenario-file.ts'

const DEFAULT_SCENARIO = join('scenarios', 'ieee39.yaml')
const DEFAULT_RUNS = 36
const DEFAULT_SEED = 104
/** Length of a trace: five minutes. */
const STEPS = 3_000
const MAX_RUNS = 1_000

export const command: Command = {
  summary: 'train the forecast of the key stock',
  help: `
usage: q104 train [--scenario FILE] [--seed N] [--runs N] [--epochs N] [--out FILE]

Trains the networks that q104 forecasts the key stock with, on simulated traces: the link model of the scenario's QKD links
and traffic of its chains, from calm to short of key. The same seed and options give the same file, octet by octet.

  --scenario FILE  links, pool and chains (default ${DEFAULT_SCENARIO})
  --seed N         seed of traces and networks (default ${DEFAULT_SEED})
  --runs N         traces of five minutes each to learn from (default ${DEFAULT_RUNS}); others judge and calibrate
  --epochs N       how often all traces are gone through (default ${TRAINING.epochs})
  --out FILE       weights as JSON (default forecast-weights.json); FILE.ts writes the module that q104 ships with

Example: ./q104 train --scenario scenarios/ieee39.yaml --seed 104 --out forecast-weights.json`,
  async run(args) {
    const { values, positionals } = parseOptions(args, {
      scenario: { type: 'string', default: DEFAULT_SCENARIO },
      seed: { type: 'string', default: String(DEFAULT_SEED) },
      runs: { type: 'string', default: String(DEFAULT_RUNS) },
      epochs: { type: 'string', default: String(TRAINING.epochs) },
      out: { type: 'string', default: 'forecast-weights.json' },
    })
    if (positionals.length > 0) throw new CliError(`nothing but options is expected, found: ${positionals.join(' ')}`)
    const seed = parseCount(values.seed, '--seed')
    const runs = parseCount(values.runs, '--runs')
    const epochs = parseCount(values.epochs, '--epochs')
    if (runs < TRACE_KINDS.length || runs > MAX_RUNS)
      throw new CliError(`--runs: found ${runs}, expected ${TRACE_KINDS.length} to ${MAX_RUNS}`)
    if (epochs < 1 || epochs > 1_000) throw new CliError(`--epochs: found ${epochs}, expected 1 to 1000`)
    // Better said now than after minutes of training.
    await writing(values.out, access(dirname(values.out), constants.W_OK))
    const plan = planOf(await loadScenario(values.scenario))
    const scenarioHash = hashOf(await readFile(values.scenario, 'utf8'))
    const job = trainForecast({
      seed,
      runs,
      steps: STEPS,
      stepMs: TRACE_STEP_MS,
      trace(purpose, index) {
        const kind = TRACE_KINDS[index % TRACE_KINDS.length] ?? 'structured'
        return new StockTrace(plan, { kind, seed, name: `${purpose} ${index}` })
      },
      uniform(name) {
        const random = randomStream(seed, name)
        return () => random.uniform()
      },
      config: { scenario: plan.name, scenarioHash },
      training: { epochs },
    })
    const progress = new Progress()
    let step = job.next()
    for (; !step.done; step = job.next()) progress.show(step.value)
    progress.end()
    const text = formatWeights(step.value)
    await writing(values.out, writeFile(values.out, values.out.endsWith('.ts') ? moduleOf(text) : text))
    process.stdout.write(`${values.out}: ${Math.round(text.length / 1024)} KiB, seed ${seed}\n`)
    return 0
  },
}

/** The weights as a module of the program: JSON in a string, so that no tool lays it out anew. */
function moduleOf(text: string): string {
  return [
    '/** Weights of the forecast, written by `q104 train`; not to be edited. */',
    'export const SHIPPED_WEIGHTS =',
    `  '${text.trim()}'`,
    '',
  ].join('\n')
}

async function writing(file: string, done: Promise<void>): Promise<void> {
  try {
    await done
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new CliError(`${file}: cannot be written (${error.code})`)
    throw error
  }
}

/** Parts of the whole time that the phases take, roughly. */
const SHARES: Readonly<Record<TrainProgress['phase'], number>> = {
  traces: 0.04,
  'kalman+lstm': 0.46,
  'lstm alone': 0.36,
  calibration: 0.14,
}

/** Where the training is, on the error output: one line that is overwritten on a terminal, a line every ten seconds elsewhere. */
class Progress {
  readonly #beganMs = performance.now()
  #shownMs = -Infinity

  show({ phase, doneRatio, loss, validationLoss }: TrainProgress): void {
    const nowMs = performance.now()
    if (nowMs - this.#shownMs < (process.stderr.isTTY ? 200 : 10_000)) return
    this.#shownMs = nowMs
    let done = SHARES[phase] * doneRatio
    for (const [name, share] of Object.entries(SHARES)) {
      if (name === phase) break
      done += share
    }
    const spentS = (nowMs - this.#beganMs) / 1000
    const leftS = done > 0.01 ? `, about ${Math.round((spentS * (1 - done)) / done)} s left` : ''
    const losses = loss === undefined ? '' : `, loss ${loss.toFixed(4)}, validation ${(validationLoss ?? 0).toFixed(4)}`
    const line = `train: ${String(Math.round(100 * done)).padStart(3)} %, ${phase}${losses}${leftS}`
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }
}
