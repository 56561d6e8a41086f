import type { PlanLink } from '../../experiment/index.ts'
import {
  AlertBook,
  type AlertLimits,
  type AlertView,
  booksBalance,
  type InfluxTarget,
  InfluxWriter,
  Notifier,
  pointsOf,
  type Receivers,
} from '../../observe/index.ts'
import type { PoolStatus } from '../../runtime/contract.ts'
import { Recorder } from '../../runtime/index.ts'
import type { LabRun } from './lab-run.ts'
import { type MetricsPlace, MetricsServer } from './metrics-server.ts'
import { masterStatusIn, type Terminal } from './terminal.ts'

/** Who is to be shown the lab besides the terminal. */
export type Watchers = {
  readonly metrics: MetricsPlace | undefined
  readonly influx: InfluxTarget | undefined
  readonly alerts: Receivers
}

export type ObserverOptions = Watchers & {
  readonly lab: string
  /** Our own processes, by id, with their roles. */
  readonly processes: readonly { readonly id: string; readonly role: string }[]
  readonly links: readonly Pick<PlanLink, 'link'>[]
  readonly linkName: (link: number) => string
  readonly limits: AlertLimits
  readonly eventsFile: string
  readonly terminal: Terminal
  readonly run: LabRun
}

const SAMPLE_PERIOD_MS = 1_000
const ALERT_PERIOD_MS = 250

/** Shows a running lab to those who watch: metrics to Prometheus, points to InfluxDB, alerts to people. None of them can hold it up. */
export class Observer {
  readonly #options: ObserverOptions
  readonly #recorder: Recorder
  readonly #book: AlertBook
  readonly #notifiers: readonly Notifier[]
  readonly #influx: InfluxWriter | undefined
  readonly #server: MetricsServer | undefined
  #timers: readonly NodeJS.Timeout[] = []

  private constructor(options: ObserverOptions, server: MetricsServer | undefined) {
    this.#options = options
    this.#server = server
    this.#recorder = new Recorder(options.eventsFile, 'run')
    this.#book = new AlertBook(options.limits)
    const problemOf = (who: string) => (problem: string | undefined) =>
      options.terminal.warn(problem === undefined ? `${who}: goes on` : `${who}: ${problem}`)
    this.#notifiers = [...options.alerts].map(
      ([name, deliver]) => new Notifier({ lab: options.lab, deliver, onProblem: problemOf(name) }),
    )
    this.#influx = options.influx && new InfluxWriter({ ...options.influx, onProblem: problemOf('InfluxDB') })
  }

  /** @throws Error of the system if the metrics' address cannot be bound */
  static async start(options: ObserverOptions): Promise<Observer> {
    const { metrics, run, processes } = options
    const textOf = async (id: string): Promise<string | undefined> => {
      const body = await run.metricsOf(id, 'text')
      return typeof body === 'string' ? body : undefined
    }
    const source = { ids: processes.map(({ id }) => id), textOf }
    return new Observer(options, metrics && (await MetricsServer.listen(metrics, source)))
  }

  /** Where the metrics are served, `HOST:PORT`. */
  get metricsAddress(): string | undefined {
    return this.#server?.address
  }

  /** The run has begun. */
  begin(): void {
    const alerts = setInterval(() => this.#judge(), ALERT_PERIOD_MS)
    const samples = this.#influx && setInterval(() => void this.#sample(), SAMPLE_PERIOD_MS)
    this.#timers = samples === undefined ? [alerts] : [alerts, samples]
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all([
      this.#server?.close(),
      this.#influx?.close(),
      ...this.#notifiers.map((notifier) => notifier.close()),
      this.#recorder.close(),
    ])
  }

  #judge(): void {
    const notes = this.#book.take(this.#view())
    for (const { kind, id, text, tMs } of notes) {
      this.#recorder.record({ name: `alert.${kind}`, id, text }, tMs)
      this.#options.terminal.say(`alert ${kind}: ${text}`)
    }
    for (const notifier of this.#notifiers) notifier.send(notes)
  }

  #view(): AlertView {
    const { run, links, linkName } = this.#options
    const { tS, statusOf, linksDown } = run.progress()
    const pool = statusOf.get('keyserver') as PoolStatus | undefined
    const deltaFHz = Number(statusOf.get('grid')?.['deltaFHz'] ?? Number.NaN)
    const master = masterStatusIn(statusOf)
    return {
      tMs: tS * 1000,
      ...(pool && {
        stock: { bits: pool.books.poolBits, safeBits: pool.safeBits, booksBalanced: booksBalance(pool.books) },
      }),
      ...(Number.isFinite(deltaFHz) && { deltaFHz }),
      linksUp: new Map(links.map(({ link }) => [linkName(link), !linksDown.includes(link)])),
      ...(master && { tasks: master.tasks }),
    }
  }

  async #sample(): Promise<void> {
    const { run, processes, lab } = this.#options
    const wallMs = Date.now()
    await Promise.all(
      processes.map(async ({ id, role }) => {
        const families = await run.metricsOf(id, 'families')
        if (families !== undefined && typeof families !== 'string')
          this.#influx?.write(pointsOf(families, { lab, process: id, role }, wallMs))
      }),
    )
  }
}
