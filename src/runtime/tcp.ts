import { createServer, isIPv6, type Socket, type Server as TcpServer, connect as tcpConnect } from 'node:net'
import { createServer as createTlsServer, TLSSocket, connect as tlsConnect } from 'node:tls'
import { commonName, loadTls, nameProblem, TcpError, type TlsMaterial, type TlsOptions } from './tcp-tls.ts'

/** A TCP or TLS connection as a stream of octets. Data waits in the kernel until `onData` is called. */
export type OctetStream = {
  /** Address of the peer, `host:port`. */
  readonly peer: string
  /** Common name of the peer's certificate; undefined without TLS or without a certificate. */
  readonly peerName: string | undefined
  /** Octets written that the kernel has not taken yet. */
  readonly bufferedBytes: number
  /** Sends octets, in one segment where they fit. Ignored once closed. A peer that lets too much wait is cut off. */
  readonly write: (bytes: Uint8Array) => void
  /** Ends the connection after what was written; cut off if the peer does not end it in a few seconds. No more data comes. */
  readonly close: () => void
  /** Stops reading: the peer's octets wait in the kernel, then at the peer. */
  readonly pause: () => void
  readonly resume: () => void
  /** Who takes the octets, as the network cut them. One taker; call it once. */
  readonly onData: (take: (chunk: Uint8Array) => void) => void
  /** Called once, whoever closed: with `closed`, `peer closed`, or what went wrong. One taker. */
  readonly onClose: (take: (reason: string) => void) => void
}

export type StreamLimits = {
  /** A connection that has more than this waiting to be sent is cut off, octets (default 4 MiB). */
  readonly maxBufferedBytes?: number
}

export type ListenOptions = StreamLimits & {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly tls?: TlsOptions
  /** Most connections at a time; more are closed at once (default 64). */
  readonly maxConnections?: number
  /** Told of connections that did not come about: a failed TLS handshake. */
  readonly onRefused?: (peer: string, reason: string) => void
}

export type Listener = {
  readonly port: number
  /** Stops listening and cuts off what is connected. */
  readonly close: () => Promise<void>
}

export type DialOptions = StreamLimits & {
  readonly host: string
  readonly port: number
  readonly tls?: TlsOptions
  /** Time to establish a connection, t0 of IEC 60870-5-104 (default 30 000 ms). */
  readonly t0Ms?: number
  /**
   * Dial again after a failure and after the end of a connection: at first after `minMs`, then after twice as long each time
   * up to `maxMs`; from `minMs` again after a connection that lasted `maxMs`. Undefined: one attempt.
   */
  readonly retry?: { readonly minMs: number; readonly maxMs: number }
}

export type DialHandlers = {
  readonly onConnection: (stream: OctetStream) => void
  /** An attempt failed; `retryMs` is the time to the next one, undefined when there is none. */
  readonly onFailure?: (reason: string, retryMs: number | undefined) => void
}

export type Dialer = {
  /** No more attempts; the connection is ended. */
  readonly close: () => void
}

const DEFAULT_MAX_BUFFERED_BYTES = 4 << 20
const DEFAULT_MAX_CONNECTIONS = 64
const DEFAULT_T0_MS = 30_000
const HANDSHAKE_TIMEOUT_MS = 10_000
/** How long a peer may take to end a connection that we have ended. */
const CLOSE_GRACE_MS = 3_000

/** Listens for TCP or TLS connections. @throws TcpError (as a rejection) when a file or the address cannot be used. */
export async function listenTcp(
  options: ListenOptions,
  onConnection: (stream: OctetStream) => void,
): Promise<Listener> {
  const { host, port, onRefused, maxConnections = DEFAULT_MAX_CONNECTIONS } = options
  const sockets = new Set<Socket>()
  const material = options.tls && loadTls(options.tls, Date.now())
  const accept = (socket: Socket): void => {
    const problem = material?.requirePeer ? peerProblem(socket, material.peerNames) : undefined
    if (problem === undefined) {
      onConnection(octetStream(socket, options))
      return
    }
    onRefused?.(addressOf(socket), problem)
    socket.on('error', () => {})
    socket.destroy()
  }
  const server =
    material === undefined ? createServer({ noDelay: true }, accept) : tlsServer(material, accept, onRefused)
  server.maxConnections = maxConnections
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new TcpError(`${host}:${port}: ${listenProblem(error)}`, { cause: error })))
    server.listen(port, host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Dials, and keeps a connection if `retry` says so. @throws TcpError when a file of `tls` cannot be used. */
export function dialTcp(options: DialOptions, handlers: DialHandlers): Dialer {
  const { host, port, retry, t0Ms = DEFAULT_T0_MS } = options
  const material = options.tls && loadTls(options.tls, Date.now())
  const sessions = material && new SessionStore(material.sessionLifetimeS)
  let isClosed = false
  let delayMs = retry?.minMs ?? 0
  let timer: NodeJS.Timeout | undefined
  let current: { readonly close: () => void } | undefined

  /** Gives the time until the next attempt, which it arranges; undefined when there is none. */
  const again = (): number | undefined => {
    current = undefined
    if (isClosed || retry === undefined) return undefined
    const waitMs = delayMs
    delayMs = Math.min(retry.maxMs, delayMs * 2)
    timer = setTimeout(dial, waitMs)
    return waitMs
  }

  const dial = (): void => {
    const socket =
      material === undefined ? tcpConnect({ host, port, noDelay: true }) : tlsDial(options, material, sessions)
    current = { close: () => socket.destroy() }
    const t0 = setTimeout(() => socket.destroy(new Error(`no connection within t0 ${t0Ms} ms`)), t0Ms)
    let problem: string | undefined
    const onError = (error: Error): void => {
      problem ??= problemOf(error)
    }
    const onFailed = (): void => {
      clearTimeout(t0)
      const retryMs = again()
      if (!isClosed) handlers.onFailure?.(`${host}:${port}: ${problem ?? 'closed during the handshake'}`, retryMs)
    }
    socket.on('error', onError)
    socket.once('close', onFailed)
    socket.once(material === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(t0)
      socket.off('error', onError)
      socket.off('close', onFailed)
      const sinceMs = performance.now()
      const stream = octetStream(socket, options, () => {
        if (performance.now() - sinceMs >= (retry?.maxMs ?? 0)) delayMs = retry?.minMs ?? 0
        again()
      })
      current = stream
      handlers.onConnection(stream)
    })
  }

  dial()
  return {
    close() {
      isClosed = true
      clearTimeout(timer)
      current?.close()
    },
  }
}

