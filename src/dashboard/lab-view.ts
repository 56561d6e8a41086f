/** Folds the record of a run, line by line, into what the page shows. The same live and in replay; pure. */
import type { PoolStatus, StockLevel, Suite } from '../runtime/contract.ts'
import { History, SERIES } from './history.ts'
import type {
  ChainHead,
  ChainView,
  ForecastView,
  GridView,
  LabHead,
  LabRecord,
  LabState,
  LinkView,
  NodeView,
  PoolView,
  RunView,
  TimelineEntry,
} from './state.ts'
import { TaskBook } from './task-book.ts'
import { type Line, lineOf, planChanges, planLines } from './timeline.ts'

const MAX_EVENTS = 150
/** Control-direction types with process information, and their confirmations. */
const COMMAND_TYPES = { first: 45, last: 69 } as const
const MAC_KEY_BITS = 128
const AES_KEY_BITS = 128

type ChainBook = { -readonly [Field in keyof Omit<ChainView, 'hops'>]: ChainView[Field] }
type LinkBook = { -readonly [Field in keyof LinkView]: LinkView[Field] } & { readonly sessions: Map<string, boolean> }
type Mutable<T> = { -readonly [Field in keyof T]: T[Field] }

export class LabView {
  readonly head: LabHead
  readonly history = new History(SERIES)
  readonly #nodes: Map<string, Mutable<NodeView>>
  readonly #links: Map<number, LinkBook>
  #heads = new Map<string, ChainHead>()
  #chains = new Map<string, ChainBook>()
  #chainAtPoint = new Map<string, string>()
  readonly #tasks = new TaskBook()
  #events: TimelineEntry[] = []
  #seq = 0
  #pool: PoolView | null = null
  #grid: GridView | null = null
  #run: RunView
  #outOfBand = false
  #level: StockLevel | undefined

  constructor(head: LabHead) {
    this.head = head
    this.#nodes = new Map(head.nodes.map(({ id, kind }) => [id, { id, kind, up: true, restarts: 0 }]))
    this.#links = new Map(head.links.map((link) => [link.link, linkBookOf(link)]))
    const processes = head.nodes.length
    this.#run = { phase: 'starting', tMs: 0, policy: head.policy, processesUp: processes, processes }
    this.setChains(head.chains)
  }

  /** The chains from now on; figures of those that stay are kept. */
  setChains(heads: readonly ChainHead[]): void {
    this.#heads = new Map(heads.map((chain) => [chain.id, chain]))
    this.#chains = new Map(heads.map((chain) => [chain.id, { ...emptyChain(chain), ...this.#figuresOf(chain) }]))
    this.#chainAtPoint = new Map(heads.map(({ id, ca, ioa }) => [`${ca}/${ioa}`, id]))
  }

  setPhase(phase: RunView['phase']): void {
    this.#run = { ...this.#run, phase }
  }

  setPolicy(policy: string): void {
    this.#run = { ...this.#run, policy }
  }

