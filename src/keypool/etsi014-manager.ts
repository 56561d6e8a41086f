import { writeKeyContainer } from './etsi014-container.ts'
import {
  type EncKeysRequest,
  ETSI014_TEXTS,
  type Etsi014Call,
  Etsi014Key,
  errorBody,
  type Read,
  readCall,
  readDecBody,
  readDecQuery,
  readEncBody,
  readEncQuery,
  statusBody,
} from './etsi014-messages.ts'
import type { Etsi014Store } from './etsi014-store.ts'

export type Etsi014ManagerOptions = {
  /** source_KME_ID. */
  readonly kmeId: string
  /** The SAEs that may call, each with its key manager (target_KME_ID; default `kmeId`). */
  readonly saes: readonly { readonly saeId: string; readonly kmeId?: string }[]
  /** Which master may share key with which slave; default any two SAEs. */
  readonly mayShare?: (masterSaeId: string, slaveSaeId: string) => boolean
  readonly store: Etsi014Store
  /** A new UUID (RFC 4122) in lower case. */
  readonly newKeyId: () => string
  /** Size of a key where the request names none, and the bounds; defaults 256, 64 and 65,536 bits. */
  readonly keySizeBits?: number
  readonly minKeySizeBits?: number
  readonly maxKeySizeBits?: number
  /** Default 128. */
  readonly maxKeysPerRequest?: number
  /** additional_slave_SAE_IDs a request may name; default 4. */
  readonly maxSaeIdCount?: number
  /** Key of one master that may wait for its slaves; default 8,388,608 bits. `enc_keys` is answered 503 beyond it. */
  readonly maxWaitingBits?: number
  /** A key that a slave has not fetched after this time is overwritten; default one hour. */
  readonly waitingLifeMs?: number
  /** Extensions that are understood, by name: whether the value can be met. Default none. */
  readonly extensions?: ReadonlyMap<string, (value: unknown) => boolean>
}

export type Etsi014Request = {
  /** From the caller's certificate; undefined if that names nobody. */
  readonly saeId: string | undefined
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly body: Uint8Array
}

/** An answer; `body` (JSON) may hold key: overwrite it once sent. A 401 has none. */
export type Etsi014Answer =
  | { readonly status: 200 | 400 | 503; readonly body: Uint8Array }
  | { readonly status: 401; readonly body?: undefined }

export type Etsi014Counts = {
  readonly status: number
  readonly encKeys: number
  readonly decKeys: number
  readonly keysIssued: number
  readonly keysFetched: number
  readonly keysExpired: number
  readonly refused400: number
  readonly refused401: number
  readonly refused503: number
}

/** A key that at least one slave has not fetched. */
type Waiting = {
  readonly key: Etsi014Key
  readonly masterSaeId: string
  /** Who was named at enc_keys. */
  readonly named: ReadonlySet<string>
  /** Who of them has not fetched it. */
  readonly absent: Set<string>
  readonly sinceMs: number
}

const UNAUTHORISED: Etsi014Answer = { status: 401 }

/**
 * A key manager by ETSI GS QKD 014 V1.1.1, without I/O: one process serves master and slaves.
 *
 * A key leaves the store with `enc_keys` and is kept for the slaves named there, each of whom gets it once; the last one
 * takes the manager's copy along. `dec_keys` is all or nothing. Nothing that a caller sends makes it throw.
 */
