import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { runStudy } from '../../src/cli/experiment/run-study.ts'
import {
  ablation,
  breaksFigure,
  CASES,
  estimate,
  FAIRNESS_NOTES,
  fairnessCsv,
  fairnessFigure,
  fairnessJobs,
  fairnessSummary,
  fairnessText,
  fidelityOf,
  ieee118Agents,
  iterationsFigure,
  jobsOf,
  parseScenario,
  planOf,
  type RunResult,
  runGame,
  type Scenario,
  scenarioOfVariant,
  sensitivity,
  studyCsv,
  studyHtml,
  studyText,
  summaryOf,
  table1,
  trrFigure,
  variantOf,
} from '../../src/experiment/index.ts'
import { killedSweep } from './killed-sweep.ts'

const FILE = 'scenarios/table1.yaml'
const scenario = parseScenario(readFileSync(FILE, 'utf8'), FILE)
/** The same lab, but short: the step comes after six seconds. */
const short: Scenario = {
  ...scenario,
  durationS: 14,
  warmupS: 3,
  grid: { ...scenario.grid, disturbances: [{ kind: 'loadStep', atS: 6, bus: 16, mw: 400 }] },
}

t.test('S-1, S-2 and S-3 are scenarios of their own', async (t) => {
  const made = CASES.map((id) => scenarioOfVariant(scenario, variantOf(id, scenario)))
  for (const [index, one] of made.entries()) {
    t.same(parseScenario(stringify(one), 's.yaml'), one, `${CASES[index]} can be written down and read again`)
  }
  const [s1, s2, s3] = made
  const quotasOf = (one: Scenario | undefined) => (one?.keys.quotas === 'auto' ? [] : (one?.keys.quotas ?? []))
  t.equal(quotasOf(s1).length, 24, 'S-1 has a quota a station')
  t.same(
    quotasOf(s2).map(({ id, links }) => [id, links.length]),
    [
      ['gwA', 12],
      ['gwB', 12],
    ],
    'S-2 has one a gateway',
  )
  t.match(s3, { keys: { pool: 'shared' }, scheduler: { policy: 'greedy' } })
  t.match([s1, s2], [{ scheduler: { policy: 'static' } }, { scheduler: { policy: 'static' } }])
  t.equal(s3?.topology.links.length, 50)
  t.equal(s1?.topology.links.length, 26, 'static chains have one path')
  const master = s3 && planOf(s3).nodes.find(({ kind }) => kind === 'master')
  t.equal(master?.kind === 'master' && master.config.chains.filter(({ target }) => target !== undefined).length, 21)
  t.equal(master?.kind === 'master' && master.config.chains.filter(({ reports }) => reports !== undefined).length, 5)
})

t.test('every row of every study is a valid scenario, and its runs have different names', async (t) => {
  const seeds = [1, 2]
  const studies = [
    table1({ scenario, seeds, variantRuns: 1, policies: ['greedy'] }),
    ablation({ scenario, seeds, policies: ['greedy'] }),
    sensitivity({ scenario, seeds, policy: 'greedy' }),
  ]
  for (const { name, rows } of studies) {
    // Of the many rows that differ by a number, some.
    const checked = name === 'sensitivity' ? rows.filter((_, index) => index % 7 === 0) : rows
    for (const { id, scenario: base, variant } of checked) {
      const made = variant === undefined ? base : scenarioOfVariant(base, variant)
      t.same(parseScenario(stringify(made), 's.yaml'), made, `${name}, ${id}`)
    }
  }
  const ids = studies.map((study) => jobsOf(study).map(({ id }) => id))
  for (const own of ids) t.equal(new Set(own).size, own.length)
  t.equal(ids[0]?.length, 3 * 2 + 16, 'variants have fewer runs')
})

t.test('the same seeds give the same metrics.json on one worker and on two, the rolling policy included', async (t) => {
  const folder = t.testdir()
  const policies = ['greedy', 'rolling'] as const
  const study = table1({ scenario: short, seeds: [1], variantRuns: 0, policies })
  const of = async (workers: number): Promise<{ readonly metrics: string; readonly results: readonly RunResult[] }> => {
    const out = join(folder, String(workers))
    await runStudy({ study, workers, out, command: 'q104 experiment table1', json: true })
    const read = (name: string) => readFileSync(join(out, name), 'utf8')
    const { runs } = JSON.parse(read('metrics.json'))
    const { took } = JSON.parse(read('about.json'))
    return {
      metrics: read('metrics.json'),
      results: runs.map((run: RunResult, i: number) => ({ ...run, took: took[i] })),
    }
  }
  const [{ metrics, results: one }, two] = [await of(1), await of(2)]
  t.equal(metrics, two.metrics, 'octet for octet')
  t.same(
    one.map(({ row, metrics: { invalidReasons } }) => [row, ...invalidReasons]),
    [['S-1'], ['S-2'], ['S-3'], ['S-3 rolling']],
  )
  const [s1, s2, s3] = one.map(({ metrics }) => metrics)
  t.ok((s1?.maxAbsDeltaFHz ?? 0) > (s3?.maxAbsDeltaFHz ?? 1), 'without key the sheds are late')
  t.ok((s3?.maxAbsDeltaFHz ?? 1) < 0.1, `S-3 holds the frequency: ${s3?.maxAbsDeltaFHz}`)
  t.ok((s3?.pFull ?? 0) > (s2?.pFull ?? 1))
  t.ok(one.every(({ took }) => took.schedulerS > 0 && took.schedulerS < took.wallS))

  const summaries = study.rows.map((row) => summaryOf(row, one))
  const head = { command: 'q104 experiment table1', version: '1', seeds: [1], remarks: [] }
  const text = studyText(study, summaries, head)
  t.match(text, '0.72', 'the paper’s figures stand beside ours')
  t.match(text, 'second and a third calibration')
  t.match(studyHtml(study, summaries, head, [{ title: 'F', svg: '<svg/>' }]), '<figure><svg/>')
  const [first, ...lines] = studyCsv(one).trim().split('\n')
  t.match(first, 'row,seed,valid,pFull')
  t.equal(lines.length, 4)
  t.match(trrFigure(study.rows, one), { layer: [{ data: { values: [{ low: 12, high: 16 }, {}, {}] } }, {}, {}] })
})

