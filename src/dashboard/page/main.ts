/** The page: takes the lab's state and hands each part to the panel that draws it. */
import { History, type HistoryColumns, SERIES } from '../history.ts'
import type { LabHead, LabRecord, LabState } from '../state.ts'
import { ChainsPanel } from './chains-panel.ts'
import { attribute, byId, el, setText } from './dom.ts'
import { EventsPanel } from './events-panel.ts'
import { time } from './format.ts'
import { GridPanel } from './grid-panel.ts'
import { type Connection, embedded, getJson, LiveLab, sendControl, setToken, takeToken } from './lab.ts'
import { LatencyPanel } from './latency-panel.ts'
import { Player } from './player.ts'
import { StockPanel } from './stock-panel.ts'
import { drawTiles } from './tiles.ts'
import { TopologyPanel } from './topology-panel.ts'

const CHART_PERIOD_MS = 250
const NOTICE_MS = 8_000
const WINDOWS: readonly (readonly [string, number])[] = [
  ['1 min', 60_000],
  ['5 min', 300_000],
  ['all', Number.POSITIVE_INFINITY],
]
const THEME_KEY = 'q104 theme'
const CONNECTION_WORDS: Readonly<Record<Connection, string>> = {
  connecting: 'connecting',
  live: 'live',
  lost: 'connection lost, trying again',
  ended: 'the run has ended',
  replay: 'replay',
}

