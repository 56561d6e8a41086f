import type { ChainState } from '../chain.ts'
import { type ChanceInput, sharedRow, spreadOf } from './chance.ts'
import { type ExactMemo, solveExact } from './exact.ts'
import { type LdCpOptions, solveLdCp } from './ld-cp.ts'
import { bitsOf, type Choices, demandOf, type Game, type GameAgent, mostBitsOf } from './model.ts'
import { planAlone, solveSocial } from './single.ts'
import { fullDemandBps, type GridTerms, gameChainOf, type TaskChain } from './terms.ts'

/** An agent as it stands at a tick. The first of a view leads. */
export type AgentView = {
  readonly id: string
  readonly chains: readonly TaskChain[]
  /** State of each chain now. */
  readonly states: readonly ChainState[]
}

export type GameView = {
  readonly agents: readonly AgentView[]
  /** What key there is: one entry for a shared pool, or one for each agent. */
  readonly stocks: readonly ChanceInput[]
  /** Time over which the states are planned to hold, s. */
  readonly windowS: number
  readonly terms: GridTerms
}

export type GameDecision = {
  /** Key each agent may plan with, at the risk price, bits. */
  readonly grantsBits: readonly number[]
  /** Of each agent's chains. */
  readonly states: readonly (readonly ChainState[])[]
  /** Rounds of an iterative solver. */
  readonly iterations?: number
}

/** Who gets how much key and which chains run: demands and stock in, grants and states out. Pure but for its own memory. */
export interface GamePolicy {
  readonly name: string
  /** How the pool is divided into stocks of the agents' own; undefined: it is shared. */
  shares(agents: readonly AgentView[]): readonly number[] | undefined
  decide(view: GameView): GameDecision
}

/** S-4: every agent plans alone in a fixed part of the pool, the same for all or by what it would take with the one-time pad. */
export class SplitPolicy implements GamePolicy {
  readonly name: string
  readonly #by: 'equal' | 'demand'
  readonly #spreads: number[] = []

  constructor(by: 'equal' | 'demand') {
    this.name = by === 'equal' ? 'S-4 equal split' : 'S-4 by demand'
    this.#by = by
  }

