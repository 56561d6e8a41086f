// A controlled station in a process of its own, with a load on its process side.
import { createServer } from 'node:net'
import { type Server, serve } from '../../src/cli/server/serve.ts'
import { collectGarbage } from './figures.ts'
import type { FromServer, Load, ToServer } from './messages.ts'

/** Changes made in one turn of the event loop. */
const FLOOD_BATCH = 500

let load: Load = { kind: 'none' }
let changes = 0
let changedAtNs: number[] = []
let server: Server | undefined
let timer: NodeJS.Timeout | undefined

function say(message: FromServer): void {
  process.send?.(message)
}

function change(ca: number, ioa: number): void {
  changes += 1
  server?.feed({ kind: 'setPoint', ca, ioa, value: changes })
}

function pace(): void {
  if (load.kind !== 'paced') return
  changedAtNs.push(Number(process.hrtime.bigint()))
  change(load.ca, load.ioa)
  timer = setTimeout(pace, load.everyMs)
}

function flood(): void {
  if (load.kind !== 'flood') return
  const waiting = server?.station.status().groups.reduce((most, group) => Math.max(most, group.waitingEvents), 0) ?? 0
  const wanted = Math.min(FLOOD_BATCH, load.waiting - waiting)
  for (let i = 0; i < wanted; i++) change(load.ca, load.ioa)
  // A full queue is looked at again soon, but not so often that it costs what is measured.
  if (wanted === FLOOD_BATCH) setImmediate(flood)
  else setTimeout(flood, 1)
}

/** A bare stream that gives back what it gets: what the machine itself takes for a round trip. */
function echo(): void {
  const echoServer = createServer({ noDelay: true }, (socket) => void socket.pipe(socket))
  echoServer.listen(0, '127.0.0.1', () => {
    const address = echoServer.address()
    if (typeof address === 'object' && address !== null) say({ kind: 'listening', port: address.port })
  })
}

process.on('message', async (message: ToServer) => {
  switch (message.kind) {
    case 'listen':
      server = await serve(message.config, { host: '127.0.0.1', port: 0, simulate: false, log: () => {} })
      say({ kind: 'listening', port: server.port })
      break
    case 'echo':
      echo()
      break
    case 'load':
      clearTimeout(timer)
      load = message.load
      changedAtNs = []
      if (load.kind === 'paced') pace()
      if (load.kind === 'flood') flood()
      break
    case 'report': {
      if (server === undefined) throw new Error('not listening')
      if (message.collect) collectGarbage()
      const { heapUsed, rss } = process.memoryUsage()
      const { user, system } = process.cpuUsage()
      const cpuMs = (user + system) / 1000
      const status = server.station.status()
      say({ kind: 'report', status, changes, changedAtNs, heapBytes: heapUsed, rssBytes: rss, cpuMs })
      break
    }
  }
})
process.once('disconnect', () => process.exit(0))
