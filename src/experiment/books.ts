/** Reconciles the books of the keys: both ends of every channel, and the pool's identity, to the bit. */
import { byName, groupBy, type LabRecord, numberOf, textOf } from './records.ts'

/** A slot of a key stream is 4 bytes. */
const SLOT_BITS = 32
/** Parts of what was generated, as the key server counts them. */
const PARTS = ['usedBits', 'expiredBits', 'discardedBits', 'reservedBits', 'poolBits'] as const

/** Books of the pool at one moment, bits. */
export type PoolTotals = Readonly<Record<'generatedBits' | (typeof PARTS)[number], number>>

export type Reconciliation = {
  /** Every pair of ends and the pool agree, and there was something to compare. */
  readonly agree: boolean
  /** What does not agree, one sentence each, with the difference in bits. */
  readonly differences: readonly string[]
  readonly channels: number
  /** Used on the channels that draw on the pool, as the senders count, bits. */
  readonly usedBits: number
  readonly pool: PoolTotals | undefined
}

type End = { readonly assignedSlots: number; readonly usedSlots: number }

/**
 * Compares the last books of every channel's two ends, the pool's identity (generated = used + expired + discarded +
 * reserved + pool) and the pool's used bits with the sum over its channels.
 *
 * @param isPoolChannel Whether a channel draws on the pool; default: all do.
 */
export function reconcileBooks(
  records: readonly LabRecord[],
  isPoolChannel: (channel: number) => boolean = () => true,
): Reconciliation {
  const named = byName(records)
  const byChannel = groupBy(named.get('books') ?? [], (record) => numberOf(record, 'channel') ?? -1)
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
    differences.push(...compare(channel, sender, receiver))
    if (isPoolChannel(channel)) usedBits += sender.usedSlots * SLOT_BITS
  }
  const pool = lastPool(named.get('pool'))
  if (pool !== undefined) {
    const sum = PARTS.reduce((total, part) => total + pool[part], 0)
    if (sum !== pool.generatedBits)
      differences.push(differs('pool: generated', pool.generatedBits, 'sum of its parts', sum))
    if (pool.usedBits !== usedBits)
      differences.push(differs('pool: used', pool.usedBits, 'sum over the channels', usedBits))
  }
  const agree = differences.length === 0 && byChannel.size > 0
  return { agree, differences, channels: byChannel.size, usedBits, pool }
}

function compare(channel: number, sender: End, receiver: End): readonly string[] {
  const facts = ['assignedSlots', 'usedSlots'] as const
  return facts.flatMap((fact) => {
    if (sender[fact] === receiver[fact]) return []
    const what = fact === 'usedSlots' ? 'used' : 'assigned'
    const [sent, received] = [sender[fact] * SLOT_BITS, receiver[fact] * SLOT_BITS]
    return [differs(`channel ${channel}: sender ${what}`, sent, `receiver ${what}`, received)]
  })
}

function differs(a: string, aBits: number, b: string, bBits: number): string {
  return `${a} ${aBits} bits, ${b} ${bBits}: ${Math.abs(aBits - bBits)} bits apart`
}

/** The books only grow, so the largest are the last, also when records of two processes came in another order. */
function lastEnd(records: readonly LabRecord[] | undefined): End | undefined {
  if (records === undefined) return undefined
  const most = (fact: string) => Math.max(0, ...records.map((record) => numberOf(record, fact) ?? 0))
  return { assignedSlots: most('assignedSlots'), usedSlots: most('usedSlots') }
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
