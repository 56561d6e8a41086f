/** Sending half of a channel: message counter, epoch, AES key, and the key stream that all of them draw on. */
import { type Command, type Header, newDatagram } from './header.ts'
import { KeyStream, SLOT_BYTES } from './key-stream.ts'
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
}

export type Sealed = {
  readonly datagram: Uint8Array
  /** Slots taken from the key stream for this message. */
  readonly usedSlots: number
}
/** Not sealed: the stream must have `wait` slots available first. */
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
  #msgId: number | undefined
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

  /** Opens an epoch: authenticated with 32 octets of fresh key, the first half of which becomes the epoch's r. */
  handshake(payload: Uint8Array): Sealed | KeyShortage {
    const taken = this.#stream.take(HANDSHAKE_SLOTS)
    if (taken === undefined) return { wait: HANDSHAKE_SLOTS }
    const mac = { r: taken.bytes.slice(0, HALF_KEY_BYTES), s: taken.bytes.subarray(HALF_KEY_BYTES) }
    this.#r?.fill(0)
    this.#r = mac.r
    // A peer that has started anew does not hold the AES key any more.
    this.#dropAesKey()
    const header = this.#header(this.#nextMsgId(taken.slot), 'handshake', 'auth')
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
    const taken = this.#stream.take(pad + MAC_SLOTS)
    if (taken === undefined) return { wait: pad + MAC_SLOTS }
    const keyIds = { eKeyId: suite === 'otp' ? taken.slot : 0, aKeyId: taken.slot + pad }
    const header = this.#header(this.#nextMsgId(taken.slot), command, suite)
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
      const taken = this.#stream.take(AES_SLOTS)
      if (taken === undefined) return { wait: AES_SLOTS }
      this.#dropAesKey()
      usedSlots = AES_SLOTS
      // An epoch is open, so the counter runs.
      this.#aes = { bytes: taken.bytes, slot: taken.slot, takenAtMs: nowMs, firstMsgId: this.#msgId ?? 0, messages: 0 }
    }
    const aes = this.#aes
    if (aes === undefined) throw new Error('no AES key')
    aes.messages += 1
    const msgId = this.#nextMsgId(aes.slot)
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

  #nextMsgId(slot: number): number {
    const msgId = this.#msgId ?? firstMsgId(slot, this.#options.aesMaxMessages)
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
