type Lot = { slots: number; readonly bornMs: number }

/** Key material not yet assigned, in slots of 32 bits, with its age. Oldest material goes first. */
export class Stock {
  readonly capSlots: number
  #lots: Lot[] = []
  #head = 0
  #slots = 0
  #carryBits = 0

  constructor(capSlots: number) {
    this.capSlots = capSlots
  }

  get slots(): number {
    return this.#slots
  }

  /** Adds `bits`; what does not fill a slot waits for the next call. Gives the whole slots added, cap not yet applied. */
  add(bits: number, bornMs: number): number {
    const totalBits = this.#carryBits + bits
    const slots = Math.floor(totalBits / 32)
    this.#carryBits = totalBits - slots * 32
    if (slots === 0) return 0
    const last = this.#lots.at(-1)
    if (last !== undefined && this.#head < this.#lots.length && last.bornMs === bornMs) last.slots += slots
    else this.#lots.push({ slots, bornMs })
    this.#slots += slots
    return slots
  }

  /** Takes up to `slots` of the oldest material and gives how many it took. */
  take(slots: number): number {
    const taken = Math.min(slots, this.#slots)
    let left = taken
    while (left > 0) {
      const lot = this.#lots[this.#head]
      if (lot === undefined) break
      const part = Math.min(left, lot.slots)
      lot.slots -= part
      left -= part
      if (lot.slots === 0) this.#dropHead()
    }
    this.#slots -= taken
    return taken
  }

  /** Takes all material older than `bornMs` and gives how many slots that was. */
  takeOlderThan(bornMs: number): number {
    let taken = 0
    for (let lot = this.#lots[this.#head]; lot !== undefined && lot.bornMs < bornMs; lot = this.#lots[this.#head]) {
      taken += lot.slots
      this.#dropHead()
    }
    this.#slots -= taken
    return taken
  }

  /** Takes the newest material above the cap and gives how many slots that was. */
  takeOverflow(): number {
    const overflow = Math.max(0, this.#slots - this.capSlots)
    let left = overflow
    while (left > 0) {
      const lot = this.#lots.at(-1)
      if (lot === undefined) break
      const part = Math.min(left, lot.slots)
      lot.slots -= part
      left -= part
      if (lot.slots === 0) this.#lots.pop()
    }
    this.#slots -= overflow
    return overflow
  }

  #dropHead(): void {
    this.#head++
    if (this.#head < 64 || this.#head * 2 < this.#lots.length) return
    this.#lots = this.#lots.slice(this.#head)
    this.#head = 0
  }
}
