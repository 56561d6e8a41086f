import type { Suite } from './types.ts'

/** An ASDU to be sent. `id` is the sender's own and comes back in the effects about this message. */
export type LinkMessage = {
  readonly id: number
  /** 1..249 octets. */
  readonly asdu: Uint8Array
  readonly suite: Suite
  /** 0 is the most urgent. */
  readonly priority: number
  /** Lab time from which it is worthless and is not sent any more. */
  readonly expiresAtMs?: number
}

type Queued = {
  readonly message: LinkMessage
  readonly order: number
  readonly queuedAtMs: number
  readonly keyClockMs: number
}

/** A message taken from the queue, with what it had waited for. */
export type Dequeued = { readonly message: LinkMessage; readonly queueMs: number; readonly keyWaitMs: number }

const NONE: readonly LinkMessage[] = []

/** Runs while a suite's messages are held back by nothing but lack of key. */
class KeyClock {
  #totalMs = 0
  #sinceMs: number | undefined

  readMs(nowMs: number): number {
    return this.#totalMs + (this.#sinceMs === undefined ? 0 : nowMs - this.#sinceMs)
  }

  set(isShort: boolean, nowMs: number): void {
    this.#totalMs = this.readMs(nowMs)
    this.#sinceMs = isShort ? nowMs : undefined
  }
}

/** Messages that wait to be sealed: a bounded queue by priority, then first come first served, with a lane a suite. */
export class SendQueue {
  readonly #limit: number
  readonly #lanes: Readonly<Record<Suite, Queued[]>> = { otp: [], aes: [] }
  readonly #clocks: Readonly<Record<Suite, KeyClock>> = { otp: new KeyClock(), aes: new KeyClock() }
  #order = 0
  #nextExpiryMs: number | undefined

  /** `limit`: most messages held. */
  constructor(limit: number) {
    this.#limit = limit
  }

  get length(): number {
    return this.#lanes.otp.length + this.#lanes.aes.length
  }

  /** No message expires before this time. */
  get nextExpiryMs(): number | undefined {
    return this.#nextExpiryMs
  }

  /** Takes a message; gives the one that the full queue loses for it: the least urgent, the latest of those. */
  add(message: LinkMessage, nowMs: number): LinkMessage | undefined {
    const lane = this.#lanes[message.suite]
    const keyClockMs = this.#clocks[message.suite].readMs(nowMs)
    this.#order += 1
    let index = lane.length
    while (index > 0 && (lane[index - 1]?.message.priority ?? 0) > message.priority) index -= 1
    lane.splice(index, 0, { message, order: this.#order, queuedAtMs: nowMs, keyClockMs })
    const { expiresAtMs } = message
    if (expiresAtMs !== undefined) this.#nextExpiryMs = Math.min(expiresAtMs, this.#nextExpiryMs ?? expiresAtMs)
    if (this.length <= this.#limit) return undefined
    const [otp, aes] = [this.#lanes.otp.at(-1), this.#lanes.aes.at(-1)]
    const worst = otp === undefined || (aes !== undefined && comesBefore(otp, aes)) ? 'aes' : 'otp'
    return this.#lanes[worst].pop()?.message
  }

  /** The next message of each suite, the more urgent first. */
  heads(): readonly LinkMessage[] {
    const otp = this.#lanes.otp[0]
    const aes = this.#lanes.aes[0]
    if (otp === undefined) return aes === undefined ? NONE : [aes.message]
    if (aes === undefined) return [otp.message]
    return comesBefore(otp, aes) ? [otp.message, aes.message] : [aes.message, otp.message]
  }

  /** Sum of `slotsOf` over all that wait, where AES messages, which share a key, count once. */
  sum(slotsOf: (message: LinkMessage) => number): number {
    const [firstAes] = this.#lanes.aes
    let slots = firstAes === undefined ? 0 : slotsOf(firstAes.message)
    for (const { message } of this.#lanes.otp) slots += slotsOf(message)
    return slots
  }

  /** Takes the next message of a suite out. */
  take(suite: Suite, nowMs: number): Dequeued | undefined {
    const head = this.#lanes[suite].shift()
    if (head === undefined) return undefined
    const keyWaitMs = this.#clocks[suite].readMs(nowMs) - head.keyClockMs
    return { message: head.message, queueMs: nowMs - head.queuedAtMs - keyWaitMs, keyWaitMs }
  }

  /** Says whether the messages of a suite are held back by nothing but lack of key. */
  markKeyShort(suite: Suite, isShort: boolean, nowMs: number): void {
    this.#clocks[suite].set(isShort, nowMs)
  }

  /** Takes the expired messages out. */
  expire(nowMs: number): readonly LinkMessage[] {
    if (this.#nextExpiryMs === undefined || nowMs < this.#nextExpiryMs) return NONE
    const isExpired = ({ message }: Queued): boolean =>
      message.expiresAtMs !== undefined && message.expiresAtMs <= nowMs
    const expired = this.#takeAll(isExpired)
    const times = [...this.#lanes.otp, ...this.#lanes.aes].flatMap(({ message }) => message.expiresAtMs ?? [])
    this.#nextExpiryMs = times.length > 0 ? Math.min(...times) : undefined
    return expired
  }

  /** Takes all messages out. */
  clear(): readonly LinkMessage[] {
    this.#nextExpiryMs = undefined
    return this.#takeAll(() => true)
  }

  #takeAll(isTaken: (queued: Queued) => boolean): readonly LinkMessage[] {
    const taken = [...this.#lanes.otp, ...this.#lanes.aes].filter(isTaken).sort((a, b) => a.order - b.order)
    for (const lane of [this.#lanes.otp, this.#lanes.aes]) {
      const kept = lane.filter((queued) => !isTaken(queued))
      lane.splice(0, lane.length, ...kept)
    }
    return taken.map(({ message }) => message)
  }
}

function comesBefore(a: Queued, b: Queued): boolean {
  if (a.message.priority !== b.message.priority) return a.message.priority < b.message.priority
  return a.order < b.order
}
