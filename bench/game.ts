/**
 * `npm run bench -- game [solvers|fairness|iterations|breaks|lab|all] [--runs N]`: the TSO-DSO game.
 *
 * - solvers: exact, LD-CP (improved, printed) and HiGHS on the KKT form side by side, time (CPU) and loss
 * - fairness: F_K of S-4 (equal, by demand), S-5 (LD-CP, exact) and the social optimum on the key stock of the 118-bus zones
 * - iterations: F_K by iteration budget of LD-CP
 * - breaks: standard deviation of F_K over break rate and iteration budget
 * - lab: the 118-bus scenario in virtual time under each policy
 */
import { breaks, fairness, iterations } from './game/fairness.ts'
import { lab } from './game/lab.ts'
import { solvers } from './game/solvers.ts'
import { machine } from './q3p/machine.ts'

const PARTS = ['solvers', 'fairness', 'iterations', 'breaks', 'lab'] as const

export async function bench(args: readonly string[]): Promise<number> {
  const at = args.indexOf('--runs')
  const runs = at === -1 ? 30 : Number(args[at + 1])
  const [part = 'all'] = args.filter((arg, i) => !arg.startsWith('--') && (at === -1 || i !== at + 1))
  const known: readonly string[] = PARTS
  if (!(Number.isInteger(runs) && runs > 0) || (part !== 'all' && !known.includes(part))) {
    process.stderr.write(
      `usage: npm run bench -- game [${PARTS.join('|')}|all] [--runs N]   (N at least 1; default 30)\n`,
    )
    return 2
  }
  const wanted = (name: string) => part === 'all' || part === name
  console.log(`${new Date().toISOString().slice(0, 10)}, ${machine()}; times are CPU milliseconds of one thread`)
  if (wanted('solvers')) await solvers(runs)
  if (wanted('fairness')) fairness(runs)
  if (wanted('iterations')) iterations(runs)
  if (wanted('breaks')) breaks(runs)
  if (wanted('lab')) await lab()
  return 0
}
