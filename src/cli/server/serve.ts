import { ControlledStation, type StationConfig, type StationEffect, type StationInput } from '../../rtu/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
import { drive, labClock, type TlsOptions } from '../../runtime/index.ts'
import { StreamHub } from '../process/stream-hub.ts'
import { SIMULATION_MS, simulatedValues } from './simulate.ts'

export type ServeOptions = {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly tls?: TlsOptions
  /** Values of points that no command moves change by themselves. */
  readonly simulate: boolean
  readonly log: (event: LabEvent) => void
}

export type Server = {
  readonly port: number
  readonly station: ControlledStation
  /** A value from the process. */
  readonly feed: (input: StationInput) => void
  readonly close: () => Promise<void>
}

/**
 * Runs a controlled station on TCP or TLS. Its process carries out every command at once.
 * @throws TcpError when a file or the address cannot be used; RangeError when `config` is not right.
 */
export async function serve(config: StationConfig, { host, port, tls, simulate, log }: ServeOptions): Promise<Server> {
  const station = new ControlledStation(config)
  const nowMs = labClock(process.hrtime.bigint())
  const ended = new AbortController()
  const streams = new StreamHub({ feed: (input) => driven.feed(input), log })

  const carryOut = (effect: StationEffect): void => {
    if (effect.kind === 'write' || effect.kind === 'close') streams.carryOut(effect)
    else if (effect.kind === 'event') log(effect.event)
    else if (effect.kind === 'command') driven.feed({ kind: 'commandDone', id: effect.command.id, ok: true })
    // Of a reset and of a file the station's own events tell; there is no process here that would do more.
  }
  const driven = drive(station, { nowMs, carryOut, signal: ended.signal })
  driven.feed({ kind: 'start', wallMs: Date.now() })

  const listeningPort = await streams.listen({
    host,
    port,
    ...(tls !== undefined && { tls }),
    ...(config.maxConnections !== undefined && { maxConnections: config.maxConnections }),
  })
  const timer = simulate
    ? setInterval(() => {
        for (const input of simulatedValues(config, nowMs())) driven.feed(input)
      }, SIMULATION_MS)
    : undefined

  return {
    port: listeningPort,
    station,
    feed: driven.feed,
    async close() {
      clearInterval(timer)
      ended.abort()
      await streams.close()
    },
  }
}
