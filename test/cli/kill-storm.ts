import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseRecords, type RecordedEvent } from '../../src/runtime/index.ts'
import { LabUnderTest, q104 } from './lab-under-test.ts'

/** Processes that are killed: key server, control centre, gateway. */
const VICTIMS = ['keyserver', 'cc', 'gwA'] as const
type Victim = (typeof VICTIMS)[number]
/** Whom a kill hit, and when, in lab time to some 50 ms. */
type Kill = { readonly victim: Victim; readonly atMs: number }

export type KillStormOptions = {
  readonly lab: string
  readonly kills: number
  readonly seed: number
  /** Times between two kills, ms, picked evenly. */
  readonly gapMs: readonly [number, number]
  readonly onKill?: (index: number, victim: Victim) => void
}

export type KillStormReport = {
  readonly kills: Readonly<Record<Victim, number>>
  readonly seconds: number
  /** Exit code and verdict of `q104 audit` over what the run has left, and its violations. */
  readonly auditCode: number | null
  readonly verdict: string
  readonly violations: readonly unknown[]
  /** Distinct messages in the capture, and how many of them the key log opened. */
  readonly messages: number
  readonly opened: number
  readonly slotsInMessages: number
  readonly booksBalanced: boolean
  /** Why the run is not valid, without the kills that were asked for. */
  readonly faults: readonly string[]
  /** Telemetry values and commands that arrived. */
  readonly tasksDone: number
  /** Commands by how they ended. */
  readonly commands: Readonly<Record<string, number>>
  /** From each kill to the next task that went through from end to end, ms. */
  readonly recoveriesMs: readonly number[]
  /** Kills after which, until the next one, no task went through. */
  readonly barren: number
  /** What the run printed, for the reader of a failure. */
  readonly printed: string
}

/** Kills processes of a live lab at random, with SIGKILL, and then holds all that it has left against each other. */
export async function killStorm(options: KillStormOptions): Promise<KillStormReport> {
  const { kills, gapMs, seed, onKill } = options
  const uniform = random(seed)
  const folder = mkdtempSync(join(tmpdir(), 'q104-kill-storm-'))
  const scenario = join(folder, 'storm.yaml')
  const gaps = Array.from({ length: kills }, () => gapMs[0] + (gapMs[1] - gapMs[0]) * uniform())
  const durationS = Math.ceil(gaps.reduce((sum, gap) => sum + gap, 0) / 1000) + LEAD_S + TAIL_S
  writeFileSync(scenario, scenarioText(seed, durationS))
  const beganMs = performance.now()
  const lab = new LabUnderTest(options.lab, scenario, '--restart', '--keylog')
  try {
    await lab.printed(/processes up/)
    const startMs = performance.now()
    await sleep(LEAD_S * 1000)
    const killed: Kill[] = []
    for (const gap of gaps) {
      const victim = VICTIMS[Math.floor(uniform() * VICTIMS.length)] ?? 'gwA'
      // One that is about to be started has no process yet.
      while (nodesOf(lab, victim).length === 0 && lab.child.exitCode === null) await sleep(20)
      if (lab.child.exitCode !== null) break
      for (const pid of nodesOf(lab, victim)) kill(pid)
      killed.push({ victim, atMs: performance.now() - startMs })
      onKill?.(killed.length, victim)
      await sleep(gap)
    }
    const { stdout, stderr } = await lab.finished
    if (killed.length < kills || !existsSync(lab.file('events.jsonl'))) {
      throw new Error(`after ${killed.length} kills the run ended:\n${stdout.slice(-3000)}${stderr}`)
    }
    return report(lab, killed, (performance.now() - beganMs) / 1000, stdout + stderr)
  } finally {
    lab.child.kill('SIGKILL')
    await lab.leftovers()
    rmSync(folder, { recursive: true, force: true })
    rmSync(lab.out, { recursive: true, force: true })
  }
}

/** Undisturbed time before the first kill and after the last, s. */
const LEAD_S = 3
const TAIL_S = 6

function report(lab: LabUnderTest, killed: readonly Kill[], seconds: number, printed: string): KillStormReport {
  const events = parseRecords(readFileSync(lab.file('events.jsonl'), 'utf8'))
  const { code, stdout, stderr } = q104('audit', lab.out, '--json')
  const audit = code === 2 ? { verdict: stderr, channels: [], violations: [] } : JSON.parse(stdout)
  const channels: readonly Record<string, unknown>[] = audit.channels
  const sum = (fact: string): number => channels.reduce((total, channel) => total + Number(channel[fact]), 0)
  const metrics = lab.metrics()
  const doneAtMs = events.filter(isDone).map(({ tMs }) => tMs)
  const deathsAtMs = killed.map(({ atMs }) => atMs)
  const recoveriesMs = deathsAtMs.map((atMs) => (doneAtMs.find((doneMs) => doneMs > atMs) ?? Number.NaN) - atMs)
  const hits = (id: Victim): number => killed.filter(({ victim }) => victim === id).length
  const commands = events.filter(({ name }) => name === 'task.done')
  return {
    kills: { keyserver: hits('keyserver'), cc: hits('cc'), gwA: hits('gwA') },
    seconds,
    auditCode: code,
    verdict: audit.verdict,
    violations: [...audit.violations, ...channels.flatMap((channel) => channel['violations'])],
    messages: sum('distinct'),
    opened: sum('opened'),
    slotsInMessages: sum('usedSlots'),
    booksBalanced: metrics['booksBalanced'] === true,
    faults: (metrics['invalidReasons'] as string[]).filter((why) => !/was ended by SIGKILL and was started/.test(why)),
    tasksDone: doneAtMs.length,
    commands: countBy(commands.map(({ ok, reason }) => (ok === true ? 'ok' : String(reason)))),
    recoveriesMs,
    barren: deathsAtMs.filter((atMs, index) => {
      const untilMs = deathsAtMs[index + 1] ?? Number.POSITIVE_INFINITY
      return !doneAtMs.some((doneMs) => doneMs > atMs && doneMs < untilMs)
    }).length,
    printed,
  }
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

function isDone({ name, ok }: RecordedEvent): boolean {
  return name === 'telemetry.received' || (name === 'task.done' && ok === true)
}

/** The capture runs in the same namespace. */
function nodesOf(lab: LabUnderTest, victim: Victim): readonly number[] {
  const nodes = lab.pidsRunning('node')
  return lab.pidsOf(victim).filter((pid) => nodes.includes(pid))
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended by itself.
  }
}

/** The tiny lab with more to do: a set-point every half second, telemetry twice a second from each device. */
function scenarioText(seed: number, durationS: number): string {
  return `
name: storm
seed: ${seed}
durationS: ${durationS}
grid: { case: ieee39 }
topology:
  nodes:
    master: { id: cc }
    gateways: [{ id: gwA }]
    rtus: [{ id: rtu1 }]
    ieds:
      - { id: load3, kind: load, rtu: rtu1, bus: 3, shedMw: 42.5 }
      - { id: gen30, kind: generator, rtu: rtu1, bus: 30 }
  links:
    - { between: [cc, gwA], lengthKm: 20 }
    - { between: [gwA, rtu1], lengthKm: 20 }
keys:
  thresholds: { safeBits: 16000, thBits: 32000, capBits: 144000 }
  linkModel: { breakRatePerS: 0 }
tasks:
  telemetry: { periodS: 0.5 }
  setpoints: { units: [30], ratePerS: 2 }
`
}

/** Mulberry32: the same seed kills the same. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
