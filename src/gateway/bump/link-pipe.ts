import { MAX_ASDU_BYTES, SecureLink, type SecureLinkEffect, type SecureLinkInput } from '../../protocol/index.ts'
import type { StreamBooks, Suite, Wake } from '../../runtime/contract.ts'
import { type BumpConfig, type BumpEffect, WINDOW_ASDUS } from './config.ts'
import { CONTROL_TYPE, encodeState, type NearState, parseControl, type TwinState, wrap } from './control.ts'

/** What the link has to tell, in order. */
export type PipeEvent =
  /** An ASDU of the present connection. */
  | { readonly kind: 'asdu'; readonly asdu: Uint8Array; readonly connection: number }
  /** An ASDU that is of no present connection: it came too late, or did not leave in time. */
  | { readonly kind: 'leftover'; readonly asdu: Uint8Array }
  /** The twin's state has changed. */
  | { readonly kind: 'twin'; readonly state: TwinState }
  | { readonly kind: 'up' }
  | { readonly kind: 'down'; readonly reason: string }
  /** An ASDU has waited t1 for the link. */
  | { readonly kind: 'stuck' }
  /** The twin broke the rules between twins. */
  | { readonly kind: 'fault'; readonly fault: string }

type Outgoing = { readonly asdu: Uint8Array; readonly pieces: readonly Uint8Array[]; readonly expiresAtMs: number }

const BOOKS_PERIOD_MS = 1000

/**
 * The link to the twin as a pair of bounded pipes for ASDUs, with the state of both ends. ASDUs leave one at a time and
 * in order whatever their suite. An end sends no more than the other has announced room for, so nothing piles up.
 */
export class LinkPipe {
  readonly #config: BumpConfig
  readonly #link: SecureLink
  readonly #emit: (effect: BumpEffect) => void
  readonly #events: PipeEvent[] = []
  readonly #reported = new Map<string, StreamBooks>()
  #booksAtMs: number | undefined
  #isUp = false
  #own: { readonly connection: number; readonly state: NearState } = { connection: 0, state: 'closed' }
  #twin: TwinState | undefined
  /** Newest state received: that of the ASDUs that come in now. `#twin` follows when its event is taken. */
  #newestTwin: TwinState | undefined
  /** The twin does not know our state or limit as they are now. */
  #mustTell = false
  #outgoing: Outgoing[] = []
  #pieceAt = 0
  /** ASDUs of the present connection: sent, received, handed on, and the limit that the twin was told. */
  #sent = 0
  #received = 0
  #handedOn = 0
  #announced = 0
  /** What is at the link and not acknowledged by the twin, by message id; of an ASDU in parts the last stands for all. */
  readonly #unacknowledged = new Map<number, { readonly asdu: Uint8Array | undefined; readonly connection: number }>()
  #nextId = 0
  #parts: number[] = []
  #isStuck = false

  constructor(config: BumpConfig, emit: (effect: BumpEffect) => void) {
    this.#config = config
    this.#emit = emit
    this.#link = new SecureLink(config.link)
  }

