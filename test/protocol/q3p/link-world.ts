/** Two ends of a link, a key server and a faulty network in virtual time, with a record of all that happened. */
import {
  type ChannelMark,
  LINK_DEFAULTS,
  type LinkMessage,
  parseHeader,
  SecureLink,
  type SecureLinkEffect,
  type SecureLinkInput,
  type SecureLinkOptions,
} from '../../../src/protocol/index.ts'

export type End = 0 | 1
const ENDS: readonly End[] = [0, 1]

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export type Faults = {
  readonly delayMs: number
  /** Extra delay, uniform: reorders. */
  readonly jitterMs: number
  readonly lossRatio: number
  readonly duplicateRatio: number
  readonly corruptRatio: number
  /** Time at which a datagram is lost for sure. */
  readonly isOut?: (nowMs: number, from: End) => boolean
}
export const CLEAN: Faults = { delayMs: 5, jitterMs: 0, lossRatio: 0, duplicateRatio: 0, corruptRatio: 0 }

export type WorldOptions = {
  readonly seed: number
  readonly faults: Faults
  readonly link?: Partial<SecureLinkOptions>
  /** Slots that the key server may hand out a channel. */
  readonly keyBudgetSlots?: number
  /** Both ends keep a ledger; a mark is durable so much later, ms. */
  readonly ledgerMs?: number
  /** How much later than the sender the receiver gets a block, ms. */
  readonly keySkewMs?: number
}

type Timed<T> = T & { readonly atMs: number }
type Event = { readonly atMs: number; readonly order: number; readonly end: End; readonly input: SecureLinkInput }

export class LinkWorld {
  readonly links: [SecureLink, SecureLink]
  readonly effects: readonly [Timed<SecureLinkEffect>[], Timed<SecureLinkEffect>[]] = [[], []]
  /** Every distinct datagram that was sent, in hex, by the time of its first transmission. */
  readonly sealed = new Map<string, number>()
  datagrams = 0
  nowMs = 0
  faults: Faults
  keyBudgetSlots: number
  readonly #random: () => number
  readonly #keySkewMs: number
  readonly #keys: readonly (() => number)[]
  readonly #keyLength = [0, 0]
  /** All key handed out, by channel. */
  readonly #keyOctets: readonly [number[], number[]] = [[], []]
  readonly #asked = [0, 0]
  readonly #make: (end: End) => SecureLink
  readonly #ledgerMs: number | undefined
  /** What the ledgers hold, by end. */
  readonly marks: readonly [Map<string, ChannelMark>, Map<string, ChannelMark>] = [new Map(), new Map()]
  #events: Event[] = []
  #order = 0

  constructor({ seed, faults, link, keyBudgetSlots, keySkewMs, ledgerMs }: WorldOptions) {
    this.#ledgerMs = ledgerMs
    this.faults = faults
    this.keyBudgetSlots = keyBudgetSlots ?? Number.POSITIVE_INFINITY
    this.#keySkewMs = keySkewMs ?? 0
    this.#random = random(seed)
    this.#keys = [random(seed + 1000), random(seed + 2000)]
    this.#make = (end) => {
      const epoch = 1_700_000_000_000 + Math.floor(this.nowMs)
      return new SecureLink({ ...LINK_DEFAULTS, link: 0, end, epoch, ...link })
    }
    this.links = [this.#make(0), this.#make(1)]
  }

  open(): void {
    for (const end of ENDS) this.openEnd(end)
  }

