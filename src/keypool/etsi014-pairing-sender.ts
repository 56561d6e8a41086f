import type { KeyBlock } from '../runtime/contract.ts'
import { joinKeys } from './etsi014-messages.ts'
import type { Etsi014PairingEffect, Etsi014PairingInput } from './etsi014-pairing.ts'
import {
  MAX_IDS_BYTES,
  type Mac,
  type PairingMessage,
  SESSION_BYTES,
  sameOctets,
  writePairingMessage,
} from './etsi014-pairing-message.ts'
import { isSlot, MAX_WANT_SLOTS, SLOT_BYTES } from './pool-options.ts'

export type PairingSideOptions = {
  readonly channel: number
  readonly startSlot: number
  /** 8 octets that name this process to the twin. */
  readonly life: Uint8Array
  readonly mac: Mac
  readonly randomBytes: (length: number) => Uint8Array
  readonly retryMs: number
  /** A number for a call, never given before. */
  readonly newCall: () => number
}

type Effects = readonly Etsi014PairingEffect[]
type Batch = { readonly batch: number; readonly keyIds: readonly string[]; readonly bytes: Uint8Array }

const MAX_RETRY_MS = 10_000
/** The most that is filled up where one end's stream is ahead of the other's (4 MiB). */
export const MAX_HOLE_SLOTS = 2 ** 20

/** Asks again after `retryMs`, then less and less often. */
export class Retry {
  wakeAtMs: number | undefined
  readonly #firstMs: number
  #pauseMs: number

  constructor(firstMs: number) {
    this.#firstMs = firstMs
    this.#pauseMs = firstMs
  }

  begin(nowMs: number): void {
    this.#pauseMs = this.#firstMs
    this.again(nowMs)
  }

  again(nowMs: number): void {
    this.wakeAtMs = nowMs + this.#pauseMs
    this.#pauseMs = Math.min(MAX_RETRY_MS, 2 * this.#pauseMs)
  }

  end(): void {
    this.wakeAtMs = undefined
    this.#pauseMs = this.#firstMs
  }
}

/** The end that gets keys first: `enc_keys`, offer, and only when the twin has them too, its own stream. */
export class PairingSender {
  readonly #options: PairingSideOptions & { readonly keyBytes: number; readonly batchKeys: number }
  readonly #retry: Retry
  #nextSlot: number
  #goalSlot = 0
  /** Whether the stream's holder knows where it begins. */
  #begun = false
  #session: { readonly kind: 'asked' | 'open'; readonly octets: Uint8Array } | undefined
  /** The `enc_keys` that is under way, or wanted again at the next wake. */
  #call: number | 'again' | undefined
  #offered: Batch | undefined
  #batches = 0
  /** Fewer than the option where key_IDs are long. */
  #batchKeys: number

  constructor(options: PairingSideOptions & { readonly keyBytes: number; readonly batchKeys: number }) {
    this.#options = options
    this.#nextSlot = options.startSlot
    this.#batchKeys = options.batchKeys
    this.#retry = new Retry(options.retryMs)
  }

  get wakeAtMs(): number | undefined {
    return this.#retry.wakeAtMs
  }

  start(nowMs: number): Effects {
    return this.#isIdle && this.#session === undefined ? this.#goOn(nowMs) : []
  }

  want(upToSlot: number, nowMs: number): Effects {
    if (!isSlot(upToSlot)) return []
    this.#goalSlot = Math.max(this.#goalSlot, Math.min(upToSlot, this.#nextSlot + MAX_WANT_SLOTS))
    return this.#isIdle ? this.#goOn(nowMs) : []
  }

