import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { metricsPathOf } from '../../observe/index.ts'

/** An address, or a listening socket that this process was given. */
export type MetricsPlace = { readonly host: string; readonly port: number } | { readonly fd: number }

export type MetricsSource = {
  readonly ids: readonly string[]
  /** Text exposition of one process; undefined if it does not answer. */
  readonly textOf: (id: string) => Promise<string | undefined>
}

const TEXT = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * Serves the metrics of every process of a lab under `/metrics/<process>`. The processes live in namespaces of their own, which
 * no Prometheus outside could reach; so the run asks them over its pipe. Reads only: GET and HEAD.
 */
export class MetricsServer {
  readonly #server: Server
  readonly address: string

  private constructor(server: Server) {
    this.#server = server
    const { address, port, family } = server.address() as AddressInfo
    this.address = family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
  }

  /** @throws Error of the system if the address cannot be bound */
  static async listen(place: MetricsPlace, source: MetricsSource): Promise<MetricsServer> {
    const server = createServer({ requestTimeout: 5_000, maxHeaderSize: 8_192 }, (request, response) => {
      answer(source, request).then(
        ({ status, type, body }) => reply(response, status, type, request.method === 'HEAD' ? '' : body),
        () => reply(response, 500, 'text/plain', 'the metrics could not be read\n'),
      )
    })
    server.maxConnections = 64
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(place, resolve)
    })
    return new MetricsServer(server)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

type Answer = { readonly status: number; readonly type: string; readonly body: string }

async function answer({ ids, textOf }: MetricsSource, { method, url = '/' }: IncomingMessage): Promise<Answer> {
  const plain = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body })
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'only GET and HEAD\n')
  const [path = '/'] = url.split('?')
  if (path === '/' || path === '/metrics') return plain(200, ids.map((id) => `${metricsPathOf(id)}\n`).join(''))
  const id = ids.find((known) => metricsPathOf(known) === path)
  if (id === undefined) return plain(404, `no such path; GET /metrics lists them\n`)
  const body = await textOf(id)
  return body === undefined ? plain(503, `process ${id} does not answer\n`) : { status: 200, type: TEXT, body }
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body)
}
