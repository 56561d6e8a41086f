import type { SecureLinkOptions } from '../protocol/index.ts'
import type { Priorities } from '../runtime/link-ports.ts'

/** A gateway: which links it has, and where ASDUs go. Link numbers are those of `links`. */
export type GatewayConfig = {
  readonly id: string
  readonly links: readonly SecureLinkOptions[]
  /** By common address: the links towards the station, the preferred one first. */
  readonly routes: Readonly<Record<number, readonly number[]>>
  /** The links towards the control centre, the preferred one first. */
  readonly toCentre: readonly number[]
  /**
   * Of several centres: the links towards each by its originator address. Monitor direction goes by that address; without one,
   * or with one that is not here, along `toCentre`.
   */
  readonly centres?: Readonly<Record<number, readonly number[]>>
  /** How long a message may wait here for a link or for key, ms (default 10 000). */
  readonly holdMs?: number
  readonly priorities?: Partial<Priorities>
  /** How long after `drain` the links are closed if the centre has not closed its own, ms (default 5 000). */
  readonly drainMs?: number
}
