import type { MetricFamily } from './metrics.ts'

/** One point of InfluxDB's line protocol. */
export type Point = {
  readonly measurement: string
  readonly tags: Readonly<Record<string, string>>
  readonly fields: Readonly<Record<string, number>>
  readonly wallMs: number
}

const escapeName = (text: string): string => text.replaceAll(/([, \\])/g, '\\$1').replaceAll('\n', ' ')
const escapeTag = (text: string): string => text.replaceAll(/([,= \\])/g, '\\$1').replaceAll('\n', ' ')

/** The point as a line, times in milliseconds; undefined if no field has a finite value, which Influx would refuse. */
export function lineOf({ measurement, tags, fields, wallMs }: Point): string | undefined {
  const values = Object.entries(fields).filter(([, value]) => Number.isFinite(value))
  if (values.length === 0) return undefined
  const tagText = Object.entries(tags)
    .filter(([, value]) => value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `,${escapeTag(name)}=${escapeTag(value)}`)
    .join('')
  const fieldText = values.map(([name, value]) => `${escapeTag(name)}=${value}`).join(',')
  return `${escapeName(measurement)}${tagText} ${fieldText} ${Math.round(wallMs)}`
}

/**
 * Metrics of a process as points: a gauge or counter has the field `value`, a histogram the fields `sum` and `count`; its
 * buckets stay with Prometheus.
 */
export function pointsOf(
  families: readonly MetricFamily[],
  tags: Readonly<Record<string, string>>,
  wallMs: number,
): readonly Point[] {
  return families.flatMap(({ name, values }) => {
    return values.flatMap(({ value, labels, metricName }): readonly Point[] => {
      const part = metricName?.slice(name.length + 1) ?? ''
      if (part === 'bucket') return []
      const own = Object.fromEntries(Object.entries(labels).map(([key, label]) => [key, String(label)]))
      return [{ measurement: name, tags: { ...own, ...tags }, fields: { [part || 'value']: value }, wallMs }]
    })
  })
}

export type InfluxTarget = {
  /** Where points are posted to, query included. */
  readonly writeUrl: string
  readonly headers: Readonly<Record<string, string>>
}

/** What is wrong with an address of InfluxDB. */
export class InfluxAddressError extends Error {
  override readonly name = 'InfluxAddressError'
}

/**
 * Reads `http://HOST:8086/?db=NAME` (version 1) or `http://HOST:8086/?org=ORG&bucket=BUCKET` (version 2).
 *
 * @param token of version 2, or `user:password` of version 1
 * @throws InfluxAddressError saying what was found and what was expected
 */
export function influxTarget(address: string, token: string | undefined): InfluxTarget {
  const form = 'expected http://HOST:PORT/?db=NAME or http://HOST:PORT/?org=ORG&bucket=BUCKET'
  if (!URL.canParse(address)) throw new InfluxAddressError(`'${address}' is no URL; ${form}`)
  const url = new URL(address)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new InfluxAddressError(`'${url.protocol}' is not served; ${form}`)
  if (url.username !== '' || url.password !== '')
    throw new InfluxAddressError('the address holds a password; give it in the environment instead')
  const db = url.searchParams.get('db')
  const org = url.searchParams.get('org')
  const bucket = url.searchParams.get('bucket')
  const base = `${url.origin}${url.pathname.replace(/\/$/, '')}`
  if (db !== null && db !== '') {
    const query = new URLSearchParams({ db, precision: 'ms' })
    const headers = token === undefined ? {} : { authorization: `Basic ${Buffer.from(token).toString('base64')}` }
    return { writeUrl: `${base}/write?${query}`, headers }
  }
  if (!org || !bucket) throw new InfluxAddressError(`'${address}' names no database; ${form}`)
  const query = new URLSearchParams({ org, bucket, precision: 'ms' })
  const headers = token === undefined ? {} : { authorization: `Token ${token}` }
  return { writeUrl: `${base}/api/v2/write?${query}`, headers }
}

export type InfluxCounts = {
  readonly written: number
  /** Points given up: the queue was full, the server refused them, or it never came back. */
  readonly dropped: number
  readonly waiting: number
  readonly retries: number
}

