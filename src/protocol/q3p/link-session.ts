import { APCI_BYTES, type Apdu, parseApdu } from '../iec104/apci.ts'
import { ApciConnection, type ApciEffect } from '../iec104/connection.ts'
import { WireError } from '../iec104/errors.ts'
import type { Q3pChannel } from './channel.ts'
import type { Counters } from './counters.ts'
import type { SecureLinkEffect, SecureLinkOptions } from './link-contract.ts'
import { type ReceivedFrame, ReorderBuffer } from './reorder.ts'
import { Retransmitter, RoundTripTimer } from './retransmit.ts'
import type { Dequeued } from './send-queue.ts'
import type { Suite } from './types.ts'

/** Retry interval of U acts. */
const U_RETRY_MS = 500
/** What a retransmission waits for beyond the longest time the peer may hold an acknowledgement back. */
const RTO_MARGIN_MS = 50
/** Out-of-order I-frames held, at least and at most, whatever k the peer says it has. */
const REORDER_FRAMES = 64
const MAX_REORDER_FRAMES = 1024

export type SessionPorts = {
  readonly channel: Q3pChannel
  readonly counters: Counters
  readonly emit: (effect: SecureLinkEffect) => void
  /** Messages that wait in the send queue. */
  readonly queued: () => number
}

/**
 * One 104 connection over the two channels of a link, from the HANDSHAKE to its end: numbering by ApciConnection,
 * retransmission, reordering, and the S- and U-frames that wait for key.
 */
export class LinkSession {
  readonly #options: SecureLinkOptions
  readonly #ports: SessionPorts
  readonly #apci: ApciConnection
  readonly #timer: RoundTripTimer
  readonly #retransmitter: Retransmitter
  readonly #reorder: ReorderBuffer
  /** S- and U-frames not sealed yet for lack of key, at most one of each kind. */
  #supervision: readonly Uint8Array[] = []
  #openedAtMs: number | undefined
  #stopHeldUntilMs: number | undefined
  #isUp = false
  #isStopped = false
  #endReason: string | undefined

  /** `peerK`: most I-frames the peer sends unacknowledged. */
  constructor(options: SecureLinkOptions, ports: SessionPorts, peerK: number = options.k) {
    const { k, w, t1Ms, t2Ms, t3Ms } = options
    this.#options = options
    this.#ports = ports
    const role = options.end === 0 ? 'controlling' : 'controlled'
    this.#apci = new ApciConnection({ role, k, w, t1Ms, t2Ms, t3Ms, uRetryMs: U_RETRY_MS })
    this.#timer = new RoundTripTimer(t2Ms + RTO_MARGIN_MS)
    this.#retransmitter = new Retransmitter(this.#timer)
    this.#reorder = new ReorderBuffer(Math.max(REORDER_FRAMES, Math.min(peerK, MAX_REORDER_FRAMES)))
  }

