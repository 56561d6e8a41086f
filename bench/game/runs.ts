import { type GamePolicy, type StockReport, StockWorld, type WorldAgent } from '../../src/scheduler/index.ts'
import { randomStream } from '../../src/sim/index.ts'
import { TERMS, TrunkSupply } from './zones.ts'

export type RunSpec = {
  readonly seed: number
  readonly breakRatePerS: number
  /** Time before the window that is measured, s. */
  readonly settleS: number
  /** Window of F_K. */
  readonly measureS: number
  /** Ticks of 100 ms from plan to plan. */
  readonly planEvery: number
}

export type RunResult = StockReport & { readonly planCpuMs: readonly number[]; readonly iterations: readonly number[] }

/** One run of a policy; the same seed gives the same links and messages to every policy. */
export function runOnce(agents: readonly WorldAgent[], policy: GamePolicy, spec: RunSpec): RunResult {
  const { seed, breakRatePerS, settleS, measureS, planEvery } = spec
  const streams = agents.map(({ chains }) => chains.map(({ id }) => randomStream(seed, `messages ${id}`)))
  const planCpuMs: number[] = []
  const iterations: number[] = []
  const timed: GamePolicy = {
    name: policy.name,
    shares: (views) => policy.shares(views),
    decide: (view) => {
      const before = process.cpuUsage()
      const decision = policy.decide(view)
      const { user, system } = process.cpuUsage(before)
      planCpuMs.push((user + system) / 1000)
      if (decision.iterations !== undefined) iterations.push(decision.iterations)
      return decision
    },
  }
  const world = new StockWorld({
    agents,
    policy: timed,
    supply: new TrunkSupply(seed, breakRatePerS),
    poisson: (agent, chain, mean) => streams[agent]?.[chain]?.poisson(mean) ?? 0,
    terms: TERMS,
    tickMs: 100,
    planEvery,
    windowS: 10,
    initialBits: 72_000,
    capBits: 144_000,
    bufferBits: 2_000,
    reserveBits: 16_000,
    riskRatio: 0.05,
  })
  world.run(settleS)
  return { ...world.run(measureS), planCpuMs, iterations }
}
