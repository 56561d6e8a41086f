import { type Choices, compileGame, type Game, type GameLoss, lossOf, type Options, type TieRule } from './model.ts'

/** The optimum of a game, found by trying everything. */
export type Enumerated = {
  readonly leader: Choices
  readonly followers: readonly Choices[]
  readonly grantsBits: readonly number[]
  readonly loss: GameLoss
  /** Objective in millionths, as the solvers count. */
  readonly steps: number
}

/**
 * Oracle for tiny games: every grant at which a follower's answer may change (its floor and every sum of key), the
 * answer by trying all its states, and every choice of the leader. Shares nothing with the solvers but the compiled
 * numbers. Undefined when nothing fits.
 */
export function enumerateGame(game: Game, tie: TieRule = 'optimistic'): Enumerated | undefined {
  const { leader, followers, floors, budget } = compileGame(game)
  const answers = followers.map((chains, j) => answersOf(chains, floors[j] ?? 0, tie))
  const own = allChoices(leader).map((choices) => ({ choices, ...sums(leader, choices) }))
  let best: { steps: number; leader: Choices; points: readonly Point[] } | undefined
  for (const points of product(answers)) {
    const weight = points.reduce((total, { weight }) => total + weight, 0)
    const view = points.reduce((total, { view }) => total + view, 0)
    for (const mine of own) {
      const steps = mine.view + view
      if (mine.weight + weight > budget || steps >= (best?.steps ?? Infinity)) continue
      best = { steps, leader: mine.choices, points }
    }
  }
  if (best === undefined) return undefined
  const chosen = best.points.map(({ choices }) => choices)
  return {
    leader: best.leader,
    followers: chosen,
    grantsBits: best.points.map(({ grant }) => grant),
    loss: lossOf(game, best.leader, chosen),
    steps: best.steps,
  }
}

type Sums = { readonly weight: number; readonly own: number; readonly view: number }
type Point = Sums & { readonly grant: number; readonly choices: Choices }

function answersOf(chains: readonly Options[], floor: number, tie: TieRule): readonly Point[] {
  const all = allChoices(chains).map((choices) => ({ choices, ...sums(chains, choices) }))
  const lightest = Math.min(...all.map(({ weight }) => weight))
  const grants = new Set([floor, ...all.map(({ weight }) => weight)].map((grant) => Math.max(grant, floor, lightest)))
  const sign = tie === 'optimistic' ? 1 : -1
  return [...grants].map((grant) => {
    const fitting = all.filter(({ weight }) => weight <= grant)
    const [first, ...rest] = fitting
    if (first === undefined) throw new RangeError('no state fits its own key')
    return rest.reduce<Point>(
      (best, one) => {
        const order = one.own - best.own || one.weight - best.weight || sign * (one.view - best.view)
        return order < 0 ? { ...one, grant } : best
      },
      { ...first, grant },
    )
  })
}

function sums(chains: readonly Options[], choices: Choices): Sums {
  let [weight, own, view] = [0, 0, 0]
  for (const [k, options] of chains.entries()) {
    const i = choices[k] ?? 0
    weight += options.weights[i] ?? 0
    own += options.own[i] ?? 0
    view += options.view[i] ?? 0
  }
  return { weight, own, view }
}

function allChoices(chains: readonly Options[]): readonly Choices[] {
  return product(chains.map(({ weights }) => [...weights.keys()]))
}

function product<T>(lists: readonly (readonly T[])[]): readonly (readonly T[])[] {
  return lists.reduce<readonly (readonly T[])[]>(
    (all, list) => all.flatMap((head) => list.map((item) => [...head, item])),
    [[]],
  )
}
