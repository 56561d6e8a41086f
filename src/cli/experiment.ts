import { CliError } from './errors.ts'
import { compareWorlds } from './experiment/fidelity.ts'
import { STUDY_HELP, STUDY_OPTIONS, seedsOf, studyRequest } from './experiment/request.ts'
import { runFairness } from './experiment/run-fairness.ts'
import { runStudy } from './experiment/run-study.ts'
import type { Command } from './main.ts'
import { parseChoice, parseDurationS, parseOptions } from './options.ts'
import { loadScenario } from './scenario-file.ts'

const OPTIONS = {
  ...STUDY_OPTIONS,
  lab: { type: 'string', default: 'fidelity' },
  isolation: { type: 'string' },
  duration: { type: 'string' },
} as const
const ISOLATIONS = ['netns', 'userns', 'loopback'] as const
/** Live runs take as long as they last. */
const FIDELITY_RUNS = 10

export const command: Command = {
  summary: 'repeat the paper’s studies in virtual time, with intervals, figures and a report',
  help: `
usage: q104 experiment STUDY [options]

${STUDY_HELP}

  fairness      S-4 and S-5 on the key stock of the 118-bus zones: figures 2, 3 and 4
  fidelity      scenarios/ieee39.yaml (or --scenario) with ${FIDELITY_RUNS} seeds in virtual time and live, and the differences with
                intervals; also --lab NAME, --isolation KIND and --duration 30s, as of q104 run

Exit code: 0 done, 1 a run was not valid or (fidelity) a difference is not within its bound, 2 bad input, 130 interrupted.

Example: ./q104 experiment table1 --runs 30 --seed 1 --workers 2`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const { lab, isolation: asked, duration, ...rest } = values
    const command = `q104 experiment ${args.join(' ')}`
    if (positionals[0] === 'fairness' && positionals.length === 1) {
      const unused = (['scenario', 'variants'] as const).find((option) => values[option] !== undefined)
      if (unused !== undefined) throw new CliError(`--${unused}: found with fairness, expected only with other studies`)
      const { seeds, workers, seed } = seedsOf(rest, 30)
      const out = values.out ?? `runs/experiment-fairness-${seed}`
      return await runFairness({ seeds, workers, out, command, json: values.json })
    }
    if (positionals[0] !== 'fidelity' || positionals.length > 1) {
      const { study, workers, out, json } = await studyRequest(rest, positionals)
      return await runStudy({ study, workers, out, json, command })
    }
    const scenario = await loadScenario(values.scenario ?? 'scenarios/ieee39.yaml')
    const { seeds, workers, seed } = seedsOf(rest, FIDELITY_RUNS)
    return await compareWorlds({
      scenario: { ...scenario, ...(duration !== undefined && { durationS: parseDurationS(duration, '--duration') }) },
      seeds,
      workers,
      out: values.out ?? `runs/experiment-fidelity-${seed}`,
      lab,
      ...(asked !== undefined && { isolation: parseChoice(asked, ISOLATIONS, '--isolation') }),
      command,
    })
  },
}
