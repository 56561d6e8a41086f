import { ChannelReceiver, type Dropped, type Opened } from './channel-receiver.ts'
import { ChannelSender, type KeyShortage, type Sealed } from './channel-sender.ts'
import type { Command } from './header.ts'
import type { KeyLogSink } from './key-log.ts'
import type { AppendResult } from './key-stream.ts'
import type { ChannelMark } from './marks.ts'
import type { FrameSuite, KeyBlock, StreamBooks } from './types.ts'

export type Q3pChannelOptions = {
  /** Link number, 0..32767. */
  readonly link: number
  /** Which end of the link this is: 0 the first-named one. */
  readonly end: 0 | 1
  /** Messages under one AES key, 1..512. */
  readonly aesMaxMessages: number
  /** Life of an AES key from its first message, ms, above 0. */
  readonly aesMaxMs: number
  /** Takes the key that messages are sealed and opened with. Only for a key log that was asked for. */
  readonly keyLog?: KeyLogSink
}

const NO_MARKS: readonly ChannelMark[] = []

/**
 * One end of a link's pair of Q3P channels: seals on channel 2 x link + end, opens on the other. The two directions have
 * key streams of their own, so the ends can never pick the same bits.
 */
export class Q3pChannel {
  /** Channel this end sends on. */
  readonly txChannel: number
  /** Channel this end receives on. */
  readonly rxChannel: number
  readonly #sender: ChannelSender
  readonly #receiver: ChannelReceiver

  /** RangeError for options outside their ranges. */
  constructor(options: Q3pChannelOptions) {
    this.txChannel = 2 * options.link + options.end
    this.rxChannel = 2 * options.link + 1 - options.end
    const { aesMaxMessages, aesMaxMs, keyLog } = options
    const common = { aesMaxMessages, aesMaxMs, ...(keyLog && { keyLog }) }
    this.#sender = new ChannelSender({ channel: this.txChannel, ...common })
    this.#receiver = new ChannelReceiver({ channel: this.rxChannel, ...common })
  }

  /** A HANDSHAKE has been sealed, so messages can be. */
  get hasEpoch(): boolean {
    return this.#sender.hasEpoch
  }

  /** Slots of the sending stream used so far. */
  get usedSlots(): number {
    return this.#sender.stream.usedSlots
  }

  /** Slots of the sending stream not used yet. */
  get availableSlots(): number {
    return this.#sender.stream.availableSlots
  }

  /** Messages below this Msg-Id are refused, or will be after a crash. */
  get acceptsMsgId(): number {
    return this.#receiver.acceptsMsgId
  }

  /** The receiving stream holds no key before this slot. */
  get acceptsSlot(): number {
    return this.#receiver.stream.firstSlot
  }

  /** Messages the peer seals under one AES key, as its HANDSHAKE says. */
  set peerAesMaxMessages(messages: number) {
    this.#receiver.peerAesMaxMessages = messages
  }

  /**
   * From now on nothing is sealed or accepted that the ledger does not cover. `recovered`: the marks an earlier life has
   * left; what they may have used is skipped. Call it before any key comes.
   */
  keepLedger(recovered: readonly ChannelMark[]): void {
    this.#sender.keepLedger(recovered.find(({ channel, side }) => channel === this.txChannel && side === 'sender'))
    this.#receiver.keepLedger(recovered.find(({ channel, side }) => channel === this.rxChannel && side === 'receiver'))
  }

