export type Waiting = {
  readonly client: string
  readonly channel: number
  readonly fromSlot: number
  /** The call or stream that asked. */
  readonly owner: object
  readonly answer: () => void
  readonly timer: NodeJS.Timeout
}

/** Questions for key that wait for their first slot. */
export class WaitingCalls {
  readonly #byChannel = new Map<number, Set<Waiting>>()
  readonly #byOwner = new Map<object, Set<Waiting>>()
  readonly #counts = new Map<string, number>()

  countOf(client: string): number {
    return this.#counts.get(client) ?? 0
  }

  /** `entry.timer` gives the question up; it is cleared when it is answered, or dropped before. */
  add(entry: Waiting): void {
    include(this.#byChannel, entry.channel, entry)
    include(this.#byOwner, entry.owner, entry)
    this.#counts.set(entry.client, this.countOf(entry.client) + 1)
  }

  /** It waits no more; false if it did not. */
  drop(entry: Waiting): boolean {
    if (!exclude(this.#byChannel, entry.channel, entry)) return false
    exclude(this.#byOwner, entry.owner, entry)
    clearTimeout(entry.timer)
    this.#counts.set(entry.client, this.countOf(entry.client) - 1)
    return true
  }

  /** Drops all that one call or stream has asked. */
  dropOf(owner: object): void {
    for (const entry of this.#byOwner.get(owner) ?? []) this.drop(entry)
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

function include<Key>(map: Map<Key, Set<Waiting>>, key: Key, entry: Waiting): void {
  const entries = map.get(key) ?? new Set()
  map.set(key, entries.add(entry))
}

function exclude<Key>(map: Map<Key, Set<Waiting>>, key: Key, entry: Waiting): boolean {
  const entries = map.get(key)
  if (entries?.delete(entry) !== true) return false
  if (entries.size === 0) map.delete(key)
  return true
}
