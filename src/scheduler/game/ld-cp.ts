/**
 * LD-CP: level decomposition with complementarity pruning, after the paper's section IV.
 *
 * Each round: the leader's decision is fixed and the followers' KKT systems are solved; of their complementarity pairs a
 * share is kept free (binary indicators), the rest is pruned, that is held on its side; the leader's problem with these
 * indicators and a proximal term on its states is solved; until the decision no longer moves or the budget is used up.
 *
 * The leader's problem is a mixed-integer programme over its own states and, for each follower, the assignments of
 * indicators that are consistent with some multiplier. With one budget row those are the steps of the follower's ladder
 * within a range, so it is solved exactly by the multiple-choice knapsack instead of a general solver.
 */
import { solveChoice } from './choice.ts'
import type { ChoiceClass } from './choice-class.ts'
import { solveExact } from './exact.ts'
import { frontierOf, grantClass } from './frontier.ts'
import { type Ladder, ladderOf, multiplierAt, relaxedLoss, stepsWithin, type Window, windowOf } from './ladder.ts'
import {
  answerOf,
  type Choices,
  type CompiledGame,
  compileGame,
  type Game,
  type GameAnswer,
  GameError,
  LOSS_STEPS,
  type Options,
} from './model.ts'

export type LdCpOptions = {
  /**
   * `printed`: 60 % of the pairs kept, the set only ever shrinks, constant proximal weight, the answer as it stands.
   * `improved` (default): all pairs kept and chosen anew each round, the proximal weight fades, and at the end
   * grants near those found are tried with the followers' integer answers. Every difference can be set on its own.
   */
  readonly form?: 'printed' | 'improved'
  /** Share of each follower's pairs that stay free, 0 to 1. */
  readonly pairsKept?: number
  /** Whether pairs that were pruned once stay so. */
  readonly shrinking?: boolean
  /** rho: loss for each squared change of a leader's state (0, 1, 2). */
  readonly proximalWeight?: number
  /** Factor on rho from round to round. */
  readonly proximalFade?: number
  /** Whether grants near those found are tried with the followers' integer answers at the end. */
  readonly polish?: boolean
  /** delta: change of the decision below which the rounds end. */
  readonly tolerance?: number
  readonly maxIterations?: number
  /** First decision; default, or where it does not fit: the budget split evenly, every agent at its best in its part. */
  readonly start?: { readonly leader: Choices; readonly grantsBits: readonly number[] } | undefined
  /** Whether to solve the game exactly as well, for the distance. Default true. */
  readonly measureDistance?: boolean
}

/** One round. */
export type LdCpRound = {
  readonly iteration: number
  /** Objective of the leader's new decision with the answers it expects. */
  readonly objective: number
  /** Norm of the change: leader's states, and grants as shares of the budget. */
  readonly change: number
  /** Largest complementarity gap of the followers' answers to the grants this round began with, relative to their loss. */
  readonly residual: number
  readonly pairsKept: number
  readonly pairs: number
  readonly grantsBits: readonly number[]
  /** lambda_j, loss per bit. */
  readonly multipliers: readonly number[]
}

export type LdCpResult = {
  readonly answer: GameAnswer
  readonly converged: boolean
  readonly trace: readonly LdCpRound[]
  /** Complementarity gap of the answer: own loss above that of the relaxed answer to the grant, worst follower, relative. */
  readonly residual: number
  /** (objective - exact) / |exact|; undefined when not measured. */
  readonly distance: number | undefined
}

const FORMS = {
  printed: { pairsKept: 0.6, shrinking: true, proximalWeight: 0.5, proximalFade: 1, polish: false },
  improved: { pairsKept: 1, shrinking: false, proximalWeight: 0.5, proximalFade: 0, polish: true },
} as const
const MAX_ITERATIONS = 100
/** How many steps of a follower's ladder around the agreed grant are tried with integer answers. */
const NEAR_STEPS = 4
const TOLERANCE = 1e-4

type Decision = { readonly leader: Choices; readonly steps: readonly number[]; readonly grants: readonly number[] }

