/** Receiving half of a channel: replay window, epoch, AES keys, and the key stream that the frames point into. */
import { AES_SPAN_MESSAGES, firstMsgId, HANDSHAKE_SLOTS } from './channel-sender.ts'
import { type Command, HEADER_BYTES, type Header, parseHeader, TAG_BYTES } from './header.ts'
import { KeyStream, SLOT_BYTES } from './key-stream.ts'
import { HALF_KEY_BYTES } from './poly1305.ts'
import { ReplayWindow, rebuildCounter, WINDOW_MESSAGES } from './replay-window.ts'
import { AES_KEY_BYTES, openAes, openAuth, openOtp } from './suites.ts'
import type { DropReason, FrameSuite } from './types.ts'

const AES_SLOTS = AES_KEY_BYTES / SLOT_BYTES
const MAC_SLOTS = HALF_KEY_BYTES / SLOT_BYTES
/** AES keys kept for late frames: as many as the replay window spans with 64 messages a key. */
const AES_KEYS_KEPT = 16
/** How often the key stream's mark is noted, in messages. */
const MARK_MESSAGES = 512

export type Opened = {
  readonly payload: Uint8Array
  readonly suite: FrameSuite
  readonly command: Command
  /** The 64-bit message counter. */
  readonly msgId: number
}
export type Dropped = { readonly drop: DropReason }

/** At message `msgId` the stream was used up to `slot`. */
type Mark = { readonly msgId: number; readonly slot: number }

export class ChannelReceiver {
  readonly #channel: number
  readonly #aesMaxMessages: number
  readonly #stream = new KeyStream()
  readonly #window = new ReplayWindow()
  /** By slot, oldest first. */
  readonly #aesKeys = new Map<number, Uint8Array>()
  #epoch: { readonly msgId: number; readonly r: Uint8Array } | undefined
  #marks: readonly Mark[] = []

  /** `aesMaxMessages` as the sender has it: where its message counter starts depends on it. */
  constructor({ channel, aesMaxMessages }: { readonly channel: number; readonly aesMaxMessages: number }) {
    this.#channel = channel
    this.#aesMaxMessages = aesMaxMessages
  }

  get stream(): KeyStream {
    return this.#stream
  }

