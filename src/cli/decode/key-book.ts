import { parseKeyLogLine, SLOT_BYTES } from '../../protocol/index.ts'

/** Why there is no key: the log has none, or has two that differ. */
export type NoKey = 'missing' | 'contradiction'
export type Epoch = { readonly msgId: number; readonly r: Uint8Array | 'contradiction' }

/** What a slot holds whose key is told twice, and not the same. */
const CONTRADICTION = -1

/** The keys of a run as its key log tells them. Both ends of a channel log what they use, so most is told twice. */
export class KeyBook {
  /** Lines that are no record. */
  badLines = 0
  /** By channel and slot: the four octets as a number. */
  readonly #slots = new Map<number, Map<number, number>>()
  /** By channel and Msg-Id. */
  readonly #epochs = new Map<number, Map<number, Epoch>>()
  /** The same by channel, in order of their Msg-Id: made when it is asked for. */
  #inOrder = new Map<number, readonly Epoch[]>()

  /** Takes a line of a key log. */
  take(line: string): void {
    const record = parseKeyLogLine(line)
    if (record === 'bad') this.badLines += 1
    else if (record?.kind === 'R') this.#takeEpoch(record.channel, record.at, record.octets)
    else if (record?.kind === 'K') this.#takeKey(record.channel, record.at, record.octets)
  }

  /** Key of a run of slots. */
  key(channel: number, slot: number, count: number): Uint8Array | NoKey {
    const slots = this.#slots.get(channel)
    const octets = new Uint8Array(count * SLOT_BYTES)
    const view = new DataView(octets.buffer)
    let contradicts = false
    for (let index = 0; index < count; index += 1) {
      const key = slots?.get(slot + index)
      if (key === undefined) return 'missing'
      contradicts ||= key === CONTRADICTION
      view.setUint32(index * SLOT_BYTES, key)
    }
    return contradicts ? 'contradiction' : octets
  }

  /** Epoch that a message belongs to. */
  epoch(channel: number, msgId: number): Epoch | undefined {
    return this.#epochsOf(channel).findLast((epoch) => epoch.msgId <= msgId)
  }

  /** A Msg-Id and a slot of the channel, for 64-bit numbers to be rebuilt near to; 0 when the log has nothing of it. */
  near(channel: number): { readonly msgId: number; readonly slot: number } {
    const [slot = 0] = this.#slots.get(channel)?.keys() ?? []
    return { msgId: this.#epochsOf(channel)[0]?.msgId ?? 0, slot }
  }

  #epochsOf(channel: number): readonly Epoch[] {
    const known = this.#inOrder.get(channel)
    if (known !== undefined) return known
    const epochs = [...(this.#epochs.get(channel)?.values() ?? [])].sort((a, b) => a.msgId - b.msgId)
    this.#inOrder.set(channel, epochs)
    return epochs
  }

  #takeEpoch(channel: number, msgId: number, r: Uint8Array): void {
    const epochs = this.#epochs.get(channel) ?? new Map<number, Epoch>()
    this.#epochs.set(channel, epochs)
    const known = epochs.get(msgId)?.r
    const agrees = known === undefined || (known !== 'contradiction' && Buffer.compare(known, r) === 0)
    epochs.set(msgId, { msgId, r: agrees ? r : 'contradiction' })
    this.#inOrder.delete(channel)
  }

  #takeKey(channel: number, slot: number, octets: Uint8Array): void {
    const slots = this.#slots.get(channel) ?? new Map<number, number>()
    this.#slots.set(channel, slots)
    const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
    for (let index = 0; index < octets.length / SLOT_BYTES; index += 1) {
      const key = view.getUint32(index * SLOT_BYTES)
      const known = slots.get(slot + index)
      slots.set(slot + index, known === undefined || known === key ? key : CONTRADICTION)
    }
  }
}
