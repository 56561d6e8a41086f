import { setTimeout as sleep } from 'node:timers/promises'
import { completeUdpChecksum, PcapngFile, type PcapngSection } from '../src/runtime/index.ts'
import { inNamespace } from './access.ts'
import { type CaptureTool, captureTool, startTool, type ToolProcess } from './capture-tool.ts'
import { type CookedFrame, PcapStream } from './pcap-stream.ts'
import type { Isolation, LabPlan } from './plan.ts'
import { lastErrorLine, runTool } from './run-tool.ts'

export type CaptureOptions = {
  /** UDP port of the operational plane. */
  readonly port: number
  /** The pcapng file to write. */
  readonly path: string
  readonly section?: PcapngSection
}

export type CaptureSummary = {
  readonly path: string
  readonly tool: 'tcpdump' | 'dumpcap'
  /** Frames recorded, by link number. */
  readonly framesByLink: ReadonlyMap<number, number>
  /** Frames that the kernel or the tool dropped: 0 means that the file is complete. */
  readonly missedFrames: number
  /** Tools that ended before their time, and why. */
  readonly failures: readonly string[]
}

export type Availability = { readonly available: true } | { readonly available: false; readonly why: string }

/** Capturing cannot start; the message says why. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError'
}

/** Frames of several namespaces are put in order of time within this much, ms. */
const REORDER_MS = 1_000
const FLUSH_PERIOD_MS = 500
/** At the end: no frame for this long means that the tools have handed over all they had. */
const QUIET_MS = 600
const QUIET_DEADLINE_MS = 5_000
/** Time a tool has to say how far it is. */
const BACKLOG_ANSWER_MS = 50
const END_DEADLINE_MS = 3_000

/** Says which link a frame belongs to, or undefined for one that is recorded elsewhere or by nobody. */
type LinkOf = (frame: CookedFrame) => number | undefined
type Probe = {
  readonly child: ToolProcess
  readonly stderr: () => string
  readonly ended: Promise<void>
  /** Frames the kernel had counted and thrown away before the tool's filter was in place: not the lab's. */
  readonly strayFrames: number
}
type Pending = { readonly link: number; readonly frame: CookedFrame }

/**
 * Records every datagram of a lab's links once, one pcapng interface a link, as the kernel saw it on the interface: after
 * the delay and loss that netem gave it where it was sent.
 */
export class Capture {
  readonly #tool: CaptureTool
  readonly #file: PcapngFile
  readonly #interfaceOfLink: ReadonlyMap<number, number>
  readonly #framesByLink: Map<number, number>
  readonly #probes: Probe[] = []
  readonly #failures: string[] = []
  readonly #timer: NodeJS.Timeout
  #pending: Pending[] = []
  #lastFrameMs = 0
  #ending: Promise<CaptureSummary> | undefined

