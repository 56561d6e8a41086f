/**
 * The connection state machine of IEC 60870-5-104, clauses 5.1 to 5.5: start and stop of data transfer, numbering,
 * windows k and w, timers t1 to t3. Knows nothing of the transport.
 */
import { encodeI, encodeS, encodeU, parseApdu, SEQ_MODULUS, type UFunction } from './apci.ts'
import { WireError } from './errors.ts'

export type ApciOptions = {
  /** The controlling station starts and stops the data transfer. */
  readonly role: 'controlling' | 'controlled'
  /** Most I-frames sent and not acknowledged, 1..32767 (default of the standard: 12). */
  readonly k: number
  /** I-frames received after which an acknowledgement is sent at the latest, 1..32767 (8). */
  readonly w: number
  /** Time within which an I-frame (from its first transmission) or a U act must be answered (15 000). */
  readonly t1Ms: number
  /** Time after which a received I-frame is acknowledged at the latest, below t1 (10 000). */
  readonly t2Ms: number
  /** Time without any received frame after which the connection is tested (20 000). */
  readonly t3Ms: number
  /**
   * Set for a transport that may lose, delay and reorder S- and U-frames (I-frames must still come in order and once):
   * U acts are transmitted again at this interval until answered or t1, overtaken acknowledgements are no error, and
   * an I-frame stands for the STARTDT con that it overtook. Undefined over TCP, where all of that closes.
   */
  readonly uRetryMs?: number
}

/** Why a connection ended. The first four are expiries of t1. */
export type ApciCloseReason =
  | 't1Ack'
  | 't1Startdt'
  | 't1Stopdt'
  | 't1Testfr'
  /** N(S) is not the next expected one. */
  | 'sendSeq'
  /** N(R) acknowledges what was never sent, or takes an acknowledgement back. */
  | 'recvSeq'
  /** An I- or S-frame while the data transfer is stopped. */
  | 'notStarted'
  /** A U-frame that the peer's role does not allow. */
  | 'wrongRole'
  | 'malformed'

export type ApciEffect =
  | { readonly kind: 'transmit'; readonly apdu: Uint8Array; readonly format: 'I' | 'S' | 'U' }
  /** A received ASDU, in order; a view of the received octets. */
  | { readonly kind: 'asdu'; readonly asdu: Uint8Array }
  /** This many of the oldest unacknowledged I-frames are now acknowledged. */
  | { readonly kind: 'acked'; readonly count: number }
  /** Data transfer began. */
  | { readonly kind: 'started' }
  /** Data transfer ended by STOPDT. */
  | { readonly kind: 'stopped' }
  /** The connection is over: close the transport, or start anew with `open`. */
  | { readonly kind: 'close'; readonly reason: ApciCloseReason }

/** A U act that waits for its confirmation. */
type Act = { readonly function: 'startdtAct' | 'stopdtAct' | 'testfrAct'; readonly t1AtMs: number; retryAtMs: number }

const T1_REASON = { startdtAct: 't1Startdt', stopdtAct: 't1Stopdt', testfrAct: 't1Testfr' } as const

/**
 * One end of a 104 connection, a pure state machine. Times are lab time, ms. Begins closed; a closed connection ignores
 * everything but `open`. Nothing that a peer sends makes it throw: it gives `close` instead.
 *
 * ```
 * closed --open--> stopped (controlled)                 --STARTDT act / con--> started
 *        --open--> starting (controlling, STARTDT act)  --STARTDT con-------> started
 * started --stop(): own I-frames acknowledged, STOPDT act--> stopping --STOPDT con--> stopped   (controlling)
 * started --STOPDT act--> stopping --own I-frames acknowledged / STOPDT con--> stopped          (controlled)
 * ```
 */
