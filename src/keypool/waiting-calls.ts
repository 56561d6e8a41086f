import type { ServerUnaryCall } from '@grpc/grpc-js'
import type { GetKeyReply, GetKeyRequest } from './messages.ts'

export type GetKeyCall = ServerUnaryCall<GetKeyRequest, GetKeyReply>
export type Waiting = {
  readonly client: string
  readonly channel: number
  readonly fromSlot: number
  readonly answer: () => void
  readonly timer: NodeJS.Timeout
}

/** GetKey calls that wait for their first slot. */
export class WaitingCalls {
  readonly #byChannel = new Map<number, Set<Waiting>>()
  readonly #counts = new Map<string, number>()

  countOf(client: string): number {
    return this.#counts.get(client) ?? 0
  }

  /** `entry.timer` gives the call up; it is cleared when the call is answered or ends before. */
  add(call: GetKeyCall, entry: Waiting): void {
    const ofChannel = this.#byChannel.get(entry.channel) ?? new Set()
    this.#byChannel.set(entry.channel, ofChannel.add(entry))
    this.#counts.set(entry.client, this.countOf(entry.client) + 1)
    call.on('cancelled', () => this.drop(entry))
  }

  /** It waits no more; false if it did not. */
  drop(entry: Waiting): boolean {
    const ofChannel = this.#byChannel.get(entry.channel)
    if (ofChannel?.delete(entry) !== true) return false
    clearTimeout(entry.timer)
    this.#counts.set(entry.client, this.countOf(entry.client) - 1)
    if (ofChannel.size === 0) this.#byChannel.delete(entry.channel)
    return true
  }

  answer(assignedSlots: (channel: number) => number): void {
    for (const [channel, entries] of this.#byChannel) {
      const assigned = assignedSlots(channel)
      for (const entry of entries) {
        if (assigned <= entry.fromSlot) continue
        this.drop(entry)
        entry.answer()
      }
    }
  }

  clear(): void {
    for (const entries of this.#byChannel.values()) for (const entry of entries) this.drop(entry)
  }
}
