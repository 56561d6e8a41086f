/** Runs of the TSO-DSO game on the key stock of the 118-bus zones: a job, which is plain data, and what came of it. */
import {
  type GamePolicy,
  type LdCpOptions,
  SocialPolicy,
  SplitPolicy,
  StackelbergPolicy,
  StockWorld,
  type WorldAgent,
} from '../../scheduler/index.ts'
import { randomStream } from '../../sim/index.ts'
import { TERMS, TrunkSupply } from './zones.ts'

/**
 * Who plans, and how. `small-steps` is LD-CP whose rounds see few pairs and begin anew every tick: only there do many
 * iterations matter, as in the paper's figure 3. `printed-game` has neither floors nor the followers' loss in the leader's.
 */
export type GameKind =
  | 'equal'
  | 'demand'
  | 'ld-cp'
  | 'ld-cp-printed'
  | 'small-steps'
  | 'exact'
  | 'printed-game'
  | 'social'

export type GameJob = {
  readonly id: string
  readonly kind: GameKind
  readonly seed: number
  readonly breakRatePerS: number
  /** Most rounds of LD-CP a plan. */
  readonly maxIterations?: number
  /** Run before, and in the window that F_K is measured over, s. */
  readonly settleS: number
  readonly measureS: number
}

export type GameResult = {
  readonly id: string
  readonly kind: GameKind
  readonly seed: number
  readonly breakRatePerS: number
  readonly maxIterations: number | null
  /** Jain's index of what each agent got of what it wanted. */
  readonly fairnessIndex: number
  readonly minShare: number
  readonly rawJain: number
  /** Loss a second of the leader, and of all. */
  readonly leaderLossPerS: number
  readonly socialLossPerS: number
  readonly shortMessages: number
  readonly messages: number
  /** Most rounds that a plan of LD-CP took. */
  readonly iterations: number
}

/** A plan a second. */
const PLAN_EVERY_TICKS = 10

/** Carries a job out. The same seed gives the same links and messages to every policy. */
export function runGame(agents: readonly WorldAgent[], job: GameJob): GameResult {
  const { id, kind, seed, breakRatePerS, maxIterations, settleS, measureS } = job
  const streams = agents.map(({ chains }) => chains.map((chain) => randomStream(seed, `messages ${chain.id}`)))
  const policy = policyOf(kind, maxIterations)
  let iterations = 0
  const watched: GamePolicy = {
    name: policy.name,
    shares: (views) => policy.shares(views),
    decide(view) {
      const decision = policy.decide(view)
      iterations = Math.max(iterations, decision.iterations ?? 0)
      return decision
    },
  }
  const world = new StockWorld({
    agents,
    policy: watched,
    supply: new TrunkSupply(seed, breakRatePerS),
    poisson: (agent, chain, mean) => streams[agent]?.[chain]?.poisson(mean) ?? 0,
    terms: TERMS,
    tickMs: 100,
    planEvery: PLAN_EVERY_TICKS,
    windowS: 10,
    initialBits: 72_000,
    capBits: 144_000,
    bufferBits: 2_000,
    reserveBits: 16_000,
    riskRatio: 0.05,
  })
  world.run(settleS)
  const { fairness, lossPerS, socialPerS, shortMessages, messages } = world.run(measureS)
  return {
    id,
    kind,
    seed,
    breakRatePerS,
    maxIterations: maxIterations ?? null,
    fairnessIndex: fairness.fairnessIndex,
    minShare: fairness.minShare,
    rawJain: fairness.rawJain,
    leaderLossPerS: lossPerS[0] ?? Number.NaN,
    socialLossPerS: socialPerS,
    shortMessages,
    messages,
    iterations,
  }
}

function policyOf(kind: GameKind, maxIterations: number | undefined): GamePolicy {
  const ldCp = (options: LdCpOptions, warm = true): GamePolicy => {
    const budget = maxIterations === undefined ? {} : { maxIterations }
    return new StackelbergPolicy({ solver: 'ld-cp', ldCp: { ...options, ...budget }, warm })
  }
  switch (kind) {
    case 'equal':
    case 'demand':
      return new SplitPolicy(kind)
    case 'ld-cp':
      return ldCp({ form: 'improved' })
    case 'ld-cp-printed':
      return ldCp({ form: 'printed' })
    case 'small-steps':
      return ldCp({ form: 'printed', pairsKept: 0.02, shrinking: false, proximalWeight: 0.05 }, false)
    case 'exact':
      return new StackelbergPolicy({ solver: 'exact' })
    case 'printed-game':
      return new StackelbergPolicy({ solver: 'exact', followerWeight: 0, floorRatio: 0 })
    case 'social':
      return new SocialPolicy()
  }
}
