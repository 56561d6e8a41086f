import { MAX_ASDU_BYTES } from '../iec104/apci.ts'
import { Q3pChannel } from './channel.ts'
import type { Opened } from './channel-receiver.ts'
import { HANDSHAKE_SLOTS } from './channel-sender.ts'
import { Counters, type LinkDrop } from './counters.ts'
import { BackOff, encodeHandshake, parseHandshake } from './handshake.ts'
import { HeldDatagrams } from './held-datagrams.ts'
import { KeyDemand } from './key-demand.ts'
import type { SecureLinkEffect, SecureLinkInput, SecureLinkOptions } from './link-contract.ts'
import { apduBytes, LinkSession } from './link-session.ts'
import { type LinkMessage, SendQueue } from './send-queue.ts'
import type { KeyBlock, StreamBooks } from './types.ts'

/** Slots that messages leave for supervision: one HANDSHAKE and one AES key. */
const RESERVED_SLOTS = HANDSHAKE_SLOTS + 4
const MAX_EPOCH = 2 ** 52
const COUNTERS = ['framesSent', 'framesReceived', 'retransmissions', 'framesI', 'framesS', 'framesU', 'handshakes']

/**
 * One end of a link: a 104 connection whose APDUs travel as Q3P datagrams over a lossy datagram service. A pure state
 * machine: `handle` takes an input and gives effects in order, `wakeAtMs` says when it wants time.
 *
 * ```
 * controlling: idle --open--> handshaking --answered--> session --broken--> handshaking (after a back-off)
 * controlled:  idle --open--> listening --HANDSHAKE, answered--> session --broken--> listening
 *                                         session --new HANDSHAKE, answered--> session
 * ```
 */
export class SecureLink {
  readonly #options: SecureLinkOptions
  readonly #channel: Q3pChannel
  readonly #queue: SendQueue
  readonly #demand: KeyDemand
  readonly #held = new HeldDatagrams()
  readonly #backOff = new BackOff()
  readonly #counters = new Counters(COUNTERS)
  #effects: SecureLinkEffect[] = []
  #wakeAtMs: number | undefined
  #session: LinkSession | undefined
  #isOpen = false
  #isClosing = false
  /** Epoch of the latest HANDSHAKE of this end; each opens a new one. */
  #epoch: number
  /** Controlling: when the next HANDSHAKE is due, and when the latest one that may still be answered went out. */
  #handshakeAtMs = 0
  #handshakeSentAtMs: number | undefined
  /** Controlled: the peer's epoch that is to be answered. */
  #answersEpoch: number | undefined

  /** RangeError for options outside their ranges. */
  constructor(options: SecureLinkOptions) {
    const { link, epoch, queueLimit } = options
    if (!Number.isInteger(link) || link < 0 || link > 0x7fff) throw new RangeError(`link ${link}, not 0..32767`)
    if (!Number.isInteger(epoch) || epoch < 1 || epoch > MAX_EPOCH) throw new RangeError(`epoch ${epoch}, not 1..2^52`)
    if (!Number.isInteger(queueLimit) || queueLimit < 1) throw new RangeError(`queueLimit ${queueLimit}, not above 0`)
    this.#options = options
    this.#epoch = epoch
    this.#channel = new Q3pChannel(options)
    this.#queue = new SendQueue(queueLimit)
    this.#demand = new KeyDemand(options)
    // Checks the options of the 104 connection now rather than at the first session.
    this.#newSession()
  }

  /** Lab time at which a `wake` is wanted; undefined when only an input can change anything. */
  get wakeAtMs(): number | undefined {
    return this.#wakeAtMs
  }

  /** Data transfer is started, and the oldest unacknowledged I-frame was not repeated twice without an answer. */
  get isUp(): boolean {
    return this.#session?.isUp ?? false
  }

  /** Messages not sealed yet. */
  get queued(): number {
    return this.#queue.length
  }

  /** Frames sent and received, retransmissions, drops by reason and so on since the start. */
  counters(): Readonly<Record<string, number>> {
    return this.#counters.toRecord()
  }

  /** Books of the sending and the receiving stream. */
  books(): readonly [StreamBooks, StreamBooks] {
    return this.#channel.books()
  }

