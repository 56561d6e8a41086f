import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { LinkLaw } from '../src/sim/index.ts'
import { type Asked, askedOf, type Expected, middleOf } from './asked-law.ts'
import { LabError } from './errors.ts'
import type { LabNetwork } from './lab.ts'
import type { EndReport, FromProbe, ProbeEnd, ToProbe } from './link-probe.ts'
import type { LinkPlan } from './plan.ts'
import { toolEnv } from './run-tool.ts'

export type LinkCheckOptions = {
  /** How long each end sends, ms. The longer, the finer loss and delay are known. Default 800. */
  readonly durationMs?: number
  /** Time between two datagrams of an end, ms; longer where the rate asks for it. Default 20. */
  readonly intervalMs?: number
  /** A machine may be busy for a moment: most times the links are measured before they are called off. Default 5. */
  readonly rounds?: number
  /** Payload of a datagram. Default 80, about that of a sealed command. */
  readonly sizeBytes?: number
  /** Default 10105. */
  readonly port?: number
  /** Of the laws that the probes apply. Default 1. */
  readonly seed?: number
  /** Ends the check before its time: it is rejected. */
  readonly signal?: AbortSignal
}

/**
 * Who applies the laws: `netem`, told by the check itself once it has seen the bare links; the probes, as the nodes'
 * `transport` does where the kernel has no netem; or netem has been told before, and the links are taken `asTheyAre`.
 */
export type AppliedBy = 'netem' | 'transport' | 'asTheyAre'

/** What was found, and what the law says. */
export type Figure = { readonly measured: number; readonly asked: number }

/** One direction of a link, as measured. */
export type DirectionCheck = {
  readonly from: string
  readonly to: string
  readonly sent: number
  readonly received: number
  readonly lossRatio: Figure
  readonly duplicateRatio: Figure
  /** Median of the one-way delay, less what the same way took without a law. */
  readonly delayMs: Figure
  /** Median without a law: what the machine itself takes. 0 for links taken as they are. */
  readonly bareMs: number
  /** Half the width that holds the middle 68 % of the delays: their standard deviation, if they are normal. */
  readonly jitterMs: Figure
  /** All one-way delays, in order of arrival. */
  readonly delaysMs: Float64Array
  /** For each datagram that was sent, whether it arrived. */
  readonly arrived: readonly boolean[]
}

export type LinkCheck = {
  readonly link: number
  readonly name: string
  readonly directions: readonly [DirectionCheck, DirectionCheck]
  /** Sum of the two median delays. */
  readonly rttMs: Figure
  /** Of both directions together. */
  readonly lossRatio: Figure
  /** What is not as asked, a sentence each; empty: the link is as its law says. */
  readonly problems: readonly string[]
}

/** The links of a lab, measured at once. */
export type NetworkCheck = {
  readonly links: readonly LinkCheck[]
  /** How late timers of the probes came, ms: the largest median, and the latest of all. */
  readonly lagMs: { readonly median: number; readonly max: number }
  /** All that makes the lab unfit: links that are off, timers that are late. */
  readonly problems: readonly string[]
  /** How many times the links were measured; the figures are those of the last. */
  readonly rounds: number
  readonly tookMs: number
}

const DEFAULTS = { durationMs: 800, intervalMs: 20, rounds: 5, sizeBytes: 80, port: 10_105, seed: 1 }
const PROBE = fileURLToPath(new URL('./link-probe.js', import.meta.url))
const NODE = [process.execPath, '--max-semi-space-size=1', '--max-old-space-size=128', PROBE]
const READY_TIMEOUT_MS = 30_000
/** All ends begin together, this long after the last is ready. */
const START_MS = 50
/** Beyond the longest delay that the law makes likely. */
const TAIL_MS = 300
const BARE_TAIL_MS = 100
/** A delay may be off by this part of what was asked, by what chance explains, and by what a busy machine adds. */
const TOLERANCE_RATIO = 0.05
/** A bare link that takes longer than this, at the median, was measured in a busy moment. */
const QUIET_BARE_MS = 1
const SLACK_MS = { delay: 2, jitter: 5 }
/** The transport's timers have steps of 1 ms. */
const TIMER_STEP_MS = 1
/** Datagrams by which a small count may exceed its spread. */
const SKEW = 2.5
/** Timers that come later than this, at the median, make the lab unfit: its times would be the machine's. */
const MAX_MEDIAN_LAG_MS = 10
const MAX_LAG_MS = 500

