import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { readKeyContainer } from './etsi014-container.ts'
import { type Etsi014Key, type Etsi014Status, type Read, readErrorMessage, readStatus } from './etsi014-messages.ts'

export type Etsi014ClientOptions = {
  /** Where the key manager listens: `https://HOST:PORT`, with a path before `/api/v1/keys` if it has one. */
  readonly url: string
  /** Path of a unix socket that leads there; default the host and port in `url`. */
  readonly socketPath?: string
  /** The name its certificate must bear, if other than the host in `url`. */
  readonly serverName?: string
  /** The authority of the manager's certificate; no other is trusted. */
  readonly caPem: string
  /** Certificate and key of this SAE: the manager takes the SAE ID from it. */
  readonly certPem: string
  readonly keyPem: string
  /** For one try; default 5000 ms. */
  readonly timeoutMs?: number
  /** Tries of a call that meets a 503 or no connection, with back-off in between; default 4. */
  readonly maxTries?: number
  /** First pause between tries, doubled each time up to 5 s; default 100 ms. */
  readonly backoffMs?: number
}

/** Why a call failed. `unavailable` and `unreachable` may pass with time, the others need somebody to act. */
export type Etsi014Fault =
  /** 400, with the manager's text. */
  | { readonly kind: 'refused'; readonly message: string }
  /** 401: the manager does not know this SAE, or not for this call. */
  | { readonly kind: 'unauthorised' }
  /** 503, with the manager's text. */
  | { readonly kind: 'unavailable'; readonly message: string }
  /** No connection, TLS failed, or no answer in time. */
  | { readonly kind: 'unreachable'; readonly code: string }
  /** The answer is not what the standard says. */
  | { readonly kind: 'malformed'; readonly message: string }

export class Etsi014Error extends Error {
  override readonly name = 'Etsi014Error'
  readonly fault: Etsi014Fault

  constructor(call: string, fault: Etsi014Fault) {
    const why = 'message' in fault ? fault.message : 'code' in fault ? fault.code : ''
    super(`${call}: ${fault.kind}${why === '' ? '' : `: ${why}`}`)
    this.fault = fault
  }

  /** Whether trying again later may help. */
  get isPassing(): boolean {
    return this.fault.kind === 'unavailable' || this.fault.kind === 'unreachable'
  }
}

export type EncKeysOptions = {
  /** Default 1. */
  readonly number?: number
  /** Default: the manager's key_size. */
  readonly sizeBits?: number
  readonly additionalSlaveSaeIds?: readonly string[]
}

const MAX_BACKOFF_MS = 5000
const MAX_ANSWER_BYTES = 4 * 2 ** 20
const MAX_KEYS = 4096

type Answer = { readonly status: number; readonly body: Uint8Array }

/**
 * An SAE's side of ETSI GS QKD 014 V1.1.1, for any key manager. All calls reject with `Etsi014Error`. Keys are their
 * caller's to overwrite.
 *
 * A try whose answer is lost may have cost keys: `enc_keys` then gives others, and `dec_keys` is refused at the next try,
 * since each key is delivered once; both SAEs must let such keys go.
 */
export class Etsi014Client {
  readonly #options: Etsi014ClientOptions
  readonly #base: URL
  readonly #agent: Agent
  readonly #closed = new AbortController()