  shares(agents: readonly AgentView[]): readonly number[] {
    if (this.#by === 'equal') return agents.map(() => 1 / agents.length)
    return demandShares(agents)
  }

  decide(view: GameView): GameDecision {
    // The first plan only finds the spread of its own demand, which the chance row is made at.
    if (this.#spreads.length === 0) this.#decide(view)
    return this.#decide(view)
  }

  #decide(view: GameView): GameDecision {
    const shares = this.shares(view.agents)
    const plans = view.agents.map((agent, a) => {
      const [pool] = view.stocks
      const input = view.stocks.length > 1 ? view.stocks[a] : pool && scaled(pool, shares[a] ?? 0)
      if (input === undefined) return { grant: 0, states: agent.states }
      const planned = gameAgentOf(agent, a, view)
      const row = sharedRow(input, this.#spreads[a] ?? firstSpread(input))
      const choices = planAlone(planned, row.budgetBits, row.riskPriceBits)
      this.#spreads[a] = spreadOf(input, demandOf(planned, choices).varianceBits2)
      return { grant: row.budgetBits, states: statesOf(planned, choices) }
    })
    return { grantsBits: plans.map(({ grant }) => grant), states: plans.map(({ states }) => states) }
  }
}

export type StackelbergOptions = {
  readonly solver: 'exact' | 'ld-cp'
  /** omega; default 0.3. The printed game has 0. */
  readonly followerWeight?: number
  /** phi: each follower is granted at least this part of its share of the budget by demand, 0..1; default 0.95, printed 0. */
  readonly floorRatio?: number
  /** For the solver `ld-cp`. */
  readonly ldCp?: Omit<LdCpOptions, 'start' | 'measureDistance'>
  /** Whether a tick starts from the answer of the last; default true. */
  readonly warm?: boolean
}

const FOLLOWER_WEIGHT = 0.3
const FLOOR_RATIO = 0.95

/** S-5: the leader grants budgets and sets its own chains, followers answer; exact or by LD-CP. */
export class StackelbergPolicy implements GamePolicy {
  readonly name: string
  readonly #options: StackelbergOptions
  #spreadBits: number | undefined
  #memo: ExactMemo | undefined
  #start: LdCpOptions['start']

  constructor(options: StackelbergOptions) {
    this.name = options.solver === 'exact' ? 'S-5 exact' : `S-5 LD-CP ${options.ldCp?.form ?? 'improved'}`
    this.#options = options
  }

  shares(): undefined {
    return undefined
  }

  decide(view: GameView): GameDecision {
    // The first plan only finds the spread of its own demand, which the chance row is made at.
    if (this.#spreadBits === undefined) this.#decide(view)
    return this.#decide(view)
  }

  #decide(view: GameView): GameDecision {
    const { solver, followerWeight = FOLLOWER_WEIGHT, floorRatio = FLOOR_RATIO, ldCp, warm = true } = this.#options
    const { game, input } = gameOf(view, this.#spreadBits, { followerWeight, floorRatio })
    const solved =
      solver === 'exact'
        ? // Chains of a lab have few sizes and hence short frontiers: whole ones cost less than the bounds.
          solveExact(game, { memo: this.#memo, bounded: false })
        : solveLdCp(game, { ...ldCp, start: this.#start, measureDistance: false })
    const { answer } = solved
    if (warm) {
      if ('memo' in solved) this.#memo = solved.memo
      this.#start = { leader: answer.leader, grantsBits: answer.grantsBits }
    }
    const agents = [game.leader, ...game.followers]
    const choices = [answer.leader, ...answer.followers]
    this.#spreadBits = spreadOf(input, varianceOf(agents, choices))
    return {
      grantsBits: [game.budgetBits - answer.grantsBits.reduce((sum, bits) => sum + bits, 0), ...answer.grantsBits],
      states: agents.map((agent, a) => statesOf(agent, choices[a] ?? [])),
      ...('trace' in solved ? { iterations: solved.trace.length } : {}),
    }
  }
}

/** The social optimum: one planner for all chains, no floors; what the price of fairness is measured against. */
export class SocialPolicy implements GamePolicy {
  readonly name = 'social optimum'
  #spreadBits: number | undefined

  shares(): undefined {
    return undefined
  }

  decide(view: GameView): GameDecision {
    if (this.#spreadBits === undefined) this.#decide(view)
    return this.#decide(view)
  }

  #decide(view: GameView): GameDecision {
    const { game, input } = gameOf(view, this.#spreadBits, { followerWeight: 1, floorRatio: 0 })
    const found = solveSocial(game)
    const agents = [game.leader, ...game.followers]
    const choices = [found.leader, ...found.followers]
    this.#spreadBits = spreadOf(input, varianceOf(agents, choices))
    return {
      grantsBits: agents.map((agent, a) => bitsOf(agent, choices[a] ?? [], game.riskPriceBits)),
      states: agents.map((agent, a) => statesOf(agent, choices[a] ?? [])),
    }
  }
}

/** The game of a tick on a shared pool. @param spreadBits that of the last plan, undefined at first */
export function gameOf(
  view: GameView,
  spreadBits: number | undefined,
  { followerWeight, floorRatio }: { readonly followerWeight: number; readonly floorRatio: number },
): { readonly game: Game; readonly input: ChanceInput } {
  const input = pooled(view.stocks)
  const row = sharedRow(input, spreadBits ?? firstSpread(input))
  const shares = demandShares(view.agents)
  const [leader = { id: 'leader', chains: [] }, ...followers] = view.agents.map((agent, a) =>
    gameAgentOf(agent, a, view),
  )
  const game = {
    leader,
    followers: followers.map((agent, j) => {
      const most = mostBitsOf(agent, row.riskPriceBits)
      return { ...agent, floorBits: Math.min(most, Math.floor(floorRatio * (shares[j + 1] ?? 0) * row.budgetBits)) }
    }),
    followerWeight,
    budgetBits: row.budgetBits,
    riskPriceBits: row.riskPriceBits,
  }
  return { game, input }
}

/** Each agent's part of what all would take with the one-time pad. */
export function demandShares(agents: readonly AgentView[]): readonly number[] {
  const demands = agents.map(({ chains }) => chains.reduce((sum, chain) => sum + fullDemandBps(chain), 0))
  const all = demands.reduce((sum, demand) => sum + demand, 0)
  return demands.map((demand) => (all > 0 ? demand / all : 1 / agents.length))
}

/** An agent with the options of its chains; the one of index 0 leads. */
export function gameAgentOf(
  { id, chains, states }: AgentView,
  index: number,
  { windowS, terms }: Pick<GameView, 'windowS' | 'terms'>,
): GameAgent {
  const role = index === 0 ? 'leader' : 'follower'
  return { id, chains: chains.map((chain, l) => gameChainOf(chain, states[l] ?? 0, { windowS, terms, role })) }
}

function statesOf({ chains }: GameAgent, choices: Choices): readonly ChainState[] {
  return chains.map(({ options }, l) => options[choices[l] ?? 0]?.state ?? 0)
}

function varianceOf(agents: readonly GameAgent[], choices: readonly Choices[]): number {
  return agents.reduce((sum, agent, a) => sum + demandOf(agent, choices[a] ?? []).varianceBits2, 0)
}

/** A first guess of the spread: a tenth of what there is. */
export function firstSpread({ stockBits, supplyBits }: ChanceInput): number {
  return 0.1 * (stockBits + supplyBits.reduce((sum, bits) => sum + bits, 0))
}

/** A part of a pool: means by the part, deviations of sources that all share by the part as well. */
export function scaled(input: ChanceInput, part: number): ChanceInput {
  return {
    stockBits: part * input.stockBits,
    supplyBits: input.supplyBits.map((bits) => part * bits),
    supplyStdBits: input.supplyStdBits.map((bits) => part * bits),
    bufferBits: part * input.bufferBits,
    reserveBits: part * input.reserveBits,
    riskRatio: input.riskRatio,
  }
}

/** Separate stocks seen as one; their deviations are of the same links, so they add up. */
function pooled(stocks: readonly ChanceInput[]): ChanceInput {
  const [first, ...rest] = stocks
  if (first === undefined) throw new RangeError('a view needs a stock')
  return rest.reduce<ChanceInput>(
    (sum, stock) => ({
      stockBits: sum.stockBits + stock.stockBits,
      supplyBits: sum.supplyBits.map((bits, step) => bits + (stock.supplyBits[step] ?? 0)),
      supplyStdBits: sum.supplyStdBits.map((bits, step) => bits + (stock.supplyStdBits[step] ?? 0)),
      bufferBits: sum.bufferBits + stock.bufferBits,
      reserveBits: sum.reserveBits + stock.reserveBits,
      riskRatio: Math.min(sum.riskRatio, stock.riskRatio),
    }),
    first,
  )
}
