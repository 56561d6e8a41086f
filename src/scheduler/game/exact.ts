import { type Bounds, boundsOf } from './bounds.ts'
import { solveChoice } from './choice.ts'
import { prepare } from './choice-class.ts'
import { answerTo, type Frontier, frontierOf, grantClass } from './frontier.ts'
import {
  answerOf,
  type Choices,
  compileGame,
  type Game,
  type GameAnswer,
  GameError,
  type Options,
  type TieRule,
} from './model.ts'

/** What one solution leaves for the next: frontiers of followers that have not changed, and the last answer. */
export type ExactMemo = {
  readonly tie: TieRule
  readonly followers: readonly {
    readonly chains: readonly Options[]
    readonly capBits: number
    /** Whether the frontier is whole: one that was bounded serves its own tick only. */
    readonly whole: boolean
    readonly frontier: Frontier
  }[]
  readonly answer: GameAnswer
}

export type ExactOptions = {
  /** Default optimistic. */
  readonly tie?: TieRule
  /** Of the last tick. */
  readonly memo?: ExactMemo | undefined
  /** Whether frontiers of followers that are new or have changed are made only as far as bounds allow (default), or whole. */
  readonly bounded?: boolean
  /** States of one stage of the knapsack above which the answer is no longer proved; default 2^19. */
  readonly maxStates?: number
}

export type ExactResult = {
  readonly answer: GameAnswer
  readonly memo: ExactMemo
  /** Points of the followers' frontiers, and states of the leader's knapsack: how hard it was. */
  readonly points: readonly number[]
  readonly states: number
  readonly reusedFrontiers: number
}

/** A frontier is made for grants this much larger than the budget needs, so that it serves a later, larger one. */
const CAP_MARGIN = 1.25

/**
 * The bilevel optimum: every follower's integer answers as a Pareto frontier, then one multiple-choice knapsack over the
 * leader's chains and one super-item a follower. Frontiers are made only where the optimum may lie. The bound is proved unless `maxStates` cuts the search short.
 *
 * @throws GameError when the game makes no sense, or the lightest options alone exceed the budget.
 */
export function solveExact(game: Game, options: ExactOptions = {}): ExactResult {
  const { tie = 'optimistic', memo, maxStates, bounded = true } = options
  const compiled = compileGame(game)
  const leaders = compiled.leader.map(({ weights, view }) => prepare({ weights, costs: view }))
  // An answer of whole steps may be unkind to the leader where others tie with it: no bound for the pessimistic rule.
  const known = compiled.followers.map((chains, j) => {
    const old = memo?.tie === tie ? memo.followers[j] : undefined
    return old !== undefined && sameChains(chains, old.chains) ? old : undefined
  })
  const boundable = bounded && tie === 'optimistic' && known.includes(undefined)
  const bounds = boundable ? boundsOf(compiled, leaders, game.followerWeight) : undefined
  let reusedFrontiers = 0
  const followers = compiled.followers.map((chains, j) => {
    const old = known[j]
    if (old?.whole === true && compiled.budget <= old.capBits) {
      reusedFrontiers++
      return old
    }
    // Chains that have stayed as they were may stay so again: a whole frontier serves all these ticks.
    const whole = bounds === undefined || old !== undefined
    const capBits = Math.ceil(compiled.budget * (whole ? CAP_MARGIN : 1))
    return {
      chains,
      capBits,
      whole,
      frontier: frontierOf(chains, { capBits, tie, within: whole ? undefined : bounds?.within[j] }),
    }
  })
  const grants = followers.map(({ frontier, whole }, j) =>
    whole ? grantClass(frontier, compiled.floors[j] ?? 0) : boundedClass(frontier, bounds, j),
  )
  const warm = warmChoice(memo, game, followers, grants)
  const found = solveChoice(
    [...leaders, ...grants.map(({ klass }) => klass)],
    compiled.budget,
    maxStates === undefined ? { warm } : { warm, maxStates },
  )
  if (found === undefined) throw new GameError(`no answer fits ${compiled.budget} bits`)

  const points = grants.map(({ first }, j) => first + (found.choice[leaders.length + j] ?? 0))
  const answer = answerOf(game, {
    leader: [...found.choice.subarray(0, leaders.length)],
    followers: followers.map(({ frontier }, j) => frontier.choices(points[j] ?? 0)),
    grantsBits: followers.map(({ frontier }, j) =>
      Math.max(compiled.floors[j] ?? 0, frontier.weights[points[j] ?? 0] ?? 0),
    ),
    objectiveSteps: found.cost,
    lowerBoundSteps: found.lowerBound,
  })
  return {
    answer,
    memo: { tie, followers, answer },
    points: followers.map(({ frontier }) => frontier.weights.length),
    states: found.states,
    reusedFrontiers,
  }
}

/** The points that are no worse for the follower than its answer to the floor. */
function boundedClass({ weights, own, view }: Frontier, bounds: Bounds | undefined, j: number) {
  const first = Math.max(
    0,
    own.findIndex((loss) => loss <= (bounds?.mostOwn[j] ?? Infinity)),
  )
  return { klass: { weights: weights.subarray(first), costs: view.subarray(first) }, first }
}

/** The last answer in the terms of this knapsack: the leader's options, and each follower's answer to its last grant. */
function warmChoice(
  memo: ExactMemo | undefined,
  game: Game,
  followers: ExactMemo['followers'],
  grants: readonly { readonly first: number }[],
): Choices | undefined {
  if (memo === undefined || memo.answer.leader.length !== game.leader.chains.length) return undefined
  const points = followers.map(({ frontier }, j) => answerTo(frontier, memo.answer.grantsBits[j] ?? 0))
  return [...memo.answer.leader, ...points.map((point, j) => Math.max(0, point - (grants[j]?.first ?? 0)))]
}

function sameChains(a: readonly Options[], b: readonly Options[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ weights, own, view }, k) => {
      const other = b[k]
      return other !== undefined && same(weights, other.weights) && same(own, other.own) && same(view, other.view)
    })
  )
}

function same(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
