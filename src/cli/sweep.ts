import { CliError } from './errors.ts'
import { STUDY_HELP, STUDY_OPTIONS, studyRequest } from './experiment/request.ts'
import { runStudy } from './experiment/run-study.ts'
import type { Command } from './main.ts'
import { parseOptions } from './options.ts'

const OPTIONS = { ...STUDY_OPTIONS, redis: { type: 'string' }, name: { type: 'string' } } as const

export const command: Command = {
  summary: 'run a study on workers of many machines over Redis, or on this one without it',
  help: `
usage: q104 sweep STUDY [--redis URL] [options]

${STUDY_HELP}

  --redis URL       put the runs on this Redis, where q104 worker takes them; without it they run here, on --workers threads
  --name NAME       name of the sweep on Redis (default STUDY-SEED-RUNS); a sweep that was ended goes on under its name

Workers may come, go and be killed at any time; each run counts once. A worker that died is noticed after ten seconds.
The runs of a finished sweep are taken off the Redis again.

Exit code: 0 done, 1 a run was not valid, 2 bad input, 130 interrupted.

Example: ./q104 sweep runs --scenario scenarios/ieee39.yaml --runs 500 --redis redis://127.0.0.1:6379`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    const { redis, name, ...rest } = values
    const { study, workers, out, seed, json } = await studyRequest(rest, positionals)
    const sweep = name ?? `${study.name}-${seed}-${study.seeds.length}`
    if (!/^[\w.-]{1,64}$/.test(sweep)) throw new CliError(`--name: found '${sweep}', expected letters, digits, . _ -`)
    // A password in the URL stays out of every file.
    const command = `q104 sweep ${args.map((arg) => arg.replace(/\/\/[^@/]*@/, '//...@')).join(' ')}`
    return await runStudy({
      study,
      workers,
      out,
      json,
      command,
      ...(redis !== undefined && { over: { redis, sweep } }),
    })
  },
}
