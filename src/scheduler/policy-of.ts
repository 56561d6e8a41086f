import { type ForecasterName, forecasterOf, shippedWeights } from '../forecast/index.ts'
import { type CentreSeat, centrePolicyOf } from './game/centre-policies.ts'
import { type GameSpec, LabGamePolicy } from './game/lab-policy.ts'
import type { LabTerms } from './game/lab-terms.ts'
import { GreedyPolicy } from './greedy.ts'
import type { Policy } from './policy.ts'
import type { Limit } from './rolling/budget.ts'
import type { Responses } from './rolling/deviations.ts'
import type { RiskBound } from './rolling/quantile.ts'
import { RollingPolicy, type Solver } from './rolling/rolling-policy.ts'
import { StaticPolicy } from './static.ts'

/** What a scenario says of its policy: name and parameters, times in seconds. */
export type PolicySpec = {
  readonly policy: 'greedy' | 'static' | 'rolling' | 'game'
  readonly horizonS: number
  readonly dwellS: number
  readonly protectedPriority: number
  /** Messages under one AES key. */
  readonly messagesPerRekey: number
  /** For `game`. */
  readonly game?: GameSpec | undefined
  /** Its grid terms; made with the plan where one of their weights is above 0. */
  readonly gameTerms?: LabTerms
  /** The rest is for `rolling`. */
  readonly tickMs?: number
  readonly rolling?: RollingSpec
  /** `highs`: the solver must be given with the means. */
  readonly solver?: 'own' | 'highs'
  /** How the chains move frequency and voltages; made with the plan where one of their weights is above 0. */
  readonly responses?: Responses
}

export type RollingSpec = {
  readonly steps: number
  readonly risk: number
  readonly riskBound: RiskBound
  readonly gap: number
  /** Time a solve may take on a live lab, ms. */
  readonly limitMs: number
  /** Work it may do in virtual time, units of about an option looked at. */
  readonly workUnits: number
  readonly forecast: ForecasterName
}

/** What the policy is run with. */
export type PolicyMeans = {
  /** Milliseconds of a clock that does not go back; without one the work is limited instead, and the same views give the same plans. */
  readonly now?: () => number
  readonly solver?: Solver
  /** For `game`: the place of this control centre among others. Absent: one scheduler plans for all agents. */
  readonly seat?: CentreSeat
}

const ROLLING: RollingSpec = {
  steps: 10,
  risk: 0.05,
  riskBound: 'allocated',
  gap: 1e-3,
  limitMs: 30,
  workUnits: 1_000_000,
  forecast: 'kalman+lstm',
}

/** The policy that a specification names. @throws RangeError for a game without agents, and for HiGHS where there is none */
export function policyOf(spec: PolicySpec, means: PolicyMeans = {}): Policy {
  const { policy, horizonS, dwellS, protectedPriority, messagesPerRekey } = spec
  if (policy === 'static') return new StaticPolicy()
  if (policy === 'game') {
    const { game, gameTerms } = spec
    if (game === undefined) throw new RangeError('the policy game needs its agents')
    const options = {
      spec: game,
      horizonS,
      minDwellMs: dwellS * 1000,
      messagesPerRekey,
      ...(gameTerms && { grid: gameTerms }),
    }
    return means.seat === undefined ? new LabGamePolicy(options) : centrePolicyOf(options, means.seat)
  }
  if (policy === 'greedy') {
    return new GreedyPolicy({ horizonS, minDwellMs: dwellS * 1000, protectedPriority, messagesPerRekey })
  }
  if (spec.solver === 'highs' && means.solver === undefined)
    throw new RangeError('scheduler.solver: highs is not loaded')
  const { forecast, limitMs, workUnits, ...rolling } = spec.rolling ?? ROLLING
  const { tickMs = 100, responses } = spec
  const limit: Limit =
    means.now === undefined ? { kind: 'work', units: workUnits } : { kind: 'time', now: means.now, limitMs }
  return new RollingPolicy({
    ...rolling,
    horizonS,
    tickMs,
    protectedPriority,
    messagesPerRekey,
    limit,
    forecaster: (levels) => forecasterOf(forecast, { ...levels, stepMs: tickMs, weights: shippedWeights() }),
    ...(responses && { responses }),
    ...(means.solver && { solver: means.solver }),
  })
}