  /** Undefined when only a datagram can change anything. */
  get wakeAtMs(): number | undefined {
    if (this.#isStopped || this.#endReason !== undefined) return undefined
    const apciAtMs = this.#apci.wakeAtMs ?? Number.POSITIVE_INFINITY
    const atMs = Math.min(apciAtMs, this.#retransmitter.dueAtMs ?? Number.POSITIVE_INFINITY)
    return Number.isFinite(atMs) ? atMs : undefined
  }

  /** Started, and the peer answers. */
  get isUp(): boolean {
    return this.#apci.isStarted && !this.#retransmitter.isStalled
  }

  /** Data transfer was ended in good order by STOPDT. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Why the connection broke; undefined while it has not. */
  get endReason(): string | undefined {
    return this.#endReason
  }

  /** An I-frame may be sent now. */
  get canSend(): boolean {
    return this.#endReason === undefined && this.#apci.canSend
  }

  /** Begins; `rttMs` is the round trip of the HANDSHAKE, if it was measured. */
  open(rttMs: number | undefined, nowMs: number): void {
    if (rttMs === undefined) this.#openedAtMs = nowMs
    else this.#timer.begin(rttMs, this.#options.t2Ms)
    this.#apply(this.#apci.open(nowMs), nowMs)
  }

  /** Takes the payload of an authentic frame. */
  receive(payload: Uint8Array, suite: Suite, nowMs: number): void {
    if (this.#openedAtMs !== undefined) {
      this.#timer.begin(nowMs - this.#openedAtMs, this.#options.t2Ms)
      this.#openedAtMs = undefined
    }
    const frame = parse(payload)
    if (frame?.format === 'I') {
      this.#receiveI(frame.sendSeq, { apdu: payload, suite }, nowMs)
      return
    }
    if (frame?.format === 'U' && frame.function === 'stopdtAct' && this.#holdsStop(nowMs)) return
    const effects = this.#apci.receive(payload, nowMs)
    this.#apply(effects, nowMs)
    if (frame?.format === 'S' && effects.length === 0) this.#resend(this.#retransmitter.ackedNothing(nowMs))
    // Repeated datagrams get no answer, so a peer that misses an acknowledgement asks with a fresh test frame.
    if (frame?.format === 'U' && frame.function === 'testfrAct') this.#apply(this.#apci.acknowledge(nowMs), nowMs)
  }

  /** Seals and sends a message; only when `canSend`, the key for it is there and the ledger covers it. */
  send({ message, queueMs, keyWaitMs }: Dequeued, nowMs: number): void {
    const { id, asdu, suite } = message
    for (const effect of this.#apci.send(asdu, nowMs)) {
      if (effect.kind !== 'transmit' || effect.format !== 'I') {
        this.#apply([effect], nowMs)
        continue
      }
      const sealed = this.#ports.channel.seal('data', effect.apdu, suite, nowMs)
      if ('wait' in sealed)
        throw new Error(`link ${this.#options.link}: ${sealed.wait} slots were not there for an I-frame`)
      this.#emitSend(sealed.datagram, 'framesI')
      this.#retransmitter.sent({ id, datagram: sealed.datagram, firstSentAtMs: nowMs })
      this.#ports.emit({ kind: 'sent', id, suite, queueMs, keyWaitMs, keySlots: sealed.usedSlots })
    }
  }

  /** Seals the S- and U-frames that wait for key; gives the slots that are missing for the next, 0 when none waits. */
  flush(nowMs: number): number {
    if (this.#supervision.length === 0) return 0
    const waiting = this.#supervision
    this.#supervision = []
    let missingSlots = 0
    for (const apdu of waiting) missingSlots = Math.max(missingSlots, this.#supervise(apdu, nowMs))
    return missingSlots
  }

  /** Acts on the timers that are due. */
  wake(nowMs: number): void {
    if (this.#isStopped) return
    if (nowMs >= (this.#apci.wakeAtMs ?? Number.POSITIVE_INFINITY)) this.#apply(this.#apci.wake(nowMs), nowMs)
    if (this.#endReason !== undefined || nowMs < (this.#retransmitter.dueAtMs ?? Number.POSITIVE_INFINITY)) return
    this.#resend(this.#retransmitter.retransmit(nowMs))
    if (this.#retransmitter.isStalled) this.#apply(this.#apci.test(nowMs), nowMs)
  }

  /** Controlling end: ends the data transfer by STOPDT once all is acknowledged. Idempotent. */
  stop(nowMs: number): void {
    this.#apply(this.#apci.stop(nowMs), nowMs)
  }

  /** The session is over: reports it down and its unacknowledged messages lost. */
  end(reason: string): void {
    this.#goDown(reason)
    for (const { id } of this.#retransmitter.abandon()) this.#ports.emit({ kind: 'lost', id, reason: 'linkClosed' })
  }

  #receiveI(sendSeq: number, frame: ReceivedFrame, nowMs: number): void {
    const run = this.#reorder.take(sendSeq, frame)
    if (run === undefined) this.#ports.counters.drop('sequence')
    else if (run.length === 0) this.#ports.counters.count('framesReordered')
    for (const { apdu, suite } of run ?? []) this.#apply(this.#apci.receive(apdu, nowMs), nowMs, suite)
    // A gap, and its end, are told at once, so that the peer need not wait for its timer.
    if (run !== undefined && run.length !== 1 && this.#endReason === undefined) {
      this.#apply(this.#apci.acknowledge(nowMs), nowMs)
    }
  }

  /** A STOPDT act is left unanswered, to be repeated, while messages are queued; for half of the peer's t1 at most. */
  #holdsStop(nowMs: number): boolean {
    this.#stopHeldUntilMs ??= nowMs + this.#options.t1Ms / 2
    return this.#apci.isStarted && this.#ports.queued() > 0 && nowMs < this.#stopHeldUntilMs
  }

  #apply(effects: readonly ApciEffect[], nowMs: number, suite: Suite = 'aes'): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'transmit':
          this.#supervise(effect.apdu, nowMs)
          break
        case 'asdu':
          this.#ports.emit({ kind: 'deliver', asdu: effect.asdu, suite })
          break
        case 'acked':
          for (const { id, firstSentAtMs } of this.#retransmitter.acked(effect.count, nowMs)) {
            this.#ports.emit({ kind: 'acked', id, rttMs: nowMs - firstSentAtMs })
          }
          break
        case 'started':
          this.#isUp = true
          this.#isStopped = false
          this.#ports.emit({ kind: 'up' })
          break
        case 'stopped':
          this.#isStopped = true
          this.#goDown('stopped')
          break
        case 'close':
          this.#endReason = effect.reason
          break
      }
    }
  }

  /** Seals and sends an S- or U-frame, or keeps it for `flush`; gives the slots that are missing. */
  #supervise(apdu: Uint8Array, nowMs: number): number {
    const sealed = this.#ports.channel.seal('data', apdu, this.#options.supervisionSuite, nowMs)
    if ('wait' in sealed) {
      // The first control octet tells S-frames and the U functions apart; of each only the newest matters.
      this.#supervision = [...this.#supervision.filter((waiting) => waiting[2] !== apdu[2]), apdu]
      return sealed.wait
    }
    this.#emitSend(sealed.datagram, apdu[2] === 1 ? 'framesS' : 'framesU')
    return 0
  }

  #resend(datagrams: readonly Uint8Array[]): void {
    for (const datagram of datagrams) this.#emitSend(datagram, 'retransmissions')
  }

  #emitSend(bytes: Uint8Array, counter: string): void {
    this.#ports.counters.count('framesSent')
    this.#ports.counters.count(counter)
    this.#ports.emit({ kind: 'send', bytes })
  }

  #goDown(reason: string): void {
    if (this.#isUp) this.#ports.emit({ kind: 'down', reason })
    this.#isUp = false
  }
}

/** Octets of an I-frame that carries an ASDU of so many. */
export function apduBytes(asduBytes: number): number {
  return APCI_BYTES + asduBytes
}

function parse(payload: Uint8Array): Apdu | undefined {
  try {
    return parseApdu(payload)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}
