/**
 * Labs killed as they come up, and made again: `npm run bench -- netns-cycles [options]`. Afterwards nothing may be left of
 * them: no namespace, veth, process or file.
 */
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type CycleSetting, killCycles, NOTHING_LEFT } from '../test/netns/kill-cycles.ts'

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
const NOBODY = 65_534

/**
 * Exit code 1 if anything is left, or a cycle did not come up. Options: --cycles N (100), --scenario FILE
 * (scenarios/tiny.yaml), --kinds up,userns,run: `q104 up` as root, the same as nobody in a user namespace, `q104 run`.
 */
export async function bench(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cycles: { type: 'string', default: '100' },
      scenario: { type: 'string', default: 'scenarios/tiny.yaml' },
      kinds: { type: 'string', default: 'up,userns,run' },
    },
  })
  let failed = 0
  for (const kind of values.kinds.split(',')) {
    const dir = mkdtempSync(join(tmpdir(), 'q104-cycles-'))
    chmodSync(dir, 0o755)
    try {
      failed += await cyclesOf(kind, { cycles: Number(values.cycles), scenario: values.scenario, dir })
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }
  return failed === 0 ? 0 : 1
}

type Wanted = { readonly cycles: number; readonly scenario: string; readonly dir: string }

async function cyclesOf(kind: string, { cycles, scenario, dir }: Wanted): Promise<number> {
  const lab = `cyc${process.pid % 100_000}`
  const isNobody = kind === 'userns' && process.getuid?.() === 0
  const become = isNobody ? ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'] : []
  const folder = (name: string): string => {
    const path = mkdtempSync(join(dir, `${name}-`))
    if (isNobody) chownSync(path, NOBODY, NOBODY)
    return path
  }
  // What is kept in these two is counted; what a run is asked to write is not left behind.
  const [stateDir, tempDir, out] = [folder('state'), folder('tmp'), folder('out')]
  const q104 = (...words: readonly string[]): string[] => [...become, process.execPath, BIN, ...words]
  const isolation = kind === 'userns' ? 'userns' : 'netns'
  const up = q104('up', scenario, '--lab', lab, '--isolation', isolation)
  const run = q104('run', scenario, '--lab', lab, '--isolation', isolation, '--out', out, '--duration', '2s')
  const setting: CycleSetting = {
    ...{ lab, cycles, stateDirs: [stateDir], tempDirs: [tempDir] },
    env: { ...process.env, Q104_STATE_DIR: stateDir, TMPDIR: tempDir },
    killed: kind === 'run' ? run : up,
    // A run ends by itself; that the next one comes up is seen each time, that it ends well at the end.
    again: kind === 'run' ? undefined : up,
    wasUp: (output) => /^lab \S+ is up/m.test(output),
    last: kind === 'run' ? run : q104('down', lab),
    ...(kind === 'run' && { wholeMs: 8_000 }),
    down: q104('down', lab),
    onCycle: (done) => {
      if (done % 10 === 0) process.stderr.write(`${kind}: ${done} of ${cycles}\n`)
    },
  }
  const { outcomes, failures, left, veths, endCode, killedMs, tookMs } = await killCycles(setting)
  const notUp = outcomes.filter((outcome) => !outcome.isUp)
  const isClean = JSON.stringify(left) === JSON.stringify(NOTHING_LEFT) && veths === 0
  const spread = `killed ${Math.min(...killedMs).toFixed(0)} to ${Math.max(...killedMs).toFixed(0)} ms after its start`
  console.log(`${kind}: ${cycles} cycles in ${(tookMs / 1000).toFixed(0)} s, each ${spread}`)
  console.log(`  ${notUp.length} did not come up again, ${failures.length} failed before they were killed`)
  console.log(`  left: ${JSON.stringify({ ...left, veths })}; the end's exit code ${endCode}`)
  for (const output of [...notUp.map(({ output }) => output), ...failures].slice(0, 3)) console.log(output)
  return notUp.length + failures.length + (isClean ? 0 : 1) + (endCode === 0 ? 0 : 1)
}