  get wakeAtMs(): number | undefined {
    const expiryMs = this.#isStuck ? undefined : this.#outgoing[0]?.expiresAtMs
    const times = [this.#link.wakeAtMs, this.#booksAtMs, expiryMs].filter((atMs) => atMs !== undefined)
    return times.length > 0 ? Math.min(...times) : undefined
  }

  /** An ASDU may be given to `send`. */
  get hasRoom(): boolean {
    return this.#outgoing.length < this.#config.near.k
  }

  /** Everything given to `send` has left. */
  get isSent(): boolean {
    return this.#outgoing.length === 0 && this.#link.queued === 0
  }

  get isUp(): boolean {
    return this.#isUp
  }

  get own(): { readonly connection: number; readonly state: NearState } {
    return this.#own
  }

  /** Latest state of the twin; undefined while the link is down or the twin silent. */
  get twin(): TwinState | undefined {
    return this.#twin
  }

  counters(): Readonly<Record<string, number>> {
    return this.#link.counters()
  }

  next(): PipeEvent | undefined {
    const event = this.#events.shift()
    if (event?.kind === 'twin') this.#twin = event.state
    const isLate = event?.kind === 'asdu' && !this.#isPresent(event.connection)
    return isLate ? { kind: 'leftover', asdu: event.asdu } : event
  }

  handle(input: SecureLinkInput | Wake, nowMs: number): void {
    if (input.kind === 'open') this.#booksAtMs = nowMs + BOOKS_PERIOD_MS
    this.#feed(input, nowMs)
    const [head] = this.#outgoing
    if (head !== undefined && nowMs >= head.expiresAtMs) this.#becomeStuck()
    if (nowMs >= (this.#booksAtMs ?? Number.POSITIVE_INFINITY)) {
      this.#booksAtMs = nowMs + BOOKS_PERIOD_MS
      this.reportBooks()
    }
  }

  /** Our state. A new connection counts from 0 again; what waits for an earlier one is left over. */
  setOwn(connection: number, state: NearState): void {
    if (connection === this.#own.connection && state === this.#own.state) return
    if (connection !== this.#own.connection) {
      this.#leaveOver()
      this.#sent = 0
      this.#received = 0
      this.#handedOn = 0
      this.#announced = 0
      this.#parts = []
    } else if (state === 'closed') this.#leaveOver()
    this.#own = { connection, state }
    this.#mustTell = true
  }

  /** Takes an ASDU for the twin's near side; the caller checks `hasRoom`. */
  send(asdu: Uint8Array, nowMs: number): void {
    this.#outgoing.push({ asdu, pieces: wrap(asdu), expiresAtMs: nowMs + this.#config.near.t1Ms })
  }

  /** One received ASDU has been handed on: there is room for another. */
  handOn(): void {
    this.#handedOn += 1
    if (this.#limit - this.#announced >= WINDOW_ASDUS / 2) this.#mustTell = true
  }

  /** Gives the link what it can send now. False when there was nothing. */
  pump(nowMs: number): boolean {
    let didSend = false
    while (this.#isUp && this.#link.queued === 0) {
      const [head] = this.#outgoing
      const mayLeave = this.#twin?.connection === this.#own.connection && this.#sent < this.#twin.limit
      // A state between two pieces would not hurt, but none is so urgent.
      if (this.#mustTell && this.#pieceAt === 0) this.#tell(nowMs)
      else if (head !== undefined && mayLeave) this.#sendPiece(head, nowMs)
      else break
      didSend = true
    }
    return didSend
  }

  close(nowMs: number): void {
    this.#feed({ kind: 'close' }, nowMs)
    this.#booksAtMs = undefined
  }

  /** Tells how far the streams are used, where that has changed. */
  reportBooks(): void {
    for (const books of this.#link.books()) {
      if (books.assignedSlots === 0) continue
      const key = `${books.channel} ${books.side}`
      const last = this.#reported.get(key)
      if (last?.usedSlots === books.usedSlots && last.assignedSlots === books.assignedSlots) continue
      this.#reported.set(key, books)
      this.#emit({ kind: 'books', books })
    }
  }

  get #limit(): number {
    return this.#handedOn + WINDOW_ASDUS
  }

  #tell(nowMs: number): void {
    this.#mustTell = false
    this.#announced = this.#limit
    const asdu = encodeState({ side: this.#config.side, ...this.#own, limit: this.#announced })
    this.#give({ asdu, suite: this.#config.link.supervisionSuite }, nowMs)
  }

  #sendPiece({ asdu, pieces, expiresAtMs }: Outgoing, nowMs: number): void {
    const piece = pieces[this.#pieceAt]
    this.#pieceAt += 1
    const isLast = this.#pieceAt >= pieces.length
    this.#unacknowledged.set(this.#nextId, { asdu: isLast ? asdu : undefined, connection: this.#own.connection })
    if (isLast) {
      this.#outgoing.shift()
      this.#pieceAt = 0
      this.#sent += 1
    }
    if (piece !== undefined) this.#give({ asdu: piece, suite: this.#suite, expiresAtMs }, nowMs)
  }

  get #suite(): Suite {
    const { suite, aesBelowSlots = 0 } = this.#config
    const [{ assignedSlots, usedSlots }] = this.#link.books()
    return assignedSlots - usedSlots < aesBelowSlots ? 'aes' : suite
  }

  #give(
    message: { readonly asdu: Uint8Array; readonly suite: Suite; readonly expiresAtMs?: number },
    nowMs: number,
  ): void {
    const id = this.#nextId
    this.#nextId += 1
    this.#feed({ kind: 'message', message: { id, priority: 0, ...message } }, nowMs)
  }

  #feed(input: SecureLinkInput | Wake, nowMs: number): void {
    let down: PipeEvent | undefined
    for (const effect of this.#link.handle(input, nowMs)) {
      // What was lost with a session is told before the end of the session.
      if (effect.kind === 'down') down = effect
      else this.#onLink(effect)
    }
    if (down === undefined) return
    this.#isUp = false
    this.#twin = undefined
    this.#newestTwin = undefined
    this.#parts = []
    // States that the twin told before are of no use any more.
    const rest = this.#events.filter(({ kind }) => kind !== 'twin')
    this.#events.splice(0, this.#events.length, ...rest, down)
  }

  #onLink(effect: Exclude<SecureLinkEffect, { kind: 'down' }>): void {
    switch (effect.kind) {
      case 'send':
      case 'fetchKeys':
      case 'reserve':
      case 'keyLog':
        this.#emit(effect)
        break
      case 'keyRefused': {
        const { channel, slot, slots, reason } = effect
        this.#emit({ kind: 'event', event: { name: 'key.refused', channel, slot, slots, reason } })
        break
      }
      case 'deliver':
        this.#receive(effect.asdu)
        break
      case 'sent':
        break
      case 'acked':
        this.#unacknowledged.delete(effect.id)
        break
      case 'lost': {
        const lost = this.#unacknowledged.get(effect.id)
        this.#unacknowledged.delete(effect.id)
        if (lost?.asdu !== undefined) this.#events.push({ kind: 'leftover', asdu: lost.asdu })
        if (effect.reason === 'expired' && lost?.connection === this.#own.connection) this.#becomeStuck()
        break
      }
      case 'up':
        this.#isUp = true
        this.#mustTell = true
        this.#events.push({ kind: 'up' })
        break
    }
  }

  #receive(asdu: Uint8Array): void {
    const control = asdu[0] === CONTROL_TYPE ? parseControl(asdu) : undefined
    if (asdu[0] !== CONTROL_TYPE) this.#deliver(asdu)
    else if (control === undefined) this.#fault('a control ASDU of another version')
    else if (control.kind === 'state') {
      if (control.connection !== this.#newestTwin?.connection) this.#parts = []
      this.#newestTwin = control
      this.#events.push({ kind: 'twin', state: control })
    } else {
      const whole = Uint8Array.of(...this.#parts, ...control.bytes)
      const isTooLong = whole.length > MAX_ASDU_BYTES
      this.#parts = control.isLast || isTooLong ? [] : [...whole]
      if (isTooLong) this.#fault('parts of more than an ASDU')
      else if (control.isLast) this.#deliver(whole)
    }
  }

  #fault(fault: string): void {
    this.#events.push({ kind: 'fault', fault })
  }

  #deliver(asdu: Uint8Array): void {
    const connection = this.#newestTwin?.connection ?? 0
    if (!this.#isPresent(connection)) {
      this.#events.push({ kind: 'leftover', asdu })
      return
    }
    this.#received += 1
    if (this.#received > this.#limit) this.#fault('more ASDUs than there is room for')
    else this.#events.push({ kind: 'asdu', asdu, connection })
  }

  #isPresent(connection: number): boolean {
    return connection === this.#own.connection && this.#own.state !== 'closed'
  }

  #leaveOver(): void {
    for (const { asdu } of this.#outgoing) this.#events.push({ kind: 'leftover', asdu })
    this.#outgoing = []
    this.#pieceAt = 0
    this.#isStuck = false
  }

  #becomeStuck(): void {
    if (this.#isStuck) return
    this.#isStuck = true
    this.#events.push({ kind: 'stuck' })
  }
}
