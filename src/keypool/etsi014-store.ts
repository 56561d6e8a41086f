import { OctetQueue } from './etsi014-octets.ts'

/**
 * Where a key manager's key comes from. Both of its ends (the manager that `enc_keys` asks and the one `dec_keys` asks) are
 * this one process, so the store hands out each octet once and the manager keeps the copy for the slave.
 */
export type Etsi014Store = {
  /** Key the pair could be given now, and the most the store holds for it, in bits. */
  readonly stock: (
    masterSaeId: string,
    slaveSaeId: string,
  ) => { readonly availableBits: number; readonly capBits: number }
  /** Takes `bits`, a multiple of 8, for good; they are the caller's. Undefined, and nothing changes, if there is less. */
  readonly take: (masterSaeId: string, slaveSaeId: string, bits: number) => Uint8Array | undefined
}

/** Key in memory, one queue for each two SAEs, whichever of them is the master. */
export class Etsi014MemoryStore implements Etsi014Store {
  readonly #capBytes: number
  readonly #queues = new Map<string, OctetQueue>()

  /** `capBits`: the most that is held for one pair. */
  constructor(capBits: number) {
    this.#capBytes = Math.floor(capBits / 8)
  }

  /** Adds key both SAEs share; takes `bytes` over. What is beyond the cap is overwritten. */
  add(saeId: string, otherSaeId: string, bytes: Uint8Array): void {
    const queue = this.#queueOf(saeId, otherSaeId)
    const roomBytes = Math.max(0, this.#capBytes - queue.bytes)
    if (bytes.length > roomBytes) bytes.fill(0, roomBytes)
    queue.add(bytes.subarray(0, roomBytes))
  }

  stock(masterSaeId: string, slaveSaeId: string): { readonly availableBits: number; readonly capBits: number } {
    const availableBits = 8 * this.#queueOf(masterSaeId, slaveSaeId).bytes
    return { availableBits, capBits: 8 * this.#capBytes }
  }

  take(masterSaeId: string, slaveSaeId: string, bits: number): Uint8Array | undefined {
    return this.#queueOf(masterSaeId, slaveSaeId).take(bits / 8)
  }

  #queueOf(saeId: string, otherSaeId: string): OctetQueue {
    const name = [saeId, otherSaeId].sort().join(' ')
    const known = this.#queues.get(name)
    if (known !== undefined) return known
    const queue = new OctetQueue()
    this.#queues.set(name, queue)
    return queue
  }
}
