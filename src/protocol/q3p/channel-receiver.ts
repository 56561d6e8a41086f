/** Receiving half of a channel: replay window, epoch, AES keys, and the key stream that the frames point into. */
import { AES_SPAN_MESSAGES, firstMsgId, HANDSHAKE_SLOTS } from './channel-sender.ts'
import { CheckCache } from './check-cache.ts'
import { GcmCheck } from './gcm-check.ts'
import { parseHandshake } from './handshake.ts'
import { type Command, HEADER_BYTES, type Header, parseHeader, TAG_BYTES } from './header.ts'
import { type KeyLogSink, keyLogRecord } from './key-log.ts'
import { KeyStream, SLOT_BYTES } from './key-stream.ts'
import { type ChannelMark, ReceiverReservation } from './marks.ts'
import { HALF_KEY_BYTES } from './poly1305.ts'
import { ReplayWindow, rebuildCounter, WINDOW_MESSAGES } from './replay-window.ts'
import { AES_KEY_BYTES, aesNonce, openAes, openAuth, xorInto } from './suites.ts'
import type { DropReason, FrameSuite } from './types.ts'

const AES_SLOTS = AES_KEY_BYTES / SLOT_BYTES
const MAC_SLOTS = HALF_KEY_BYTES / SLOT_BYTES
/** AES keys kept for late frames, at most. */
const MAX_AES_KEYS = 64
/** How long a frame may come after its AES key has had its time, ms. */
const AES_LATE_MS = 60_000
/**
 * Further ahead than this no message comes without a HANDSHAKE before it: the connection would be over by then. What
 * claims to is not worth the look for its key.
 */
const MAX_AHEAD_MESSAGES = 65_536
/** AES frames that are suspected after a forged one. */
const FORGED_MEMORY = 64
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

export type ReceiverOptions = {
  /** 2 x link number + direction, 0..65535. */
  readonly channel: number
  /** As the sender has it: where its message counter starts depends on it. */
  readonly aesMaxMessages: number
  /** As the sender has it, ms. */
  readonly aesMaxMs: number
  readonly keyLog?: KeyLogSink
}

/** At message `msgId` the stream was used up to `slot`. */
type Mark = { readonly msgId: number; readonly slot: number }
type AesKey = { readonly bytes: Uint8Array; readonly sinceMs: number; check?: GcmCheck }

