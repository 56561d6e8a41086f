/** A disk with a page cache, under a file that processes write and crash on. */
import { type ChannelMark, type LedgerWrite, readLedger } from '../../../src/protocol/index.ts'

/** Moments of a write at which a process may die; `anywhere` is none of them. */
export type CrashPoint = 'beforeWrite' | 'written' | 'beforeSync' | 'synced' | 'settled' | 'anywhere'

const NO_MARK = { slots: 0, msgIds: 0 }

export class VirtualDisk {
  readonly crashes: Record<CrashPoint, number> = {
    anywhere: 0,
    beforeWrite: 0,
    written: 0,
    beforeSync: 0,
    synced: 0,
    settled: 0,
  }
  syncs = 0
  readonly #random: () => number
  readonly #passesPerCrash: number
  readonly #untilStrike = new Map<CrashPoint, number>()
  /** What survives a loss of power, and what the page cache has besides. */
  #durable: Uint8Array
  #unsynced: LedgerWrite[] = []
  #marks: readonly ChannelMark[] | undefined

  constructor(image: Uint8Array, random: () => number, passesPerCrash: number) {
    this.#durable = image
    this.#random = random
    this.#passesPerCrash = passesPerCrash
  }

  /** Whether the process dies at this point, this time. */
  strikes(point: CrashPoint): boolean {
    const left = (this.#untilStrike.get(point) ?? Math.ceil(2 * this.#passesPerCrash * this.#random())) - 1
    this.#untilStrike.set(point, left)
    if (left > 0) return false
    this.#untilStrike.delete(point)
    return true
  }

  write(write: LedgerWrite): void {
    this.#unsynced.push(write)
  }

  sync(): void {
    this.syncs += 1
    for (const { offset, bytes } of this.#unsynced.splice(0)) this.#put(offset, bytes)
  }

  /** A killed process leaves the cache as it is; a loss of power leaves of an unsynced write all, nothing or a part. */
  crash(kind: 'kill' | 'power'): Uint8Array {
    for (const { offset, bytes } of this.#unsynced.splice(0)) {
      if (kind === 'kill') this.#put(offset, bytes)
      else {
        const dice = this.#random()
        const kept = dice < 0.3 ? bytes.length : dice < 0.5 ? 0 : Math.floor(this.#random() * 400)
        this.#put(offset, bytes.subarray(0, kept))
      }
    }
    return this.#durable.slice()
  }

  /** What a reader would find that came after a loss of power now. */
  durableMark(channel: number): Pick<ChannelMark, 'slots' | 'msgIds'> {
    this.#marks ??= readLedger(this.#durable).marks
    return this.#marks.find((mark) => mark.channel === channel && mark.side === 'sender') ?? NO_MARK
  }

  #put(offset: number, bytes: Uint8Array): void {
    const changed = this.#durable.slice()
    changed.set(bytes, offset)
    this.#durable = changed
    this.#marks = undefined
  }
}
