import {
  CONTROLLING_STATION_DEFAULTS,
  ControllingStation,
  type ControllingStationEffect,
  type ControllingStationInput,
  type ControllingStationOptions,
  type Operation,
} from '../../../src/master/index.ts'
import { type Asdu, decodeAsdu, encodeAsdu, StreamSession, WireError } from '../../../src/protocol/index.ts'

/** What a scripted station answers to an ASDU: ASDUs or octets, sent as the window allows. */
export type Answer = (request: Asdu, octets: Uint8Array) => readonly (Asdu | Uint8Array)[]

export const WALL_MS = Date.UTC(2026, 4, 17, 12)
export type Done = Extract<ControllingStationEffect, { kind: 'done' }>

/** Our controlling station and a scripted controlled one, in virtual time, over a stream without delay. */
export class ScriptedPair {
  readonly station: ControllingStation
  /** Everything but writes. */
  readonly effects: ControllingStationEffect[] = []
  /** ASDUs that the scripted station got. */
  readonly requests: Asdu[] = []
  /** Sizes of the station's writes, octets. */
  readonly writes: Uint8Array[] = []
  nowMs = 0
  answer: Answer
  #peer: StreamSession
  readonly #peerOutbox: Uint8Array[] = []
  #nextId = 1
  readonly #cut: (bytes: Uint8Array) => readonly Uint8Array[]

  constructor(
    answer: Answer,
    options: Partial<ControllingStationOptions> = {},
    cut: (bytes: Uint8Array) => readonly Uint8Array[] = (bytes) => [bytes],
  ) {
    this.answer = answer
    this.#cut = cut
    this.station = new ControllingStation({ ...CONTROLLING_STATION_DEFAULTS, ...options })
    this.#peer = this.#newPeer()
  }

  #newPeer(): StreamSession {
    return new StreamSession({ role: 'controlled', ...CONTROLLING_STATION_DEFAULTS.apci })
  }

  open(): this {
    this.#peer = this.#newPeer()
    this.#peerOutbox.length = 0
    this.#peer.open(this.nowMs)
    this.feed({ kind: 'open' })
    return this
  }

  feed(input: ControllingStationInput): void {
    this.#take(this.station.handle(input, this.nowMs))
  }

  #take(effects: readonly ControllingStationEffect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'write') {
        this.effects.push(effect)
        continue
      }
      this.writes.push(effect.bytes)
      for (const piece of this.#cut(effect.bytes)) this.#takePeer(this.#peer.receive(piece, this.nowMs))
    }
  }

  #takePeer(effects: ReturnType<StreamSession['receive']>): void {
    for (const effect of effects) {
      if (effect.kind === 'asdu') this.#request(effect.asdu)
      if (effect.kind === 'write') {
        for (const bytes of this.#cut(effect.bytes)) this.feed({ kind: 'octets', bytes })
      }
    }
    this.#pump()
  }

  #request(octets: Uint8Array): void {
    try {
      const request = decodeAsdu(octets)
      this.requests.push(request)
      this.say(...this.answer(request, octets))
    } catch (error) {
      if (!(error instanceof WireError)) throw error
    }
  }

  /** The scripted station sends of its own accord. */
  say(...asdus: readonly (Asdu | Uint8Array)[]): void {
    for (const asdu of asdus) this.#peerOutbox.push(asdu instanceof Uint8Array ? asdu : encodeAsdu(asdu))
    this.#pump()
  }

  #pump(): void {
    while (this.#peer.canSend) {
      const next = this.#peerOutbox.shift()
      if (next === undefined) return
      this.#takePeer(this.#peer.send(next, this.nowMs))
    }
  }

  advanceMs(durationMs: number): void {
    const endMs = this.nowMs + durationMs
    for (;;) {
      const wakes = [this.station.wakeAtMs, this.#peer.wakeAtMs].map((wake) => wake ?? Number.POSITIVE_INFINITY)
      const atMs = Math.min(...wakes)
      if (atMs > endMs) break
      this.nowMs = Math.max(this.nowMs, atMs)
      if (wakes[0] === atMs) this.#take(this.station.handle({ kind: 'wake' }, this.nowMs))
      else this.#takePeer(this.#peer.wake(this.nowMs))
    }
    this.nowMs = endMs
  }

  /** Queues an operation; gives its id. */
  begin(operation: Operation): number {
    const id = this.#nextId++
    this.feed({ kind: 'operate', id, operation, wallMs: WALL_MS + this.nowMs })
    return id
  }

  done(id: number): Done | undefined {
    return this.effects.find((effect): effect is Done => effect.kind === 'done' && effect.id === id)
  }

  /** Runs an operation to its end, for at most `limitMs`. */
  run(operation: Operation, limitMs = 60_000): Done {
    const id = this.begin(operation)
    for (let passedMs = 0; this.done(id) === undefined && passedMs < limitMs; passedMs += 100) this.advanceMs(100)
    const done = this.done(id)
    if (done === undefined) throw new Error(`${operation.kind} is not done after ${limitMs} ms`)
    return done
  }
}