  take(message: PairingMessage, nowMs: number): Effects {
    const session = this.#session
    if (message.channel !== this.#options.channel || session === undefined) return []
    if (!sameOctets(message.session, session.octets)) return []
    if (message.kind === 'welcome' && session.kind === 'asked') return this.#welcomed(message, nowMs)
    if (session.kind !== 'open') return []
    const offered = this.#offered
    switch (message.kind) {
      case 'unknown':
        // Not at once: two ends that cannot agree shall not spin.
        this.#session = undefined
        this.#retry.begin(nowMs)
        return []
      case 'have':
      case 'lost': {
        if (offered?.batch !== message.batch) return []
        this.#offered = undefined
        this.#retry.end()
        const done = message.kind === 'have' ? this.#append(offered.bytes) : this.#letGo(offered)
        return [done, ...this.#goOn(nowMs)]
      }
      default:
        return []
    }
  }

  /**
   * The twin was started again: what of the stream it has lost is to be known now, not at the next offer. Does nothing while
   * something is under way, for that will show it as well.
   */
  twinBeganAnew(nowMs: number): Effects {
    if (!this.#isIdle || this.#session?.kind !== 'open') return []
    this.#session = undefined
    return this.#goOn(nowMs)
  }

  /** Undefined if the call is not one of this side. */
  keys({ call, keys }: Etsi014PairingInput & { kind: 'keys' }, nowMs: number): Effects | undefined {
    if (call !== this.#call) return undefined
    const { keyBytes } = this.#options
    const fits = keys.length > 0 && keys.every(({ bytes }) => bytes.length === keyBytes)
    const keyIds = keys.map(({ keyId }) => keyId)
    const longestId = Math.max(1, ...keyIds.map((keyId) => keyId.length))
    this.#batchKeys = Math.max(1, Math.min(this.#batchKeys, Math.floor(MAX_IDS_BYTES / (1 + longestId))))
    if (!fits || keys.length > this.#batchKeys) {
      for (const key of keys) key.wipe()
      return this.failed({ kind: 'failed', call, isFinal: true }, nowMs)
    }
    this.#call = undefined
    this.#retry.end()
    this.#batches++
    this.#offered = { batch: this.#batches, keyIds, bytes: joinKeys(keys) }
    return this.#goOn(nowMs)
  }

  failed({ call, isFinal }: Etsi014PairingInput & { kind: 'failed' }, nowMs: number): Effects | undefined {
    if (call !== this.#call) return undefined
    this.#call = 'again'
    this.#retry.again(nowMs)
    return isFinal ? [{ kind: 'event', event: { name: 'etsi014.refused', channel: this.#options.channel } }] : []
  }

  wake(nowMs: number): Effects {
    if (this.#retry.wakeAtMs === undefined || nowMs < this.#retry.wakeAtMs) return []
    this.#retry.again(nowMs)
    if (this.#call === 'again' || this.#session === undefined) {
      if (this.#call === 'again') this.#call = undefined
      this.#retry.wakeAtMs = undefined
      return this.#goOn(nowMs)
    }
    return this.#say()
  }

  get #isIdle(): boolean {
    return this.#retry.wakeAtMs === undefined && this.#call === undefined && this.#offered === undefined
  }

  /** Whatever is to be done next, if there is anything to do. */
  #goOn(nowMs: number): Effects {
    const { keyBytes, newCall, randomBytes } = this.#options
    const missingSlots = this.#goalSlot - this.#nextSlot
    if (this.#call !== undefined) return []
    if (this.#session === undefined) this.#session = { kind: 'asked', octets: randomBytes(SESSION_BYTES) }
    if (this.#session.kind === 'asked' || this.#offered !== undefined) {
      this.#retry.begin(nowMs)
      return this.#say()
    }
    if (missingSlots <= 0) return []
    const number = Math.min(this.#batchKeys, Math.ceil((missingSlots * SLOT_BYTES) / keyBytes))
    this.#call = newCall()
    return [{ kind: 'encKeys', call: this.#call, number, sizeBits: 8 * keyBytes }]
  }

  /** The message that waits for an answer. */
  #say(): Effects {
    const { channel, keyBytes, mac, life } = this.#options
    if (this.#session === undefined) return []
    const common = { channel, session: this.#session.octets, slot: this.#nextSlot }
    const message: PairingMessage | undefined =
      this.#session.kind === 'asked'
        ? { ...common, kind: 'hello', life }
        : this.#offered && { ...common, kind: 'offer', keyBytes, ...idsOf(this.#offered) }
    return message === undefined ? [] : [{ kind: 'send', bytes: writePairingMessage(message, mac) }]
  }

  #welcomed(message: PairingMessage & { kind: 'welcome' }, nowMs: number): Effects {
    const { channel, randomBytes } = this.#options
    const effects: Etsi014PairingEffect[] = []
    this.#session = { kind: 'open', octets: message.newSession }
    this.#retry.end()
    const ahead = message.slot - this.#nextSlot
    if (this.#begun && ahead > MAX_HOLE_SLOTS) return effects // A stream that we gave it cannot be so far ahead.
    if (ahead > 0) {
      // A stream has no holes: octets that nobody else has, never to be sent under.
      if (this.#begun) effects.push(this.#block(randomBytes(ahead * SLOT_BYTES)))
      else this.#nextSlot = message.slot
    }
    if (this.#begun && (ahead > 0 || message.heldSlot < this.#nextSlot))
      effects.push({ kind: 'skip', channel, upToSlot: this.#nextSlot })
    if (!this.#begun) effects.push(this.#append(new Uint8Array(0)))
    effects.push(...this.#goOn(nowMs))
    return effects
  }

  #append(bytes: Uint8Array): Etsi014PairingEffect {
    this.#begun = true
    return this.#block(bytes)
  }

  #block(bytes: Uint8Array): Etsi014PairingEffect {
    const block: KeyBlock = { channel: this.#options.channel, slot: this.#nextSlot, bytes }
    this.#nextSlot += bytes.length / SLOT_BYTES
    return { kind: 'keyBlock', block }
  }

  #letGo({ bytes, keyIds }: Batch): Etsi014PairingEffect {
    bytes.fill(0)
    const { channel } = this.#options
    return { kind: 'event', event: { name: 'etsi014.lost', channel, keys: keyIds.length, bits: 8 * bytes.length } }
  }
}

function idsOf({ batch, keyIds }: Batch): { readonly batch: number; readonly keyIds: readonly string[] } {
  return { batch, keyIds }
}
