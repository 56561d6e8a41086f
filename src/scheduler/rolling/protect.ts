/** The plan when none keeps the chance rows: the most urgent chains alone keep their suite. */
import type { ChainState } from '../chain.ts'
import type { Decision, SchedulerView, Why } from '../policy.ts'
import { stateOfSuite } from '../policy.ts'
import { isUsable } from './chain-options.ts'

export function protectPlan(
  view: SchedulerView,
  given: { readonly before: ReadonlyMap<string, Decision>; readonly protectedPriority: number },
): Map<string, Decision> {
  const mostUrgent = view.chains.reduce((least, { priority }) => Math.min(least, priority), Number.POSITIVE_INFINITY)
  const limit = Math.max(given.protectedPriority, mostUrgent)
  return new Map(
    view.chains.map((chain) => {
      const usable = chain.paths.findIndex((path) => isUsable(path, chain, view))
      const path = usable === -1 ? (given.before.get(chain.id)?.path ?? 0) : usable
      const state: ChainState =
        chain.priority <= limit ? stateOfSuite(chain.requiredSuite) : chain.allowedSuites.includes('aes') ? 1 : 0
      const why: Why =
        chain.priority <= limit
          ? 'most urgent: kept'
          : state === stateOfSuite(chain.requiredSuite)
            ? 'required suite'
            : state === 1
              ? 'AES: key is short'
              : 'off: key is short'
      return [chain.id, { state, path, pathUp: usable !== -1, why }] as const
    }),
  )
}
