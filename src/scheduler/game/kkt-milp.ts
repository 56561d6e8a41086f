/**
 * The single-level problem (33)-(35) as the paper forms it: the followers' KKT conditions in the leader's problem, with
 * big-M indicators, for a general mixed-integer solver. An oracle beside the solvers here, not one of them.
 *
 * The printed conditions are mended where they cannot hold: states are three binaries a chain (x (1 - x) = 0 excludes
 * x = 2) and multipliers have signs. KKT of the relaxation together
 * with integrality admit only grants at which the relaxed answer is integer, so the optimum of this problem can lie above
 * the bilevel optimum; it never lies below.
 */
import {
  answerOf,
  type Choices,
  type CompiledGame,
  compileGame,
  type Game,
  type GameAnswer,
  LOSS_STEPS,
  type Options,
} from './model.ts'

/** Key is written in thousands of bits, so that multipliers and losses are of like size. */
const KBIT = 1000
/** What a solver may leave of a binary. */
const HALF = 0.5

/**
 * `printed`: an indicator z_i for each pair, and one M for all dual conditions. `tight`: a state's own binary serves as the
 * indicator of its pair, with the least M that is valid for it, which solvers find far easier.
 */
export type KktForm = 'printed' | 'tight'

/** The problem in the LP file format (CPLEX), which HiGHS and others read. */
export function kktMilp(game: Game, form: KktForm = 'tight'): string {
  const compiled = compileGame(game)
  const { leader, followers, floors, budget } = compiled
  const lines: string[] = ['Minimize', ' obj:']
  const binaries: string[] = []
  const rows: string[] = []
  const bounds: string[] = []
  const row: string[] = []
  const choose = (name: string, options: Options): void => {
    const names = [...options.weights.keys()].map((i) => `${name}_${i}`)
    binaries.push(...names)
    rows.push(` one_${name}: ${names.map((each) => `+ ${each}`).join(' ')} = 1`)
    for (const [i, each] of names.entries()) {
      const view = (options.view[i] ?? 0) / LOSS_STEPS
      if (view !== 0) lines.push(` ${signed(view)} ${each}`)
      const weight = (options.weights[i] ?? 0) / KBIT
      if (weight !== 0) row.push(`${signed(weight)} ${each}`)
    }
  }
  for (const [l, options] of leader.entries()) choose(`x_${l}`, options)
  for (const [j, chains] of followers.entries()) {
    const steepest = steepestOf(chains)
    const used: string[] = []
    const common = Math.max(0, ...chains.flatMap((options) => mostOf(options, steepest)))
    for (const [l, options] of chains.entries()) {
      choose(`y_${j}_${l}`, options)
      bounds.push(` mu_${j}_${l} free`)
      for (const [i, weight] of options.weights.entries()) {
        const own = (options.own[i] ?? 0) / LOSS_STEPS
        if (weight !== 0) used.push(`${signed(weight / KBIT)} y_${j}_${l}_${i}`)
        const slack = `${signed(weight / KBIT)} lam_${j} - mu_${j}_${l}`
        const most = form === 'tight' ? mostReduced(options, i, steepest) : common
        rows.push(` dual_${j}_${l}_${i}: ${slack} >= ${-own}`)
        // The reduced cost is 0 where the state is taken.
        const state = `y_${j}_${l}_${i}`
        const indicator = form === 'tight' ? state : `z_${j}_${l}_${i}`
        rows.push(` pair_${j}_${l}_${i}: ${slack} ${signed(most)} ${indicator} <= ${most - own}`)
        if (form === 'tight') continue
        rows.push(` side_${j}_${l}_${i}: ${state} - ${indicator} <= 0`)
        binaries.push(indicator)
      }
    }
    const most = Math.max(1, budget) / KBIT
    rows.push(` grant_${j}: ${used.join(' ')} - b_${j} <= 0`)
    rows.push(` slack_${j}: b_${j} ${used.map(negated).join(' ')} - ${most} z_${j} <= 0`)
    rows.push(` price_${j}: lam_${j} + ${steepest} z_${j} <= ${steepest}`)
    bounds.push(` ${(floors[j] ?? 0) / KBIT} <= b_${j} <= ${most}`, ` 0 <= lam_${j} <= ${steepest}`)
    binaries.push(`z_${j}`)
  }
  rows.push(` shared: ${row.join(' ')} <= ${budget / KBIT}`)
  return [
    ...lines,
    'Subject To',
    ...rows,
    'Bounds',
    ...bounds,
    'Binary',
    ...binaries.map((name) => ` ${name}`),
    'End',
    '',
  ].join('\n')
}

/**
 * The answer in a solver's values.
 * @param value value of a variable by name
 * @param lowerBound the solver's bound on the objective
 */
export function kktAnswer(game: Game, value: (name: string) => number, lowerBound: number): GameAnswer {
  const compiled = compileGame(game)
  const taken = (name: string, chains: readonly Options[]): Choices =>
    chains.map((options, l) => [...options.weights.keys()].findIndex((i) => value(`${name}_${l}_${i}`) > HALF))
  const leader = taken('x', compiled.leader)
  const followers = compiled.followers.map((chains, j) => taken(`y_${j}`, chains))
  return answerOf(game, {
    leader,
    followers,
    grantsBits: followers.map((_, j) => Math.round(value(`b_${j}`) * KBIT)),
    objectiveSteps: objectiveOf(compiled, leader, followers),
    lowerBoundSteps: lowerBound * LOSS_STEPS,
  })
}

/** Largest own loss that one thousand bits may save: no multiplier is larger. */
function steepestOf(chains: readonly Options[]): number {
  let steepest = 0
  for (const { weights, own } of chains) {
    for (const [a, weight] of weights.entries()) {
      for (const [b, lighter] of weights.entries()) {
        if (weight <= lighter) continue
        const saved = ((own[b] ?? 0) - (own[a] ?? 0)) / LOSS_STEPS
        steepest = Math.max(steepest, saved / ((weight - lighter) / KBIT))
      }
    }
  }
  return steepest + 1
}

/** Largest reduced cost of an option for any multiplier: convex in it, so at one of its ends. */
function mostReduced({ weights, own }: Options, option: number, steepest: number): number {
  const at = (multiplier: number): number => {
    const priced = (i: number) => (own[i] ?? 0) / LOSS_STEPS + (multiplier * (weights[i] ?? 0)) / KBIT
    return priced(option) - Math.min(...[...weights.keys()].map(priced))
  }
  return Math.max(at(0), at(steepest))
}

function mostOf(options: Options, steepest: number): readonly number[] {
  return [...options.weights.keys()].map((i) => mostReduced(options, i, steepest))
}

function objectiveOf({ leader, followers }: CompiledGame, mine: Choices, answers: readonly Choices[]): number {
  const viewOf = (chains: readonly Options[], choices: Choices) =>
    chains.reduce((sum, { view }, k) => sum + (view[choices[k] ?? 0] ?? 0), 0)
  return followers.reduce((sum, chains, j) => sum + viewOf(chains, answers[j] ?? []), viewOf(leader, mine))
}

function signed(value: number): string {
  return value < 0 ? `- ${-value}` : `+ ${value}`
}

function negated(term: string): string {
  return term.startsWith('-') ? `+${term.slice(1)}` : `-${term.slice(1)}`
}
