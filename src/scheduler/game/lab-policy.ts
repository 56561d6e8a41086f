import type { Chain, ChainState } from '../chain.ts'
import type { Decision, Plan, Policy, SchedulerView } from '../policy.ts'
import { stateOfSuite } from '../policy.ts'
import {
  aesDemandBps,
  agentViewOf,
  CHAINS_ALONE,
  ChainPlaces,
  decisionOf,
  type LabTerms,
  type Place,
  stockOf,
} from './lab-terms.ts'
import { type GamePolicy, SocialPolicy, SplitPolicy, StackelbergPolicy } from './policies.ts'

/** Which chains are an agent's: those of its task types, and those whose first path goes through one of its nodes. */
export type AgentSpec = {
  readonly id: string
  readonly nodes: readonly string[]
  readonly taskTypes: readonly string[]
}

/** What a scenario says of the game. */
export type GameSpec = {
  /** `equal`, `demand`: S-4. `ldCp`, `exact`: S-5. `social`: one planner for all. */
  readonly solver: 'equal' | 'demand' | 'ldCp' | 'exact' | 'social'
  /** The first leads. A chain is the first agent's that claims it; one that nobody claims is the leader's. */
  readonly agents: readonly AgentSpec[]
  /** omega, weight of the followers' losses in the leader's objective. */
  readonly followerWeight: number
  /** phi, part of its share by demand that each follower is granted at least. */
  readonly floorRatio: number
  /** eps of the shared chance row. */
  readonly riskRatio: number
  /** Of `ldCp`; default improved. */
  readonly ldCpForm?: 'improved' | 'printed'
  /** Between control centres: time from round to round, s (default 0.5). */
  readonly roundS?: number
  /** How long a round waits for offers, s (default 0.2). */
  readonly patienceS?: number
  /** Age from which an offer or a grant counts no longer, s (default 5). */
  readonly holdS?: number
}

export type LabGameOptions = {
  readonly spec: GameSpec
  /** Window of the game, s; whole seconds, at least 1. */
  readonly horizonS: number
  /** Time for which a chain stays on an alternative path, ms. */
  readonly minDwellMs: number
  readonly messagesPerRekey: number
  /** What the chains do for the grid, and what it costs when they do not; absent: weights are those of the chains alone. */
  readonly grid?: LabTerms
}

/**
 * The game inside one scheduler: chains are divided among agents, keys are granted to agents, and each agent's chains get
 * the states it answers with. All agents' parts are computed here; control centres of their own play by messages
 * (`LeaderPolicy`, `FollowerPolicy`).
 */
export class LabGamePolicy implements Policy {
  readonly name: string
  readonly #options: LabGameOptions
  readonly #game: GamePolicy
  readonly #places: ChainPlaces
  #decisions: ReadonlyMap<string, Decision> = new Map()

  constructor(options: LabGameOptions) {
    this.#options = options
    this.#game = gamePolicyOf(options.spec)
    this.#places = new ChainPlaces(options.minDwellMs)
    this.name = `game, ${this.#game.name}`
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const places = this.#places.placesOf(view, nowMs)
    const states = view.status.capBits > 0 ? this.#states(view, places) : new Map<string, ChainState>()
    this.#decisions = new Map(
      view.chains.map((chain) => {
        const state = states.get(chain.id) ?? stateOfSuite(chain.requiredSuite)
        return [chain.id, decisionOf(chain, state, places.get(chain.id))]
      }),
    )
    return { level: view.status.level, decisions: this.#decisions }
  }

  #states(view: SchedulerView, places: ReadonlyMap<string, Place>): Map<string, ChainState> {
    const { spec, horizonS, messagesPerRekey, grid = CHAINS_ALONE } = this.#options
    const chainsOf = spec.agents.map((): Chain[] => [])
    for (const chain of view.chains) chainsOf[agentOf(chain, spec.agents)]?.push(chain)
    const stateOf = ({ id, requiredSuite }: Chain): ChainState =>
      this.#decisions.get(id)?.state ?? stateOfSuite(requiredSuite)
    const context = { view, places, stateOf, messagesPerRekey, grid }
    const agents = chainsOf.map((chains, a) => agentViewOf(spec.agents[a]?.id ?? '', chains, context))
    const windowS = Math.max(1, Math.round(horizonS))
    const stock = stockOf(view.status, windowS, spec.riskRatio)
    const decided = this.#game.decide({ agents, stocks: [stock], windowS, terms: grid.weights })
    const states = new Map<string, ChainState>()
    // The channels' own buffers carry AES for a while, so an empty pool is no reason to turn off a chain that may use it.
    const aesBits = windowS * agents.reduce((sum, { chains }) => sum + aesDemandBps(chains), 0)
    const buffered = view.status.books.reservedBits >= aesBits
    for (const [a, chains] of chainsOf.entries()) {
      for (const [l, { id, allowedSuites }] of chains.entries()) {
        const state = decided.states[a]?.[l] ?? 0
        states.set(id, state === 0 && buffered && allowedSuites.includes('aes') ? 1 : state)
      }
    }
    return states
  }
}

function gamePolicyOf({ solver, followerWeight, floorRatio, ldCpForm = 'improved' }: GameSpec): GamePolicy {
  switch (solver) {
    case 'equal':
    case 'demand':
      return new SplitPolicy(solver)
    case 'ldCp':
      return new StackelbergPolicy({ solver: 'ld-cp', followerWeight, floorRatio, ldCp: { form: ldCpForm } })
    case 'exact':
      return new StackelbergPolicy({ solver: 'exact', followerWeight, floorRatio })
    case 'social':
      return new SocialPolicy()
  }
}

function agentOf({ taskType, paths }: Chain, agents: readonly AgentSpec[]): number {
  const claims = ({ nodes, taskTypes }: AgentSpec): boolean =>
    taskTypes.includes(taskType) || (paths[0] ?? []).some((node) => nodes.includes(node))
  return Math.max(0, agents.findIndex(claims))
}
