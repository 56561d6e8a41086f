import type { KeyBlock, LabEvent, LinkState, PoolStatus } from '../runtime/contract.ts'
import type { KeyJournal } from './journal.ts'
import type { KeyPoolOptions } from './pool-options.ts'

export type KeyServerOptions = Omit<KeyPoolOptions, 'links'> & {
  /** Each link with the node ids of its first and second end; channel 2 x link is sent on by the first. */
  readonly links: readonly {
    readonly link: number
    readonly ends: readonly [string, string]
    readonly keys: 'pool' | 'local' | 'relay'
  }[]
  /** How often the pool's state is published; default 100 ms. */
  readonly statusPeriodMs?: number
  /** How often the `pool` event is recorded; default 1000 ms. */
  readonly eventPeriodMs?: number
  /** Nothing more is assigned to a channel when an end has not taken this much of it; default 262,144 slots (1 MiB). */
  readonly maxBacklogSlots?: number
  /**
   * What must outlive the process; default nothing. With it, streams and books of a server that was started again go on where
   * they were, and an end that claims to have more of a stream than was ever assigned is refused.
   */
  readonly journal?: KeyJournal
}

/** How far an end's copy of a stream reaches. */
export type StreamPosition = { readonly channel: number; readonly slot: number }

/** `client`, the channel's sender, wants the stream to reach `upToSlot`. Idempotent. For the rest see WantDetails. */
export type Want = {
  readonly client: string
  readonly channel: number
  readonly upToSlot: number
  readonly topUpToSlot?: number
  readonly quota?: string
  readonly deadlineMs?: number
}

/** How far a stream is used: see the input `report`. */
export type UseReport = {
  readonly channel: number
  readonly usedSlots: number
  readonly discardedSlots?: number
  readonly client?: string
  readonly heldSlots?: number
}

type LinkInput =
  /** A link generated `bits` since the last time. */
  | { readonly kind: 'generated'; readonly link: number; readonly bits: number }
  | { readonly kind: 'linkState'; readonly state: LinkState }

export type KeyServerInput =
  | { readonly kind: 'start' }
  | LinkInput
  /** Several at once, which the journal takes in one step. */
  | { readonly kind: 'several'; readonly inputs: readonly (LinkInput | ({ readonly kind: 'report' } & UseReport))[] }
  | ({ readonly kind: 'want' } & Want)
  /** Several at once, which the journal takes in one step. */
  | { readonly kind: 'wants'; readonly wants: readonly Want[] }
  /**
   * The stream is used up to `usedSlots`, of which the sender's process has discarded `discardedSlots` so far. With a `client`, only its sender's word on use counts, and either end says with
   * `heldSlots` what it has safely received. Without one it is the sender's own node that speaks, in the same process.
   */
  | ({ readonly kind: 'report' } & UseReport)
  /**
   * `client` is to get the blocks of `links`, from where its copies end (`have`; default 0). With `have` it acknowledges
   * what it gets by reports, and what it has not acknowledged it gets again when it subscribes again; without, what it was
   * given counts as received. `instance` names the client's process: key that an earlier process sent with may be used
   * already, so a new one never gets it again; it is discarded.
   */
  | {
      readonly kind: 'subscribe'
      readonly client: string
      readonly links: readonly number[]
      readonly instance?: string
      readonly have?: readonly StreamPosition[]
    }
  /** The client's connection is lost: what it waited for it will ask for again. */
  | { readonly kind: 'gone'; readonly client: string }
  | { readonly kind: 'drain' }

/**
 * Why a request is refused. `peerBehind`: the other end has not taken its key yet; try again later. `overdue`: no key came
 * before the deadline. `aheadOfJournal`: the end has key that this server's journal knows nothing of.
 */
export type Refusal =
  | 'unknownLink'
  | 'notEnd'
  | 'notSender'
  | 'badSlot'
  | 'tooFar'
  | 'unknownQuota'
  | 'peerBehind'
  | 'overdue'
  | 'aheadOfJournal'

export type KeyServerEffect =
  /**
   * The block is the client's own copy. Per client and channel they come in stream order; the first may begin anywhere. An
   * empty one says that what the client lacks before its slot never comes, and that a sender is to use nothing before it.
   */
  | { readonly kind: 'blocks'; readonly client: string; readonly block: KeyBlock }
  | { readonly kind: 'status'; readonly status: PoolStatus }
  | { readonly kind: 'event'; readonly event: LabEvent }
  | { readonly kind: 'refuse'; readonly client: string; readonly reason: Refusal }
