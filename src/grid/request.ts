import type { GridDone, GridRequest, GridSample } from '../runtime/contract.ts'

/** Shortest sampling period of a subscription, ms; shorter ones asked for are raised to it. */
export const MIN_PERIOD_MS = 20
export const MAX_PERIOD_MS = 3_600_000
/** Longest breaker delay, ms. */
export const MAX_BREAKER_DELAY_MS = 60_000
/** Largest power in a request or disturbance, MW (absolute value). */
export const MAX_POWER_MW = 1e6
/** Longest `reason`, characters; longer ones are cut when sent. */
export const MAX_REASON_CHARS = 120

/** What a check gives: the message, rebuilt field by field, or why not, with the request's id where it could be read. */
export type Checked<M> =
  | { readonly ok: true; readonly message: M }
  | { readonly ok: false; readonly reason: string; readonly id?: number }

/**
 * Checks that a value of any origin is a request to the grid: the right fields, no others, all in range. Whether the
 * bus exists and what stands there is for the grid node to say.
 */
export function checkGridRequest(value: unknown): Checked<GridRequest> {
  if (!isRecord(value)) return { ok: false, reason: 'not an object' }
  const fields = new Fields(value)
  const message = readRequest(value['kind'], fields)
  return fields.outcome(message)
}

/** Checks that a value of any origin is a message from the grid: a sample or the answer to a request. */
export function checkGridReply(value: unknown): Checked<GridSample | GridDone> {
  if (!isRecord(value)) return { ok: false, reason: 'not an object' }
  const fields = new Fields(value)
  const message = readReply(value['kind'], fields)
  return fields.outcome(message)
}

function readRequest(kind: unknown, fields: Fields): GridRequest | undefined {
  switch (kind) {
    case 'subscribe':
      return { kind, bus: fields.bus(), periodMs: fields.number('periodMs', 0, MAX_PERIOD_MS) }
    case 'shed':
      return {
        kind,
        id: fields.id(),
        bus: fields.bus(),
        loadMw: fields.number('loadMw', 0, MAX_POWER_MW),
        breakerDelayMs: fields.number('breakerDelayMs', 0, MAX_BREAKER_DELAY_MS),
      }
    case 'setpoint':
      return {
        kind,
        id: fields.id(),
        bus: fields.bus(),
        deltaMw: fields.number('deltaMw', -MAX_POWER_MW, MAX_POWER_MW),
      }
    default:
      return undefined
  }
}

function readReply(kind: unknown, fields: Fields): GridSample | GridDone | undefined {
  switch (kind) {
    case 'sample': {
      const sample: GridSample = {
        kind,
        bus: fields.bus(),
        tMs: fields.number('tMs', 0, Number.MAX_SAFE_INTEGER),
        deltaFHz: fields.number('deltaFHz', -1000, 1000),
        voltagePu: fields.number('voltagePu', 0, 1000),
      }
      return fields.has('powerMw')
        ? { ...sample, powerMw: fields.number('powerMw', -MAX_POWER_MW, MAX_POWER_MW) }
        : sample
    }
    case 'done': {
      const done: GridDone = {
        kind,
        id: fields.id(),
        ok: fields.flag('ok'),
        tMs: fields.number('tMs', 0, Number.MAX_SAFE_INTEGER),
      }
      return fields.has('reason') ? { ...done, reason: fields.text('reason', MAX_REASON_CHARS) } : done
    }
    default:
      return undefined
  }
}

/** Reads fields off an untrusted record, keeps the first fault, and knows which fields nobody asked for. */
class Fields {
  readonly #record: Readonly<Record<string, unknown>>
  readonly #asked = new Set(['kind'])
  #fault: string | undefined

  constructor(record: Readonly<Record<string, unknown>>) {
    this.#record = record
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#record, name)
  }

  number(name: string, low: number, high: number): number {
    const value = this.#take(name)
    if (typeof value === 'number' && value >= low && value <= high) return value
    this.#refuse(`${name} must be a number from ${low} to ${high}`)
    return low
  }

  bus(): number {
    return this.#integer('bus', 1)
  }

  id(): number {
    return this.#integer('id', 0)
  }

  flag(name: string): boolean {
    const value = this.#take(name)
    if (typeof value === 'boolean') return value
    this.#refuse(`${name} must be true or false`)
    return false
  }

  text(name: string, maxChars: number): string {
    const value = this.#take(name)
    if (typeof value === 'string' && value.length <= maxChars) return value
    this.#refuse(`${name} must be a text of at most ${maxChars} characters`)
    return ''
  }

  /** The message, unless a field was wrong, missing or unknown. */
  outcome<M>(message: M | undefined): Checked<M> {
    if (message === undefined) this.#refuse('unknown kind')
    const stranger = Object.keys(this.#record).find((name) => !this.#asked.has(name))
    if (stranger !== undefined) this.#refuse(`unknown field ${JSON.stringify(stranger.slice(0, 40))}`)
    if (this.#fault === undefined && message !== undefined) return { ok: true, message }
    const reason = this.#fault ?? 'unknown kind'
    const id = Object.hasOwn(this.#record, 'id') ? this.#record['id'] : undefined
    return typeof id === 'number' && Number.isSafeInteger(id) && id >= 0
      ? { ok: false, reason, id }
      : { ok: false, reason }
  }

  #integer(name: string, low: number): number {
    const value = this.#take(name)
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= low) return value
    this.#refuse(`${name} must be an integer from ${low}`)
    return low
  }

  #take(name: string): unknown {
    this.#asked.add(name)
    return this.has(name) ? this.#record[name] : undefined
  }

  #refuse(reason: string): void {
    this.#fault ??= reason
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
