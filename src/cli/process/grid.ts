import { createServer, type Socket } from 'node:net'
import {
  encodeGridMessage,
  GridLineDecoder,
  GridNode,
  type GridNodeOptions,
  gridCase,
  parseGridRequest,
} from '../../grid/index.ts'
import { ProcessMetrics } from '../../observe/index.ts'
import { drive, Recorder } from '../../runtime/index.ts'
import { linkNamesOf, type RoleHost, type RoleRunner } from './process-main.ts'

/** A client that does not read its samples is cut off when this much waits for it. */
const MAX_UNREAD_BYTES = 1 << 20

/** The grid node's options with the case by its name. */
export type GridConfig = Omit<GridNodeOptions, 'case'> & { readonly case: string }

/** The grid in real time, with its port on TCP: newline-delimited JSON, one client an IED (or a device in the loop). */
export async function startGrid({ spec, nowMs, tell }: RoleHost): Promise<RoleRunner> {
  const recorder = new Recorder(spec.eventsFile, spec.id)
  const stopped = new AbortController()
  const clients = new Map<number, Socket>()
  const config = spec.config as GridConfig
  const node = new GridNode({ ...config, case: gridCase(config.case) })
  /** Why the last request was refused. */
  let refusal: string | undefined
  const metrics = new ProcessMetrics({
    role: spec.role,
    linkNames: linkNamesOf(spec),
    wakeLagMaxMs: () => driven.lag().maxMs,
  })
  const driven = drive(node, {
    nowMs,
    signal: stopped.signal,
    carryOut(effect, atMs) {
      if (effect.kind === 'event') {
        recorder.record(effect.event, atMs)
        if (effect.event.name === 'grid.refused') refusal = String(effect.event['reason'])
        metrics.observe(effect.event)
        if (effect.event.name === 'grid') tell({ kind: 'status', status: effect.event })
        if (effect.event.name === 'grid.summary') tell({ kind: 'drained' })
        return
      }
      const socket = clients.get(effect.client)
      if (socket === undefined) return
      if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy()
      else socket.write(encodeGridMessage(effect.message))
    },
  })

  // IEDs connect before the run begins; what they ask then waits for `start`, which must be the node's first input.
  const early: Parameters<typeof driven.feed>[0][] = []
  let feed = (input: Parameters<typeof driven.feed>[0]): void => void early.push(input)

  let nextClient = 0
  const server = createServer({ noDelay: true }, (socket) => {
    const client = nextClient++
    clients.set(client, socket)
    const decoder = new GridLineDecoder(parseGridRequest)
    socket.on('data', (chunk) => {
      for (const line of decoder.push(chunk)) {
        if (line.kind === 'message') feed({ kind: 'request', client, request: line.message })
        else feed({ kind: 'badLine', client, fault: line.fault })
      }
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      clients.delete(client)
      feed({ kind: 'clientGone', client })
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(spec.grid.port, spec.grid.host, resolve)
  })

  return {
    metrics,
    go(wallMs) {
      driven.feed({ kind: 'start', wallMs: wallMs + nowMs() })
      feed = driven.feed
      for (const input of early.splice(0)) feed(input)
    },
    control(request, control) {
      if (control.kind !== 'disturbGrid') {
        return tell({ kind: 'controlled', request, problem: `the grid cannot ${control.kind}` })
      }
      refusal = undefined
      driven.feed({ kind: 'disturb', disturbance: control.disturbance })
      tell({ kind: 'controlled', request, ...(refusal !== undefined && { problem: refusal }) })
    },
    drain() {
      driven.feed({ kind: 'drain' })
    },
    async stop() {
      stopped.abort()
      server.close()
      for (const socket of clients.values()) socket.destroy()
      await recorder.close()
      return { lag: driven.lag(), counters: {} }
    },
  }
}
