/** The rolling problem of one tick, from chains, links and forecast. */
import type { Chain } from '../chain.ts'
import type { Decision, SchedulerView } from '../policy.ts'
import { stateOfSuite } from '../policy.ts'
import { type ChainOption, isUsable, optionsOf } from './chain-options.ts'
import { deviationsOf, type Responses } from './deviations.ts'
import type { RollingProblem } from './problem.ts'

/**
 * What is asked of the end of the horizon: a reserve above the buffer, on average or with the probability of the chance rows. With
 * the latter there is key to spare, and better suites than the required ones are worth something.
 */
export type EndRow = { readonly kind: 'mean' | 'spare'; readonly reserveBits: number }

/** What the horizon brings, by step. */
export type Horizon = {
  readonly tickMs: number
  readonly stepMs: number
  readonly stockBits: number
  /** eta_buf: never planned with. */
  readonly bufferBits: number
  /** Must be there at the end besides. */
  readonly end: EndRow
  readonly supplyBits: Float64Array
  /** Standard deviation of the supply from the first step to each, bits. */
  readonly supplySdBits: Float64Array
  /** Use that no chain explains: bits a step, and standard deviation from the first step to each. */
  readonly otherBits: number
  readonly otherSdBits: Float64Array
  /** Quantile of each row. */
  readonly z: Float64Array
  readonly deltaFHz: number
  /** Measured voltages by bus, pu. */
  readonly voltagesPu: ReadonlyMap<number, number>
}

/** Chains with their options, and which of them can be used now. */
export type Work = {
  readonly chains: readonly Chain[]
  readonly options: readonly (readonly ChainOption[])[]
  /** By chain and option. */
  readonly usable: readonly (readonly boolean[])[]
  /** Option of the last tick, -1: none. */
  readonly initial: Int32Array
}

/** Keeps what stays the same from tick to tick while the chains do. */
export class Workplace {
  readonly #messagesPerRekey: number
  #chains: readonly Chain[] | undefined
  #topology: SchedulerView['topology'] | undefined
  #options: readonly (readonly ChainOption[])[] = []
  #withPath = new Set<Chain>()

  constructor(messagesPerRekey: number) {
    this.#messagesPerRekey = messagesPerRekey
  }

  /** Whether some path of the chain was usable at the last `prepare`. */
  hasPath(chain: Chain): boolean {
    return this.#withPath.has(chain)
  }

  prepare(view: SchedulerView, before: ReadonlyMap<string, Decision>): Work {
    const { chains, topology } = view
    if (this.#chains !== chains || this.#topology !== topology) {
      this.#chains = chains
      this.#topology = topology
      this.#options = chains.map((chain) => optionsOf(chain, { topology, messagesPerRekey: this.#messagesPerRekey }))
    }
    const options = this.#options
    this.#withPath = new Set()
    const usable = chains.map((chain, l) => {
      const open = chain.paths.map((path) => isUsable(path, chain, view))
      if (open.includes(true)) this.#withPath.add(chain)
      // Without any path the chain keeps the one it had: commands wait for it to come back.
      const kept = open.includes(true) ? -1 : (before.get(chain.id)?.path ?? 0)
      return (options[l] ?? []).map(({ suite, path }) => suite === undefined || open[path] === true || path === kept)
    })
    const initial = Int32Array.from(chains, (chain, l) => {
      const last = before.get(chain.id)
      if (last === undefined) return -1
      return (options[l] ?? []).findIndex(({ suite, path }) =>
        suite === undefined ? last.state === 0 : stateOfSuite(suite) === last.state && path === last.path,
      )
    })
    return { chains, options, usable, initial }
  }
}

