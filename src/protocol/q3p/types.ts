/** Types that the whole of Q3P shares. `src/runtime/contract.ts` has the first three in the same shape. */

/** Cipher suite of a message, by chain state x: 2 = 'otp' (one-time pad, Poly1305), 1 = 'aes' (AES-128-GCM). */
export type Suite = 'otp' | 'aes'

/** What protects a frame: a suite, or 'auth': authenticated plaintext (HANDSHAKE). */
export type FrameSuite = Suite | 'auth'

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

/** Why a datagram was not accepted. Such a datagram changes nothing but a counter. */
export type DropReason =
  | HeaderDrop
  /** Not the channel that this end receives on: foreign or reflected. */
  | 'channel'
  /** Already accepted. */
  | 'replayed'
  /** More than the replay window behind the newest accepted message. */
  | 'tooOld'
  /** Further ahead than a sender goes without a HANDSHAKE. */
  | 'tooFar'
  /** No HANDSHAKE has been accepted yet. */
  | 'noEpoch'
  /** Sent before the HANDSHAKE that opened the present epoch. */
  | 'oldEpoch'
  /** Its key has not been delivered yet: the datagram may be tried again. */
  | 'noKeyYet'
  /** Its key is used, or was never delivered to this end. */
  | 'keyGone'
  /** Forged or damaged. */
  | 'tag'
  /** Authentic, but the ledger does not cover its Msg-Id yet: the datagram may be tried again. */
  | 'notDurable'

/** What a look at the header alone refuses, in the order of the checks. */
export type HeaderDrop = 'length' | 'version' | 'flags' | 'command'