export class ChannelReceiver {
  readonly #options: ReceiverOptions
  readonly #stream = new KeyStream()
  readonly #window = new ReplayWindow()
  /** By slot, oldest first. */
  readonly #aesKeys = new Map<number, AesKey>()
  #aesKeysKept: number
  #epoch: { readonly msgId: number; readonly r: Uint8Array } | undefined
  #marks: readonly Mark[] = []
  /** AES frames that are still looked at with the suspicion that the last forged one left. */
  #forgedLately = 0
  /** Checkers of keys that no message has used yet, by slot, kept as long as forged frames come that name them. */
  readonly #suspects = new CheckCache()
  /** The part of a MAC's key that is fresh for each message, while a frame is looked at. */
  readonly #macKey = new Uint8Array(HALF_KEY_BYTES)
  /** Undefined when nobody keeps a ledger. */
  #reservation: ReceiverReservation | undefined
  /** Highest Msg-Id of an authentic frame, accepted or waiting for the ledger; -1 before the first. */
  #authenticMsgId = -1

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#aesKeysKept = keysInWindow(options.aesMaxMessages)
  }

  get stream(): KeyStream {
    return this.#stream
  }

  /** Messages below are refused for sure after a crash, and most of them now: the peer does well to begin here. */
  get acceptsMsgId(): number {
    return Math.max(this.#reservation?.floor ?? 0, this.#window.highest + 1)
  }

  /** Messages the peer seals under one AES key, as its HANDSHAKE says. */
  set peerAesMaxMessages(messages: number) {
    this.#aesKeysKept = keysInWindow(messages)
  }

  /**
   * From now on nothing is accepted that the ledger does not cover. Of `recovered`, what an earlier life may have accepted
   * is refused, and key that it saw used is not used again.
   */
  keepLedger(recovered: ChannelMark | undefined): void {
    this.#reservation = new ReceiverReservation(recovered)
    if (recovered !== undefined) this.#stream.skipTo(recovered.slots)
  }

  /** The mark to make durable, if it is time. */
  askMark(): ChannelMark | undefined {
    const { channel } = this.#options
    const msgIds = this.#authenticMsgId < 0 ? undefined : this.#reservation?.ask(this.#authenticMsgId)
    return msgIds === undefined ? undefined : { channel, side: 'receiver', slots: this.#stream.usedSlots, msgIds }
  }

  settleMark({ msgIds }: ChannelMark): void {
    this.#reservation?.settle(msgIds)
  }

  /** Overwrites key that came `lifeMs` ago or earlier, and AES keys that have had their time. */
  expire(nowMs: number, lifeMs: number): void {
    this.#stream.expire(nowMs, lifeMs)
    this.#suspects.clear()
    for (const [slot, { sinceMs }] of this.#aesKeys) {
      if (nowMs - sinceMs < this.#options.aesMaxMs + AES_LATE_MS) break
      this.#forgetAesKey(slot)
    }
  }

  /**
   * Opens a received datagram. The checks come in the order length, version, flags, command, channel, replay window,
   * key, tag, ledger; only then does anything change. Never throws for what the datagram holds.
   */
  open(datagram: Uint8Array, nowMs: number): Opened | Dropped {
    const header = parseHeader(datagram)
    if ('drop' in header) return header
    if (header.channel !== this.#options.channel) return { drop: 'channel' }
    const msgId = rebuildCounter(header.msgId, this.#nearMsgId)
    const stale = this.#staleness(msgId)
    if (stale !== undefined) return { drop: stale }
    if (header.command === 'handshake') return this.#openHandshake(datagram, header, msgId)
    if (this.#epoch === undefined) return { drop: 'noEpoch' }
    if (msgId - this.#window.highest > MAX_AHEAD_MESSAGES) return { drop: 'tooFar' }
    if (header.suite === 'aes') return this.#openAes(datagram, header, msgId, nowMs)
    return this.#openMac(datagram, header, msgId, this.#epoch.r)
  }

  #openHandshake(datagram: Uint8Array, header: Header, nearMsgId: number): Opened | Dropped {
    const slot = this.#slotOf(header.aKeyId)
    const key = this.#stream.read(slot, HANDSHAKE_SLOTS)
    if (typeof key === 'string') return missing(key)
    const [r, s] = [key.subarray(0, HALF_KEY_BYTES), key.subarray(HALF_KEY_BYTES)]
    const payload = openAuth(datagram, { r, s })
    const msgId = (payload && this.#toldMsgId(payload, header)) ?? nearMsgId
    const drop = payload === undefined ? 'tag' : (this.#staleness(msgId) ?? this.#uncovered(msgId))
    if (payload !== undefined && drop === undefined) {
      this.#log('K', slot, key)
      this.#log('R', msgId, r)
      this.#openEpoch(msgId, r.slice())
      this.#burn(slot, HANDSHAKE_SLOTS)
    }
    key.fill(0)
    return payload === undefined || drop !== undefined ? { drop: drop ?? 'tag' } : this.#accept(payload, header, msgId)
  }

  #openMac(datagram: Uint8Array, header: Header, msgId: number, r: Uint8Array): Opened | Dropped {
    const aSlot = this.#slotOf(header.aKeyId)
    const isOtp = header.suite === 'otp'
    const eSlot = isOtp ? this.#slotOf(header.eKeyId) : aSlot
    const padSlots = isOtp ? Math.ceil((datagram.length - HEADER_BYTES - TAG_BYTES) / SLOT_BYTES) : 0
    const s = this.#macKey
    const lack = this.#stream.lack(aSlot, MAC_SLOTS) ?? this.#stream.lack(eSlot, padSlots)
    if (lack !== undefined) return missing(lack)
    this.#stream.readInto(aSlot, MAC_SLOTS, s)
    // A forged frame costs the tag alone: its pad is not looked at.
    const payload = openAuth(datagram, { r, s })
    const drop = payload === undefined ? 'tag' : this.#uncovered(msgId)
    if (payload === undefined || drop !== undefined) {
      s.fill(0)
      return { drop: drop ?? 'tag' }
    }
    const pad = this.#stream.read(eSlot, padSlots)
    if (typeof pad === 'string') return missing(pad)
    if (aSlot === eSlot + padSlots) this.#log('K', eSlot, pad, s)
    else {
      this.#log('K', eSlot, pad)
      this.#log('K', aSlot, s)
    }
    xorInto(payload, pad)
    this.#burn(eSlot, padSlots)
    this.#burn(aSlot, MAC_SLOTS)
    s.fill(0)
    pad.fill(0)
    return this.#accept(payload, header, msgId)
  }

  #openAes(datagram: Uint8Array, header: Header, msgId: number, nowMs: number): Opened | Dropped {
    const slot = this.#slotOf(header.eKeyId)
    const known = this.#aesKeys.get(slot)
    const lack = known === undefined ? this.#stream.lack(slot, AES_SLOTS) : undefined
    if (lack !== undefined) return missing(lack)
    if (this.#isForged(datagram, slot, msgId)) return { drop: 'tag' }
    const key = known?.bytes ?? this.#stream.read(slot, AES_SLOTS)
    if (typeof key === 'string') return missing(key)
    const { channel } = this.#options
    const payload = openAes(datagram, { key, channel, msgId })
    if (payload === undefined) this.#forgedLately = FORGED_MEMORY
    const drop = payload === undefined ? 'tag' : this.#uncovered(msgId)
    if (payload === undefined || drop !== undefined) {
      if (known === undefined) key.fill(0)
      payload?.fill(0)
      return { drop: drop ?? 'tag' }
    }
    if (known === undefined) this.#keepAesKey(slot, { bytes: key, sinceMs: nowMs })
    return this.#accept(payload, header, msgId)
  }

  /** Among forgeries a look at the tag alone comes first, for it costs a third; in quiet times it would be for nothing. */
  #isForged(datagram: Uint8Array, slot: number, msgId: number): boolean {
    if (this.#forgedLately === 0) return false
    this.#forgedLately -= 1
    const check = this.#aesKeys.get(slot)?.check ?? this.#newCheck(slot)
    const isForged = check?.isTrue(datagram, HEADER_BYTES, aesNonce(this.#options.channel, msgId)) === false
    if (isForged) this.#forgedLately = FORGED_MEMORY
    else if (this.#forgedLately === 0) this.#suspects.clear()
    return isForged
  }

  /** The checker of a key that is in use, or of one that a frame names which may be forged. */
  #newCheck(slot: number): GcmCheck | undefined {
    const kept = this.#aesKeys.get(slot)
    if (kept !== undefined) {
      kept.check = new GcmCheck(kept.bytes)
      return kept.check
    }
    return this.#suspects.get(slot) ?? this.#suspect(slot)
  }

  #suspect(slot: number): GcmCheck | undefined {
    const key = this.#stream.read(slot, AES_SLOTS)
    if (typeof key === 'string') return undefined
    const check = new GcmCheck(key)
    key.fill(0)
    this.#suspects.add(slot, check)
    return check
  }

  /** Overwrites key that was used, and what was made of it for frames that may be forged. */
  #burn(slot: number, slots: number): void {
    this.#stream.burn(slot, slots)
    this.#suspects.drop(slot - AES_SLOTS + 1, slot + slots)
  }

  /** Why a message with this counter is not accepted whatever it holds. */
  #staleness(msgId: number): DropReason | undefined {
    const verdict = this.#window.check(msgId)
    if (verdict !== 'fresh') return verdict
    if (this.#reservation !== undefined && msgId < this.#reservation.floor) return 'tooOld'
    return this.#epoch !== undefined && msgId < this.#epoch.msgId ? 'oldEpoch' : undefined
  }

  /** An authentic message that the ledger does not cover waits; what it needs is asked for. */
  #uncovered(msgId: number): DropReason | undefined {
    this.#authenticMsgId = Math.max(this.#authenticMsgId, msgId)
    return (this.#reservation?.covers(msgId) ?? true) ? undefined : 'notDurable'
  }

  /** A HANDSHAKE says its counter whole; an end that never heard the sender can but guess the upper half. */
  #toldMsgId(payload: Uint8Array, header: Header): number | undefined {
    const told = parseHandshake(payload)?.msgId
    return told !== undefined && told % 0x1_0000_0000 === header.msgId ? told : undefined
  }

  #openEpoch(msgId: number, r: Uint8Array): void {
    this.#epoch?.r.fill(0)
    this.#epoch = { msgId, r }
    for (const slot of [...this.#aesKeys.keys()]) this.#forgetAesKey(slot)
  }

  #keepAesKey(slot: number, key: AesKey): void {
    this.#log('K', slot, key.bytes)
    this.#burn(slot, AES_SLOTS)
    this.#aesKeys.set(slot, key)
    for (const oldest of this.#aesKeys.keys()) {
      if (this.#aesKeys.size <= this.#aesKeysKept) return
      this.#forgetAesKey(oldest)
    }
  }

  #forgetAesKey(slot: number): void {
    const key = this.#aesKeys.get(slot)
    key?.bytes.fill(0)
    key?.check?.wipe()
    this.#aesKeys.delete(slot)
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

  #log(kind: 'R' | 'K', at: number, octets: Uint8Array, more?: Uint8Array): void {
    const { keyLog, channel } = this.#options
    if (keyLog !== undefined) keyLog(keyLogRecord(kind, channel, at, octets, more))
  }

  /** What the next counter is near to: the highest accepted, or where a sender begins whose stream is at our slot. */
  get #nearMsgId(): number {
    const { highest } = this.#window
    if (highest >= 0) return highest
    return this.#reservation?.floor || firstMsgId(this.#stream.usedSlots, this.#options.aesMaxMessages)
  }

  #slotOf(keyId: number): number {
    return rebuildCounter(keyId, this.#stream.usedSlots)
  }
}

function missing(why: 'notYet' | 'gone'): Dropped {
  return { drop: why === 'notYet' ? 'noKeyYet' : 'keyGone' }
}

/** AES keys that the replay window can reach back to. */
function keysInWindow(messages: number): number {
  return Math.min(MAX_AES_KEYS, Math.ceil(WINDOW_MESSAGES / messages) + 1)
}