/**
 * Measures every link that has a law, both directions at once, by datagrams on its own addresses: median delay, jitter, loss,
 * duplicates, against what the law makes of the same datagrams. The links have no laws yet, unless taken as they are; with
 * `netem` they have them afterwards.
 * @throws LabError if a probe cannot be started or ends before its time, the kernel refuses a law, or `signal` aborts
 */
export async function checkLinks(
  network: LabNetwork,
  laws: ReadonlyMap<number, LinkLaw>,
  appliedBy: AppliedBy,
  options: LinkCheckOptions = {},
): Promise<NetworkCheck> {
  const beganMs = performance.now()
  const settings = { ...DEFAULTS, ...options }
  const links = network.plan.links.flatMap((link) => {
    const law = laws.get(link.link)
    return law === undefined ? [] : [{ link, law, asked: askedOf(law, settings) }]
  })
  const ends = endsByNode(links, settings, appliedBy === 'transport')
  const probes = [...ends].map(([node, mine]) => new Probe(network, node, mine))
  const end = (): void => {
    for (const probe of probes) probe.kill()
  }
  options.signal?.addEventListener('abort', end)
  if (options.signal?.aborted) end()
  try {
    await Promise.all(probes.map((probe) => probe.ready(settings.seed)))
    const bare = appliedBy === 'asTheyAre' ? undefined : await bareOf(probes, settings.rounds)
    if (appliedBy === 'netem') await network.setLaws(laws)
    const slackMs = { ...SLACK_MS, ...(appliedBy === 'transport' && { delay: SLACK_MS.delay + TIMER_STEP_MS }) }
    const tailMs = TAIL_MS + Math.max(0, ...links.map(({ asked }) => asked.latestMs))
    for (let round = 1; ; round++) {
      const found = await measured(probes, false, tailMs)
      const checks = links.map((link) => linkCheck(link, found, { bare, slackMs }))
      const problems = [...checks.flatMap(({ problems }) => problems), ...lagProblems(found.lagMs)]
      if (problems.length > 0 && round < settings.rounds) continue
      return { links: checks, lagMs: found.lagMs, problems, rounds: round, tookMs: performance.now() - beganMs }
    }
  } finally {
    options.signal?.removeEventListener('abort', end)
    end()
  }
}

/** What all ends report, by link and side. */
type Measured = { readonly endOf: ReadonlyMap<string, EndReport>; readonly lagMs: NetworkCheck['lagMs'] }

async function measured(probes: readonly Probe[], isBare: boolean, tailMs: number): Promise<Measured> {
  const startNs = process.hrtime.bigint() + BigInt(START_MS * 1e6)
  await Promise.all(probes.map((probe) => probe.send(startNs, isBare)))
  await sleep(tailMs)
  const reports = await Promise.all(probes.map((probe) => probe.report()))
  return {
    endOf: new Map(reports.flatMap(({ ends }) => ends.map((end) => [`${end.link} ${end.side}`, end]))),
    lagMs: {
      median: Math.max(0, ...reports.map(({ lagMs }) => lagMs.median)),
      max: Math.max(0, ...reports.map(({ lagMs }) => lagMs.max)),
    },
  }
}

/** The quietest of a few rounds without laws: what a busy moment adds to it would be missing from every later figure. */
async function bareOf(probes: readonly Probe[], rounds: number): Promise<Measured> {
  const worstMs = ({ endOf }: Measured) =>
    Math.max(0, ...[...endOf.values()].map((end) => middleOf(end.delaysMs).medianMs))
  let best = await measured(probes, true, BARE_TAIL_MS)
  for (let round = 1; round < rounds && worstMs(best) > QUIET_BARE_MS; round++) {
    const next = await measured(probes, true, BARE_TAIL_MS)
    if (worstMs(next) < worstMs(best)) best = next
  }
  return best
}

