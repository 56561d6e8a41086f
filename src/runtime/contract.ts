/**
 * The Node contract: what every node of the lab is, on sockets and in virtual time alike.
 *
 * Types only. The pure folders (master, gateway, rtu, ied, scheduler, sim, keypool's pure part) import this file with
 * `import type` and nothing else of runtime.
 *
 * Times: `nowMs` is lab time, milliseconds since the start of the run on a monotonic clock (0 = start, may be a
 * fraction). `wallMs` is wall-clock time, milliseconds since 1970, used for CP56Time2a and capture stamps only.
 */

/** The time a node asked for has come. */
export type Wake = { readonly kind: 'wake' }

/** A pure state machine: no socket, timer, clock, promise, random source or logger inside. */
export interface Node<Input, Effect> {
  /** Lab time at which the node wants a `wake`, or undefined when it waits for input only. */
  readonly wakeAtMs: number | undefined
  /** Takes one input and gives the effects it asks for, in order. Never throws for what a peer sent. */
  handle(input: Input | Wake, nowMs: number): readonly Effect[]
}

/** Cipher suite of a message, by chain state x: 2 = 'otp', 1 = 'aes' (AES-128-GCM). */
export type Suite = 'otp' | 'aes'

/** A run of key material in one channel's key stream. Slots are 4 bytes, counted from 0, below 2^53. */
export type KeyBlock = { readonly channel: number; readonly slot: number; readonly bytes: Uint8Array }

/** Books of one key stream as one of its two ends keeps them, in slots of 32 bits. */
export type StreamBooks = {
  readonly channel: number
  readonly side: 'sender' | 'receiver'
  /** Slots delivered by the key server so far: the stream's length. */
  readonly assignedSlots: number
  /** Slots used for messages (sender), or seen used by accepted messages, gaps included (receiver): a high-water mark. */
  readonly usedSlots: number
  /** Of the used slots, those the sender skipped after a crash, an expiry or at its peer's word. Absent: none. */
  readonly discardedSlots?: number
  /** Sender: end of the last slot that a message of this life took (0: none); beyond, nothing was sent. Absent: usedSlots. */
  readonly messageSlots?: number
  /** Where the stream of this life of the end began; what lies before is of earlier lives. Absent: 0. */
  readonly firstSlot?: number
}

/**
 * High-water marks of one channel at one of its ends, for the ledger. Both bounds are exclusive: nothing at or above them
 * was ever used.
 */
export type ChannelMark = {
  readonly channel: number
  readonly side: 'sender' | 'receiver'
  /** Sender: slots that may have been used. Receiver: slots seen used when the mark was made. */
  readonly slots: number
  /** Sender: Msg-Ids that may have been sent. Receiver: Msg-Ids that may have been accepted. */
  readonly msgIds: number
}

/** One line of a key log; it can be taken once. The octets are in no property, so no text of it shows them. */
export type KeyLogRecord = { readonly line: () => string }

/** What the grid process tells an IED. `tMs` is lab time of the sample. */
export type GridSample = {
  readonly kind: 'sample'
  readonly bus: number
  readonly tMs: number
  /** Frequency deviation at the bus, Hz (machine speed at a generator bus, frequency divider elsewhere). */
  readonly deltaFHz: number
  readonly voltagePu: number
  /** Electrical output of the machine at the bus, MW; absent at buses without a machine. */
  readonly powerMw?: number
}

/** What an IED asks of the grid process. */
export type GridRequest =
  | { readonly kind: 'subscribe'; readonly bus: number; readonly periodMs: number }
  /** Trips `loadMw` of load at the bus when the breaker has moved, `breakerDelayMs` after the request. */
  | {
      readonly kind: 'shed'
      readonly id: number
      readonly bus: number
      readonly loadMw: number
      readonly breakerDelayMs: number
    }
  /** Sets the machine's load reference to its initial value plus `deltaMw`. */
  | { readonly kind: 'setpoint'; readonly id: number; readonly bus: number; readonly deltaMw: number }

