import type { ApciOptions } from '../../protocol/index.ts'
import type { StationConfig, StreamEffect, StreamInput } from './contract.ts'
import type { StationCore } from './core.ts'
import { Outbox } from './outbox.ts'
import type { StationStatus } from './status.ts'
import { type ConnectionEvent, StreamConnection } from './stream-connection.ts'

const APCI: ApciOptions = { role: 'controlled', k: 12, w: 8, t1Ms: 15_000, t2Ms: 10_000, t3Ms: 20_000 }
const DEFAULT_MAX_CONNECTIONS = 32

/** Carries a station's ASDUs over byte streams: one IEC 60870-5-104 connection a stream. */
export class StreamFront {
  readonly #core: StationCore
  readonly #apci: ApciOptions
  readonly #maxConnections: number
  readonly #emit: (effect: StreamEffect) => void
  readonly #connections = new Map<number, StreamConnection>()

  constructor(
    core: StationCore,
    config: Pick<StationConfig, 'apci' | 'maxConnections'>,
    emit: (effect: StreamEffect) => void,
  ) {
    this.#core = core
    this.#apci = { ...APCI, ...config.apci }
    this.#maxConnections = config.maxConnections ?? DEFAULT_MAX_CONNECTIONS
    this.#emit = emit
  }

  get wakeAtMs(): number {
    let atMs = Number.POSITIVE_INFINITY
    for (const { wakeAtMs } of this.#connections.values()) atMs = Math.min(atMs, wakeAtMs ?? atMs)
    return atMs
  }

  status(): StationStatus['connections'] {
    return [...this.#connections.values()].map(({ outbox: { id, peer, group }, isStarted, unacked, counts }) => ({
      id,
      peer,
      isStarted,
      group: group?.name,
      unacked,
      ...counts,
    }))
  }

  take(input: StreamInput, nowMs: number): void {
    if (input.kind === 'connected') this.#connected(input, nowMs)
    else if (input.kind === 'disconnected') this.#forget(input.connection, 'disconnected')
    else {
      const connection = this.#connections.get(input.connection)
      if (connection !== undefined) this.#act(connection, connection.receive(input.bytes, nowMs), nowMs)
    }
  }

  wake(nowMs: number): void {
    for (const connection of [...this.#connections.values()]) this.#act(connection, connection.wake(nowMs), nowMs)
  }

  /** Sends what the windows allow; at the end of whatever gave the station something to say. */
  pump(nowMs: number): void {
    for (const connection of this.#connections.values()) {
      connection.pump(nowMs)
      this.#flush(connection)
    }
  }

  #connected({ connection: id, peer, peerName }: Extract<StreamInput, { kind: 'connected' }>, nowMs: number): void {
    const isFull = this.#connections.size >= this.#maxConnections
    if (isFull || !this.#core.admits(peer, peerName)) {
      const reason = isFull ? 'too many connections' : 'in no redundancy group'
      this.#emit({ kind: 'close', connection: id, reason })
      this.#core.log({ name: 'connection.refused', connection: id, peer, reason })
      return
    }
    const outbox = new Outbox({ id, peer, peerName, close: (reason) => this.#close(id, reason) })
    const connection = new StreamConnection(outbox, this.#apci)
    this.#connections.set(id, connection)
    this.#core.connect(outbox)
    this.#core.log({ name: 'connection.up', connection: id, peer })
    this.#act(connection, connection.open(nowMs), nowMs)
  }

  #act(connection: StreamConnection, events: readonly ConnectionEvent[], nowMs: number): void {
    const { outbox } = connection
    for (const event of events) {
      if (!this.#connections.has(outbox.id)) return
      if (event.kind === 'asdu') this.#core.receive(outbox, { octets: event.asdu }, nowMs)
      else if (event.kind === 'started') this.#core.start(outbox)
      else if (event.kind === 'close') this.#close(outbox.id, event.reason)
      else {
        this.#stop(connection)
        this.#core.log({ name: 'connection.stopped', connection: outbox.id })
      }
    }
  }

  #stop(connection: StreamConnection): void {
    connection.giveBack()
    this.#core.stop(connection.outbox)
  }

  #close(id: number, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    this.#flush(connection)
    this.#emit({ kind: 'close', connection: id, reason })
    this.#forget(id, reason)
  }

  #forget(id: number, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    this.#stop(connection)
    this.#connections.delete(id)
    this.#core.disconnect(connection.outbox)
    const { peer } = connection.outbox
    this.#core.log({ name: 'connection.down', connection: id, peer, reason, ...connection.counts })
  }

  #flush(connection: StreamConnection): void {
    const bytes = connection.takeWrites()
    if (bytes !== undefined) this.#emit({ kind: 'write', connection: connection.outbox.id, bytes })
  }
}
