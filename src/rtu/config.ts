import type { SecureLinkOptions } from '../protocol/index.ts'
import type { Suite } from '../runtime/contract.ts'
import type { Priorities } from '../runtime/link-ports.ts'
import type { CoreConfig, PointSpec, StationConfig } from './station/contract.ts'

/** A remote terminal unit. Plain data. */
export type RtuConfig = {
  readonly id: string
  /** Common address of the station, 1..65 534; its IEDs have it too. */
  readonly ca: number
  /** Links towards the control centre, the preferred one first; the RTU is their controlled station. */
  readonly upLinks: readonly SecureLinkOptions[]
  /** Originator addresses of the control centres, where there are several: each is sent what the station reports by itself. */
  readonly centres?: readonly number[]
  /** The IEDs, and the addresses (commands and points) each one owns; the RTU is the controlling station. */
  readonly ieds: readonly { readonly link: SecureLinkOptions; readonly ioas: readonly number[] }[]
  /** What the station knows of points beforehand. A point appears, of the kind of its type, when its IED first reports it. */
  readonly points?: readonly RtuPoint[]
  /** As of any controlled station. */
  readonly station?: Partial<Omit<CoreConfig, 'points' | 'commands' | 'cas' | 'redundancy' | 'announceStart'>>
  /** The RTU also serves controlling stations over plain 104/TCP. */
  readonly tcp?: RtuTcp
  /** How long a message may wait for a link or for key, ms (default 10 000). Events wait as long as it takes. */
  readonly holdMs?: number
  readonly priorities?: Partial<Priorities>
  /** How long after `drain` the links are closed if the centre has not closed its own, ms (default 5 000). */
  readonly drainMs?: number
}

/** A point of an IED: its interrogation group 1..16 (counters 1..4), and how it is sent besides the IED's own reports. */
export type RtuPoint = Pick<PointSpec, 'ioa' | 'name' | 'group' | 'cycleMs' | 'background'>

/** The 104/TCP face of an RTU. */
export type RtuTcp = Pick<StationConfig, 'apci' | 'maxConnections' | 'redundancy'> & {
  readonly port: number
  /** Suite towards the IED of commands that came in clear (default aes). */
  readonly commandSuite?: Suite
}
