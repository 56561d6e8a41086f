/** Sending half of a channel: message counter, epoch, AES key, and the key stream that all of them draw on. */
import { type Command, type Header, newDatagram } from './header.ts'
import { type KeyLogSink, keyLogRecord } from './key-log.ts'
import { KeyStream, SLOT_BYTES } from './key-stream.ts'
import { type ChannelMark, resumeMsgId, SenderReservation } from './marks.ts'
import { HALF_KEY_BYTES } from './poly1305.ts'
import { AES_KEY_BYTES, sealAes, sealAuth, sealOtp } from './suites.ts'
import type { FrameSuite } from './types.ts'

const AES_SLOTS = AES_KEY_BYTES / SLOT_BYTES
const MAC_SLOTS = HALF_KEY_BYTES / SLOT_BYTES
/** Slots a HANDSHAKE takes: r and s. */
export const HANDSHAKE_SLOTS = 2 * MAC_SLOTS
/**
 * An AES key is given up after this many messages of the channel, in whatever suite. So a receiver may forget key
 * material that lies further behind its replay window than this.
 */
export const AES_SPAN_MESSAGES = 512

export type SenderOptions = {
  /** 2 x link number + direction, 0..65535. */
  readonly channel: number
  /** Messages under one AES key, 1..512. */
  readonly aesMaxMessages: number
  /** Life of an AES key from its first message, ms, above 0. */
  readonly aesMaxMs: number
  readonly keyLog?: KeyLogSink
}

export type Sealed = {
  readonly datagram: Uint8Array
  /** Slots taken from the key stream for this message. */
  readonly usedSlots: number
}
/** Not sealed: the stream must have `wait` slots available first, or (0) the ledger must cover what the message takes. */
export type KeyShortage = { readonly wait: number }

type SenderAesKey = {
  readonly bytes: Uint8Array
  readonly slot: number
  readonly takenAtMs: number
  readonly firstMsgId: number
  messages: number
}

export class ChannelSender {
  readonly #options: SenderOptions
  readonly #stream = new KeyStream()
  /** Counter of the next message; undefined until the stream says where it begins. */
  #msgId: number | undefined
  /** No message gets a lower counter from now on. */
  #leastMsgId = 0
  /** Undefined when nobody keeps a ledger. */
  #reservation: SenderReservation | undefined
  #r: Uint8Array | undefined
  #aes: SenderAesKey | undefined

  /** RangeError for options outside their ranges. */
  constructor(options: SenderOptions) {
    const { channel, aesMaxMessages, aesMaxMs } = options
    if (!Number.isInteger(channel) || channel < 0 || channel > 0xffff)
      throw new RangeError(`channel ${channel}, not 0..65535`)
    if (!Number.isInteger(aesMaxMessages) || aesMaxMessages < 1 || aesMaxMessages > AES_SPAN_MESSAGES) {
      throw new RangeError(`aesMaxMessages ${aesMaxMessages}, not 1..${AES_SPAN_MESSAGES}`)
    }
    if (!(aesMaxMs > 0)) throw new RangeError(`aesMaxMs ${aesMaxMs}, not above 0`)
    this.#options = options
  }

  get stream(): KeyStream {
    return this.#stream
  }

  /** From now on nothing is used that the ledger does not cover; `recovered` is what an earlier life may have used. */
  keepLedger(recovered: ChannelMark | undefined): void {
    this.#reservation = new SenderReservation(recovered)
    if (recovered === undefined) return
    this.#stream.skipTo(recovered.slots)
    this.#leastMsgId = resumeMsgId(recovered)
  }

