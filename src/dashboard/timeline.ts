/** The lines of the record that an operator wants to read, in words. */
import type { LabHead, LabRecord, TimelineEntry, TimelineKind } from './state.ts'
import { outcomeOf } from './task-book.ts'

export type Line = Pick<TimelineEntry, 'kind' | 'tone' | 'text' | 'subject'>

/** One chain's new state, as the `plan` event tells it. */
export type PlanChange = {
  readonly chain: string
  readonly state: 'off' | 'aes' | 'otp'
  readonly path: number
  readonly why: string
}

/** More changes of a plan than this are told together. */
const MAX_TOLD_CHANGES = 3

/** The changes in a plan's `why`: `shed-8 otp path 1 (required suite); agc-30 off path 0 (off: key is short)`. */
export function planChanges(why: string): readonly PlanChange[] {
  return why.split('; ').flatMap((part) => {
    const [, chain, state, path, reason = ''] = /^(\S+) (off|aes|otp) path (\d+)(?: \((.*)\))?$/.exec(part) ?? []
    if (chain === undefined || path === undefined) return []
    if (state !== 'off' && state !== 'aes' && state !== 'otp') return []
    return [{ chain, state, path: Number(path), why: reason }]
  })
}

/** What a plan's changes are, in words; a whole new plan, as at the start, is one line. */
export function planLines(changes: readonly PlanChange[], chains: number): readonly Line[] {
  if (changes.length === 0) return []
  if (changes.length > MAX_TOLD_CHANGES || changes.length === chains) {
    const counts = (['otp', 'aes', 'off'] as const).map((state) => {
      const count = changes.filter((change) => change.state === state).length
      return count === 0 ? [] : [`${count} ${stateWord(state)}`]
    })
    const tone = changes.some(({ state }) => state !== 'otp') ? 'warn' : 'plain'
    return [{ kind: 'plan', tone, text: `Plan for ${changes.length} chains: ${counts.flat().join(', ')}`, subject: '' }]
  }
  return changes.map(({ chain, state, path, why }) => ({
    kind: 'plan',
    tone: state === 'off' ? 'bad' : state === 'aes' ? 'warn' : 'plain',
    text: `${chain}: ${stateWord(state)} by path ${path + 1} (${why})`,
    subject: chain,
  }))
}

export function stateWord(state: string): string {
  return state === 'otp' ? 'OTP' : state === 'aes' ? 'AES' : state
}

/** A record that is told by itself, whatever came before it; undefined for those that are not told. */
export function lineOf(record: LabRecord, head: LabHead): Line | undefined {
  const linkId = (): string => head.links.find(({ link }) => link === record['link'])?.id ?? `link ${record['link']}`
  const line = (kind: TimelineKind, tone: Line['tone'], text: string, subject = ''): Line => ({
    kind,
    tone,
    text,
    subject,
  })
  switch (record.name) {
    case 'game.basis':
      return basisLine(record)
    case 'qkd.break':
      return line('link', 'bad', `Link ${linkId()} is broken`, linkId())
    case 'qkd.repair':
      return line('link', 'good', `Link ${linkId()} is whole again`, linkId())
    case 'grid.disturbance':
      return line('grid', 'warn', disturbanceText(record))
    case 'grid.shed':
      return line('grid', 'plain', `${fixed(record['mw'], 1)} MW shed at bus ${record['bus']}`)
    case 'grid.collapsed':
      return line('grid', 'bad', 'The grid has collapsed')
    case 'task.done':
      return taskLine(record)
    case 'hop.lost':
      return line('task', 'warn', `${record.node}: a message was given up (${record['reason'] ?? 'no reason told'})`)
    case 'run.process':
      return line(
        'process',
        record['up'] === true ? 'good' : 'bad',
        `Process ${record['process']} ${record['how']}`,
        String(record['process']),
      )
    case 'run.control':
      return line('control', 'plain', `By hand: ${record['text']}`, String(record['subject'] ?? ''))
    case 'run.chains':
      return line('control', 'plain', `By hand: ${record['text']}`, String(record['subject'] ?? ''))
    default:
      return undefined
  }
}

/** Who is not heard in the game between control centres; the ordinary case is told when it comes back. */
const BASES: Readonly<Record<string, readonly [tone: Line['tone'], text: (agent: unknown) => string]>> = {
  offer: ['good', (agent) => `${agent} is heard by the leader: its offer counts`],
  lastOffer: ['warn', (agent) => `No offer of ${agent}: the leader plans with its last one`],
  share: ['bad', (agent) => `No offer of ${agent}: the leader sets its share by demand aside`],
  grant: ['good', (agent) => `${agent} has a grant`],
  lastGrant: ['warn', (agent) => `No new grant for ${agent}: it keeps within its last one`],
  floor: ['bad', (agent) => `No grant for ${agent} for long: it keeps within its floor`],
}

function basisLine(record: LabRecord): Line | undefined {
  const [tone, text] = BASES[String(record['basis'])] ?? []
  if (tone === undefined || text === undefined) return undefined
  return { kind: 'plan', tone, text: text(record['agent']), subject: String(record['agent'] ?? '') }
}

function disturbanceText(record: LabRecord): string {
  const mw = Number(record['mw'])
  if (record['disturbance'] === 'trip') return `Machine at bus ${record['bus']} lost (${fixed(-mw, 0)} MW)`
  return `Load step of ${mw > 0 ? '+' : ''}${fixed(mw, 0)} MW at bus ${record['bus']}`
}

function taskLine(record: LabRecord): Line | undefined {
  const reason = String(record['reason'])
  const outcome = outcomeOf(reason)
  if (outcome === 'full' || reason === 'drain' || reason === 'replaced') return undefined
  const chain = String(record['chain'])
  const after = `after ${fixed(record['latencyMs'], 0)} ms`
  const text = {
    degraded: `${chain}: done ${after}, in a lesser suite than required`,
    late: `${chain}: done too late, ${after}`,
    failed: `${chain}: failed ${after} (${reason})`,
  }[outcome]
  return { kind: 'task', tone: outcome === 'degraded' ? 'warn' : 'bad', text, subject: chain }
}

function fixed(value: unknown, digits: number): string {
  const number = Number(value)
  return Number.isFinite(number) ? number.toFixed(digits) : '-'
}
