import type { SecureLinkOptions } from '../protocol/index.ts'
import type { CentreSeat, Chain } from '../scheduler/index.ts'
import type { AgcConfig } from './agc.ts'
import type { MeasurementsConfig } from './measurements.ts'
import type { SetpointConfig } from './setpoints.ts'
import type { SheddingConfig } from './shedding.ts'

/** A chain as the master runs it. */
export type MasterChain = {
  readonly chain: Chain
  /** The point its commands go to; absent for chains that carry measurements only, which are planned but not commanded. */
  readonly target?: { readonly ca: number; readonly ioa: number }
  /** Stations that are told to send their reports in the suite this chain has. */
  readonly reports?: readonly number[]
}

/** The control centre: links, stations, chains and applications. Plain data. */
export type MasterConfig = {
  readonly id: string
  /** Originator address in its commands, by which answers find back to it; absent or 0: there is only one centre. */
  readonly originator?: number
  /** Goes before the numbers of its tasks, so that those of several masters differ. */
  readonly taskPrefix?: string
  readonly links: readonly SecureLinkOptions[]
  /** Every link of the lab, for the scheduler: number, the nodes it joins, and whether it draws on the pool. */
  readonly topology: readonly {
    readonly link: number
    readonly ends: readonly [string, string]
    readonly pooled: boolean
  }[]
  /** The RTUs to be interrogated, with the links of the master they are reached by, the preferred one first. */
  readonly stations: readonly { readonly ca: number; readonly links: readonly number[] }[]
  readonly chains: readonly MasterChain[]
  readonly measurements: MeasurementsConfig
  /** The centre's own frequency meter; absent: it goes by what the machines report. */
  readonly meter?: { readonly bus: number; readonly periodMs: number }
  /** Its place in a game with other centres. */
  readonly seat?: CentreSeat
  /** The other centres that it speaks with: agent, the link between them, and their originator address. */
  readonly peers?: readonly { readonly agent: string; readonly link: number; readonly originator: number }[]
  readonly agc?: AgcConfig
  readonly shedding?: SheddingConfig
  readonly setpoints?: SetpointConfig
  /** Period of the scheduler and of the applications' tick, ms (default 100). */
  readonly tickMs?: number
  /**
   * Age in the first link's queue at which a command is taken back and sent as the plan then says, ms. Absent: a command
   * keeps its place in the queue until its task ends (first come, first served).
   */
  readonly requeueMs?: number
  /** How long a station may take over a general interrogation before it is repeated, ms (default 10 000). */
  readonly interrogationTimeoutMs?: number
  /** How long after `drain` tasks may still finish, ms (default 3 000). */
  readonly drainMs?: number
}
