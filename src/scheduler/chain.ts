import type { Suite } from '../runtime/contract.ts'

/** State x of a control chain: 0 off, 1 downgraded (AES-128-GCM), 2 full (one-time pad). */
export type ChainState = 0 | 1 | 2

/**
 * A control chain: a stream of messages of one kind between the control centre and one device, with what the scheduler
 * must know of it. Frozen; made only by `chain` or `parseChain`.
 */
export type Chain = {
  readonly id: string
  /** Kind of task the chain carries, such as `agc`, `shed`, `setpoint`, `telemetry`. */
  readonly taskType: string
  /** 0 is the most urgent; up to 255. */
  readonly priority: number
  /** The suite the task asks for: a message sent in another one does not count as full success. */
  readonly requiredSuite: Suite
  /** Suites the chain may be planned with; contains `requiredSuite`. */
  readonly allowedSuites: readonly Suite[]
  /** Alternative paths, each a list of node ids from the control centre to the device; the first is preferred. */
  readonly paths: readonly (readonly string[])[]
  readonly deadlineMs: number
  /** Messages the chain is expected to carry a second, both directions together. */
  readonly ratePerS: number
  /** Size of one APDU, octets, 6 to 255. */
  readonly apduBytes: number
  /** Cost a second of a chain that is off (xi_drop). */
  readonly lossWeight: number
  /** Cost a second of a chain below its required suite (xi_deg). */
  readonly degradeWeight: number
  /** Cost of one change of state (gamma). */
  readonly switchWeight: number
}

/** What `chain` takes: a `Chain` with defaults, and `path` as a short way to give a single path. */
export type ChainSpec = Pick<
  Chain,
  'id' | 'taskType' | 'priority' | 'requiredSuite' | 'deadlineMs' | 'ratePerS' | 'apduBytes'
> &
  Partial<Pick<Chain, 'allowedSuites' | 'paths' | 'lossWeight' | 'degradeWeight' | 'switchWeight'>> & {
    readonly path?: readonly string[]
  }

/** A description that is no chain, with every problem found in it. */
export class ChainError extends Error {
  override readonly name = 'ChainError'
  readonly problems: readonly string[]
  constructor(chainId: string, problems: readonly string[]) {
    super(`BAD_CHAIN ${chainId}: ${problems.join('; ')}`)
    this.problems = problems
  }
}

const MAX_ID_LENGTH = 64
const MAX_PATHS = 8
const MAX_PATH_NODES = 16
const MAX_PRIORITY = 255
const MAX_RATE_PER_S = 10_000
const MAX_DEADLINE_MS = 3_600_000
/** An APCI alone, and the longest APDU its length octet allows (IEC 60870-5-104, 5.1). */
const MIN_APDU_BYTES = 6
const MAX_APDU_BYTES = 255

const KEYS: ReadonlySet<string> = new Set([
  'id',
  'taskType',
  'priority',
  'requiredSuite',
  'allowedSuites',
  'path',
  'paths',
  'deadlineMs',
  'ratePerS',
  'apduBytes',
  'lossWeight',
  'degradeWeight',
  'switchWeight',
])

/**
 * Declares a control chain:
 * `chain({ id: 'shed-16', taskType: 'shed', priority: 0, requiredSuite: 'otp', path: ['master', 'gw-a', 'rtu-16', 'ied-16'], ... })`.
 * `allowedSuites` defaults to the required suite alone, the weights to 10, 1 and 0.1.
 * @throws ChainError with every problem found.
 */
export function chain(spec: ChainSpec): Chain {
  return parseChain(spec)
}

/**
 * Checks a description from outside (a file, the REST interface) and makes a chain of it.
 * @throws ChainError with every problem found.
 */
export function parseChain(value: unknown): Chain {
  if (!isRecord(value)) throw new ChainError('?', ['not an object'])
  const problems: string[] = []
  for (const key of Object.keys(value)) if (!KEYS.has(key)) problems.push(`unknown key ${key.slice(0, MAX_ID_LENGTH)}`)

  const word = (key: string): string => {
    const text = value[key]
    if (isName(text)) return text
    problems.push(`${key} must be 1 to ${MAX_ID_LENGTH} characters`)
    return '?'
  }
  const number = (key: string, min: number, max: number, fallback?: number): number => {
    const given = value[key] ?? fallback
    if (typeof given === 'number' && given >= min && given <= max) return given
    problems.push(`${key} must be a number from ${min} to ${max}`)
    return min
  }
  const integer = (key: string, min: number, max: number): number => {
    const given = value[key]
    if (typeof given === 'number' && Number.isInteger(given) && given >= min && given <= max) return given
    problems.push(`${key} must be a whole number from ${min} to ${max}`)
    return min
  }

  const id = word('id')
  const requiredSuite = value['requiredSuite']
  if (!isSuite(requiredSuite)) problems.push("requiredSuite must be 'otp' or 'aes'")
  const made = {
    id,
    taskType: word('taskType'),
    priority: integer('priority', 0, MAX_PRIORITY),
    requiredSuite: isSuite(requiredSuite) ? requiredSuite : 'otp',
    allowedSuites: suites(value['allowedSuites'], requiredSuite, problems),
    paths: paths(value['path'], value['paths'], problems),
    deadlineMs: number('deadlineMs', 1, MAX_DEADLINE_MS),
    ratePerS: number('ratePerS', 0, MAX_RATE_PER_S),
    apduBytes: integer('apduBytes', MIN_APDU_BYTES, MAX_APDU_BYTES),
    lossWeight: number('lossWeight', 0, 1e9, 10),
    degradeWeight: number('degradeWeight', 0, 1e9, 1),
    switchWeight: number('switchWeight', 0, 1e9, 0.1),
  } satisfies Chain
  if (problems.length > 0) throw new ChainError(id, problems)
  return Object.freeze(made)
}

function suites(given: unknown, requiredSuite: unknown, problems: string[]): readonly Suite[] {
  if (given === undefined) return Object.freeze(isSuite(requiredSuite) ? [requiredSuite] : [])
  if (!Array.isArray(given) || given.length === 0 || !given.every(isSuite)) {
    problems.push("allowedSuites must be a list of 'otp' and 'aes'")
    return []
  }
  const allowed = [...new Set<Suite>(given)]
  if (isSuite(requiredSuite) && !allowed.includes(requiredSuite)) {
    problems.push(`allowedSuites must contain the required suite ${requiredSuite}`)
  }
  return Object.freeze(allowed)
}

function paths(path: unknown, alternatives: unknown, problems: string[]): readonly (readonly string[])[] {
  if ((path === undefined) === (alternatives === undefined)) {
    problems.push('give either path or paths')
    return []
  }
  const given: unknown = alternatives ?? [path]
  if (!Array.isArray(given) || given.length === 0 || given.length > MAX_PATHS) {
    problems.push(`paths must be a list of 1 to ${MAX_PATHS} paths`)
    return []
  }
  return Object.freeze(given.map((nodes: unknown, index) => onePath(nodes, index, problems)))
}

function onePath(nodes: unknown, index: number, problems: string[]): readonly string[] {
  if (!Array.isArray(nodes) || nodes.length < 2 || nodes.length > MAX_PATH_NODES || !nodes.every(isName)) {
    problems.push(`path ${index} must be a list of 2 to ${MAX_PATH_NODES} node ids`)
    return []
  }
  if (new Set(nodes).size < nodes.length) problems.push(`path ${index} visits a node twice`)
  return Object.freeze([...nodes])
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= MAX_ID_LENGTH
}

function isSuite(value: unknown): value is Suite {
  return value === 'otp' || value === 'aes'
}
