/** The options of chains as the rolling problem counts them: off, then each allowed suite on each path. */
import type { PoolStatus, Suite } from '../../runtime/contract.ts'
import type { Chain } from '../chain.ts'
import { kappaBits, pooledHops } from '../key-cost.ts'
import { pathIsUp, type SchedulerView } from '../policy.ts'
import { linkBetween } from '../topology.ts'

export type ChainOption = {
  readonly suite: Suite | undefined
  /** Index of the path; 0 for off. */
  readonly path: number
  /** Key a message takes from the pool on the whole path, bits. */
  readonly messageBits: number
  /** Cost a second: below the required suite, off, or on another than the first path. */
  readonly costPerS: number
  /** The same when there is key to spare: then what is less than the best allowed suite costs something, too. */
  readonly spareCostPerS: number
}

/** A longer way is taken only for a reason: cost a second of each place down the list of paths, of the chain's xi_deg. */
const PATH_COST_RATIO = 0.01
/** OTP where AES is enough is no gain; this much of xi_deg keeps it from being chosen when key costs nothing. */
const BETTER_COST_RATIO = 1e-3
/** With key to spare, of xi_deg: little beside what any chain below its required suite costs, and a few seconds pay for a change. */
const SPARE_COST_RATIO = 0.05

/** Options of a chain; they depend on chain and topology alone. */
export function optionsOf(
  chain: Chain,
  { topology, messagesPerRekey }: Pick<SchedulerView, 'topology'> & { readonly messagesPerRekey: number },
): readonly ChainOption[] {
  const { degradeWeight, lossWeight, requiredSuite, allowedSuites } = chain
  const off = { suite: undefined, path: 0, messageBits: 0, costPerS: lossWeight, spareCostPerS: lossWeight }
  const options: ChainOption[] = [off]
  const mayBeBetter = requiredSuite === 'aes' && allowedSuites.includes('otp')
  for (const [path, nodes] of chain.paths.entries()) {
    const hops = pooledHops(nodes, topology)
    for (const suite of ['aes', 'otp'] as const) {
      if (!allowedSuites.includes(suite)) continue
      const way = path * PATH_COST_RATIO * degradeWeight
      const service = suite === requiredSuite ? 0 : suite === 'aes' ? degradeWeight : BETTER_COST_RATIO * degradeWeight
      const spare = mayBeBetter ? (suite === 'otp' ? 0 : SPARE_COST_RATIO * degradeWeight) : service
      options.push({
        suite,
        path,
        messageBits: kappaBits(suite, chain.apduBytes, messagesPerRekey) * hops,
        costPerS: service + way,
        spareCostPerS: spare + way,
      })
    }
  }
  return options
}

/** Whether a path can be used now: its links are up, and a command and its answer are in time on it. */
export function isUsable(path: readonly string[], chain: Chain, view: SchedulerView): boolean {
  return pathIsUp(path, view) && 2 * delayOf(path, view) <= chain.deadlineMs
}

function delayOf(path: readonly string[], { topology, status }: SchedulerView): number {
  const delays = delaysOf(status)
  let sum = 0
  for (let i = 1; i < path.length; i++) {
    const link = linkBetween(topology, path[i - 1] ?? '', path[i] ?? '')?.link
    const delayMs = link === undefined ? 0 : (delays.get(link) ?? 0)
    // A link that is down has no delay; whether it is up is asked elsewhere.
    if (Number.isFinite(delayMs)) sum += delayMs
  }
  return sum
}

const delayTables = new WeakMap<PoolStatus, ReadonlyMap<number, number>>()

function delaysOf(status: PoolStatus): ReadonlyMap<number, number> {
  const known = delayTables.get(status)
  if (known !== undefined) return known
  const table = new Map(status.links.map(({ link, delayMs }) => [link, delayMs]))
  delayTables.set(status, table)
  return table
}
