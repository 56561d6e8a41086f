import type { LabEvent, PoolStatus, Suite } from '../runtime/contract.ts'
import {
  type CentreTalk,
  type Chain,
  type Decision,
  linkBetween,
  type Plan,
  type Policy,
  type StockOutlook,
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

/** The grid as the centre sees it: frequency deviation, Hz, and voltages by bus, pu, where they are asked for. */
type GridSeen = {
  readonly deltaFHz?: number | undefined
  readonly voltagesPu?: ReadonlyMap<number, number> | undefined
}

/** The scheduler's place in the control centre: shows the policy the lab as it is known here, and keeps its plan. */
export class Planning {
  #chains: readonly Chain[]
  readonly #ownLinks: readonly number[]
  readonly #topology: Topology
  #policy: Policy
  /** Chains that an operator has switched off. */
  readonly #disabled = new Set<string>()
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

  setChains(chains: readonly Chain[]): void {
    this.#chains = chains
    for (const id of this.#disabled) if (!chains.some((chain) => chain.id === id)) this.#disabled.delete(id)
  }

  setPolicy(policy: Policy): void {
    this.#policy = policy
  }

  /** Whether there is such a chain. */
  setEnabled(chain: string, enabled: boolean): boolean {
    if (!this.#chains.some(({ id }) => id === chain)) return false
    if (enabled) this.#disabled.delete(chain)
    else this.#disabled.add(chain)
    return true
  }

  get policyName(): string {
    return this.#policy.name
  }

  /** How the policy speaks with those of other centres. */
  get talk(): CentreTalk | undefined {
    return this.#policy.talk
  }

  get disabled(): readonly string[] {
    return [...this.#disabled]
  }

  /** The key stock as the policy expected it when it last planned; undefined: it expects nothing. */
  get outlook(): StockOutlook | undefined {
    return this.#plan?.outlook
  }

  /** Plans for now. A `plan` event if the plan is another than before, a `plan.detail` then and now and again. */
  step(isUp: (link: number) => boolean, seen: GridSeen, nowMs: number): readonly LabEvent[] {
    const { deltaFHz = 0, voltagesPu } = seen
    const linkUp = new Map(this.#status.links.map(({ link, up }) => [link, up]))
    // A link of our own is known at first hand; while the key server calls it broken it is no use either.
    for (const link of this.#ownLinks) linkUp.set(link, isUp(link) && linkUp.get(link) !== false)
    const view = {
      status: this.#status,
      chains: this.#disabled.size === 0 ? this.#chains : this.#chains.filter(({ id }) => !this.#disabled.has(id)),
      topology: this.#topology,
      linkUp,
      deltaFHz,
      ...(voltagesPu && { voltagesPu }),
    }
    const last = this.#plan
    const plan = this.#withDisabled(this.#policy.plan(view, nowMs))
    this.#plan = plan
    const isNew = last === undefined || !samePlan(last, plan)
    const events: LabEvent[] = []
    if (isNew) events.push({ name: 'plan', level: plan.level, ...this.counts, why: changes(last, plan) })
    if (plan.detail !== undefined && (isNew || plan.detail.every)) {
      events.push({ name: 'plan.detail', detail: JSON.stringify(plan.detail.make(), rounded) })
    }
    return events
  }

  /** Suite of the chain now, undefined when it is off; and the link of its first hop. */
  wayOf(chain: Chain): { readonly suite: Suite | undefined; readonly link: number | undefined } {
    const decision = this.#plan?.decisions.get(chain.id)
    if (decision === undefined) return { suite: undefined, link: undefined }
    const [from = '', to = ''] = chain.paths[decision.path] ?? []
    return { suite: suiteOfState(decision.state), link: linkBetween(this.#topology, from, to)?.link }
  }

  #withDisabled(plan: Plan): Plan {
    if (this.#disabled.size === 0) return plan
    const off = [...this.#disabled].map((id) => [id, this.#last(id)] as const)
    return { ...plan, decisions: new Map([...plan.decisions, ...off]) }
  }

  #last(id: string): Decision {
    const { path = 0, pathUp = true } = this.#plan?.decisions.get(id) ?? {}
    return { state: 0, path, pathUp, why: 'off: switched off by hand' }
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

/** Six digits are enough for a record. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
}
