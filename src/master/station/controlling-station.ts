import {
  type ApciOptions,
  type Asdu,
  decodeAsdu,
  encodeAsdu,
  StreamSession,
  type StreamSessionEffect,
  WireError,
  type WireFault,
} from '../../protocol/index.ts'
import type { Node, Wake } from '../../runtime/contract.ts'
import { type Exchange, headerOf, joined, type Received, type Step, type Waits } from './exchange.ts'
import { exchangeOf } from './exchange-of.ts'
import type { Operation, OperationResult } from './operation.ts'

export type ControllingStationOptions = {
  /** Windows and timers of the connection. */
  readonly apci: Pick<ApciOptions, 'k' | 'w' | 't1Ms' | 't2Ms' | 't3Ms'>
  /** Originator address, 0..255. */
  readonly oa: number
  /** How long an operation waits for each answer of the peer, ms. */
  readonly timeoutMs: number
  /** How long, without news, a broadcast waits for more stations, and other ends that nothing marks, ms. */
  readonly quietMs: number
  /** Operations under way at a time, 1 or more. Two of the same type, CA and IOA never are. */
  readonly parallel: number
}

/** Defaults of IEC 60870-5-104 and of our own. */
export const CONTROLLING_STATION_DEFAULTS: ControllingStationOptions = {
  apci: { k: 12, w: 8, t1Ms: 15_000, t2Ms: 10_000, t3Ms: 20_000 },
  oa: 0,
  timeoutMs: 10_000,
  quietMs: 500,
  parallel: 1,
}

export type ControllingStationInput =
  /** The stream is up. A connection that was there before is forgotten. */
  | { readonly kind: 'open' }
  | { readonly kind: 'octets'; readonly bytes: Uint8Array }
  /** The stream has ended. */
  | { readonly kind: 'closed'; readonly reason: string }
  /** Queues an operation under an id of the caller's, unique among those not done. `wallMs` is the wall clock now. */
  | { readonly kind: 'operate'; readonly id: number; readonly operation: Operation; readonly wallMs: number }
  /** Ends every operation, queued or under way, as `closed`. */
  | { readonly kind: 'abandon'; readonly reason: string }
  /** STOPDT and STARTDT. */
  | { readonly kind: 'stop' }
  | { readonly kind: 'start' }

export type ControllingStationEffect =
  | { readonly kind: 'write'; readonly bytes: Uint8Array }
  /** End the stream: the connection is over. */
  | { readonly kind: 'end'; readonly reason: string }
  /** The data transfer began, stopped, or ended with the connection. */
  | { readonly kind: 'link'; readonly state: 'started' | 'stopped' }
  | { readonly kind: 'link'; readonly state: 'closed'; readonly reason: string }
  /** An ASDU was received, `id` the operation that it answers, if any. */
  | { readonly kind: 'data'; readonly asdu: Asdu; readonly id?: number }
  /** An ASDU that is not what the type table defines. */
  | { readonly kind: 'raw'; readonly octets: Uint8Array; readonly fault: WireFault; readonly id?: number }
  /** An ASDU was given to the connection, which sends it as soon as the window allows. */
  | { readonly kind: 'sent'; readonly octets: Uint8Array; readonly id: number }
  /** An operation is done. Times count from its first request: to the first answer, if one came, and to the end, ms. */
  | {
      readonly kind: 'done'
      readonly id: number
      readonly result: OperationResult
      readonly confirmMs: number | undefined
      readonly totalMs: number
    }

type Queued = { readonly id: number; readonly key: string; readonly exchange: Exchange }
type Active = Queued & { readonly beganAtMs: number; confirmMs: number | undefined; dueAtMs: number }

/**
 * The controlling station of IEC 60870-5-104: one connection at a time, and a queue of operations with results. Pure: the
 * caller has the stream, the clock and the time-outs' wakes. Strict in what it sends and tolerant of what comes.
 * `operate` throws RangeError for an operation that cannot be sent; nothing that a peer sends makes it throw.
 */