t.test('an interval covers the mean and narrows with more runs', async (t) => {
  const values = Array.from({ length: 40 }, (_, index) => index % 10)
  const few = estimate(values.slice(0, 10), 'a')
  const many = estimate(values, 'a')
  if (few === undefined || many === undefined) throw new Error('no estimate')
  t.equal(many.mean, 4.5)
  t.ok(many.low < 4.5 && many.high > 4.5)
  t.ok(many.high - many.low < few.high - few.low)
  t.same(estimate(values, 'a'), many, 'the same every time')
  t.equal(estimate([], 'a'), undefined)
})

t.test('the two worlds are held against each other pair by pair', async (t) => {
  const measured = { valid: true, invalidReasons: [], keyUtilizationRatio: 0.5, frames: 1 }
  const virtual = { ...measured, pFull: 0.99, maxAbsDeltaFHz: 0.08, trrS: 2.5 }
  const pair = (seed: number, live: Partial<typeof virtual>) => ({ seed, virtual, live: { ...virtual, ...live } })
  const within = fidelityOf([pair(1, { trrS: 2.6 }), pair(2, { trrS: 2.7 })])
  t.match(within, [
    { id: 'pFull', isWithin: true },
    { id: 'maxAbsDeltaFHz', isWithin: true },
    { id: 'trrS', isWithin: true },
  ])
  t.match(fidelityOf([pair(1, { trrS: 3.2 })])[2], { isWithin: false, largest: 0.7000000000000002 })
  t.match(
    fidelityOf([pair(1, { valid: false })])[0],
    { isWithin: false, difference: undefined },
    'no valid pair proves nothing',
  )
})

t.test(
  'the fairness study has a run for every policy, budget, break rate and seed, and its game is repeatable',
  async (t) => {
    const jobs = fairnessJobs({ seeds: [1, 2], pointRuns: 1 })
    t.equal(new Set(jobs.map(({ id }) => id)).size, jobs.length)
    t.equal(jobs.length, 7 * 2 + 10 + 5 * 4)
    t.ok(
      jobs.every(({ settleS, measureS }) => settleS + measureS === 60),
      'a run is 60 s',
    )
    const agents = ieee118Agents()
    const played = jobs
      .filter(({ id, seed }) => seed === 1 && (id.startsWith('figure2/') || id.startsWith('figure3/5/')))
      .map((job) => ({ ...job, settleS: 2, measureS: 2 }))
    const results = played.map((job) => runGame(agents, job))
    t.same(
      played.slice(0, 3).map((job) => runGame(agents, job)),
      results.slice(0, 3),
      'the same seed gives the same run',
    )
    const supplied = new Set(results.map(({ messages }) => messages))
    t.ok(supplied.size < results.length, 'messages come from the seed, whatever the policy')
    for (const { id, fairnessIndex } of results)
      t.ok(fairnessIndex > 0 && fairnessIndex <= 1, `${id}: ${fairnessIndex}`)
    const of = (kind: string) => results.find((result) => result.kind === kind)?.fairnessIndex ?? Number.NaN
    t.ok(of('printed-game') < of('exact'), 'without floors the followers get little')

    const summary = fairnessSummary(results)
    t.match(summary.rows[0]?.fairnessIndex, { runs: 1, mean: of('equal') })
    t.match(fairnessText(summary), 'S-5 exact')
    t.match(FAIRNESS_NOTES.join(' '), 'does not say how S-4 splits the key')
    t.equal(fairnessCsv(results).trim().split('\n').length, results.length + 1)
    const [violin, line, heat] = [fairnessFigure(results), iterationsFigure(results), breaksFigure(summary)]
    t.match(violin, { data: { values: Array.from({ length: 7 }, () => ({})) } })
    t.match(line, { data: { values: [{ maxIterations: 5 }] } })
    t.match(heat, { data: { values: Array.from({ length: 20 }, () => ({})) } })
  },
)

t.test('every run of a sweep counts once although its workers are killed', async (t) => {
  const outcome = await killedSweep({
    scenario: 'scenarios/tiny.yaml',
    runs: 16,
    workers: 2,
    kills: 3,
    killEveryMs: 2_000,
  })
  if (outcome === undefined) {
    t.comment('NOT TESTED: there is no redis-server on this machine')
    return
  }
  t.equal(outcome.exitCode, 0, outcome.stderr)
  t.same(
    outcome.ids,
    Array.from({ length: 16 }, (_, index) => `tiny/${index + 1}`),
  )
  t.equal(outcome.csvLines, 16)
  t.ok(outcome.killed > 0, `${outcome.killed} workers were killed`)
})
