import {
  HANDSHAKE_SLOTS,
  type Handshake,
  HEADER_BYTES,
  parseHandshake,
  rebuildCounter,
  SLOT_BYTES,
  TAG_BYTES,
} from '../../protocol/index.ts'
import type { AuditFrame } from './frames.ts'

/** A distinct message of a channel with its counters whole. */
export type PlacedFrame = {
  readonly frame: AuditFrame
  /** How often it is in the capture, octet for octet. */
  readonly copies: number
  readonly msgId: number
  /** Slots of the encryption key and of the authentication key; 0 where the suite has none. */
  readonly eSlot: number
  readonly aSlot: number
  readonly handshake: Handshake | undefined
}

const AES_SLOTS = 4
const MAC_SLOTS = 4
/** Further than this no sender goes on at once. */
const FAR_MESSAGES = 2 ** 30
const FAR_SLOTS = 2 ** 30
const TWO_32 = 0x1_0000_0000

/** A run of key slots and what it protects: frames of one AES key are one owner. */
export type SlotRun = { readonly slot: number; readonly end: number; readonly owner: string; readonly frame: number }

/**
 * Distinct messages of one channel, in the order in which they were first seen, the upper halves of their counters
 * rebuilt: from the HANDSHAKEs, which say it, and from there by nearness.
 */
export function placeFrames(
  frames: readonly AuditFrame[],
  begins: { readonly slot: number; readonly msgId: number } | undefined,
): readonly PlacedFrame[] {
  const distinct = new Map<string, { readonly frame: AuditFrame; copies: number }>()
  for (const frame of frames) {
    const key = Buffer.from(frame.bytes).toString('latin1')
    const known = distinct.get(key)
    if (known === undefined) distinct.set(key, { frame, copies: 1 })
    else known.copies += 1
  }
  const withHandshakes = [...distinct.values()].map((one) => ({ ...one, handshake: handshakeOf(one.frame) }))
  const firstTold = withHandshakes.find(({ handshake }) => handshake !== undefined)?.handshake
  let nearMsgId = begins?.msgId ?? firstTold?.msgId ?? -1
  const counted = withHandshakes.map((one) => {
    const told = begins === undefined ? one.handshake?.msgId : undefined
    const msgId = told ?? rebuildCounter(one.frame.header.msgId, nearMsgId)
    // What is far ahead is a forgery, or soon followed by others.
    if (nearMsgId < 0 || told !== undefined || msgId - nearMsgId < FAR_MESSAGES) nearMsgId = Math.max(nearMsgId, msgId)
    return { ...one, msgId }
  })
  // Slots rise with the Msg-Ids, so in that order each is near to the one before.
  let nearSlot = begins?.slot ?? 0
  const slots = new Map<string, { readonly eSlot: number; readonly aSlot: number }>()
  for (const { frame, msgId } of counted.toSorted((a, b) => a.msgId - b.msgId)) {
    const { suite, eKeyId, aKeyId } = frame.header
    const eSlot = suite === 'auth' ? 0 : rebuildCounter(eKeyId, nearSlot)
    const aSlot = suite === 'aes' ? 0 : rebuildCounter(aKeyId, nearSlot)
    const slot = Math.max(eSlot, aSlot)
    if (slot - nearSlot < FAR_SLOTS) nearSlot = Math.max(nearSlot, slot)
    slots.set(`${msgId} ${frame.number}`, { eSlot, aSlot })
  }
  return counted.map((one) => {
    const { eSlot = 0, aSlot = 0 } = slots.get(`${one.msgId} ${one.frame.number}`) ?? {}
    return { ...one, eSlot, aSlot }
  })
}

/** The key a message takes: pad and s, r and s of a HANDSHAKE, or the AES key that it shares with others. */
export function slotRuns({ frame, eSlot, aSlot }: PlacedFrame): readonly SlotRun[] {
  const { suite, command } = frame.header
  const run = (slot: number, slots: number, owner: string): SlotRun => {
    return { slot, end: slot + slots, owner, frame: frame.number }
  }
  if (suite === 'aes') return [run(eSlot, AES_SLOTS, `AES key ${eSlot}`)]
  const owner = `frame ${frame.number}`
  const mac = run(aSlot, command === 'handshake' ? HANDSHAKE_SLOTS : MAC_SLOTS, owner)
  if (suite === 'auth') return [mac]
  const padSlots = Math.ceil((frame.bytes.length - HEADER_BYTES - TAG_BYTES) / SLOT_BYTES)
  return padSlots === 0 ? [mac] : [run(eSlot, padSlots, owner), mac]
}

function handshakeOf({ header, bytes }: AuditFrame): Handshake | undefined {
  if (header.command !== 'handshake') return undefined
  const handshake = parseHandshake(bytes.subarray(HEADER_BYTES, bytes.length - TAG_BYTES))
  return handshake !== undefined && handshake.msgId % TWO_32 === header.msgId ? handshake : undefined
}
