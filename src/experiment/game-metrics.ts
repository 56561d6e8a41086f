/** What a run's record says of the game between control centres: rounds, who was not heard, and how long grants took. */
import { byName, groupBy, type LabRecord, numberOf, textOf } from './records.ts'

export type GameMetrics = {
  readonly rounds: number
  /** Offers that were wanted: one a follower and round. */
  readonly offersWanted: number
  /** Of them those in whose place an older one, or a share by demand, was planned with. */
  readonly lastOffersUsed: number
  readonly sharesUsed: number
  /** Grants that followers have confirmed. */
  readonly grantsTaken: number
  /** From call to settlement. */
  readonly roundMs: Quantiles
  /** From grant to its confirmation at the leader. */
  readonly roundTripMs: Quantiles
  /** By follower: time that its states rested on an older grant, and on its floor, after its first grant, s. */
  readonly lastGrantS: Readonly<Record<string, number>>
  readonly floorS: Readonly<Record<string, number>>
}

/** Null: of nothing. */
export type Quantiles = { readonly median: number; readonly p95: number; readonly max: number } | null

/** Undefined where control centres played no game by messages. @param endMs end of the run */
export function gameMetricsOf(records: readonly LabRecord[], endMs: number): GameMetrics | undefined {
  const named = byName(records.filter(({ name }) => name.startsWith('game.')))
  const rounds = named.get('game.round') ?? []
  if (rounds.length === 0) return undefined
  const sum = (fact: string): number => rounds.reduce((total, round) => total + (numberOf(round, fact) ?? 0), 0)
  const taken = named.get('game.taken') ?? []
  const [lastOffersUsed, sharesUsed] = [sum('lastOffers'), sum('shares')]
  const bases = groupBy(named.get('game.basis') ?? [], (record) => textOf(record, 'agent') ?? '')
  const spent = (basis: string) =>
    Object.fromEntries([...bases].map(([agent, list]) => [agent, secondsOn(basis, list, endMs)]))
  return {
    rounds: rounds.length,
    offersWanted: sum('offers') + lastOffersUsed + sharesUsed,
    lastOffersUsed,
    sharesUsed,
    grantsTaken: taken.length,
    roundMs: quantilesOf(rounds, 'tookMs'),
    roundTripMs: quantilesOf(taken, 'roundTripMs'),
    lastGrantS: spent('lastGrant'),
    floorS: spent('floor'),
  }
}

/** Leader and follower both tell of an agent, in words of their own. */
function secondsOn(basis: string, records: readonly LabRecord[], endMs: number): number {
  const own = records.filter((record) => ['grant', 'lastGrant', 'floor'].includes(textOf(record, 'basis') ?? ''))
  const ms = own.reduce((total, record, index) => {
    const untilMs = own[index + 1]?.tMs ?? endMs
    return total + (record['basis'] === basis ? Math.max(0, untilMs - record.tMs) : 0)
  }, 0)
  return ms / 1000
}

function quantilesOf(records: readonly LabRecord[], fact: string): Quantiles {
  const values = records.flatMap((record) => numberOf(record, fact) ?? []).sort((a, b) => a - b)
  const at = (part: number): number => values[Math.min(values.length - 1, Math.floor(part * values.length))] ?? 0
  return values.length === 0 ? null : { median: at(0.5), p95: at(0.95), max: at(1) }
}
