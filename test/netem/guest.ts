/**
 * What is done inside user-mode Linux, where the kernel has netem: `node guest.js <file for the results>`. The host judges the
 * results; here nothing is judged, so that one boot serves all tests.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  checkLinks,
  detectIsolation,
  hasNetem,
  type LabNet,
  LabNetwork,
  type NetworkCheck,
  planLab,
} from '../../netns/index.ts'
import { CLEAR, type LinkLaw } from '../../src/sim/index.ts'

/** Wide laws, so that what the machine itself takes is small beside them. */
export const LAWS: readonly LinkLaw[] = [
  { ...CLEAR, delayMs: 400, jitterMs: 100, jitter: 'normal', lossRatio: 0.01 },
  {
    ...{ ...CLEAR, delayMs: 300, jitterMs: 100, jitter: 'uniform' },
    burst: { startRatio: 0.01, endRatio: 0.2, lossRatio: 0.8 },
  },
  { ...CLEAR, delayMs: 300, jitterMs: 100, jitter: 'pareto', duplicateRatio: 0.03, reorderRatio: 0.05 },
]
/** The law of the issue: netem delay 20ms 2ms loss 1%. */
export const LAW_20_2_1: LinkLaw = { ...CLEAR, delayMs: 20, jitterMs: 2, lossRatio: 0.01 }
/** Datagrams of each end of a link under each of `LAWS`, so that two ends make 10,000. */
export const FRAMES = 5_000
export const SIZE_BYTES = 80
/** Under the law that the transport applies: its timers ask more of this slow machine, so fewer and more slowly. */
export const TRANSPORT_FRAMES = 2_000
/** Between two datagrams of all ends of one side together: what the machine can do. */
const GAP_MS = { netem: 1.25, transport: 3 }
/** Delay that `q104 link` sets while a lab runs, each way. */
export const BENT_MS = 100
/** Lab time from the start of the run to the change. */
const SETTLED_MS = 3_500
const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')

/** Of the datagrams of one link, both directions together. */
export type Sample = {
  readonly sent: number
  readonly delaysMs: readonly number[]
  readonly duplicates: number
  /** Lengths of runs of lost datagrams. */
  readonly lossRuns: readonly number[]
}

export type SelfCheck = Pick<NetworkCheck, 'lagMs' | 'problems' | 'rounds'> & {
  readonly rttMs: NetworkCheck['links'][number]['rttMs']
  readonly jitterMs: readonly number[]
  readonly lossRatio: NetworkCheck['links'][number]['lossRatio']
  readonly sent: number
}

export type LiveRun = {
  readonly code: number | null
  readonly output: string
  /** Wall time at which `q104 link` was told to change the law, and had. */
  readonly askedWallMs: number
  readonly doneWallMs: number
  readonly linkOutput: string
  readonly events: readonly Readonly<Record<string, unknown>>[]
}

export type GuestResults = {
  readonly isolation: string
  readonly netem: boolean
  readonly byNetem: readonly Sample[]
  readonly byTransport: readonly Sample[]
  readonly selfChecks: readonly SelfCheck[]
  /** What `tc` shows of a link after its jitter went from one shape to another and back to none. */
  readonly shown: readonly string[]
  readonly live: LiveRun
}

function net(lab: string, links: number): LabNet {
  const nodes = ['a', 'b'].map((id, index) => ({ id, number: index + 1 }))
  return { lab, nodes, links: Array.from({ length: links }, (_, link) => ({ link, ends: ['a', 'b'] as const })) }
}

/** A network of links side by side for the time of `work`. */
async function withLinks<T>(links: number, work: (network: LabNetwork) => Promise<T>): Promise<T> {
  const network = await LabNetwork.up(planLab(net('uml', links), 'netns'))
  try {
    return await work(network)
  } finally {
    await network.down()
  }
}

