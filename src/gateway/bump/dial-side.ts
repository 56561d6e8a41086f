import type { NearSession } from './near-session.ts'
import { type NearInput, nearSession, type Side, type SideContext } from './side.ts'

/** The connection to the outstation; without a session while it is being made. */
type Outstation = { readonly connection: number; session: NearSession | undefined }

/**
 * The outstation's side: to it this end is the master. It connects, starts, stops and closes as the twin's masters do,
 * and one attempt is made for each of theirs: who tries again, and when, is theirs to say.
 */
export class DialSide implements Side {
  readonly #context: SideContext
  #outstation: Outstation | undefined
  #isDraining = false

  constructor(context: SideContext) {
    this.#context = context
  }

  get wakeAtMs(): number | undefined {
    return this.#outstation?.session?.wakeAtMs
  }

  take(input: NearInput, nowMs: number): void {
    const outstation = this.#outstation
    if (outstation === undefined || input.connection !== outstation.connection) return
    const { connection, session } = outstation
    if (input.kind === 'nearData') session?.receive(input.bytes, nowMs)
    else if (input.kind === 'nearClosed') {
      session?.end(undefined)
      this.#gone(input.reason)
    } else {
      this.#context.event({ name: 'near.open', connection, peer: input.peer })
      outstation.session = nearSession(this.#context, connection, (reason) => this.#gone(reason))
      outstation.session.open(nowMs)
    }
  }

  deliver(asdu: Uint8Array, nowMs: number): void {
    this.#outstation?.session?.send(asdu, true, nowMs)
  }

  fail(reason: string): void {
    const { pipe, emit } = this.#context
    const outstation = this.#outstation
    if (outstation === undefined) return
    if (outstation.session !== undefined) outstation.session.end(reason)
    else {
      emit({ kind: 'nearClose', connection: outstation.connection })
      this.#gone(reason)
    }
    pipe.setOwn(outstation.connection, 'closed')
  }

  wake(nowMs: number): void {
    this.#outstation?.session?.wake(nowMs)
  }

  advance(nowMs: number): void {
    const { pipe, event } = this.#context
    this.#follow()
    const session = this.#outstation?.session
    if (session === undefined) return
    if (pipe.twin?.state === 'open' && session.isSent) session.stop(nowMs)
    if (pipe.twin?.state === 'started') session.start(nowMs)
    this.#letIn(session, nowMs)
    if (session.isEnded || session.isTransferring || pipe.own.state !== 'started') return
    // That it has stopped is told after the last ASDU.
    if (!pipe.isSent) return
    pipe.setOwn(pipe.own.connection, 'open')
    event({ name: 'near.stopped', connection: pipe.own.connection })
  }

  drain(): void {
    this.#isDraining = true
    this.fail('the gateway ends')
  }

  /** Connects and hangs up as the twin wants it. */
  #follow(): void {
    const { pipe, emit, event } = this.#context
    const { twin, own } = pipe
    const isWanted = twin !== undefined && twin.side === 'accept' && twin.state !== 'closed'
    if (this.#outstation !== undefined) {
      if (!isWanted || twin.connection !== this.#outstation.connection) this.fail('the master is gone')
    }
    if (!isWanted || this.#isDraining || this.#outstation !== undefined) return
    // Closed with this number: it was tried, or is over.
    if (own.connection === twin.connection && own.state === 'closed') return
    this.#outstation = { connection: twin.connection, session: undefined }
    pipe.setOwn(twin.connection, 'open')
    event({ name: 'near.dial', connection: twin.connection })
    emit({ kind: 'dial', connection: twin.connection })
  }

  /** Lets in what there is room for; events kept from an earlier connection go before. */
  #letIn(session: NearSession, nowMs: number): void {
    const { pipe, retained, event } = this.#context
    if (session.isTransferring && pipe.own.state === 'open' && pipe.twin?.state === 'started') {
      pipe.setOwn(pipe.own.connection, 'started')
      event({ name: 'near.started', connection: pipe.own.connection, retained: retained.count })
    }
    for (;;) {
      while (pipe.own.state === 'started' && pipe.hasRoom) {
        const asdu = retained.take()
        if (asdu === undefined) break
        pipe.send(asdu, nowMs)
      }
      const what = session.waiting
      if (what === undefined || (what === 'asdu' && (retained.count > 0 || !pipe.hasRoom))) return
      session.admit(nowMs)
    }
  }

  #gone(reason: string): void {
    const { pipe, event } = this.#context
    const connection = this.#outstation?.connection
    if (connection === undefined) return
    this.#outstation = undefined
    event({ name: 'near.closed', connection, reason })
    pipe.setOwn(connection, 'closed')
  }
}
