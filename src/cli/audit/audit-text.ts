import type { Audit } from './audit-run.ts'
import type { ChannelVerdict, Violation } from './channel-audit.ts'
import type { RunEvidence } from './run-evidence.ts'

/** Findings shown of each rule. */
const SHOWN = 4

/** The audit for a reader. */
export function auditText(path: string, audit: Audit, { ledgers, keys }: RunEvidence): string {
  const { frames, messages, foreign, damaged, channels, poolBooks, violations, notes, verdict } = audit
  const others = [foreign > 0 && `${foreign} no Q3P`, damaged > 0 && `${damaged} damaged on the way`].filter(Boolean)
  const lines = [
    `run       ${path}`,
    `capture   ${frames} frames, ${messages} Q3P messages${others.length > 0 ? `, ${others.join(', ')}` : ''}`,
    `ledgers   ${ledgers.length === 0 ? 'none' : `${ledgers.length} of ${ledgers.map(({ node }) => node).join(', ')}`}`,
    `keys.log  ${keys === undefined ? 'none' : `${keys.records} records`}`,
    `pool      ${poolBooks === 0 ? 'no books' : `${poolBooks} books, ${violations.length === 0 ? 'all balance' : 'NOT balanced'}`}`,
    '',
    ...channels.flatMap(channelLines),
    ...violationLines(violations),
    ...notes.map((note) => `note: ${note}`),
  ]
  const told = channels.reduce((sum, channel) => sum + channel.violations.length, violations.length)
  const end =
    verdict === 'proven'
      ? 'PROVEN: no key slot protects two messages'
      : `VIOLATED: ${told} ${told === 1 ? 'finding' : 'findings'}`
  return `${[...lines, end].join('\n')}\n`
}

function channelLines(channel: ChannelVerdict): readonly string[] {
  const { channel: number, interfaceName, verdict, frames, distinct, forged, opened, bySuite, epochs } = channel
  const { msgIds, slots, usedSlots, ledgerSlots, violations } = channel
  const suites = Object.entries(bySuite).map(([suite, count]) => `${count} ${suite}`)
  const proof = [opened > 0 && `${opened} opened with keys.log`, forged > 0 && `${forged} forged or damaged`].filter(
    Boolean,
  )
  const ledger = ledgerSlots === undefined ? '' : ` of ${ledgerSlots} reserved`
  return [
    `channel ${number} (link ${Math.floor(number / 2)}, ${interfaceName}): ${verdict}`,
    `  ${frames} frames, ${distinct} distinct (${suites.join(', ')})${proof.length > 0 ? `; ${proof.join(', ')}` : ''}`,
    `  Msg-Ids ${msgIds[0]}..${msgIds[1]}, slots ${slots[0]}..${slots[1]}${ledger}, ${usedSlots} in messages, ${epochs} epochs`,
    ...violationLines(violations),
  ]
}

function violationLines(violations: readonly Violation[]): readonly string[] {
  const rules = [...new Set(violations.map(({ rule }) => rule))]
  return rules.flatMap((broken) => {
    const all = violations.filter(({ rule }) => rule === broken)
    const shown = all.slice(0, SHOWN).map(({ rule, frames, text }) => {
      return `  ${rule}: ${text}${frames.length > 0 ? ` (frames ${frames.join(' and ')})` : ''}`
    })
    return all.length > SHOWN ? [...shown, `  ${broken}: and ${all.length - SHOWN} more`] : shown
  })
}
