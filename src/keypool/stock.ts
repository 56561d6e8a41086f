type Lot = { slots: number; readonly bornMs: number }

/** Key that is set aside in a stock for those who are entitled to it, in slots (WIRE rule 7). */
export type StockReserve = {
  /** For supervision: handshakes, and the key under which acknowledgements travel. */
  readonly authenticationSlots: number
  /** For the chain of the highest priority. */
  readonly topChainSlots: number
}

/** What somebody asks of a stock: `slots`, of which the first so many may come out of each reserve. */
export type Claim = { readonly slots: number; readonly authenticationSlots: number; readonly topChainSlots: number }

/** Where granted slots come from. */
type Grant = { readonly open: number; readonly authentication: number; readonly topChain: number }

/**
 * Key material not yet assigned, in slots of 32 bits, with its age. Oldest material goes first.
 *
 * The reserves are filled before anything is open to all, authentication first; an entitled claim takes what is open before
 * it touches a reserve; and a claim without entitlement never gets below them.
 */
export class Stock {
  readonly capSlots: number
  readonly #reserve: StockReserve
  #lots: Lot[] = []
  #head = 0
  #slots = 0
  #carryBits = 0
  #authenticationSlots = 0
  #topChainSlots = 0

  constructor(capSlots: number, reserve: StockReserve = { authenticationSlots: 0, topChainSlots: 0 }) {
    this.capSlots = capSlots
    this.#reserve = reserve
  }

  get slots(): number {
    return this.#slots
  }

  /** Slots that anybody may have. */
  get openSlots(): number {
    return this.#slots - this.#authenticationSlots - this.#topChainSlots
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
    this.#authenticationSlots += Math.min(this.openSlots, this.#reserve.authenticationSlots - this.#authenticationSlots)
    this.#topChainSlots += Math.min(this.openSlots, this.#reserve.topChainSlots - this.#topChainSlots)
    return slots
  }

  /** How many slots of a claim can be granted now, each of which costs `price` slots of this stock. */
  reach(claim: Claim, price = 1): number {
    const { open, authentication, topChain } = this.#grant(claim, price)
    return open + authentication + topChain
  }

  /** Takes what `reach` says of a claim, and gives it. */
  take(claim: Claim, price = 1): number {
    const { open, authentication, topChain } = this.#grant(claim, price)
    this.#authenticationSlots -= authentication * price
    this.#topChainSlots -= topChain * price
    const granted = open + authentication + topChain
    this.#takeOldest(granted * price)
    return granted
  }

  /** Takes all material older than `bornMs` and gives how many slots that was. */
  takeOlderThan(bornMs: number): number {
    let taken = 0
    for (let lot = this.#lots[this.#head]; lot !== undefined && lot.bornMs < bornMs; lot = this.#lots[this.#head]) {
      taken += lot.slots
      this.#dropHead()
    }
    this.#slots -= taken
    // The oldest of what is left stands in for what a reserve has lost.
    this.#authenticationSlots = Math.min(this.#authenticationSlots, this.#slots)
    this.#topChainSlots = Math.min(this.#topChainSlots, this.#slots - this.#authenticationSlots)
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

  #grant(claim: Claim, price: number): Grant {
    const { slots } = claim
    const open = Math.min(slots, Math.floor(this.openSlots / price))
    const authentication = entitled(Math.min(slots, claim.authenticationSlots) - open, this.#authenticationSlots, price)
    const before = open + authentication
    const topChain = entitled(Math.min(slots, claim.topChainSlots) - before, this.#topChainSlots, price)
    return { open, authentication, topChain }
  }

  #takeOldest(slots: number): void {
    let left = slots
    while (left > 0) {
      const lot = this.#lots[this.#head]
      if (lot === undefined) break
      const part = Math.min(left, lot.slots)
      lot.slots -= part
      left -= part
      if (lot.slots === 0) this.#dropHead()
    }
    this.#slots -= slots
  }

  #dropHead(): void {
    this.#head++
    if (this.#head < 64 || this.#head * 2 < this.#lots.length) return
    this.#lots = this.#lots.slice(this.#head)
    this.#head = 0
  }
}

function entitled(slots: number, heldSlots: number, price: number): number {
  return Math.max(0, Math.min(slots, Math.floor(heldSlots / price)))
}
