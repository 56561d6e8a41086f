/**
 * Real netem, on whatever kernel: user-mode Linux is booted once, does everything in `guest.ts`, and is judged here.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Impairment, type LinkLaw, randomStream } from '../../src/sim/index.ts'
import { BENT_MS, FRAMES, type GuestResults, LAWS, lossRuns, type Sample, SIZE_BYTES } from './guest.ts'
import { compare } from './kolmogorov-smirnov.ts'

const RUN = 'scripts/uml/run.sh'
const TIMEOUT_MS = 300_000
/** Exit codes of `RUN`. */
const [MISSING, NOT_BOOTED] = [127, 126]
/** Far below every delay of the laws, far above what a datagram takes that skips it. */
const SKIPPED_MS = 50

t.setTimeout(TIMEOUT_MS + 20_000)

const dir = mkdtempSync(join(tmpdir(), 'q104-uml-test-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

const booted = boot()
const results = booted.results
const skip = booted.results === undefined ? `NO REAL NETEM TESTED: ${booted.why}` : false
// Past the reporter: whoever runs the tests must see it.
if (skip !== false) console.error(skip)

type Booted = { readonly results: GuestResults } | { readonly results?: never; readonly why: string }

/** Without user-mode Linux, or where the machine does not let it start, there is nothing to judge. */
function boot(): Booted {
  const file = join(dir, 'results.json')
  const startMs = performance.now()
  const { status, stdout, stderr } = spawnSync(
    'setpriv',
    ['--pdeathsig', 'TERM', RUN, process.execPath, 'build/test/netem/guest.js', file],
    {
      env: { ...process.env, UML_REALTIME: '1', UML_MEM: '1024M' },
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    },
  )
  if (status === MISSING || status === NOT_BOOTED) return { why: stderr.trim().replaceAll('\n', ' ') }
  t.comment(`user-mode Linux was up for ${((performance.now() - startMs) / 1000).toFixed(0)} s`)
  if (status !== 0)
    throw new Error(`user-mode Linux ended with ${status}: ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
  return { results: JSON.parse(readFileSync(file, 'utf8')) }
}

/** What the transport's law makes of as many datagrams as a sample has: both directions, each with a stream of its own. */
function modelled(law: LinkLaw, seed: number): Sample {
  const ends = [0, 1].map((end) => {
    const impairment = new Impairment(law, randomStream(seed, `end ${end}`))
    return Array.from({ length: FRAMES }, (_, i) => impairment.arrivals(3 * i, SIZE_BYTES).map((ms) => ms - 3 * i))
  })
  const all = ends.flat()
  return {
    sent: all.length,
    delaysMs: all.flatMap((delaysMs) => (delaysMs.length === 0 ? [] : [Math.min(...delaysMs)])),
    duplicates: all.filter((delaysMs) => delaysMs.length > 1).length,
    lossRuns: ends.flatMap((end) => lossRuns(end.map((delaysMs) => delaysMs.length > 0))),
  }
}

/** Those that a law has delayed at all: what skips the delay takes what the machine takes. */
const delayed = ({ delaysMs }: Sample): readonly number[] => delaysMs.filter((ms) => ms > SKIPPED_MS)
const lost = ({ sent, delaysMs }: Sample): number => sent - delaysMs.length
const meanRun = ({ lossRuns }: Sample): number => lossRuns.reduce((sum, run) => sum + run, 0) / lossRuns.length

/** Whether two counts differ by more than chance, each varying `spread` times as much as a count of single events does. */
const unlike = (a: number, b: number, spread = 1): boolean => Math.abs(a - b) > 4 * Math.sqrt(spread * (a + b)) + 1

t.test('the kernel inside has netem, and namespaces', { skip }, async (t) => {
  t.match(results, { netem: true, isolation: 'netns' })
})

t.test('a law takes the place of any other, whatever it was, and tc shows it', { skip }, async (t) => {
  const shown = results?.shown.map((line) => line.replace(/^qdisc netem \S+ root refcnt \d+ limit 10000 ?/, ''))
  // What netem keeps and does not use: a part to reorder, without a gap.
  t.same(
    shown?.map((line) => line.replace(/ ?reorder 5%(?! gap)/, '')),
    [
      'delay 400ms  100ms loss 1%',
      'delay 300ms  100ms loss gemodel p 1% r 20% 1-h 80% 1-k 0%',
      'delay 300ms  100ms duplicate 3% reorder 5% gap 1',
      'delay 5ms rate 64Kbit',
      '',
      'loss 100%',
    ],
  )
})

t.test('netem and the law of the transport give delays of the same distribution', { skip }, async (t) => {
  for (const [index, law] of LAWS.entries()) {
    const netem = results?.byNetem[index]
    if (netem === undefined) return void t.fail('no sample')
    const { distance, limit } = compare(delayed(netem), delayed(modelled(law, 1)))
    const figures = `D = ${distance.toFixed(4)}, limit ${limit.toFixed(4)}, ${netem.delaysMs.length} datagrams`
    t.ok(distance < limit, `${law.jitter}: ${figures}`)
  }
  const [law] = LAWS
  const [netem] = results?.byNetem ?? []
  const [transport] = results?.byTransport ?? []
  if (law === undefined || netem === undefined || transport === undefined) return void t.fail('no sample')
  const { distance, limit } = compare(delayed(netem), delayed(transport))
  t.ok(distance < limit, `on the wire both: D = ${distance.toFixed(4)}, limit ${limit.toFixed(4)}`)
  const other = LAWS[1] ?? law
  t.ok(
    compare(delayed(netem), delayed(modelled({ ...other, delayMs: 400 }, 1))).distance > 2 * limit,
    'unlike laws differ',
  )
})

t.test('they lose, double and let overtake as many datagrams, and lose them in bursts as long', { skip }, async (t) => {
  const [netem, bursts, doubled] = results?.byNetem ?? []
  const [transport] = results?.byTransport ?? []
  const [law, burstLaw, doubleLaw] = LAWS
  if (!netem || !bursts || !doubled || !transport || !law || !burstLaw || !doubleLaw) return void t.fail('no sample')
  const [model, burstModel, doubleModel] = [law, burstLaw, doubleLaw].map((one) => modelled(one, 2))
  if (!model || !burstModel || !doubleModel) return void t.fail('no model')
  t.notOk(unlike(lost(netem), lost(model)), `independent: ${lost(netem)} lost by netem, ${lost(model)} by the law`)
  const scale = netem.sent / transport.sent
  t.notOk(
    unlike(lost(netem), scale * lost(transport), scale),
    `and ${lost(transport)} of ${transport.sent} by the transport`,
  )
  // Losses come in groups of nearly four: (1 + rho) / (1 - rho), rho = 1 - 0.01 - 0.2, times the part lost.
  t.notOk(unlike(lost(bursts), lost(burstModel), 7), `bursts: ${lost(bursts)} and ${lost(burstModel)}`)
  const [run, modelRun] = [meanRun(bursts), meanRun(burstModel)]
  t.ok(Math.abs(run - modelRun) < 1.2 && run > 1.8, `in runs of ${run.toFixed(2)} and ${modelRun.toFixed(2)}`)
  t.notOk(
    unlike(doubled.duplicates, doubleModel.duplicates),
    `${doubled.duplicates}, ${doubleModel.duplicates} doubled`,
  )
  t.equal(lost(doubled), 0)
  const [skipped, modelSkipped] = [doubled, doubleModel].map((one) => one.sent - lost(one) - delayed(one).length)
  t.notOk(unlike(skipped ?? 0, modelSkipped ?? 0), `${skipped} and ${modelSkipped} skipped the delay`)
})

t.test('netem delay 20ms 2ms loss 1% is what the lab itself measures, within 5 %', { skip }, async (t) => {
  const found = results?.selfChecks.at(-1)
  if (found === undefined) return void t.fail('no self-check')
  const { rttMs, lossRatio, jitterMs, sent, lagMs, problems } = found
  const offRatio = rttMs.measured / rttMs.asked - 1
  const figures = `round trip ${rttMs.measured.toFixed(2)} ms of ${rttMs.asked.toFixed(2)}`
  t.ok(
    Math.abs(offRatio) < 0.05,
    `${figures}: ${(100 * offRatio).toFixed(1)} % off, attempt ${results?.selfChecks.length}`,
  )
  t.comment(`jitter ${jitterMs.map((ms) => ms.toFixed(2)).join(' and ')} ms of 2, timers late ${JSON.stringify(lagMs)}`)
  t.notOk(unlike(sent * lossRatio.measured, sent * 0.01), `loss ${(100 * lossRatio.measured).toFixed(2)} % of ${sent}`)
  t.same(problems, [])
})

t.test(
  'a run under netem is valid, and a link bent meanwhile is seen in the latency of tasks within a second',
  { skip },
  async (t) => {
    const live = results?.live
    if (live === undefined) return void t.fail('no run')
    const { code, output, events, askedWallMs, doneWallMs, linkOutput } = live
    t.equal(code, 0, output)
    t.match(output, /links impaired kernel netem/)
    t.match(linkOutput, `delay=${BENT_MS}ms`)
    // There and back, less what jitter may take.
    const bentMs = 2 * BENT_MS - 5
    const sample = events.find(({ name }) => name === 'telemetry.sampled')
    const epochMs = Number(sample?.['tagMs']) - Number(sample?.['tMs'])
    const confirmed = events.flatMap(({ name, tMs, latencyMs }) =>
      name === 'task.confirmed' ? [{ wallMs: epochMs + Number(tMs), latencyMs: Number(latencyMs) }] : [],
    )
    const before = confirmed.filter(({ wallMs }) => wallMs < askedWallMs).map(({ latencyMs }) => latencyMs)
    const bent = confirmed.find(({ wallMs, latencyMs }) => wallMs > askedWallMs && latencyMs > bentMs)
    const usualMs = before.toSorted((a, b) => a - b)[before.length >> 1] ?? 0
    t.ok(before.length >= 3 && usualMs < BENT_MS, `before: ${before.map(Math.round).join(' ')} ms`)
    t.ok(
      bent !== undefined && bent.wallMs - doneWallMs < 1_000,
      `${Math.round(bent?.latencyMs ?? 0)} ms seen ${Math.round((bent?.wallMs ?? 0) - doneWallMs)} ms after the change`,
    )
    const later = confirmed.filter(({ wallMs }) => wallMs > doneWallMs + 1_000)
    t.ok(later.length >= 2 && later.every(({ latencyMs }) => latencyMs > bentMs), `then ${later.length} tasks as late`)
  },
)
