import { timingSafeEqual } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Etsi014Client, Etsi014Error } from './etsi014-client.ts'
import { type Etsi014Key, type Etsi014Status, joinKeys } from './etsi014-messages.ts'
import { RateMeter } from './etsi014-rate.ts'

export type Etsi014SourceOptions = {
  /** The link's two ends as SAEs, each with the certificate and the key manager of its own site. */
  readonly master: Etsi014Client
  readonly masterSaeId: string
  readonly slave: Etsi014Client
  readonly slaveSaeId: string
  /** How much key the link's pool can take now, in bits. */
  readonly roomBits: () => number
  /** Key that both ends hold, in order. It is the callee's, who overwrites it after use. */
  readonly onKey: (bytes: Uint8Array) => void
  /** At every look at the manager: whether key comes, and how fast the manager's stock grows. */
  readonly onState: (state: Etsi014SourceState) => void
  /** Size of the keys asked for, a multiple of 8; default the manager's key_size. */
  readonly keySizeBits?: number
  /** How often to look whether there is key; default 1000 ms. */
  readonly pollMs?: number
  /** Pause after a fault, doubled each time; defaults 500 and 30,000 ms. */
  readonly backoffMs?: number
  readonly maxBackoffMs?: number
  readonly nowMs: () => number
}

export type Etsi014SourceState =
  | { readonly up: true; readonly rateBps: number }
  | { readonly up: false; readonly rateBps: 0; readonly reason: string }

export type Etsi014SourceCounts = {
  readonly keys: number
  readonly bits: number
  /** Keys the master was given and the slave was not. */
  readonly keysLost: number
  /** Keys that were not the same at both ends: one manager is wrong. None of them is used. */
  readonly keysUnequal: number
  readonly faults: number
}

const MAX_KEYS = 128

/**
 * Fills one link's pool from an ETSI 014 key manager in place of the link model: `enc_keys` as the link's master SAE,
 * `dec_keys` as its slave, so that a key counts only if both ends can have it. Both run in the lab's key server, which is
 * trusted with the key of both ends anyway.
 */
export class Etsi014Source {
  readonly #options: Etsi014SourceOptions
  readonly #stopped = new AbortController()
  readonly #rate = new RateMeter()
  readonly #counts = { keys: 0, bits: 0, keysLost: 0, keysUnequal: 0, faults: 0 }
  #running: Promise<void> | undefined

  constructor(options: Etsi014SourceOptions) {
    this.#options = options
  }

  /** Begins to pull; faults never end it. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends after the call under way. The clients stay their owner's. */
  async close(): Promise<void> {
    this.#stopped.abort()
    await this.#running
  }

  counts(): Etsi014SourceCounts {
    return { ...this.#counts }
  }

  async #run(): Promise<void> {
    const { pollMs = 1000, backoffMs = 500, maxBackoffMs = 30_000, onState } = this.#options
    let pauseMs = pollMs
    let faults = 0
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#round()
        faults = 0
        pauseMs = pollMs
      } catch (error) {
        if (!(error instanceof Etsi014Error)) throw error
        this.#counts.faults++
        this.#rate.restart()
        onState({ up: false, rateBps: 0, reason: error.message })
        pauseMs = Math.min(maxBackoffMs, backoffMs * 2 ** faults++)
      }
      await sleep(pauseMs, undefined, { signal: this.#stopped.signal }).catch(() => {})
    }
  }

  /** One look at the manager, then keys until it has no more or the pool no room. */
  async #round(): Promise<void> {
    const { master, slaveSaeId, onState, nowMs, roomBits } = this.#options
    const status = await master.status(slaveSaeId)
    onState({ up: true, rateBps: this.#rate.look(status, nowMs()) })
    const sizeBits = keySizeOf(status, this.#options.keySizeBits)
    let left = Math.floor((status.storedKeyCount * status.keySizeBits) / sizeBits)
    while (!this.#stopped.signal.aborted) {
      const number = Math.min(left, status.maxKeysPerRequest, MAX_KEYS, Math.floor(roomBits() / sizeBits))
      if (number < 1) return
      await this.#pull(number, sizeBits)
      left -= number
    }
  }

  async #pull(number: number, sizeBits: number): Promise<void> {
    const { master, slave, masterSaeId, slaveSaeId, onKey } = this.#options
    const sent = await master.encKeys(slaveSaeId, { number, sizeBits })
    this.#rate.pulled(number * sizeBits)
    let received: readonly Etsi014Key[] = []
    try {
      const keyIds = sent.map(({ keyId }) => keyId)
      received = await slave.decKeys(masterSaeId, keyIds)
      if (!equal(sent, received)) {
        this.#counts.keysUnequal += number
        throw new Etsi014Error('dec_keys', { kind: 'malformed', message: 'other keys than enc_keys gave' })
      }
      const bytes = joinKeys(sent)
      this.#counts.keys += number
      this.#counts.bits += 8 * bytes.length
      onKey(bytes)
    } catch (error) {
      this.#counts.keysLost += number
      throw error
    } finally {
      for (const key of [...sent, ...received]) key.wipe()
    }
  }
}

function keySizeOf(status: Etsi014Status, wantedBits = status.keySizeBits): number {
  const { minKeySizeBits, maxKeySizeBits } = status
  if (wantedBits >= minKeySizeBits && wantedBits <= maxKeySizeBits && wantedBits > 0 && wantedBits % 8 === 0) {
    return wantedBits
  }
  const message = `a key size of ${wantedBits} bits is not a multiple of 8 in ${minKeySizeBits} to ${maxKeySizeBits}`
  throw new Etsi014Error('status', { kind: 'malformed', message })
}

function equal(one: readonly Etsi014Key[], other: readonly Etsi014Key[]): boolean {
  return one.every(({ bytes }, index) => {
    const twin = other[index]?.bytes
    return twin !== undefined && twin.length === bytes.length && timingSafeEqual(twin, bytes)
  })
}
