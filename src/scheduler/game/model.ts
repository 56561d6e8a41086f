import type { ChainState } from '../chain.ts'

/** What a chain costs and loses over the window of the game when it is in one state on one path. */
export type GameOption = {
  readonly state: ChainState
  /** Index into the chain's paths. */
  readonly path: number
  /** Key the chain is expected to take over the window, bits. */
  readonly meanBits: number
  /** Variance of that key (compound Poisson: kappa^2 lambda T), bits squared. */
  readonly varianceBits2: number
  /** Loss the chain's owner feels: (25) with the owner's local terms. */
  readonly ownLoss: number
  /** Loss the leader feels of a follower's chain, such as frequency support that is missing; 0 for the leader's own. */
  readonly leaderLoss: number
}

export type GameChain = { readonly id: string; readonly options: readonly GameOption[] }

export type GameAgent = { readonly id: string; readonly chains: readonly GameChain[] }

/** A follower, and the least key that the leader must grant it (fairness floor), bits. */
export type GameFollower = GameAgent & { readonly floorBits: number }

/**
 * The bilevel problem (31), (32) of one tick. The leader sets its own chains and grants b_j; follower j answers with the
 * states of least own loss whose key fits b_j. The leader minimises J^T + omega sum_j J^D_j.
 *
 * Key is counted at the risk price that the leader announces with the grants: an option weighs
 * `meanBits + riskPriceBits x varianceBits2`, whole bits, rounded up, which makes the chance row (32) linear (see
 * `sharedRow`). What counts against `budgetBits` is the key of the answers; what a follower leaves of its grant is not lost.
 */
export type Game = {
  readonly leader: GameAgent
  readonly followers: readonly GameFollower[]
  /** omega, weight of the followers' losses in the leader's objective. */
  readonly followerWeight: number
  /** Right side of the linear row, bits. */
  readonly budgetBits: number
  /** z / 2a, bits per bit squared. */
  readonly riskPriceBits: number
}

/** How a follower that is indifferent between answers of equal loss and equal key chooses: for or against the leader. */
export type TieRule = 'optimistic' | 'pessimistic'

/** The option taken by each chain of an agent: indices into `options`. */
export type Choices = readonly number[]

/** Losses of an answer, in the units of the options. */
export type GameLoss = {
  /** J^T: the leader's own chains and what it feels of the followers'. */
  readonly leader: number
  /** J^D_j. */
  readonly followers: readonly number[]
  /** J^T + omega sum_j J^D_j. */
  readonly objective: number
  /** J^T + sum_j J^D_j. */
  readonly social: number
}

/** An answer to a game. */
export type GameAnswer = {
  readonly leader: Choices
  readonly followers: readonly Choices[]
  /** Grants b_j, bits. */
  readonly grantsBits: readonly number[]
  /** Key of the followers' answers at the risk price, bits. */
  readonly usedBits: readonly number[]
  readonly leaderBits: number
  readonly loss: GameLoss
  /** No answer has a smaller objective than this. */
  readonly lowerBound: number
  /** (objective - lowerBound) / |objective|; 0: proved. */
  readonly gap: number
}

/** Losses are compared as whole millionths, so that equal losses are equal whatever the order of the sum. */
export const LOSS_STEPS = 1e6

/** The options of a chain as numbers to compute with. Losses in millionths, weights in whole bits. */
export type Options = {
  readonly weights: Float64Array
  /** Loss of the owner. */
  readonly own: Float64Array
  /** What the leader's objective counts. */
  readonly view: Float64Array
}

export type CompiledGame = {
  readonly leader: readonly Options[]
  readonly followers: readonly (readonly Options[])[]
  readonly floors: readonly number[]
  readonly budget: number
}

/** A game that makes no sense: the caller's mistake. */
export class GameError extends Error {
  override readonly name = 'GameError'
}

/** Key of an option at a risk price, whole bits. */
export function weightBits({ meanBits, varianceBits2 }: GameOption, riskPriceBits: number): number {
  return Math.ceil(meanBits + riskPriceBits * varianceBits2 - 1e-9)
}

/** @throws GameError when a chain has no option, a number is out of range, or the floors exceed the budget. */
export function compileGame(game: Game): CompiledGame {
  const { followerWeight, budgetBits, riskPriceBits } = game
  for (const [name, value] of Object.entries({ followerWeight, riskPriceBits })) {
    if (!(value >= 0 && Number.isFinite(value))) throw new GameError(`${name} must be 0 or more, not ${value}`)
  }
  if (Number.isNaN(budgetBits)) throw new GameError('budgetBits is not a number')
  const floors = game.followers.map(({ floorBits }) => Math.max(0, Math.floor(floorBits)))
  const budget = Math.floor(budgetBits)
  if (floors.reduce((sum, floor) => sum + floor, 0) > Math.max(0, budget)) {
    throw new GameError(`the floors ${floors.join(' + ')} exceed the budget of ${budget} bits`)
  }
  return {
    leader: compileChains(game.leader, riskPriceBits, ({ ownLoss, leaderLoss }) => ownLoss + leaderLoss),
    followers: game.followers.map((follower) =>
      compileChains(follower, riskPriceBits, ({ ownLoss, leaderLoss }) => followerWeight * ownLoss + leaderLoss),
    ),
    floors,
    budget,
  }
}