export function problemOf(work: Work, horizon: Horizon, responses: Responses | undefined): RollingProblem {
  const { chains, options, usable, initial } = work
  const { tickMs, stepMs, supplyBits, supplySdBits, otherBits, otherSdBits, stockBits, bufferBits, end, z } = horizon
  const steps = supplyBits.length
  const stepS = stepMs / 1000
  const optionStart = new Int32Array(chains.length + 1)
  for (const [l, list] of options.entries()) optionStart[l + 1] = (optionStart[l] ?? 0) + list.length
  const total = optionStart[chains.length] ?? 0
  const meanBits = new Float64Array(total)
  const varianceBits2 = new Float64Array(total)
  const cost = new Float64Array(total * steps)
  for (const [l, chain] of chains.entries()) {
    for (const [m, { messageBits, costPerS, spareCostPerS }] of (options[l] ?? []).entries()) {
      const n = (optionStart[l] ?? 0) + m
      meanBits[n] = messageBits * chain.ratePerS * stepS
      varianceBits2[n] = messageBits * messageBits * chain.ratePerS * stepS
      const perS = end.kind === 'spare' ? spareCostPerS : costPerS
      const value = usable[l]?.[m] === true ? perS * stepS : Number.POSITIVE_INFINITY
      cost.fill(value, n * steps, (n + 1) * steps)
    }
  }
  const availableBits = new Float64Array(steps)
  const sd = new Float64Array(steps)
  let supply = 0
  for (let t = 0; t < steps; t++) {
    // Key that a tick makes can be used from the next tick on. Within a step stock and use run evenly, so its end says enough.
    supply += supplyBits[t] ?? 0
    const justMade = ((supplyBits[t] ?? 0) * tickMs) / stepMs
    availableBits[t] = stockBits - bufferBits + supply - justMade - otherBits * (t + 1)
    sd[t] = Math.hypot(supplySdBits[t] ?? 0, otherSdBits[t] ?? 0)
  }
  const deviation = responses && deviationsOf(work, { optionStart, total, steps, stepS, horizon, responses })
  const problem = {
    chains: chains.length,
    steps,
    optionStart,
    meanBits,
    varianceBits2,
    cost,
    switchCost: Float64Array.from(chains, ({ switchWeight }) => switchWeight),
    initial,
    availableBits,
    supplySdBits: sd,
    z,
    ...(deviation && { deviation }),
  }
  availableBits[steps - 1] =
    end.kind === 'mean' ? endOf(problem, end.reserveBits) : (availableBits[steps - 1] ?? 0) - end.reserveBits
  return problem
}

/**
 * What the last row allows, so that the reserve is left on average. The row's margin for the spread is part of what is left:
 * only what the reserve is more than that margin comes off besides. So the row is the chance row or a stricter one, and at the spread
 * of a plan that uses all of it M = available - reserve.
 */
function endOf(problem: RollingProblem, reserveBits: number): number {
  const { steps, z, availableBits, supplySdBits } = problem
  const available = availableBits[steps - 1] ?? 0
  const { ratio, varianceBits2 } = mostUse(problem)
  const variance = Math.min(ratio * Math.max(0, available - reserveBits), varianceBits2 * steps)
  const marginBits = (z[steps - 1] ?? 0) * Math.sqrt((supplySdBits[steps - 1] ?? 0) ** 2 + variance)
  return available - Math.max(0, reserveBits - marginBits)
}

/**
 * Spreads for the linear rows: those of a plan that uses what a row allows, M = available - z sqrt(sd^2 + V), at the ratio of
 * V to M that all chains have at their most. Where a row binds that is about the spread of the best plan; where none binds
 * it does not matter. (The spread of the last plan would not do: after a plan that spares key it is so small that
 * the rows forbid to use more.)
 */
export function spreadOf(problem: RollingProblem): Float64Array {
  const { steps, supplySdBits, availableBits, z } = problem
  const { ratio, varianceBits2 } = mostUse(problem)
  return Float64Array.from({ length: steps }, (_, t) => {
    const sd2 = (supplySdBits[t] ?? 0) ** 2
    // x = sqrt(sd^2 + ratio M) with M = available - z x: the positive root of x^2 + ratio z x = sd^2 + ratio available.
    const right = sd2 + ratio * Math.max(0, availableBits[t] ?? 0)
    const half = (ratio * (z[t] ?? 0)) / 2
    const root = Math.sqrt(half * half + right) - half
    return Math.max(1, Math.min(root, Math.sqrt(sd2 + varianceBits2 * (t + 1))), Math.sqrt(sd2))
  })
}

/** A step in which every chain takes the option that uses most: its variance, and the ratio of that to the mean use. */
function mostUse({ chains, steps, optionStart, meanBits, varianceBits2, cost }: RollingProblem) {
  let mean = 0
  let variance = 0
  for (let l = 0; l < chains; l++) {
    let most = 0
    let most2 = 0
    for (let n = optionStart[l] ?? 0; n < (optionStart[l + 1] ?? 0); n++) {
      if ((cost[n * steps] ?? 0) === Number.POSITIVE_INFINITY) continue
      most = Math.max(most, meanBits[n] ?? 0)
      most2 = Math.max(most2, varianceBits2[n] ?? 0)
    }
    mean += most
    variance += most2
  }
  return { ratio: mean > 0 ? variance / mean : 0, varianceBits2: variance }
}
