/** What must hold of a link whatever happens to it, checked frame by frame without trust in the code under test. */
import { type ChannelMark, parseHeader, rebuildCounter, type SecureLink } from '../../../src/protocol/index.ts'
import { type End, idOf, testAsdu } from './link-world.ts'

/** Frames that are remembered octet for octet, to know a retransmission by. */
const REMEMBERED_FRAMES = 4096
const MAX_FAULTS = 20

/** A message's octets follow from its number. */
export function asduOf(id: number): Uint8Array {
  return testAsdu(id, 15 + ((id * 7) % 40))
}

/** One life of one end's sender. */
export type SenderLife = {
  readonly end: End
  readonly life: number
  /** Where its stream began; undefined before the first block. */
  baseSlot: number | undefined
  /** Slots in the frames it sealed. */
  sealedSlots: number
}

/** One direction of the link over all lives of its ends. */
type Direction = {
  highMsgId: number
  highSlot: number
  aes: { readonly slot: number; readonly life: number }
  readonly frames: Map<number, Uint8Array>
  readonly accepted: Set<number>
  /** By message id: its place in the order of sealing. */
  readonly sealOrder: number[]
  seals: number
  lastDelivered: number
}

export class SoakChecks {
  readonly faults: string[] = []
  sealed = 0
  delivered = 0
  usedSlots = 0
  discardedSlots = 0
  readonly #directions: readonly [Direction, Direction] = [newDirection(), newDirection()]
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  fault(text: string): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push(`${this.#nowMs().toFixed(3)} ms: ${text}`)
  }

  /** A message was sealed for the first time. */
  messageSealed(from: End, id: number): void {
    const direction = this.#directions[from]
    direction.seals += 1
    direction.sealOrder[id] = direction.seals
  }

  /** An end sent a datagram; `mark` is what its disk would give back after a loss of power now. */
  sent(sender: SenderLife, bytes: Uint8Array, mark: Pick<ChannelMark, 'slots' | 'msgIds'>): void {
    const { end } = sender
    const direction = this.#directions[end]
    const header = parseHeader(bytes)
    if ('drop' in header || header.channel !== end) {
      this.fault('sealed a datagram with a bad header')
      return
    }
    const msgId = rebuildCounter(header.msgId, direction.highMsgId)
    if (msgId <= direction.highMsgId) {
      if (direction.frames.get(msgId) !== bytes) this.fault(`channel ${end} message ${msgId} sealed twice`)
      return
    }
    this.sealed += 1
    direction.highMsgId = msgId
    direction.frames.set(msgId, bytes)
    for (const oldest of direction.frames.keys()) {
      if (direction.frames.size <= REMEMBERED_FRAMES) break
      direction.frames.delete(oldest)
    }
    this.#slots(sender, direction, header, bytes.length)
    if (msgId >= mark.msgIds || direction.highSlot > mark.slots) {
      this.fault(`channel ${end} message ${msgId} slot ${direction.highSlot} beyond ${JSON.stringify(mark)}`)
    }
  }

  /** An end accepted a datagram as it came. */
  accepted(from: End, bytes: Uint8Array): void {
    const direction = this.#directions[from]
    const header = parseHeader(bytes)
    if ('drop' in header) return
    const msgId = rebuildCounter(header.msgId, direction.highMsgId)
    if (direction.accepted.has(msgId)) this.fault(`channel ${from} message ${msgId} accepted twice`)
    direction.accepted.add(msgId)
  }

  /** An end handed an ASDU of `from` on. */
  asduDelivered(from: End, asdu: Uint8Array): void {
    this.delivered += 1
    const direction = this.#directions[from]
    const id = idOf(asdu)
    const order = direction.sealOrder[id]
    if (order === undefined) this.fault(`message ${id} was delivered and never sent`)
    else if (order <= direction.lastDelivered) this.fault(`message ${id} was delivered twice or out of order`)
    else direction.lastDelivered = order
    const expected = asduOf(id)
    if (asdu.length !== expected.length || asdu.some((octet, index) => octet !== expected[index])) {
      this.fault(`message ${id} was changed on its way`)
    }
  }

  /** A life is over. To the slot: what it used of its stream is in sealed frames or was discarded. */
  closeBooks({ end, baseSlot, sealedSlots }: SenderLife, link: SecureLink): void {
    if (baseSlot === undefined) return
    const { usedSlots, discardedSlots = 0 } = link.books()[0]
    this.discardedSlots += discardedSlots
    if (usedSlots === baseSlot + sealedSlots + discardedSlots) return
    this.fault(`end ${end}: used ${usedSlots} is not ${baseSlot} + ${sealedSlots} + ${discardedSlots} discarded`)
  }

  /** After an end in order both ends agree about both streams. */
  booksAgree(a: SecureLink, b: SecureLink): void {
    const [[aTx, aRx], [bTx, bRx]] = [a.books(), b.books()]
    const used = [aTx, bRx, bTx, aRx].map(({ usedSlots }) => usedSlots)
    if (used[0] !== used[1] || used[2] !== used[3]) this.fault(`the ends' books differ: ${used.join(' ')}`)
  }

  /** Slots are taken in order, so a fresh run of them begins behind all that went before. */
  #slots(
    sender: SenderLife,
    direction: Direction,
    header: Exclude<ReturnType<typeof parseHeader>, { drop: unknown }>,
    sizeBytes: number,
  ): void {
    const { suite, command, eKeyId, aKeyId } = header
    const slotOf = (keyId: number): number => rebuildCounter(keyId, direction.highSlot)
    let [slot, slots] = [slotOf(aKeyId), command === 'handshake' ? 8 : 4]
    if (suite === 'otp') {
      slot = slotOf(eKeyId)
      slots = Math.ceil((sizeBytes - 36) / 4) + 4
      if (slotOf(aKeyId) !== slot + slots - 4) this.fault(`channel ${sender.end}: s is not behind the pad`)
    } else if (suite === 'aes') {
      slot = slotOf(eKeyId)
      if (slot === direction.aes.slot && sender.life === direction.aes.life) return
      direction.aes = { slot, life: sender.life }
    }
    if (slot < direction.highSlot) {
      this.fault(`channel ${sender.end} slot ${slot} used again: all below ${direction.highSlot} were used`)
    }
    direction.highSlot = slot + slots
    sender.sealedSlots += slots
    this.usedSlots += slots
  }
}

function newDirection(): Direction {
  return {
    highMsgId: -1,
    highSlot: 0,
    aes: { slot: -1, life: -1 },
    frames: new Map(),
    accepted: new Set(),
    sealOrder: [],
    seals: 0,
    lastDelivered: 0,
  }
}
