/** A server process and a client in this one, over loopback TCP. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { openSession, type Session, type SessionNews } from '../../src/cli/client/session.ts'
import { CONTROLLING_STATION_DEFAULTS } from '../../src/master/index.ts'
import type { StationConfig } from '../../src/rtu/index.ts'
import type { FromServer, Load, ToServer } from './messages.ts'

export type Report = Extract<FromServer, { kind: 'report' }>

export type Pair = {
  readonly session: Session
  /** Who is told of the client's news; set it before news are expected. */
  observe: (news: SessionNews) => void
  readonly load: (load: Load) => void
  /** `collect`: memory after a garbage collection. */
  readonly report: (collect?: boolean) => Promise<Report>
  readonly close: () => Promise<void>
}

const SERVER_PATH = fileURLToPath(new URL('./server-process.js', import.meta.url))

/** Starts a server process with `config`, connects, and waits for the start of the data transfer. */
export async function startPair(config: StationConfig, execArgv: readonly string[] = []): Promise<Pair> {
  const server = fork(SERVER_PATH, [], { execArgv: [...execArgv] })
  const tell = (message: ToServer): void => void server.send(message)
  tell({ kind: 'listen', config })
  const { port } = await answer(server, 'listening')
  const pair: { observe: Pair['observe'] } = { observe: () => {} }
  const session = openSession({
    dial: { host: '127.0.0.1', port },
    station: CONTROLLING_STATION_DEFAULTS,
    observe: (news) => pair.observe(news),
  })
  await session.leaves('waiting')
  if (session.state() !== 'started') throw new Error('no connection with the server process')
  return Object.assign(pair, {
    session,
    load: (load: Load) => tell({ kind: 'load', load }),
    report(collect = false) {
      tell({ kind: 'report', collect })
      return answer(server, 'report')
    },
    async close() {
      session.close('done')
      const exited = once(server, 'exit')
      server.disconnect()
      await exited
    },
  })
}

/** Round trips of 22 octets (an act and its confirmation) over a bare stream to another process, ms each. */
export async function echoTimes(durationMs: number): Promise<readonly number[]> {
  const server = fork(SERVER_PATH, [])
  server.send({ kind: 'echo' } satisfies ToServer)
  const { port } = await answer(server, 'listening')
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  const octets = new Uint8Array(22)
  const timesMs: number[] = []
  const untilMs = performance.now() + durationMs
  await once(socket, 'connect')
  await new Promise<void>((resolve) => {
    let sentMs = performance.now()
    socket.on('data', () => {
      const nowMs = performance.now()
      timesMs.push(nowMs - sentMs)
      if (nowMs > untilMs) return resolve()
      sentMs = nowMs
      socket.write(octets)
    })
    socket.write(octets)
  })
  socket.destroy()
  const exited = once(server, 'exit')
  server.disconnect()
  await exited
  return timesMs
}

async function answer<K extends FromServer['kind']>(
  server: ChildProcess,
  kind: K,
): Promise<Extract<FromServer, { kind: K }>> {
  for (;;) {
    const [message] = (await once(server, 'message')) as [FromServer]
    if (message.kind === kind) return message as Extract<FromServer, { kind: K }>
  }
}