  /**
   * Opens a received datagram. The checks come in the order length, version, flags, command, channel, replay window,
   * key, tag; only when the tag has verified does anything change. Never throws for what the datagram holds.
   */
  open(datagram: Uint8Array): Opened | Dropped {
    const header = parseHeader(datagram)
    if ('drop' in header) return header
    if (header.channel !== this.#channel) return { drop: 'channel' }
    const msgId = rebuildCounter(header.msgId, this.#nearMsgId)
    const verdict = this.#window.check(msgId)
    if (verdict !== 'fresh') return { drop: verdict }
    if (this.#epoch !== undefined && msgId < this.#epoch.msgId) return { drop: 'oldEpoch' }
    if (header.command === 'handshake') return this.#openHandshake(datagram, header, msgId)
    if (this.#epoch === undefined) return { drop: 'noEpoch' }
    if (header.suite === 'aes') return this.#openAes(datagram, header, msgId)
    return this.#openMac(datagram, header, msgId, this.#epoch.r)
  }

  #openHandshake(datagram: Uint8Array, header: Header, msgId: number): Opened | Dropped {
    const slot = this.#slotOf(header.aKeyId)
    const key = this.#stream.read(slot, HANDSHAKE_SLOTS)
    if (typeof key === 'string') return missing(key)
    const r = key.slice(0, HALF_KEY_BYTES)
    const payload = openAuth(datagram, { r, s: key.subarray(HALF_KEY_BYTES) })
    key.fill(0)
    if (payload === undefined) {
      r.fill(0)
      return { drop: 'tag' }
    }
    this.#stream.burn(slot, HANDSHAKE_SLOTS)
    this.#epoch?.r.fill(0)
    this.#epoch = { msgId, r }
    for (const old of this.#aesKeys.values()) old.fill(0)
    this.#aesKeys.clear()
    return this.#accept(payload, header, msgId)
  }

  #openMac(datagram: Uint8Array, header: Header, msgId: number, r: Uint8Array): Opened | Dropped {
    const aSlot = this.#slotOf(header.aKeyId)
    const s = this.#stream.read(aSlot, MAC_SLOTS)
    if (typeof s === 'string') return missing(s)
    if (header.suite === 'auth') {
      const plain = openAuth(datagram, { r, s })
      s.fill(0)
      if (plain === undefined) return { drop: 'tag' }
      this.#stream.burn(aSlot, MAC_SLOTS)
      return this.#accept(plain, header, msgId)
    }
    const eSlot = this.#slotOf(header.eKeyId)
    const padSlots = Math.ceil((datagram.length - HEADER_BYTES - TAG_BYTES) / SLOT_BYTES)
    const pad = this.#stream.read(eSlot, padSlots)
    if (typeof pad === 'string') {
      s.fill(0)
      return missing(pad)
    }
    const payload = openOtp(datagram, pad, { r, s })
    s.fill(0)
    pad.fill(0)
    if (payload === undefined) return { drop: 'tag' }
    this.#stream.burn(eSlot, padSlots)
    this.#stream.burn(aSlot, MAC_SLOTS)
    return this.#accept(payload, header, msgId)
  }

  #openAes(datagram: Uint8Array, header: Header, msgId: number): Opened | Dropped {
    const slot = this.#slotOf(header.eKeyId)
    const known = this.#aesKeys.get(slot)
    const key = known ?? this.#stream.read(slot, AES_SLOTS)
    if (typeof key === 'string') return missing(key)
    const payload = openAes(datagram, { key, channel: this.#channel, msgId })
    if (payload === undefined) {
      if (known === undefined) key.fill(0)
      return { drop: 'tag' }
    }
    if (known === undefined) this.#keepAesKey(slot, key)
    return this.#accept(payload, header, msgId)
  }

  #keepAesKey(slot: number, key: Uint8Array): void {
    this.#stream.burn(slot, AES_SLOTS)
    this.#aesKeys.set(slot, key)
    if (this.#aesKeys.size <= AES_KEYS_KEPT) return
    for (const [oldest, bytes] of this.#aesKeys) {
      bytes.fill(0)
      this.#aesKeys.delete(oldest)
      break
    }
  }

  #accept(payload: Uint8Array, { suite, command }: Header, msgId: number): Opened {
    const isNewest = msgId > this.#window.highest
    this.#window.accept(msgId)
    if (isNewest) this.#forgetOldKey(msgId)
    return { payload, suite, command, msgId }
  }

  /**
   * Burns material that no acceptable frame can point to: a mark's slots were in use at its message, and a frame that
   * came more than AES_SPAN_MESSAGES after it takes later ones, its AES key included.
   */
  #forgetOldKey(msgId: number): void {
    const newest = this.#marks.at(-1)
    if (newest !== undefined && msgId - newest.msgId < MARK_MESSAGES) return
    this.#marks = [...this.#marks, { msgId, slot: this.#stream.usedSlots }]
    for (;;) {
      const oldest = this.#marks[0]
      if (oldest === undefined || msgId - oldest.msgId < WINDOW_MESSAGES + AES_SPAN_MESSAGES) return
      this.#stream.burnBelow(oldest.slot)
      this.#marks = this.#marks.slice(1)
    }
  }

  /** What the next counter is near to: the highest accepted, or where a sender begins whose stream is at our slot. */
  get #nearMsgId(): number {
    const { highest } = this.#window
    return highest >= 0 ? highest : firstMsgId(this.#stream.usedSlots, this.#aesMaxMessages)
  }

  #slotOf(keyId: number): number {
    return rebuildCounter(keyId, this.#stream.usedSlots)
  }
}

function missing(why: 'notYet' | 'gone'): Dropped {
  return { drop: why === 'notYet' ? 'noKeyYet' : 'keyGone' }
}
