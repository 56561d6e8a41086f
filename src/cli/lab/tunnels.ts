import { chmodSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

/** Connections through one tunnel at a time. */
export const MAX_CONNECTIONS = 64

/**
 * Ways out of the lab's network namespaces to key managers: a unix socket each, which namespaces do not part, and behind it
 * TCP from where the run was started. TLS goes through untouched, so nothing here sees a key.
 */
export class Tunnels {
  /** The socket that leads to each URL. */
  readonly paths: Readonly<Record<string, string>>
  readonly #servers: readonly Server[]
  readonly #pipes = new Pipes()

  private constructor(dir: string, urls: readonly string[]) {
    this.paths = Object.fromEntries(urls.map((url, index) => [url, join(dir, `kme-${index}.sock`)]))
    this.#servers = urls.map((url) => {
      const { hostname, port } = new URL(url)
      const target = { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 443 : Number(port) }
      const server = createServer((near) => this.#pipes.join(near, createConnection(target)))
      server.maxConnections = MAX_CONNECTIONS
      return server
    })
  }

  /** Opens the tunnels; the sockets are made in `dir`, for the owner alone. */
  static async open(dir: string, urls: readonly string[]): Promise<Tunnels> {
    const tunnels = new Tunnels(dir, [...new Set(urls)])
    const paths = Object.values(tunnels.paths)
    await Promise.all(
      tunnels.#servers.map((server, index) => {
        const path = paths[index] ?? ''
        return new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          server.listen(path, () => {
            chmodSync(path, 0o600)
            resolve()
          })
        })
      }),
    )
    return tunnels
  }

  close(): void {
    for (const server of this.#servers) server.close()
    this.#pipes.close()
  }
}

/** Pairs of connections, what comes by one of which goes out by the other. */
export class Pipes {
  readonly #sockets = new Set<Socket>()

  join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket)
      socket.pipe(other)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
