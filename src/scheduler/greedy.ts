import type { PoolStatus, StockLevel } from '../runtime/contract.ts'
import type { Chain, ChainState } from './chain.ts'
import { demandBps, pooledHops } from './key-cost.ts'
import type { Decision, Plan, Policy, SchedulerView, Why } from './policy.ts'
import { pathIsUp, stateOfSuite, suiteOfState } from './policy.ts'

export type GreedyOptions = {
  /** Time over which the stock above the reserve may be spent, s. */
  readonly horizonS?: number
  /** Messages sealed with one AES key (rho). */
  readonly messagesPerRekey?: number
  /** At level `protect`, chains with this priority or a more urgent one keep their required suite. */
  readonly protectedPriority?: number
  /** Time after a chain was lowered during which none is raised, and a chain stays on an alternative path, ms. */
  readonly minDwellMs?: number
}

const SEVERITY: Readonly<Record<StockLevel, number>> = { normal: 0, warn: 1, reconfigure: 2, protect: 3 }

/** What suites are granted from: the level, and the key that may be spent on required suites and on better ones. */
type Means = { readonly level: StockLevel; readonly budgetBps: number; readonly spareBps: number }

/** A chain on the path it has now. */
type Placed = { readonly chain: Chain; readonly path: number; readonly pathUp: boolean; readonly hops: number }

/** Outcome for one chain. */
type Grant = { readonly state: ChainState; readonly why: Why }

/**
 * Priority greedy under thresholds. The budget is the stock above K_safe spread over the horizon plus the rate at which
 * key comes in now.
 *
 * - `normal`: every chain in its required suite; chains for which AES suffices get OTP, most urgent first, while the stock
 *   above K_th pays for it.
 * - `warn`: every chain in its required suite.
 * - `reconfigure`: chains that allow AES fall back to it, least urgent first, until the budget covers what is left.
 * - `protect`: the most urgent classes keep their required suite, others get AES if they allow it, and are off if not.
 *
 * States do not flap: lowering is immediate; for `minDwellMs` after it the policy plans with no better level and no larger
 * budget than at that time. Holding the means, not the states, keeps the plan a function of priority and need alone, so
 * a chain is never worse off than a less urgent one of equal needs.
 */
export class GreedyPolicy implements Policy {
  readonly name = 'greedy'
  readonly #horizonS: number
  readonly #messagesPerRekey: number
  readonly #protectedPriority: number
  readonly #minDwellMs: number
  #held: { readonly means: Means; readonly untilMs: number } | undefined
  #states: ReadonlyMap<string, Decision> = new Map()
  readonly #pathSinceMs = new Map<string, number>()

  constructor(options: GreedyOptions = {}) {
    this.#horizonS = positive('horizonS', options.horizonS ?? 10)
    this.#messagesPerRekey = positive('messagesPerRekey', options.messagesPerRekey ?? 64)
    this.#protectedPriority = options.protectedPriority ?? 0
    this.#minDwellMs = options.minDwellMs ?? 2000
  }

  plan(view: SchedulerView, nowMs: number): Plan {
    const placed = view.chains.map((chain) => this.#place(chain, view, nowMs))
    // A stable sort, so that equal priorities keep the order of the scenario.
    const byPriority = placed.toSorted((a, b) => a.chain.priority - b.chain.priority)
    const now = this.#means(view.status)
    const held = this.#held !== undefined && nowMs < this.#held.untilMs ? this.#held.means : undefined
    const means = held === undefined ? now : worse(now, held)
    const grants = this.#grants(byPriority, means)

    const decisions = new Map<string, Decision>()
    let lowered = false
    for (const { chain, path, pathUp } of placed) {
      const { state, why } = grants.get(chain.id) ?? OFF
      const before = this.#states.get(chain.id)
      lowered ||= before !== undefined && state < before.state
      decisions.set(chain.id, { state, path, pathUp, why })
    }
    if (lowered) this.#held = { means, untilMs: nowMs + this.#minDwellMs }
    for (const id of this.#pathSinceMs.keys()) if (!decisions.has(id)) this.#pathSinceMs.delete(id)
    this.#states = decisions
    return { level: view.status.level, decisions }
  }

  /** First path that is up; back from an alternative one only after the dwell time, unless it has gone down. */
  #place(chain: Chain, view: SchedulerView, nowMs: number): Placed {
    const { id, paths } = chain
    const last = this.#states.get(id)?.path ?? 0
    const current = last < paths.length ? last : 0
    const first = paths.findIndex((path) => pathIsUp(path, view))
    const currentUp = pathIsUp(paths[current] ?? [], view)
    const dwelling = currentUp && nowMs < (this.#pathSinceMs.get(id) ?? -Infinity) + this.#minDwellMs
    const path = first === -1 || dwelling ? current : first
    if (path !== current) this.#pathSinceMs.set(id, nowMs)
    return { chain, path, pathUp: first !== -1, hops: pooledHops(paths[path] ?? [], view.topology) }
  }

  #means({ level, books, safeBits, thBits, links }: PoolStatus): Means {
    let inflowBps = 0
    for (const { up, rateBps } of links) if (up) inflowBps += rateBps
    const over = (reserveBits: number) => Math.max(0, books.poolBits - reserveBits) / this.#horizonS + inflowBps
    return { level, budgetBps: over(safeBits), spareBps: over(thBits) }
  }

  #grants(byPriority: readonly Placed[], means: Means): ReadonlyMap<string, Grant> {
    switch (means.level) {
      case 'normal':
        return this.#raised(byPriority, means.spareBps)
      case 'warn':
        return new Map(byPriority.map(({ chain }) => [chain.id, required(chain)]))
      case 'reconfigure':
        return this.#lowered(byPriority, means.budgetBps)
      case 'protect':
        return this.#protected(byPriority)
    }
  }

