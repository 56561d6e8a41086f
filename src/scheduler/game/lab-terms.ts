/** What the game's policies in a lab share: chains and stock of the lab in the game's terms, and the choice of paths. */
import type { PoolStatus } from '../../runtime/contract.ts'
import type { Chain, ChainState } from '../chain.ts'
import { kappaBits, pooledHops } from '../key-cost.ts'
import type { Decision, SchedulerView, Why } from '../policy.ts'
import { pathIsUp, stateOfSuite } from '../policy.ts'
import type { ChanceInput } from './chance.ts'
import type { AgentView } from './policies.ts'
import type { GridHelp, GridTerms, TaskChain } from './terms.ts'

/** Spread of a link's rate about its mean and how long a deviation lasts, as the link model has them by default. */
const RATE_STD_RATIO = 0.05
const RATE_TAU_S = 5
/** The grid's part of the losses in a lab; made with its plan. */
export type LabTerms = {
  readonly weights: GridTerms
  /** By chain id. Without `frequencyHz` a chain that sheds costs the leader its own weight; one that is not listed does so, too, and no more. */
  readonly chains: Readonly<Record<string, Partial<GridHelp>>>
}

/** Weights are those of the chains alone. */
export const CHAINS_ALONE: LabTerms = { weights: { lossPerHz: 1, lossPerPu: 0, lossPerMw: 0 }, chains: {} }

/** Where a chain goes. */
export type Place = { readonly path: number; readonly pathUp: boolean }

/** The paths of chains from tick to tick. */
export class ChainPlaces {
  readonly #minDwellMs: number
  readonly #paths = new Map<string, number>()
  readonly #sinceMs = new Map<string, number>()

  /** @param minDwellMs time for which a chain stays on an alternative path */
  constructor(minDwellMs: number) {
    this.#minDwellMs = minDwellMs
  }

  /** The place of every chain of the view. */
  placesOf(view: SchedulerView, nowMs: number): ReadonlyMap<string, Place> {
    const places = new Map(view.chains.map((chain) => [chain.id, this.#place(chain, view, nowMs)]))
    this.#paths.clear()
    for (const [id, { path }] of places) this.#paths.set(id, path)
    for (const id of this.#sinceMs.keys()) if (!places.has(id)) this.#sinceMs.delete(id)
    return places
  }

  /** First path that is up; back from an alternative one only after the dwell time, unless it has gone down. */
  #place({ id, paths }: Chain, view: SchedulerView, nowMs: number): Place {
    const last = this.#paths.get(id) ?? 0
    const current = last < paths.length ? last : 0
    const first = paths.findIndex((path) => pathIsUp(path, view))
    const since = this.#sinceMs.get(id) ?? Number.NEGATIVE_INFINITY
    const dwelling = pathIsUp(paths[current] ?? [], view) && nowMs < since + this.#minDwellMs
    const path = first === -1 || dwelling ? current : first
    if (path !== current) this.#sinceMs.set(id, nowMs)
    return { path, pathUp: first !== -1 }
  }
}

/** An agent with these chains, at their places, in the states that they have. */
export function agentViewOf(
  id: string,
  chains: readonly Chain[],
  context: {
    readonly view: SchedulerView
    readonly places: ReadonlyMap<string, Place>
    readonly stateOf: (chain: Chain) => ChainState
    readonly messagesPerRekey: number
    readonly grid: LabTerms
  },
): AgentView {
  const { view, places, stateOf, messagesPerRekey, grid } = context
  const taskChains = chains.map((chain) => {
    const hops = pooledHops(chain.paths[places.get(chain.id)?.path ?? 0] ?? [], view.topology)
    return taskChainOf(chain, { hops, messagesPerRekey, grid })
  })
  return { id, chains: taskChains, states: chains.map(stateOf) }
}

/** A chain of the lab with its key on all hops, and what the grid says of it. */
export function taskChainOf(
  chain: Chain,
  context: { readonly hops: number; readonly messagesPerRekey: number; readonly grid: LabTerms },
): TaskChain {
  const { hops, messagesPerRekey, grid } = context
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
    ...helpOf(chain, grid),
  }
}

function helpOf({ id, taskType, lossWeight }: Chain, { weights, chains }: LabTerms): GridHelp {
  const { lossPerHz } = weights
  const known = Object.hasOwn(chains, id) ? chains[id] : undefined
  const worthHz = taskType === 'shedding' && lossPerHz > 0 ? lossWeight / lossPerHz : 0
  const { frequencyHz = worthHz, voltagePu = 0, loadMw = 0 } = known ?? {}
  return { frequencyHz, voltagePu, loadMw }
}

/** Key that chains take with AES, bit/s. */
export function aesDemandBps(chains: readonly TaskChain[]): number {
  return chains.reduce((sum, { ratePerS, aesBits }) => sum + ratePerS * aesBits, 0)
}

/** What the pool promises for the window: its key and what its links make now, K_safe being left at the end. */
export function stockOf({ books, safeBits, links }: PoolStatus, windowS: number, riskRatio: number): ChanceInput {
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

/** The decision that puts a chain into a state. */
export function decisionOf(
  chain: Chain,
  state: ChainState,
  { path = 0, pathUp = false }: Partial<Place> = {},
): Decision {
  return { state, path, pathUp, why: whyOf(chain, state) }
}

function whyOf({ requiredSuite }: Chain, state: ChainState): Why {
  if (state === 0) return 'off: key is short'
  if (state === stateOfSuite(requiredSuite)) return 'required suite'
  return state === 2 ? 'better than required: key to spare' : 'AES: key is short'
}