class Page {
  readonly #topology = new TopologyPanel({
    host: byId('topology'),
    box: byId('link-box'),
    legend: byId('link-legend'),
    control: (control) => void this.#send(control),
  })
  readonly #stock = new StockPanel()
  readonly #grid = new GridPanel()
  readonly #chains = new ChainsPanel({
    control: (control) => void this.#send(control),
    onChosen: (hops) => this.#topology.mark(hops),
  })
  readonly #latency = new LatencyPanel()
  readonly #events = new EventsPanel()
  readonly #history = new History(SERIES)
  #head: LabHead | undefined
  #token = takeToken()
  #isLive = false
  #window = Number.POSITIVE_INFINITY
  #chartsDrawnMs = 0
  #noticeTimer: ReturnType<typeof setTimeout> | undefined

  async begin(): Promise<void> {
    this.#wireTools()
    const run = await embedded()
    const head = run?.head ?? (await headWhenThere())
    this.#setHead(head)
    if (head.mode === 'live') this.#follow()
    else this.#replay(head, run?.records ?? (await getJson<readonly LabRecord[]>('/api/v1/recording')))
  }

  #follow(): void {
    this.#isLive = true
    this.#showControls()
    let queued = new Set<keyof LabState>()
    const lab = new LiveLab({
      onConnection: (connection) => {
        this.#setConnection(connection)
        if (connection === 'live') void this.#refresh()
      },
      onChange: (changed) => {
        const isFirst = queued.size === 0
        for (const part of changed) queued.add(part)
        if (!isFirst) return
        requestAnimationFrame(() => {
          const parts = queued
          queued = new Set()
          if (lab.state !== undefined) this.#draw(lab.state, parts)
        })
      },
    })
  }

  /** After a connection: the series from the server, and the head, which is another one if another run has begun. */
  async #refresh(): Promise<void> {
    try {
      const [head, columns] = await Promise.all([
        getJson<LabHead>('/api/v1/head'),
        getJson<HistoryColumns>('/api/v1/history'),
      ])
      const isAnother = this.#head?.lab !== head.lab || this.#head.seed !== head.seed || this.#head.name !== head.name
      if (isAnother) return location.reload()
      this.#history.load(columns)
    } catch {
      // The next connection will bring them.
    }
  }

  #replay(head: LabHead, records: readonly LabRecord[]): void {
    this.#setConnection('replay')
    byId('lock').hidden = true
    byId('load-step').hidden = true
    let player: Player | undefined
    const draw = (state: LabState): void => {
      this.#drawParts(state, ALL_PARTS)
      const columns = player?.view.history.columns()
      if (columns !== undefined) this.#drawCharts(state, columns)
    }
    player = new Player(head, records, draw)
    draw(player.view.state())
  }

  #setHead(head: LabHead): void {
    this.#head = head
    document.title = `${head.name} \u00b7 Q104`
    setText(byId('run-name'), `${head.name}, seed ${head.seed}`)
    attribute(
      byId('run-name'),
      'title',
      `lab ${head.lab}, isolation ${head.isolation}, delays by ${head.impairment}, q104 ${head.version}`,
    )
    this.#topology.setHead(head)
    const policy = byId<HTMLSelectElement>('policy')
    policy.replaceChildren(...head.policies.map((name) => el('option', { value: name }, name)))
    const bus = byId<HTMLSelectElement>('load-bus')
    bus.replaceChildren(
      ...head.buses.map(({ bus: number, loadMw }) =>
        el('option', { value: number }, `${number} (${loadMw.toFixed(0)} MW)`),
      ),
    )
    this.#window = head.durationMs <= 120_000 ? Number.POSITIVE_INFINITY : 300_000
    this.#drawWindows()
  }

  #draw(state: LabState, parts: ReadonlySet<keyof LabState>): void {
    this.#drawParts(state, parts)
    this.#history.add(state.run.tMs, {
      poolBits: state.pool?.books.poolBits ?? null,
      deltaFHz: state.grid?.deltaFHz ?? null,
      worstHz: state.grid?.worstHz ?? null,
      minVoltagePu: state.grid?.minVoltagePu ?? null,
      maxVoltagePu: state.grid?.maxVoltagePu ?? null,
    })
    const nowMs = performance.now()
    if (nowMs - this.#chartsDrawnMs < CHART_PERIOD_MS || document.hidden) return
    this.#chartsDrawnMs = nowMs
    this.#drawCharts(state, this.#history.columns())
  }

  #drawParts(state: LabState, parts: ReadonlySet<keyof LabState>): void {
    const has = (...names: readonly (keyof LabState)[]): boolean => names.some((name) => parts.has(name))
    drawTiles(state)
    if (has('run')) this.#drawClock(state)
    if (has('links', 'nodes')) this.#topology.update(state)
    if (has('chains')) this.#chains.update(state.chains)
    if (has('latency', 'tasks')) this.#latency.update(state.latency, state.tasks)
    if (has('events')) this.#events.update(state.events)
    document.documentElement.dataset['tMs'] = String(state.run.tMs)
  }

  #drawCharts(state: LabState, history: HistoryColumns): void {
    if (this.#head === undefined) return
    const picture = { head: this.#head, state, history }
    const toS = Math.max(state.run.tMs, Math.min(this.#head.durationMs, 30_000)) / 1000
    const fromS = Math.max(history.tMs[0] ?? 0, state.run.tMs - this.#window, 0) / 1000
    const { forecast } = state.pool ?? {}
    const aheadS = forecast ? (forecast.stepMs * forecast.stockBits.length) / 1000 : 0
    this.#stock.update(picture, [fromS, toS + aheadS])
    this.#grid.update(picture, [fromS, toS])
  }

  #drawClock({ run }: LabState): void {
    const durationMs = this.#head?.durationMs ?? 1
    setText(byId('run-time'), `${time(run.tMs)} / ${time(durationMs)}`)
    setText(byId('run-phase'), run.phase === 'running' ? '' : run.phase)
    byId('progress').style.width = `${Math.min(100, (100 * run.tMs) / durationMs).toFixed(2)}%`
    const policy = byId<HTMLSelectElement>('policy')
    if (document.activeElement !== policy && policy.value !== run.policy) policy.value = run.policy
  }

  #drawWindows(): void {
    byId('window').replaceChildren(
      ...WINDOWS.map(([name, ms]) => {
        const button = el('button', { type: 'button', 'aria-pressed': String(ms === this.#window) }, name)
        button.addEventListener('click', () => {
          this.#window = ms
          this.#chartsDrawnMs = 0
          this.#drawWindows()
        })
        return button
      }),
    )
  }

  #setConnection(connection: Connection): void {
    const element = byId('connection')
    setText(element, CONNECTION_WORDS[connection])
    element.dataset['state'] = connection
  }

  #wireTools(): void {
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const stored = localStorage.getItem(THEME_KEY)
    if (stored !== null) document.documentElement.dataset['theme'] = stored
    const recolour = (): void => {
      this.#stock.recolour()
      this.#grid.recolour()
    }
    dark.addEventListener('change', recolour)
    byId('theme').addEventListener('click', () => {
      const isDark = (document.documentElement.dataset['theme'] ?? (dark.matches ? 'dark' : 'light')) === 'dark'
      document.documentElement.dataset['theme'] = isDark ? 'light' : 'dark'
      localStorage.setItem(THEME_KEY, isDark ? 'light' : 'dark')
      recolour()
    })
    const box = byId<HTMLFormElement>('token-box')
    const lock = byId('lock')
    lock.addEventListener('click', () => {
      if (this.#token !== undefined) return this.#setToken(undefined)
      box.hidden = !box.hidden
      attribute(lock, 'aria-expanded', String(!box.hidden))
      if (!box.hidden) byId('token').focus()
    })
    box.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#setToken(byId<HTMLInputElement>('token').value.trim() || undefined)
      box.hidden = true
    })
    byId<HTMLSelectElement>('policy').addEventListener('input', ({ target }) => {
      if (target instanceof HTMLSelectElement) void this.#send({ kind: 'setPolicy', policy: target.value })
    })
    byId('load-step').addEventListener('submit', (event) => {
      event.preventDefault()
      const [bus, mw] = [
        Number(byId<HTMLSelectElement>('load-bus').value),
        Number(byId<HTMLInputElement>('load-mw').value),
      ]
      void this.#send({ kind: 'loadStep', bus, mw })
    })
  }

  #setToken(token: string | undefined): void {
    this.#token = token
    setToken(token)
    this.#showControls()
  }

  #showControls(): void {
    const canControl = this.#isLive && this.#token !== undefined
    const lock = byId('lock')
    setText(lock, canControl ? 'Controls on' : 'Read only')
    attribute(lock, 'data-on', canControl)
    this.#topology.setControl(canControl)
    this.#chains.setControl(canControl)
    byId<HTMLSelectElement>('policy').disabled = !canControl
    for (const input of byId<HTMLFormElement>('load-step').elements) attribute(input, 'disabled', !canControl)
  }

  async #send(control: Readonly<Record<string, unknown>>): Promise<void> {
    const refused = await sendControl(control)
    if (refused === undefined) return
    if (refused.status === 401) this.#setToken(undefined)
    this.#notice(refused.status === 401 ? 'The token is not that of this run.' : refused.text)
  }

  #notice(text: string): void {
    const notice = byId('notice')
    notice.textContent = text
    notice.hidden = false
    clearTimeout(this.#noticeTimer)
    this.#noticeTimer = setTimeout(() => {
      notice.hidden = true
    }, NOTICE_MS)
  }
}

const ALL_PARTS: ReadonlySet<keyof LabState> = new Set([
  'run',
  'nodes',
  'links',
  'pool',
  'chains',
  'grid',
  'latency',
  'tasks',
  'events',
])

/** The head, as soon as there is a server. */
async function headWhenThere(): Promise<LabHead> {
  for (;;) {
    try {
      return await getJson<LabHead>('/api/v1/head')
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
}

await new Page().begin()
