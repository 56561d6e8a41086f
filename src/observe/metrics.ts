import { Counter, Gauge, Histogram, type MetricObjectWithValues, Registry } from 'prom-client'
import type { LabEvent, PoolStatus, StockLevel } from '../runtime/contract.ts'

/** Seconds; from a hop of a local lab to a shedding order that is retried for half a minute. */
const LATENCY_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
const LEVELS: readonly StockLevel[] = ['normal', 'warn', 'reconfigure', 'protect']
const TASK_TYPES = ['shedding', 'agc', 'setpoint'] as const
const CHAIN_STATES = ['otp', 'aes', 'off'] as const

/** A sample of a process' metrics in prom-client's own form, as it goes to InfluxDB. */
export type MetricFamily = MetricObjectWithValues<{
  readonly value: number
  readonly labels: Readonly<Partial<Record<string, string | number>>>
  readonly metricName?: string
}>

/** What a process is: it tells what its role knows. */
export type ObservedRole = 'keyserver' | 'grid' | 'master' | 'gateway' | 'rtu' | 'ied'

export type ProcessMetricsOptions = {
  readonly role: ObservedRole
  /** Names of links by number, for the label `link`. */
  readonly linkNames: ReadonlyMap<number, string>
  /** Seconds by which the latest wake-up of the node came late. */
  readonly wakeLagMaxMs?: () => number
  /** Datagrams of the node's links so far, by link number. */
  readonly datagrams?: () => ReadonlyMap<number, DatagramCounts>
}

export type DatagramCounts = {
  readonly sent: number
  readonly received: number
  readonly lostByLaw: number
  readonly refused: number
}

/**
 * What one process tells Prometheus: fed with the events that it also records, so the record and the metrics cannot
 * disagree. Names follow Prometheus' conventions (docs/metrics.md has them all); labels take only values that the
 * scenario or the program names, so their number is bounded.
 */
export class ProcessMetrics {
  readonly #registry = new Registry()
  readonly #linkNames: ReadonlyMap<number, string>
  readonly #on = new Map<string, (event: LabEvent) => void>()
  readonly #events: Counter<'name'>
  #pool: ((status: PoolStatus) => void) | undefined

