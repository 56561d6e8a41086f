import highsLoader, { type Highs } from 'highs'
import { type Game, type GameAnswer, type KktForm, kktAnswer, kktMilp } from '../../src/scheduler/game/index.ts'

/** The package's declarations are CommonJS, what Node imports is its ES module: the default export is the loader itself. */
const load = highsLoader as unknown as () => Promise<Highs>

export type KktRun = { readonly status: string; readonly answer: GameAnswer | undefined }

/** Solves the KKT form (33)-(35) of games with HiGHS. */
export async function kktSolver(timeLimitS: number): Promise<(game: Game, form?: KktForm) => KktRun> {
  const highs = await load()
  return (game, form) => {
    const found = highs.solve(kktMilp(game, form), { time_limit: timeLimitS, mip_rel_gap: 1e-6, output_flag: false })
    if (found.Status !== 'Optimal') return { status: found.Status, answer: undefined }
    const value = (name: string) => {
      const column = found.Columns[name]
      return column !== undefined && 'Primal' in column ? column.Primal : 0
    }
    return { status: found.Status, answer: kktAnswer(game, value, found.ObjectiveValue) }
  }
}
