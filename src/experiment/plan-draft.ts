import type { SecureLinkOptions } from '../protocol/index.ts'
import type { PlannedChain } from './plan-chains.ts'
import type { PlanLink } from './plan-types.ts'
import type { Ways } from './routes.ts'
import type { Scenario } from './scenario-schema.ts'

/** What the builders of the nodes' configurations share. */
export type Draft = {
  readonly scenario: Scenario
  readonly links: readonly PlanLink[]
  readonly ways: Ways
  readonly cas: ReadonlyMap<string, number>
  readonly chains: readonly PlannedChain[]
  /** Masters that take what a station reports: the one that has it, and those that command it. The first has it. */
  readonly centresOf: (rtu: string) => readonly string[]
  /** Number of the link between two nodes. */
  readonly linkOf: (a: string, b: string) => number
  /** Options of a node's end of its link to a neighbour. */
  readonly endOf: (node: string, neighbour: string) => SecureLinkOptions
}
