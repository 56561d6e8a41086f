import type { KeyBlock, LabEvent, Node, Wake } from '../runtime/contract.ts'
import type { Etsi014Key } from './etsi014-messages.ts'
import { type Mac, readPairingMessage, SESSION_BYTES, sameOctets } from './etsi014-pairing-message.ts'
import { PairingReceiver } from './etsi014-pairing-receiver.ts'
import { PairingSender } from './etsi014-pairing-sender.ts'

export type Etsi014PairingOptions = {
  /** The link; this end sends on channel 2 x link + `side`. */
  readonly link: number
  readonly side: 0 | 1
  /** Where this end's two streams go on: above all that its ledgers have reserved or seen used. Default 0. */
  readonly txStartSlot?: number
  readonly rxStartSlot?: number
  /** Size of the keys asked for: a multiple of 32 bits that the manager allows. */
  readonly keySizeBits: number
  /** Keys in a batch; default 24, which fit a datagram with UUIDs. */
  readonly batchKeys?: number
  /** A tag of 32 octets over a message, with a secret of this link that both ends hold (HMAC-SHA-256). */
  readonly mac: Mac
  readonly randomBytes: (length: number) => Uint8Array
  /** First wait before a message or a call is repeated, doubled up to 10 s; default 500 ms. */
  readonly retryMs?: number
}

export type Etsi014PairingInput =
  /** Greets the twin. */
  | { readonly kind: 'start' }
  /** This end's stream is to reach `upToSlot`: what `fetchKeys` of the secure link asks for. Idempotent. */
  | { readonly kind: 'want'; readonly upToSlot: number }
  /** From the twin; hostile until its tag verifies. */
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  /** The answer to the call of this number. The keys become the pairing's. */
  | { readonly kind: 'keys'; readonly call: number; readonly keys: readonly Etsi014Key[] }
  /** The call failed; `isFinal` if trying again cannot help (400, 401, a malformed answer). */
  | { readonly kind: 'failed'; readonly call: number; readonly isFinal: boolean }

export type Etsi014PairingEffect =
  /** Call `enc_keys` for the twin's SAE. */
  | { readonly kind: 'encKeys'; readonly call: number; readonly number: number; readonly sizeBits: number }
  /** Call `dec_keys` for the twin's SAE. */
  | { readonly kind: 'decKeys'; readonly call: number; readonly keyIds: readonly string[] }
  /** To the twin. May be lost, repeated or reordered on the way. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** The stream goes on; the octets are the callee's. The first of the own channel has none: it says where it goes on. */
  | { readonly kind: 'keyBlock'; readonly block: KeyBlock }
  /** The twin was started again: it has lost its copy of the stream below `upToSlot`, so nothing there is of use. */
  | { readonly kind: 'skip'; readonly channel: number; readonly upToSlot: number }
  | { readonly kind: 'event'; readonly event: LabEvent }

/**
 * One end of a link whose two ends fetch their key each from its own ETSI 014 key manager, as on real QKD equipment.
 *
 * For each direction, the sender's end gets keys by `enc_keys` and tells the twin their key_IDs; the twin gets the same keys
 * by `dec_keys`, appends them to its copy of the channel's stream, and says so; then the sender appends them to its own. One
 * batch is under way at a time. So a key is in the sender's stream only if it is in the receiver's, at the same slot, and it
 * is at no second slot, whatever is lost, repeated, delayed, forged or started again:
 *
 * - a receiver takes offers only of the session that it made last and that the sender has answered, each batch once;
 * - a batch that a manager cannot deliver is let go by both, and its slots are given to the next one;
 * - an end that is started again goes on above its ledger and above its twin's stream.
 *
 * Nothing shows here if the two managers give different keys under one key_ID: comparing them would spend key. Every frame
 * would then fail at the receiver.
 */
export class Etsi014Pairing implements Node<Etsi014PairingInput, Etsi014PairingEffect> {
  readonly #mac: Mac
  readonly #sender: PairingSender
  readonly #receiver: PairingReceiver
  /** Of the twin's process, as its newest hello says. */
  #twinLife: Uint8Array | undefined
  #calls = 0

  /** Throws a RangeError if a size is not usable. */
  constructor(options: Etsi014PairingOptions) {
    const { link, side, keySizeBits, mac, randomBytes, batchKeys = 24, retryMs = 500 } = options
    const fits = keySizeBits > 0 && keySizeBits % 32 === 0 && batchKeys >= 1 && batchKeys <= 128 && retryMs > 0
    if (!fits) throw new RangeError(`BAD_PAIRING_OPTIONS of link ${link}`)
    this.#mac = mac
    const life = randomBytes(SESSION_BYTES)
    const common = { life, mac, randomBytes, retryMs, newCall: () => ++this.#calls }
    const [tx, rx] = [2 * link + side, 2 * link + 1 - side]
    const sizes = { keyBytes: keySizeBits / 8, batchKeys }
    this.#sender = new PairingSender({ ...common, ...sizes, channel: tx, startSlot: options.txStartSlot ?? 0 })
    this.#receiver = new PairingReceiver({ ...common, channel: rx, startSlot: options.rxStartSlot ?? 0 })
  }

  get wakeAtMs(): number | undefined {
    const times = [this.#sender.wakeAtMs, this.#receiver.wakeAtMs].filter((time) => time !== undefined)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  handle(input: Etsi014PairingInput | Wake, nowMs: number): readonly Etsi014PairingEffect[] {
    switch (input.kind) {
      case 'start':
        return this.#sender.start(nowMs)
      case 'want':
        return this.#sender.want(input.upToSlot, nowMs)
      case 'message': {
        const message = readPairingMessage(input.bytes, this.#mac)
        if (message === undefined) return []
        const effects = [...this.#sender.take(message, nowMs), ...this.#receiver.take(message, nowMs)]
        return message.kind === 'hello' ? [...effects, ...this.#heard(message.life, nowMs)] : effects
      }
      case 'keys': {
        const effects = this.#sender.keys(input, nowMs) ?? this.#receiver.keys(input)
        if (effects === undefined) for (const key of input.keys) key.wipe()
        return effects ?? []
      }
      case 'failed':
        return this.#sender.failed(input, nowMs) ?? this.#receiver.failed(input, nowMs) ?? []
      case 'wake':
        return [...this.#sender.wake(nowMs), ...this.#receiver.wake(nowMs)]
    }
  }

  #heard(life: Uint8Array, nowMs: number): readonly Etsi014PairingEffect[] {
    const known = this.#twinLife
    this.#twinLife = life
    return known === undefined || sameOctets(known, life) ? [] : this.#sender.twinBeganAnew(nowMs)
  }
}