  /** Lab time is `tMs`: takes a sample of the history and settles what waits for time. */
  tick(tMs: number): void {
    const processesUp = [...this.#nodes.values()].filter(({ up }) => up).length
    this.#run = { ...this.#run, tMs: Math.max(this.#run.tMs, tMs), processesUp }
    this.#tasks.settle(tMs)
    if (this.#pool === null && this.#grid === null) return
    this.history.add(tMs, {
      poolBits: this.#pool?.books.poolBits ?? null,
      deltaFHz: this.#grid?.deltaFHz ?? null,
      worstHz: this.#grid?.worstHz ?? null,
      minVoltagePu: this.#grid?.minVoltagePu ?? null,
      maxVoltagePu: this.#grid?.maxVoltagePu ?? null,
    })
  }

  /** The key server's own word on the stock, which comes more often than the record's. */
  takePool({ tMs, level, safeBits, thBits, capBits, books }: PoolStatus, forecast?: ForecastView): void {
    this.#setPool({ tMs, level, safeBits, thBits, capBits, books, forecast: forecast ?? this.#pool?.forecast ?? null })
  }

  /** What the policy expects of the stock now; null: nothing. */
  takeForecast(forecast: ForecastView | null): void {
    if (this.#pool !== null) this.#pool = { ...this.#pool, forecast }
  }

  /** Takes one line of the record. */
  take(record: LabRecord): void {
    this.#tasks.take(record)
    switch (record.name) {
      case 'pool':
        this.#takePoolRecord(record)
        break
      case 'grid':
        this.#takeGrid(record)
        break
      case 'grid.collapsed':
        if (this.#grid !== null) this.#grid = { ...this.#grid, collapsed: true }
        break
      case 'plan':
        this.#takePlan(record)
        break
      case 'task.issued':
      case 'task.sent':
      case 'task.done':
        this.#takeTask(record)
        break
      case 'hop':
        this.#takeHop(record)
        break
      case 'link.up':
      case 'link.down':
        this.#takeSession(record)
        break
      default:
        this.#takeState(record)
    }
    const line = lineOf(record, this.head)
    if (line !== undefined) this.#tell(record.tMs, line)
  }

  state(): LabState {
    return {
      run: this.#run,
      nodes: [...this.#nodes.values()].map((node) => ({ ...node })),
      links: [...this.#links.values()].map(({ sessions: _, ...link }) => ({ ...link })),
      pool: this.#pool,
      chains: [...this.#chains.values()].map((chain) => ({
        ...chain,
        hops: this.#heads.get(chain.id)?.paths[chain.path] ?? [],
      })),
      grid: this.#grid,
      latency: this.#tasks.latency(),
      tasks: this.#tasks.recent,
      events: this.#events.toReversed(),
    }
  }

  #figuresOf({ id }: ChainHead): Partial<ChainBook> {
    const { taskType: _, priority: __, requiredSuite: ___, ...figures } = this.#chains.get(id) ?? {}
    return figures
  }

  #setPool(pool: PoolView): void {
    this.#pool = pool
    if (this.#level !== undefined && this.#level !== pool.level) {
      const tone = pool.level === 'normal' ? 'good' : pool.level === 'protect' ? 'bad' : 'warn'
      this.#tell(pool.tMs, { kind: 'plan', tone, text: `Key stock: ${pool.level}`, subject: '' })
    }
    this.#level = pool.level
  }

  #takePoolRecord(record: LabRecord): void {
    if (this.#pool !== null && record.tMs < this.#pool.tMs) return
    const level = LEVELS.find((name) => name === record['level'])
    if (level === undefined) return
    const bits = (fact: string): number => numberOf(record, fact) ?? 0
    const books = {
      generatedBits: bits('generatedBits'),
      usedBits: bits('usedBits'),
      expiredBits: bits('expiredBits'),
      discardedBits: bits('discardedBits'),
      reservedBits: bits('reservedBits'),
      poolBits: bits('poolBits'),
    }
    // Before it was given its first key the pool is not low but not there yet.
    if (books.generatedBits === 0) return
    const forecast = this.#pool?.forecast ?? null
    this.#setPool({ tMs: record.tMs, level, ...this.head.thresholds, books, forecast })
  }

  #takeGrid(record: LabRecord): void {
    const deltaFHz = numberOf(record, 'deltaFHz') ?? 0
    const before = this.#grid
    this.#grid = {
      tMs: record.tMs,
      deltaFHz,
      worstHz: numberOf(record, 'worstHz') ?? 0,
      minVoltagePu: numberOf(record, 'minVoltagePu') ?? null,
      minVoltageBus: numberOf(record, 'minVoltageBus') ?? null,
      maxVoltagePu: numberOf(record, 'maxVoltagePu') ?? null,
      maxAbsDeltaFHz: Math.max(before?.maxAbsDeltaFHz ?? 0, Math.abs(deltaFHz)),
      collapsed: before?.collapsed ?? false,
    }
    const out = Math.abs(deltaFHz) > this.head.bandHz
    if (out === this.#outOfBand) return
    this.#outOfBand = out
    const band = `${this.head.bandHz} Hz`
    const text = out ? `Frequency has left the band of ${band}` : `Frequency is back within ${band}`
    this.#tell(record.tMs, { kind: 'grid', tone: out ? 'bad' : 'good', text, subject: '' })
  }

  #takePlan(record: LabRecord): void {
    const changes = planChanges(String(record['why'] ?? ''))
    for (const { chain, state, path, why } of changes) {
      const book = this.#chains.get(chain)
      if (book !== undefined) Object.assign(book, { state, path, why })
    }
    for (const line of planLines(changes, this.#chains.size)) this.#tell(record.tMs, line)
  }

  #takeTask(record: LabRecord): void {
    const id = record.name === 'task.sent' ? this.#tasks.chainOf(String(record['task'])) : String(record['chain'])
    const book = this.#chains.get(id ?? '')
    if (book === undefined) return
    if (record.name === 'task.issued') book.issued += 1
    else if (record.name === 'task.sent') book.keyBits += this.#keyOf(book.id, record, 'link')
    else {
      const reason = String(record['reason'])
      if (reason === 'done' || reason === 'suite') book.inTime += 1
      if (reason === 'done') book.full += 1
      else if (reason === 'late') book.late += 1
      else if (reason !== 'suite' && reason !== 'replaced' && reason !== 'drain') book.failed += 1
      if (['done', 'suite', 'late'].includes(reason)) book.lastLatencyMs = numberOf(record, 'latencyMs') ?? null
    }
  }

  #takeHop(record: LabRecord): void {
    const typeId = numberOf(record, 'typeId') ?? 0
    if (typeId < COMMAND_TYPES.first || typeId > COMMAND_TYPES.last) return
    const id = this.#chainAtPoint.get(`${record['ca']}/${record['ioa']}`)
    const book = this.#chains.get(id ?? '')
    if (book !== undefined) book.keyBits += this.#keyOf(book.id, record, 'toLink')
  }

