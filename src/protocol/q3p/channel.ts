import { ChannelReceiver, type Dropped, type Opened } from './channel-receiver.ts'
import { ChannelSender, type KeyShortage, type Sealed } from './channel-sender.ts'
import type { Command } from './header.ts'
import type { AppendResult } from './key-stream.ts'
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
}

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
    const { aesMaxMessages, aesMaxMs } = options
    this.#sender = new ChannelSender({ channel: this.txChannel, aesMaxMessages, aesMaxMs })
    this.#receiver = new ChannelReceiver({ channel: this.rxChannel, aesMaxMessages })
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

  /** Takes key material of either direction; the octets are copied. */
  addKey({ channel, slot, bytes }: KeyBlock): AppendResult | 'foreign' {
    if (channel === this.txChannel) return this.#sender.stream.append(slot, bytes)
    if (channel === this.rxChannel) return this.#receiver.stream.append(slot, bytes)
    return 'foreign'
  }

  /** Slots that sealing a payload of so many octets would take now. */
  slotsNeeded(payloadBytes: number, suite: FrameSuite, nowMs: number): number {
    return this.#sender.slotsNeeded(payloadBytes, suite, nowMs)
  }

  /** Seals a HANDSHAKE, which opens an epoch of the sending direction: 8 slots. */
  handshake(payload: Uint8Array): Sealed | KeyShortage {
    return this.#sender.handshake(payload)
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
  open(datagram: Uint8Array): Opened | Dropped {
    return this.#receiver.open(datagram)
  }

  /** Books of the two streams: sending, receiving. */
  books(): readonly [StreamBooks, StreamBooks] {
    const [tx, rx] = [this.#sender.stream, this.#receiver.stream]
    return [
      { channel: this.txChannel, side: 'sender', assignedSlots: tx.lengthSlots, usedSlots: tx.usedSlots },
      { channel: this.rxChannel, side: 'receiver', assignedSlots: rx.lengthSlots, usedSlots: rx.usedSlots },
    ]
  }
}
