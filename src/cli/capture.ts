import { setTimeout as sleep } from 'node:timers/promises'
import { Capture, CaptureError, type CaptureSummary, type LabPlan } from '../../netns/index.ts'
import { captureInside, INSIDE, planFromInput } from './capture/inside.ts'
import { networkPlanOf } from './capture/lab-network.ts'
import { CliError } from './errors.ts'
import { Q3P_PORT } from './lab/launches.ts'
import type { Command } from './main.ts'
import { labNamed, labsHere } from './netlab/labs.ts'
import { parseDurationS, parseOptions } from './options.ts'

const OPTIONS = {
  out: { type: 'string' },
  duration: { type: 'string' },
  [INSIDE]: { type: 'boolean', default: false },
} as const

/** How often it is looked whether the lab is still there, ms. */
const LOOK_PERIOD_MS = 500

export const command: Command = {
  summary: 'capture the links of a lab that is up or running to a pcapng file',
  help: `
usage: q104 capture [LAB] [--out FILE] [--duration 10s]

Records every datagram on the links of a lab (UDP port ${Q3P_PORT}), each link at one of its ends, as one interface of the file named
after the link. It ends after --duration, with the lab, or by Ctrl-C, and says how many frames it has of each link.
q104 run writes such a file by itself (capture.pcapng in its folder). LAB may be left out while there is one lab only.

  --out FILE       default: LAB.pcapng
  --duration 10s   default: until the lab ends

Exit code: 0 the capture is complete, 1 frames are missing, 2 bad input. For an interface that belongs to no lab use
dumpcap -i IF -f 'udp port ${Q3P_PORT}' -w FILE, or Wireshark.

Example: ./q104 capture tiny --out tiny.pcapng --duration 10s`,

  async run(args) {
    const { values, positionals } = parseOptions(args, OPTIONS)
    if (positionals.length > 1) throw new CliError(`one LAB is expected, found: ${positionals.join(' ')}`)
    const durationS =
      values.duration === undefined ? Number.POSITIVE_INFINITY : parseDurationS(values.duration, '--duration')
    if (values[INSIDE]) {
      const plan = await planFromInput()
      // The other process looks after the lab, but from in here its end is seen too: the tools end with their namespace.
      return captured(plan, values.out ?? `${plan.lab}.pcapng`, durationS, () => true)
    }
    const known = labNamed(positionals[0])
    const { plan, holderPid } = await networkPlanOf(known)
    if (holderPid !== undefined) return captureInside(holderPid, plan, args)
    const isThere = (): boolean => labsHere().some(({ lab, kind }) => lab === known.lab && kind === known.kind)
    return captured(plan, values.out ?? `${plan.lab}.pcapng`, durationS, isThere)
  },
}

async function captured(plan: LabPlan, path: string, durationS: number, isThere: () => boolean): Promise<number> {
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt)
  try {
    const capture = await start(plan, path)
    process.stderr.write(`capturing ${plan.links.length} links of lab ${plan.lab} to ${path}\n`)
    const untilMs = performance.now() + 1000 * durationS
    while (performance.now() < untilMs && !interrupted.signal.aborted && isThere()) {
      const pauseMs = Math.min(LOOK_PERIOD_MS, untilMs - performance.now())
      await sleep(Math.max(0, pauseMs), undefined, { signal: interrupted.signal }).catch(() => {})
    }
    const summary = await capture.stop()
    process.stdout.write(`${summaryText(plan, summary, isThere())}\n`)
    return isComplete(summary, isThere()) ? 0 : 1
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt)
  }
}

async function start(plan: LabPlan, path: string): Promise<Capture> {
  try {
    return await Capture.start(plan, {
      port: Q3P_PORT,
      path,
      section: { userAppl: 'q104', comment: `lab ${plan.lab}` },
    })
  } catch (error) {
    const isOfSystem = error instanceof Error && 'syscall' in error
    if (error instanceof CaptureError || isOfSystem) throw new CliError(error.message)
    throw error
  }
}

/** When the lab ends, its namespaces go and the tools with them: that is no failure. */
function isComplete({ missedFrames, failures }: CaptureSummary, isLabThere: boolean): boolean {
  return missedFrames === 0 && (failures.length === 0 || !isLabThere)
}

function summaryText(plan: LabPlan, summary: CaptureSummary, isLabThere: boolean): string {
  const { path, tool, framesByLink, missedFrames, failures } = summary
  const total = [...framesByLink.values()].reduce((sum, frames) => sum + frames, 0)
  const byLink = plan.links.map(({ link, name }) => `  ${name} (link ${link}): ${framesByLink.get(link) ?? 0}`)
  return [
    `${path}: ${total} frames by ${tool}, ${missedFrames} missed`,
    ...byLink,
    ...(isLabThere ? failures : []),
  ].join('\n')
}