  /**
   * Key that one message takes on a link: its pad and tag, or its share of an AES key; none on a link with keys of its
   * own. On a relay link the key that is used there, not that which carries it. */
  #keyOf(chain: string, record: LabRecord, linkFact: string): number {
    const link = this.#links.get(numberOf(record, linkFact) ?? -1)
    const apduBytes = this.#heads.get(chain)?.apduBytes ?? 0
    if (link === undefined || link.keys === 'local') return 0
    const suite = record['suite'] as Suite
    if (suite === 'otp') return 32 * Math.ceil(apduBytes / 4) + MAC_KEY_BITS
    return suite === 'aes' ? AES_KEY_BITS / this.head.messagesPerRekey : 0
  }

  #takeSession(record: LabRecord): void {
    const link = this.#links.get(numberOf(record, 'link') ?? -1)
    if (link === undefined) return
    link.sessions.set(record.node, record.name === 'link.up')
    const before = link.session
    // At its end a node closes its links.
    const isClosing = record.name === 'link.down' && record['reason'] === 'stopped'
    if (isClosing) link.sessions.delete(record.node)
    const states = [...link.sessions.values()]
    link.session = states.length === 0 ? 'unknown' : states.every((up) => up) ? 'up' : 'down'
    if (before === link.session || before === 'unknown' || isClosing) return
    const isUp = link.session === 'up'
    const reason = isUp ? '' : ` (${record['reason'] ?? 'no reason told'} at ${record.node})`
    const text = `Session on ${link.id} is ${link.session}${reason}`
    this.#tell(record.tMs, { kind: 'link', tone: isUp ? 'good' : 'warn', text, subject: link.id })
  }

  #takeState(record: LabRecord): void {
    switch (record.name) {
      case 'qkd.break':
      case 'qkd.repair': {
        const link = this.#links.get(numberOf(record, 'link') ?? -1)
        if (link !== undefined) link.up = record.name === 'qkd.repair'
        return
      }
      case 'run.link': {
        const link = this.#links.get(numberOf(record, 'link') ?? -1)
        if (link === undefined) return
        link.up = record['up'] === true
        link.delayMs = numberOf(record, 'delayMs') ?? link.delayMs
        if (link.rateBps !== null) link.rateBps = numberOf(record, 'rateBps') ?? link.rateBps
        return
      }
      case 'run.process': {
        const node = this.#nodes.get(String(record['process']))
        if (node === undefined) return
        if (record['up'] === true && !node.up) node.restarts += 1
        node.up = record['up'] === true
        // A process that is gone has no sessions; the new one tells of its own.
        if (!node.up)
          for (const link of this.#links.values()) if (link.ends.includes(node.id)) link.sessions.delete(node.id)
        return
      }
      case 'run.control':
        this.#takeControl(record)
        return
      case 'run.chains':
        this.setChains(JSON.parse(String(record['chains'])) as readonly ChainHead[])
        return
    }
  }

  #takeControl(record: LabRecord): void {
    const link = [...this.#links.values()].find(({ id }) => id === record['subject'])
    const chain = this.#chains.get(String(record['subject'] ?? ''))
    switch (record['control']) {
      case 'cutLink':
        if (link !== undefined) link.cut = true
        return
      case 'restoreLink':
        if (link !== undefined) Object.assign(link, { cut: false })
        return
      case 'attenuateLink':
        if (link !== undefined) link.addedDb = numberOf(record, 'value') ?? 0
        return
      case 'disableChain':
      case 'enableChain':
        if (chain !== undefined) chain.enabled = record['control'] === 'enableChain'
        return
      case 'setPolicy':
        this.setPolicy(String(record['subject']))
        return
    }
  }

  #tell(tMs: number, line: Line): void {
    this.#seq += 1
    this.#events.push({ seq: this.#seq, tMs, ...line })
    if (this.#events.length > MAX_EVENTS) this.#events = this.#events.slice(-MAX_EVENTS)
  }
}

const LEVELS: readonly StockLevel[] = ['normal', 'warn', 'reconfigure', 'protect']

function linkBookOf({ link, id, ends, keys, lengthKm, delayMs }: LabHead['links'][number]): LinkBook {
  const rateBps = keys === 'pool' ? 0 : null
  const state = { up: true, session: 'unknown' as const, delayMs, rateBps, addedDb: 0, cut: false }
  return { link, id, ends, keys, lengthKm, ...state, sessions: new Map() }
}

function emptyChain({ id, taskType, priority, requiredSuite }: ChainHead): ChainBook {
  const figures = { issued: 0, inTime: 0, full: 0, late: 0, failed: 0, keyBits: 0, lastLatencyMs: null }
  return { id, taskType, priority, requiredSuite, state: 'unplanned', path: 0, why: '', enabled: true, ...figures }
}

function numberOf(record: LabRecord, fact: string): number | undefined {
  const value = record[fact]
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}
