import type { ProcessMetrics } from '../../observe/index.ts'
import type { WakeLag } from '../../runtime/index.ts'
import { type LabClock, labClock } from '../../runtime/index.ts'
import type { LinkLaw } from '../../sim/index.ts'
import type { Control, FromProcess, ProcessSpec, ToProcess } from '../lab/ipc.ts'

/** What a role does once it is set up; `startRole` has resolved when its sockets are bound. */
export type RoleRunner = {
  readonly metrics: ProcessMetrics
  readonly go: (wallMs: number) => void
  readonly law?: (link: number, law: LinkLaw) => void
  /** Carries out what an operator asks; the answer goes by `tell`. Absent: nothing can be asked of this role. */
  readonly control?: (request: number, control: Control) => void | Promise<void>
  readonly drain: () => void
  readonly stop: () => Promise<{ lag: WakeLag; counters: Readonly<Record<string, number>> }>
}

/** What a role gets from its process. `nowMs` is 0 until the run begins. */
export type RoleHost = {
  readonly spec: ProcessSpec
  readonly nowMs: LabClock
  readonly tell: (message: FromProcess) => void
}

/** Names of the lab's links by number. */
export function linkNamesOf({ linkNames }: ProcessSpec): ReadonlyMap<number, string> {
  return new Map(Object.entries(linkNames).map(([link, name]) => [Number(link), name]))
}

async function startRole(host: RoleHost): Promise<RoleRunner> {
  // Loaded by role, so that an IED does not carry the key server's libraries in memory.
  switch (host.spec.role) {
    case 'keyserver':
      return (await import('./keyserver.ts')).startKeyServer(host)
    case 'grid':
      return (await import('./grid.ts')).startGrid(host)
    default:
      return (await import('./lab-node.ts')).startLabNode(host)
  }
}

/**
 * A process of the lab: takes its specification over the IPC pipe, sets itself up, says it is ready, and runs from `go`
 * to `stop`. It ends when the pipe closes, for then the run that started it is gone.
 */
export async function runProcess(): Promise<number> {
  if (process.send === undefined) {
    process.stderr.write('q104: a lab process is started by `q104 run` and cannot be started by hand\n')
    return 2
  }
  process.on('SIGINT', () => {}) // Ctrl-C is the run's to handle: it ends the lab in order.
  process.on('disconnect', () => process.exit(1))
  let clock: LabClock = () => 0
  const tell = (message: FromProcess): void => void process.send?.(message)
  let runner: RoleRunner | undefined
  return new Promise((resolve, reject) => {
    const onMessage = async (message: ToProcess): Promise<void> => {
      switch (message.kind) {
        case 'init':
          runner = await startRole({ spec: message.spec, nowMs: () => clock(), tell })
          return tell({ kind: 'ready' })
        case 'go':
          clock = labClock(BigInt(message.epochNs))
          return runner?.go(message.wallMs)
        case 'law':
          return runner?.law?.(message.link, message.law)
        case 'control':
          if (runner?.control !== undefined) return runner.control(message.request, message.control)
          return tell({ kind: 'controlled', request: message.request, problem: 'this process takes no controls' })
        case 'metrics': {
          const { ask, form } = message
          if (runner === undefined) return
          const body = form === 'text' ? await runner.metrics.text() : await runner.metrics.families()
          return tell({ kind: 'metrics', ask, body })
        }
        case 'drain':
          return runner?.drain()
        case 'stop': {
          const end = await runner?.stop()
          if (end !== undefined) tell({ kind: 'stopped', ...end })
          process.removeAllListeners('disconnect')
          process.disconnect()
          return resolve(0)
        }
      }
    }
    process.on('message', (message: ToProcess) => void onMessage(message).catch(reject))
  })
}
