/** The lines of a run's record that the page needs to replay it. */
import type { LabRecord } from './state.ts'

const NAMES: ReadonlySet<string> = new Set([
  'grid',
  'grid.disturbance',
  'grid.shed',
  'grid.collapsed',
  'pool',
  'plan',
  'game.basis',
  'task.issued',
  'task.sent',
  'task.done',
  'hop',
  'hop.lost',
  'ied.done',
  'link.up',
  'link.down',
  'qkd.break',
  'qkd.repair',
  'run.link',
  'run.process',
  'run.control',
  'run.chains',
])
const COMMAND_TYPES = { first: 45, last: 69 } as const
/** What a browser holds without effort: about a day of a small lab, half an hour of a large one. */
const MAX_RECORDS = 500_000
/** Six digits are more than any chart shows. */
const DIGITS = 6

/** What is needed of a record, in order of time, numbers shortened; `left` are those of the end that found no room. */
export function recordingOf(records: readonly LabRecord[]): {
  readonly records: readonly LabRecord[]
  readonly left: number
} {
  const needed = records.filter(isNeeded).sort((a, b) => a.tMs - b.tMs)
  return { records: needed.slice(0, MAX_RECORDS).map(shortened), left: Math.max(0, needed.length - MAX_RECORDS) }
}

function isNeeded({ name, typeId }: LabRecord): boolean {
  if (!NAMES.has(name)) return false
  return name !== 'hop' || (Number(typeId) >= COMMAND_TYPES.first && Number(typeId) <= COMMAND_TYPES.last)
}

function shortened(record: LabRecord): LabRecord {
  const facts = Object.entries(record).map(([fact, value]) => {
    const isLong = typeof value === 'number' && !Number.isInteger(value)
    return [fact, isLong ? Number(value.toPrecision(fact === 'tMs' ? 10 : DIGITS)) : value]
  })
  return Object.fromEntries(facts) as LabRecord
}
