import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An HTTP server that keeps what is posted to it and answers as it is told. */
export class HttpSink {
  readonly bodies: string[] = []
  readonly paths: string[] = []
  readonly headers: NodeJS.Dict<string | string[]>[] = []
  readonly #server: Server
  /** Status of the next answers; the last one stays. */
  statuses: number[] = [204]

  private constructor(server: Server) {
    this.#server = server
    server.on('request', (request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        this.paths.push(request.url ?? '')
        this.headers.push(request.headers)
        this.bodies.push(body)
        const status = (this.statuses.length > 1 ? this.statuses.shift() : this.statuses[0]) ?? 204
        response.writeHead(status).end()
      })
    })
  }

  static async listen(): Promise<HttpSink> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new HttpSink(server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