/** Solves a game by LD-CP. @throws GameError when the game makes no sense, or the lightest options exceed the budget. */
export function solveLdCp(game: Game, options: LdCpOptions = {}): LdCpResult {
  const form = FORMS[options.form ?? 'improved']
  const { tolerance = TOLERANCE, maxIterations = MAX_ITERATIONS, measureDistance = true } = options
  const settings = {
    pairsKept: options.pairsKept ?? form.pairsKept,
    shrinking: options.shrinking ?? form.shrinking,
    fade: options.proximalFade ?? form.proximalFade,
  }
  const compiled = compileGame(game)
  const ladders = compiled.followers.map(ladderOf)
  let decision = startOf(game, compiled, ladders, options.start)
  let windows: readonly Window[] | undefined
  let rho = options.proximalWeight ?? form.proximalWeight
  let converged = false
  const trace: LdCpRound[] = []
  for (let iteration = 0; iteration < maxIterations && !converged; iteration++) {
    const found = ladders.map((ladder, j) => windowOf(ladder, decision.steps[j] ?? 0, settings.pairsKept))
    windows = settings.shrinking && windows !== undefined ? narrowed(windows, found) : found
    const next = leaderStep(game, compiled, ladders, { decision, windows, rho })
    const change = distanceBetween(game, decision, next, compiled.budget)
    trace.push({
      iteration,
      objective: objectiveOf(compiled, ladders, next) / LOSS_STEPS,
      change,
      residual: Math.max(0, ...ladders.map((ladder, j) => gapOf(ladder, decision, j))),
      pairsKept: windows.reduce((sum, { kept }) => sum + kept, 0),
      pairs: ladders.reduce((sum, { pairCount }) => sum + pairCount, 0),
      grantsBits: next.grants,
      multipliers: ladders.map((ladder, j) => multiplierAt(ladder, next.steps[j] ?? 0) / LOSS_STEPS),
    })
    converged = change < tolerance
    decision = next
    rho *= settings.fade
  }

  const settled = integerAnswers(compiled, ladders, decision)
  const polish = options.polish ?? form.polish
  const final = polish ? polished(compiled, refined(compiled, ladders, decision, settled)) : settled
  const objectiveSteps = costOf(compiled, final)
  const answer = answerOf(game, { ...final, objectiveSteps, lowerBoundSteps: relaxedBound(compiled) })
  const exact = measureDistance ? solveExact(game).answer.loss.objective : undefined
  return {
    answer,
    converged,
    trace,
    residual: Math.max(0, ...ladders.map((ladder, j) => answerGap(ladder, compiled, final, j))),
    distance:
      exact === undefined ? undefined : (answer.loss.objective - exact) / Math.max(1 / LOSS_STEPS, Math.abs(exact)),
  }
}

function startOf(
  game: Game,
  { leader, followers, floors, budget }: CompiledGame,
  ladders: readonly Ladder[],
  given: LdCpOptions['start'],
): Decision {
  const stepsAt = (offers: readonly number[]) =>
    ladders.map((ladder, j) => stepsWithin(ladder, Math.max(offers[j] ?? 0, floors[j] ?? 0)))
  if (given !== undefined && given.leader.length === leader.length && given.grantsBits.length === followers.length) {
    const steps = stepsAt(given.grantsBits)
    const grants = grantsAt(ladders, floors, steps)
    if (weightOf(leader, given.leader) + total(grants) <= budget) return { leader: given.leader, steps, grants }
  }
  // An even split; where floors leave the leader too little for that, the floors alone.
  for (const offers of [followers.map(() => budget / (followers.length + 1)), floors]) {
    const steps = stepsAt(offers)
    const grants = grantsAt(ladders, floors, steps)
    const own = solveChoice(
      leader.map(({ weights, view }) => ({ weights, costs: view })),
      budget - total(grants),
    )
    if (own !== undefined) return { leader: [...own.choice], steps, grants }
  }
  throw new GameError(`no answer to the game with leader ${game.leader.id} fits ${budget} bits`)
}

