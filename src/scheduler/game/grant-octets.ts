/**
 * Messages of the game as octets, in parts that fit one ASDU each (docs/game.md). Little-endian, as IEC 60870-5 sends numbers.
 *
 * ```
 * octet 0  kind: 1 call, 2 offer, 3 grant, 4 taken      octet 2     number of parts, 1..255
 * octet 1  number of this part, from 0                  octets 3-6  round
 * ```
 * What follows in all parts together is the body. Who speaks to whom is not in it: that is the link's.
 */
import type { ChainState } from '../chain.ts'
import {
  type GrantMessage,
  MAX_OFFER_CHAINS,
  MAX_OFFER_POINTS,
  type OfferAnswers,
  type OfferForm,
} from './grant-messages.ts'
import type { GameOption } from './model.ts'

/** Octets of a part, header included: what an ASDU holds beside its own header and an object address. */
export const GRANT_PART_BYTES = 240
const HEADER_BYTES = 7
const PART_BODY_BYTES = GRANT_PART_BYTES - HEADER_BYTES
const MAX_PARTS = 255
const KINDS = ['call', 'offer', 'grant', 'taken'] as const
const FORMS: readonly OfferForm[] = ['demand', 'points', 'chains']
const POINT_BYTES = 20
const OPTION_BYTES = 33
const MAX_STATES = 5_000

/** The parts of a message, in order. A longer one than `MAX_PARTS` hold, such as an offer of very many chains, has none. */
export function encodeGrantMessage(message: GrantMessage): readonly Uint8Array[] {
  const body = new Writer()
  writeBody(body, message)
  const octets = body.octets()
  const parts = Math.max(1, Math.ceil(octets.length / PART_BODY_BYTES))
  if (parts > MAX_PARTS) return []
  return Array.from({ length: parts }, (_, part) => {
    const slice = octets.subarray(part * PART_BODY_BYTES, (part + 1) * PART_BODY_BYTES)
    const out = new Uint8Array(HEADER_BYTES + slice.length)
    const view = new DataView(out.buffer)
    view.setUint8(0, 1 + KINDS.indexOf(message.kind))
    view.setUint8(1, part)
    view.setUint8(2, parts)
    view.setUint32(3, message.round, true)
    out.set(slice, HEADER_BYTES)
    return out
  })
}

/** What the header of a part says; undefined when it is none. */
export function peekGrantPart(
  part: Uint8Array,
):
  | { readonly kind: GrantMessage['kind']; readonly round: number; readonly part: number; readonly parts: number }
  | undefined {
  if (part.length < HEADER_BYTES || part.length > GRANT_PART_BYTES) return undefined
  const view = new DataView(part.buffer, part.byteOffset, part.byteLength)
  const kind = KINDS[view.getUint8(0) - 1]
  const [number, parts, round] = [view.getUint8(1), view.getUint8(2), view.getUint32(3, true)]
  return kind === undefined || parts === 0 || number >= parts ? undefined : { kind, round, part: number, parts }
}

/** Puts the parts of one speaker's messages together, which come in order; what does not fit is dropped. */
export class GrantAssembler {
  readonly #from: string
  readonly #to: string
  #open: { readonly kind: string; readonly round: number; readonly bodies: Uint8Array[] } | undefined

  /** Agents at the ends: who speaks, and who listens. */
  constructor(from: string, to: string) {
    this.#from = from
    this.#to = to
  }