type CheckedLink = { readonly link: LinkPlan; readonly law: LinkLaw; readonly asked: Asked }

/** The ends that each probe has, by the node in whose place it runs. */
function endsByNode(
  links: readonly CheckedLink[],
  { port, sizeBytes }: typeof DEFAULTS,
  inTransport: boolean,
): ReadonlyMap<string, readonly ProbeEnd[]> {
  const places = new Map<string, ProbeEnd[]>()
  links.forEach(({ link: { link, ends }, law, asked: { count, intervalMs } }, index) => {
    for (const side of [0, 1] as const) {
      const end = ends[side]
      const probe: ProbeEnd = {
        ...{ link, side, count, intervalMs, sizeBytes },
        end: { localHost: end.address, peerHost: ends[1 - side]?.address ?? '', port },
        // Ends take turns, so that the machine is not asked for everything at once.
        turn: ((2 * index + side) % 16) / 16,
        ...(inTransport && { law }),
      }
      places.set(end.node, [...(places.get(end.node) ?? []), probe])
    }
  })
  return places
}

class Probe {
  readonly #child: ChildProcess
  readonly #ends: readonly ProbeEnd[]
  readonly #ended: Promise<never>
  #stderr = ''

  constructor(network: LabNetwork, node: string, ends: readonly ProbeEnd[]) {
    this.#ends = ends
    const command = ['--pdeathsig', 'KILL', ...network.execPrefix(node), ...NODE]
    this.#child = spawn('setpriv', command, {
      env: toolEnv(),
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (this.#stderr.length < 10_000) this.#stderr += text
    })
    this.#ended = new Promise((_, reject) => {
      const fail = (why: string): void => {
        const said = this.#stderr.trim().split('\n').at(-1)
        reject(new LabError(`the probe of ${node} ${why}${said ? `: ${said}` : ''}`))
      }
      this.#child.on('error', (error) => fail(`could not be started: ${error.message}`))
      this.#child.on('close', (code, signal) => fail(`ended with ${signal ?? code}`))
    })
    this.#ended.catch(() => {})
  }

  async ready(seed: number): Promise<void> {
    await this.#ask({ kind: 'ends', ends: this.#ends, seed }, 'ready', READY_TIMEOUT_MS)
  }

  async send(startNs: bigint, isBare: boolean): Promise<void> {
    const lastMs = Math.max(...this.#ends.map(({ count, intervalMs }) => count * intervalMs))
    await this.#ask({ kind: 'go', startNs, isBare }, 'sent', 4 * lastMs + READY_TIMEOUT_MS)
  }

  async report(): Promise<Extract<FromProbe, { kind: 'report' }>> {
    return this.#ask({ kind: 'report' }, 'report', READY_TIMEOUT_MS)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async #ask<K extends FromProbe['kind']>(
    message: ToProbe,
    answer: K,
    timeoutMs: number,
  ): Promise<Extract<FromProbe, { kind: K }>> {
    const abort = new AbortController()
    const answered = new Promise<Extract<FromProbe, { kind: K }>>((resolve) => {
      this.#child.once('message', (said: Extract<FromProbe, { kind: K }>) => resolve(said))
    })
    const tooLate = sleep(timeoutMs, undefined, { signal: abort.signal }).then(() => {
      throw new LabError(`a probe did not answer '${answer}' within ${timeoutMs / 1000} s`)
    })
    tooLate.catch(() => {})
    this.#child.send(message, () => {})
    try {
      return await Promise.race([answered, this.#ended, tooLate])
    } finally {
      abort.abort()
    }
  }
}

type Against = { readonly bare: Measured | undefined; readonly slackMs: typeof SLACK_MS }

function linkCheck(
  { link: { link, name, ends }, asked }: CheckedLink,
  found: Measured,
  { bare, slackMs }: Against,
): LinkCheck {
  const report = (side: 0 | 1): EndReport => {
    const end = found.endOf.get(`${link} ${side}`)
    if (end === undefined) throw new LabError(`no report of link ${name}`)
    return end
  }
  const bareMs = (receiver: 0 | 1): number => {
    const end = bare?.endOf.get(`${link} ${receiver}`)
    return end === undefined ? 0 : middleOf(end.delaysMs).medianMs
  }
  const way = (from: 0 | 1, to: 0 | 1): DirectionCheck =>
    direction([ends[from].node, ends[to].node], asked, {
      ...{ sender: report(from), receiver: report(to), bareMs: bareMs(to) },
    })
  const [there, back] = [way(0, 1), way(1, 0)]
  const sent = there.sent + back.sent
  const overruns = report(0).overruns + report(1).overruns
  return {
    link,
    name,
    directions: [there, back],
    rttMs: {
      measured: there.delayMs.measured + back.delayMs.measured,
      asked: there.delayMs.asked + back.delayMs.asked,
    },
    lossRatio: { measured: 1 - (there.received + back.received) / Math.max(1, sent), asked: asked.lossRatio.mean },
    problems: [
      ...[there, back].flatMap((one) => directionProblems(one, asked, slackMs)),
      ...(overruns > 0 ? [`link ${name}: the probes were too slow to take all datagrams`] : []),
    ],
  }
}

type Reports = { readonly sender: EndReport; readonly receiver: EndReport; readonly bareMs: number }

function direction(
  [from, to]: readonly [string, string],
  asked: Asked,
  { sender, receiver, bareMs }: Reports,
): DirectionCheck {
  const { sent } = sender
  const { delaysMs, numbers, duplicates } = receiver
  const { medianMs, jitterMs } = middleOf(delaysMs)
  const came = new Set(numbers)
  return {
    ...{ from, to, sent, received: delaysMs.length, delaysMs, bareMs },
    arrived: Array.from({ length: sent }, (_, number) => came.has(number)),
    lossRatio: { measured: 1 - delaysMs.length / Math.max(1, sent), asked: asked.lossRatio.mean },
    duplicateRatio: { measured: duplicates / Math.max(1, sent), asked: asked.duplicateRatio.mean },
    delayMs: { measured: medianMs - bareMs, asked: asked.delayMs.mean },
    jitterMs: { measured: jitterMs, asked: asked.jitterMs.mean },
  }
}

function directionProblems(one: DirectionCheck, asked: Asked, slackMs: typeof SLACK_MS): string[] {
  const { from, to, sent, received, lossRatio, duplicateRatio, bareMs, delayMs, jitterMs } = one
  const where = `link ${from} to ${to}:`
  const problems: string[] = []
  if (Number.isNaN(bareMs)) return [`${where} nothing arrives, whatever the law`]
  if (isOff(lossRatio, asked.lossRatio, sent)) {
    problems.push(`${where} ${percent(lossRatio.measured)} of ${sent} lost, ${percent(lossRatio.asked)} asked for`)
  }
  if (isOff(duplicateRatio, asked.duplicateRatio, sent)) {
    problems.push(`${where} ${percent(duplicateRatio.measured)} doubled, ${percent(duplicateRatio.asked)} asked for`)
  }
  for (const [what, figure, spread] of [
    ['delay', delayMs, asked.delayMs.spread],
    ['jitter', jitterMs, asked.jitterMs.spread],
  ] as const) {
    const offMs = Math.abs(figure.measured - figure.asked)
    if (received === 0 || offMs <= TOLERANCE_RATIO * figure.asked + spread + slackMs[what]) continue
    problems.push(`${where} ${what} ${figure.measured.toFixed(1)} ms, ${figure.asked.toFixed(1)} ms asked for`)
  }
  return problems
}

/** Whether a part of `sent` datagrams is not what chance makes of the part asked for. Small counts are skewed upwards. */
function isOff({ measured, asked }: Figure, { spread }: Expected, sent: number): boolean {
  return Math.abs(measured - asked) > spread + (spread > 0 ? SKEW : 0.5) / Math.max(1, sent)
}

function lagProblems({ median, max }: NetworkCheck['lagMs']): string[] {
  if (median <= MAX_MEDIAN_LAG_MS && max <= MAX_LAG_MS) return []
  const limits = `limits ${MAX_MEDIAN_LAG_MS} and ${MAX_LAG_MS}`
  return [`timers come ${median.toFixed(1)} ms late (median), up to ${max.toFixed(0)} ms (${limits})`]
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`
}