export type InfluxWriterOptions = InfluxTarget & {
  readonly flushMs?: number
  /** Lines in one request at most. */
  readonly batchLines?: number
  /** Lines kept while the server is away; beyond them the oldest go. */
  readonly maxLines?: number
  /** A line of what went wrong, once until it changes. */
  readonly onProblem?: (problem: string | undefined) => void
}

const REQUEST_TIMEOUT_MS = 5_000
const MAX_BACKOFF_MS = 10_000

/**
 * Writes points to InfluxDB in batches. A server that is away is retried with back-off while a bounded queue waits; a batch it
 * calls wrong (4xx) is dropped, for it will not become right. Never throws, never makes its caller wait.
 */
export class InfluxWriter {
  readonly #options: Required<Omit<InfluxWriterOptions, 'onProblem'>>
  readonly #onProblem: (problem: string | undefined) => void
  #lines: string[] = []
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #backoffMs = 0
  #written = 0
  #dropped = 0
  #retries = 0
  #problem: string | undefined

  constructor({
    onProblem = () => {},
    flushMs = 1_000,
    batchLines = 5_000,
    maxLines = 100_000,
    ...target
  }: InfluxWriterOptions) {
    this.#options = { ...target, flushMs, batchLines, maxLines }
    this.#onProblem = onProblem
    this.#arm(flushMs)
  }

  counts(): InfluxCounts {
    return { written: this.#written, dropped: this.#dropped, waiting: this.#lines.length, retries: this.#retries }
  }

  write(points: readonly Point[]): void {
    for (const point of points) {
      const line = lineOf(point)
      if (line !== undefined) this.#lines.push(line)
    }
    this.#dropOldest()
  }

  #dropOldest(): void {
    const surplus = this.#lines.length - this.#options.maxLines
    if (surplus <= 0) return
    this.#lines.splice(0, surplus)
    this.#dropped += surplus
  }

  /** Sends what waits, with one try a batch, and ends. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#sending
    while (this.#lines.length > 0 && (await this.#sendBatch()) === 'sent');
    this.#dropped += this.#lines.length
    this.#lines = []
  }

  #arm(inMs: number): void {
    this.#timer = setTimeout(() => {
      this.#sending = this.#flush()
    }, inMs)
    this.#timer.unref()
  }

  async #flush(): Promise<void> {
    let result: 'sent' | 'away' = 'sent'
    while (this.#lines.length > 0 && result === 'sent') result = await this.#sendBatch()
    this.#backoffMs =
      result === 'sent' ? 0 : Math.min(MAX_BACKOFF_MS, Math.max(this.#options.flushMs, 2 * this.#backoffMs))
    if (result === 'away') this.#retries++
    if (this.#timer !== undefined) this.#arm(Math.max(this.#options.flushMs, this.#backoffMs))
  }

  /** 'sent' if the server has taken the batch, or has said for good that it will not. */
  async #sendBatch(): Promise<'sent' | 'away'> {
    const batch = this.#lines.splice(0, this.#options.batchLines)
    let refusal: string | undefined
    try {
      const response = await fetch(this.#options.writeUrl, {
        method: 'POST',
        headers: { ...this.#options.headers, 'content-type': 'text/plain; charset=utf-8' },
        body: `${batch.join('\n')}\n`,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
      const body = (await response.text()).slice(0, 200).trim()
      if (!response.ok) refusal = `InfluxDB answered ${response.status}: ${body}`
      if (response.status === 429 || response.status >= 500) return this.#away(batch, refusal)
    } catch (error) {
      return this.#away(batch, `InfluxDB cannot be reached: ${reasonOf(error)}`)
    }
    if (refusal === undefined) this.#written += batch.length
    else this.#dropped += batch.length
    this.#tell(refusal)
    return 'sent'
  }

  #away(batch: readonly string[], problem: string | undefined): 'away' {
    this.#lines = [...batch, ...this.#lines]
    this.#dropOldest()
    this.#tell(problem)
    return 'away'
  }

  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#onProblem(problem)
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}
