/** What an operator changes in a running control centre, by way of the page or the REST interface. */
import type { LabEvent } from '../runtime/contract.ts'
import { chainSetProblems, type Policy, topology } from '../scheduler/index.ts'
import type { MasterConfig } from './config.ts'

/** The chains and the applications that use them. All are replaced together. */
export type ChainSet = Pick<MasterConfig, 'chains' | 'agc' | 'shedding' | 'setpoints'>

/**
 * An order takes effect as a whole at the start of the next tick, or not at all. `request` is repeated in the event that
 * tells its end: `order.done`, or `order.refused` with the problems.
 */
export type MasterOrder = { readonly request: number } & (
  | { readonly kind: 'setChains'; readonly set: ChainSet }
  | { readonly kind: 'setPolicy'; readonly policy: Policy }
  /** A chain that is not enabled is off, whatever the policy plans. */
  | { readonly kind: 'setEnabled'; readonly chain: string; readonly enabled: boolean }
)

/** What is wrong with a set of chains on the links of this control centre; none if it can be run. */
export function chainSetFaults(set: ChainSet, links: MasterConfig['topology']): readonly string[] {
  const problems = chainSetProblems(
    set.chains.map(({ chain }) => chain),
    topology(links),
  )
  const targets = new Set(set.chains.flatMap(({ chain, target }) => (target === undefined ? [] : [chain.id])))
  const used = [
    ...(set.agc?.units ?? []).map(({ chain }) => chain),
    ...(set.setpoints?.units ?? []).map(({ chain }) => chain),
    ...(set.shedding?.chains ?? []),
  ]
  return [...problems, ...used.filter((id) => !targets.has(id)).map((id) => `no chain ${id} with a target`)]
}

/** The event that tells how an order ended. */
export function orderEvent({ request, kind }: MasterOrder, problems: readonly string[]): LabEvent {
  return problems.length === 0
    ? { name: 'order.done', request, order: kind }
    : { name: 'order.refused', request, order: kind, problems: problems.slice(0, 5).join('; ') }
}