export class ApciConnection {
  readonly #options: ApciOptions
  #state: 'closed' | 'stopped' | 'starting' | 'started' | 'stopping' = 'closed'
  /** V(S): N(S) of the next I-frame. */
  #sendSeq = 0
  /** V(R): N(S) expected next, which is the N(R) we send. */
  #recvSeq = 0
  /** I-frames received and not acknowledged by us. */
  #owed = 0
  #ackAtMs = Number.POSITIVE_INFINITY
  /** t1 expiries of our unacknowledged I-frames, oldest first. */
  readonly #sentT1AtMs: number[] = []
  #idleAtMs = Number.POSITIVE_INFINITY
  /** STARTDT or STOPDT act. */
  #control: Act | undefined
  #testing: Act | undefined

  /** RangeError for options outside their ranges. */
  constructor(options: ApciOptions) {
    for (const name of ['k', 'w'] as const) {
      const size = options[name]
      if (!Number.isInteger(size) || size < 1 || size >= SEQ_MODULUS)
        throw new RangeError(`${name} ${size}, not 1..32767`)
    }
    for (const name of ['t1Ms', 't2Ms', 't3Ms', 'uRetryMs'] as const) {
      const value = options[name]
      if (value !== undefined && !(value > 0)) throw new RangeError(`${name} ${value}, not above 0`)
    }
    if (options.t2Ms >= options.t1Ms) throw new RangeError(`t2Ms ${options.t2Ms} is not below t1Ms ${options.t1Ms}`)
    this.#options = options
  }

