import { MAX_ASDU_BYTES } from '../iec104/apci.ts'
import { Q3pChannel } from './channel.ts'
import type { Opened } from './channel-receiver.ts'
import { HANDSHAKE_SLOTS } from './channel-sender.ts'
import { Counters, type LinkDrop } from './counters.ts'
import { encodeHandshake, type Handshake, MAX_NAME_BYTES, parseHandshake } from './handshake.ts'
import { Handshaker } from './handshaker.ts'
import { HeldDatagrams } from './held-datagrams.ts'
import { KeyDemand } from './key-demand.ts'
import type { KeyLogRecord } from './key-log.ts'
import { SLOT_BYTES } from './key-stream.ts'
import type { SecureLinkEffect, SecureLinkInput, SecureLinkOptions } from './link-contract.ts'
import { apduBytes, LinkSession } from './link-session.ts'
import type { ChannelMark } from './marks.ts'
import { type LinkMessage, SendQueue } from './send-queue.ts'
import type { KeyBlock, StreamBooks } from './types.ts'

/** Slots that messages leave for supervision: one HANDSHAKE and one AES key. */
const RESERVED_SLOTS = HANDSHAKE_SLOTS + 4
const MAX_EPOCH = 2 ** 52
/** A peer may not have this end skip more of its stream than this at a time, nor Msg-Ids beyond 2^52. */
const MAX_SKIP_SLOTS = 2 ** 20
const MAX_MSG_ID = 2 ** 52
const NOTHING: readonly SecureLinkEffect[] = []
const COUNTERS = ['framesSent', 'framesReceived', 'retransmissions', 'framesI', 'framesS', 'framesU', 'handshakes']

/**
 * One end of a link: a 104 connection whose APDUs travel as Q3P datagrams over a lossy datagram service. A pure state
 * machine: `handle` takes an input and gives effects in order, `wakeAtMs` says when it wants time.
 *
 * ```
 * controlling: idle --open--> handshaking --answered--> session --broken, or the peer asks--> handshaking
 * controlled:  idle --open--> listening (asks now and then) --HANDSHAKE, answered--> session --broken--> listening
 *                                         session --new HANDSHAKE, answered--> session
 * ```
 */
export class SecureLink {
  readonly #options: SecureLinkOptions
  readonly #channel: Q3pChannel
  readonly #queue: SendQueue
  readonly #demand: KeyDemand
  /** Datagrams that wait for key; those that wait for the ledger are authentic. */
  readonly #held = new HeldDatagrams()
  readonly #early = new HeldDatagrams()
  readonly #handshaker: Handshaker
  readonly #counters = new Counters(COUNTERS)
  #effects: SecureLinkEffect[] = []
  #wakeAtMs: number | undefined
  #session: LinkSession | undefined
  #isOpen = false
  #wasOpened = false
  #isClosing = false
  /** So far key was asked for as the top chain's. */
  #askedTopUpToSlot = 0
  /** Most I-frames the peer sends unacknowledged, as its HANDSHAKE says. */
  #peerK: number

