import { type Game, lossOf, planAlone, solveExact, solveLdCp } from '../../src/scheduler/index.ts'
import { meanOf, progress, quantileOf, table, timed } from './figures.ts'
import { kktSolver } from './highs.ts'
import { randomGame } from './instances.ts'

const SIZES = [
  [15, 12],
  [30, 30],
  [60, 60],
] as const
/** HiGHS gets at most this long for one game, s. */
const KKT_LIMIT_S = 30
/** Games for HiGHS, which takes seconds on some. */
const KKT_GAMES = 8
/** Other games that every solver works on before the first that is measured; HiGHS, which takes long on each, on fewer. */
const WARM_UP_GAMES = 60
const WARM_UP_KKT_GAMES = 2
const WARM_UP_SEED = 10_000
const FLOORS = [0, 0.9] as const
const BUDGET_RATIO = 0.5
const FOLLOWER_WEIGHT = 0.5

/** Time and loss of all solvers on the same random games. */
export async function solvers(games: number): Promise<void> {
  const kkt = await kktSolver(KKT_LIMIT_S)
  const rows: string[][] = [
    [
      'chains, floor',
      'solver',
      'games',
      'p50 ms',
      'p95 ms',
      'median loss %',
      'worst loss %',
      'median of gain %',
      'remark',
    ],
  ]
  for (const [leaderChains, followers] of SIZES) {
    for (const floorRatio of FLOORS) {
      const gameOf = (seed: number) =>
        randomGame(seed, {
          leaderChains,
          followerChains: [followers, followers, followers],
          budgetRatio: BUDGET_RATIO,
          followerWeight: FOLLOWER_WEIGHT,
          floorRatio,
        })
      // A control centre plays twice a second for days: what is measured is code that has been compiled.
      for (let i = 0; i < WARM_UP_GAMES; i++) {
        progress(`${leaderChains}+3x${followers}, floor ${floorRatio}: warm-up ${i + 1} of ${WARM_UP_GAMES}`)
        measure(new Map(), gameOf(WARM_UP_SEED + i), i < WARM_UP_KKT_GAMES ? kkt : undefined)
      }
      const drawn = Array.from({ length: games }, (_, seed) => gameOf(seed))
      const measured = new Map<string, Measured>()
      for (const [i, game] of drawn.entries()) {
        progress(`${leaderChains}+3x${followers}, floor ${floorRatio}: game ${i + 1} of ${games}`)
        measure(measured, game, i < KKT_GAMES ? kkt : undefined)
      }
      progress('')
      for (const [name, all] of measured) rows.push(rowOf(`${leaderChains}+3x${followers}, ${floorRatio}`, name, all))
    }
  }
  console.log(
    `\nrandom games, budget ${BUDGET_RATIO} of full demand, omega ${FOLLOWER_WEIGHT}; loss above the proved optimum;`,
  )
  console.log('of gain: that loss as a part of what the game can gain over an equal split')
  table(rows)
}

type Measured = { cpuMs: number[]; loss: number[]; ofGain: number[]; remarks: string[]; games: number }

function measure(
  into: Map<string, Measured>,
  game: Game,
  kkt: Awaited<ReturnType<typeof kktSolver>> | undefined,
): void {
  const note = (name: string): Measured => {
    const all = into.get(name) ?? { cpuMs: [], loss: [], ofGain: [], remarks: [], games: 0 }
    into.set(name, all)
    all.games++
    return all
  }
  const exact = timed(() => solveExact(game))
  const best = exact.result.answer.loss.objective
  const equal = equalSplit(game)
  const compare = (all: Measured, cpuMs: number, objective: number): void => {
    all.cpuMs.push(cpuMs)
    all.loss.push((100 * (objective - best)) / best)
    all.ofGain.push((100 * (objective - best)) / Math.max(1e-9, equal - best))
  }
  const cold = note('exact')
  compare(cold, exact.cpuMs, best)
  if (exact.result.answer.gap > 0) cold.remarks.push('not proved')

  // Ticks of a steady run: a little less key each, the chains as they were.
  let memo = exact.result.memo
  for (const [tick, name] of ['exact, second tick', 'exact, third tick'].entries()) {
    const ratio = 0.995 ** (tick + 1)
    const later = {
      ...game,
      budgetBits: Math.floor(ratio * game.budgetBits),
      followers: game.followers.map((each) => ({ ...each, floorBits: Math.floor(ratio * each.floorBits) })),
    }
    const { cpuMs, result } = timed(() => solveExact(later, { memo }))
    note(name).cpuMs.push(cpuMs)
    memo = result.memo
  }

  for (const form of ['improved', 'printed'] as const) {
    const { cpuMs, result } = timed(() => solveLdCp(game, { form, measureDistance: false }))
    const all = note(`LD-CP ${form}`)
    compare(all, cpuMs, result.answer.loss.objective)
    all.remarks.push(`${result.trace.length} rounds`)
  }
  if (kkt === undefined) return
  for (const form of ['tight', 'printed'] as const) {
    const { cpuMs, result } = timed(() => kkt(game, form))
    const all = note(`KKT ${form}, HiGHS`)
    if (result.answer === undefined) {
      all.cpuMs.push(cpuMs)
      all.remarks.push(result.status)
    } else compare(all, cpuMs, result.answer.loss.objective)
  }
}

/** Objective when every agent plans alone in a quarter of the budget. */
function equalSplit(game: Game): number {
  const agents = [game.leader, ...game.followers]
  const [leader = [], ...followers] = agents.map((agent) =>
    planAlone(agent, game.budgetBits / agents.length, game.riskPriceBits),
  )
  return lossOf(game, leader, followers).objective
}

function rowOf(size: string, name: string, { cpuMs, loss, ofGain, remarks, games }: Measured): string[] {
  const counted = [...new Set(remarks)].map(
    (remark) => `${remarks.filter((each) => each === remark).length} x ${remark}`,
  )
  const percent = (values: readonly number[], ratio: number) =>
    values.length === 0 ? '-' : quantileOf(values, ratio).toFixed(3)
  return [
    size,
    name,
    String(games),
    quantileOf(cpuMs, 0.5).toFixed(2),
    quantileOf(cpuMs, 0.95).toFixed(1),
    percent(loss, 0.5),
    percent(loss, 1),
    percent(ofGain, 0.5),
    counted.length > 0 ? counted.join(', ') : `mean ${meanOf(cpuMs).toFixed(1)} ms`,
  ]
}
