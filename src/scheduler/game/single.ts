import { solveChoice } from './choice.ts'
import { type Choices, compileChains, type Game, type GameAgent, GameError, lossOf } from './model.ts'

/** What an agent does alone with a budget: its integer optimum. @throws GameError when not even the lightest fits. */
export function planAlone(agent: GameAgent, budgetBits: number, riskPriceBits: number): Choices {
  const classes = compileChains(agent, riskPriceBits).map(({ weights, own }) => ({ weights, costs: own }))
  const found = solveChoice(classes, Math.floor(budgetBits))
  if (found === undefined) throw new GameError(`no states of ${agent.id} fit ${Math.floor(budgetBits)} bits`)
  return [...found.choice]
}

/** The social optimum: one planner sets all chains, whatever the followers would like; no floors. */
export type SocialOptimum = {
  readonly leader: Choices
  readonly followers: readonly Choices[]
  readonly social: number
}

/** @throws GameError when not even the lightest options fit. */
export function solveSocial(game: Game): SocialOptimum {
  const { leader, followers, riskPriceBits, budgetBits } = game
  const agents = [leader, ...followers]
  const classes = agents.flatMap((agent) =>
    compileChains(agent, riskPriceBits, ({ ownLoss, leaderLoss }) => ownLoss + leaderLoss),
  )
  const found = solveChoice(
    classes.map(({ weights, view }) => ({ weights, costs: view })),
    Math.floor(budgetBits),
  )
  if (found === undefined) throw new GameError(`no states fit ${Math.floor(budgetBits)} bits`)
  let from = 0
  const [first = [], ...rest] = agents.map(({ chains }) => {
    from += chains.length
    return [...found.choice.subarray(from - chains.length, from)]
  })
  return { leader: first, followers: rest, social: lossOf(game, first, rest).social }
}