  /** Takes a part; gives the message that it completes. The octets are hostile. */
  take(octets: Uint8Array): GrantMessage | undefined {
    const head = peekGrantPart(octets)
    if (head === undefined) return undefined
    const { kind, round, part, parts } = head
    if (part === 0) this.#open = { kind, round, bodies: [] }
    const open = this.#open
    if (open === undefined || open.kind !== kind || open.round !== round || open.bodies.length !== part) {
      this.#open = undefined
      return undefined
    }
    open.bodies.push(octets.slice(HEADER_BYTES))
    if (open.bodies.length < parts) return undefined
    this.#open = undefined
    return readBody(new Reader(joined(open.bodies)), { kind, round, from: this.#from, to: this.#to })
  }
}

function writeBody(w: Writer, message: GrantMessage): void {
  switch (message.kind) {
    case 'call':
      w.u8(FORMS.indexOf(message.asks))
      w.f64(message.riskPriceBits)
      w.f64(message.capBits)
      return
    case 'offer': {
      const { demandBps, mostBits, varianceBits2, answers } = message.offer
      for (const value of [demandBps, mostBits, varianceBits2]) w.f64(value)
      writeAnswers(w, answers)
      return
    }
    case 'grant':
      w.f64(message.grantBits)
      w.f64(message.riskPriceBits)
      w.u16(message.states?.length ?? 0)
      for (const state of message.states ?? []) w.u8(state)
      return
    case 'taken':
      w.f64(message.keyBits)
      w.f64(message.varianceBits2)
  }
}

function writeAnswers(w: Writer, answers: OfferAnswers): void {
  w.u8(FORMS.indexOf(answers.form))
  if (answers.form === 'points') {
    w.u16(answers.points.length)
    for (const { keyBits, ownLoss, leaderLoss } of answers.points) {
      w.u32(keyBits)
      w.f64(ownLoss)
      w.f64(leaderLoss)
    }
  } else if (answers.form === 'chains') {
    w.u16(answers.chains.length)
    for (const options of answers.chains) {
      w.u8(options.length)
      for (const { state, meanBits, varianceBits2, ownLoss, leaderLoss } of options) {
        w.u8(state)
        for (const value of [meanBits, varianceBits2, ownLoss, leaderLoss]) w.f64(value)
      }
    }
  }
}

type Head = {
  readonly kind: GrantMessage['kind']
  readonly round: number
  readonly from: string
  readonly to: string
}

/** Undefined for octets that are no body of that kind, to the last one. */
function readBody(r: Reader, { kind, round, from, to }: Head): GrantMessage | undefined {
  const message = ((): GrantMessage | undefined => {
    switch (kind) {
      case 'call': {
        const asks = FORMS[r.u8()]
        return asks && { kind, round, asks, riskPriceBits: r.f64(), capBits: r.f64() }
      }
      case 'offer': {
        const [demandBps, mostBits, varianceBits2] = [r.f64(), r.f64(), r.f64()]
        const answers = readAnswers(r)
        return answers && { kind, round, from, offer: { demandBps, mostBits, varianceBits2, answers } }
      }
      case 'grant': {
        const [grantBits, riskPriceBits, count] = [r.f64(), r.f64(), r.u16()]
        const states = count <= MAX_STATES ? readStates(r, count) : undefined
        if (states === undefined) return undefined
        return { kind, round, to, grantBits, riskPriceBits, ...(count > 0 && { states }) }
      }
      case 'taken':
        return { kind, round, from, keyBits: r.f64(), varianceBits2: r.f64() }
    }
  })()
  return r.isRead && message !== undefined && isSane(message) ? message : undefined
}

/** Offers are checked by the leader; budgets and prices must be numbers that can be reckoned with. */
function isSane(message: GrantMessage): boolean {
  const isAmount = (value: number): boolean => value >= 0 && value <= Number.MAX_SAFE_INTEGER
  switch (message.kind) {
    case 'call':
      return isAmount(message.riskPriceBits) && message.riskPriceBits <= MAX_RISK_PRICE && isAmount(message.capBits)
    case 'grant':
      return isAmount(message.riskPriceBits) && message.riskPriceBits <= MAX_RISK_PRICE && isAmount(message.grantBits)
    case 'offer':
    case 'taken':
      return true
  }
}

/** z / 2a with a spread of at least one bit: far below this. */
const MAX_RISK_PRICE = 10

function readAnswers(r: Reader): OfferAnswers | undefined {
  const form = FORMS[r.u8()]
  if (form === 'demand') return { form }
  const count = r.u16()
  if (form === 'points') {
    if (count > MAX_OFFER_POINTS || r.leftBytes !== count * POINT_BYTES) return undefined
    const points = Array.from({ length: count }, () => ({ keyBits: r.u32(), ownLoss: r.f64(), leaderLoss: r.f64() }))
    return { form, points }
  }
  if (form === undefined || count > MAX_OFFER_CHAINS) return undefined
  const chains: GameOption[][] = []
  for (let l = 0; l < count; l++) {
    const options = r.u8()
    if (r.leftBytes < options * OPTION_BYTES) return undefined
    const chain: GameOption[] = []
    for (let o = 0; o < options; o++) {
      const state = stateOf(r.u8())
      const [meanBits, varianceBits2, ownLoss, leaderLoss] = [r.f64(), r.f64(), r.f64(), r.f64()]
      if (state === undefined) return undefined
      chain.push({ state, path: 0, meanBits, varianceBits2, ownLoss, leaderLoss })
    }
    chains.push(chain)
  }
  return { form, chains }
}

function readStates(r: Reader, count: number): readonly ChainState[] | undefined {
  if (r.leftBytes !== count) return undefined
  const states = Array.from({ length: count }, () => stateOf(r.u8()))
  return states.some((state) => state === undefined) ? undefined : states.flatMap((state) => state ?? [])
}

function stateOf(octet: number): ChainState | undefined {
  return octet === 0 || octet === 1 || octet === 2 ? octet : undefined
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Octets in order; grows as needed. */
class Writer {
  #view = new DataView(new ArrayBuffer(256))
  #at = 0

  u8(value: number): void {
    const at = this.#take(1)
    this.#view.setUint8(at, value)
  }

  u16(value: number): void {
    const at = this.#take(2)
    this.#view.setUint16(at, value, true)
  }

  u32(value: number): void {
    const at = this.#take(4)
    this.#view.setUint32(at, value, true)
  }

  f64(value: number): void {
    const at = this.#take(8)
    this.#view.setFloat64(at, value, true)
  }

  octets(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#at)
  }

  #take(sizeBytes: number): number {
    const at = this.#at
    this.#at += sizeBytes
    if (this.#at > this.#view.byteLength) {
      const larger = new Uint8Array(2 * this.#at)
      larger.set(new Uint8Array(this.#view.buffer))
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

/** Reads past the end give 0 and are remembered. */
class Reader {
  readonly #view: DataView
  #at = 0

  constructor(octets: Uint8Array) {
    this.#view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
  }

  get leftBytes(): number {
    return this.#view.byteLength - this.#at
  }

  /** Everything was read, and nothing beyond. */
  get isRead(): boolean {
    return this.leftBytes === 0
  }

  u8(): number {
    const at = this.#take(1)
    return at === undefined ? 0 : this.#view.getUint8(at)
  }

  u16(): number {
    const at = this.#take(2)
    return at === undefined ? 0 : this.#view.getUint16(at, true)
  }

  u32(): number {
    const at = this.#take(4)
    return at === undefined ? 0 : this.#view.getUint32(at, true)
  }

  f64(): number {
    const at = this.#take(8)
    return at === undefined ? 0 : this.#view.getFloat64(at, true)
  }

  #take(sizeBytes: number): number | undefined {
    const at = this.#at
    this.#at += sizeBytes
    return this.#at > this.#view.byteLength ? undefined : at
  }
}
