/** Octets of key in the order they came; each leaves once, and what leaves or is dropped is overwritten here. */
export class OctetQueue {
  #chunks: Uint8Array[] = []
  #offset = 0
  #bytes = 0

  /** Octets in the queue. */
  get bytes(): number {
    return this.#bytes
  }

  /** Takes `bytes` over: the caller keeps no copy. */
  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#chunks.push(bytes)
    this.#bytes += bytes.length
  }

  /** The oldest `length` octets, now the caller's; undefined, and nothing changes, if there are fewer. */
  take(length: number): Uint8Array | undefined {
    if (!(Number.isInteger(length) && length >= 0 && length <= this.#bytes)) return undefined
    const out = new Uint8Array(length)
    this.#drain(length, (part, at) => out.set(part, at))
    return out
  }

  /** Drops the oldest octets beyond `length` and gives how many that were. */
  keepNewest(length: number): number {
    const surplus = Math.max(0, this.#bytes - length)
    this.#drain(surplus, () => {})
    return surplus
  }

  toJSON(): { readonly bytes: number } {
    return { bytes: this.#bytes }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `OctetQueue { bytes: ${this.#bytes} }`
  }

  #drain(length: number, visit: (part: Uint8Array, at: number) => void): void {
    let done = 0
    let whole = 0
    for (const chunk of this.#chunks) {
      if (done === length) break
      const part = chunk.subarray(this.#offset, this.#offset + length - done)
      visit(part, done)
      part.fill(0)
      done += part.length
      this.#offset += part.length
      if (this.#offset < chunk.length) break
      this.#offset = 0
      whole++
    }
    this.#chunks.splice(0, whole)
    this.#bytes -= length
  }
}
