import type { NearSession, Waiting } from './near-session.ts'
import { earliest, type NearInput, nearSession, type Side, type SideContext } from './side.ts'

const DEFAULT_MAX_CONNECTIONS = 4

type Master = { readonly id: number; readonly peer: string; readonly session: NearSession }

/**
 * The masters' side: to each of them this end is the outstation. Masters form one redundancy group: the one that sent
 * STARTDT last has the data transfer, the others are stand-bys, stopped. STARTDT is confirmed when the twin has started
 * the real outstation, STOPDT when it has stopped it.
 */
export class AcceptSide implements Side {
  readonly #context: SideContext
  readonly #masters = new Map<number, Master>()
  /** The master that the outstation's connection is for. */
  #active: Master | undefined
  #startByMs: number | undefined
  #connection = 0
  #isDraining = false

  constructor(context: SideContext) {
    this.#context = context
  }

  get wakeAtMs(): number | undefined {
    return earliest([this.#startByMs, ...[...this.#masters.values()].map(({ session }) => session.wakeAtMs)])
  }

  take(input: NearInput, nowMs: number): void {
    if (input.kind === 'nearOpen') {
      this.#accept(input.connection, input.peer, nowMs)
      return
    }
    const master = this.#masters.get(input.connection)
    if (master === undefined) return
    if (input.kind === 'nearData') master.session.receive(input.bytes, nowMs)
    else {
      master.session.end(undefined)
      this.#gone(master, input.reason)
    }
  }

  deliver(asdu: Uint8Array, nowMs: number): void {
    this.#active?.session.send(asdu, true, nowMs)
  }

  fail(reason: string): void {
    const { pipe } = this.#context
    if (this.#active === undefined) pipe.setOwn(this.#connection, 'closed')
    else this.#active.session.end(reason)
  }

  wake(nowMs: number): void {
    for (const { session } of [...this.#masters.values()]) session.wake(nowMs)
    if (nowMs >= (this.#startByMs ?? Number.POSITIVE_INFINITY)) this.fail('the outstation was not started within t1')
  }

  advance(nowMs: number): void {
    const { pipe } = this.#context
    for (const master of [...this.#masters.values()]) {
      for (let what = master.session.waiting; what !== undefined; what = master.session.waiting) {
        if (!this.#mayEnter(master, what, nowMs)) break
        master.session.admit(nowMs)
        if (what === 'start') this.#onStarted(master, nowMs)
      }
    }
    const { twin, own } = pipe
    if (this.#active === undefined || twin === undefined) return
    if (twin.side === 'accept') this.fail('both gateways of the pair accept')
    else if (twin.connection === own.connection && twin.state === 'closed') this.fail('the outstation is gone')
  }

  drain(): void {
    this.#isDraining = true
    for (const { session } of [...this.#masters.values()]) session.end('the gateway ends')
  }

  #accept(id: number, peer: string, nowMs: number): void {
    const { config, emit, event } = this.#context
    if (this.#isDraining || this.#masters.size >= (config.maxConnections ?? DEFAULT_MAX_CONNECTIONS)) {
      emit({ kind: 'nearClose', connection: id })
      event({ name: 'near.refused', peer, connections: this.#masters.size })
      return
    }
    const session = nearSession(this.#context, id, (reason) => this.#gone(master, reason))
    const master: Master = { id, peer, session }
    this.#masters.set(id, master)
    event({ name: 'near.open', connection: id, peer })
    session.open(nowMs)
  }

  #mayEnter(master: Master, what: Waiting, nowMs: number): boolean {
    const { pipe } = this.#context
    const isActive = master === this.#active
    switch (what) {
      case 'asdu':
        return !isActive || pipe.hasRoom
      case 'start':
        if (master.session.isStarted) return true
        this.#activate(master, nowMs)
        return pipe.twin?.connection === pipe.own.connection && pipe.twin.state === 'started'
      case 'stop':
        if (!isActive || !master.session.isTransferring) return true
        if (pipe.own.state === 'started' && pipe.isSent) pipe.setOwn(pipe.own.connection, 'open')
        return pipe.own.state === 'open' && pipe.twin?.state === 'open' && master.session.isSent
      case 'stopped':
        return true
    }
  }

  /** Makes a master the one that the outstation is connected for, and wants data transfer. */
  #activate(master: Master, nowMs: number): void {
    const { pipe, config } = this.#context
    const before = this.#active
    if (before === master && pipe.own.state === 'started') return
    const isBusy = before?.session.isTransferring || before?.session.waiting === 'start'
    if (before !== master && isBusy) before?.session.end('another master of the group has sent STARTDT')
    this.#active = master
    this.#startByMs = nowMs + config.near.t1Ms
    // A stopped predecessor leaves the outstation's connection to its successor.
    if (pipe.own.state === 'closed') this.#connection += 1
    pipe.setOwn(this.#connection, 'started')
  }

  #onStarted({ id, peer, session }: Master, nowMs: number): void {
    const { retained, event } = this.#context
    if (this.#startByMs === undefined) return
    this.#startByMs = undefined
    event({ name: 'near.started', connection: id, peer, retained: retained.count })
    for (let asdu = retained.take(); asdu !== undefined; asdu = retained.take()) session.send(asdu, false, nowMs)
  }

  #gone(master: Master, reason: string): void {
    if (!this.#masters.delete(master.id)) return
    const { pipe, retained, event } = this.#context
    event({ name: 'near.closed', connection: master.id, peer: master.peer, reason })
    // What the link still brings was sent later.
    retained.add(master.session.takeUnacknowledged())
    if (master !== this.#active) return
    this.#active = undefined
    this.#startByMs = undefined
    pipe.setOwn(this.#connection, 'closed')
  }
}
