import { type Header, rebuildCounter, WINDOW_MESSAGES } from '../../protocol/index.ts'
import type { KeyBook } from './key-book.ts'
import { type FrameNumbers, slotsOf, type Verdict } from './opener.ts'

/**
 * How a frame stands to those before it on its channel.
 * - `retransmission`: the same octets again, as a sender repeats an I-frame that was not acknowledged.
 * - `replay`: the same octets again where no sender repeats them.
 * - `conflict`: other octets under a Msg-Id that was used.
 * - `late`: further behind than the replay window reaches.
 * - `reflected`: from an address that does not send on this channel.
 */
export type Sequence = 'new' | 'retransmission' | 'replay' | 'conflict' | 'late' | 'reflected'

export type Standing = {
  readonly sequence: Sequence
  /** Number of the frame that this one repeats. */
  readonly repeats?: number
  /** Slots of the key stream between those used before and the first of this frame. */
  readonly keyGapSlots?: number
  /** The frame uses slots that were used before. */
  readonly reusesKey?: true
  /** It is the first under its AES key. */
  readonly rekeys?: true
}

export type WatchedFrame = FrameNumbers & {
  readonly number: number
  readonly timestampNs: bigint
  readonly source: string
  readonly datagram: Uint8Array
  readonly header: Header
  readonly payloadBytes: number
  readonly tag: Verdict['tag']
  /** The Msg-Id is told whole by the frame itself. */
  readonly isTold: boolean
}

/** t1 of the 104 connection: no sender repeats a frame later than this. */
const LATEST_REPEAT_NS = 15_000_000_000n
/** A Msg-Id further ahead is not believed unless its tag is good. */
const MAX_JUMP_MESSAGES = 65_536
/** S- and U-frames have this many octets; they are never repeated, but sealed afresh. */
const SUPERVISION_BYTES = 6

type Seen = Pick<WatchedFrame, 'number' | 'timestampNs' | 'datagram'>

/** Follows one channel through a capture, as somebody who sees the wire can. */
export class ChannelWatch {
  #highest = -1
  #epochMsgId = 0
  #source: string | undefined
  #nextSlot: number | undefined
  #aesSlot: number | undefined
  #seen = new Map<number, Seen>()
  #prunedAt = 0

  /** The 64-bit numbers of a frame, near to those before it or to what the key log has. `told`: the whole Msg-Id. */
  numbers(header: Header, told: number | undefined, near: ReturnType<KeyBook['near']>): FrameNumbers {
    const slot = this.#nextSlot ?? this.#aesSlot ?? near.slot
    return {
      msgId: told ?? rebuildCounter(header.msgId, this.#highest < 0 ? near.msgId : this.#highest),
      eSlot: rebuildCounter(header.eKeyId, slot),
      aSlot: rebuildCounter(header.aKeyId, slot),
    }
  }

  /** Judges a frame and, if it seems to be the sender's, takes note of it. */
  take(frame: WatchedFrame): Standing {
    const standing = this.#standing(frame)
    if (standing.sequence !== 'new' || frame.tag === 'bad') return standing
    return { ...standing, ...this.#note(frame) }
  }

  #standing({ msgId, source, datagram, header, payloadBytes, timestampNs }: WatchedFrame): Standing {
    const before = this.#seen.get(msgId)
    const isSame = before !== undefined && Buffer.compare(before.datagram, datagram) === 0
    const repeats = before && { repeats: before.number }
    if (this.#source !== undefined && this.#source !== source) {
      return { sequence: 'reflected', ...(isSame && repeats) }
    }
    if (before !== undefined) {
      if (!isSame) return { sequence: 'conflict', ...repeats }
      const isRepeatable =
        header.command === 'data' &&
        payloadBytes > SUPERVISION_BYTES &&
        msgId >= this.#epochMsgId &&
        timestampNs - before.timestampNs <= LATEST_REPEAT_NS
      return { sequence: isRepeatable ? 'retransmission' : 'replay', ...repeats }
    }
    return { sequence: msgId <= this.#highest - WINDOW_MESSAGES ? 'late' : 'new' }
  }

  #note(frame: WatchedFrame): Partial<Standing> {
    const { msgId, number, timestampNs, datagram, header, tag, isTold, source } = frame
    let found: Partial<Standing> = {}
    if (msgId > this.#highest) {
      const jumps = this.#highest >= 0 && msgId > this.#highest + MAX_JUMP_MESSAGES
      if (jumps && tag !== 'good' && !isTold) return found
      found = this.#follow(frame)
      if (header.command === 'handshake') this.#epochMsgId = msgId
      this.#highest = msgId
      this.#prune()
    }
    this.#source ??= source
    this.#seen.set(msgId, { number, timestampNs, datagram })
    return found
  }

  /** Follows the key stream by a message that is newer than all before. */
  #follow(frame: WatchedFrame): Partial<Standing> {
    const { first, count } = slotsOf(frame.header, frame, frame.payloadBytes)
    const expected = this.#nextSlot
    const isAes = frame.header.suite === 'aes'
    if (isAes) {
      const before = this.#aesSlot
      if (first === before) return {}
      this.#aesSlot = first
      // The first AES key that is seen may have been in use for long.
      if (before === undefined && !(expected !== undefined && first >= expected)) return {}
    }
    this.#nextSlot = Math.max(expected ?? 0, first + count)
    return {
      ...(expected !== undefined && first > expected && { keyGapSlots: first - expected }),
      ...(expected !== undefined && first < expected && { reusesKey: true }),
      ...(isAes && { rekeys: true }),
    }
  }

  /** Forgets the frames that lie behind the replay window. */
  #prune(): void {
    if (this.#highest - this.#prunedAt <= WINDOW_MESSAGES) return
    const oldest = this.#highest - WINDOW_MESSAGES
    this.#seen = new Map([...this.#seen].filter(([msgId]) => msgId > oldest))
    this.#prunedAt = this.#highest
  }
}