/** The leader's problem of one round, solved exactly. */
function leaderStep(
  game: Game,
  { leader, floors, budget }: CompiledGame,
  ladders: readonly Ladder[],
  round: { readonly decision: Decision; readonly windows: readonly Window[]; readonly rho: number },
): Decision {
  const { decision, windows, rho } = round
  const own: ChoiceClass[] = leader.map(({ weights, view }, l) => {
    const options = game.leader.chains[l]?.options ?? []
    const before = options[decision.leader[l] ?? 0]?.state ?? 0
    const moved = (i: number) => ((options[i]?.state ?? 0) - before) ** 2
    return { weights, costs: view.map((loss, i) => loss + Math.round(rho * LOSS_STEPS * moved(i))) }
  })
  const lows = ladders.map((ladder, j) => Math.max(windows[j]?.low ?? 0, stepsWithin(ladder, floors[j] ?? 0)))
  const grants = ladders.map((ladder, j) => {
    const [low, high] = [lows[j] ?? 0, (windows[j]?.high ?? 0) + 1]
    // At its floor a follower may use all of it.
    const weights = ladder.weights.slice(low, high).map((weight) => Math.max(weight, floors[j] ?? 0))
    return { weights, costs: ladder.view.slice(low, high) }
  })
  const warm = [...decision.leader, ...decision.steps.map((k, j) => k - (lows[j] ?? 0))]
  const found = solveChoice([...own, ...grants], budget, { warm })
  if (found === undefined) return decision
  const steps = ladders.map((_, j) => (lows[j] ?? 0) + (found.choice[own.length + j] ?? 0))
  return { leader: [...found.choice.subarray(0, own.length)], steps, grants: grantsAt(ladders, floors, steps) }
}

type Settled = {
  readonly leader: Choices
  readonly followers: readonly Choices[]
  readonly grantsBits: readonly number[]
}

/** What the followers really answer to the grants: after whole steps the relaxed answer, at a floor above it the integer optimum. */
function integerAnswers(compiled: CompiledGame, ladders: readonly Ladder[], decision: Decision): Settled {
  const followers = ladders.map((ladder, j) => {
    const [k, grant] = [decision.steps[j] ?? 0, decision.grants[j] ?? 0]
    return (ladder.weights[k] ?? 0) === grant ? ladder.choices(k) : answerAlone(compiled.followers[j] ?? [], grant)
  })
  return { leader: decision.leader, followers, grantsBits: decision.grants }
}

/**
 * The leader's problem once more, with the followers' integer answers to all grants within a few steps of those agreed
 * on, where the relaxed answers knew only whole steps.
 */
function refined(compiled: CompiledGame, ladders: readonly Ladder[], decision: Decision, settled: Settled): Settled {
  const { leader, followers, floors, budget } = compiled
  const near = followers.map((chains, j) => {
    const weights = ladders[j]?.weights ?? new Float64Array(1)
    const [k, floor] = [decision.steps[j] ?? 0, floors[j] ?? 0]
    const low = Math.max(floor, weights[Math.max(0, k - NEAR_STEPS)] ?? 0)
    const high = Math.max(floor, weights[Math.min(weights.length - 1, k + NEAR_STEPS)] ?? 0)
    const frontier = frontierOf(chains, { capBits: high, tie: 'optimistic' })
    return { frontier, ...grantClass(frontier, low) }
  })
  const found = solveChoice(
    [...leader.map(({ weights, view }) => ({ weights, costs: view })), ...near.map(({ klass }) => klass)],
    budget,
  )
  if (found === undefined) return settled
  const points = near.map(({ first }, j) => first + (found.choice[leader.length + j] ?? 0))
  const better = {
    leader: [...found.choice.subarray(0, leader.length)],
    followers: near.map(({ frontier }, j) => frontier.choices(points[j] ?? 0)),
    grantsBits: near.map(({ frontier }, j) => Math.max(floors[j] ?? 0, frontier.weights[points[j] ?? 0] ?? 0)),
  }
  return costOf(compiled, better) < costOf(compiled, settled) ? better : settled
}

/** Offers what is left of the budget to one agent after the other, as long as the objective falls. */
function polished(compiled: CompiledGame, settled: Settled): Settled {
  const { leader, followers, budget } = compiled
  let now = settled
  for (;;) {
    const used = followers.map((chains, j) => weightOf(chains, now.followers[j] ?? []))
    const left = budget - weightOf(leader, now.leader) - total(used)
    const mine = solveChoice(
      leader.map(({ weights, view }) => ({ weights, costs: view })),
      budget - total(used),
      { warm: now.leader },
    )
    const candidates: Settled[] = mine === undefined ? [] : [{ ...now, leader: [...mine.choice] }]
    for (const [j, chains] of followers.entries()) {
      const grant = Math.max(now.grantsBits[j] ?? 0, (used[j] ?? 0) + left)
      const answer = answerAlone(chains, Math.min(grant, (used[j] ?? 0) + left))
      candidates.push({
        ...now,
        followers: now.followers.with(j, answer),
        grantsBits: now.grantsBits.with(j, Math.max(compiled.floors[j] ?? 0, weightOf(chains, answer))),
      })
    }
    const [best] = candidates.sort((a, b) => costOf(compiled, a) - costOf(compiled, b))
    if (best === undefined || costOf(compiled, best) >= costOf(compiled, now)) return now
    now = best
  }
}