async function samplesOf(laws: readonly LinkLaw[], appliedBy: 'netem' | 'transport'): Promise<readonly Sample[]> {
  const intervalMs = GAP_MS[appliedBy] * laws.length
  const frames = appliedBy === 'netem' ? FRAMES : TRANSPORT_FRAMES
  return withLinks(laws.length, async (network) => {
    const { links } = await checkLinks(network, new Map(laws.entries()), appliedBy, {
      ...{ durationMs: frames * intervalMs, intervalMs, sizeBytes: SIZE_BYTES, rounds: 1 },
    })
    return links.map(({ directions }) => ({
      sent: directions.reduce((sum, { sent }) => sum + sent, 0),
      delaysMs: directions.flatMap(({ delaysMs }) => [...delaysMs].map((ms) => Number(ms.toFixed(3)))),
      duplicates: directions.reduce((sum, { duplicateRatio, sent }) => sum + duplicateRatio.measured * sent, 0),
      lossRuns: directions.flatMap(({ arrived }) => lossRuns(arrived)),
    }))
  })
}

export function lossRuns(arrived: readonly boolean[]): number[] {
  const runs: number[] = []
  let run = 0
  for (const came of [...arrived, true]) {
    if (!came) run++
    else if (run > 0) {
      runs.push(run)
      run = 0
    }
  }
  return runs
}

async function selfCheck(): Promise<SelfCheck> {
  return withLinks(1, async (network) => {
    const options = { durationMs: 4_000, intervalMs: 2 }
    const { links, ...rest } = await checkLinks(network, new Map([[0, LAW_20_2_1]]), 'netem', options)
    const [link] = links
    if (link === undefined) throw new Error('no link')
    const { rttMs, lossRatio, directions } = link
    return {
      ...{ lagMs: rest.lagMs, problems: rest.problems, rounds: rest.rounds, rttMs, lossRatio },
      jitterMs: directions.map(({ jitterMs }) => jitterMs.measured),
      sent: directions.reduce((sum, { sent }) => sum + sent, 0),
    }
  })
}

async function shown(): Promise<readonly string[]> {
  return withLinks(1, async (network) => {
    const seen: string[] = []
    for (const law of [...LAWS, { ...CLEAR, delayMs: 5, bandwidthBps: 64_000 }, CLEAR, { ...CLEAR, outage: true }]) {
      await network.setLaw(0, law)
      const [file = '', ...args] = [...network.execPrefix('a'), 'tc', 'qdisc', 'show', 'dev', 'b']
      seen.push(spawnSync(file, args, { encoding: 'utf8' }).stdout.trim())
    }
    return seen
  })
}

async function liveRun(): Promise<LiveRun> {
  const out = mkdtempSync(join(tmpdir(), 'q104-live-'))
  const command = ['run', 'test/netem/bend.yaml', '--lab', 'live', '--out', out, '--isolation', 'netns']
  const run = spawn(process.execPath, [BIN, ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [run.stdout, run.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes
    })
  }
  const ended = new Promise<number | null>((resolve) => run.once('close', resolve))
  while (!/processes up in/.test(output) && run.exitCode === null) await sleep(50)
  await sleep(SETTLED_MS)
  const askedWallMs = Date.now()
  const words = ['link', '--lab', 'live', 'cc-rtu1', 'set', `delay=${BENT_MS}ms`]
  const link = spawnSync(process.execPath, [BIN, ...words], { encoding: 'utf8' })
  const doneWallMs = Date.now()
  const code = await ended
  const events = existsSync(join(out, 'events.jsonl')) ? readFileSync(join(out, 'events.jsonl'), 'utf8') : ''
  rmSync(out, { recursive: true, force: true })
  const names = ['task.issued', 'task.confirmed', 'telemetry.sampled', 'telemetry.received']
  return {
    ...{ code, output: output.slice(-20_000), askedWallMs, doneWallMs, linkOutput: link.stdout + link.stderr },
    events: events
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
      .filter(({ name }) => names.includes(name)),
  }
}

const [, script = '', resultsFile] = process.argv
if (script.endsWith('guest.js') && resultsFile !== undefined) {
  const selfChecks: SelfCheck[] = []
  const results: GuestResults = {
    isolation: (await detectIsolation()).isolation,
    netem: await hasNetem(),
    shown: await shown(),
    byNetem: await samplesOf(LAWS, 'netem'),
    byTransport: await samplesOf(LAWS.slice(0, 1), 'transport'),
    selfChecks,
    live: await liveRun(),
  }
  for (let attempt = 0; attempt < 3; attempt++) {
    const found = await selfCheck()
    selfChecks.push(found)
    if (Math.abs(found.rttMs.measured / found.rttMs.asked - 1) < 0.05) break
  }
  writeFileSync(resultsFile, JSON.stringify(results))
}