/** The chains of one agent; `view` says what the leader counts of an option. */
export function compileChains(
  agent: GameAgent,
  riskPriceBits: number,
  view: (option: GameOption) => number = ({ ownLoss }) => ownLoss,
): readonly Options[] {
  return agent.chains.map(({ id, options }) => {
    if (options.length === 0) throw new GameError(`chain ${id} of ${agent.id} has no option`)
    const count = options.length
    const compiled = { weights: new Float64Array(count), own: new Float64Array(count), view: new Float64Array(count) }
    for (const [i, option] of options.entries()) {
      const weight = weightBits(option, riskPriceBits)
      if (!(weight >= 0 && weight < 2 ** 31)) {
        throw new GameError(`chain ${id} of ${agent.id}: key of an option is out of range`)
      }
      compiled.weights[i] = weight
      compiled.own[i] = Math.round(option.ownLoss * LOSS_STEPS)
      compiled.view[i] = Math.round(view(option) * LOSS_STEPS)
    }
    return compiled
  })
}

/** What the leader's objective and all losses are for given choices. */
export function lossOf(game: Game, leader: Choices, followers: readonly Choices[]): GameLoss {
  const own = sumOf(game.leader, leader, ({ ownLoss, leaderLoss }) => ownLoss + leaderLoss)
  const felt = game.followers.map((agent, j) => sumOf(agent, followers[j] ?? [], ({ leaderLoss }) => leaderLoss))
  const losses = game.followers.map((agent, j) => sumOf(agent, followers[j] ?? [], ({ ownLoss }) => ownLoss))
  const leaderLoss = own + sum(felt)
  return {
    leader: leaderLoss,
    followers: losses,
    objective: leaderLoss + game.followerWeight * sum(losses),
    social: leaderLoss + sum(losses),
  }
}

/** Key of an agent's choices at a risk price, bits. */
export function bitsOf(agent: GameAgent, choices: Choices, riskPriceBits: number): number {
  return sumOf(agent, choices, (option) => weightBits(option, riskPriceBits))
}

/** Key of an agent's heaviest options at a risk price, bits. */
export function mostBitsOf(agent: GameAgent, riskPriceBits: number): number {
  const heaviest = agent.chains.map(({ options }) =>
    options.reduce((best, option, i) => (option.meanBits > (options[best]?.meanBits ?? 0) ? i : best), 0),
  )
  return bitsOf(agent, heaviest, riskPriceBits)
}

/** Mean and variance of the key of an agent's choices. */
export function demandOf(
  agent: GameAgent,
  choices: Choices,
): { readonly meanBits: number; readonly varianceBits2: number } {
  return {
    meanBits: sumOf(agent, choices, ({ meanBits }) => meanBits),
    varianceBits2: sumOf(agent, choices, ({ varianceBits2 }) => varianceBits2),
  }
}

/** Puts an answer together; objective and bound are given in millionths, as the solvers count. */
export function answerOf(
  game: Game,
  parts: {
    readonly leader: Choices
    readonly followers: readonly Choices[]
    readonly grantsBits: readonly number[]
    readonly objectiveSteps: number
    readonly lowerBoundSteps: number
  },
): GameAnswer {
  const { leader, followers, grantsBits, objectiveSteps, lowerBoundSteps } = parts
  const loss = lossOf(game, leader, followers)
  const above = Math.max(0, objectiveSteps - lowerBoundSteps)
  return {
    leader,
    followers,
    grantsBits,
    usedBits: game.followers.map((agent, j) => bitsOf(agent, followers[j] ?? [], game.riskPriceBits)),
    leaderBits: bitsOf(game.leader, leader, game.riskPriceBits),
    loss,
    lowerBound: loss.objective - above / LOSS_STEPS,
    gap: above / Math.max(1, Math.abs(objectiveSteps)),
  }
}

function sumOf(agent: GameAgent, choices: Choices, value: (option: GameOption) => number): number {
  let total = 0
  for (const [l, { options }] of agent.chains.entries()) {
    const option = options[choices[l] ?? 0]
    if (option !== undefined) total += value(option)
  }
  return total
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
