/** Retransmission of I-frames over a lossy datagram service: the same octets again, on a timer after RFC 6298. */

const INITIAL_RTO_MS = 1000
const MAX_RTO_MS = 3000
const DUPLICATE_ACKS = 2

/** Round-trip estimate and retransmission timeout, RFC 6298, section 2. */
export class RoundTripTimer {
  readonly #floorMs: number
  #smoothedMs: number | undefined
  #variationMs = 0
  #backOff = 1

  /** `floorMs`: least timeout; it covers the time for which the peer may hold back an acknowledgement. */
  constructor(floorMs: number) {
    this.#floorMs = floorMs
  }

  /** Timeout now, ms, back-off included; at most 3 s. */
  get rtoMs(): number {
    const estimateMs = this.#smoothedMs === undefined ? INITIAL_RTO_MS : this.#smoothedMs + 4 * this.#variationMs
    return Math.min(MAX_RTO_MS, Math.max(this.#floorMs, estimateMs) * this.#backOff)
  }

  /** Round trip as it is known now, acknowledgements held back included, ms; 0 when nothing is known. */
  get rttMs(): number {
    return this.#smoothedMs ?? 0
  }

  /** Takes the round trip of an exchange that is answered at once; `heldMs` is what acknowledgements are held back. */
  begin(rttMs: number, heldMs: number): void {
    this.#smoothedMs = rttMs + heldMs
    this.#variationMs = rttMs / 2
  }

  /** Takes a measured round trip, never one of a retransmitted message (Karn). */
  sample(rttMs: number): void {
    if (this.#smoothedMs === undefined) {
      this.begin(rttMs, 0)
      return
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - rttMs) - this.#variationMs) / 4
    this.#smoothedMs += (rttMs - this.#smoothedMs) / 8
  }

  /** The timer expired: the next timeout is twice as long. */
  backOff(): void {
    if (this.rtoMs < MAX_RTO_MS) this.#backOff *= 2
  }

  /** Something new was acknowledged: the path works. */
  recovered(): void {
    this.#backOff = 1
  }
}

/** An I-frame that waits for its acknowledgement. */
export type SentFrame = { readonly id: number; readonly datagram: Uint8Array; readonly firstSentAtMs: number }

type Pending = SentFrame & { lastSentAtMs: number; retransmissions: number }

/** The unacknowledged I-frames of a session, oldest first. */
export class Retransmitter {
  readonly #timer: RoundTripTimer
  #pending: Pending[] = []
  #dueAtMs: number | undefined
  /** Acknowledgements since the last one that moved anything. */
  #idleAcks = 0

  constructor(timer: RoundTripTimer) {
    this.#timer = timer
  }

  /** When `retransmit` is due; undefined when nothing waits. */
  get dueAtMs(): number | undefined {
    return this.#dueAtMs
  }

  /** The oldest frame went out three times without an answer. */
  get isStalled(): boolean {
    return (this.#pending[0]?.retransmissions ?? 0) >= 2
  }

  /** A frame went out for the first time. */
  sent(frame: SentFrame): void {
    const { id, datagram, firstSentAtMs } = frame
    this.#pending.push({ id, datagram, firstSentAtMs, lastSentAtMs: firstSentAtMs, retransmissions: 0 })
    this.#dueAtMs ??= firstSentAtMs + this.#timer.rtoMs
  }

  /** The `count` oldest frames are acknowledged; gives them. */
  acked(count: number, nowMs: number): readonly SentFrame[] {
    const frames = this.#pending.splice(0, count)
    const [oldest] = frames
    if (oldest !== undefined && frames.every(({ retransmissions }) => retransmissions === 0)) {
      this.#timer.sample(nowMs - oldest.firstSentAtMs)
    }
    this.#timer.recovered()
    this.#idleAcks = 0
    this.#dueAtMs = this.#pending.length > 0 ? nowMs + this.#timer.rtoMs : undefined
    return frames
  }

  /** The timer expired: gives the datagrams to send again, which are all that have been out for a whole timeout. */
  retransmit(nowMs: number): readonly Uint8Array[] {
    const sentBeforeMs = nowMs - this.#timer.rtoMs
    const overdue = this.#pending.filter((frame, index) => index === 0 || frame.lastSentAtMs <= sentBeforeMs)
    this.#timer.backOff()
    return this.#resend(overdue, nowMs)
  }

  /**
   * An acknowledgement came that moved nothing; gives the datagrams to send again. The peer sends it at once for each
   * frame that came too early, so two of them mean that the oldest frame is lost (RFC 5681, 3.2, with two for three,
   * because a repetition costs no key). After a stall one is enough: the path is back.
   */
  ackedNothing(nowMs: number): readonly Uint8Array[] {
    const [oldest] = this.#pending
    this.#idleAcks += 1
    if (oldest === undefined) return []
    if (this.isStalled) {
      if (nowMs - oldest.lastSentAtMs < this.#timer.rttMs) return []
      this.#timer.recovered()
      return this.#resend(this.#pending, nowMs)
    }
    return this.#idleAcks === DUPLICATE_ACKS ? this.#resend([oldest], nowMs) : []
  }

  /** The session is over: gives the frames that were never acknowledged, oldest first. */
  abandon(): readonly SentFrame[] {
    this.#dueAtMs = undefined
    const frames = this.#pending
    this.#pending = []
    return frames
  }

  #resend(frames: readonly Pending[], nowMs: number): readonly Uint8Array[] {
    for (const frame of frames) {
      frame.lastSentAtMs = nowMs
      frame.retransmissions += 1
    }
    this.#dueAtMs = this.#pending.length > 0 ? nowMs + this.#timer.rtoMs : undefined
    return frames.map(({ datagram }) => datagram)
  }
}
