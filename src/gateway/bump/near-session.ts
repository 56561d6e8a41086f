import {
  type ApciOptions,
  encodeS,
  StreamDeframer,
  StreamSession,
  type StreamSessionEffect,
} from '../../protocol/index.ts'

/** What waits to be let in: an ASDU, a STARTDT or STOPDT act, or a STOPDT con that keeps its place behind ASDUs. */
export type Waiting = 'asdu' | 'start' | 'stop' | 'stopped'

/** What a session does to the world around it. Called from within its methods. */
export type NearPorts = {
  readonly write: (bytes: Uint8Array) => void
  readonly pause: (isPaused: boolean) => void
  /** An ASDU was let in; it is acknowledged to the peer in due course. */
  readonly asdu: (asdu: Uint8Array, nowMs: number) => void
  /** An ASDU given to `send` has been sent. */
  readonly sent: () => void
  /** The connection is to be ended. */
  readonly close: (reason: string) => void
}

/** ASDUs that were not acknowledged when the connection ended: sent ones, which may have arrived, and the rest. */
type Unacknowledged = { readonly asdu: Uint8Array; readonly counts: boolean }

const STARTDT_ACT = 0x07
const STOPDT_ACT = 0x13
const STOPDT_CON = 0x23

/**
 * A plain 104 connection that lets in only what there is room for. I-frames and acts for which there is none wait
 * outside and stay unacknowledged, so that the peer stops at its k; TESTFR and acknowledgements pass them by. When even
 * the waiting room (k APDUs) is full, reading from the stream stops.
 */
export class NearSession {
  readonly #ports: NearPorts
  readonly #session: StreamSession
  readonly #deframer = new StreamDeframer()
  readonly #waitingLimit: number
  #waiting: Uint8Array[] = []
  #out: Unacknowledged[] = []
  #sent: Uint8Array[] = []
  /** N(R) of the newest frame, as its two octets. */
  #recvSeqOctets: readonly [number, number] = [0, 0]
  #isTransferring = false
  #isPaused = false
  #isEnded = false

  constructor(options: ApciOptions, ports: NearPorts) {
    this.#ports = ports
    this.#session = new StreamSession(options)
    this.#waitingLimit = options.k
  }

  get wakeAtMs(): number | undefined {
    return this.#isEnded ? undefined : this.#session.wakeAtMs
  }

  /** Data transfer is under way, and none of both ends has asked to stop it. */
  get isStarted(): boolean {
    return !this.#isEnded && this.#session.isStarted
  }

  /** Between STARTDT con and STOPDT con. */
  get isTransferring(): boolean {
    return !this.#isEnded && this.#isTransferring
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  /** Nothing of what was given to `send` waits for the peer's window. */
  get isSent(): boolean {
    return this.#out.length === 0
  }

  /** What is to be let in next. */
  get waiting(): Waiting | undefined {
    const [apdu] = this.#waiting
    return apdu === undefined || this.#isEnded ? undefined : waitingOf(apdu)
  }

  open(nowMs: number): void {
    this.#apply(this.#session.open(nowMs), nowMs)
  }

  receive(chunk: Uint8Array, nowMs: number): void {
    if (this.#isEnded) return
    const { apdus, fault } = this.#deframer.push(chunk)
    for (const apdu of apdus) this.#take(apdu, nowMs)
    if (fault !== undefined) this.end(`malformed: ${fault.message}`)
    this.#pause()
  }

  /** Lets in what waits first. */
  admit(nowMs: number): void {
    const apdu = this.#waiting.shift()
    if (apdu === undefined) return
    // A later frame may have acknowledged more meanwhile.
    if (waitingOf(apdu) === 'asdu') [apdu[4], apdu[5]] = this.#recvSeqOctets
    this.#apply(this.#session.receive(apdu, nowMs), nowMs)
    this.#pause()
  }

  /** Sends an ASDU as soon as the peer's window allows. `counts`: say so by `sent`. */
  send(asdu: Uint8Array, counts: boolean, nowMs: number): void {
    this.#out.push({ asdu, counts })
    this.#flush(nowMs)
  }

  wake(nowMs: number): void {
    if (nowMs >= (this.wakeAtMs ?? Number.POSITIVE_INFINITY)) this.#apply(this.#session.wake(nowMs), nowMs)
  }

  start(nowMs: number): void {
    this.#apply(this.#session.start(nowMs), nowMs)
  }

  stop(nowMs: number): void {
    this.#apply(this.#session.stop(nowMs), nowMs)
  }

  /** Ends the connection: by us with a reason to be told, or (undefined) because the stream is gone. */
  end(reason: string | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#waiting = []
    if (reason !== undefined) this.#ports.close(reason)
  }

  /** Takes out the ASDUs that the peer has not acknowledged, the oldest first. */
  takeUnacknowledged(): readonly Uint8Array[] {
    const all = [...this.#sent, ...this.#out.map(({ asdu }) => asdu)]
    this.#sent = []
    this.#out = []
    return all
  }

  #take(apdu: Uint8Array, nowMs: number): void {
    const what = waitingOf(apdu)
    const [, , control = 0, , low = 0, high = 0] = apdu
    if ((control & 3) !== 3) this.#recvSeqOctets = [low, high]
    // Outside data transfer an I-frame is an error, whatever waits: the state machine says so at once.
    const mustWait = what !== undefined && (what !== 'asdu' || this.#isTransferring)
    if (!mustWait) this.#apply(this.#session.receive(apdu, nowMs), nowMs)
    else {
      if (what === 'asdu') this.#acknowledgeBy(low, high, nowMs)
      if (!this.#isEnded) this.#waiting.push(apdu)
    }
  }

  /** Takes the acknowledgement that a waiting I-frame carries. */
  #acknowledgeBy(low: number, high: number, nowMs: number): void {
    if (this.#session.unacked > 0) this.#apply(this.#session.receive(encodeS((low >> 1) | (high << 7)), nowMs), nowMs)
  }

  #flush(nowMs: number): void {
    while (!this.#isEnded && this.#session.canSend) {
      const next = this.#out.shift()
      if (next === undefined) return
      this.#sent.push(next.asdu)
      this.#apply(this.#session.send(next.asdu, nowMs), nowMs, false)
      if (next.counts) this.#ports.sent()
    }
  }

  #apply(effects: readonly StreamSessionEffect[], nowMs: number, flushes = true): void {
    for (const effect of effects) {
      if (effect.kind === 'write') this.#ports.write(effect.bytes)
      else if (effect.kind === 'asdu') this.#ports.asdu(effect.asdu, nowMs)
      else if (effect.kind === 'acked') this.#sent.splice(0, effect.count)
      else if (effect.kind === 'started') this.#isTransferring = true
      else if (effect.kind === 'stopped') this.#isTransferring = false
      else if (effect.kind === 'close') this.end(effect.reason)
    }
    if (flushes) this.#flush(nowMs)
  }

  #pause(): void {
    const isPaused = this.#waiting.length >= this.#waitingLimit
    if (isPaused === this.#isPaused || this.#isEnded) return
    this.#isPaused = isPaused
    this.#ports.pause(isPaused)
  }
}

/** Undefined for what never waits: S-frames, TESTFR, STARTDT con (nothing comes before it), and what is malformed. */
function waitingOf(apdu: Uint8Array): Waiting | undefined {
  const control = apdu[2] ?? 3
  if ((control & 1) === 0) return 'asdu'
  if (control === STARTDT_ACT) return 'start'
  if (control === STOPDT_ACT) return 'stop'
  return control === STOPDT_CON ? 'stopped' : undefined
}