  /** RangeError for options outside their ranges. */
  constructor(options: SecureLinkOptions) {
    const { link, end, epoch, queueLimit, keyMaxAgeMs, names, keyLog } = options
    if (!Number.isInteger(link) || link < 0 || link > 0x7fff) throw new RangeError(`link ${link}, not 0..32767`)
    if (!Number.isInteger(epoch) || epoch < 1 || epoch > MAX_EPOCH) throw new RangeError(`epoch ${epoch}, not 1..2^52`)
    if (!Number.isInteger(queueLimit) || queueLimit < 1) throw new RangeError(`queueLimit ${queueLimit}, not above 0`)
    if (keyMaxAgeMs !== undefined && !(keyMaxAgeMs > 0)) throw new RangeError(`keyMaxAgeMs ${keyMaxAgeMs}, not above 0`)
    for (const name of names === undefined ? [] : [names.own, names.peer]) {
      const sizeBytes = new TextEncoder().encode(name).length
      if (sizeBytes < 1 || sizeBytes > MAX_NAME_BYTES) throw new RangeError(`name '${name}', not 1..64 octets`)
    }
    this.#options = options
    this.#peerK = options.k
    this.#handshaker = new Handshaker(end, epoch)
    const { aesMaxMessages, aesMaxMs } = options
    const log = keyLog === true && { keyLog: (record: KeyLogRecord) => this.#emit({ kind: 'keyLog', record }) }
    this.#channel = new Q3pChannel({ link, end, aesMaxMessages, aesMaxMs, ...log })
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
        this.#open(input.marks, nowMs)
        break
      case 'datagram':
        // A datagram that was dropped has changed nothing, and what is due at its time has a wake of its own.
        if (!this.#receive(input.bytes, nowMs) && nowMs < (this.#wakeAtMs ?? Number.POSITIVE_INFINITY)) return NOTHING
        break
      case 'keyBlock':
        this.#takeKey(input.block, nowMs)
        break
      case 'reserved':
        this.#channel.settleMark(input.mark)
        if (input.mark.side === 'receiver') for (const early of this.#early.release()) this.#receive(early, nowMs)
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

  #open(marks: readonly ChannelMark[] | undefined, nowMs: number): void {
    this.#isClosing = false
    if (this.#isOpen) return
    this.#isOpen = true
    const mine = marks?.filter(
      ({ channel }) => channel === this.#channel.txChannel || channel === this.#channel.rxChannel,
    )
    if (mine !== undefined && !this.#wasOpened) this.#channel.keepLedger(mine)
    const spent = this.#wasOpened ? 0 : mine?.find(({ side }) => side === 'sender')?.msgIds
    this.#wasOpened = true
    this.#handshaker.open(spent ?? 0, nowMs)
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
    const result = this.#channel.addKey(block, nowMs)
    if (result !== 'appended' && result !== 'duplicate') {
      const slots = block.bytes.length / SLOT_BYTES
      this.#counters.count('keyBlocksRefused')
      this.#emit({ kind: 'keyRefused', channel: block.channel, slot: block.slot, slots, reason: result })
    }
    if (block.channel !== this.#channel.rxChannel) return
    for (const datagram of this.#held.release()) this.#receive(datagram, nowMs)
  }

  /** Whether the datagram has changed anything. */
  #receive(datagram: Uint8Array, nowMs: number): boolean {
    if (!this.#wasOpened) {
      this.#counters.drop('noSession')
      return false
    }
    const opened = this.#channel.open(datagram, nowMs)
    if ('drop' in opened) {
      if (opened.drop === 'notDurable') {
        if (this.#early.hold(datagram)) this.#counters.drop('notDurable')
        return true
      }
      if (opened.drop !== 'noKeyYet') this.#counters.drop(opened.drop)
      else if (this.#held.hold(datagram)) this.#counters.drop('noKeyYet')
      return false
    }
    this.#counters.count('framesReceived')
    const drop = opened.command === 'handshake' ? this.#takeHandshake(opened, nowMs) : this.#takeData(opened, nowMs)
    if (drop !== undefined) this.#counters.drop(drop)
    return true
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
    if (handshake === undefined || !this.#isOpen || this.#skipsTooFar(handshake)) return 'handshake'
    const { names } = this.#options
    if (names !== undefined && handshake.name !== '' && handshake.name !== names.peer) return 'identity'
    const verdict = this.#handshaker.take(handshake, nowMs)
    if (verdict.kind === 'drop') return 'handshake'
    this.#channel.skipTo(handshake.acceptsSlot, handshake.acceptsMsgId)
    this.#channel.peerAesMaxMessages = handshake.aesMaxMessages
    this.#peerK = handshake.k
    if (verdict.kind === 'restarted') {
      this.#endSession('restarted')
      return undefined
    }
    this.#session = this.#newSession()
    this.#session.open(verdict.rttMs, nowMs)
    return undefined
  }

  #skipsTooFar({ acceptsSlot, acceptsMsgId }: Handshake): boolean {
    return acceptsSlot - this.#channel.usedSlots > MAX_SKIP_SLOTS || acceptsMsgId > MAX_MSG_ID
  }

  /** Does all that is due and possible at this time. */
  #advance(nowMs: number): void {
    for (const { id } of this.#queue.expire(nowMs)) this.#emit({ kind: 'lost', id, reason: 'expired' })
    const { t1Ms, keyMaxAgeMs = Number.POSITIVE_INFINITY } = this.#options
    this.#channel.expire(nowMs, keyMaxAgeMs, t1Ms)
    const handshakeSlots = this.#handshakeWhenDue(nowMs)
    this.#session?.wake(nowMs)
    this.#endBrokenSession(nowMs)
    const messageSlots = this.#sendQueued(nowMs)
    this.#closeWhenDone(nowMs)
    if (this.#isOpen) {
      const requiredSlots = Math.max(handshakeSlots ?? 0, messageSlots)
      this.#askForKey(this.#demand.askUpTo(this.#channel, requiredSlots, !this.#isClosing, nowMs), nowMs)
    }
    for (const mark of this.#channel.askMarks()) this.#emit({ kind: 'reserve', mark })
    this.#wakeAtMs = this.#nextWakeMs(handshakeSlots !== undefined)
  }

  #askForKey(upToSlot: number | undefined, nowMs: number): void {
    if (upToSlot === undefined && this.#queue.length === 0) return
    const { topPriority = Number.NEGATIVE_INFINITY } = this.#options
    const { txChannel: channel, usedSlots, availableSlots } = this.#channel
    let slots = 0
    for (const message of this.#queue.heads()) {
      if (message.priority <= topPriority) slots = Math.max(slots, this.#neededSlots(message, nowMs))
    }
    const topUpToSlot = slots > availableSlots ? usedSlots + slots : 0
    if (upToSlot === undefined && topUpToSlot <= this.#askedTopUpToSlot) return
    this.#askedTopUpToSlot = Math.max(this.#askedTopUpToSlot, topUpToSlot)
    const top = topUpToSlot > 0 && { topUpToSlot }
    this.#emit({ kind: 'fetchKeys', channel, upToSlot: Math.max(upToSlot ?? 0, topUpToSlot), ...top })
  }

  /** Sends the HANDSHAKE that is due; when it must wait, gives the slots it lacks (0: it waits for the ledger). */
  #handshakeWhenDue(nowMs: number): number | undefined {
    const dueAtMs = this.#handshakeAtMs
    if (dueAtMs === undefined || nowMs < dueAtMs) return undefined
    const handshaker = this.#handshaker
    const isAnswer = handshaker.isAnswer
    const { acceptsMsgId, acceptsSlot } = this.#channel
    const { k, aesMaxMessages, names } = this.#options
    const sealed = this.#channel.handshake((msgId) =>
      encodeHandshake({
        ...handshaker.next,
        msgId,
        acceptsMsgId,
        acceptsSlot,
        k,
        aesMaxMessages,
        name: names?.own ?? '',
      }),
    )
    if ('wait' in sealed) return sealed.wait
    handshaker.sent(nowMs)
    this.#counters.count('framesSent')
    this.#counters.count('handshakes')
    this.#emit({ kind: 'send', bytes: sealed.datagram })
    if (isAnswer) {
      this.#session = this.#newSession()
      this.#session.open(undefined, nowMs)
    }
    return undefined
  }

  /** When a HANDSHAKE is due; undefined while there is a session, or nothing to wait for. */
  get #handshakeAtMs(): number | undefined {
    if (!this.#isOpen || this.#session !== undefined) return undefined
    // A controlled end that is closing asks for no session.
    if (this.#isClosing && this.#options.end === 1 && !this.#handshaker.isAnswer) return undefined
    return this.#handshaker.dueAtMs
  }

  /** Seals and sends what link, window and key allow; gives the slots that the next frames need. */
  #sendQueued(nowMs: number): number {
    const session = this.#session
    const missingSlots = session?.flush(nowMs) ?? 0
    if (this.#queue.length === 0) {
      this.#queue.markKeyShort('otp', false, nowMs)
      this.#queue.markKeyShort('aes', false, nowMs)
      return missingSlots
    }
    const fits = (message: LinkMessage): boolean => {
      const slots = this.#neededSlots(message, nowMs)
      return slots <= this.#channel.availableSlots && this.#channel.isCovered(slots)
    }
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
    if (this.#options.wantsAll === true) {
      const all = this.#queue.sum((message) => this.#sealedSlots(message, nowMs))
      return Math.max(missingSlots, all === 0 ? 0 : all + RESERVED_SLOTS)
    }
    return Math.max(missingSlots, ...heads.map((head) => this.#neededSlots(head, nowMs)))
  }

  /** Slots that must be available for a message to be sealed; what supervision lives on is left alone. */
  #neededSlots(message: LinkMessage, nowMs: number): number {
    const slots = this.#sealedSlots(message, nowMs)
    return slots === 0 ? 0 : slots + RESERVED_SLOTS
  }

  #sealedSlots({ asdu, suite }: LinkMessage, nowMs: number): number {
    return this.#channel.slotsNeeded(apduBytes(asdu.length), suite, nowMs)
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
    const endReason = this.#session?.endReason
    if (endReason === undefined) return
    this.#endSession(endReason)
    this.#handshaker.ended(nowMs)
  }

  #endSession(reason: string): void {
    if (this.#session === undefined) return
    this.#counters.count('sessionsEnded')
    this.#session.end(reason)
    this.#session = undefined
  }

  #newSession(): LinkSession {
    const ports = {
      channel: this.#channel,
      counters: this.#counters,
      emit: (effect: SecureLinkEffect) => this.#emit(effect),
      queued: () => this.#queue.length,
    }
    return new LinkSession(this.#options, ports, this.#peerK)
  }

  #nextWakeMs(isHandshakeWaiting: boolean): number | undefined {
    if (!this.#isOpen) return undefined
    const handshakeAtMs = isHandshakeWaiting ? undefined : this.#handshakeAtMs
    const { keyMaxAgeMs } = this.#options
    const expiryMs = keyMaxAgeMs === undefined ? undefined : this.#channel.expiryMs(keyMaxAgeMs)
    const never = Number.POSITIVE_INFINITY
    const linkMs = Math.min(this.#session?.wakeAtMs ?? never, handshakeAtMs ?? never)
    const keyMs = Math.min(this.#demand.wakeAtMs ?? never, expiryMs ?? never)
    const atMs = Math.min(linkMs, keyMs, this.#queue.nextExpiryMs ?? never)
    return atMs === never ? undefined : atMs
  }

  #emit(effect: SecureLinkEffect): void {
    if (effect.kind === 'up') this.#handshaker.up()
    this.#effects.push(effect)
  }
}
