import type { LabEvent, Node, Wake } from '../../runtime/contract.ts'
import { AcceptSide } from './accept-side.ts'
import type { BumpConfig, BumpEffect, BumpInput } from './config.ts'
import { DialSide } from './dial-side.ts'
import { LinkPipe, type PipeEvent } from './link-pipe.ts'
import { Retained } from './retained.ts'
import { earliest, type Side } from './side.ts'

/**
 * One of a pair of gateways in the wire between a master and an outstation that know nothing of them: plain 104 on the
 * near side, Q3P to the twin on the far side. ASDUs go through untouched and in order; connection state is kept at each
 * end, so that each near peer meets windows, timers and closes as the standard has them.
 *
 * Events: near.open, near.refused, near.dial, near.started, near.stopped, near.closed, link.up, link.down, twin.fault,
 * asdus.discarded, key.refused, ledger.resumed.
 */
export class BumpGateway implements Node<BumpInput, BumpEffect> {
  readonly #pipe: LinkPipe
  readonly #side: Side
  readonly #retained = new Retained()
  readonly #isAccepting: boolean
  #effects: BumpEffect[] = []
  #leftovers: Uint8Array[] = []

  /** RangeError for options outside their ranges. */
  constructor(config: BumpConfig) {
    const emit = (effect: BumpEffect): void => void this.#effects.push(effect)
    const event = (labEvent: LabEvent): void => emit({ kind: 'event', event: labEvent })
    this.#pipe = new LinkPipe(config, emit)
    const context = { config, pipe: this.#pipe, retained: this.#retained, emit, event }
    this.#isAccepting = config.side === 'accept'
    this.#side = this.#isAccepting ? new AcceptSide(context) : new DialSide(context)
  }

  get wakeAtMs(): number | undefined {
    return earliest([this.#pipe.wakeAtMs, this.#side.wakeAtMs])
  }

  /** Datagrams, retransmissions, drops by reason and so on of the link. */
  counters(): Readonly<Record<string, number>> {
    return this.#pipe.counters()
  }

  handle(input: BumpInput | Wake, nowMs: number): readonly BumpEffect[] {
    this.#effects = []
    switch (input.kind) {
      case 'start':
        if (input.marks !== undefined && input.marks.length > 0)
          this.#event({ name: 'ledger.resumed', marks: input.marks.length })
        this.#pipe.handle({ kind: 'open', ...(input.marks && { marks: input.marks }) }, nowMs)
        break
      case 'datagram':
      case 'keyBlock':
      case 'reserved':
        this.#pipe.handle(input, nowMs)
        break
      case 'wake':
        this.#pipe.handle(input, nowMs)
        this.#side.wake(nowMs)
        break
      case 'drain':
        this.#side.drain()
        this.#settle(nowMs)
        this.#pipe.close(nowMs)
        this.#pipe.reportBooks()
        break
      default:
        this.#side.take(input, nowMs)
    }
    this.#settle(nowMs)
    const discarded = this.#retained.takeDiscarded()
    if (discarded > 0) this.#event({ name: 'asdus.discarded', count: discarded })
    return this.#effects
  }

  /** Lets everything move on until nothing can. */
  #settle(nowMs: number): void {
    do {
      this.#side.advance(nowMs)
      for (let event = this.#pipe.next(); event !== undefined; event = this.#pipe.next()) {
        this.#onPipe(event, nowMs)
        this.#side.advance(nowMs)
      }
      // Where ASDUs come from, what did not leave is older than what is kept already.
      this.#retained.add(this.#leftovers.splice(0), !this.#isAccepting)
    } while (this.#pipe.pump(nowMs))
  }

  #onPipe(event: PipeEvent, nowMs: number): void {
    switch (event.kind) {
      case 'asdu':
        this.#side.deliver(event.asdu, nowMs)
        break
      case 'leftover':
        this.#leftovers.push(event.asdu)
        break
      case 'up':
        this.#event({ name: 'link.up' })
        break
      case 'down':
        this.#event({ name: 'link.down', reason: event.reason })
        this.#side.fail(`the link to the twin is down: ${event.reason}`)
        this.#pipe.setOwn(0, 'closed')
        break
      case 'stuck':
        this.#side.fail('the link to the twin took nothing for t1')
        break
      case 'fault':
        this.#event({ name: 'twin.fault', fault: event.fault })
        this.#side.fail(`twin: ${event.fault}`)
        break
      case 'twin':
        break
    }
  }

  #event(event: LabEvent): void {
    this.#effects.push({ kind: 'event', event })
  }
}
