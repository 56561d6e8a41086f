import { setTimeout as sleep } from 'node:timers/promises'
import { TcpError } from '../runtime/index.ts'
import { parseArguments } from './client/options.ts'
import { type ClientNews, linesOf } from './client/output.ts'
import { Runner } from './client/runner.ts'
import { openSession, type Session, type SessionNews } from './client/session.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'

/** How long the end of the data transfer may take before the connection is ended without it: a peer may acknowledge late. */
const STOP_MS = 300

export const command: Command = {
  summary: 'be a controlling station (master) of IEC 60870-5-104: operations, readable or as JSON',
  help: `
usage: q104 client HOST[:PORT] [options] [operation...]

Connects to a controlled station (RTU, server), carries out the operations in order, and prints what comes, one line an
object. Without operations: gi, then monitor. The port is 2404, with TLS 19998.

Operations:
  gi [GROUP]                     station interrogation, or that of group 1..16
  counters [GROUP] [ACTION]      read the counters of group 1..4, or all; ACTION freeze, freeze-reset, reset
  read [CA] IOA                  read one object
  clock [TIME]                   set the clock, to TIME (ISO 8601) or this machine's
  set [CA] IOA TYPE VALUE        command; TYPE single, double, step, normalized, scaled, float, bitstring or a label such
                                 as C_SC_NA_1; VALUE on, off, higher, lower or a number
      --sbo                      select before operate; --select, --execute, --cancel: one step of it
      --qu short|long|persistent|N, --ql N, --time-tag, --no-termination (do not wait for the end)
  param [CA] IOA TYPE VALUE      parameter; TYPE normalized, scaled, float; --kind threshold|smoothing|low|high
  activate [CA] IOA, deactivate [CA] IOA   parameter activation; --qpa N (default 3, cyclic transmission)
  test [--swapped]               test command; --time-tag COUNTER: the one with counter and time
  reset [process|events]         reset process
  file-dir [IOA]                 directory of files
  file-get NAME [--to FILE] [--ioa N]      fetch a file; file-put NAME FILE [--ioa N]: send one
  send HEX                       any octets as an ASDU
  wait DURATION, monitor [DURATION]        let time pass; until interrupted
  stopdt, startdt                stop and start the data transfer
  -                              read operations from stdin, a line at a time

Options:
  --ca N             common address (default 1; 65535: all stations); after an operation: of that one
  --oa N             originator address (default 0)
  --k N, --w N       windows (12, 8); --t0, --t1, --t2, --t3 DURATION: timers (30s, 15s, 10s, 20s)
  --timeout DURATION how long an operation waits for each answer (10s)
  --reconnect        dial again when there is no connection
  --json             one JSON object a line; --quiet: results only
  --tls-ca FILE --tls-cert FILE --tls-key FILE   TLS, both sides with certificates
  --tls-crl FILE, --tls-min 1.2|1.3, --tls-name NAME (name in the server's certificate)

Exit code: 0 everything was confirmed, 1 something was not, 2 bad input, 130 interrupted.

Example: ./q104 client 127.0.0.1:2404 gi counters set 1 2001 single on --sbo monitor 10s`,

  async run(args) {
    const { dial, station, ca, json, quiet, steps } = parseArguments(args)
    const tell = (news: ClientNews | undefined): void => {
      if (news === undefined || !process.stdout.writable) return
      if (quiet && (news.kind === 'data' || news.kind === 'raw' || news.kind === 'sent')) return
      const lines = linesOf(news, json, Date.now())
      if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
    }
    const interrupt = new AbortController()
    const session = open({ dial, station, observe: (news) => tell(newsOf(news)) })
    const runner = new Runner({ session, ca, tell, interrupt: interrupt.signal, input: process.stdin })
    let isMonitoring = false
    const onInterrupt = (): void => {
      interrupt.abort()
      // Whoever waits for an answer is not kept waiting.
      if (!isMonitoring) session.feed({ kind: 'abandon', reason: 'interrupted' })
    }
    process.once('SIGINT', onInterrupt)
    process.once('SIGTERM', onInterrupt)
    // A reader that has seen enough ends the run (`| head`).
    process.stdout.on('error', onInterrupt)
    try {
      for (const step of steps) {
        isMonitoring = step.kind === 'monitor'
        await runner.run([step])
      }
      await stopTransfer(session)
    } finally {
      session.close('closed')
      process.off('SIGINT', onInterrupt)
      process.off('SIGTERM', onInterrupt)
    }
    const { badInput, failed } = runner.outcome
    if (badInput) return 2
    if (failed) return 1
    return interrupt.signal.aborted && !isMonitoring ? 130 : 0
  },
}

function open(options: Parameters<typeof openSession>[0]): Session {
  try {
    return openSession(options)
  } catch (error) {
    if (error instanceof TcpError || error instanceof RangeError) throw new CliError(error.message)
    throw error
  }
}

/** What is told of a session's news. */
function newsOf(news: SessionNews): ClientNews | undefined {
  switch (news.kind) {
    case 'connected': {
      const name = news.peerName === undefined ? '' : `, certificate of ${news.peerName}`
      return { kind: 'link', state: 'connected', reason: `${news.peer}${name}` }
    }
    case 'unreachable': {
      const again = news.retryMs === undefined ? '' : `; again in ${news.retryMs} ms`
      return { kind: 'link', state: 'unreachable', reason: `${news.reason}${again}` }
    }
    case 'link':
    case 'data':
    case 'raw':
    case 'sent':
      return news
    case 'done':
      return undefined
  }
}

/** STOPDT, so that the peer knows that this is the end; a peer that does not answer is not waited for. */
async function stopTransfer(session: Session): Promise<void> {
  if (session.state() !== 'started') return
  session.feed({ kind: 'stop' })
  const giveUp = new AbortController()
  await Promise.race([
    session.leaves('started'),
    sleep(STOP_MS, undefined, { signal: giveUp.signal }).catch((error: unknown) => {
      if (!giveUp.signal.aborted) throw error
    }),
  ])
  giveUp.abort()
}
