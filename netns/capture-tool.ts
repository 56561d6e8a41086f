import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import type { Isolation } from './plan.ts'
import { runTool, toolEnv } from './run-tool.ts'

/** A program that writes what it captures to its standard output, as pcap of LINUX_SLL2 frames. */
export type CaptureTool = {
  readonly name: 'tcpdump' | 'dumpcap'
  args(filter: string): string[]
  /** Matches standard error once capturing has begun. */
  readonly ready: RegExp
  /** Frames that passed the filter and were not written, from what the tool says at its end. */
  missed(stderr: string): number
  /** Makes the tool say how far it is, and reads from that how many frames still wait for it in the kernel. */
  readonly backlog?: { readonly signal: NodeJS.Signals; readonly frames: (stderr: string) => number | undefined }
}

/** Longest frame kept. Small, because the kernel's ring has places of this size: 4 MiB hold 2,048 frames. */
const SNAPLEN_BYTES = '2048'
const START_DEADLINE_MS = 10_000

const TCPDUMP: CaptureTool = {
  name: 'tcpdump',
  args: (filter) => [
    ...['tcpdump', '-i', 'any', '-y', 'LINUX_SLL2', '-n', '-U', '--immediate-mode', '-B', '4096', '-s', SNAPLEN_BYTES],
    ...['--time-stamp-precision', 'nano', '-Z', 'root', '-w', '-', filter],
  ],
  ready: /listening on any/,
  // What was received and not captured came after the end was asked for: the ring had been emptied before.
  missed: (stderr) => Number(/^(\d+) packets? dropped by kernel/m.exec(stderr)?.[1] ?? 0),
  backlog: {
    signal: 'SIGUSR1',
    frames: (stderr) => {
      const said = [...stderr.matchAll(/tcpdump: (\d+) packets? captured, (\d+) packets? received/g)].at(-1)
      return said && Number(said[2]) - Number(said[1])
    },
  },
}

/** The same by Wireshark's dumpcap: Debian's tcpdump insists on changing its user, which a user namespace forbids. */
const DUMPCAP: CaptureTool = {
  name: 'dumpcap',
  args: (filter) => [
    ...['dumpcap', '-i', 'any', '-y', 'LINUX_SLL2', '-P', '-q', '-B', '4', '-s', SNAPLEN_BYTES],
    ...['-f', filter, '-w', '-'],
  ],
  ready: /^File: /m,
  missed: (stderr) => Number(/received\/dropped on interface '[^']*': \d+\/(\d+)/.exec(stderr)?.[1] ?? 0),
}

export type ToolChoice = { readonly tool: CaptureTool } | { readonly tool: undefined; readonly why: string }

/** The capture tool that works here, found by starting it in a fresh namespace (on this one in loopback isolation). */
export async function captureTool(isolation: Isolation): Promise<ToolChoice> {
  const prefix = isolation === 'loopback' ? [] : ['unshare', '--net']
  const reasons: string[] = []
  for (const tool of [TCPDUMP, DUMPCAP]) {
    if ((await runTool(['sh', '-c', 'command -v "$1"', 'sh', tool.name])).code !== 0) {
      reasons.push(`${tool.name} is not installed`)
      continue
    }
    const started = await startTool([...prefix, ...tool.args('udp port 1')], tool)
    if (started.kind === 'running') {
      started.child.kill('SIGKILL')
      return { tool }
    }
    reasons.push(started.why)
  }
  return { tool: undefined, why: reasons.join('; ') }
}

/** The first line that is not about what the tool is going to do: what follows it is advice. */
function reasonIn(stderr: string): string {
  const said = stderr.split('\n').map((line) => line.replace(/^(tcpdump|dumpcap): /, '').trim())
  return said.find((line) => line !== '' && !/^(Capturing on|data link type|WARNING)/.test(line)) ?? 'ended'
}

export type ToolProcess = ChildProcessByStdio<null, Readable, Readable>
export type Started =
  | { readonly kind: 'running'; readonly child: ToolProcess; readonly stderr: () => string }
  | { readonly kind: 'failed'; readonly why: string }

/** Starts a tool and waits until it captures. It dies with us, and a Ctrl-C in the terminal does not reach it. */
export function startTool(command: readonly string[], tool: CaptureTool): Promise<Started> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    env: toolEnv(),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stderr = ''
  return new Promise((resolve) => {
    const fail = (why: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      resolve({ kind: 'failed', why: `${tool.name}: ${why}` })
    }
    const timer = setTimeout(() => fail('does not begin to capture'), START_DEADLINE_MS)
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < 65_536) stderr += text
      if (!tool.ready.test(stderr)) return
      clearTimeout(timer)
      resolve({ kind: 'running', child, stderr: () => stderr })
    })
    child.on('error', (error) => fail(error.message))
    child.on('close', () => fail(reasonIn(stderr)))
  })
}
