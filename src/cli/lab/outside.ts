/** Ways between a lab's namespaces and the machine around it, for keys by ETSI GS QKD 014. Made where the machine's network is. */
import { createConnection, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import type { LabPlan } from '../../experiment/index.ts'
import { CliError } from '../errors.ts'
import { MAX_CONNECTIONS, Pipes, Tunnels } from './tunnels.ts'

export type OutsideWays = {
  /** Folder of the sockets. */
  readonly dir: string
  /** Of each key manager's URL, the unix socket that leads to it. */
  readonly tunnels: Readonly<Record<string, string>>
  /** Where outside programs call the lab's own key manager, and the unix socket that leads to it. */
  readonly serve014?: { readonly host: string; readonly port: number; readonly socketPath: string }
}

export type Outside = { readonly ways: OutsideWays; readonly close: () => void }

/** Whether the plan's key comes from outside, or goes there. */
export function needsOutside({ keyserver: { etsi014, serve014 } }: LabPlan): boolean {
  return etsi014 !== undefined || serve014 !== undefined
}

/** Opens the ways a plan needs; sockets are made in `dir`. CliError if the address for outside programs cannot be had. */
export async function openOutside({ keyserver: { etsi014, serve014 } }: LabPlan, dir: string): Promise<Outside> {
  const managers = (etsi014?.links ?? []).flatMap(({ master, slave }) => [master.url, slave.url])
  const tunnels = await Tunnels.open(dir, managers)
  if (serve014 === undefined) return { ways: { dir, tunnels: tunnels.paths }, close: () => tunnels.close() }
  const pipes = new Pipes()
  const socketPath = join(dir, 'serve014.sock')
  const server = createServer((near) => pipes.join(near, createConnection(socketPath)))
  server.maxConnections = MAX_CONNECTIONS
  try {
    const port = await listen(server, serve014.listen)
    return {
      ways: { dir, tunnels: tunnels.paths, serve014: { host: serve014.listen.host, port, socketPath } },
      close() {
        tunnels.close()
        server.close()
        pipes.close()
      },
    }
  } catch (error) {
    tunnels.close()
    const { host, port } = serve014.listen
    const found = error instanceof Error ? error.message : String(error)
    throw new CliError(`keys.serve014.listen: found ${host}:${port} (${found}), expected a free address`)
  }
}

function listen(server: Server, place: { readonly host: string; readonly port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(place, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : place.port)
    })
  })
}
