import type { StreamEffect, StreamInput } from '../../rtu/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
import { type Listener, type ListenOptions, listenTcp, type OctetStream } from '../../runtime/index.ts'

export type StreamHubOptions = {
  readonly feed: (input: StreamInput) => void
  readonly log: (event: LabEvent) => void
}

/** The TCP or TLS connections of a controlled station, by number from 1. */
export class StreamHub {
  readonly #feed: (input: StreamInput) => void
  readonly #log: (event: LabEvent) => void
  readonly #streams = new Map<number, OctetStream>()
  #listener: Listener | undefined
  #lastConnection = 0

  constructor({ feed, log }: StreamHubOptions) {
    this.#feed = feed
    this.#log = log
  }

  /** Listens; gives the port. @throws TcpError when a file or the address cannot be used. */
  async listen(options: Omit<ListenOptions, 'onRefused'>): Promise<number> {
    const onRefused = (peer: string, reason: string): void => this.#log({ name: 'connection.refused', peer, reason })
    this.#listener = await listenTcp({ ...options, onRefused }, (stream) => this.#take(stream))
    return this.#listener.port
  }

  carryOut(effect: StreamEffect): void {
    const stream = this.#streams.get(effect.connection)
    if (effect.kind === 'write') stream?.write(effect.bytes)
    else {
      stream?.close()
      this.#streams.delete(effect.connection)
    }
  }

  /** Stops listening and cuts off what is connected. */
  async close(): Promise<void> {
    await this.#listener?.close()
  }

  #take(stream: OctetStream): void {
    this.#lastConnection += 1
    const connection = this.#lastConnection
    const { peer, peerName } = stream
    this.#streams.set(connection, stream)
    stream.onClose((reason) => {
      if (!this.#streams.delete(connection)) return
      this.#log({ name: 'stream.closed', connection, reason })
      this.#feed({ kind: 'disconnected', connection })
    })
    this.#feed({ kind: 'connected', connection, peer, ...(peerName !== undefined && { peerName }) })
    stream.onData((bytes) => this.#feed({ kind: 'octets', connection, bytes }))
  }
}
