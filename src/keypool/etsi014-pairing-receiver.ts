import { joinKeys } from './etsi014-messages.ts'
import type { Etsi014PairingEffect, Etsi014PairingInput } from './etsi014-pairing.ts'
import { type PairingMessage, SESSION_BYTES, sameOctets, writePairingMessage } from './etsi014-pairing-message.ts'
import { MAX_HOLE_SLOTS, type PairingSideOptions, Retry } from './etsi014-pairing-sender.ts'
import { isSlot, MAX_WANT_SLOTS, SLOT_BYTES } from './pool-options.ts'

type Effects = readonly Etsi014PairingEffect[]
type Offer = PairingMessage & { readonly kind: 'offer' }
/** The batch taken last. `call` is the `dec_keys` under way, undefined while it waits to be tried again. */
type Last = { readonly offer: Offer; call: number | undefined; outcome: 'open' | 'have' | 'lost' }
type Session = { readonly octets: Uint8Array; last: Last | undefined }

/** The end that follows: it fetches what it is offered, `dec_keys`, appends it, and says so. */
export class PairingReceiver {
  readonly #options: PairingSideOptions
  readonly #retry: Retry
  #nextSlot: number
  /** Whether a block of this process's stream was handed over. */
  #begun = false
  #session: Session | undefined
  /** Given for the newest hello; it counts once an offer shows that the sender of today has it. */
  #candidate: { readonly nonce: Uint8Array; readonly octets: Uint8Array } | undefined

  constructor(options: PairingSideOptions) {
    this.#options = options
    this.#nextSlot = options.startSlot
    this.#retry = new Retry(options.retryMs)
  }

  get wakeAtMs(): number | undefined {
    return this.#retry.wakeAtMs
  }

  take(message: PairingMessage, nowMs: number): Effects {
    if (message.channel !== this.#options.channel) return []
    if (message.kind === 'hello') return this.#hello(message)
    return message.kind === 'offer' ? this.#offer(message, nowMs) : []
  }

  /** Undefined if the call is not one of this side. */
  keys({ call, keys }: Etsi014PairingInput & { kind: 'keys' }): Effects | undefined {
    const last = this.#session?.last
    if (last === undefined || last.call !== call) return undefined
    const { offer } = last
    const fits = keys.every(({ keyId, bytes }, index) => {
      return bytes.length === offer.keyBytes && keyId.toLowerCase() === offer.keyIds[index]?.toLowerCase()
    })
    last.call = undefined
    this.#retry.end()
    if (!fits || keys.length !== offer.keyIds.length) {
      for (const key of keys) key.wipe()
      last.outcome = 'lost'
      return this.#answer(last)
    }
    last.outcome = 'have'
    const effects = [...this.#fillTo(offer.slot)]
    const block = { channel: offer.channel, slot: offer.slot, bytes: joinKeys(keys) }
    this.#nextSlot = offer.slot + block.bytes.length / SLOT_BYTES
    this.#begun = true
    return [...effects, { kind: 'keyBlock', block }, ...this.#answer(last)]
  }

  failed({ call, isFinal }: Etsi014PairingInput & { kind: 'failed' }, nowMs: number): Effects | undefined {
    const last = this.#session?.last
    if (last === undefined || last.call !== call) return undefined
    last.call = undefined
    if (!isFinal) {
      this.#retry.again(nowMs)
      return []
    }
    this.#retry.end()
    last.outcome = 'lost'
    return this.#answer(last)
  }

  wake(nowMs: number): Effects {
    if (this.#retry.wakeAtMs === undefined || nowMs < this.#retry.wakeAtMs) return []
    this.#retry.wakeAtMs = undefined
    const last = this.#session?.last
    return last?.outcome === 'open' && last.call === undefined ? this.#fetch(last) : []
  }

  /** A hello changes nothing that is under way: an old one, sent again by a stranger, gets a session nobody uses. */
  #hello({ session: nonce, channel }: PairingMessage & { kind: 'hello' }): Effects {
    if (this.#candidate === undefined || !sameOctets(this.#candidate.nonce, nonce)) {
      this.#candidate = { nonce, octets: this.#options.randomBytes(SESSION_BYTES) }
    }
    const newSession = this.#candidate.octets
    const heldSlot = this.#begun ? this.#nextSlot : 0
    return this.#send({ kind: 'welcome', channel, session: nonce, slot: this.#nextSlot, newSession, heldSlot })
  }

  #offer(offer: Offer, nowMs: number): Effects {
    const { channel } = offer
    const isCandidate = this.#candidate !== undefined && sameOctets(offer.session, this.#candidate.octets)
    const isCurrent = this.#session !== undefined && sameOctets(offer.session, this.#session.octets)
    if (!isCandidate && !isCurrent) return this.#send({ kind: 'unknown', channel, session: offer.session })
    if (isCandidate) this.#candidate = undefined
    if (isCandidate && !isCurrent) {
      this.#session = { octets: offer.session, last: undefined }
      this.#retry.end()
    }
    const session = this.#session
    const last = session?.last
    if (session === undefined || (last !== undefined && offer.batch < last.offer.batch)) return []
    if (last?.offer.batch === offer.batch) return last.outcome === 'open' ? [] : this.#answer(last)
    if (last?.outcome === 'open' || !this.#isSound(offer)) return []
    if (offer.slot < this.#nextSlot) {
      // Our stream went on while the session was made: it has to be made again.
      this.#session = undefined
      return this.#send({ kind: 'unknown', channel, session: offer.session })
    }
    this.#retry.begin(nowMs)
    session.last = { offer, call: undefined, outcome: 'open' }
    return this.#fetch(session.last)
  }

  /** Whether an offer, though from the twin, keeps to the rules. */
  #isSound({ slot, keyBytes, keyIds }: Offer): boolean {
    const slots = (keyBytes * keyIds.length) / SLOT_BYTES
    if (keyBytes % SLOT_BYTES !== 0 || keyBytes === 0 || slots > MAX_WANT_SLOTS || !isSlot(slot)) return false
    return !this.#begun || slot - this.#nextSlot <= MAX_HOLE_SLOTS
  }

  #fetch(last: Last): Effects {
    last.call = this.#options.newCall()
    this.#retry.wakeAtMs = undefined
    return [{ kind: 'decKeys', call: last.call, keyIds: last.offer.keyIds }]
  }

  /** A sender that was started again may go on beyond our copy: octets that nobody else has fill the hole. */
  #fillTo(slot: number): Effects {
    if (!this.#begun || slot <= this.#nextSlot) return []
    const bytes = this.#options.randomBytes((slot - this.#nextSlot) * SLOT_BYTES)
    return [{ kind: 'keyBlock', block: { channel: this.#options.channel, slot: this.#nextSlot, bytes } }]
  }

  #answer({ offer, outcome }: Last): Effects {
    if (outcome === 'open') return []
    return this.#send({ kind: outcome, channel: offer.channel, session: offer.session, batch: offer.batch })
  }

  #send(message: PairingMessage): Effects {
    return [{ kind: 'send', bytes: writePairingMessage(message, this.#options.mac) }]
  }
}
