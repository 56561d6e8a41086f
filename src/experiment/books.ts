/** Reconciles the books of the keys: both ends of every channel, and the pool's identity, to the bit. */
import type { LabEvent } from '../runtime/contract.ts'
import { byName, groupBy, type LabRecord, numberOf, textOf } from './records.ts'

/** A slot of a key stream is 4 bytes. */
const SLOT_BITS = 32
/** Parts of what was generated, as the key server counts them. */
const PARTS = ['usedBits', 'expiredBits', 'discardedBits', 'reservedBits', 'poolBits'] as const

const NO_EVENT: LabEvent = { name: '' }

/** Books of the pool at one moment, bits. */
export type PoolTotals = Readonly<Record<'generatedBits' | (typeof PARTS)[number], number>>

export type Reconciliation = {
  /** Every pair of ends and the pool agree, and there was something to compare. */
  readonly agree: boolean
  /** What does not agree, one sentence each, with the difference in bits. */
  readonly differences: readonly string[]
  readonly channels: number
  /** Used on the channels that draw on the pool, as the senders count, without what the pool discarded, bits. */
  readonly usedBits: number
  readonly pool: PoolTotals | undefined
}

/** Books of one end. Between `messageSlots` and `usedSlots` a sender has sealed nothing. */
type End = { readonly assignedSlots: number; readonly usedSlots: number; readonly messageSlots: number }

/** A channel's stream in the pool's books. Discarded: what a life of an end held and lost; skipped: never key at all. */
type PoolStream = {
  readonly assignedSlots: number
  readonly usedSlots: number
  readonly discardedSlots: number
  readonly skippedSlots: number
}

/**
 * Compares the last books of every channel's two ends, over however many lives, with each other and with the pool's of its
 * stream; the pool's identity (generated = used + expired + discarded + reserved + pool); and the pool's used bits with the
 * sum over its channels.
 *
 * @param isPoolChannel Whether a channel draws on the pool; default: all do.
 */
export function reconcileBooks(
  records: readonly LabRecord[],
  isPoolChannel: (channel: number) => boolean = () => true,
): Reconciliation {
  const named = byName(records)
  const byChannel = groupBy(named.get('books') ?? [], (record) => numberOf(record, 'channel') ?? -1)
  const streams = poolStreams(named.get('stream') ?? [])
  const differences: string[] = []
  let usedBits = 0
  for (const channel of [...byChannel.keys()].sort((a, b) => a - b)) {
    const ends = groupBy(byChannel.get(channel) ?? [], (record) => textOf(record, 'side') ?? '')
    const sender = lastEnd(ends.get('sender'))
    const receiver = lastEnd(ends.get('receiver'))
    if (sender === undefined || receiver === undefined) {
      differences.push(`channel ${channel}: no books of the ${sender === undefined ? 'sender' : 'receiver'}`)
      continue
    }
    const stream = streams.get(channel)
    differences.push(...compareEnds(channel, sender, receiver), ...compareWithPool(channel, sender, stream))
    const unusedSlots = stream === undefined ? 0 : stream.discardedSlots + stream.skippedSlots
    if (isPoolChannel(channel)) usedBits += (sender.usedSlots - unusedSlots) * SLOT_BITS
  }
  const pool = lastPool(named.get('pool'))
  if (pool !== undefined) {
    const sum = PARTS.reduce((total, part) => total + pool[part], 0)
    if (sum !== pool.generatedBits)
      differences.push(differs('pool: generated', pool.generatedBits, 'sum of its parts', sum))
    // What hops have spent on relayed key is in no message, nor what programs outside the lab were given.
    const last = named.get('pool')?.at(-1) ?? NO_EVENT
    const elsewhere = (numberOf(last, 'relayUsedBits') ?? 0) + (numberOf(last, 'outsideUsedBits') ?? 0)
    const inMessages = pool.usedBits - elsewhere
    if (inMessages !== usedBits) differences.push(differs('pool: used', inMessages, 'sum over the channels', usedBits))
  }
  const agree = differences.length === 0 && byChannel.size > 0
  return { agree, differences, channels: byChannel.size, usedBits, pool }
}

