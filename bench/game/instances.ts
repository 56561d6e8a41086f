import type { Game, GameAgent, GameChain } from '../../src/scheduler/game/index.ts'
import { type Random, randomStream } from '../../src/sim/index.ts'

/** What a random game is like. */
export type InstanceSpec = {
  readonly leaderChains: number
  /** Chains of each follower. */
  readonly followerChains: readonly number[]
  /** Budget as a share of what all chains with the one-time pad take. */
  readonly budgetRatio: number
  readonly followerWeight?: number
  /** phi: floor as a share of the follower's part of the budget by demand. */
  readonly floorRatio?: number
  /** Losses and bits in coarse steps, so that many answers tie. */
  readonly coarse?: boolean
}

/** One chain of each kind of task, sizes as the product sends them; window of 10 s, two pooled hops, 64 messages a re-key. */
const TASKS = [
  { bytes: 16, ratePerS: [0.02, 0.3], drop: [10, 60], degrade: [1, 6], felt: [2, 20] },
  { bytes: 20, ratePerS: [0.25, 0.75], drop: [10, 30], degrade: [1, 4], felt: [0, 5] },
  { bytes: 20, ratePerS: [0.05, 0.3], drop: [5, 20], degrade: [0.5, 3], felt: [0, 0] },
  { bytes: 27, ratePerS: [0.1, 1], drop: [1, 6], degrade: [0.1, 0.6], felt: [0, 0] },
] as const
const WINDOW_S = 10
const HOPS = 2
const AES_BITS = 2

/** A game drawn from a seed: chains of four kinds of task with losses, rates and former states at random. */
export function randomGame(seed: number, spec: InstanceSpec): Game {
  const random = randomStream(seed, 'game')
  const { coarse = false, followerWeight = 1, floorRatio = 0 } = spec
  const agent = (id: string, count: number, leader: boolean): GameAgent => ({
    id,
    chains: Array.from({ length: count }, (_, l) => drawChain(random, `${id}-${l}`, leader, coarse)),
  })
  const leader = agent('tso', spec.leaderChains, true)
  const followers = spec.followerChains.map((count, j) => agent(`dso${j + 1}`, count, false))
  const full = [leader, ...followers].map(fullBits)
  const all = full.reduce((sum, bits) => sum + bits, 0)
  const budgetBits = Math.floor(spec.budgetRatio * all)
  return {
    leader,
    followers: followers.map((follower, j) => ({
      ...follower,
      floorBits: Math.floor(floorRatio * Math.min(1, budgetBits / all) * (full[j + 1] ?? 0)),
    })),
    followerWeight,
    budgetBits,
    riskPriceBits: 0.002,
  }
}

function drawChain(random: Random, id: string, leader: boolean, coarse: boolean): GameChain {
  const task = TASKS[Math.floor(random.uniform() * TASKS.length)] ?? TASKS[0]
  const between = ([low, high]: readonly [number, number]): number => {
    const value = low + (high - low) * random.uniform()
    return coarse ? Math.ceil(value / 2) : value
  }
  const padBits = 32 * Math.ceil(task.bytes / 4) + 128
  const messages = coarse ? Math.ceil(4 * random.uniform()) : between(task.ratePerS) * WINDOW_S * HOPS
  const drop = between(task.drop)
  const degrade = between(task.degrade)
  const felt = leader ? 0 : between(task.felt)
  const switching = coarse ? 0 : 0.1 * random.uniform()
  const before = Math.floor(3 * random.uniform())
  const option = (state: 0 | 1 | 2, bits: number, ownLoss: number, leaderLoss: number) => ({
    state,
    path: 0,
    meanBits: messages * bits,
    varianceBits2: coarse ? 0 : messages * bits * bits,
    ownLoss: ownLoss + (state === before ? 0 : switching),
    leaderLoss,
  })
  return { id, options: [option(0, 0, drop, felt), option(1, AES_BITS, degrade, 0), option(2, padBits, 0, 0)] }
}

/** Key of all chains of an agent with their heaviest option. */
function fullBits({ chains }: GameAgent): number {
  return chains.reduce((sum, { options }) => sum + Math.max(...options.map(({ meanBits }) => meanBits)), 0)
}
