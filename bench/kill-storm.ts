/**
 * `npm run bench -- kill-storm [--kills 50] [--seed 1] [--lab kill-storm]`: random SIGKILLs of key server, control centre and
 * gateway in one live lab (root, for network namespaces), and then `q104 audit` over what it has left.
 */
import { parseArgs } from 'node:util'
import { killStorm } from '../test/cli/kill-storm.ts'
import { machine, quantile } from './q3p/machine.ts'

/** Exit code 1 when key was used twice, the books do not balance, or no task went through between two kills. */
export async function bench(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      kills: { type: 'string', default: '50' },
      seed: { type: 'string', default: '1' },
      lab: { type: 'string', default: 'kill-storm' },
    },
  })
  const [kills, seed] = [Number(values.kills), Number(values.seed)]
  console.log(machine())
  const { recoveriesMs, printed, ...report } = await killStorm({
    lab: values.lab,
    kills,
    seed,
    gapMs: [1500, 5500],
    onKill: (index, victim) => console.log(`kill ${index} of ${kills}: ${victim}`),
  })
  const times = Float64Array.from(recoveriesMs)
  const [p50, p90, worst] = [0.5, 0.9, 1].map((ratio) => quantile(times, ratio).toFixed(0))
  console.log({ ...report, violations: report.violations.slice(0, 20) })
  console.log(`from a kill to the next task that goes through, ms: p50 ${p50}, p90 ${p90}, worst ${worst}`)
  const isGood = report.auditCode === 0 && report.booksBalanced && report.faults.length === 0
  if (!isGood) console.log(printed.slice(-6000))
  return isGood ? 0 : 1
}