  constructor(options: ProcessMetricsOptions) {
    this.#linkNames = options.linkNames
    const registers = [this.#registry]
    this.#watchProcess()
    this.#events = new Counter({
      name: 'q104_events_total',
      help: 'Events recorded in events.jsonl, by name',
      labelNames: ['name'],
      registers,
    })
    const { role } = options
    if (role === 'master') {
      this.#watchTasks()
      this.#watchGame()
    }
    if (role === 'ied') this.#watchBreaker()
    if (role === 'grid') this.#watchGrid()
    if (role !== 'grid' && role !== 'keyserver') this.#watchHops()
    this.#watchNode(options)
  }

  /** Content type of `text()`. */
  get contentType(): string {
    return this.#registry.contentType
  }

  observe(event: LabEvent): void {
    this.#events.inc({ name: event.name })
    this.#on.get(event.name)?.(event)
  }

  /** State of the key pool: metrics of the stock appear in a process that has been given it once. */
  observePool(status: PoolStatus): void {
    this.#pool ??= this.#poolGauges()
    this.#pool(status)
  }

  /** The Prometheus text exposition. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }

  async families(): Promise<readonly MetricFamily[]> {
    return (await this.#registry.getMetricsAsJSON()) as unknown as readonly MetricFamily[]
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] })
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] })
  }

  #latency<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: LATENCY_BUCKETS_S, registers: [this.#registry] })
  }

  #link(number: unknown): string {
    return this.#linkNames.get(Number(number)) ?? String(number)
  }

  #watchTasks(): void {
    const issued = this.#counter('q104_tasks_issued_total', 'Commands given by the control centre', ['task_type'])
    const done = this.#counter('q104_tasks_done_total', 'Commands that came to an end', ['task_type', 'ok'])
    const late = this.#counter('q104_task_deadline_misses_total', 'Commands past their deadline', ['task_type'])
    const latency = this.#latency('q104_task_duration_seconds', 'From issue to termination, delivered commands', [
      'task_type',
    ])
    for (const task_type of TASK_TYPES) late.inc({ task_type }, 0)
    this.#on.set('task.issued', ({ taskType }) => issued.inc({ task_type: String(taskType) }))
    this.#on.set('task.done', ({ taskType, ok, delivered, latencyMs }) => {
      const task_type = String(taskType)
      done.inc({ task_type, ok: String(ok) })
      if (ok !== true) late.inc({ task_type })
      if (delivered === true && typeof latencyMs === 'number') latency.observe({ task_type }, latencyMs / 1000)
    })
    const telemetry = this.#latency('q104_telemetry_latency_seconds', 'From time tag to the control centre', ['suite'])
    this.#on.set('telemetry.received', ({ latencyMs, suite }) => {
      if (typeof latencyMs === 'number') telemetry.observe({ suite: String(suite) }, Math.max(0, latencyMs) / 1000)
    })
    const chains = this.#gauge('q104_chains', 'Control chains by state', ['state'])
    this.#on.set('plan', (event) => {
      for (const state of CHAIN_STATES) chains.set({ state }, Number(event[state] ?? 0))
    })
  }

  #watchGame(): void {
    const rounds = this.#counter('q104_game_rounds_total', 'Rounds that the leading control centre has settled', [])
    const missed = this.#counter('q104_game_offers_missed_total', 'Offers in whose place another was planned with', [
      'by',
    ])
    this.#on.set('game.round', ({ lastOffers, shares }) => {
      rounds.inc()
      missed.inc({ by: 'last offer' }, Number(lastOffers ?? 0))
      missed.inc({ by: 'share' }, Number(shares ?? 0))
    })
    const trip = this.#latency('q104_game_grant_round_trip_seconds', 'From a grant to its confirmation', ['agent'])
    this.#on.set('game.taken', ({ agent, roundTripMs }) => {
      if (typeof roundTripMs === 'number') trip.observe({ agent: String(agent) }, roundTripMs / 1000)
    })
    const granted = this.#gauge('q104_game_grant_bits', 'Key that this control centre was granted last', [])
    this.#on.set('game.grant', ({ grantBits }) => {
      if (typeof grantBits === 'number') granted.set(grantBits)
    })
  }

  #watchHops(): void {
    const keyWait = this.#latency('q104_key_wait_seconds', 'Time a message waited for key, by its next link', ['link'])
    const queue = this.#latency('q104_queue_seconds', 'Time a message waited in a queue, by its next link', ['link'])
    const waited = (link: unknown, { queueMs, keyWaitMs }: LabEvent): void => {
      const labels = { link: this.#link(link) }
      if (typeof keyWaitMs === 'number') keyWait.observe(labels, keyWaitMs / 1000)
      if (typeof queueMs === 'number') queue.observe(labels, queueMs / 1000)
    }
    this.#on.set('task.sent', (event) => waited(event['link'], event))
    this.#on.set('hop', (event) => waited(event['toLink'], event))
    const lost = this.#counter('q104_messages_lost_total', 'Messages that a node gave up', ['why'])
    this.#on.set('hop.lost', () => lost.inc({ why: 'link' }))
    this.#on.set('hop.noRoute', () => lost.inc({ why: 'no route' }))
    this.#watchLinks()
  }

  #watchBreaker(): void {
    const breaker = this.#latency('q104_breaker_seconds', 'Time of the actuator', [])
    this.#on.set('ied.done', ({ breakerMs }) => {
      if (typeof breakerMs === 'number') breaker.observe(breakerMs / 1000)
    })
  }

  #watchLinks(): void {
    const up = this.#gauge('q104_link_up', 'Whether the secure link is established at this end', ['link'])
    const changes = this.#counter('q104_link_changes_total', 'Times a secure link came up or went down', ['link', 'to'])
    for (const to of ['up', 'down'] as const) {
      this.#on.set(`link.${to}`, ({ link }) => {
        up.set({ link: this.#link(link) }, to === 'up' ? 1 : 0)
        changes.inc({ link: this.#link(link), to })
      })
    }
    const slots = this.#gauge('q104_channel_slots', 'Key slots of 4 bytes of a channel', ['channel', 'side', 'kind'])
    this.#on.set('books', ({ channel, side, assignedSlots, usedSlots }) => {
      const labels = { channel: String(channel), side: String(side) }
      slots.set({ ...labels, kind: 'assigned' }, Number(assignedSlots))
      slots.set({ ...labels, kind: 'used' }, Number(usedSlots))
    })
  }

  #watchGrid(): void {
    const deviation = this.#gauge('q104_frequency_deviation_hertz', 'Deviation from nominal frequency', ['of'])
    this.#on.set('grid', ({ deltaFHz, worstHz }) => {
      deviation.set({ of: 'centre of inertia' }, Number(deltaFHz))
      if (typeof worstHz === 'number') deviation.set({ of: 'worst machine' }, worstHz)
    })
    const actions = this.#counter('q104_grid_actions_total', 'Actions on the grid', ['action'])
    for (const action of ['shed', 'setpoint', 'refused', 'disturbance'] as const)
      this.#on.set(`grid.${action}`, () => actions.inc({ action }))
  }

  /** The usual names; without the library's event-loop sampler, which would wake 32 processes every 10 ms. */
  #watchProcess(): void {
    const registers = [this.#registry]
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the process, user and system',
      registers,
      collect() {
        const { user, system } = process.cpuUsage()
        this.reset()
        this.inc((user + system) / 1e6)
      },
    })
    new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the process',
      registers,
      collect() {
        this.set(process.memoryUsage.rss())
      },
    })
  }

  #watchNode({ wakeLagMaxMs, datagrams }: ProcessMetricsOptions): void {
    const registers = [this.#registry]
    if (wakeLagMaxMs !== undefined) {
      new Gauge({
        name: 'q104_wake_lag_max_seconds',
        help: 'Latest timer of the node since its start',
        registers,
        collect() {
          this.set(wakeLagMaxMs() / 1000)
        },
      })
    }
    if (datagrams === undefined) return
    const name = (link: number): string => this.#link(link)
    new Counter({
      name: 'q104_datagrams_total',
      help: 'Datagrams of the node, by link and what became of them',
      labelNames: ['link', 'kind'],
      registers,
      collect() {
        this.reset()
        for (const [link, counts] of datagrams()) {
          for (const [kind, count] of Object.entries(counts)) this.inc({ link: name(link), kind }, count)
        }
      },
    })
  }

  #poolGauges(): (status: PoolStatus) => void {
    const stock = this.#gauge('q104_key_stock_bits', 'Key in the pool that no channel has drawn', [])
    const reserved = this.#gauge('q104_key_reserved_bits', 'Key drawn by channels and not yet used', [])
    const thresholds = this.#gauge('q104_key_threshold_bits', 'Thresholds of the stock', ['threshold'])
    const level = this.#gauge('q104_key_level', 'Level of the stock: 1 for the present one', ['level'])
    const balanced = this.#gauge('q104_key_books_balanced', 'Whether the books of the pool balance to the bit', [])
    const bits = this.#counter('q104_key_bits_total', 'Key bits since the start, by what became of them', ['kind'])
    const rate = this.#gauge('q104_qkd_key_rate_bits_per_second', 'Key rate of a QKD link', ['link'])
    const up = this.#gauge('q104_qkd_link_up', 'Whether the QKD link is up', ['link'])
    const delay = this.#gauge('q104_link_delay_seconds', 'One-way delay of the link', ['link'])
    return ({ books, links, safeBits, thBits, capBits, level: now }) => {
      stock.set(books.poolBits)
      reserved.set(books.reservedBits)
      for (const [threshold, value] of Object.entries({ safe: safeBits, reconfigure: thBits, cap: capBits }))
        thresholds.set({ threshold }, value)
      for (const name of LEVELS) level.set({ level: name }, name === now ? 1 : 0)
      balanced.set(booksBalance(books) ? 1 : 0)
      bits.reset()
      const { generatedBits, usedBits, expiredBits, discardedBits } = books
      const totals = { generated: generatedBits, used: usedBits, expired: expiredBits, discarded: discardedBits }
      for (const [kind, value] of Object.entries(totals)) bits.inc({ kind }, value)
      for (const state of links) {
        const labels = { link: this.#link(state.link) }
        rate.set(labels, state.rateBps)
        up.set(labels, state.up ? 1 : 0)
        delay.set(labels, state.delayMs / 1000)
      }
    }
  }
}

/** WIRE rule 6: generated = used + expired + discarded + reserved + pool, to the bit. */
export function booksBalance(books: PoolStatus['books']): boolean {
  const { generatedBits, usedBits, expiredBits, discardedBits, reservedBits, poolBits } = books
  return generatedBits === usedBits + expiredBits + discardedBits + reservedBits + poolBits
}