export class ControllingStation implements Node<ControllingStationInput, ControllingStationEffect> {
  readonly #options: ControllingStationOptions
  readonly #waits: Waits
  #session: StreamSession | undefined
  readonly #queue: Queued[] = []
  readonly #active = new Map<number, Active>()
  /** ASDUs that wait for the window. */
  readonly #outbox: { readonly octets: Uint8Array; readonly id: number }[] = []
  #effects: ControllingStationEffect[] = []
  /** Wall clock minus lab time. */
  #wallOffsetMs = 0

  /** RangeError for options out of range. */
  constructor(options: ControllingStationOptions) {
    const { oa, parallel, timeoutMs, quietMs } = options
    if (!Number.isInteger(oa) || oa < 0 || oa > 255) throw new RangeError(`oa ${oa}, not 0..255`)
    if (!Number.isInteger(parallel) || parallel < 1) throw new RangeError(`parallel ${parallel}, not 1 or more`)
    if (!(timeoutMs > 0 && quietMs > 0)) throw new RangeError(`timeoutMs ${timeoutMs}, quietMs ${quietMs}, not above 0`)
    this.#options = options
    this.#waits = { timeoutMs, quietMs }
    this.#newSession()
  }

  get wakeAtMs(): number | undefined {
    let atMs = this.#session?.wakeAtMs ?? Number.POSITIVE_INFINITY
    for (const { dueAtMs } of this.#active.values()) atMs = Math.min(atMs, dueAtMs)
    return atMs === Number.POSITIVE_INFINITY ? undefined : atMs
  }

  /** Data transfer is under way. */
  get isStarted(): boolean {
    return this.#session?.isStarted ?? false
  }

  handle(input: ControllingStationInput | Wake, nowMs: number): readonly ControllingStationEffect[] {
    this.#effects = []
    switch (input.kind) {
      case 'open':
        this.#closed('a new connection began', nowMs)
        this.#session = this.#newSession()
        this.#take(this.#session.open(nowMs), nowMs)
        break
      case 'octets':
        this.#take(this.#session?.receive(input.bytes, nowMs) ?? [], nowMs)
        break
      case 'closed':
        this.#closed(input.reason, nowMs)
        break
      case 'operate':
        this.#wallOffsetMs = input.wallMs - nowMs
        this.#enqueue(input.id, input.operation)
        break
      case 'abandon':
        this.#abandon(input.reason, nowMs)
        break
      case 'stop':
        this.#take(this.#session?.stop(nowMs) ?? [], nowMs)
        break
      case 'start':
        this.#take(this.#session?.start(nowMs) ?? [], nowMs)
        break
      case 'wake':
        this.#take(this.#session?.wake(nowMs) ?? [], nowMs)
        this.#expire(nowMs)
        break
    }
    this.#beginQueued(nowMs)
    this.#pump(nowMs)
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #newSession(): StreamSession {
    return new StreamSession({ role: 'controlling', ...this.#options.apci })
  }

  #take(effects: readonly StreamSessionEffect[], nowMs: number): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'write':
          this.#effects.push(effect)
          break
        case 'asdu':
          this.#receive(effect.asdu, nowMs)
          break
        case 'started':
        case 'stopped':
          this.#effects.push({ kind: 'link', state: effect.kind })
          break
        case 'close':
          this.#effects.push({ kind: 'end', reason: effect.reason })
          this.#closed(effect.reason, nowMs)
          break
        case 'acked':
          break
      }
    }
  }

