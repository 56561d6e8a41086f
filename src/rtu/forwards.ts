import { type AsduView, cot } from '../protocol/index.ts'
import type { Order } from './station/desk.ts'

/** Where the cause stands, which is all that an answer changes. */
const CAUSE_AT = 2
/** Commands to one object that may be under way; the oldest is forgotten first. */
const MAX_PER_OBJECT = 16

type Forwarded = { readonly order: Order; isConfirmed: boolean }

/** The commands that IEDs have in hand: whom an answer is for. */
export class Forwards {
  readonly #byIoa = new Map<number, Forwarded[]>()

  add(order: Order): void {
    const others = this.#byIoa.get(order.view.ioa) ?? []
    this.#byIoa.set(order.view.ioa, [...others, { order, isConfirmed: false }].slice(-MAX_PER_OBJECT))
  }

  remove(order: Order): void {
    const { ioa } = order.view
    const left = (this.#byIoa.get(ioa) ?? []).filter((forwarded) => forwarded.order !== order)
    if (left.length > 0) this.#byIoa.set(ioa, left)
    else this.#byIoa.delete(ioa)
  }

  /**
   * The orders that an answer of the object's IED is for: a confirmation for the first that waits for one, a termination
   * for all that were confirmed, once a connection; what mirrors no order is for the last one. None: nobody asked.
   */
  takers(answer: Uint8Array, { ioa, cot: cause, negative }: AsduView): readonly Order[] {
    const all = this.#byIoa.get(ioa) ?? []
    const mirrored = all.filter(({ order }) => isMirrored(order.octets, answer))
    const last = mirrored.at(-1) ?? all.at(-1)
    if (last === undefined) return []
    if (cause === cot.activationTermination) {
      const confirmed = mirrored.filter(({ isConfirmed }) => isConfirmed)
      const ended = confirmed.length > 0 ? confirmed : [last]
      for (const { order } of ended) this.remove(order)
      return [...new Map(ended.map(({ order }) => [order.connection, order])).values()]
    }
    const taker = mirrored.find(({ isConfirmed }) => !isConfirmed) ?? last
    taker.isConfirmed = true
    if (negative) this.remove(taker.order)
    return [taker.order]
  }
}

function isMirrored(order: Uint8Array, answer: Uint8Array): boolean {
  return order.length === answer.length && order.every((octet, i) => i === CAUSE_AT || octet === answer[i])
}
