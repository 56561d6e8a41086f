/** Options, inputs and effects of a SecureLink. */
import type { KeyLogRecord } from './key-log.ts'
import type { AppendResult } from './key-stream.ts'
import type { ChannelMark } from './marks.ts'
import type { LinkMessage } from './send-queue.ts'
import type { KeyBlock, Suite } from './types.ts'

export type SecureLinkOptions = {
  /** Link number, 0..32767. */
  readonly link: number
  /** 0: the link's first-named end, which is the controlling station and initiates the HANDSHAKE. */
  readonly end: 0 | 1
  /** Most I-frames sent and not acknowledged. */
  readonly k: number
  /** I-frames received after which an acknowledgement is sent at the latest. */
  readonly w: number
  /** Time within which an I-frame or a U act must be answered. */
  readonly t1Ms: number
  /** Time after which a received I-frame is acknowledged at the latest, below t1. */
  readonly t2Ms: number
  /** Time without a received frame after which the connection is tested. */
  readonly t3Ms: number
  /** Suite of S- and U-frames. */
  readonly supervisionSuite: Suite
  /** Messages under one AES key, 1..512. */
  readonly aesMaxMessages: number
  /** Life of an AES key, ms. */
  readonly aesMaxMs: number
  /** Key is fetched ahead when fewer slots than this are available or on their way. */
  readonly lowWaterSlots: number
  /** Slots to have after fetching ahead. */
  readonly highWaterSlots: number
  /** Most messages queued. */
  readonly queueLimit: number
  /** 1..2^52; without a ledger new at each start of the process: milliseconds of wall time will do. */
  readonly epoch: number
  /** Age at which key that was fetched and not used is overwritten and discarded, ms; absent: never. */
  readonly keyMaxAgeMs?: number
  /** Key for queued messages at least this urgent is asked for as the top chain's; absent: none is. */
  readonly topPriority?: number
  /** Key is asked for all messages that are queued, so that it comes in the order of their arrival; absent: for the next. */
  readonly wantsAll?: true
  /** Node ids, 1..64 octets each: this end's is told in the HANDSHAKE, and a peer that says another than its own is refused. */
  readonly names?: { readonly own: string; readonly peer: string }
  /** Emits all key this end uses as `keyLog` effects. Only what was explicitly asked for may set it. */
  readonly keyLog?: true
}

export const LINK_DEFAULTS = {
  k: 12,
  w: 8,
  t1Ms: 15_000,
  t2Ms: 100,
  t3Ms: 20_000,
  supervisionSuite: 'aes',
  aesMaxMessages: 64,
  aesMaxMs: 60_000,
  lowWaterSlots: 64,
  highWaterSlots: 192,
  queueLimit: 256,
} as const satisfies Omit<SecureLinkOptions, 'link' | 'end' | 'epoch'>

export type SecureLinkInput =
  /**
   * Begin: the controlling end opens the session, the other waits for it. With `marks`, at the first `open` and before any
   * key comes, a ledger is kept: see `start` of the node contract.
   */
  | { readonly kind: 'open'; readonly marks?: readonly ChannelMark[] }
  /** This mark of a `reserve` is durable. */
  | { readonly kind: 'reserved'; readonly mark: ChannelMark }
  /** Hostile until its tag verifies. */
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  /** Key of either direction; its octets are copied, to be overwritten by whoever brought them. Empty: see Q3pChannel. */
  | { readonly kind: 'keyBlock'; readonly block: KeyBlock }
  | { readonly kind: 'message'; readonly message: LinkMessage }
  /** No new messages: finish what is queued, then (controlling end) STOPDT; then the link is quiet. */
  | { readonly kind: 'close' }

/** Why a message will not arrive, or (linkClosed) may not have arrived. */
export type LostReason = 'queueFull' | 'expired' | 'linkClosed' | 'closing'

export type SecureLinkEffect =
  /** To the peer; the octets are kept for retransmission and must not be changed. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** Bring the stream of `channel` up to `upToSlot`. Idempotent. */
  | {
      readonly kind: 'fetchKeys'
      readonly channel: number
      readonly upToSlot: number
      /** So far it is for messages of `topPriority`. */
      readonly topUpToSlot?: number
    }
  /** Make this mark durable, then give it back as `reserved`. */
  | { readonly kind: 'reserve'; readonly mark: ChannelMark }
  | { readonly kind: 'keyLog'; readonly record: KeyLogRecord }
  /** A key block was not taken; unless it is delivered again as it should be, the stream ends before it. */
  | {
      readonly kind: 'keyRefused'
      readonly channel: number
      readonly slot: number
      readonly slots: number
      readonly reason: Exclude<AppendResult, 'appended' | 'duplicate'> | 'foreign'
    }
  /** An ASDU of the peer, in order and once. */
  | { readonly kind: 'deliver'; readonly asdu: Uint8Array; readonly suite: Suite }
  /**
   * Sealed and sent for the first time. `keyWaitMs`: held back by nothing but lack of key; `queueMs`: by link, window
   * and turn. `keySlots`: taken from the stream for it.
   */
  | {
      readonly kind: 'sent'
      readonly id: number
      readonly suite: Suite
      readonly queueMs: number
      readonly keyWaitMs: number
      readonly keySlots: number
    }
  /** The peer has it; `rttMs` from the first transmission. */
  | { readonly kind: 'acked'; readonly id: number; readonly rttMs: number }
  | { readonly kind: 'lost'; readonly id: number; readonly reason: LostReason }
  /** Data transfer has started. */
  | { readonly kind: 'up' }
  /** It has ended: 'stopped' in good order, else why. */
  | { readonly kind: 'down'; readonly reason: string }
