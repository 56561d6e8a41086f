import type { LabEvent, PoolStatus, Suite } from '../runtime/contract.ts'
import {
  type Chain,
  linkBetween,
  type Plan,
  type Policy,
  samePlan,
  suiteOfState,
  type Topology,
  topology,
} from '../scheduler/index.ts'
import type { MasterConfig } from './config.ts'

/** Until the key server has spoken: no level that would spend or spare anything. */
const UNKNOWN_STATUS: PoolStatus = {
  tMs: 0,
  level: 'warn',
  safeBits: 0,
  thBits: 0,
  capBits: 0,
  books: { generatedBits: 0, usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0, poolBits: 0 },
  links: [],
}

/** Number of chains by state. */
export type ChainCounts = { readonly off: number; readonly aes: number; readonly otp: number }

/** The scheduler's place in the control centre: shows the policy the lab as it is known here, and keeps its plan. */
export class Planning {
  readonly #chains: readonly Chain[]
  readonly #ownLinks: readonly number[]
  readonly #topology: Topology
  readonly #policy: Policy
  #status = UNKNOWN_STATUS
  #plan: Plan | undefined

  constructor(config: Pick<MasterConfig, 'chains' | 'links' | 'topology'>, policy: Policy) {
    this.#chains = config.chains.map(({ chain }) => chain)
    this.#ownLinks = config.links.map(({ link }) => link)
    this.#topology = topology(config.topology)
    this.#policy = policy
  }

  setStatus(status: PoolStatus): void {
    this.#status = status
  }

  /** Plans for now; the `plan` event if the plan is another than before. */
  step(isUp: (link: number) => boolean, deltaFHz: number | undefined, nowMs: number): LabEvent | undefined {
    const linkUp = new Map(this.#status.links.map(({ link, up }) => [link, up]))
    // A link of our own is known at first hand; while the key server calls it broken it is no use either.
    for (const link of this.#ownLinks) linkUp.set(link, isUp(link) && linkUp.get(link) !== false)
    const view = {
      status: this.#status,
      chains: this.#chains,
      topology: this.#topology,
      linkUp,
      deltaFHz: deltaFHz ?? 0,
    }
    const last = this.#plan
    const plan = this.#policy.plan(view, nowMs)
    this.#plan = plan
    if (last !== undefined && samePlan(last, plan)) return undefined
    return { name: 'plan', level: plan.level, ...this.counts, why: changes(last, plan) }
  }

  /** Suite of the chain now, undefined when it is off; and the link of its first hop. */
  wayOf(chain: Chain): { readonly suite: Suite | undefined; readonly link: number | undefined } {
    const decision = this.#plan?.decisions.get(chain.id)
    if (decision === undefined) return { suite: undefined, link: undefined }
    const [from = '', to = ''] = chain.paths[decision.path] ?? []
    return { suite: suiteOfState(decision.state), link: linkBetween(this.#topology, from, to)?.link }
  }

  get counts(): ChainCounts {
    const states = [...(this.#plan?.decisions.values() ?? [])].map(({ state }) => state)
    const count = (wanted: number): number => states.filter((state) => state === wanted).length
    return { off: count(0), aes: count(1), otp: count(2) }
  }
}

/** What is new in a plan, one part a chain: `shed-8 otp path 1 (required suite)`. */
function changes(last: Plan | undefined, plan: Plan): string {
  const parts: string[] = []
  for (const [id, { state, path, why }] of plan.decisions) {
    const before = last?.decisions.get(id)
    if (before?.state === state && before.path === path) continue
    parts.push(`${id} ${suiteOfState(state) ?? 'off'} path ${path} (${why})`)
  }
  return parts.join('; ')
}
