import type { RecordedEvent } from '../../runtime/index.ts'
import { auditChannel, type ChannelVerdict, type Violation } from './channel-audit.ts'
import { type AuditFrame, q3pFrames } from './frames.ts'
import { assignedSlots, closedBooks, type RunEvidence, senderMark } from './run-evidence.ts'

export type Audit = {
  readonly verdict: 'proven' | 'violated'
  /** Frames of the capture; Q3P messages; datagrams that are none; messages with a wrong UDP checksum. */
  readonly frames: number
  readonly messages: number
  readonly foreign: number
  readonly damaged: number
  readonly channels: readonly ChannelVerdict[]
  /** Times at which the pool's books were recorded. */
  readonly poolBooks: number
  /** Violations that are of no channel. */
  readonly violations: readonly Violation[]
  /** What limits the proof. */
  readonly notes: readonly string[]
}

/** Proves from what a run has left that no key was used twice, or names what shows that it was. */
export function auditRun(evidence: RunEvidence): Audit {
  const { capture, keys, ledgers, events } = evidence
  const { frames, foreign, damaged } = q3pFrames(capture)
  const byChannel = new Map<number, AuditFrame[]>()
  for (const frame of frames) {
    const known = byChannel.get(frame.header.channel)
    if (known === undefined) byChannel.set(frame.header.channel, [frame])
    else known.push(frame)
  }
  const channels = [...byChannel]
    .sort(([a], [b]) => a - b)
    .map(([channel, ofChannel]) => {
      const mark = senderMark(evidence, channel)
      const books = { closedBooks: closedBooks(evidence, channel), assignedSlots: assignedSlots(evidence, channel) }
      return auditChannel(channel, ofChannel, { keys, mark, ...books })
    })
  const pools = events.filter(({ name }) => name === 'pool')
  const violations = pools.flatMap(poolViolation)
  const isProven = violations.length === 0 && channels.every(({ verdict }) => verdict === 'proven')
  const notes = [
    ...(capture.truncated ? ['the capture is cut off at its end'] : []),
    ...(keys === undefined ? ['no keys.log: tags are not checked, and a forged message counts as a true one'] : []),
    ...(keys !== undefined && keys.badLines > 0 ? [`keys.log: ${keys.badLines} lines are no records`] : []),
    ...(ledgers.length === 0 ? ['no ledgers: that use was reserved before is not checked'] : []),
    ...(pools.length === 0 ? ['no events of the pool: its books are not checked'] : []),
  ]
  return {
    verdict: isProven ? 'proven' : 'violated',
    frames: capture.frames.length,
    messages: frames.length,
    foreign,
    damaged,
    channels,
    poolBooks: pools.length,
    violations,
    notes,
  }
}

const PARTS = ['usedBits', 'expiredBits', 'discardedBits', 'reservedBits', 'poolBits'] as const

/** generated = used + expired + discarded + reserved + pool, at every moment it was recorded. */
function poolViolation(event: RecordedEvent): readonly Violation[] {
  const sum = PARTS.reduce((total, part) => total + Number(event[part]), 0)
  const generated = Number(event['generatedBits'])
  if (sum === generated) return []
  const text = `at ${event.tMs} ms the pool had generated ${generated} bits, its parts are ${sum}`
  return [{ rule: 'books', frames: [], text }]
}
