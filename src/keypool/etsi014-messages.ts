/** Requests and bodies of ETSI GS QKD 014 V1.1.1 (clauses 5 and 6), read and written without I/O. Sizes are in bits. */

/** A key with its key_ID. Whoever holds it overwrites `bytes` after use; a text of it shows no key. */
export class Etsi014Key {
  readonly keyId: string
  readonly bytes: Uint8Array

  constructor(keyId: string, bytes: Uint8Array) {
    this.keyId = keyId
    this.bytes = bytes
  }

  wipe(): void {
    this.bytes.fill(0)
  }

  toJSON(): { readonly keyId: string; readonly sizeBits: number } {
    return { keyId: this.keyId, sizeBits: this.bytes.length * 8 }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Etsi014Key { ${this.keyId}, ${this.bytes.length * 8} bits }`
  }
}

/** The keys one after the other; they themselves are overwritten. */
export function joinKeys(keys: readonly Etsi014Key[]): Uint8Array {
  const bytes = new Uint8Array(keys.reduce((sum, key) => sum + key.bytes.length, 0))
  let offset = 0
  for (const key of keys) {
    bytes.set(key.bytes, offset)
    offset += key.bytes.length
    key.wipe()
  }
  return bytes
}

/** What a key manager says of the key between two SAEs (clause 6.1). */
export type Etsi014Status = {
  readonly sourceKmeId: string
  readonly targetKmeId: string
  readonly masterSaeId: string
  readonly slaveSaeId: string
  readonly keySizeBits: number
  readonly storedKeyCount: number
  readonly maxKeyCount: number
  readonly maxKeysPerRequest: number
  readonly maxKeySizeBits: number
  readonly minKeySizeBits: number
  /** How many additional_slave_SAE_IDs a request may name; 0 where one slave is all. */
  readonly maxSaeIdCount: number
}

/** The texts that the standard words itself. */
export const ETSI014_TEXTS = {
  size: 'size shall be a multiple of 8',
  extensionUnsupported: 'not all extension_mandatory parameters are supported',
  extensionUnmet: 'not all extension_mandatory request options could be met',
  keyNotFound: 'one or more keys specified are not found on KME',
} as const

/** A call as its path names it; `peerSaeId` is the slave for `status` and `enc_keys`, the master for `dec_keys`. */
export type Etsi014Call = {
  readonly name: 'status' | 'enc_keys' | 'dec_keys'
  readonly peerSaeId: string
  readonly query: URLSearchParams
}

export type EncKeysRequest = {
  readonly number?: number
  readonly sizeBits?: number
  readonly additionalSlaveSaeIds: readonly string[]
  readonly extensionMandatory: readonly Extension[]
}
export type Extension = { readonly name: string; readonly value: unknown }

/** What a reader found wrong with a request: the message of a 400. */
export type BadRequest = { readonly kind: 'bad'; readonly message: string }
export type Read<T> = { readonly kind: 'ok'; readonly value: T } | BadRequest

const PATH = /^\/api\/v1\/keys\/([^/?#]{1,192})\/(status|enc_keys|dec_keys)(?:\?(.{0,1024}))?$/
const SAE_ID = /^[A-Za-z0-9][A-Za-z0-9._@:-]{0,63}$/
const KEY_ID = /^[\x21-\x7e]{1,128}$/
const WHOLE = /^\d{1,9}$/
/** Our own bounds on lists in a request. */
const MAX_LIST = 1024
const MAX_EXTENSIONS = 64

/** Whether a name can be an SAE ID here: letters, digits and `._@:-`, 64 at most. */
export function isSaeId(name: unknown): name is string {
  return typeof name === 'string' && SAE_ID.test(name)
}

/** Whether a text can be a key_ID: the standard wants a UUID, other managers give other visible ASCII. */
export function isKeyId(text: unknown): text is string {
  return typeof text === 'string' && KEY_ID.test(text)
}

/** Reads the request target (path and query). */
export function readCall(target: string): Read<Etsi014Call> {
  const [, peer = '', name, query = ''] = PATH.exec(target) ?? []
  if (name !== 'status' && name !== 'enc_keys' && name !== 'dec_keys') {
    return bad('the path is not /api/v1/keys/SAE_ID/ and one of status, enc_keys, dec_keys')
  }
  const peerSaeId = decoded(peer)
  if (!isSaeId(peerSaeId)) return bad('the SAE ID in the path is not a valid one')
  return { kind: 'ok', value: { name, peerSaeId, query: new URLSearchParams(query) } }
}

/** The JSON object of a body; none at all counts as `{}`, since every parameter may have one. */
export function readObject(body: Uint8Array): Read<Readonly<Record<string, unknown>>> {
  if (body.length === 0) return { kind: 'ok', value: {} }
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    return isObject(value) ? { kind: 'ok', value } : bad('the body is not a JSON object')
  } catch {
    return bad('the body is not JSON in UTF-8')
  }
}

/** `enc_keys` by POST (clause 6.2). Members that the standard does not know are ignored. */
export function readEncBody(body: Uint8Array): Read<EncKeysRequest> {
  const object = readObject(body)
  if (object.kind === 'bad') return object
  const members = object.value
  const number = own(members, 'number')
  const size = own(members, 'size')
  const slaves = own(members, 'additional_slave_SAE_IDs') ?? []
  const mandatory = extensionsOf(own(members, 'extension_mandatory') ?? [])
  const optional = extensionsOf(own(members, 'extension_optional') ?? [])
  if (number !== undefined && !isWhole(number)) return bad('number is not a whole number')
  if (size !== undefined && !isWhole(size)) return bad('size is not a whole number')
  if (!Array.isArray(slaves) || slaves.length > MAX_LIST || !slaves.every(isSaeId)) {
    return bad('additional_slave_SAE_IDs is not a list of SAE IDs')
  }
  if (mandatory === undefined) return bad('extension_mandatory is not a list of name and value pairs')
  if (optional === undefined) return bad('extension_optional is not a list of name and value pairs')
  return { kind: 'ok', value: encRequest(number, size, slaves, mandatory) }
}

/** `enc_keys` by GET: `number` and `size` alone. */
export function readEncQuery(query: URLSearchParams): Read<EncKeysRequest> {
  const problem = queryProblem(query, ['number', 'size'])
  if (problem !== undefined) return problem
  const number = query.get('number') ?? undefined
  const size = query.get('size') ?? undefined
  if (number !== undefined && !WHOLE.test(number)) return bad('number is not a whole number')
  if (size !== undefined && !WHOLE.test(size)) return bad('size is not a whole number')
  return { kind: 'ok', value: encRequest(toNumber(number), toNumber(size), [], []) }
}

/** The key_IDs of `dec_keys` by POST (clause 6.4), in lower case as UUIDs compare. */
export function readDecBody(body: Uint8Array): Read<readonly string[]> {
  const object = readObject(body)
  if (object.kind === 'bad') return object
  const list = own(object.value, 'key_IDs')
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_LIST) {
    return bad(`key_IDs is not a list of 1 to ${MAX_LIST} key IDs`)
  }
  const keyIds = list.map((item: unknown) => (isObject(item) ? own(item, 'key_ID') : undefined))
  return distinct(keyIds)
}

/** The key_ID of `dec_keys` by GET. */
export function readDecQuery(query: URLSearchParams): Read<readonly string[]> {
  return queryProblem(query, ['key_ID']) ?? distinct([query.get('key_ID')])
}

/** The body of a 400 or 503 (clause 6.5). */
export function errorBody(message: string, details: readonly string[] = []): Uint8Array {
  const body = details.length === 0 ? { message } : { message, details: details.map((detail) => ({ detail })) }
  return new TextEncoder().encode(JSON.stringify(body))
}

export function statusBody(status: Etsi014Status): Uint8Array {
  const body = {
    source_KME_ID: status.sourceKmeId,
    target_KME_ID: status.targetKmeId,
    master_SAE_ID: status.masterSaeId,
    slave_SAE_ID: status.slaveSaeId,
    key_size: status.keySizeBits,
    stored_key_count: status.storedKeyCount,
    max_key_count: status.maxKeyCount,
    max_key_per_request: status.maxKeysPerRequest,
    max_key_size: status.maxKeySizeBits,
    min_key_size: status.minKeySizeBits,
    max_SAE_ID_count: status.maxSaeIdCount,
  }
  return new TextEncoder().encode(JSON.stringify(body))
}

/**
 * Reads a manager's status. What a client reckons with must be there; the names of the four parties and max_SAE_ID_count
 * may be missing, as some managers leave them out.
 */
export function readStatus(body: Uint8Array): Read<Etsi014Status> {
  const object = readObject(body)
  if (object.kind === 'bad') return object
  const members = object.value
  const missing: string[] = []
  const count = (name: string): number => {
    const value = own(members, name)
    if (isWhole(value)) return value
    missing.push(name)
    return 0
  }
  const text = (name: string): string => {
    const value = own(members, name)
    return typeof value === 'string' ? value.slice(0, 256) : ''
  }
  const slaves = own(members, 'max_SAE_ID_count')
  const status: Etsi014Status = {
    sourceKmeId: text('source_KME_ID'),
    targetKmeId: text('target_KME_ID'),
    masterSaeId: text('master_SAE_ID'),
    slaveSaeId: text('slave_SAE_ID'),
    keySizeBits: count('key_size'),
    storedKeyCount: count('stored_key_count'),
    maxKeyCount: count('max_key_count'),
    maxKeysPerRequest: count('max_key_per_request'),
    maxKeySizeBits: count('max_key_size'),
    minKeySizeBits: count('min_key_size'),
    maxSaeIdCount: isWhole(slaves) ? slaves : 0,
  }
  return missing.length === 0 ? { kind: 'ok', value: status } : bad(`no whole number in ${missing.join(', ')}`)
}

/** The message of a 400 or 503, fit for a log: visible ASCII, 200 characters at most. */
export function readErrorMessage(body: Uint8Array): string {
  const object = readObject(body)
  const message = object.kind === 'ok' ? own(object.value, 'message') : undefined
  return typeof message === 'string' ? message.slice(0, 200).replace(/[^\x20-\x7e]/g, '?') : ''
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member of the object itself: `__proto__` and its like are not inherited from anywhere. */
export function own(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function encRequest(
  number: number | undefined,
  sizeBits: number | undefined,
  additionalSlaveSaeIds: readonly string[],
  extensionMandatory: readonly Extension[],
): EncKeysRequest {
  return {
    ...(number === undefined ? {} : { number }),
    ...(sizeBits === undefined ? {} : { sizeBits }),
    additionalSlaveSaeIds,
    extensionMandatory,
  }
}

/** A list of objects, each with one or more name and value pairs. */
function extensionsOf(list: unknown): Extension[] | undefined {
  if (!Array.isArray(list) || !list.every(isObject)) return undefined
  const pairs = list.flatMap((object: Readonly<Record<string, unknown>>) => Object.entries(object))
  return pairs.length > MAX_EXTENSIONS ? undefined : pairs.map(([name, value]) => ({ name, value }))
}

function distinct(keyIds: readonly unknown[]): Read<readonly string[]> {
  if (!keyIds.every(isKeyId)) return bad('a key_ID is missing or not a valid one')
  const lower = keyIds.map((keyId) => keyId.toLowerCase())
  return new Set(lower).size < lower.length ? bad('a key_ID is named twice') : { kind: 'ok', value: lower }
}

function queryProblem(query: URLSearchParams, known: readonly string[]): BadRequest | undefined {
  const names = [...query.keys()]
  if (names.some((name) => !known.includes(name))) return bad(`a GET knows ${known.join(' and ')} alone; use POST`)
  return new Set(names).size < names.length ? bad('a parameter is given twice') : undefined
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function toNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function bad(message: string): BadRequest {
  return { kind: 'bad', message }
}