  /** Throws if `url` is not an https URL or a certificate is not valid PEM. */
  constructor(options: Etsi014ClientOptions) {
    this.#options = options
    this.#base = new URL(options.url)
    if (this.#base.protocol !== 'https:') throw new TypeError(`BAD_URL ${options.url}: a KME is reached by https`)
    this.#agent = new Agent({
      ca: options.caPem,
      cert: options.certPem,
      key: options.keyPem,
      minVersion: 'TLSv1.2',
      keepAlive: true,
      maxSockets: 4,
      ...(options.serverName === undefined ? {} : { servername: options.serverName }),
    })
  }

  /** What there is between this SAE, as master, and the slave. */
  status(slaveSaeId: string): Promise<Etsi014Status> {
    return this.#call({ peer: slaveSaeId, name: 'status' }, (body) => readStatus(body))
  }

  /** New keys for this SAE, as master, and the slave: as many as asked for, each of the size asked for. */
  encKeys(slaveSaeId: string, options: EncKeysOptions = {}): Promise<readonly Etsi014Key[]> {
    const { number = 1, sizeBits, additionalSlaveSaeIds = [] } = options
    const content = {
      number,
      ...(sizeBits === undefined ? {} : { size: sizeBits }),
      ...(additionalSlaveSaeIds.length === 0 ? {} : { additional_slave_SAE_IDs: additionalSlaveSaeIds }),
    }
    return this.#call({ peer: slaveSaeId, name: 'enc_keys', content }, (body) =>
      checkedKeys(readKeyContainer(body, MAX_KEYS), (keys) => {
        if (keys.length !== number) return `${keys.length} keys instead of ${number}`
        const wrong = keys.find(({ bytes }) => sizeBits !== undefined && 8 * bytes.length !== sizeBits)
        return wrong === undefined ? undefined : `a key of ${8 * wrong.bytes.length} bits instead of ${sizeBits}`
      }),
    )
  }

  /** The master's keys of these IDs, in this order. */
  async decKeys(masterSaeId: string, keyIds: readonly string[]): Promise<readonly Etsi014Key[]> {
    const content = { key_IDs: keyIds.map((keyId) => ({ key_ID: keyId })) }
    const wanted = new Map(keyIds.map((keyId, index) => [keyId.toLowerCase(), index]))
    const place = (key: Etsi014Key): number => wanted.get(key.keyId.toLowerCase()) ?? -1
    const keys = await this.#call({ peer: masterSaeId, name: 'dec_keys', content }, (body) =>
      checkedKeys(readKeyContainer(body, MAX_KEYS), (found) => {
        if (found.length !== keyIds.length) return `${found.length} keys instead of ${keyIds.length}`
        return found.every((key) => place(key) >= 0) ? undefined : 'a key that was not asked for'
      }),
    )
    return [...keys].sort((one, other) => place(one) - place(other))
  }

  /** Ends all connections; calls under way reject. */
  close(): void {
    this.#closed.abort()
    this.#agent.destroy()
  }

  async #call<T>(
    call: { readonly peer: string; readonly name: string; readonly content?: object },
    read: (body: Uint8Array) => Read<T>,
  ): Promise<T> {
    const { maxTries = 4, backoffMs = 100 } = this.#options
    for (let tries = 1; ; tries++) {
      const result = await this.#try(call, read)
      if (result.kind === 'ok') return result.value
      const error = new Etsi014Error(call.name, result.fault)
      if (!error.isPassing || tries >= maxTries || this.#closed.signal.aborted) throw error
      // A random part keeps the clients of one manager from coming back all at once.
      const pauseMs = Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2)
      await sleep(pauseMs, undefined, { signal: this.#closed.signal }).catch(() => {
        throw error
      })
    }
  }

  async #try<T>(
    { peer, name, content }: { readonly peer: string; readonly name: string; readonly content?: object },
    read: (body: Uint8Array) => Read<T>,
  ): Promise<{ readonly kind: 'ok'; readonly value: T } | { readonly kind: 'fault'; readonly fault: Etsi014Fault }> {
    const prefix = this.#base.pathname.replace(/\/+$/, '')
    const path = `${prefix}/api/v1/keys/${encodeURIComponent(peer)}/${name}`
    const answer = await this.#exchange(path, content === undefined ? undefined : JSON.stringify(content))
    if ('kind' in answer) return { kind: 'fault', fault: answer }
    const { status, body } = answer
    try {
      if (status === 200) {
        const value = read(body)
        return value.kind === 'ok' ? value : { kind: 'fault', fault: { kind: 'malformed', message: value.message } }
      }
      return { kind: 'fault', fault: faultOf(status, body) }
    } finally {
      body.fill(0)
    }
  }

  #exchange(path: string, content: string | undefined): Promise<Answer | Etsi014Fault> {
    const { timeoutMs = 5000, socketPath } = this.#options
    const options: RequestOptions = {
      agent: this.#agent,
      host: this.#base.hostname,
      port: this.#base.port === '' ? 443 : Number(this.#base.port),
      ...(socketPath !== undefined && { socketPath }),
      path,
      method: content === undefined ? 'GET' : 'POST',
      headers: {
        accept: 'application/json',
        ...(content === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
      },
      signal: this.#closed.signal,
    }
    return new Promise((resolve) => {
      const request = httpsRequest(options, (response) => {
        collect(response).then((answer) => {
          clearTimeout(timer)
          resolve(answer)
        })
      })
      const timer = setTimeout(() => request.destroy(codedError('TIMEOUT')), timeoutMs)
      request.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        resolve({ kind: 'unreachable', code: error.code ?? error.name })
      })
      request.end(content)
    })
  }
}

/** The whole answer; its pieces, which may hold key, are overwritten. */
function collect(response: IncomingMessage): Promise<Answer | Etsi014Fault> {
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    const wipe = (): void => {
      for (const chunk of chunks) chunk.fill(0)
    }
    response.on('data', (chunk: Uint8Array) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes <= MAX_ANSWER_BYTES) return
      response.destroy()
      resolve({ kind: 'malformed', message: `an answer longer than ${MAX_ANSWER_BYTES} octets` })
    })
    response.on('end', () => {
      const body = new Uint8Array(bytes)
      let offset = 0
      for (const chunk of chunks) {
        body.set(chunk, offset)
        offset += chunk.length
      }
      resolve({ status: response.statusCode ?? 0, body })
    })
    response.on('error', () => {}) // `close` follows.
    response.on('close', () => {
      wipe()
      resolve({ kind: 'unreachable', code: 'CONNECTION_LOST' })
    })
  })
}

function faultOf(status: number, body: Uint8Array): Etsi014Fault {
  switch (status) {
    case 400:
      return { kind: 'refused', message: readErrorMessage(body) }
    case 401:
      return { kind: 'unauthorised' }
    case 503:
      return { kind: 'unavailable', message: readErrorMessage(body) }
    default:
      return { kind: 'malformed', message: `status code ${status}` }
  }
}

/** Overwrites the keys if `problemOf` finds one with them. */
function checkedKeys(
  read: Read<readonly Etsi014Key[]>,
  problemOf: (keys: readonly Etsi014Key[]) => string | undefined,
): Read<readonly Etsi014Key[]> {
  if (read.kind === 'bad') return read
  const problem = problemOf(read.value)
  if (problem === undefined) return read
  for (const key of read.value) key.wipe()
  return { kind: 'bad', message: problem }
}

function codedError(code: string): Error {
  return Object.assign(new Error(code), { code })
}
