import type { Handshake } from './handshake.ts'

const FIRST_BACK_OFF_MS = 250
const MAX_BACK_OFF_MS = 3000
/** How long a controlled end waits for the peer's HANDSHAKE before it asks for one. */
const ASK_AFTER_MS = 250
/** How often it asks for one session; by the last time the peer has noticed by itself (t3, t1). */
const ASK_TIMES = 8
const MAX_ASK_BACK_OFF_MS = 16_000

/** What an authentic HANDSHAKE of the peer means. */
export type HandshakeVerdict =
  /** Of no use: malformed for this end, or late. */
  | { readonly kind: 'drop' }
  /** Controlling: the peer answers ours, the session begins. */
  | { readonly kind: 'answered'; readonly rttMs: number }
  /** The peer has no session, or begins a new one: ours is over. */
  | { readonly kind: 'restarted' }

/** When an end of a link sends a HANDSHAKE and what with, and what those of the peer mean. Knows nothing of keys. */
export class Handshaker {
  readonly #isControlling: boolean
  /** Epoch of the latest HANDSHAKE of this end; each opens a new one. */
  #epoch: number
  #dueAtMs: number | undefined
  #backOffMs = FIRST_BACK_OFF_MS
  #lastSentAtMs = Number.NEGATIVE_INFINITY
  /** Controlling: the latest HANDSHAKE may still be answered. */
  #isUnanswered = false
  /** Controlled: the peer's epoch that is to be answered. */
  #answersEpoch: number | undefined
  #asksLeft = 0

  constructor(end: 0 | 1, epoch: number) {
    this.#isControlling = end === 0
    this.#epoch = epoch
  }

  /** When a HANDSHAKE is due while there is no session; undefined: not before the peer sends one. */
  get dueAtMs(): number | undefined {
    return this.#dueAtMs
  }

  /** The HANDSHAKE that is due answers one of the peer: the session begins with it. */
  get isAnswer(): boolean {
    return this.#answersEpoch !== undefined
  }

  /** The numbers of the HANDSHAKE that is due. */
  get next(): Pick<Handshake, 'epoch' | 'answers'> {
    return { epoch: this.#epoch + 1, answers: this.#answersEpoch ?? 0 }
  }

  /** Opening begins; epochs go on behind `spent`, for numbers up to there may have been used in an earlier life. */
  open(spent: number, nowMs: number): void {
    this.#epoch += spent
    this.#backOffMs = FIRST_BACK_OFF_MS
    if (this.#isControlling) this.#dueAtMs = nowMs
    else this.#askFrom(nowMs)
  }

  /** The session is over, and nobody has begun another. */
  ended(nowMs: number): void {
    if (this.#isControlling) this.#dueAtMs = nowMs + this.#takeBackOff(MAX_BACK_OFF_MS)
    else if (!this.isAnswer) this.#askFrom(nowMs)
  }

  /** Data transfer has started: the next loss is a new one. */
  up(): void {
    this.#backOffMs = FIRST_BACK_OFF_MS
  }

  /** The HANDSHAKE of `next` went out. */
  sent(nowMs: number): void {
    this.#epoch += 1
    this.#lastSentAtMs = nowMs
    if (this.#isControlling) {
      this.#isUnanswered = true
      this.#dueAtMs = nowMs + this.#takeBackOff(MAX_BACK_OFF_MS)
    } else if (this.isAnswer) {
      this.#answersEpoch = undefined
      this.#dueAtMs = undefined
    } else {
      this.#asksLeft -= 1
      this.#dueAtMs = this.#asksLeft > 0 ? nowMs + this.#takeBackOff(MAX_ASK_BACK_OFF_MS) : undefined
    }
  }

  /** Takes a HANDSHAKE whose tag has verified and that never came before. */
  take({ epoch, answers }: Handshake, nowMs: number): HandshakeVerdict {
    if (!this.#isControlling) {
      if (answers !== 0) return { kind: 'drop' }
      this.#answersEpoch = epoch
      this.#dueAtMs = nowMs
      return { kind: 'restarted' }
    }
    if (answers === 0) {
      // The peer waits: at once, but a peer that keeps asking costs no more than a lost answer would.
      this.#backOffMs = FIRST_BACK_OFF_MS
      this.#dueAtMs = Math.max(nowMs, this.#lastSentAtMs + FIRST_BACK_OFF_MS)
      return { kind: 'restarted' }
    }
    // Only the latest counts, because r is that of the latest. Its answer comes before any session.
    if (!this.#isUnanswered || answers !== this.#epoch) return { kind: 'drop' }
    this.#isUnanswered = false
    return { kind: 'answered', rttMs: nowMs - this.#lastSentAtMs }
  }

  #askFrom(nowMs: number): void {
    this.#asksLeft = ASK_TIMES
    this.#backOffMs = 2 * ASK_AFTER_MS
    this.#dueAtMs = nowMs + ASK_AFTER_MS
  }

  #takeBackOff(maxMs: number): number {
    const delayMs = this.#backOffMs
    this.#backOffMs = Math.min(maxMs, 2 * delayMs)
    return delayMs
  }
}
