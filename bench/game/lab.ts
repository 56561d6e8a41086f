import { readFileSync } from 'node:fs'
import { type Metrics, parseScenario, planOf, type Scenario, worldOf } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import { progress, table } from './figures.ts'

const SCENARIO = 'scenarios/ieee118.yaml'

/** The 118-bus scenario in virtual time, all nodes and messages, once with every policy. */
export async function lab(): Promise<void> {
  await cryptoReady
  const scenario = parseScenario(readFileSync(SCENARIO, 'utf8'), SCENARIO)
  const { game } = scenario.scheduler
  if (game === undefined) throw new Error(`${SCENARIO} plays no game`)
  const solvers = ['equal', 'demand', 'ldCp', 'exact', 'social'] as const
  const playing = (change: Partial<typeof game>): Scenario['scheduler'] => {
    return { ...scenario.scheduler, game: { ...game, ...change } }
  }
  const variants: readonly (readonly [string, Scenario['scheduler']])[] = [
    ['greedy', { ...scenario.scheduler, policy: 'greedy' }],
    ...solvers.map((solver) => [solver, playing({ solver })] as const),
    ['ldCp printed', playing({ solver: 'ldCp', ldCpForm: 'printed' })],
  ]
  console.log(
    `\n${SCENARIO} in virtual time, seed ${scenario.seed}, ${scenario.durationS} s; without remote control 0.255 Hz`,
  )
  const rows = [
    [
      'policy',
      'P_full',
      'P_delivered',
      'agc',
      'setpoint',
      'shedding',
      'max |df| Hz',
      'TRR s',
      'eta',
      'plans',
      'grants',
      'missed',
      'trip ms',
    ],
  ]
  for (const [name, scheduler] of variants) {
    progress(`${SCENARIO}: ${name}`)
    const world = worldOf(planOf({ ...scenario, scheduler }))
    const records = world.run()
    const metrics = world.metrics('bench')
    const { pFull, pDelivered, byClass, maxAbsDeltaFHz, trrS, keyUtilizationRatio } = metrics
    rows.push([
      name,
      ...[pFull, pDelivered, byClass['agc']?.pFull, byClass['setpoint']?.pFull, byClass['shedding']?.pFull].map(ratio),
      ratio(maxAbsDeltaFHz),
      ratio(trrS),
      ratio(keyUtilizationRatio),
      String(records.filter((record) => record.name === 'plan').length),
      ...grantsOf(metrics),
    ])
  }
  progress('')
  table(rows)
  lossy(scenario)
}

/** The same lab with the exact policy where links between control centres lose datagrams, or one is cut. */
function lossy(scenario: Scenario): void {
  console.log('\nexact, the links between control centres worse than the others')
  const rows = [
    [
      'links',
      'P_full',
      'grants',
      'missed',
      'trip ms',
      '95 %',
      'largest',
      'within an old grant s',
      'within the floor s',
    ],
  ]
  const between = (lossRatio: number): Scenario => {
    const { master, areaMasters } = scenario.topology.nodes
    const masters = [master.id, ...areaMasters.map(({ id }) => id)]
    const links = scenario.topology.links.map((link) =>
      link.between.every((end) => masters.includes(end)) ? { ...link, lossRatio } : link,
    )
    return { ...scenario, topology: { ...scenario.topology, links } }
  }
  const cut = { kind: 'cutLink' as const, atS: 20, forS: 20, link: 'tso-dso2' }
  const worse: readonly (readonly [string, Scenario])[] = [
    ...[0, 0.01, 0.05, 0.2].map((loss) => [`loss ${100 * loss} %`, between(loss)] as const),
    ['tso-dso2 cut for 20 s', { ...scenario, faults: [...scenario.faults, cut] }],
  ]
  for (const [name, each] of worse) {
    progress(`${SCENARIO}: ${name}`)
    const world = worldOf(planOf(each))
    world.run()
    const metrics = world.metrics('bench')
    const { game } = metrics
    const sum = (of: Readonly<Record<string, number>> | undefined): string =>
      Object.values(of ?? {})
        .reduce((total, s) => total + s, 0)
        .toFixed(1)
    rows.push([
      name,
      ratio(metrics.pFull),
      ...grantsOf(metrics),
      ...[game?.roundTripMs?.p95, game?.roundTripMs?.max].map((ms) => ms?.toFixed(1) ?? '-'),
      sum(game?.lastGrantS),
      sum(game?.floorS),
    ])
  }
  progress('')
  table(rows)
}

/** Grants confirmed, offers in whose place another was planned with, and the median of the grants' round trips. */
function grantsOf({ game }: Metrics): readonly string[] {
  if (game === undefined) return ['-', '-', '-']
  const missed = game.lastOffersUsed + game.sharesUsed
  return [String(game.grantsTaken), `${missed} of ${game.offersWanted}`, game.roundTripMs?.median.toFixed(1) ?? '-']
}

function ratio(value: number | null | undefined): string {
  return typeof value === 'number' ? value.toFixed(3) : '-'
}