function compareEnds(channel: number, sender: End, receiver: End): readonly string[] {
  const differences: string[] = []
  const note = (what: string, sent: number, received: number): void => {
    const [a, b] = [`channel ${channel}: sender ${what}`, `receiver ${what}`]
    differences.push(differs(a, sent * SLOT_BITS, b, received * SLOT_BITS))
  }
  if (sender.assignedSlots !== receiver.assignedSlots) note('assigned', sender.assignedSlots, receiver.assignedSlots)
  // Of what the sender discards after its last message the receiver hears nothing.
  const { usedSlots } = receiver
  if (usedSlots > sender.usedSlots) note('used', sender.usedSlots, usedSlots)
  else if (usedSlots < sender.messageSlots) note('used', sender.messageSlots, usedSlots)
  return differences
}

/** Every slot below the sender's last word is in the pool's books as used, discarded or skipped. */
function compareWithPool(channel: number, sender: End, stream: PoolStream | undefined): readonly string[] {
  if (stream === undefined) return []
  const spent = (stream.usedSlots + stream.discardedSlots + stream.skippedSlots) * SLOT_BITS
  const [assigned, used] = [sender.assignedSlots * SLOT_BITS, sender.usedSlots * SLOT_BITS]
  return [
    ...(stream.assignedSlots * SLOT_BITS === assigned
      ? []
      : [differs(`channel ${channel}: sender assigned`, assigned, 'pool assigned', stream.assignedSlots * SLOT_BITS)]),
    ...(spent === used ? [] : [differs(`channel ${channel}: sender used`, used, 'pool used or discarded', spent)]),
  ]
}

function poolStreams(records: readonly LabRecord[]): ReadonlyMap<number, PoolStream> {
  return new Map(
    records.map((record) => {
      const fact = (name: string): number => numberOf(record, name) ?? 0
      const [usedSlots, discardedSlots] = [fact('usedSlots'), fact('discardedSlots')]
      const stream = {
        assignedSlots: fact('assignedSlots'),
        usedSlots,
        discardedSlots,
        skippedSlots: fact('skippedSlots'),
      }
      return [fact('channel'), stream]
    }),
  )
}

function differs(a: string, aBits: number, b: string, bBits: number): string {
  return `${a} ${aBits} bits, ${b} ${bBits}: ${Math.abs(aBits - bBits)} bits apart`
}

/** The books only grow, so the largest are the last, also when records of two processes came in another order. */
function lastEnd(records: readonly LabRecord[] | undefined): End | undefined {
  if (records === undefined) return undefined
  const fact = (record: LabRecord, name: string): number | undefined => numberOf(record, name)
  const assignedSlots = Math.max(0, ...records.map((record) => fact(record, 'assignedSlots') ?? 0))
  const usedSlots = Math.max(0, ...records.map((record) => fact(record, 'usedSlots') ?? 0))
  const last = records.findLast((record) => fact(record, 'usedSlots') === usedSlots)
  return { assignedSlots, usedSlots, messageSlots: (last && fact(last, 'messageSlots')) ?? usedSlots }
}

function lastPool(records: readonly LabRecord[] | undefined): PoolTotals | undefined {
  return records === undefined ? undefined : poolTotals(records.at(-1))
}

/** The books in a `pool` record, or undefined if it does not hold them all. */
export function poolTotals(record: LabRecord | undefined): PoolTotals | undefined {
  if (record === undefined) return undefined
  const entries = (['generatedBits', ...PARTS] as const).map((part) => [part, numberOf(record, part)] as const)
  if (entries.some(([, value]) => value === undefined)) return undefined
  return Object.fromEntries(entries) as PoolTotals
}
