import type { ApciOptions, SecureLinkOptions } from '../../protocol/index.ts'
import type { ChannelMark, KeyBlock, KeyLogRecord, LabEvent, StreamBooks, Suite } from '../../runtime/contract.ts'

/** One gateway of a pair. */
export type BumpConfig = {
  /**
   * `accept`: masters connect to this end, which is their controlled station. `dial`: this end connects to the
   * outstation and is its controlling station. One of a pair does this, the other that.
   */
  readonly side: 'accept' | 'dial'
  /** The 104 connection on the near side; the standard's values are `NEAR_DEFAULTS`. */
  readonly near: Omit<ApciOptions, 'role' | 'uRetryMs'>
  /** The link to the twin. */
  readonly link: SecureLinkOptions
  /** Suite of the ASDUs. */
  readonly suite: Suite
  /**
   * With suite 'otp': while fewer slots than this are there to send with, ASDUs go by AES instead of waiting for key.
   * Undefined: they wait.
   */
  readonly aesBelowSlots?: number
  /** Most connections of masters at a time; one of them is started, the others are stand-bys (default 4). */
  readonly maxConnections?: number
}

/** Defaults of IEC 60870-5-104, 9.6. */
export const NEAR_DEFAULTS = { k: 12, w: 8, t1Ms: 15_000, t2Ms: 10_000, t3Ms: 20_000 } as const

/** ASDUs that one end may send before the other has handed earlier ones on. */
export const WINDOW_ASDUS = 64

/** Near connections are numbered by whoever runs the gateway (`accept`) or by the gateway (`dial`). */
export type BumpInput =
  /** With `marks` a ledger is kept: see `start` of the node contract. */
  | { readonly kind: 'start'; readonly marks?: readonly ChannelMark[] }
  /** This mark of an effect `reserve` is durable. */
  | { readonly kind: 'reserved'; readonly mark: ChannelMark }
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'keyBlock'; readonly block: KeyBlock }
  /** A near connection is up: a master connected, or the dialled outstation. */
  | { readonly kind: 'nearOpen'; readonly connection: number; readonly peer: string }
  | { readonly kind: 'nearData'; readonly connection: number; readonly bytes: Uint8Array }
  /** A near connection has ended, whoever ended it, or dialling failed. */
  | { readonly kind: 'nearClosed'; readonly connection: number; readonly reason: string }
  /** Ends the near connections, then the link. */
  | { readonly kind: 'drain' }

export type BumpEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  | { readonly kind: 'fetchKeys'; readonly channel: number; readonly upToSlot: number }
  /** Makes a mark durable, then gives it back as `reserved`. */
  | { readonly kind: 'reserve'; readonly mark: ChannelMark }
  /** For the key log; only where one was asked for. */
  | { readonly kind: 'keyLog'; readonly record: KeyLogRecord }
  | { readonly kind: 'books'; readonly books: StreamBooks }
  | { readonly kind: 'event'; readonly event: LabEvent }
  /** Connect to the outstation, once; answered by `nearOpen` or `nearClosed`. */
  | { readonly kind: 'dial'; readonly connection: number }
  | { readonly kind: 'nearWrite'; readonly connection: number; readonly bytes: Uint8Array }
  /** End the connection, or the attempt. */
  | { readonly kind: 'nearClose'; readonly connection: number }
  /** Stop or go on reading from the connection. */
  | { readonly kind: 'nearPause'; readonly connection: number; readonly isPaused: boolean }
