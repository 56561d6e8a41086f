/** What each part of the reconfigurable scenario S-3 is worth: the same runs with one part taken away. */
import { type Variant, variantOf } from '../cases.ts'
import type { Scenario } from '../scenario-schema.ts'
import { withBreaks, withKeyRate } from './changes.ts'
import type { Row, Study } from './study.ts'

export type AblationOptions = {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  /** Policies to compare, the first is that of the other rows. */
  readonly policies: readonly Scenario['scheduler']['policy'][]
}

/** Breaks a link, 1/s: the most that the paper's figure 4 has. */
const BREAKS_PER_S = 0.003
/** Key rate against that of the scenario, so that key is short. */
const RATE_RATIO = 0.8

/** Rows: all parts, each policy, then without one part each. */
export function ablation({ scenario, seeds, policies }: AblationOptions): Study {
  const short = withKeyRate(withBreaks(scenario, BREAKS_PER_S), RATE_RATIO)
  const whole: Variant = { ...variantOf('S-3', scenario), ...(policies[0] !== undefined && { policy: policies[0] }) }
  const row = (id: string, label: string, change: Partial<Variant>): Row => {
    return { id, label, scenario: short, variant: { ...whole, ...change } }
  }
  return {
    name: 'ablation',
    title: 'Ablation: S-3 with one part taken away',
    notes: [
      `Breaks at ${BREAKS_PER_S} /s a link and ${RATE_RATIO} of Table I's key rate, so that there is something to schedule.`,
      'OTP only: no chain and no report falls back to AES. Single path: stations have no second gateway.',
      'Quotas: the same scheduler on a stock a station (as S-1) or a gateway (as S-2) instead of one for all.',
    ],
    rows: [
      ...policies.map((policy, index) =>
        row(`policy-${policy}`, `${index === 0 ? 'all parts, ' : ''}${policy}`, { policy }),
      ),
      row('no-scheduler', 'no scheduler, one-time pads for all', { policy: 'static', reportSuite: 'otp' }),
      row('single-path', 'single path', { isSinglePath: true }),
      row('otp-only', 'OTP only', { suites: 'otp', reportSuite: 'otp' }),
      row('quotas-gateway', 'quotas: a stock a gateway', { pooling: 'gateway' }),
      row('quotas-station', 'quotas: a stock a station', { pooling: 'station' }),
    ],
    seeds,
  }
}
