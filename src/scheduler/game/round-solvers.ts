/** How the leader settles a round, for each of the game's policies. Followers' chains are known by their offers only. */
import type { ChainState } from '../chain.ts'
import { sharedRow, spreadOf } from './chance.ts'
import { solveChoice } from './choice.ts'
import { type Frontier, grantClass } from './frontier.ts'
import type { RoundResult, RoundSolver, RoundTable, Seat } from './grant-leader.ts'
import type { GameSpec } from './lab-policy.ts'
import { type LdCpOptions, solveLdCp } from './ld-cp.ts'
import {
  bitsOf,
  type Choices,
  compileChains,
  demandOf,
  type Game,
  type GameAgent,
  GameError,
  LOSS_STEPS,
} from './model.ts'
import { scaled } from './policies.ts'
import { planAlone, solveSocial } from './single.ts'

/** The solver that a specification names; it keeps what one round leaves for the next. */
export function roundSolverOf(spec: GameSpec): RoundSolver {
  const { solver, followerWeight, floorRatio, ldCpForm = 'improved' } = spec
  switch (solver) {
    case 'equal':
    case 'demand':
      return splitSolver(solver)
    case 'ldCp':
      return ldCpSolver({ followerWeight, floorRatio, form: ldCpForm })
    case 'exact':
      return exactSolver({ followerWeight, floorRatio })
    case 'social':
      return { asks: 'chains', floorRatio: 0, solve: solveTogether }
  }
}

type Weights = { readonly followerWeight: number; readonly floorRatio: number }

/** S-5: one knapsack over the leader's chains and the followers' answers, which is `solveExact` with the frontiers as given. */
function exactSolver({ followerWeight, floorRatio }: Weights): RoundSolver {
  return {
    asks: 'points',
    floorRatio,
    solve({ leader, seats, budgetBits, riskPriceBits }) {
      const own = compileChains(leader, riskPriceBits, ({ ownLoss, leaderLoss }) => ownLoss + leaderLoss)
      const classes = seats.map((seat) => {
        const frontier = frontierOfSeat(seat, followerWeight)
        return { frontier, floorBits: seat.floorBits, ...grantClass(frontier, seat.floorBits) }
      })
      const found = solveChoice(
        [...own.map(({ weights, view }) => ({ weights, costs: view })), ...classes.map(({ klass }) => klass)],
        Math.floor(budgetBits),
      )
      if (found === undefined) throw new GameError(`no states of ${leader.id} fit beside the grants`)
      const grants = classes.map(({ frontier, floorBits, first }, j) => {
        const point = first + (found.choice[own.length + j] ?? 0)
        return { grantBits: Math.max(floorBits, frontier.weights[point] ?? 0), riskPriceBits }
      })
      return { states: statesOf(leader, [...found.choice.subarray(0, own.length)]), grants }
    },
  }
}

function frontierOfSeat({ answers }: Seat, followerWeight: number): Frontier {
  const points = answers.form === 'points' ? answers.points : []
  return {
    weights: Float64Array.from(points, ({ keyBits }) => keyBits),
    own: Float64Array.from(points, ({ ownLoss }) => Math.round(ownLoss * LOSS_STEPS)),
    view: Float64Array.from(points, ({ ownLoss, leaderLoss }) =>
      Math.round((followerWeight * ownLoss + leaderLoss) * LOSS_STEPS),
    ),
    choices: () => [],
  }
}

/** S-5 by LD-CP, from the decision of the last round while the same followers are at the table. */
function ldCpSolver({ followerWeight, floorRatio, form }: Weights & { form: 'improved' | 'printed' }): RoundSolver {
  let last: { readonly seats: string; readonly start: LdCpOptions['start'] } | undefined
  return {
    asks: 'chains',
    floorRatio,
    solve(table) {
      const game = gameOfTable(table, followerWeight)
      const seats = table.seats.map(({ id }) => id).join(' ')
      const start = last?.seats === seats ? last.start : undefined
      const { answer } = solveLdCp(game, { form, start, measureDistance: false })
      last = { seats, start: { leader: answer.leader, grantsBits: answer.grantsBits } }
      const { riskPriceBits } = table
      const grants = answer.grantsBits.map((grantBits) => ({ grantBits: Math.floor(grantBits), riskPriceBits }))
      return { states: statesOf(table.leader, answer.leader), grants }
    },
  }
}

/** The social optimum: one planner, whose states the followers are told. */
function solveTogether(table: RoundTable): RoundResult {
  const game = gameOfTable(table, 1)
  const found = solveSocial(game)
  const { riskPriceBits } = table
  const grants = game.followers.map((agent, j) => {
    const choices = found.followers[j] ?? []
    const grantBits = bitsOf(agent, choices, riskPriceBits)
    return { grantBits, riskPriceBits, states: statesOf(agent, choices) }
  })
  return { states: statesOf(table.leader, found.leader), grants }
}

/** S-4: everybody alone in a fixed part, at the spread of its own plan. */
function splitSolver(by: 'equal' | 'demand'): RoundSolver {
  let ownVarianceBits2 = 0
  return {
    asks: 'demand',
    floorRatio: 0,
    solve({ leader, seats, share, stock, agents }) {
      const partOf = (demandShare: number): number => (by === 'equal' ? 1 / agents : demandShare)
      const rowOf = (part: number, varianceBits2: number) => {
        const input = scaled(stock, part)
        return sharedRow(input, spreadOf(input, varianceBits2))
      }
      const own = rowOf(partOf(share), ownVarianceBits2)
      const choices = planAlone(leader, own.budgetBits, own.riskPriceBits)
      ownVarianceBits2 = demandOf(leader, choices).varianceBits2
      const grants = seats.map((seat) => {
        const { budgetBits, riskPriceBits } = rowOf(partOf(seat.share), seat.varianceBits2)
        return { grantBits: budgetBits, riskPriceBits }
      })
      return { states: statesOf(leader, choices), grants }
    },
  }
}

function gameOfTable({ leader, seats, budgetBits, riskPriceBits }: RoundTable, followerWeight: number): Game {
  const followers = seats.map(({ id, floorBits, answers }) => {
    const chains = answers.form === 'chains' ? answers.chains : []
    return { id, floorBits, chains: chains.map((options, l) => ({ id: `${id} ${l}`, options })) }
  })
  return { leader, followers, followerWeight, budgetBits, riskPriceBits }
}

function statesOf({ chains }: GameAgent, choices: Choices): readonly ChainState[] {
  return chains.map(({ options }, l) => options[choices[l] ?? 0]?.state ?? 0)
}
