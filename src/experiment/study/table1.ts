/** The paper's Table I, and the variants of what calibrating on S-1 alone does not identify. */
import { CASES, type CaseId, type Variant, variantOf } from '../cases.ts'
import type { Scenario } from '../scenario-schema.ts'
import { withKeyRate, withStock } from './changes.ts'
import type { PaperFigures, Row, Study } from './study.ts'

const PAPER: Readonly<Record<CaseId, PaperFigures>> = {
  'S-1': { pFull: '0.72', maxAbsDeltaFHz: '0.26', keyUtilizationRatio: '0.30', trrS: '12-16' },
  'S-2': { pFull: '0.88', maxAbsDeltaFHz: '0.17', keyUtilizationRatio: '0.57', trrS: '6-9' },
  'S-3': { pFull: '0.97', maxAbsDeltaFHz: '0.08', keyUtilizationRatio: '0.83', trrS: '2.5-3.5' },
}

const LABELS: Readonly<Record<CaseId, string>> = {
  'S-1': 'S-1 static chain, static keys',
  'S-2': 'S-2 static chain, dynamic keys',
  'S-3': 'S-3 reconfigurable',
}

const NOTES = [
  'Load, key rate, stock and burst were calibrated on S-1 alone; S-2 and S-3 come out as they come out. S-1 is met in P_full, max |df| and TRR, not in eta.',
  'S-1 uses more key than the paper’s because here a command costs three messages, for its two confirmations go in its suite, and a report carries all measurands. The rows "all of S-1 fitted" have twice the key, a PMU block a second and 26 events a load instead of 16: then all four figures of S-1 are near the paper’s, but all messages under one-time pads take little more than half of the key, so eta of S-2 and S-3 can be no higher.',
  'S-1 and S-2 serve first come, first served, each message that is queued: a shedding command waits behind the events of its station. The rows "fair turns" serve the two directions of a link in turn, as S-3 does: the sheds then wait half as long, and so does TRR of S-1.',
  'Not identified by that: how many phasor concentrators there are and which gateway carries them. Three, all on gateway A, was chosen knowing what the paper has for S-2 and S-3: that is a second and a third calibration. The variants show the other choices.',
  'P_full counts a task that was done in the suite it needs and within its deadline: commands need one-time pads, reports AES at least. It is dominated by reports; see the classes.',
  'S-2 has a stock a gateway, for a chain that stays on its path can use no other; S-3 has one stock, as the paper’s constraint (24). The variant "one stock" gives S-2 that, too.',
] as const

export type Table1Options = {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  /** Runs of each variant; 0: none. */
  readonly variantRuns: number
  /** Policies of S-3, the first in the main row. */
  readonly policies: readonly Scenario['scheduler']['policy'][]
}

/** Main rows, then the variants. */
export function table1({ scenario, seeds, variantRuns, policies }: Table1Options): Study {
  const main = CASES.flatMap((id): Row[] => {
    const variant = variantOf(id, scenario)
    const row = { id, label: LABELS[id], scenario, variant, paper: PAPER[id] }
    if (id !== 'S-3') return [row]
    return policies.map((policy, index) => ({
      ...row,
      id: index === 0 ? id : `${id} ${policy}`,
      label: `${LABELS[id]}, ${policy}`,
      variant: { ...variant, policy },
    }))
  })
  return {
    name: 'table1',
    title: 'Table I: IEEE 39-bus system, S-1 to S-3',
    notes: NOTES,
    rows: [...main, ...(variantRuns > 0 ? variants(scenario, variantRuns, policies[0]) : [])],
    seeds,
  }
}

function variants(
  scenario: Scenario,
  runs: number,
  policy: Variant['policy'] = scenario.scheduler.policy,
): readonly Row[] {
  const of = (id: CaseId): Variant => (id === 'S-3' ? { ...variantOf(id, scenario), policy } : variantOf(id, scenario))
  const split = splitConcentrators(scenario)
  const fewer = withoutLastConcentrator(scenario)
  const fitted = fittedToS1(scenario)
  const small = withStock(scenario, scenario.keys.thresholds.capBits / 3)
  const row = (id: CaseId, name: string, what: string, changed: Scenario, variant = of(id)): Row => {
    return { id: `${id} ${name}`, label: `${id}, ${what}`, scenario: changed, variant, runs }
  }
  return [
    ...(['S-1', 'S-2'] as const).map((id) =>
      row(id, 'fair-turns', 'fair turns', scenario, { ...of(id), order: 'fair' }),
    ),
    ...CASES.map((id) => row(id, 'all-fitted', 'all of S-1 fitted', fitted)),
    row('S-2', 'one-stock', 'one stock for both gateways', scenario, { ...of('S-2'), pooling: 'shared' }),
    row('S-3', 'stock-a-gateway', 'a stock a gateway', scenario, { ...of('S-3'), pooling: 'gateway' }),
    ...CASES.map((id) => row(id, 'split', 'concentrators split 2:1', split)),
    ...CASES.map((id) => row(id, 'two-pmus', 'two concentrators', fewer)),
    ...CASES.map((id) => row(id, 'small-stock', 'a third of the stock', small)),
  ]
}

/** What brings S-1's utilisation to the paper's as well. */
function fittedToS1(scenario: Scenario): Scenario {
  const { pmu, events } = scenario.tasks
  const tasks = { ...scenario.tasks, pmu: { ...pmu, periodS: 1 }, events: { ...events, atLoad: 26 } }
  return withKeyRate({ ...scenario, tasks }, 2)
}

/** The last concentrator's station has the other gateway on its first path. */
function splitConcentrators(scenario: Scenario): Scenario {
  const rtu = lastConcentrator(scenario)?.rtu
  const { links } = scenario.topology
  const own = links.filter(({ between }) => between.includes(rtu ?? ''))
  const [first, second] = own
  if (first === undefined || second === undefined) return scenario
  const swapped = links.map((link) =>
    link === first
      ? { ...first, between: second.between }
      : link === second
        ? { ...second, between: first.between }
        : link,
  )
  return { ...scenario, topology: { ...scenario.topology, links: swapped } }
}

function withoutLastConcentrator(scenario: Scenario): Scenario {
  const last = lastConcentrator(scenario)
  if (last === undefined) return scenario
  const { nodes, links } = scenario.topology
  return {
    ...scenario,
    topology: {
      ...scenario.topology,
      nodes: {
        ...nodes,
        rtus: nodes.rtus.filter(({ id }) => id !== last.rtu),
        ieds: nodes.ieds.filter(({ id }) => id !== last.id),
      },
      links: links.filter(({ between }) => !between.includes(last.rtu)),
    },
  }
}

function lastConcentrator(scenario: Scenario): Scenario['topology']['nodes']['ieds'][number] | undefined {
  return scenario.topology.nodes.ieds.findLast(({ kind }) => kind === 'pmu')
}