  openEnd(end: End): void {
    const marks = [...this.marks[end].values()]
    this.input(end, this.#ledgerMs === undefined ? { kind: 'open' } : { kind: 'open', marks })
  }

  close(): void {
    for (const end of ENDS) this.input(end, { kind: 'close' })
  }

  send(end: End, message: LinkMessage): void {
    this.input(end, { kind: 'message', message })
  }

  /** Runs until `untilMs`, jumping from event to event. */
  run(untilMs: number): void {
    for (;;) {
      const event = this.#events[0]
      const wakes = ENDS.map((end) => this.links[end].wakeAtMs ?? Number.POSITIVE_INFINITY)
      const nextMs = Math.min(event?.atMs ?? Number.POSITIVE_INFINITY, ...wakes)
      if (nextMs > untilMs) break
      if (nextMs > this.nowMs) this.nowMs = nextMs
      if (event !== undefined && event.atMs <= nextMs) {
        this.#events.shift()
        this.input(event.end, event.input)
      } else {
        this.#carryOut((wakes[0] ?? 0) <= nextMs ? 0 : 1, { kind: 'wake' })
      }
    }
    this.nowMs = untilMs
  }

  input(end: End, input: SecureLinkInput): void {
    this.#carryOut(end, input)
  }

  /** Effects of one kind at one end. */
  of<K extends SecureLinkEffect['kind']>(end: End, kind: K): readonly Timed<Extract<SecureLinkEffect, { kind: K }>>[] {
    return this.effects[end].flatMap((effect) =>
      effect.kind === kind ? [effect as Timed<Extract<SecureLinkEffect, { kind: K }>>] : [],
    )
  }

  /** Schedules an input. */
  at(atMs: number, end: End, input: SecureLinkInput): void {
    this.#order += 1
    const event = { atMs, order: this.#order, end, input }
    let index = this.#events.length
    while (index > 0 && (this.#events[index - 1]?.atMs ?? 0) > atMs) index -= 1
    this.#events.splice(index, 0, event)
  }

  /** Nothing is scheduled and nobody wants to wake. */
  get isQuiet(): boolean {
    return this.#events.length === 0 && this.links.every(({ wakeAtMs }) => wakeAtMs === undefined)
  }

  /** Hands out what was asked for, as far as the budget reaches. */
  supply(): void {
    for (const channel of ENDS) this.#supply(channel)
  }

  /**
   * One end's process dies and starts anew. The key server lets its sending stream go on behind all that it has handed
   * out, and hands it again what the peer has not used; or, with `hasForgotten`, nothing.
   */
  restart(end: End, hasForgotten = false): void {
    const peer: End = end === 0 ? 1 : 0
    this.links[end] = this.#make(end)
    this.#events = this.#events.filter(({ end: to, input: { kind } }) => to !== end || kind === 'message')
    const usedSlots = hasForgotten ? (this.#keyLength[peer] ?? 0) : this.links[peer].books()[0].usedSlots
    const unused = Uint8Array.from(this.#keyOctets[peer].slice(4 * usedSlots))
    const nothing = new Uint8Array(0)
    if (this.#ledgerMs !== undefined) this.openEnd(end)
    this.input(end, { kind: 'keyBlock', block: { channel: end, slot: this.#keyLength[end] ?? 0, bytes: nothing } })
    this.input(end, { kind: 'keyBlock', block: { channel: peer, slot: usedSlots, bytes: unused } })
    this.input(end, { kind: 'open' })
  }

  #carryOut(end: End, input: SecureLinkInput | { readonly kind: 'wake' }): void {
    for (const effect of this.links[end].handle(input, this.nowMs)) {
      this.effects[end].push({ ...effect, atMs: this.nowMs })
      if (effect.kind === 'send') this.#transmit(end, effect.bytes)
      if (effect.kind === 'reserve') this.#reserve(end, effect.mark)
      if (effect.kind === 'fetchKeys') {
        const channel = effect.channel === 0 ? 0 : 1
        this.#asked[channel] = Math.max(this.#asked[channel] ?? 0, effect.upToSlot)
        this.#supply(channel)
      }
    }
  }

  #reserve(end: End, mark: ChannelMark): void {
    this.marks[end].set(`${mark.channel} ${mark.side}`, mark)
    this.at(this.nowMs + (this.#ledgerMs ?? 0), end, { kind: 'reserved', mark })
  }

  #supply(channel: End): void {
    const from = this.#keyLength[channel] ?? 0
    const upTo = Math.min(this.#asked[channel] ?? 0, this.keyBudgetSlots)
    if (upTo <= from) return
    this.#keyLength[channel] = upTo
    const octet = (): number => Math.floor((this.#keys[channel]?.() ?? 0) * 256)
    const bytes = Uint8Array.from({ length: 4 * (upTo - from) }, octet)
    this.#keyOctets[channel].push(...bytes)
    for (const end of ENDS) {
      const skewMs = end === channel ? 0 : this.#keySkewMs
      this.at(this.nowMs + 3 + skewMs, end, { kind: 'keyBlock', block: { channel, slot: from, bytes } })
    }
  }

  #transmit(from: End, bytes: Uint8Array): void {
    const hex = Buffer.from(bytes).toString('hex')
    if (!this.sealed.has(hex)) this.sealed.set(hex, this.nowMs)
    this.datagrams += 1
    const { delayMs, jitterMs, lossRatio, duplicateRatio, corruptRatio, isOut } = this.faults
    const copies = this.#random() < duplicateRatio ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#random() < lossRatio || isOut?.(this.nowMs, from)) continue
      const arrived = bytes.slice()
      if (this.#random() < corruptRatio) {
        const bit = Math.floor(this.#random() * arrived.length * 8)
        arrived[bit >> 3] = (arrived[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      }
      this.at(this.nowMs + delayMs + this.#random() * jitterMs, from === 0 ? 1 : 0, {
        kind: 'datagram',
        bytes: arrived,
      })
    }
  }
}

/** Key slots that two different sealed frames share, and AES keys used twice with one Msg-Id. */
export function keyReuse(sealed: Iterable<string>): readonly string[] {
  const owners = new Map<string, string>()
  const faults: string[] = []
  const claim = (what: string, owner: string): void => {
    const known = owners.get(what)
    if (known !== undefined && known !== owner) faults.push(`${what}: ${known} and ${owner}`)
    owners.set(what, owner)
  }
  for (const hex of sealed) {
    const datagram = Buffer.from(hex, 'hex')
    const header = parseHeader(datagram)
    if ('drop' in header) throw new Error(`sealed a bad header: ${header.drop}`)
    const { channel, suite, command, msgId, eKeyId, aKeyId } = header
    const claimSlots = (slot: number, slots: number, owner: string): void => {
      for (let index = slot; index < slot + slots; index += 1) claim(`channel ${channel} slot ${index}`, owner)
    }
    claim(`channel ${channel} message ${msgId}`, hex)
    if (suite === 'aes') claimSlots(eKeyId, 4, `AES key ${eKeyId}`)
    else claimSlots(aKeyId, command === 'handshake' ? 8 : 4, hex)
    if (suite === 'otp') claimSlots(eKeyId, Math.ceil((datagram.length - 36) / 4), hex)
  }
  return faults
}

/** A test ASDU of `sizeBytes` that begins with its number. */
export function testAsdu(id: number, sizeBytes: number): Uint8Array {
  const asdu = new Uint8Array(sizeBytes).fill(id & 0xff)
  new DataView(asdu.buffer).setUint32(0, id)
  return asdu
}

export function idOf(asdu: Uint8Array): number {
  return new DataView(asdu.buffer, asdu.byteOffset).getUint32(0)
}
