import type { PoolStatus } from '../../runtime/contract.ts'
import type { Chain, ChainState } from '../chain.ts'
import { kappaBits, pooledHops } from '../key-cost.ts'
import type { Decision, Plan, Policy, SchedulerView, Why } from '../policy.ts'
import { pathIsUp, stateOfSuite } from '../policy.ts'
import type { ChanceInput } from './chance.ts'
import { type AgentView, type GamePolicy, SocialPolicy, SplitPolicy, StackelbergPolicy } from './policies.ts'
import type { TaskChain } from './terms.ts'

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
}

export type LabGameOptions = {
  readonly spec: GameSpec
  /** Window of the game, s; whole seconds, at least 1. */
  readonly horizonS: number
  /** Time for which a chain stays on an alternative path, ms. */
  readonly minDwellMs: number
  readonly messagesPerRekey: number
}

/** Spread of a link's rate about its mean and how long a deviation lasts, as the link model has them by default. */
const RATE_STD_RATIO = 0.05
const RATE_TAU_S = 5
/** Weights here are those of the chains; what a chain that sheds is worth to the leader is its own weight. */
const TERMS = { lossPerHz: 1, lossPerPu: 0, lossPerMw: 0 }

/**
 * The game inside one scheduler: chains are divided among agents, keys are granted to agents, and each agent's chains get
 * the states it answers with. All agents' parts are computed here; grants are not messages between control centres.
 */
export class LabGamePolicy implements Policy {
  readonly name: string
  readonly #options: LabGameOptions
  readonly #game: GamePolicy
  #decisions: ReadonlyMap<string, Decision> = new Map()
  readonly #pathSinceMs = new Map<string, number>()

  constructor(options: LabGameOptions) {
    this.#options = options
    this.#game = gamePolicyOf(options.spec)
    this.name = `game, ${this.#game.name}`
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const placed = new Map(view.chains.map((chain) => [chain.id, this.#place(chain, view, nowMs)]))
    const states = view.status.capBits > 0 ? this.#states(view, placed) : new Map<string, ChainState>()
    const decisions = new Map<string, Decision>()
    for (const chain of view.chains) {
      const state = states.get(chain.id) ?? stateOfSuite(chain.requiredSuite)
      const { path = 0, pathUp = false } = placed.get(chain.id) ?? {}
      decisions.set(chain.id, { state, path, pathUp, why: whyOf(chain, state) })
    }
    this.#decisions = decisions
    for (const id of this.#pathSinceMs.keys()) if (!decisions.has(id)) this.#pathSinceMs.delete(id)
    return { level: view.status.level, decisions }
  }

  #states(view: SchedulerView, placed: ReadonlyMap<string, { readonly path: number }>): Map<string, ChainState> {
    const { spec, horizonS, messagesPerRekey } = this.#options
    const chainsOf = spec.agents.map((): Chain[] => [])
    for (const chain of view.chains) chainsOf[agentOf(chain, spec.agents)]?.push(chain)
    const agents = chainsOf.map(
      (chains, a): AgentView => ({
        id: spec.agents[a]?.id ?? '',
        chains: chains.map((chain) => {
          const hops = pooledHops(chain.paths[placed.get(chain.id)?.path ?? 0] ?? [], view.topology)
          return taskChainOf(chain, hops, messagesPerRekey)
        }),
        states: chains.map(({ id, requiredSuite }) => this.#decisions.get(id)?.state ?? stateOfSuite(requiredSuite)),
      }),
    )
    const windowS = Math.max(1, Math.round(horizonS))
    const stock = stockOf(view.status, windowS, spec.riskRatio)
    const decided = this.#game.decide({ agents, stocks: [stock], windowS, terms: TERMS })
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

  /** First path that is up; back from an alternative one only after the dwell time, unless it has gone down. */
  #place(chain: Chain, view: SchedulerView, nowMs: number): { readonly path: number; readonly pathUp: boolean } {
    const { id, paths } = chain
    const last = this.#decisions.get(id)?.path ?? 0
    const current = last < paths.length ? last : 0
    const first = paths.findIndex((path) => pathIsUp(path, view))
    const since = this.#pathSinceMs.get(id) ?? -Infinity
    const dwelling = pathIsUp(paths[current] ?? [], view) && nowMs < since + this.#options.minDwellMs
    const path = first === -1 || dwelling ? current : first
    if (path !== current) this.#pathSinceMs.set(id, nowMs)
    return { path, pathUp: first !== -1 }
  }
}

function gamePolicyOf({ solver, followerWeight, floorRatio }: GameSpec): GamePolicy {
  switch (solver) {
    case 'equal':
    case 'demand':
      return new SplitPolicy(solver)
    case 'ldCp':
      return new StackelbergPolicy({ solver: 'ld-cp', followerWeight, floorRatio })
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

function taskChainOf(chain: Chain, hops: number, messagesPerRekey: number): TaskChain {
  const { id, ratePerS, apduBytes, allowedSuites, requiredSuite, lossWeight, degradeWeight, switchWeight } = chain
  const states: ChainState[] = [0]
  if (allowedSuites.includes('aes')) states.push(1)
  if (allowedSuites.includes('otp')) states.push(2)
  return {
    id,
    ratePerS,
    otpBits: hops * kappaBits('otp', apduBytes, messagesPerRekey),
    aesBits: hops * kappaBits('aes', apduBytes, messagesPerRekey),
    states,
    dropLoss: lossWeight,
    degradeLoss: requiredSuite === 'otp' ? degradeWeight : 0,
    switchLoss: switchWeight,
    frequencyHz: chain.taskType === 'shedding' ? lossWeight : 0,
    voltagePu: 0,
    loadMw: 0,
  }
}

function aesDemandBps(chains: readonly TaskChain[]): number {
  return chains.reduce((sum, { ratePerS, aesBits }) => sum + ratePerS * aesBits, 0)
}

/** What the pool promises for the window: its key and what its links make now, K_safe being left at the end. */
function stockOf({ books, safeBits, links }: PoolStatus, windowS: number, riskRatio: number): ChanceInput {
  const rates = links.map(({ up, rateBps }) => (up ? rateBps : 0))
  const inflowBps = rates.reduce((sum, rate) => sum + rate, 0)
  const squares = rates.reduce((sum, rate) => sum + rate * rate, 0)
  const seconds = Array.from({ length: windowS }, (_, step) => step + 1)
  return {
    stockBits: books.poolBits,
    supplyBits: seconds.map(() => inflowBps),
    supplyStdBits: seconds.map((s) => RATE_STD_RATIO * Math.sqrt(2 * RATE_TAU_S * s * squares)),
    bufferBits: 0,
    reserveBits: safeBits,
    riskRatio,
  }
}

function whyOf({ requiredSuite }: Chain, state: ChainState): Why {
  if (state === 0) return 'off: key is short'
  if (state === stateOfSuite(requiredSuite)) return 'required suite'
  return state === 2 ? 'better than required: key to spare' : 'AES: key is short'
}
