import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { Etsi014Manager } from './etsi014-manager.ts'
import { errorBody } from './etsi014-messages.ts'
import type { KeyServerTls } from './grpc-server.ts'

export type Etsi014ServeOptions = {
  readonly manager: Etsi014Manager
  /** Address to listen on; port 0 takes any free one. */
  readonly host: string
  readonly port: number
  /** In place of host and port: a unix socket to make, for the owner alone. */
  readonly socketPath?: string
  /** `caPem` is the authority whose certificates callers must hold. */
  readonly tls: KeyServerTls
  /** Monotonic, ms. */
  readonly nowMs: () => number
  /** One line a call for a log: who, what, the answer's code. Never a key, a body or a key_ID. */
  readonly onCall?: (call: { readonly saeId: string | null; readonly call: string; readonly status: number }) => void
  /** The manager's store failed; the caller got 503. */
  readonly onFault?: (error: unknown) => void
  /** Default 65,536 octets. */
  readonly maxBodyBytes?: number
  /** Of all callers together, and of one SAE; defaults 256 and 32. */
  readonly maxConnections?: number
  readonly maxConnectionsPerSae?: number
  /** A request must be whole, and a TLS handshake done, in this time; default 5000 ms. */
  readonly requestTimeoutMs?: number
}

export type Etsi014Server = {
  readonly port: number
  /** Ends all connections and overwrites the keys that wait. */
  readonly close: () => Promise<void>
}

const MAX_HEADER_BYTES = 8192
const KEEP_ALIVE_MS = 30_000
const EXPIRE_PERIOD_MS = 10_000

/**
 * Serves a key manager by HTTPS: TLS 1.2 or newer, certificates on both sides. A caller without a certificate of the
 * authority does not get past TLS; one whose certificate names no SAE of this manager gets 401. Rejects if the address
 * cannot be bound.
 */
export async function serveEtsi014(options: Etsi014ServeOptions): Promise<Etsi014Server> {
  const { manager, host, port, tls, requestTimeoutMs = 5000, maxConnections = 256, nowMs, socketPath } = options
  const server = createServer(
    {
      ca: tls.caPem,
      cert: tls.certPem,
      key: tls.keyPem,
      minVersion: 'TLSv1.2',
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(1000, requestTimeoutMs),
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => serve(options, request, response),
  )
  server.maxConnections = maxConnections
  limitPerSae(server, options.maxConnectionsPerSae ?? 32)
  server.on('clientError', refuseBadHttp)
  server.on('tlsClientError', () => {}) // A caller without a good certificate: TLS has told it so.
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (socketPath === undefined) server.listen(port, host, resolve)
    else server.listen({ path: socketPath, readableAll: false, writableAll: false }, resolve)
  })
  server.on('error', () => {})
  const timer = setInterval(() => manager.expire(nowMs()), EXPIRE_PERIOD_MS)
  timer.unref()
  const close = async (): Promise<void> => {
    clearInterval(timer)
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
    manager.close()
  }
  return { port: socketPath === undefined ? (server.address() as AddressInfo).port : 0, close }
}

function serve(options: Etsi014ServeOptions, request: IncomingMessage, response: ServerResponse): void {
  const { manager, nowMs, onCall, maxBodyBytes = 65_536 } = options
  const saeId = saeOf(request.socket)
  const { method = '', url: target = '' } = request
  const send = (status: number, body: Uint8Array | undefined): void => {
    onCall?.({ saeId: saeId ?? null, call: `${method} ${callName(target)}`, status })
    sendAnswer(response, status, body)
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  request.on('error', () => {})
  request.on('data', (chunk: Uint8Array) => {
    bytes += chunk.length
    if (bytes <= maxBodyBytes) chunks.push(chunk)
    else if (!response.writableEnded) {
      // What still comes is not read: the connection ends with the answer.
      response.setHeader('connection', 'close')
      request.pause()
      send(400, errorBody(`the body is longer than ${maxBodyBytes} octets`))
    }
  })
  request.on('end', () => {
    if (response.writableEnded) return
    try {
      const { status, body } = manager.answer({ saeId, method, target, body: Buffer.concat(chunks) }, nowMs())
      send(status, body)
    } catch (error) {
      options.onFault?.(error)
      send(503, errorBody('the KME has a fault'))
    }
  })
}

/** Sends an answer and overwrites its body, which may hold key, as soon as the socket has taken it or is gone. */
function sendAnswer(response: ServerResponse, status: number, body: Uint8Array | undefined): void {
  response.statusCode = status
  response.setHeader('cache-control', 'no-store')
  response.setHeader('content-length', body?.length ?? 0)
  if (body === undefined) {
    response.end()
    return
  }
  response.setHeader('content-type', 'application/json')
  response.once('close', () => body.fill(0))
  response.end(body)
}

/** What is not HTTP, or too slow or long in its head, gets a 400 and no more. */
function refuseBadHttp(_error: Error, socket: Duplex): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = Buffer.from(errorBody('not a request that this KME understands'))
  const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`
  socket.end(`${head}Connection: close\r\n\r\n${body}`)
  socket.once('finish', () => socket.destroy())
}

function limitPerSae(server: Server, maxConnections: number): void {
  const open = new Map<string, number>()
  server.on('secureConnection', (socket: TLSSocket) => {
    const name = saeOf(socket) ?? ''
    const count = (open.get(name) ?? 0) + 1
    open.set(name, count)
    socket.on('error', () => {})
    socket.once('close', () => {
      const left = (open.get(name) ?? 1) - 1
      if (left > 0) open.set(name, left)
      else open.delete(name)
    })
    if (count > maxConnections) socket.destroy()
  })
}

/** The one common name of the certificate that the caller has proved to hold. */
function saeOf(socket: unknown): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' && name !== '' ? name : undefined
}

function callName(target: string): string {
  return /\/(status|enc_keys|dec_keys)(?:\?|$)/.exec(target)?.[1] ?? 'unknown'
}