export class Etsi014Manager {
  readonly #options: Required<Omit<Etsi014ManagerOptions, 'saes'>>
  readonly #kmeOf: ReadonlyMap<string, string>
  /** By key_ID, oldest first. */
  readonly #waiting = new Map<string, Waiting>()
  readonly #waitingBits = new Map<string, number>()
  readonly #counts = {
    status: 0,
    encKeys: 0,
    decKeys: 0,
    keysIssued: 0,
    keysFetched: 0,
    keysExpired: 0,
    refused400: 0,
    refused401: 0,
    refused503: 0,
  }

  /** Throws a RangeError if sizes are not multiples of 8 in the order min, default, max, or a bound is not positive. */
  constructor(options: Etsi014ManagerOptions) {
    this.#options = {
      mayShare: () => true,
      keySizeBits: 256,
      minKeySizeBits: 64,
      maxKeySizeBits: 65_536,
      maxKeysPerRequest: 128,
      maxSaeIdCount: 4,
      maxWaitingBits: 8 * 2 ** 20,
      waitingLifeMs: 3_600_000,
      extensions: new Map(),
      ...options,
    }
    this.#kmeOf = new Map(options.saes.map(({ saeId, kmeId = options.kmeId }) => [saeId, kmeId]))
    const { minKeySizeBits, keySizeBits, maxKeySizeBits, maxKeysPerRequest, waitingLifeMs } = this.#options
    const sizes = [8, minKeySizeBits, keySizeBits, maxKeySizeBits]
    const ordered = sizes.every((bits, index) => bits % 8 === 0 && bits >= (sizes[index - 1] ?? 8))
    if (!ordered || !(maxKeysPerRequest >= 1 && waitingLifeMs > 0)) throw new RangeError('BAD_KME_OPTIONS')
  }

  /** Answers one call. `nowMs` is monotonic and ages the keys that wait. */
  answer(request: Etsi014Request, nowMs: number): Etsi014Answer {
    this.expire(nowMs)
    const answer = this.#answer(request, nowMs)
    if (answer.status === 400) this.#counts.refused400++
    if (answer.status === 401) this.#counts.refused401++
    if (answer.status === 503) this.#counts.refused503++
    return answer
  }

  /** Overwrites keys that nobody fetched in time. */
  expire(nowMs: number): void {
    for (const waiting of this.#waiting.values()) {
      if (nowMs - waiting.sinceMs < this.#options.waitingLifeMs) return
      this.#counts.keysExpired++
      this.#forget(waiting)
    }
  }

  /** Overwrites every key that waits. */
  close(): void {
    this.expire(Number.POSITIVE_INFINITY)
  }

  /** Keys that wait for a slave. */
  get waitingKeys(): number {
    return this.#waiting.size
  }

  counts(): Etsi014Counts {
    return { ...this.#counts }
  }

  #answer({ saeId, method, target, body }: Etsi014Request, nowMs: number): Etsi014Answer {
    if (saeId === undefined || !this.#kmeOf.has(saeId)) return UNAUTHORISED
    const call = readCall(target)
    if (call.kind === 'bad') return refuse(call.message)
    const { name, query } = call.value
    if (method !== 'GET' && (method !== 'POST' || name === 'status')) {
      return refuse(`${name} is called by ${name === 'status' ? 'GET' : 'GET or POST'}`)
    }
    if (name === 'dec_keys') {
      return this.#ifRead(method === 'GET' ? readDecQuery(query) : readDecBody(body), (keyIds) =>
        this.#decKeys(saeId, call.value.peerSaeId, keyIds),
      )
    }
    const refusal = this.#slaveRefusal(saeId, call.value.peerSaeId)
    if (refusal !== undefined) return refusal
    if (name === 'status') return this.#status(saeId, call.value)
    return this.#ifRead(method === 'GET' ? readEncQuery(query) : readEncBody(body), (asked) =>
      this.#encKeys(saeId, call.value.peerSaeId, asked, nowMs),
    )
  }

  #ifRead<T>(read: Read<T>, next: (value: T) => Etsi014Answer): Etsi014Answer {
    return read.kind === 'bad' ? refuse(read.message) : next(read.value)
  }

  #slaveRefusal(masterSaeId: string, slaveSaeId: string): Etsi014Answer | undefined {
    if (!this.#kmeOf.has(slaveSaeId)) return refuse('a slave_SAE_ID is not known to this KME', [slaveSaeId])
    if (slaveSaeId === masterSaeId) return refuse('an SAE cannot be its own slave')
    return this.#options.mayShare(masterSaeId, slaveSaeId) ? undefined : UNAUTHORISED
  }

  #status(masterSaeId: string, { peerSaeId }: Etsi014Call): Etsi014Answer {
    const { kmeId, store, keySizeBits, maxKeysPerRequest, maxKeySizeBits, minKeySizeBits, maxSaeIdCount } =
      this.#options
    const { availableBits, capBits } = store.stock(masterSaeId, peerSaeId)
    this.#counts.status++
    const body = statusBody({
      sourceKmeId: kmeId,
      targetKmeId: this.#kmeOf.get(peerSaeId) ?? kmeId,
      masterSaeId,
      slaveSaeId: peerSaeId,
      keySizeBits,
      storedKeyCount: Math.floor(availableBits / keySizeBits),
      maxKeyCount: Math.floor(capBits / keySizeBits),
      maxKeysPerRequest,
      maxKeySizeBits,
      minKeySizeBits,
      maxSaeIdCount,
    })
    return { status: 200, body }
  }

  #encKeys(masterSaeId: string, slaveSaeId: string, asked: EncKeysRequest, nowMs: number): Etsi014Answer {
    const { store, newKeyId, maxWaitingBits, keySizeBits } = this.#options
    const { number = 1, sizeBits = keySizeBits } = asked
    const slaves = new Set([slaveSaeId, ...asked.additionalSlaveSaeIds])
    const refusal = this.#encRefusal(masterSaeId, { ...asked, number, sizeBits }, slaves)
    if (refusal !== undefined) return refusal
    const bits = number * sizeBits
    const waitingBits = this.#waitingBits.get(masterSaeId) ?? 0
    if (waitingBits + bits > maxWaitingBits) return unavailable('too many keys wait for their slave SAE')
    const octets = store.take(masterSaeId, slaveSaeId, bits)
    if (octets === undefined) return unavailable('not enough key at present')
    const keys = Array.from({ length: number }, (_, index) => {
      const at = (index * sizeBits) / 8
      return new Etsi014Key(newKeyId(), octets.slice(at, at + sizeBits / 8))
    })
    octets.fill(0)
    for (const key of keys) {
      this.#waiting.set(key.keyId, { key, masterSaeId, named: slaves, absent: new Set(slaves), sinceMs: nowMs })
    }
    this.#waitingBits.set(masterSaeId, waitingBits + bits)
    this.#counts.encKeys++
    this.#counts.keysIssued += number
    return { status: 200, body: writeKeyContainer(keys) }
  }

  #encRefusal(
    masterSaeId: string,
    asked: EncKeysRequest & { readonly number: number; readonly sizeBits: number },
    slaves: ReadonlySet<string>,
  ): Etsi014Answer | undefined {
    const { extensions, minKeySizeBits, maxKeySizeBits, maxKeysPerRequest, maxSaeIdCount } = this.#options
    const { number, sizeBits, extensionMandatory } = asked
    if (extensionMandatory.some(({ name }) => !extensions.has(name))) return refuse(ETSI014_TEXTS.extensionUnsupported)
    if (extensionMandatory.some(({ name, value }) => extensions.get(name)?.(value) !== true)) {
      return refuse(ETSI014_TEXTS.extensionUnmet)
    }
    if (sizeBits % 8 !== 0) return refuse(ETSI014_TEXTS.size)
    if (sizeBits < minKeySizeBits || sizeBits > maxKeySizeBits) {
      return refuse(`size is not in ${minKeySizeBits} to ${maxKeySizeBits}`)
    }
    if (number < 1 || number > maxKeysPerRequest) return refuse(`number is not in 1 to ${maxKeysPerRequest}`)
    if (slaves.size - 1 > maxSaeIdCount) return refuse(`more than ${maxSaeIdCount} additional_slave_SAE_IDs`)
    for (const slave of slaves) {
      const refusal = this.#slaveRefusal(masterSaeId, slave)
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  #decKeys(slaveSaeId: string, masterSaeId: string, keyIds: readonly string[]): Etsi014Answer {
    const found = keyIds.map((keyId) => this.#waiting.get(keyId))
    // A key of others: 401, whatever else is asked for.
    if (found.some((waiting) => waiting?.named.has(slaveSaeId) === false)) return UNAUTHORISED
    const ready = found.flatMap((waiting) =>
      waiting?.absent.has(slaveSaeId) && waiting.masterSaeId === masterSaeId ? [waiting] : [],
    )
    if (ready.length < keyIds.length) return refuse(ETSI014_TEXTS.keyNotFound)
    const keys = ready.map(({ key }) => key)
    const body = writeKeyContainer(keys)
    for (const waiting of ready) {
      waiting.absent.delete(slaveSaeId)
      if (waiting.absent.size === 0) this.#forget(waiting)
    }
    this.#counts.decKeys++
    this.#counts.keysFetched += keys.length
    return { status: 200, body }
  }

  #forget({ key, masterSaeId }: Waiting): void {
    this.#waiting.delete(key.keyId)
    const bits = (this.#waitingBits.get(masterSaeId) ?? 0) - 8 * key.bytes.length
    this.#waitingBits.set(masterSaeId, bits)
    key.wipe()
  }
}

function refuse(message: string, details?: readonly string[]): Etsi014Answer {
  return { status: 400, body: errorBody(message, details) }
}

function unavailable(message: string): Etsi014Answer {
  return { status: 503, body: errorBody(message) }
}
