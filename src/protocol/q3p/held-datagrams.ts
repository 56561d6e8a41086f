const HELD_DATAGRAMS = 16

/** Datagrams that cannot be opened yet, for want of key or of the ledger: the newest 16. */
export class HeldDatagrams {
  #held: Uint8Array[] = []

  /** Holds a copy; says whether the oldest had to go for it. */
  hold(datagram: Uint8Array): boolean {
    this.#held.push(datagram.slice())
    if (this.#held.length <= HELD_DATAGRAMS) return false
    this.#held.shift()
    return true
  }

  /** Gives all in the order they came, and holds none. */
  release(): readonly Uint8Array[] {
    const held = this.#held
    this.#held = []
    return held
  }
}
