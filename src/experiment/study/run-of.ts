/** One run of a study: a job, which is plain data, and what came of it. */
import type { Policy } from '../../scheduler/index.ts'
import { scenarioOfVariant, type Variant } from '../cases.ts'
import type { Metrics } from '../metrics.ts'
import { planOf } from '../plan.ts'
import type { Scenario } from '../scenario-schema.ts'
import { worldOf } from '../world.ts'

/** A run to be made. The same job gives the same metrics on every machine, whoever runs it. */
export type Job = {
  /** Unique in its study: row and seed. */
  readonly id: string
  readonly row: string
  readonly seed: number
  /** The scenario before the variant is applied; as it is to run without one. */
  readonly scenario: Scenario
  readonly variant: Variant | undefined
}

/** Metrics of a run without its list of lost tasks, whose causes are counted instead. */
export type RunMetrics = Omit<Metrics, 'lost'> & {
  /** Tasks that were not full, by class, outcome and reason. */
  readonly lostBy: Readonly<Record<string, number>>
}

export type RunResult = {
  readonly id: string
  readonly row: string
  readonly seed: number
  readonly metrics: RunMetrics
  /** What the run took: the only part that differs between two runs of the same job. */
  readonly took: {
    /** Lab time, warm-up included, s. */
    readonly labS: number
    readonly wallS: number
    /** Of it in the scheduler's policy. */
    readonly schedulerS: number
  }
}

export type RunTools = {
  readonly version: string
  /** A clock that counts seconds, for `took`. */
  readonly clockS: () => number
}

/** Carries a job out in virtual time. `cryptoReady` of protocol must have resolved. */
export function runOf({ id, row, seed, scenario, variant }: Job, { version, clockS }: RunTools): RunResult {
  const plan = planOf({ ...(variant === undefined ? scenario : scenarioOfVariant(scenario, variant)), seed })
  let schedulerS = 0
  const timed = (policy: Policy): Policy => ({
    name: policy.name,
    ...(policy.talk && { talk: policy.talk }),
    plan(view, nowMs) {
      const begunS = clockS()
      const made = policy.plan(view, nowMs)
      schedulerS += clockS() - begunS
      return made
    },
  })
  const begunS = clockS()
  const lab = worldOf(plan, seed, { policy: timed })
  lab.run()
  const metrics = compact(lab.metrics(version))
  return { id, row, seed, metrics, took: { labS: plan.durationS, wallS: clockS() - begunS, schedulerS } }
}

function compact({ lost, ...metrics }: Metrics): RunMetrics {
  const lostBy: Record<string, number> = {}
  for (const { taskClass, outcome, reason } of lost) {
    const cause = [taskClass, outcome, reason].filter((part) => part !== null).join(', ')
    lostBy[cause] = (lostBy[cause] ?? 0) + 1
  }
  return { ...metrics, lostBy }
}
