/** A wire that loses, delays, reorders, duplicates and damages, and an attacker on it. */
import type { End } from './link-world.ts'

/** Datagrams that the attacker keeps, old and new. */
const RECORDED = 4096
/** He meets an end that starts anew with the latest datagrams of its peer, in their order. */
const REPLAYED_AT_START = 60

export type Attack = 'corrupted' | 'duplicated' | 'replayed' | 'forged' | 'reflected' | 'garbage'

/** What comes out of the wire for `to`: 'true' octets that its peer has sent at some time, or 'false' ones. */
export type Arrival = {
  readonly from: End
  readonly bytes: Uint8Array
  readonly what: 'true' | 'false'
  readonly delayMs: number
}

export class HostileWire {
  readonly attacks: Record<Attack, number> = {
    corrupted: 0,
    duplicated: 0,
    replayed: 0,
    forged: 0,
    reflected: 0,
    garbage: 0,
  }
  /** False: a good wire. */
  isRough = true
  readonly #random: () => number
  readonly #recorded: { readonly from: End; readonly bytes: Uint8Array }[] = []
  readonly #latest: readonly [Uint8Array[], Uint8Array[]] = [[], []]

  constructor(random: () => number) {
    this.#random = random
  }

  /** What comes of a datagram. */
  transmit(from: End, bytes: Uint8Array): readonly Arrival[] {
    if (!this.isRough) return [{ from, bytes, what: 'true', delayMs: 5 + this.#random() }]
    this.#record(from, bytes)
    const dice = this.#random()
    if (dice < 0.03) return []
    const delayMs = 8 + (this.#random() < 0.1 ? 40 : 4) * this.#random()
    if (dice < 0.05) {
      this.attacks.corrupted += 1
      return [{ from, bytes: this.#damage(bytes), what: 'false', delayMs }]
    }
    const arrivals: Arrival[] = [{ from, bytes, what: 'true', delayMs }]
    if (dice < 0.08) {
      this.attacks.duplicated += 1
      arrivals.push({ from, bytes, what: 'true', delayMs: delayMs + 60 * this.#random() })
    }
    if (dice > 0.9) arrivals.push(...this.#attack())
    return arrivals
  }

  /** Replays to an end that starts anew. */
  meet(end: End): readonly Arrival[] {
    if (!this.isRough || this.#random() < 0.5) return []
    const from: End = end === 0 ? 1 : 0
    this.attacks.replayed += this.#latest[from].length
    return this.#latest[from].map((bytes, index) => ({ from, bytes, what: 'true', delayMs: 5 + 0.1 * index }))
  }

  #record(from: End, bytes: Uint8Array): void {
    const isFull = this.#recorded.length >= RECORDED
    this.#recorded[isFull ? Math.floor(this.#random() * RECORDED) : this.#recorded.length] = { from, bytes }
    const latest = this.#latest[from]
    latest.push(bytes)
    if (latest.length > REPLAYED_AT_START) latest.shift()
  }

  #attack(): readonly Arrival[] {
    const chosen = this.#recorded[Math.floor(this.#random() * this.#recorded.length)]
    const kinds = ['replayed', 'forged', 'forged', 'reflected', 'garbage'] as const
    const kind = kinds[Math.floor(this.#random() * kinds.length)]
    if (chosen === undefined || kind === undefined) return []
    this.attacks[kind] += 1
    const { from, bytes } = chosen
    const delayMs = 20 * this.#random()
    switch (kind) {
      case 'replayed':
        return [{ from, bytes, what: 'true', delayMs }]
      case 'reflected':
        return [{ from: from === 0 ? 1 : 0, bytes, what: 'false', delayMs }]
      case 'forged':
        return [{ from, bytes: this.#forge(bytes), what: 'false', delayMs }]
      case 'garbage': {
        const octets = Uint8Array.from({ length: this.#random() * 300 }, () => this.#random() * 256)
        return [{ from, bytes: octets, what: 'false', delayMs }]
      }
    }
  }

  #damage(bytes: Uint8Array): Uint8Array {
    const damaged = bytes.slice()
    const bit = Math.floor(this.#random() * damaged.length * 8)
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return damaged
  }

  /** A true datagram with a header that says something else: a later message, other key, another suite. */
  #forge(bytes: Uint8Array): Uint8Array {
    const forged = bytes.slice()
    const view = new DataView(forged.buffer)
    const offset = [4, 12, 16][Math.floor(this.#random() * 3)] ?? 4
    const step = Math.floor((this.#random() - 0.3) * 3000) || 1
    view.setUint32(offset, (view.getUint32(offset) + step) >>> 0)
    if (this.#random() < 0.2) view.setUint8(8, [0x42, 0x43, 0x4b][Math.floor(this.#random() * 3)] ?? 0x43)
    if (this.#random() < 0.1) view.setUint8(9, this.#random() * 5)
    return forged.every((octet, index) => octet === bytes[index]) ? this.#forge(bytes) : forged
  }
}