  #receive(octets: Uint8Array, nowMs: number): void {
    const decoded = decodedOf(octets)
    const asdu = decoded instanceof WireError ? undefined : decoded
    const taken = this.#active.size === 0 ? undefined : this.#offer(octets, asdu, nowMs)
    const owner = taken === undefined ? undefined : { id: taken.active.id }
    if (decoded instanceof WireError) this.#effects.push({ kind: 'raw', octets, fault: decoded.fault, ...owner })
    else this.#effects.push({ kind: 'data', asdu: decoded, ...owner })
    if (taken !== undefined) this.#carryOut(taken.active, taken.step, nowMs)
  }

  /** Offers an ASDU to the operations under way; the first that knows it takes it. */
  #offer(octets: Uint8Array, asdu: Asdu | undefined, nowMs: number): { active: Active; step: Step } | undefined {
    const header = headerOf(octets, asdu)
    if (header === undefined) return undefined
    const received: Received = { header, octets, asdu }
    for (const active of this.#active.values()) {
      const step = active.exchange.take(received, nowMs + this.#wallOffsetMs)
      if (step !== undefined) return { active, step }
    }
    return undefined
  }

  #enqueue(id: number, operation: Operation): void {
    if (this.#active.has(id) || this.#queue.some((queued) => queued.id === id)) {
      throw new RangeError(`id ${id} is taken`)
    }
    this.#queue.push({ id, ...exchangeOf(operation, this.#options.oa, this.#waits) })
  }

  #beginQueued(nowMs: number): void {
    while (this.isStarted && this.#active.size < this.#options.parallel) {
      const at = this.#queue.findIndex(({ key }) => ![...this.#active.values()].some((active) => active.key === key))
      const [queued] = at < 0 ? [] : this.#queue.splice(at, 1)
      if (queued === undefined) return
      const active = { ...queued, beganAtMs: nowMs, confirmMs: undefined, dueAtMs: Number.POSITIVE_INFINITY }
      this.#active.set(active.id, active)
      this.#carryOut(active, active.exchange.begin(nowMs + this.#wallOffsetMs), nowMs)
    }
  }

  #carryOut(active: Active, step: Step, nowMs: number): void {
    for (const request of step.send ?? []) {
      const octets = request instanceof Uint8Array ? request : encodeAsdu(request)
      this.#outbox.push({ octets, id: active.id })
      this.#effects.push({ kind: 'sent', octets, id: active.id })
    }
    if (step.isConfirmation === true) active.confirmMs ??= nowMs - active.beganAtMs
    if (step.waitMs !== undefined) active.dueAtMs = nowMs + step.waitMs
    if (step.result !== undefined) this.#done(active, step.result, nowMs)
  }

  #expire(nowMs: number): void {
    for (const active of [...this.#active.values()]) {
      if (nowMs < active.dueAtMs) continue
      // What still waits for the window has not been asked yet; t1 ends a window that stays shut.
      if (this.#outbox.some(({ id }) => id === active.id)) active.dueAtMs = nowMs + this.#waits.timeoutMs
      else this.#carryOut(active, active.exchange.expire(), nowMs)
    }
  }

  /** Sends what the window allows; the APDUs leave in one write. */
  #pump(nowMs: number): void {
    const session = this.#session
    const parts: Uint8Array[] = []
    while (session?.canSend === true) {
      const next = this.#outbox.shift()
      if (next === undefined) break
      for (const effect of session.send(next.octets, nowMs)) if (effect.kind === 'write') parts.push(effect.bytes)
    }
    if (parts.length > 0) this.#effects.push({ kind: 'write', bytes: joined(parts) })
  }

  #done(active: Active, result: OperationResult, nowMs: number): void {
    this.#active.delete(active.id)
    const totalMs = nowMs - active.beganAtMs
    this.#effects.push({ kind: 'done', id: active.id, result, confirmMs: active.confirmMs, totalMs })
  }

  /** The connection is over: operations under way end, queued ones wait for the next connection. */
  #closed(reason: string, nowMs: number): void {
    if (this.#session === undefined) return
    this.#session = undefined
    this.#outbox.length = 0
    this.#effects.push({ kind: 'link', state: 'closed', reason })
    for (const active of [...this.#active.values()]) this.#done(active, { kind: 'closed', reason }, nowMs)
  }

  #abandon(reason: string, nowMs: number): void {
    this.#outbox.length = 0
    for (const active of [...this.#active.values()]) this.#done(active, { kind: 'closed', reason }, nowMs)
    for (const { id } of this.#queue.splice(0)) {
      this.#effects.push({ kind: 'done', id, result: { kind: 'closed', reason }, confirmMs: undefined, totalMs: 0 })
    }
  }
}

/** The decoded ASDU, or what is wrong with it. */
function decodedOf(octets: Uint8Array): Asdu | WireError {
  try {
    return decodeAsdu(octets)
  } catch (error) {
    if (error instanceof WireError) return error
    throw error
  }
}