function octetStream(socket: Socket, limits: StreamLimits, onGone: () => void = () => {}): OctetStream {
  const { maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES } = limits
  const peer = addressOf(socket)
  const peerName = socket instanceof TLSSocket ? commonName(socket.getPeerCertificate()) : undefined
  let reason: string | undefined
  let isClosing = false
  let isClosed = false
  let takeClose: ((reason: string) => void) | undefined
  if (socket instanceof TLSSocket) socket.disableRenegotiation()

  socket.on('error', (error) => {
    reason ??= problemOf(error)
  })
  socket.once('end', () => {
    reason ??= 'peer closed'
  })
  socket.once('close', () => {
    isClosed = true
    takeClose?.(reason ?? 'peer closed')
    onGone()
  })

  return {
    peer,
    peerName,
    get bufferedBytes() {
      return socket.writableLength
    },
    write(bytes) {
      if (!socket.writable) return
      socket.write(bytes)
      if (socket.writableLength <= maxBufferedBytes) return
      reason ??= `slow reader: ${socket.writableLength} octets wait`
      socket.destroy()
    },
    close() {
      if (isClosing || isClosed) return
      isClosing = true
      reason ??= 'closed'
      socket.removeAllListeners('data')
      socket.resume() // Reads on, so that the peer's end of the connection is seen.
      socket.end()
      const grace = setTimeout(() => socket.destroy(), CLOSE_GRACE_MS)
      socket.once('close', () => clearTimeout(grace))
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    onData(take) {
      socket.on('data', (chunk: Buffer) => take(chunk))
    },
    onClose(take) {
      takeClose = take
      if (isClosed) take(reason ?? 'peer closed')
    },
  }
}

function tlsServer(
  material: TlsMaterial,
  accept: (socket: Socket) => void,
  onRefused: ListenOptions['onRefused'],
): TcpServer {
  const { context, requirePeer } = material
  const server = createTlsServer(
    {
      ...context,
      requestCert: requirePeer,
      rejectUnauthorized: requirePeer,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
    },
    accept,
  )
  server.on('tlsClientError', (error, socket) => onRefused?.(addressOf(socket), problemOf(error)))
  return server
}

function tlsDial({ host, port }: DialOptions, material: TlsMaterial, sessions: SessionStore | undefined): TLSSocket {
  const { context, peerNames } = material
  const session = sessions?.get(performance.now())
  const socket = tlsConnect({
    host,
    port,
    ...context,
    // Names are looked for in the certificate; an address is none and may not be sent as one.
    ...(/[a-z]/i.test(host) && !isIPv6(host) && { servername: host }),
    ...(session !== undefined && { session }),
    ...(peerNames !== undefined && {
      checkServerIdentity: (_host: string, certificate) => {
        const problem = nameProblem(certificate, peerNames)
        return problem === undefined ? undefined : new Error(problem)
      },
    }),
  })
  socket.setNoDelay(true)
  socket.on('session', (ticket) => sessions?.keep(ticket, socket.isSessionReused(), performance.now()))
  return socket
}

/** The latest TLS session. Its lifetime counts from the full handshake: resuming does not lengthen it. */
class SessionStore {
  readonly #lifetimeMs: number
  #ticket: Buffer | undefined
  #untilMs = 0

  constructor(lifetimeS: number) {
    this.#lifetimeMs = lifetimeS * 1000
  }

  keep(ticket: Buffer, isResumed: boolean, nowMs: number): void {
    this.#ticket = ticket
    if (!isResumed) this.#untilMs = nowMs + this.#lifetimeMs
  }

  get(nowMs: number): Buffer | undefined {
    return nowMs < this.#untilMs ? this.#ticket : undefined
  }
}

function peerProblem(socket: Socket, names: readonly string[] | undefined): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  if (!socket.authorized) return 'the certificate is not of the authority'
  return nameProblem(socket.getPeerCertificate(), names)
}

function addressOf(socket: Socket): string {
  const { remoteAddress = '?', remotePort = 0 } = socket
  return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there (ECONNREFUSED)',
  ECONNRESET: 'reset by the peer (ECONNRESET)',
  EPIPE: 'reset by the peer (EPIPE)',
  EADDRINUSE: 'the address is in use (EADDRINUSE)',
  EADDRNOTAVAIL: 'the address is not one of this machine (EADDRNOTAVAIL)',
  EACCES: 'not permitted (EACCES); ports below 1024 need root',
  ENOTFOUND: 'no such host (ENOTFOUND)',
}

function problemOf(error: Error): string {
  const code = 'code' in error ? String(error.code) : ''
  return PROBLEMS[code] ?? (code === '' || error.message.includes(code) ? error.message : `${error.message} (${code})`)
}

function listenProblem(error: Error): string {
  return `cannot listen: ${problemOf(error)}`
}