function answerAlone(chains: readonly Options[], grant: number): Choices {
  const found = solveChoice(
    chains.map(({ weights, own }) => ({ weights, costs: own })),
    grant,
  )
  return found === undefined ? chains.map(lightest) : [...found.choice]
}

/** Bound on the objective: a leader that sets the followers' chains as well, states relaxed to fractions. */
function relaxedBound({ leader, followers, budget }: CompiledGame): number {
  const all = [...leader, ...followers.flat()].map(({ weights, view }) => ({ weights, own: view, view }))
  return Math.ceil(relaxedLoss(ladderOf(all), budget) - 0.25)
}

function costOf({ leader, followers }: CompiledGame, settled: Omit<Settled, 'grantsBits'>): number {
  return followers.reduce(
    (sum, chains, j) => sum + viewOf(chains, settled.followers[j] ?? []),
    viewOf(leader, settled.leader),
  )
}

function objectiveOf({ leader }: CompiledGame, ladders: readonly Ladder[], decision: Decision): number {
  return ladders.reduce(
    (sum, { view }, j) => sum + (view[decision.steps[j] ?? 0] ?? 0),
    viewOf(leader, decision.leader),
  )
}

/** Own loss of the whole steps above the relaxed answer to the grant, relative. */
function gapOf(ladder: Ladder, { steps, grants }: Decision, j: number): number {
  const own = ladder.own[steps[j] ?? 0] ?? 0
  return (own - relaxedLoss(ladder, grants[j] ?? 0)) / Math.max(LOSS_STEPS, Math.abs(own))
}

function answerGap(
  ladder: Ladder,
  { followers }: CompiledGame,
  { followers: answers, grantsBits }: Settled,
  j: number,
) {
  const chains = followers[j] ?? []
  const own = chains.reduce((sum, options, k) => sum + (options.own[answers[j]?.[k] ?? 0] ?? 0), 0)
  return (own - relaxedLoss(ladder, grantsBits[j] ?? 0)) / Math.max(LOSS_STEPS, Math.abs(own))
}

function distanceBetween(game: Game, a: Decision, b: Decision, budget: number): number {
  let squares = 0
  for (const [l, { options }] of game.leader.chains.entries()) {
    squares += ((options[a.leader[l] ?? 0]?.state ?? 0) - (options[b.leader[l] ?? 0]?.state ?? 0)) ** 2
  }
  for (const [j, grant] of a.grants.entries()) squares += ((grant - (b.grants[j] ?? 0)) / Math.max(1, budget)) ** 2
  return Math.sqrt(squares)
}

function narrowed(before: readonly Window[], found: readonly Window[]): readonly Window[] {
  return found.map((window, j) => ({
    low: Math.max(window.low, before[j]?.low ?? 0),
    high: Math.min(window.high, before[j]?.high ?? Infinity),
    kept: Math.min(window.kept, before[j]?.kept ?? Infinity),
  }))
}

function grantsAt(ladders: readonly Ladder[], floors: readonly number[], steps: readonly number[]): readonly number[] {
  return ladders.map(({ weights }, j) => Math.max(weights[steps[j] ?? 0] ?? 0, floors[j] ?? 0))
}

function lightest({ weights }: Options): number {
  return weights.indexOf(Math.min(...weights))
}

function weightOf(chains: readonly Options[], choices: Choices): number {
  return chains.reduce((sum, { weights }, k) => sum + (weights[choices[k] ?? 0] ?? 0), 0)
}

function viewOf(chains: readonly Options[], choices: Choices): number {
  return chains.reduce((sum, { view }, k) => sum + (view[choices[k] ?? 0] ?? 0), 0)
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}
