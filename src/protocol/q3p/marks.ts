/**
 * High-water marks: what one end of a channel must know after a crash. They are made durable ahead of use in ranges, so
 * that the ledger is written seldom and nothing waits for it; what a crash leaves unused of a range is skipped.
 */

/**
 * Marks of one channel at one of its ends. Both bounds are exclusive: nothing at or above them was ever used.
 * `src/runtime/contract.ts` has the same shape.
 */
export type ChannelMark = {
  readonly channel: number
  readonly side: 'sender' | 'receiver'
  /** Sender: slots that may have been used. Receiver: slots seen used when the mark was made. */
  readonly slots: number
  /** Sender: Msg-Ids that may have been sent. Receiver: Msg-Ids that may have been accepted. */
  readonly msgIds: number
}

type Bounds = Pick<ChannelMark, 'slots' | 'msgIds'>

/** Slots reserved ahead of use: the most a crash can cost a channel. */
export const SLOT_RANGE = 256
/** Msg-Ids reserved ahead of use, at either end. */
export const MSG_ID_RANGE = 1024

/**
 * Where a sender goes on that recovered this mark. A receiver that restarted too refuses all it may have accepted, which
 * reaches at most one range beyond the Msg-Ids that the sender had reserved.
 */
export function resumeMsgId(mark: Bounds): number {
  return mark.msgIds + MSG_ID_RANGE
}

/** What a sender has reserved: it may use slots and Msg-Ids below the durable bounds. */
export class SenderReservation {
  #durable: Bounds
  #asked: Bounds

  constructor(recovered: Bounds = { slots: 0, msgIds: 0 }) {
    this.#durable = recovered
    this.#asked = recovered
  }

  /** Whether a message may take slots and Msg-Ids up to these bounds now. */
  covers(endSlot: number, endMsgId: number): boolean {
    return endSlot <= this.#durable.slots && endMsgId <= this.#durable.msgIds
  }

  /** The bounds to make durable, when less than half of a range is left; undefined when enough is there or under way. */
  ask(next: Bounds): Bounds | undefined {
    const slotsLeft = this.#asked.slots - next.slots
    const msgIdsLeft = this.#asked.msgIds - next.msgIds
    if (slotsLeft >= SLOT_RANGE / 2 && msgIdsLeft >= MSG_ID_RANGE / 2) return undefined
    this.#asked = {
      slots: Math.max(this.#asked.slots, next.slots + SLOT_RANGE),
      msgIds: Math.max(this.#asked.msgIds, next.msgIds + MSG_ID_RANGE),
    }
    return this.#asked
  }

  /** These bounds are on disk. */
  settle({ slots, msgIds }: Bounds): void {
    this.#durable = {
      slots: Math.max(this.#durable.slots, slots),
      msgIds: Math.max(this.#durable.msgIds, msgIds),
    }
  }
}

/** What a receiver may accept: Msg-Ids from `floor`, which an earlier life may have reached, up to the durable bound. */
export class ReceiverReservation {
  readonly floor: number
  #durable: number
  #asked: number

  constructor(recovered: Pick<ChannelMark, 'msgIds'> = { msgIds: 0 }) {
    this.floor = recovered.msgIds
    this.#durable = recovered.msgIds
    this.#asked = recovered.msgIds
  }

  covers(msgId: number): boolean {
    return msgId < this.#durable
  }

  /** The bound to make durable when the highest authentic Msg-Id is `msgId`; undefined when enough is there or under way. */
  ask(msgId: number): number | undefined {
    if (this.#asked - msgId > MSG_ID_RANGE / 2) return undefined
    this.#asked = msgId + 1 + MSG_ID_RANGE
    return this.#asked
  }

  settle(msgIds: number): void {
    this.#durable = Math.max(this.#durable, msgIds)
  }
}
