import type { Node, Wake } from '../runtime/contract.ts'
import type { EventQueue } from './event-queue.ts'

const WAKE: Wake = { kind: 'wake' }
/** A node that asks for this many wakes without letting time pass will never let it pass. */
const MAX_WAKES_AT_ONCE = 10_000

/** A node in virtual time: hands it inputs, carries out its effects, and wakes it when it asked. */
export class Actor<Input, Effect> {
  readonly id: string
  readonly #node: Node<Input, Effect>
  readonly #queue: EventQueue<(nowMs: number) => void>
  readonly #carryOut: (effect: Effect, nowMs: number) => void
  #stopped = false
  /** Time of the wake in the queue that counts; others are left over and do nothing. */
  #armedMs = Infinity
  #lastWakeMs = -Infinity
  #wakesAtOnce = 0

  constructor(
    who: { readonly id: string; readonly node: Node<Input, Effect> },
    queue: EventQueue<(nowMs: number) => void>,
    carryOut: (effect: Effect, nowMs: number) => void,
  ) {
    this.id = who.id
    this.#node = who.node
    this.#queue = queue
    this.#carryOut = carryOut
  }

  /** Gives the node an input at lab time `tMs`. */
  post(tMs: number, input: Input): void {
    this.#queue.push(tMs, (nowMs) => this.feed(input, nowMs))
  }

  /** Gives the node an input now. */
  feed(input: Input | Wake, nowMs: number): void {
    if (this.#stopped) return
    for (const effect of this.#node.handle(input, nowMs)) this.#carryOut(effect, nowMs)
    this.#arm(nowMs)
  }

  /** The node is gone: what is on its way to it is lost. */
  stop(): void {
    this.#stopped = true
  }

  #arm(nowMs: number): void {
    const dueMs = this.#node.wakeAtMs
    if (dueMs === undefined || dueMs === Infinity) return
    const atMs = Math.max(dueMs, nowMs)
    // A wake that is in the queue for an earlier time arms the next one when it comes.
    if (!(atMs < this.#armedMs)) return
    this.#armedMs = atMs
    this.#queue.push(atMs, () => this.#wake(atMs))
  }

  #wake(atMs: number): void {
    if (atMs !== this.#armedMs || this.#stopped) return
    this.#armedMs = Infinity
    const dueMs = this.#node.wakeAtMs
    if (dueMs === undefined || dueMs > atMs) {
      this.#arm(atMs)
      return
    }
    this.#wakesAtOnce = atMs === this.#lastWakeMs ? this.#wakesAtOnce + 1 : 0
    this.#lastWakeMs = atMs
    if (this.#wakesAtOnce > MAX_WAKES_AT_ONCE) throw new Error(`node ${this.id} never stops waking at ${atMs} ms`)
    this.feed(WAKE, atMs)
  }
}
