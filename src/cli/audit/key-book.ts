import {
  HANDSHAKE_SLOTS,
  HEADER_BYTES,
  type KeyLogLine,
  openAes,
  openAuth,
  openOtp,
  parseKeyLogLine,
  SLOT_BYTES,
  TAG_BYTES,
} from '../../protocol/index.ts'
import type { PlacedFrame } from './place.ts'

/** The key of one channel as a key log has it. */
type ChannelKeys = {
  /** Octets by slot. */
  readonly slots: Map<number, Uint8Array>
  /** r by the Msg-Id at which its epoch begins, rising. */
  readonly epochs: { readonly msgId: number; readonly r: Uint8Array }[]
  /** Slots that the log gives twice with different octets. */
  readonly conflicts: Set<number>
}

const R_BYTES = 16
const AES_SLOTS = 4
const MAC_SLOTS = 4

/** A key log, in memory, to open frames with. */
export class KeyBook {
  readonly records: number
  /** Lines that are no record. */
  readonly badLines: number
  readonly #channels = new Map<number, ChannelKeys>()

  constructor(text: string) {
    const lines = text.split('\n').map(parseKeyLogLine)
    const records = lines.filter((line): line is KeyLogLine => line !== undefined && line !== 'bad')
    this.records = records.length
    this.badLines = lines.filter((line) => line === 'bad').length
    for (const record of records) this.#add(record)
    for (const { epochs } of this.#channels.values()) epochs.sort((a, b) => a.msgId - b.msgId)
  }

  /** Slots of a channel for which the log gives two different keys. */
  conflicts(channel: number): readonly number[] {
    return [...(this.#channels.get(channel)?.conflicts ?? [])]
  }

  /** The lowest slot and Msg-Id that the log has of a channel. */
  begins(channel: number): { readonly slot: number; readonly msgId: number } | undefined {
    const keys = this.#channels.get(channel)
    const msgId = keys?.epochs[0]?.msgId
    if (keys === undefined || msgId === undefined) return undefined
    let slot = Number.POSITIVE_INFINITY
    for (const known of keys.slots.keys()) slot = Math.min(slot, known)
    return { slot, msgId }
  }

  /** Whether the log has key of this channel. */
  has(channel: number): boolean {
    return this.#channels.has(channel)
  }

  /** Whether the frame's tag is right; undefined when the log lacks its key. */
  isTrue({ frame, msgId, eSlot, aSlot }: PlacedFrame): boolean | undefined {
    const { bytes, header } = frame
    const keys = this.#channels.get(header.channel)
    if (keys === undefined) return undefined
    if (header.suite === 'aes') {
      const key = this.#key(keys, eSlot, AES_SLOTS)
      return key && openAes(bytes, { key, channel: header.channel, msgId }) !== undefined
    }
    if (header.command === 'handshake') {
      const key = this.#key(keys, aSlot, HANDSHAKE_SLOTS)
      return key && openAuth(bytes, { r: key.subarray(0, R_BYTES), s: key.subarray(R_BYTES) }) !== undefined
    }
    const r = keys.epochs.findLast((epoch) => epoch.msgId <= msgId)?.r
    const s = this.#key(keys, aSlot, MAC_SLOTS)
    if (r === undefined || s === undefined) return undefined
    if (header.suite === 'auth') return openAuth(bytes, { r, s }) !== undefined
    const pad = this.#key(keys, eSlot, Math.ceil((bytes.length - HEADER_BYTES - TAG_BYTES) / SLOT_BYTES))
    return pad && openOtp(bytes, pad, { r, s }) !== undefined
  }

  #add({ kind, channel, at, octets }: KeyLogLine): void {
    const fresh: ChannelKeys = { slots: new Map(), epochs: [], conflicts: new Set() }
    const keys = this.#channels.get(channel) ?? fresh
    this.#channels.set(channel, keys)
    if (kind === 'R') {
      keys.epochs.push({ msgId: at, r: octets })
      return
    }
    for (let offset = 0; offset < octets.length; offset += SLOT_BYTES) {
      const slot = at + offset / SLOT_BYTES
      const piece = octets.subarray(offset, offset + SLOT_BYTES)
      const known = keys.slots.get(slot)
      if (known !== undefined && Buffer.compare(known, piece) !== 0) keys.conflicts.add(slot)
      keys.slots.set(slot, piece)
    }
  }

  #key({ slots }: ChannelKeys, slot: number, count: number): Uint8Array | undefined {
    const key = new Uint8Array(count * SLOT_BYTES)
    for (let index = 0; index < count; index += 1) {
      const piece = slots.get(slot + index)
      if (piece === undefined) return undefined
      key.set(piece, index * SLOT_BYTES)
    }
    return key
  }
}