  /** Takes one input. Throws RangeError for a message whose ASDU has not 1..249 octets, never for what a peer sent. */
  handle(input: SecureLinkInput | { readonly kind: 'wake' }, nowMs: number): readonly SecureLinkEffect[] {
    this.#effects = []
    switch (input.kind) {
      case 'open':
        this.#open(nowMs)
        break
      case 'datagram':
        this.#receive(input.bytes, nowMs)
        break
      case 'keyBlock':
        this.#takeKey(input.block, nowMs)
        break
      case 'message':
        this.#enqueue(input.message, nowMs)
        break
      case 'close':
        this.#isClosing = true
        break
      case 'wake':
        break
    }
    this.#advance(nowMs)
    return this.#effects
  }

  #open(nowMs: number): void {
    this.#isClosing = false
    if (this.#isOpen) return
    this.#isOpen = true
    this.#handshakeAtMs = nowMs
    this.#backOff.reset()
  }

  #enqueue(message: LinkMessage, nowMs: number): void {
    const sizeBytes = message.asdu.length
    if (sizeBytes < 1 || sizeBytes > MAX_ASDU_BYTES) throw new RangeError(`ASDU of ${sizeBytes} octets, not 1..249`)
    if (this.#isClosing) {
      this.#emit({ kind: 'lost', id: message.id, reason: 'closing' })
      return
    }
    const lost = this.#queue.add(message, nowMs)
    if (lost !== undefined) this.#emit({ kind: 'lost', id: lost.id, reason: 'queueFull' })
  }

  #takeKey(block: KeyBlock, nowMs: number): void {
    const result = this.#channel.addKey(block)
    if (result !== 'appended' && result !== 'duplicate') this.#counters.count('keyBlocksRefused')
    if (block.channel !== this.#channel.rxChannel) return
    for (const datagram of this.#held.release()) this.#receive(datagram, nowMs)
  }

  #receive(datagram: Uint8Array, nowMs: number): void {
    const opened = this.#channel.open(datagram)
    if ('drop' in opened) {
      if (opened.drop !== 'noKeyYet') this.#counters.drop(opened.drop)
      else if (this.#held.hold(datagram)) this.#counters.drop('noKeyYet')
      return
    }
    this.#counters.count('framesReceived')
    const drop = opened.command === 'handshake' ? this.#takeHandshake(opened, nowMs) : this.#takeData(opened, nowMs)
    if (drop !== undefined) this.#counters.drop(drop)
  }

  /** Hands the payload of an authentic frame to the session, or says why it is of no use. */
  #takeData({ command, suite, payload }: Opened, nowMs: number): LinkDrop | undefined {
    if (command !== 'data') return 'unusedCommand'
    if (suite === 'auth') return 'plaintext'
    if (this.#session === undefined) return 'noSession'
    this.#session.receive(payload, suite, nowMs)
    this.#endBrokenSession(nowMs)
    return undefined
  }

  #takeHandshake({ payload }: Opened, nowMs: number): LinkDrop | undefined {
    const handshake = parseHandshake(payload)
    if (handshake === undefined || !this.#isOpen) return 'handshake'
    if (this.#options.end === 1) {
      if (handshake.answers !== 0) return 'handshake'
      this.#endSession('restarted', nowMs)
      this.#answersEpoch = handshake.epoch
      return undefined
    }
    // Only the latest HANDSHAKE counts, because r is that of the latest. Its answer comes before any session.
    if (this.#handshakeSentAtMs === undefined || handshake.answers !== this.#epoch) return 'handshake'
    const rttMs = nowMs - this.#handshakeSentAtMs
    this.#handshakeSentAtMs = undefined
    this.#session = this.#newSession()
    this.#session.open(rttMs, nowMs)
    return undefined
  }

  /** Does all that is due and possible at this time. */
  #advance(nowMs: number): void {
    for (const { id } of this.#queue.expire(nowMs)) this.#emit({ kind: 'lost', id, reason: 'expired' })
    const handshakeSlots = this.#handshakeWhenDue(nowMs)
    this.#session?.wake(nowMs)
    this.#endBrokenSession(nowMs)
    const messageSlots = this.#sendQueued(nowMs)
    this.#closeWhenDone(nowMs)
    if (this.#isOpen) {
      const requiredSlots = Math.max(handshakeSlots, messageSlots)
      const upToSlot = this.#demand.askUpTo(this.#channel, requiredSlots, !this.#isClosing, nowMs)
      if (upToSlot !== undefined) this.#emit({ kind: 'fetchKeys', channel: this.#channel.txChannel, upToSlot })
    }
    this.#wakeAtMs = this.#nextWakeMs(handshakeSlots > 0)
  }

  /** Sends the HANDSHAKE that is due; gives the slots that it lacks. */
  #handshakeWhenDue(nowMs: number): number {
    if (!this.#isHandshaking || (this.#options.end === 0 && nowMs < this.#handshakeAtMs)) return 0
    const answers = this.#answersEpoch ?? 0
    const sealed = this.#channel.handshake(encodeHandshake({ epoch: this.#epoch + 1, answers }))
    if ('wait' in sealed) return sealed.wait
    this.#epoch += 1
    this.#counters.count('framesSent')
    this.#counters.count('handshakes')
    this.#emit({ kind: 'send', bytes: sealed.datagram })
    if (this.#options.end === 0) {
      this.#handshakeSentAtMs = nowMs
      this.#handshakeAtMs = nowMs + this.#backOff.take()
      return 0
    }
    this.#answersEpoch = undefined
    this.#session = this.#newSession()
    this.#session.open(undefined, nowMs)
    return 0
  }

  get #isHandshaking(): boolean {
    if (!this.#isOpen || this.#session !== undefined) return false
    return this.#options.end === 0 || this.#answersEpoch !== undefined
  }

  /** Seals and sends what link, window and key allow; gives the slots that the next frames need. */
  #sendQueued(nowMs: number): number {
    const session = this.#session
    const missingSlots = session?.flush(nowMs) ?? 0
    const fits = (message: LinkMessage): boolean => this.#neededSlots(message, nowMs) <= this.#channel.availableSlots
    while (session?.canSend && missingSlots === 0) {
      const next = this.#queue.heads().find(fits)
      const taken = next && this.#queue.take(next.suite, nowMs)
      if (taken === undefined) break
      session.send(taken, nowMs)
    }
    const heads = this.#queue.heads()
    const mayGo = session?.canSend ?? false
    for (const suite of ['otp', 'aes'] as const) {
      this.#queue.markKeyShort(suite, mayGo && heads.some((head) => head.suite === suite), nowMs)
    }
    return Math.max(missingSlots, ...heads.map((head) => this.#neededSlots(head, nowMs)))
  }

  /** Slots that must be available for a message to be sealed; what supervision lives on is left alone. */
  #neededSlots({ asdu, suite }: LinkMessage, nowMs: number): number {
    const slots = this.#channel.slotsNeeded(apduBytes(asdu.length), suite, nowMs)
    return slots === 0 ? 0 : slots + RESERVED_SLOTS
  }

  #closeWhenDone(nowMs: number): void {
    const session = this.#session
    if (this.#isClosing && session?.isStopped) {
      for (const { id } of this.#queue.clear()) this.#emit({ kind: 'lost', id, reason: 'closing' })
    }
    if (this.#options.end === 1) return
    if (session?.isStopped) {
      this.#session = undefined
      this.#isOpen = false
    } else if (this.#isClosing && this.#queue.length === 0) {
      if (session === undefined) this.#isOpen = false
      else session.stop(nowMs)
    }
  }

  #endBrokenSession(nowMs: number): void {
    if (this.#session?.endReason !== undefined) this.#endSession(this.#session.endReason, nowMs)
  }

  #endSession(reason: string, nowMs: number): void {
    if (this.#session === undefined) return
    this.#counters.count('sessionsEnded')
    this.#session.end(reason)
    this.#session = undefined
    this.#handshakeAtMs = nowMs + this.#backOff.take()
  }

  #newSession(): LinkSession {
    return new LinkSession(this.#options, {
      channel: this.#channel,
      counters: this.#counters,
      emit: (effect) => this.#emit(effect),
      queued: () => this.#queue.length,
    })
  }

  #nextWakeMs(isShortOfHandshakeKey: boolean): number | undefined {
    if (!this.#isOpen) return undefined
    const handshakeAtMs = this.#isHandshaking && !isShortOfHandshakeKey ? this.#handshakeAtMs : undefined
    const times = [this.#session?.wakeAtMs, handshakeAtMs, this.#demand.wakeAtMs, this.#queue.nextExpiryMs]
    const known = times.filter((atMs) => atMs !== undefined)
    return known.length > 0 ? Math.min(...known) : undefined
  }

  #emit(effect: SecureLinkEffect): void {
    if (effect.kind === 'up') this.#backOff.reset()
    this.#effects.push(effect)
  }
}