  /** When `wake` is due; undefined when closed. */
  get wakeAtMs(): number | undefined {
    if (this.#state === 'closed') return undefined
    let atMs = Math.min(this.#ackAtMs, this.#sentT1AtMs[0] ?? Number.POSITIVE_INFINITY)
    for (const act of [this.#control, this.#testing]) if (act) atMs = Math.min(atMs, act.t1AtMs, act.retryAtMs)
    if (this.#testing === undefined) atMs = Math.min(atMs, this.#idleAtMs)
    return atMs
  }

  /** Data transfer is under way. */
  get isStarted(): boolean {
    return this.#state === 'started'
  }

  /** Started, and fewer than k I-frames unacknowledged. */
  get canSend(): boolean {
    return this.#state === 'started' && this.#sentT1AtMs.length < this.#options.k
  }

  /** I-frames sent and not yet acknowledged. */
  get unacked(): number {
    return this.#sentT1AtMs.length
  }

  /** The transport is up: sequence numbers from 0; the controlling station sends STARTDT act. */
  open(nowMs: number): readonly ApciEffect[] {
    this.#reset()
    this.#state = 'stopped'
    this.#idleAtMs = nowMs + this.#options.t3Ms
    return this.start(nowMs)
  }

  /** Starts the data transfer again after a stop (controlling station, when stopped; else nothing). */
  start(nowMs: number): readonly ApciEffect[] {
    if (this.#options.role !== 'controlling' || this.#state !== 'stopped') return []
    this.#state = 'starting'
    this.#control = this.#act('startdtAct', nowMs)
    return [transmitU('startdtAct')]
  }

  /** Takes one received APDU. Over a lossy transport the caller hands on I-frames in order and once. */
  receive(apdu: Uint8Array, nowMs: number): readonly ApciEffect[] {
    if (this.#state === 'closed') return []
    try {
      const frame = parseApdu(apdu)
      this.#idleAtMs = nowMs + this.#options.t3Ms
      if (frame.format === 'U') return this.#receiveU(frame.function, nowMs)
      if (frame.format === 'S') return this.#receiveS(frame.recvSeq, nowMs)
      return this.#receiveI(frame.sendSeq, frame.recvSeq, frame.asdu, nowMs)
    } catch (error) {
      if (error instanceof WireError) return this.#close('malformed')
      throw error
    }
  }

  /** Sends an ASDU of 1..249 octets in an I-frame. RangeError unless `canSend`. */
  send(asdu: Uint8Array, nowMs: number): readonly ApciEffect[] {
    if (!this.canSend)
      throw new RangeError(`cannot send: ${this.#state}, ${this.unacked} of k ${this.#options.k} unacknowledged`)
    const apdu = encodeI(this.#sendSeq, this.#recvSeq, asdu)
    this.#sendSeq = (this.#sendSeq + 1) % SEQ_MODULUS
    this.#sentT1AtMs.push(nowMs + this.#options.t1Ms)
    this.#settle()
    return [{ kind: 'transmit', apdu, format: 'I' }]
  }

  /** Acts on the timers that have expired; call at `wakeAtMs`. */
  wake(nowMs: number): readonly ApciEffect[] {
    if (this.#state === 'closed') return []
    for (const act of [this.#control, this.#testing]) {
      if (act !== undefined && nowMs >= act.t1AtMs) return this.#close(T1_REASON[act.function])
    }
    if (nowMs >= (this.#sentT1AtMs[0] ?? Number.POSITIVE_INFINITY)) return this.#close('t1Ack')
    const effects: ApciEffect[] = []
    if (nowMs >= this.#ackAtMs) effects.push(this.#transmitS())
    for (const act of [this.#control, this.#testing]) {
      if (act === undefined || nowMs < act.retryAtMs) continue
      act.retryAtMs = this.#retryAtMs(nowMs)
      effects.push(transmitU(act.function))
    }
    if (nowMs >= this.#idleAtMs) effects.push(...this.test(nowMs))
    return effects
  }

  /** Sends TESTFR act now, unless one is outstanding. */
  test(nowMs: number): readonly ApciEffect[] {
    if (this.#state === 'closed' || this.#testing !== undefined) return []
    this.#testing = this.#act('testfrAct', nowMs)
    return [transmitU('testfrAct')]
  }

  /** Sends an S-frame with the current N(R) now, also when nothing is owed. */
  acknowledge(_nowMs: number): readonly ApciEffect[] {
    return this.#state === 'closed' ? [] : [this.#transmitS()]
  }

  /**
   * Ends the data transfer (controlling station, when started; else nothing). No I-frame can be sent from now on; what
   * was received is acknowledged; STOPDT act follows as soon as our own I-frames are acknowledged.
   */
  stop(nowMs: number): readonly ApciEffect[] {
    if (this.#options.role !== 'controlling' || this.#state !== 'started') return []
    this.#state = 'stopping'
    const effects: ApciEffect[] = this.#owed > 0 ? [this.#transmitS()] : []
    return [...effects, ...this.#stopWhenAcked(nowMs)]
  }

  #receiveU(name: UFunction, nowMs: number): readonly ApciEffect[] {
    const { role } = this.#options
    switch (name) {
      case 'testfrAct':
        return [transmitU('testfrCon')]
      case 'testfrCon':
        this.#testing = undefined
        return []
      case 'startdtAct':
        if (role === 'controlling') return this.#close('wrongRole')
        // A repeated act means that the confirmation was lost: it is repeated too, and changes nothing.
        if (this.#state === 'started') return [transmitU('startdtCon')]
        // A stop under way is finished first; only an act that was overtaken comes here.
        if (this.#state === 'stopping') return []
        return [transmitU('startdtCon'), ...this.#begin()]
      case 'stopdtAct': {
        if (role === 'controlling') return this.#close('wrongRole')
        if (this.#state === 'stopped') return [transmitU('stopdtCon')]
        this.#state = 'stopping'
        const effects: ApciEffect[] = this.#owed > 0 ? [this.#transmitS()] : []
        return [...effects, ...this.#stopWhenAcked(nowMs)]
      }
      case 'startdtCon':
        if (role === 'controlled') return this.#close('wrongRole')
        return this.#state === 'starting' ? this.#begin() : []
      case 'stopdtCon':
        if (role === 'controlled') return this.#close('wrongRole')
        if (this.#control?.function !== 'stopdtAct') return []
        this.#control = undefined
        this.#state = 'stopped'
        return [{ kind: 'stopped' }]
    }
  }

  #receiveS(recvSeq: number, nowMs: number): readonly ApciEffect[] {
    const isTransferring = this.#state === 'started' || this.#state === 'stopping'
    if (!isTransferring && !this.#isLossy) return this.#close('notStarted')
    const acked = this.#takeAck(recvSeq)
    return acked === undefined ? this.#close('recvSeq') : [...acked, ...this.#stopWhenAcked(nowMs)]
  }

  #receiveI(sendSeq: number, recvSeq: number, asdu: Uint8Array, nowMs: number): readonly ApciEffect[] {
    const effects: ApciEffect[] = []
    if (this.#state === 'starting' && this.#isLossy) effects.push(...this.#begin())
    const mayCome = this.#state === 'started' || (this.#state === 'stopping' && this.#options.role === 'controlling')
    if (!mayCome) return this.#close('notStarted')
    if (sendSeq !== this.#recvSeq) return this.#close('sendSeq')
    const acked = this.#takeAck(recvSeq)
    if (acked === undefined) return this.#close('recvSeq')
    this.#recvSeq = (this.#recvSeq + 1) % SEQ_MODULUS
    this.#owed += 1
    if (this.#owed === 1) this.#ackAtMs = nowMs + this.#options.t2Ms
    effects.push(...acked, { kind: 'asdu', asdu })
    // A peer that stops waits for the acknowledgement before it confirms.
    if (this.#owed >= this.#options.w || this.#state === 'stopping') effects.push(this.#transmitS())
    effects.push(...this.#stopWhenAcked(nowMs))
    return effects
  }

  /** Takes N(R); undefined when it is out of range. */
  #takeAck(recvSeq: number): readonly ApciEffect[] | undefined {
    const unacked = this.#sentT1AtMs.length
    const missing = (this.#sendSeq - recvSeq + SEQ_MODULUS) % SEQ_MODULUS
    if (missing > unacked) {
      // Over a lossy transport a frame may be overtaken by a later acknowledgement; half the circle counts as past.
      return this.#isLossy && missing < SEQ_MODULUS / 2 ? [] : undefined
    }
    const count = unacked - missing
    if (count === 0) return []
    this.#sentT1AtMs.splice(0, count)
    return [{ kind: 'acked', count }]
  }

  #begin(): readonly ApciEffect[] {
    this.#control = undefined
    this.#state = 'started'
    return [{ kind: 'started' }]
  }

  /** Goes on with a stop once none of our I-frames is unacknowledged. */
  #stopWhenAcked(nowMs: number): readonly ApciEffect[] {
    if (this.#state !== 'stopping' || this.#sentT1AtMs.length > 0) return []
    if (this.#options.role === 'controlling') {
      if (this.#control !== undefined) return []
      this.#control = this.#act('stopdtAct', nowMs)
      return [transmitU('stopdtAct')]
    }
    this.#state = 'stopped'
    return [transmitU('stopdtCon'), { kind: 'stopped' }]
  }

  #transmitS(): ApciEffect {
    this.#settle()
    return { kind: 'transmit', apdu: encodeS(this.#recvSeq), format: 'S' }
  }

  /** What was received is acknowledged by the frame that goes out now. */
  #settle(): void {
    this.#owed = 0
    this.#ackAtMs = Number.POSITIVE_INFINITY
  }

  #close(reason: ApciCloseReason): readonly ApciEffect[] {
    this.#reset()
    return [{ kind: 'close', reason }]
  }

  #reset(): void {
    this.#state = 'closed'
    this.#sendSeq = 0
    this.#recvSeq = 0
    this.#sentT1AtMs.length = 0
    this.#control = undefined
    this.#testing = undefined
    this.#idleAtMs = Number.POSITIVE_INFINITY
    this.#settle()
  }

  #act(name: Act['function'], nowMs: number): Act {
    return { function: name, t1AtMs: nowMs + this.#options.t1Ms, retryAtMs: this.#retryAtMs(nowMs) }
  }

  #retryAtMs(nowMs: number): number {
    return nowMs + (this.#options.uRetryMs ?? Number.POSITIVE_INFINITY)
  }

  get #isLossy(): boolean {
    return this.#options.uRetryMs !== undefined
  }
}

function transmitU(name: UFunction): ApciEffect {
  return { kind: 'transmit', apdu: encodeU(name), format: 'U' }
}
