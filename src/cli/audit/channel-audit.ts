import type { ChannelMark } from '../../protocol/index.ts'
import { WINDOW_MESSAGES } from '../../protocol/index.ts'
import type { AuditFrame } from './frames.ts'
import type { KeyBook } from './key-book.ts'
import { type PlacedFrame, placeFrames, type SlotRun, slotRuns } from './place.ts'
import type { ClosedBooks } from './run-evidence.ts'

/** Most messages that any configuration seals under one AES key. */
const MAX_AES_MESSAGES = 512

export type Rule =
  /** Two different messages under one slot. */
  | 'slotTwice'
  /** Two different messages with one Msg-Id; with AES that is a nonce used twice. */
  | 'msgIdTwice'
  /** A new message with a Msg-Id further back than any reordering. */
  | 'msgIdBack'
  | 'aesOverused'
  /** A HANDSHAKE whose epoch is not above the one before. */
  | 'epochBack'
  /** Used, though the ledger does not have it. */
  | 'beyondLedger'
  /** In the capture, though the sender's last books do not count it. */
  | 'beyondBooks'
  /** The key log gives a slot twice with different octets. */
  | 'keyChanged'
  /** The pool's books do not balance. */
  | 'books'

/** A rule that the run has broken, and the frames that show it. */
export type Violation = {
  readonly rule: Rule
  readonly channel?: number
  readonly frames: readonly number[]
  readonly text: string
}

/** What the other files of the run say about a channel. */
export type ChannelEvidence = {
  readonly keys: KeyBook | undefined
  /** The sender's mark; undefined when no ledger of the run has it. */
  readonly mark: ChannelMark | undefined
  /** The sender's books of its last life, if it has closed them. */
  readonly closedBooks: ClosedBooks | undefined
  /** How far the key server assigned the stream, if it has closed its books. */
  readonly assignedSlots: number | undefined
}

export type ChannelVerdict = {
  readonly channel: number
  readonly interfaceName: string
  readonly verdict: 'proven' | 'violated'
  /** Messages in the capture, and how many of them differ. */
  readonly frames: number
  readonly distinct: number
  /** Of the distinct ones: not opened with the key log, so forged or damaged. They count for nothing else. */
  readonly forged: number
  /** Opened with the key log. */
  readonly opened: number
  readonly bySuite: Readonly<Record<string, number>>
  readonly epochs: number
  readonly msgIds: readonly [number, number]
  readonly slots: readonly [number, number]
  /** Slots that the distinct messages take. */
  readonly usedSlots: number
  readonly ledgerSlots: number | undefined
  readonly violations: readonly Violation[]
}

/** Checks all messages of one channel against each other and against what else the run has left. */
export function auditChannel(
  channel: number,
  frames: readonly AuditFrame[],
  evidence: ChannelEvidence,
): ChannelVerdict {
  const { keys, mark } = evidence
  const placed = placeFrames(frames, keys?.begins(channel))
  const truths = new Map(placed.map((one) => [one, keys?.isTrue(one)]))
  // Whoever seals writes the key to the log first, so what the log cannot open is no message of this run.
  const isLogged = keys?.has(channel) ?? false
  const messages = isLogged ? placed.filter((one) => truths.get(one) === true) : placed
  const runs = messages.flatMap(slotRuns)
  const [lastSlot, lastMsgId] = [maximum(runs.map(({ end }) => end)), maximum(messages.map(({ msgId }) => msgId))]
  // The messages of one AES key share a run; the first of them stands for all.
  const owned = new Map(runs.toReversed().map((run) => [`${run.slot} ${run.owner}`, run]))
  const usedSlots = slotsIn([...owned.values()])
  const found = (rule: Rule, frameNumbers: readonly number[], text: string): Violation => {
    return { rule, channel, frames: frameNumbers, text }
  }
  const violations = [
    ...slotsTwice([...owned.values()], found),
    ...msgIdsTwice(messages, found),
    ...msgIdsBack(messages, found),
    ...aesOverused(messages, found),
    ...epochsBack(messages, found),
    ...beyondLedger(messages, { mark, lastSlot, lastMsgId }, found),
    ...beyondBooks(messages, { ...evidence, lastSlot, owned: [...owned.values()] }, found),
    ...(keys?.conflicts(channel) ?? []).map((slot) =>
      found('keyChanged', [], `keys.log has two keys for slot ${slot}`),
    ),
  ]
  return {
    channel,
    interfaceName: [...new Set(frames.map(({ interfaceName }) => interfaceName))].join(', '),
    verdict: violations.length === 0 ? 'proven' : 'violated',
    frames: frames.length,
    distinct: placed.length,
    forged: placed.length - messages.length,
    opened: placed.filter((one) => truths.get(one) === true).length,
    bySuite: countBy(
      messages.map(({ frame: { header } }) => (header.command === 'handshake' ? 'handshake' : header.suite)),
    ),
    epochs: messages.filter(({ handshake }) => handshake !== undefined).length,
    msgIds: [minimum(messages.map(({ msgId }) => msgId)), lastMsgId],
    slots: [minimum(runs.map(({ slot }) => slot)), lastSlot],
    usedSlots,
    ledgerSlots: mark?.slots,
    violations,
  }
}

type Found = (rule: Rule, frames: readonly number[], text: string) => Violation

/** One finding for each pair that shares slots, whatever runs of theirs meet. */
function slotsTwice(runs: readonly SlotRun[], found: Found): readonly Violation[] {
  const violations = new Map<string, Violation>()
  let widest: SlotRun | undefined
  for (const run of runs.toSorted((a, b) => a.slot - b.slot || a.frame - b.frame)) {
    if (widest !== undefined && run.slot < widest.end && run.owner !== widest.owner) {
      const [first, second] = [widest, run].toSorted((a, b) => a.frame - b.frame)
      const pair = `${first?.owner} and ${second?.owner}`
      const text = `slots from ${run.slot} protect ${pair}`
      if (!violations.has(pair)) {
        violations.set(pair, found('slotTwice', [first?.frame ?? 0, second?.frame ?? 0], text))
      }
    }
    if (widest === undefined || run.end > widest.end) widest = run
  }
  return [...violations.values()]
}

