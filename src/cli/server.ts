import { createInterface } from 'node:readline'
import type { StationConfig } from '../rtu/index.ts'
import { TcpError } from '../runtime/index.ts'
import { CliError } from './errors.ts'
import type { Command } from './main.ts'
import { logLine, untilSignal } from './process/until-signal.ts'
import { readConsoleLine } from './server/console-line.ts'
import { demoStation } from './server/demo.ts'
import { parseServerOptions } from './server/options.ts'
import { loadPointFile } from './server/point-file.ts'
import { type Server, serve } from './server/serve.ts'
import { describeStation } from './server/summary.ts'

export const command: Command = {
  summary: 'be a controlled station (RTU) of IEC 60870-5-104, with a demo database or your own points',
  help: `
usage: q104 server [options]

Listens for controlling stations (masters) on TCP or TLS. Without --points it serves a demo database with points of every
kind, commands and files; docs/server.md describes it, and the point file.

  --port P, --host H    where to listen (2404, with TLS 19998; 127.0.0.1)
  --points FILE         points, commands and files from a YAML or CSV file
  --ca N[,N...]         common addresses of the demo database; the first is the default of a point file (1)
  --simulate            values that no command moves change by themselves
  --redundancy KIND     one: all connections are one redundancy group; connection: each is one (default)
  --announce            send the end of initialization (M_EI_NA_1) after the start
  --k N, --w N          windows (12, 8)
  --t1, --t2, --t3 DURATION   timers (15s, 10s, 20s)
  --tls-ca FILE --tls-cert FILE --tls-key FILE   TLS, both sides with certificates
  --tls-crl FILE, --tls-min 1.2|1.3, --tls-name NAME (a client's name; may be given again)
  --json                log as JSON, one object a line

Lines on stdin:
  set CA IOA VALUE [invalid] [blocked] [substituted] [notTopical] [overflow] [transient]
  status
  quit

Ends on Ctrl-C or SIGTERM. Exit code 2 for bad input.

Example: ./q104 server --port 2404 --simulate`,

  async run(args) {
    const { host, port, pointFile, cas, station, tls, simulate, json } = parseServerOptions(args)
    const [firstCa = 1] = cas
    const points = pointFile === undefined ? demoStation(cas, simulate) : await loadPointFile(pointFile, firstCa)
    const config: StationConfig = { announceStart: false, ...points, ...station }
    const log = (fields: Readonly<Record<string, unknown>>): void => logLine(fields, json)
    const ended = untilSignal()
    try {
      const server = await serve(config, { host, port, ...(tls !== undefined && { tls }), simulate, log })
      const transport = tls === undefined ? 'TCP' : 'TLS'
      if (json) log({ name: 'listening', host, port: server.port, transport, cas: server.station.cas })
      else {
        const from = pointFile ?? 'demo database, see docs/server.md'
        const lines = describeStation(config, { address: `${host}:${server.port}`, transport, from })
        process.stdout.write(`${lines.join('\n')}\n`)
      }
      const exitCode = await Promise.race([ended, untilQuit(server, log, json)])
      await server.close()
      return exitCode
    } catch (error) {
      if (error instanceof TcpError) throw new CliError(error.message)
      throw error
    } finally {
      // A pipe that stays open would keep the process.
      process.stdin.destroy()
    }
  },
}

/** Takes lines from stdin; resolves at `quit`. The end of stdin is not the end of the server. */
function untilQuit(
  server: Server,
  log: (fields: Readonly<Record<string, unknown>>) => void,
  json: boolean,
): Promise<number> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin, terminal: false })
    lines.on('line', (line) => {
      const order = readConsoleLine(line)
      if (order.kind === 'set') server.feed(order.input)
      else if (order.kind === 'bad') log({ name: 'input.bad', problem: order.problem })
      else if (order.kind === 'status')
        log({ name: 'status', ...(json ? server.station.status() : flat(server.station.status())) })
      else if (order.kind === 'quit') resolve(0)
    })
  })
}

/** Lists and mappings as text, for a line that people read. */
function flat(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : value]),
  )
}
