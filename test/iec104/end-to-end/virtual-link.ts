import {
  CONTROLLING_STATION_DEFAULTS,
  ControllingStation,
  type ControllingStationEffect,
  type ControllingStationInput,
  type ControllingStationOptions,
  type Operation,
} from '../../../src/master/index.ts'
import {
  ControlledStation,
  type ProcessCommand,
  type StationConfig,
  type StationEffect,
  type StationInput,
} from '../../../src/rtu/index.ts'
import { EventQueue, randomStream } from '../../../src/sim/index.ts'

export type VirtualLinkOptions = {
  readonly config: StationConfig
  readonly client?: Partial<ControllingStationOptions>
  readonly seed: number
  /** One-way delay of a piece, drawn anew for each, ms; pieces stay in order. */
  readonly delayMs: readonly [least: number, most: number]
  /** The stream is cut into pieces of 1..this many octets; undefined: not cut. */
  readonly maxPieceBytes?: number
  /** Called for each effect of the client but writes. */
  readonly observe?: (effect: ControllingStationEffect, nowMs: number) => void
}

type Done = Extract<ControllingStationEffect, { kind: 'done' }>

/** Wall clock at the start. */
export const WALL_MS = Date.UTC(2026, 4, 17, 12)
/** How long the process takes to carry out a command. */
const EXECUTE_MS = 5

/** Our controlled and our controlling station in virtual time, over a stream that delays and cuts. */
export class VirtualLink {
  readonly server: ControlledStation
  readonly client: ControllingStation
  nowMs = 0
  /** Commands that the process was given. */
  readonly commands: ProcessCommand[] = []
  /** Other effects of the server. */
  readonly serverEffects: StationEffect[] = []
  readonly #options: VirtualLinkOptions
  readonly #random: ReturnType<typeof randomStream>
  readonly #due = new EventQueue<() => void>()
  readonly #lastArrivalMs = { server: 0, client: 0 }
  readonly #waiting = new Map<number, (done: Done) => void>()
  #connection = 0
  #isUp = false
  #nextId = 1

  constructor(options: VirtualLinkOptions) {
    this.#options = options
    this.#random = randomStream(options.seed, 'stream')
    this.server = new ControlledStation(options.config)
    this.client = new ControllingStation({ ...CONTROLLING_STATION_DEFAULTS, ...options.client })
    this.feedServer({ kind: 'start', wallMs: WALL_MS })
  }

  /** A new connection. */
  connect(): this {
    this.#connection += 1
    this.#isUp = true
    this.feedServer({ kind: 'connected', connection: this.#connection, peer: `192.0.2.1:${40_000 + this.#connection}` })
    this.feedClient({ kind: 'open' })
    return this
  }

  /** The connection breaks: what is under way is lost. */
  break(): void {
    if (!this.#isUp) return
    const connection = this.#connection
    this.#isUp = false
    this.feedServer({ kind: 'disconnected', connection })
    this.feedClient({ kind: 'closed', reason: 'broken' })
  }

  /** Does something at a time to come. */
  at(atMs: number, action: () => void): void {
    this.#due.push(atMs, action)
  }

  feedServer(input: StationInput): void {
    this.#takeServer(this.server.handle(input, this.nowMs))
  }

  feedClient(input: ControllingStationInput): void {
    this.#takeClient(this.client.handle(input, this.nowMs))
  }

  runUntil(endMs: number): void {
    for (;;) {
      const serverAtMs = this.server.wakeAtMs ?? Number.POSITIVE_INFINITY
      const clientAtMs = this.client.wakeAtMs ?? Number.POSITIVE_INFINITY
      const dueAtMs = this.#due.nextMs
      const atMs = Math.min(serverAtMs, clientAtMs, dueAtMs)
      if (atMs > endMs) break
      this.nowMs = Math.max(this.nowMs, atMs)
      if (dueAtMs === atMs) this.#due.pop()?.()
      else if (serverAtMs === atMs) this.#takeServer(this.server.handle({ kind: 'wake' }, this.nowMs))
      else this.#takeClient(this.client.handle({ kind: 'wake' }, this.nowMs))
    }
    this.nowMs = endMs
  }

  /** Queues an operation; `then` is called with its end. */
  operate(operation: Operation, then: (done: Done) => void = () => {}): void {
    const id = this.#nextId++
    this.#waiting.set(id, then)
    this.feedClient({ kind: 'operate', id, operation, wallMs: WALL_MS + this.nowMs })
  }

  /** Carries out an operation; throws when it is not done after `limitMs`. */
  run(operation: Operation, limitMs = 60_000): Done {
    let done: Done | undefined
    this.operate(operation, (ended) => {
      done = ended
    })
    const endMs = this.nowMs + limitMs
    while (done === undefined && this.nowMs < endMs) this.runUntil(this.nowMs + 1)
    if (done === undefined) throw new Error(`${operation.kind} is not done after ${limitMs} ms`)
    return done
  }

  #takeServer(effects: readonly StationEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'write':
          if (effect.connection === this.#connection) {
            this.#fly('client', effect.bytes, (bytes) => this.feedClient({ kind: 'octets', bytes }))
          }
          break
        case 'close':
          if (effect.connection === this.#connection) this.#later('client', () => this.break())
          break
        case 'command':
          this.commands.push(effect.command)
          this.at(this.nowMs + EXECUTE_MS, () => {
            this.feedServer({ kind: 'commandDone', id: effect.command.id, ok: true })
          })
          break
        default:
          this.serverEffects.push(effect)
      }
    }
  }

  #takeClient(effects: readonly ControllingStationEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'write') {
        const connection = this.#connection
        this.#fly('server', effect.bytes, (bytes) => this.feedServer({ kind: 'octets', connection, bytes }))
        continue
      }
      if (effect.kind === 'end') this.#later('server', () => this.break())
      this.#options.observe?.(effect, this.nowMs)
      if (effect.kind !== 'done') continue
      this.#waiting.get(effect.id)?.(effect)
      this.#waiting.delete(effect.id)
    }
  }

  #fly(to: 'server' | 'client', bytes: Uint8Array, take: (bytes: Uint8Array) => void): void {
    const { maxPieceBytes = bytes.length } = this.#options
    for (let at = 0; at < bytes.length; ) {
      const sizeBytes =
        maxPieceBytes < bytes.length ? 1 + Math.floor(this.#random.uniform() * maxPieceBytes) : maxPieceBytes
      const piece = bytes.subarray(at, at + sizeBytes)
      this.#later(to, () => take(piece))
      at += sizeBytes
    }
  }

  /** After the delay of the stream, unless the connection breaks before. */
  #later(to: 'server' | 'client', action: () => void): void {
    const [leastMs, mostMs] = this.#options.delayMs
    const delayMs = leastMs + this.#random.uniform() * (mostMs - leastMs)
    this.#lastArrivalMs[to] = Math.max(this.#lastArrivalMs[to], this.nowMs + delayMs)
    const connection = this.#connection
    this.#due.push(this.#lastArrivalMs[to], () => {
      if (this.#isUp && connection === this.#connection) action()
    })
  }
}
