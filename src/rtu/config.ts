import type { SecureLinkOptions } from '../protocol/index.ts'
import type { Priorities } from '../runtime/link-ports.ts'

/** A remote terminal unit. Plain data. */
export type RtuConfig = {
  readonly id: string
  /** Common address of the station, 1..65 534; its IEDs have it too. */
  readonly ca: number
  /** Links towards the control centre, the preferred one first; the RTU is their controlled station. */
  readonly upLinks: readonly SecureLinkOptions[]
  /** The IEDs, and the addresses (commands and points) each one owns; the RTU is the controlling station. */
  readonly ieds: readonly { readonly link: SecureLinkOptions; readonly ioas: readonly number[] }[]
  /** How long a message may wait for a link or for key, ms (default 10 000). */
  readonly holdMs?: number
  readonly priorities?: Partial<Priorities>
  /** How long after `drain` the links are closed if the centre has not closed its own, ms (default 5 000). */
  readonly drainMs?: number
}
