/**
 * `npm run bench -- sweep [RUNS] [KILLS]`: a sweep over Redis of 500 runs on two workers that are killed by SIGKILL at
 * random and replaced, and whether each run counted once. The same is then run on this machine without Redis and compared.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { killedSweep } from '../test/experiment/killed-sweep.ts'
import { machine } from './q3p/machine.ts'

const SCENARIO = 'scenarios/tiny.yaml'

export async function bench(args: readonly string[]): Promise<number> {
  const runs = Number(args[0] ?? 500)
  const kills = Number(args[1] ?? 20)
  process.stdout.write(`${machine()}\n${runs} runs of ${SCENARIO}, two workers, ${kills} SIGKILLs\n`)
  const begunMs = performance.now()
  const outcome = await killedSweep({ scenario: SCENARIO, runs, workers: 2, kills, killEveryMs: 4_000 })
  if (outcome === undefined) {
    process.stdout.write('no redis-server on this machine: nothing measured\n')
    return 1
  }
  const tookS = (performance.now() - begunMs) / 1000
  const distinct = new Set(outcome.ids).size
  const folder = mkdtempSync(join(tmpdir(), 'q104-local-'))
  const bin = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
  const local = ['experiment', 'runs', '--scenario', SCENARIO, '--runs', `${runs}`, '--out', folder]
  execFileSync(process.execPath, [bin, ...local], { stdio: 'ignore' })
  const isSame = readFileSync(join(folder, 'metrics.json'), 'utf8') === outcome.metrics
  rmSync(folder, { recursive: true, force: true })
  process.stdout.write(
    `${tookS.toFixed(0)} s, exit code ${outcome.exitCode}, ${outcome.killed} workers killed; ${outcome.ids.length} runs counted, ` +
      `${distinct} distinct, ${outcome.csvLines} lines of CSV; metrics.json as without Redis: ${isSame ? 'identical' : 'DIFFERENT'}\n`,
  )
  return outcome.ids.length === runs && distinct === runs && isSame ? 0 : 1
}
