import { GreedyPolicy } from './greedy.ts'
import type { Policy } from './policy.ts'
import { StaticPolicy } from './static.ts'

/** What a scenario says of its policy: name and parameters, times in seconds. */
export type PolicySpec = {
  readonly policy: 'greedy' | 'static'
  readonly horizonS: number
  readonly dwellS: number
  readonly protectedPriority: number
  /** Messages under one AES key. */
  readonly messagesPerRekey: number
}

/** The policy that a specification names. */
export function policyOf({ policy, horizonS, dwellS, protectedPriority, messagesPerRekey }: PolicySpec): Policy {
  if (policy === 'static') return new StaticPolicy()
  return new GreedyPolicy({ horizonS, minDwellMs: dwellS * 1000, protectedPriority, messagesPerRekey })
}
