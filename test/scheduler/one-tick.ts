/** Chains, views and a rolling policy with a plain forecast, for tests of single ticks. */
import type { Forecaster } from '../../src/forecast/index.ts'
import type { LinkState, PoolStatus } from '../../src/runtime/contract.ts'
import {
  type Chain,
  type ChainSpec,
  chain,
  type Plan,
  type Responses,
  type RollingOptions,
  RollingPolicy,
  type SchedulerView,
  topology,
} from '../../src/scheduler/index.ts'

export const LINKS = [
  { link: 1, ends: ['master', 'gw-a'], pooled: true },
  { link: 2, ends: ['gw-a', 'rtu'], pooled: true },
  { link: 3, ends: ['master', 'gw-b'], pooled: true },
  { link: 4, ends: ['gw-b', 'rtu'], pooled: true },
  { link: 5, ends: ['rtu', 'ied'], pooled: false },
] as const
const PATHS = [
  ['master', 'gw-a', 'rtu', 'ied'],
  ['master', 'gw-b', 'rtu', 'ied'],
]

export function make(spec: Partial<ChainSpec> & { readonly id: string }): Chain {
  return chain({
    taskType: 'setpoint',
    priority: 1,
    requiredSuite: 'otp',
    allowedSuites: ['otp', 'aes'],
    paths: PATHS,
    deadlineMs: 2000,
    ratePerS: 1,
    apduBytes: 16,
    ...spec,
  })
}

/** Each takes 512 bit/s in OTP on two pooled hops; the later ones are worth more. */
export const CHAINS = [1, 2, 3, 4].map((n) => make({ id: `c${n}`, degradeWeight: n, priority: n, lossWeight: 10 * n }))

export type Situation = {
  readonly tMs: number
  readonly poolBits: number
  readonly rateBps: number
  readonly down?: readonly number[]
  readonly delayMs?: readonly number[]
}

export function status({ tMs, poolBits, rateBps, down = [], delayMs = [] }: Situation): PoolStatus {
  const links: LinkState[] = [1, 2, 3, 4].map((link) => ({
    link,
    up: !down.includes(link),
    rateBps: down.includes(link) ? 0 : rateBps / 4,
    delayMs: delayMs[link] ?? 1,
  }))
  const generatedBits = 100_000 + (rateBps * tMs) / 1000
  const books = { generatedBits, usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0, poolBits }
  return { tMs, level: 'normal', safeBits: 4_000, thBits: 8_000, capBits: 100_000, books, links }
}

export function view(situation: Situation, chains: readonly Chain[] = CHAINS): SchedulerView {
  const { down = [] } = situation
  return {
    status: status(situation),
    chains,
    topology: LINK_TABLE,
    linkUp: new Map(down.map((link) => [link, false])),
    deltaFHz: 0,
  }
}
const LINK_TABLE = topology(LINKS)

/** Says that supply and use go on as in the last step. */
class LastStep implements Forecaster {
  readonly name = 'last step'
  #supplyBits = 0
  #stockBits = 0
  observe({ generatedBits, stockBits }: { readonly generatedBits: number; readonly stockBits: number }): void {
    this.#supplyBits = generatedBits
    this.#stockBits = stockBits
  }
  forecast(steps: number) {
    const stockBits = new Float64Array(steps).fill(this.#stockBits)
    return {
      stepMs: 100,
      source: this.name,
      supplyBits: new Float64Array(steps).fill(this.#supplyBits),
      supplySdBits: Float64Array.from({ length: steps }, (_, i) => 2 * Math.sqrt(i + 1)),
      stockBits,
      stockLowerBits: stockBits,
      demandBits: new Float64Array(steps),
    }
  }
}

export const RESPONSES: Responses = { weight: 1, sampleS: 0.1, samples: [[0, 1e-4]], decay: [1, 0.9], unitsPerHz: {} }

export function policy(): RollingPolicy {
  return new RollingPolicy(options())
}

export function options(): RollingOptions {
  return {
    forecaster: () => new LastStep(),
    tickMs: 100,
    horizonS: 10,
    steps: 10,
    risk: 0.05,
    riskBound: 'bonferroni',
    limit: { kind: 'work', units: 4_000_000 },
    gap: 1e-4,
    protectedPriority: 1,
    messagesPerRekey: 64,
  }
}

/** The plan after twenty ticks of the same situation. */
export function settled(situation: Omit<Situation, 'tMs'>, chains: readonly Chain[] = CHAINS): Plan {
  const rolling = policy()
  let plan: Plan | undefined
  for (let tMs = 100; tMs <= 2000; tMs += 100) plan = rolling.plan(view({ ...situation, tMs }, chains), tMs)
  if (plan === undefined) throw new Error('no plan')
  return plan
}

export const states = ({ decisions }: Plan) => [...decisions.values()].map(({ state }) => state)