/** The grid process' answer to `shed` and `setpoint`, sent when the action has taken effect (or was refused). */
export type GridDone = {
  readonly kind: 'done'
  readonly id: number
  readonly ok: boolean
  readonly tMs: number
  readonly reason?: string
}

/** Level of the key stock, with hysteresis: normal >= K_th > reconfigure >= K_safe > protect; warn is just above K_th. */
export type StockLevel = 'normal' | 'warn' | 'reconfigure' | 'protect'

/** Books of the whole pool (WIRE rule 6), in bits: generated = used + expired + discarded + reserved + pool. */
export type PoolBooks = {
  readonly generatedBits: number
  readonly usedBits: number
  readonly expiredBits: number
  readonly discardedBits: number
  /** Assigned to a channel's stream and not yet used. */
  readonly reservedBits: number
  readonly poolBits: number
}

export type LinkState = {
  readonly link: number
  readonly up: boolean
  /** Key generation rate of the link now, bit/s; 0 on links with `keys: local`. */
  readonly rateBps: number
  /** One-way delay now, ms. */
  readonly delayMs: number
}

/** State of the key pool as the key server publishes it, to masters (gRPC stream) and on Redis. */
export type PoolStatus = {
  readonly tMs: number
  readonly level: StockLevel
  readonly safeBits: number
  readonly thBits: number
  readonly capBits: number
  readonly books: PoolBooks
  readonly links: readonly LinkState[]
}

/** Facts a node tells the run's record: `name` is a constant, the rest are facts with units in their names. */
export type LabEvent = { readonly name: string; readonly [fact: string]: string | number | boolean | null }

/** Inputs a networked node (master, gateway, RTU, IED) may get. */
export type NodeInput =
  /**
   * The run has begun: lab time is `nowMs`, the wall clock shows `wallMs`. First input of every node. With `marks` a ledger
   * is kept: they are what the node's earlier life has left in it (none at the first start), and from now on the node uses
   * no slot and no Msg-Id before a `reserved` has said that a mark above it is durable.
   */
  | { readonly kind: 'start'; readonly wallMs: number; readonly marks?: readonly ChannelMark[] }
  /** This mark of an effect `reserve` is durable. */
  | { readonly kind: 'reserved'; readonly mark: ChannelMark }
  /** A datagram came in on the node's end of a link. Hostile until its tag verifies. */
  | { readonly kind: 'datagram'; readonly link: number; readonly bytes: Uint8Array }
  /** Key material of a channel of one of the node's links (either direction), in stream order. */
  | { readonly kind: 'keyBlock'; readonly block: KeyBlock }
  | { readonly kind: 'grid'; readonly message: GridSample | GridDone }
  | { readonly kind: 'pool'; readonly status: PoolStatus }
  /** No new work: finish what is under way, so that the books can be closed. */
  | { readonly kind: 'drain' }

/** Effects a networked node may ask for. */
export type NodeEffect =
  | { readonly kind: 'send'; readonly link: number; readonly bytes: Uint8Array }
  /**
   * Asks the key server to bring the stream of `channel`, which this node sends on, up to `upToSlot` slots; up to `topUpToSlot`
   * it is for the chain of the highest priority, which may draw on its reserve. Idempotent.
   */
  | {
      readonly kind: 'fetchKeys'
      readonly channel: number
      readonly upToSlot: number
      readonly topUpToSlot?: number
    }
  /** Makes a mark durable (write, fsync), then gives it back as `reserved`. Of one channel and side only the last counts. */
  | { readonly kind: 'reserve'; readonly mark: ChannelMark }
  /** For the key log; only where one was asked for. */
  | { readonly kind: 'keyLog'; readonly record: KeyLogRecord }
  /** Tells the key server how far a stream is used. */
  | { readonly kind: 'books'; readonly books: StreamBooks }
  | { readonly kind: 'grid'; readonly request: GridRequest }
  | { readonly kind: 'event'; readonly event: LabEvent }

/** A lab node that speaks Q3P. */
export type LabNode = Node<NodeInput, NodeEffect>