  /** The mark to make durable, if it is time. */
  askMark(): ChannelMark | undefined {
    const { channel } = this.#options
    const slots = this.#stream.usedSlots
    // A stream that has not begun may begin at any slot, and the counter with it.
    if (this.#msgId === undefined && this.#stream.lengthSlots === 0) return undefined
    const bounds = this.#reservation?.ask({ slots, msgIds: this.#nextMsgId })
    return bounds && { channel, side: 'sender', ...bounds }
  }

  settleMark(mark: ChannelMark): void {
    this.#reservation?.settle(mark)
  }

  /** Whether the ledger covers a message that takes so many slots. */
  isCovered(slots: number): boolean {
    return this.#reservation?.covers(this.#stream.usedSlots + slots, this.#nextMsgId + 1) ?? true
  }

  /** The peer has no key before `slot` and takes no message before `msgId`. */
  skipTo(slot: number, msgId: number): void {
    this.#dropAesKey()
    this.#stream.skipTo(slot)
    this.#leastMsgId = Math.max(this.#leastMsgId, msgId)
  }

  /** A HANDSHAKE has been sealed: r is there. */
  get hasEpoch(): boolean {
    return this.#r !== undefined
  }

  /** Slots that sealing a payload of so many octets would take now. */
  slotsNeeded(payloadBytes: number, suite: FrameSuite, nowMs: number): number {
    if (suite === 'otp') return padSlots(payloadBytes) + MAC_SLOTS
    if (suite === 'auth') return MAC_SLOTS
    return this.#isAesLive(nowMs) ? 0 : AES_SLOTS
  }

  /**
   * Opens an epoch: authenticated with 32 octets of fresh key, the first half of which becomes the epoch's r. The payload
   * is made for the message counter that the HANDSHAKE gets.
   */
  handshake(payloadFor: (msgId: number) => Uint8Array): Sealed | KeyShortage {
    const taken = this.#take(HANDSHAKE_SLOTS)
    if ('wait' in taken) return taken
    const msgId = this.#nextMsgId
    const payload = payloadFor(msgId)
    const mac = { r: taken.bytes.slice(0, HALF_KEY_BYTES), s: taken.bytes.subarray(HALF_KEY_BYTES) }
    this.#r?.fill(0)
    this.#r = mac.r
    // A peer that has started anew does not hold the AES key any more.
    this.#dropAesKey()
    this.#log('R', msgId, mac.r)
    const header = this.#header(this.#count(), 'handshake', 'auth')
    const datagram = newDatagram({ ...header, aKeyId: taken.slot }, payload.length)
    sealAuth(datagram, payload, mac)
    taken.bytes.fill(0)
    return { datagram, usedSlots: HANDSHAKE_SLOTS }
  }

  /** Seals a message of the present epoch. Throws before the first `handshake`, and for a payload over 255 octets. */
  seal(
    command: Exclude<Command, 'handshake'>,
    payload: Uint8Array,
    suite: FrameSuite,
    nowMs: number,
  ): Sealed | KeyShortage {
    if (this.#r === undefined) throw new Error('no epoch: seal a handshake first')
    if (suite === 'aes') return this.#sealAes(command, payload, nowMs)
    const pad = suite === 'otp' ? padSlots(payload.length) : 0
    const taken = this.#take(pad + MAC_SLOTS)
    if ('wait' in taken) return taken
    const keyIds = { eKeyId: suite === 'otp' ? taken.slot : 0, aKeyId: taken.slot + pad }
    const header = this.#header(this.#count(), command, suite)
    const datagram = newDatagram({ ...header, ...keyIds }, payload.length)
    const mac = { r: this.#r, s: taken.bytes.subarray(pad * SLOT_BYTES) }
    if (suite === 'otp') sealOtp(datagram, payload, taken.bytes, mac)
    else sealAuth(datagram, payload, mac)
    taken.bytes.fill(0)
    return { datagram, usedSlots: pad + MAC_SLOTS }
  }

  #sealAes(command: Command, payload: Uint8Array, nowMs: number): Sealed | KeyShortage {
    let usedSlots = 0
    if (!this.#isAesLive(nowMs)) {
      const taken = this.#take(AES_SLOTS)
      if ('wait' in taken) return taken
      this.#dropAesKey()
      usedSlots = AES_SLOTS
      const { bytes, slot } = taken
      this.#aes = { bytes, slot, takenAtMs: nowMs, firstMsgId: this.#nextMsgId, messages: 0 }
    } else if (!this.isCovered(0)) return { wait: 0 }
    const aes = this.#aes
    if (aes === undefined) throw new Error('no AES key')
    aes.messages += 1
    const msgId = this.#count()
    const header = this.#header(msgId, command, 'aes')
    const datagram = newDatagram({ ...header, eKeyId: aes.slot }, payload.length)
    sealAes(datagram, payload, { key: aes.bytes, channel: this.#options.channel, msgId })
    return { datagram, usedSlots }
  }

  #isAesLive(nowMs: number): boolean {
    const aes = this.#aes
    if (aes === undefined || this.#msgId === undefined) return false
    const { aesMaxMessages, aesMaxMs } = this.#options
    if (aes.messages >= aesMaxMessages || nowMs - aes.takenAtMs >= aesMaxMs) return false
    return this.#msgId - aes.firstMsgId < AES_SPAN_MESSAGES
  }

  #dropAesKey(): void {
    this.#aes?.bytes.fill(0)
    this.#aes = undefined
  }

  #header(msgId: number, command: Command, suite: FrameSuite): Header {
    return { msgId, suite, command, channel: this.#options.channel, eKeyId: 0, aKeyId: 0 }
  }

  /** Takes slots for one message, if the ledger covers it. */
  #take(slots: number): { readonly slot: number; readonly bytes: Uint8Array } | KeyShortage {
    if (slots > this.#stream.availableSlots) return { wait: slots }
    if (!this.isCovered(slots)) return { wait: 0 }
    const taken = this.#stream.take(slots)
    if (taken === undefined) return { wait: slots }
    // Where the counter begins depends on where the stream stood when the first message took from it.
    this.#msgId ??= firstMsgId(taken.slot, this.#options.aesMaxMessages)
    this.#log('K', taken.slot, taken.bytes)
    return taken
  }

  #log(kind: 'R' | 'K', at: number, octets: Uint8Array): void {
    const { keyLog, channel } = this.#options
    keyLog?.(keyLogRecord(kind, channel, at, octets))
  }

  get #nextMsgId(): number {
    const msgId = this.#msgId ?? firstMsgId(this.#stream.usedSlots, this.#options.aesMaxMessages)
    return Math.max(msgId, this.#leastMsgId)
  }

  #count(): number {
    const msgId = this.#nextMsgId
    if (msgId >= Number.MAX_SAFE_INTEGER) throw new RangeError('message counter exhausted')
    this.#msgId = msgId + 1
    return msgId
  }
}

/**
 * Message counter of a sender whose stream begins at `slot`. It must not go back over a restart, and nothing but the key
 * stream remembers: four slots cover at most aesMaxMessages messages, so no slots before `slot` have covered more.
 */
export function firstMsgId(slot: number, aesMaxMessages: number): number {
  return slot * Math.max(1, Math.ceil(aesMaxMessages / AES_SLOTS))
}

function padSlots(payloadBytes: number): number {
  return Math.ceil(payloadBytes / SLOT_BYTES)
}