function msgIdsTwice(messages: readonly PlacedFrame[], found: Found): readonly Violation[] {
  const first = new Map<number, number>()
  return messages.flatMap(({ msgId, frame }) => {
    const before = first.get(msgId)
    if (before === undefined) first.set(msgId, frame.number)
    return before === undefined
      ? []
      : [found('msgIdTwice', [before, frame.number], `Msg-Id ${msgId} on two different messages`)]
  })
}

/** In the order of the capture, which may be that of a link that reorders. */
function msgIdsBack(messages: readonly PlacedFrame[], found: Found): readonly Violation[] {
  let highest: PlacedFrame | undefined
  return messages.flatMap((message) => {
    const ahead = highest
    if (ahead === undefined || message.msgId > ahead.msgId) highest = message
    if (ahead === undefined || ahead.msgId - message.msgId < WINDOW_MESSAGES) return []
    const text = `Msg-Id ${message.msgId} first seen after ${ahead.msgId}`
    return [found('msgIdBack', [ahead.frame.number, message.frame.number], text)]
  })
}

function aesOverused(messages: readonly PlacedFrame[], found: Found): readonly Violation[] {
  const byKey = new Map<number, PlacedFrame[]>()
  for (const message of messages) {
    if (message.frame.header.suite === 'aes') byKey.set(message.eSlot, [...(byKey.get(message.eSlot) ?? []), message])
  }
  return [...byKey].flatMap(([slot, under]) => {
    if (under.length <= MAX_AES_MESSAGES) return []
    const numbers = under.map(({ frame }) => frame.number)
    return [found('aesOverused', numbers.slice(0, 2), `${under.length} messages under the AES key at slot ${slot}`)]
  })
}

function epochsBack(messages: readonly PlacedFrame[], found: Found): readonly Violation[] {
  let before: PlacedFrame | undefined
  return messages
    .toSorted((a, b) => a.msgId - b.msgId)
    .flatMap((message) => {
      const [epoch, epochBefore] = [message.handshake?.epoch, before?.handshake?.epoch]
      if (epoch === undefined) return []
      const numbers = [before?.frame.number ?? 0, message.frame.number]
      before = message
      if (epochBefore === undefined || epoch > epochBefore) return []
      return [found('epochBack', numbers, `epoch ${epoch} after epoch ${epochBefore}`)]
    })
}

/** Numbers of the first frames that take slots from `slot` on. */
function framesBeyond(messages: readonly PlacedFrame[], slot: number): readonly number[] {
  const beyond = messages.filter((message) => slotRuns(message).some(({ end }) => end > slot))
  return beyond.slice(0, 2).map(({ frame }) => frame.number)
}

function beyondLedger(
  messages: readonly PlacedFrame[],
  sums: { readonly mark: ChannelMark | undefined; readonly lastSlot: number; readonly lastMsgId: number },
  found: Found,
): readonly Violation[] {
  const { mark, lastSlot, lastMsgId } = sums
  if (mark === undefined) return []
  const violations: Violation[] = []
  if (lastSlot > mark.slots) {
    const text = `slots up to ${lastSlot} used, ${mark.slots} reserved`
    violations.push(found('beyondLedger', framesBeyond(messages, mark.slots), text))
  }
  const beyond = messages.filter(({ msgId }) => msgId >= mark.msgIds)
  if (beyond.length > 0) {
    const numbers = beyond.slice(0, 2).map(({ frame }) => frame.number)
    violations.push(found('beyondLedger', numbers, `Msg-Id ${lastMsgId} used, ${mark.msgIds} reserved`))
  }
  return violations
}

/** Against the books of the sender's last life, which began at `firstSlot`, and the key server's of all lives. */
function beyondBooks(
  messages: readonly PlacedFrame[],
  sums: Pick<ChannelEvidence, 'closedBooks' | 'assignedSlots'> & {
    readonly lastSlot: number
    readonly owned: readonly SlotRun[]
  },
  found: Found,
): readonly Violation[] {
  const { closedBooks, assignedSlots, lastSlot, owned } = sums
  const violations: Violation[] = []
  if (assignedSlots !== undefined && lastSlot > assignedSlots) {
    const text = `slots up to ${lastSlot} used, the key server assigned ${assignedSlots}`
    violations.push(found('beyondBooks', framesBeyond(messages, assignedSlots), text))
  }
  if (closedBooks === undefined) return violations
  const { firstSlot, usedSlots, discardedSlots } = closedBooks
  if (lastSlot > usedSlots) {
    const text = `slots up to ${lastSlot} used, the books say ${usedSlots}`
    violations.push(found('beyondBooks', framesBeyond(messages, usedSlots), text))
  }
  const inMessages = slotsIn(owned.filter(({ slot }) => slot >= firstSlot))
  if (inMessages + discardedSlots > usedSlots - firstSlot) {
    const sum = `${inMessages} slots in messages and ${discardedSlots} discarded`
    const text = `${sum} are more than the ${usedSlots - firstSlot} of the books`
    violations.push(found('beyondBooks', [], text))
  }
  return violations
}

function slotsIn(runs: readonly SlotRun[]): number {
  return runs.reduce((sum, { slot, end }) => sum + end - slot, 0)
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

function maximum(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), 0)
}

function minimum(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((least, value) => Math.min(least, value))
}