  /** The marks to make durable now; usually none. */
  askMarks(): readonly ChannelMark[] {
    const [tx, rx] = [this.#sender.askMark(), this.#receiver.askMark()]
    return tx === undefined && rx === undefined ? NO_MARKS : [tx, rx].filter((mark) => mark !== undefined)
  }

  /** A mark is durable. */
  settleMark(mark: ChannelMark): void {
    if (mark.side === 'sender' && mark.channel === this.txChannel) this.#sender.settleMark(mark)
    if (mark.side === 'receiver' && mark.channel === this.rxChannel) this.#receiver.settleMark(mark)
  }

  /** Whether the ledger covers a message that takes so many slots. */
  isCovered(slots: number): boolean {
    return this.#sender.isCovered(slots)
  }

  /** The peer has no key before `slot` and takes no message before `msgId`: goes on there, and discards what is skipped. */
  skipTo(slot: number, msgId: number): void {
    this.#sender.skipTo(slot, msgId)
  }

  /** When the oldest unused key of the sending stream is `lifeMs` old. */
  expiryMs(lifeMs: number): number | undefined {
    return this.#sender.stream.oldestExpiryMs(lifeMs)
  }

  /** Gives up key that came `lifeMs` ago; the receiving side, `graceMs` later, for the frames that are on their way. */
  expire(nowMs: number, lifeMs: number, graceMs: number): void {
    this.#sender.stream.expire(nowMs, lifeMs)
    this.#receiver.expire(nowMs, lifeMs + graceMs)
  }

  /**
   * Takes key material of either direction; the octets are copied. An empty block says that what is missing of the stream
   * before its slot never comes, and that nothing before it is to be sent with: the other end may lack it.
   */
  addKey({ channel, slot, bytes }: KeyBlock, nowMs = 0): AppendResult | 'foreign' {
    if (channel !== this.txChannel && channel !== this.rxChannel) return 'foreign'
    const isSending = channel === this.txChannel
    const stream = isSending ? this.#sender.stream : this.#receiver.stream
    if (bytes.length > 0) return stream.append(slot, bytes, nowMs)
    if (isSending && Number.isSafeInteger(slot)) stream.skipTo(slot)
    return stream.goOn(slot)
  }

  /** Slots that sealing a payload of so many octets would take now. */
  slotsNeeded(payloadBytes: number, suite: FrameSuite, nowMs: number): number {
    return this.#sender.slotsNeeded(payloadBytes, suite, nowMs)
  }

  /** Seals a HANDSHAKE, which opens an epoch of the sending direction: 8 slots. `payloadFor` is told its Msg-Id. */
  handshake(payloadFor: (msgId: number) => Uint8Array): Sealed | KeyShortage {
    return this.#sender.handshake(payloadFor)
  }

  /**
   * Seals a message of 0..255 octets, or says how many slots it waits for. Throws before the first `handshake`, and
   * RangeError for a payload that is too long.
   */
  seal(
    command: Exclude<Command, 'handshake'>,
    payload: Uint8Array,
    suite: FrameSuite,
    nowMs: number,
  ): Sealed | KeyShortage {
    return this.#sender.seal(command, payload, suite, nowMs)
  }

  /** Opens a received datagram; never throws for what it holds. A dropped datagram has changed nothing. */
  open(datagram: Uint8Array, nowMs = 0): Opened | Dropped {
    return this.#receiver.open(datagram, nowMs)
  }

  /** Books of the two streams: sending, receiving. */
  books(): readonly [StreamBooks, StreamBooks] {
    const rx = this.#receiver.stream
    const tx = this.#sender.stream
    // Slots skipped before they came are used and discarded when they come.
    const aheadSlots = Math.max(0, tx.usedSlots - tx.lengthSlots)
    const discardedSlots = tx.discardedSlots - aheadSlots
    const usedSlots = tx.usedSlots - aheadSlots
    const firstSlot = (slot: number): { readonly firstSlot?: number } => (slot > 0 ? { firstSlot: slot } : {})
    return [
      {
        channel: this.txChannel,
        side: 'sender',
        assignedSlots: tx.lengthSlots,
        usedSlots,
        ...(discardedSlots > 0 && { discardedSlots }),
        ...(tx.takenSlots < usedSlots && { messageSlots: tx.takenSlots }),
        ...firstSlot(tx.baseSlot),
      },
      {
        channel: this.rxChannel,
        side: 'receiver',
        assignedSlots: rx.lengthSlots,
        usedSlots: Math.min(rx.usedSlots, rx.lengthSlots),
        ...firstSlot(rx.baseSlot),
      },
    ]
  }
}
