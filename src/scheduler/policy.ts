import type { LabEvent, PoolStatus, StockLevel, Suite } from '../runtime/contract.ts'
import type { Chain, ChainState } from './chain.ts'
import type { GrantMessage } from './game/grant-messages.ts'
import type { PlanDetail } from './rolling/detail.ts'
import type { Topology } from './topology.ts'
import { linksAlong } from './topology.ts'

/** What a policy plans from. */
export type SchedulerView = {
  readonly status: PoolStatus
  readonly chains: readonly Chain[]
  readonly topology: Topology
  /** Links known to be up or down; a link that is not listed counts as up. */
  readonly linkUp: ReadonlyMap<number, boolean>
  /** Frequency deviation the control centre sees, Hz. */
  readonly deltaFHz: number
  /** Voltages it sees, by bus, pu; absent: the policy does not ask for them. */
  readonly voltagesPu?: ReadonlyMap<number, number>
}

/** Why a chain has its state: short constant phrases for the record. */
export type Why =
  | 'required suite'
  | 'better than required: key to spare'
  | 'most urgent: kept'
  | 'AES: key is short'
  | 'off: key is short'
  | 'AES: key is worth more elsewhere'
  | 'off: key is worth more elsewhere'
  | 'off: frequency and voltages are better without it'
  | 'off: switched off by hand'

export type Decision = {
  readonly state: ChainState
  /** Index into the chain's `paths`. */
  readonly path: number
  /** False when no path of the chain is up: it then stays on the path it had. */
  readonly pathUp: boolean
  readonly why: Why
}

/** States and paths of all chains of the view, from the tick it is made until the next one. */
export type Plan = {
  readonly level: StockLevel
  readonly decisions: ReadonlyMap<string, Decision>
  /** Why the plan is as it is; `every`: worth recording although nothing changed. */
  readonly detail?: { readonly every: boolean; readonly make: () => PlanDetail }
  /** The key stock as the policy expects it; absent: it expects nothing. */
  readonly outlook?: StockOutlook
}

/** Mean and lower bound of the key stock at steps after `tMs` (the first one is `stepMs` later), bits. */
export type StockOutlook = {
  /** Who made it. */
  readonly source: string
  readonly tMs: number
  readonly stepMs: number
  readonly stockBits: readonly number[]
  readonly stockLowerBits: readonly number[]
}

/** How a policy speaks with those of other control centres. Agents are named as in the game. */
export type CentreTalk = {
  /** A message of another agent; what it says has not been checked. */
  readonly take: (from: string, message: GrantMessage, nowMs: number) => void
  /** What is to be sent, since the last call. */
  readonly takeMessages: () => readonly { readonly to: string; readonly message: GrantMessage }[]
  /** What is to be told, since the last call. */
  readonly takeEvents: () => readonly LabEvent[]
}

/** A scheduling policy. Pure: the plan depends on the views it was shown and their times alone. */
export interface Policy {
  readonly name: string
  /** Absent: it plans alone. */
  readonly talk?: CentreTalk
  /** Plans for the tick at `nowMs` (lab time, not going back). */
  plan(view: SchedulerView, nowMs: number): Plan
}

/** The suite a state stands for, undefined for off. */
export function suiteOfState(state: ChainState): Suite | undefined {
  return state === 2 ? 'otp' : state === 1 ? 'aes' : undefined
}

/** The state a suite stands for. */
export function stateOfSuite(suite: Suite): 1 | 2 {
  return suite === 'otp' ? 2 : 1
}

/** Whether no link of the path is known to be down, and all its nodes are neighbours. */
export function pathIsUp(path: readonly string[], view: Pick<SchedulerView, 'topology' | 'linkUp'>): boolean {
  for (const hop of linksAlong(path, view.topology)) {
    if (hop === undefined || view.linkUp.get(hop.link) === false) return false
  }
  return true
}

/** Whether two plans give every chain the same state and path at the same level. */
export function samePlan(a: Plan, b: Plan): boolean {
  if (a.level !== b.level || a.decisions.size !== b.decisions.size) return false
  for (const [id, one] of a.decisions) {
    const other = b.decisions.get(id)
    if (other === undefined || other.state !== one.state || other.path !== one.path) return false
  }
  return true
}
