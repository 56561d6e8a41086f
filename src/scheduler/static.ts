import type { Decision, Plan, Policy, SchedulerView } from './policy.ts'
import { pathIsUp, stateOfSuite } from './policy.ts'

/** Baseline of S-1 and S-2: every chain in its required suite on its first path, whatever the stock and the links do. */
export class StaticPolicy implements Policy {
  readonly name = 'static'

  plan(view: SchedulerView, _nowMs: number): Plan {
    const decisions = new Map<string, Decision>()
    for (const { id, requiredSuite, paths } of view.chains) {
      const pathUp = pathIsUp(paths[0] ?? [], view)
      decisions.set(id, { state: stateOfSuite(requiredSuite), path: 0, pathUp, why: 'required suite' })
    }
    return { level: view.status.level, decisions }
  }
}