  private constructor(plan: LabPlan, tool: CaptureTool, options: CaptureOptions) {
    this.#tool = tool
    this.#file = new PcapngFile(options.path, options.section)
    this.#interfaceOfLink = new Map(
      plan.links.map(({ link, name, ends }) => [
        link,
        this.#file.writer.addInterface({ name, description: `link ${link}: ${ends[0].address} - ${ends[1].address}` }),
      ]),
    )
    this.#framesByLink = new Map(plan.links.map(({ link }) => [link, 0]))
    this.#timer = setInterval(() => this.#write(BigInt(Date.now() - REORDER_MS) * 1_000_000n), FLUSH_PERIOD_MS)
  }

  /** Whether frames can be captured here, and if not, why. */
  static async available(isolation: Isolation): Promise<Availability> {
    const choice = await captureTool(isolation)
    return choice.tool === undefined ? { available: false, why: choice.why } : { available: true }
  }

  /**
   * Starts capturing on a network that is up; resolves when every tool captures.
   * @throws CaptureError if that cannot be; then nothing is left running.
   */
  static async start(plan: LabPlan, options: CaptureOptions): Promise<Capture> {
    const choice = await captureTool(plan.isolation)
    if (choice.tool === undefined) throw new CaptureError(`no capture: ${choice.why}`)
    const capture = new Capture(plan, choice.tool, options)
    try {
      if (plan.isolation === 'loopback') {
        // The loopback device shows each frame on its way out and in.
        const filter = `inbound and udp port ${options.port} and net ${plan.loopbackNetwork}`
        await capture.#watch(undefined, filter, byAddress(plan))
      } else {
        const starts = [...watchedInterfaces(plan)].map(async ([namespace, links]) =>
          capture.#watch(namespace, `udp port ${options.port}`, await byInterface(namespace, links)),
        )
        const failed = (await Promise.allSettled(starts)).find((start) => start.status === 'rejected')
        if (failed !== undefined) throw failed.reason
      }
    } catch (error) {
      clearInterval(capture.#timer)
      for (const { child } of capture.#probes) child.kill('SIGKILL')
      throw error
    }
    return capture
  }

  /** Lets the tools hand over what they have, ends them and completes the file. A second call gives the same answer. */
  stop(): Promise<CaptureSummary> {
    this.#ending ??= this.#stop()
    return this.#ending
  }

  async #stop(): Promise<CaptureSummary> {
    const startedMs = performance.now()
    const now = (): number => performance.now()
    while (now() - Math.max(this.#lastFrameMs, startedMs) < QUIET_MS && now() - startedMs < QUIET_DEADLINE_MS) {
      await sleep(20)
    }
    const left = await Promise.all(this.#probes.map((probe) => this.#emptied(probe, startedMs + QUIET_DEADLINE_MS)))
    for (const { child } of this.#probes) child.kill('SIGINT')
    const all = Promise.all(this.#probes.map(({ ended }) => ended))
    const abort = new AbortController()
    await Promise.race([all, sleep(END_DEADLINE_MS, undefined, { signal: abort.signal }).catch(() => {})])
    abort.abort()
    for (const { child } of this.#probes) child.kill('SIGKILL')
    await all
    clearInterval(this.#timer)
    this.#write(undefined)
    return {
      path: this.#file.path,
      tool: this.#tool.name,
      framesByLink: this.#framesByLink,
      missedFrames: this.#probes.reduce((sum, { stderr }, i) => sum + this.#tool.missed(stderr()) + (left[i] ?? 0), 0),
      failures: this.#failures,
    }
  }

  /** Waits until a tool has taken all frames the kernel holds for it; gives how many are left at the deadline. */
  async #emptied({ child, stderr, strayFrames }: Probe, deadlineMs: number): Promise<number> {
    for (;;) {
      const frames = Math.max(0, (await this.#backlog(child, stderr)) - strayFrames)
      if (frames === 0 || child.exitCode !== null || performance.now() > deadlineMs) return frames
    }
  }

  /** Frames that the kernel has counted for a tool and the tool has not written. */
  async #backlog(child: ToolProcess, stderr: () => string): Promise<number> {
    const { backlog } = this.#tool
    if (backlog === undefined) return 0
    child.kill(backlog.signal)
    await sleep(BACKLOG_ANSWER_MS)
    return backlog.frames(stderr()) ?? 0
  }

  async #watch(namespace: string | undefined, filter: string, linkOf: LinkOf): Promise<void> {
    const started = await startTool([...inNamespace(namespace), ...this.#tool.args(filter)], this.#tool)
    if (started.kind === 'failed') throw new CaptureError(`no capture in ${namespace ?? 'this host'}: ${started.why}`)
    const { child, stderr } = started
    const stream = new PcapStream()
    const fail = (why: string): void => void this.#failures.push(`${this.#tool.name} in ${namespace ?? 'host'}: ${why}`)
    child.stdout.on('data', (bytes: Buffer) => {
      try {
        for (const frame of stream.push(bytes)) this.#take(linkOf(frame), frame)
      } catch (error) {
        fail(String(error))
        child.kill('SIGKILL')
      }
    })
    const ended = new Promise<void>((resolve) => {
      child.once('close', (code, signal) => {
        if (this.#ending === undefined) fail(`ended (${signal ?? code}): ${stderr().trim().split('\n').at(-1)}`)
        resolve()
      })
    })
    this.#probes.push({ child, stderr, ended, strayFrames: await this.#backlog(child, stderr) })
  }

  #take(link: number | undefined, frame: CookedFrame): void {
    if (link === undefined) return
    this.#lastFrameMs = performance.now()
    this.#pending.push({ link, frame })
  }

  /** Writes pending frames in order of time, those before `untilNs` or all. */
  #write(untilNs: bigint | undefined): void {
    this.#pending.sort((a, b) => Number(a.frame.timestampNs - b.frame.timestampNs))
    const later = this.#pending.findIndex(({ frame }) => untilNs !== undefined && frame.timestampNs > untilNs)
    const due = this.#pending.splice(0, later === -1 ? this.#pending.length : later)
    for (const { link, frame } of due) {
      const interfaceId = this.#interfaceOfLink.get(link)
      if (interfaceId === undefined) continue
      completeUdpChecksum(frame.packet)
      this.#file.writer.frame({ interfaceId, timestampNs: frame.timestampNs, bytes: frame.packet })
      this.#framesByLink.set(link, (this.#framesByLink.get(link) ?? 0) + 1)
    }
    this.#file.flush()
  }
}

/**
 * Where to watch so that each link is watched at exactly one end: namespace -> interface name -> link. Greedy: the node
 * with most unwatched links goes first, so few namespaces are needed.
 */
export function watchedInterfaces(plan: LabPlan): Map<string, Map<string, number>> {
  const namespaceOf = new Map(plan.nodes.map(({ id, namespace }) => [id, namespace ?? '']))
  const watched = new Map<string, Map<string, number>>()
  let open = [...plan.links]
  while (open.length > 0) {
    const degree = new Map<string, number>()
    for (const { node } of open.flatMap(({ ends }) => ends)) degree.set(node, (degree.get(node) ?? 0) + 1)
    const [busiest = ''] = [...degree].reduce((most, next) => (next[1] > most[1] ? next : most))
    const mine = open.flatMap(({ link, ends }) => {
      const end = ends.find(({ node }) => node === busiest)
      return end === undefined ? [] : [[end.interface, link] as const]
    })
    watched.set(namespaceOf.get(busiest) ?? '', new Map(mine))
    open = open.filter(({ ends }) => !ends.some(({ node }) => node === busiest))
  }
  return watched
}

async function byInterface(namespace: string, links: ReadonlyMap<string, number>): Promise<LinkOf> {
  const result = await runTool(['ip', '-netns', namespace, '-json', 'link', 'show'])
  if (result.code !== 0) throw new CaptureError(`interfaces of ${namespace}: ${lastErrorLine(result)}`)
  const interfaces: readonly { readonly ifindex: number; readonly ifname: string }[] = JSON.parse(result.stdout)
  const linkByIndex = new Map(interfaces.map(({ ifindex, ifname }) => [ifindex, links.get(ifname)]))
  return ({ interfaceIndex }) => linkByIndex.get(interfaceIndex)
}

/** On loopback all links share one interface; their addresses tell them apart. */
function byAddress(plan: LabPlan): LinkOf {
  const linkByEnds = new Map(
    plan.links.flatMap(({ link, ends: [first, second] }) => [
      [`${first.address} ${second.address}`, link] as const,
      [`${second.address} ${first.address}`, link] as const,
    ]),
  )
  return ({ packet }) => linkByEnds.get(`${packet.subarray(12, 16).join('.')} ${packet.subarray(16, 20).join('.')}`)
}