  #raised(byPriority: readonly Placed[], spareBps: number): ReadonlyMap<string, Grant> {
    let leftBps =
      spareBps - sum(byPriority, (placed) => this.#demandBps(placed, stateOfSuite(placed.chain.requiredSuite)))
    const grants = new Map<string, Grant>()
    for (const placed of byPriority) {
      const { chain } = placed
      grants.set(chain.id, required(chain))
      if (chain.requiredSuite === 'otp' || !chain.allowedSuites.includes('otp')) continue
      const extraBps = this.#demandBps(placed, 2) - this.#demandBps(placed, 1)
      if (extraBps > leftBps) continue
      leftBps -= extraBps
      grants.set(chain.id, { state: 2, why: 'better than required: key to spare' })
    }
    return grants
  }

  #lowered(byPriority: readonly Placed[], budgetBps: number): ReadonlyMap<string, Grant> {
    const floor = ({ allowedSuites }: Chain): 1 | 2 => (allowedSuites.includes('aes') ? 1 : 2)
    let leftBps = budgetBps - sum(byPriority, (placed) => this.#demandBps(placed, floor(placed.chain)))
    const grants = new Map<string, Grant>()
    for (const placed of byPriority) {
      const { chain } = placed
      const grant = required(chain)
      const extraBps = this.#demandBps(placed, grant.state) - this.#demandBps(placed, floor(chain))
      const affordable = extraBps <= Math.max(0, leftBps)
      if (affordable) leftBps -= extraBps
      grants.set(chain.id, affordable ? grant : AES)
    }
    return grants
  }

  #protected(byPriority: readonly Placed[]): ReadonlyMap<string, Grant> {
    // The most urgent class there is counts as protected even if the option names none of its chains.
    const limit = Math.max(this.#protectedPriority, byPriority[0]?.chain.priority ?? 0)
    const grant = (chain: Chain): Grant => {
      if (chain.priority <= limit) return { state: stateOfSuite(chain.requiredSuite), why: 'most urgent: kept' }
      if (!chain.allowedSuites.includes('aes')) return OFF
      return chain.requiredSuite === 'aes' ? required(chain) : AES
    }
    return new Map(byPriority.map(({ chain }) => [chain.id, grant(chain)]))
  }

  #demandBps({ chain, hops }: Placed, state: ChainState): number {
    const suite = suiteOfState(state)
    return suite === undefined ? 0 : demandBps(chain, suite, hops, this.#messagesPerRekey)
  }
}

const OFF: Grant = Object.freeze({ state: 0, why: 'off: key is short' })
const AES: Grant = Object.freeze({ state: 1, why: 'AES: key is short' })

function required({ requiredSuite }: Chain): Grant {
  return { state: stateOfSuite(requiredSuite), why: 'required suite' }
}

function worse(a: Means, b: Means): Means {
  return {
    level: SEVERITY[a.level] >= SEVERITY[b.level] ? a.level : b.level,
    budgetBps: Math.min(a.budgetBps, b.budgetBps),
    spareBps: Math.min(a.spareBps, b.spareBps),
  }
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}

function positive(name: string, value: number): number {
  if (value > 0 && Number.isFinite(value)) return value
  throw new RangeError(`${name} must be above 0, not ${value}`)
}
