/** A running lab as page and REST interface see it: its record as it grows, and the ways to its processes. */
import { type HistoryColumns, type LabHead, type LabState, LabView } from '../../dashboard/index.ts'
import type { LabPlan, Scenario } from '../../experiment/index.ts'
import type { MasterStatus } from '../../master/index.ts'
import type { LabEvent, LinkState, PoolStatus } from '../../runtime/contract.ts'
import { type LabClock, Recorder } from '../../runtime/index.ts'
import type { Control, ToProcess } from '../lab/ipc.ts'
import type { LabDesk, LabSource } from './api-server.ts'
import type { ControlBody } from './bodies.ts'
import { ChainDesk } from './chain-desk.ts'
import { chainHeadsOfScenario, type HeadContext, headOf } from './head-of.ts'
import { ProcessControls } from './process-controls.ts'
import { RecordTail } from './record-tail.ts'

export type LiveLabOptions = {
  readonly scenario: Scenario
  readonly plan: LabPlan
  readonly context: Omit<HeadContext, 'mode'>
  /** Where a process writes its part of the record. */
  readonly eventsFile: (id: string) => string
  readonly tell: (process: string, message: ToProcess) => void
  /** Applies a link's state to its law: for links that no process models. */
  readonly setLink: (state: LinkState) => void
}

/** Name under which the run itself writes into the record. */
const SELF = 'run'
const TICK_MS = 100
const FOREVER_MS = Number.MAX_SAFE_INTEGER

export class LiveLab implements LabSource, LabDesk {
  readonly chains: ChainDesk
  readonly #options: LiveLabOptions
  /** The first leads. */
  readonly #masters: readonly string[]
  readonly #view: LabView
  readonly #tail: RecordTail
  readonly #recorder: Recorder
  readonly #controls: ProcessControls
  /** By link: what was done to it by hand and holds. */
  readonly #cutUntilMs = new Map<number, number>()
  readonly #addedDb = new Map<number, number>()
  readonly #disabled = new Set<string>()
  #policy: string | undefined
  #clock: LabClock = () => 0
  #timer: NodeJS.Timeout | undefined
  #hasEnded = false

  constructor(options: LiveLabOptions) {
    const { scenario, plan, context, eventsFile, tell } = options
    this.#options = options
    this.#masters = plan.nodes.flatMap(({ id, kind }) => (kind === 'master' ? [id] : []))
    this.#view = new LabView(headOf(scenario, plan, { ...context, mode: 'live' }))
    this.#tail = new RecordTail([...plan.nodes.map(({ id }) => id), 'keyserver', 'grid'].map(eventsFile))
    this.#recorder = new Recorder(eventsFile(SELF), SELF)
    this.#controls = new ProcessControls(tell)
    this.chains = new ChainDesk({
      scenario,
      apply: async (master, set) => this.#notUnderWay ?? this.#controls.ask(master, { kind: 'setChains', set }),
      onChange: (change) => {
        const chains = JSON.stringify(chainHeadsOfScenario(change.scenario))
        this.#emit({ name: 'run.chains', text: change.text, subject: change.subject, chains })
      },
    })
  }

  head = (): LabHead => this.#view.head
  state = (): LabState => this.#view.state()
  history = (): HistoryColumns => this.#view.history.columns()

  /** The run begins. */
  begin(clock: LabClock): void {
    this.#clock = clock
    this.#view.setPhase('running')
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  /** The time of the run is over, the processes finish what is under way. */
  drain(): void {
    this.#view.setPhase('draining')
  }

  /** The processes have ended; what they wrote last is read. Again: nothing. */
  async end(): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearInterval(this.#timer)
    if (this.#timer !== undefined) this.#tick()
    this.#view.setPhase('ended')
    this.#tail.close()
    await this.#recorder.close()
  }

  takeStatus(id: string, status: Readonly<Record<string, unknown>>): void {
    if (id === 'keyserver') this.#view.takePool(status as PoolStatus)
    else if (id === this.#masters[0]) {
      const { policy, forecast } = status as MasterStatus
      this.#view.setPolicy(policy)
      this.#view.takeForecast(forecast ?? null)
    }
  }

  takeLinkState(state: LinkState): void {
    this.#emit({ name: 'run.link', ...state })
  }

  takeAnswer(request: number, problem: string | undefined): void {
    this.#controls.take(request, problem)
  }

  takeEnd(process: string, how: string): void {
    this.#controls.gone(process)
    this.#emit({ name: 'run.process', process, up: false, how })
  }

  /** A process that was started again knows nothing of what was done by hand: it is told. */
  async takeRestart(process: string): Promise<void> {
    this.#emit({ name: 'run.process', process, up: true, how: 'was started again' })
    for (const control of this.#standing(process)) await this.#controls.ask(process, control)
  }

  /** Carries out what an operator asks. */
  control = async (control: ControlBody): Promise<string | undefined> => {
    const problem = await this.#carryOut(control)
    if (problem === undefined) this.#noteControl(control)
    return problem
  }

  #tick(): void {
    for (const record of this.#tail.read()) this.#view.take(record)
    const nowMs = this.#clock()
    this.#endCuts(nowMs)
    this.#view.tick(nowMs)
  }

  #emit(event: LabEvent): void {
    const tMs = this.#clock()
    this.#recorder.record(event, tMs)
    this.#view.take({ ...event, tMs, node: SELF })
  }

  /** Why nothing can be asked now. */
  get #notUnderWay(): string | undefined {
    return this.#timer === undefined || this.#hasEnded ? 'the run is not under way' : undefined
  }

  async #carryOut(control: ControlBody): Promise<string | undefined> {
    if (this.#notUnderWay !== undefined) return this.#notUnderWay
    switch (control.kind) {
      case 'cutLink':
        return this.#cut(control.link, control.forS)
      case 'restoreLink':
        return this.#restore(control.link)
      case 'attenuateLink':
        return this.#attenuate(control.link, control.addedDb)
      case 'disableChain':
      case 'enableChain':
        return this.#enable(control.chain, control.kind === 'enableChain')
      case 'loadStep': {
        const { bus, mw } = control
        return this.#controls.ask('grid', { kind: 'disturbGrid', disturbance: { kind: 'loadStep', bus, mw } })
      }
      case 'setPolicy': {
        const { policies } = this.#view.head
        if (!policies.includes(control.policy)) return `no policy ${control.policy}; there are ${policies.join(', ')}`
        const problem = await this.#askMasters({ kind: 'setPolicy', policy: control.policy })
        if (problem === undefined) this.#policy = control.policy
        return problem
      }
    }
  }

  async #cut(id: string, forS: number | undefined): Promise<string | undefined> {
    const link = this.#linkOf(id)
    if (link === undefined) return noLink(id)
    const toMs = forS === undefined ? FOREVER_MS : this.#clock() + forS * 1000
    const problem =
      link.keys === 'pool' ? await this.#askKeyServer(cutOf(link.link, toMs)) : this.#setLocal(link.link, false)
    if (problem === undefined) this.#cutUntilMs.set(link.link, toMs)
    return problem
  }

  async #restore(id: string): Promise<string | undefined> {
    const link = this.#linkOf(id)
    if (link === undefined) return noLink(id)
    this.#cutUntilMs.delete(link.link)
    if (link.keys !== 'pool') return this.#setLocal(link.link, true)
    return this.#askKeyServer({ kind: 'mendLink', link: link.link, disturbance: 'cut' })
  }

  async #attenuate(id: string, addedDb: number): Promise<string | undefined> {
    const link = this.#linkOf(id)
    if (link === undefined) return noLink(id)
    if (link.keys !== 'pool') return `link ${id} has no QKD, so no loss that matters`
    const { link: number } = link
    const problem = await this.#askKeyServer({ kind: 'mendLink', link: number, disturbance: 'attenuation' })
    if (problem !== undefined) return problem
    this.#addedDb.set(number, addedDb)
    return addedDb === 0 ? undefined : this.#askKeyServer(lossOf(number, addedDb))
  }

  async #enable(chain: string, enabled: boolean): Promise<string | undefined> {
    const head = chainHeadsOfScenario(this.chains.scenario).find(({ id }) => id === chain)
    const master = head?.paths[0]?.[0] ?? this.#masters[0] ?? ''
    const problem = await this.#controls.ask(master, { kind: 'setEnabled', chain, enabled })
    if (problem !== undefined) return problem
    if (enabled) this.#disabled.delete(chain)
    else this.#disabled.add(chain)
    return undefined
  }

  /** What a process must be told again. */
  #standing(process: string): readonly Control[] {
    if (process === 'keyserver') {
      const isModelled = (link: number): boolean => this.#linkByNumber(link)?.keys === 'pool'
      return [
        ...[...this.#cutUntilMs].filter(([link]) => isModelled(link)).map(([link, toMs]) => cutOf(link, toMs)),
        ...[...this.#addedDb].filter(([, db]) => db > 0).map(([link, db]) => lossOf(link, db)),
      ]
    }
    if (!this.#masters.includes(process)) return []
    const set = this.chains.changedSet(process)
    const own = new Set(
      chainHeadsOfScenario(this.chains.scenario)
        .filter(({ paths }) => paths[0]?.[0] === process)
        .map(({ id }) => id),
    )
    return [
      ...(set === undefined ? [] : [{ kind: 'setChains' as const, set }]),
      ...(this.#policy === undefined ? [] : [{ kind: 'setPolicy' as const, policy: this.#policy }]),
      ...[...this.#disabled]
        .filter((chain) => own.has(chain))
        .map((chain) => ({ kind: 'setEnabled' as const, chain, enabled: false })),
    ]
  }

  /** Cuts that were given a time end by themselves: the key server's model mends its links, we the others. */
  #endCuts(nowMs: number): void {
    for (const [link, untilMs] of this.#cutUntilMs) {
      if (nowMs < untilMs) continue
      this.#cutUntilMs.delete(link)
      const known = this.#linkByNumber(link)
      if (known !== undefined && known.keys !== 'pool') this.#setLocal(link, true)
      if (known !== undefined) this.#noteControl({ kind: 'restoreLink', link: known.id })
    }
  }

  /** Tells all masters; the first problem, if there is one. */
  async #askMasters(control: Control): Promise<string | undefined> {
    const problems = await Promise.all(this.#masters.map((master) => this.#controls.ask(master, control)))
    return problems.find((problem) => problem !== undefined)
  }

  #askKeyServer(control: Control): Promise<string | undefined> {
    return this.#controls.ask('keyserver', control)
  }

  #setLocal(link: number, up: boolean): undefined {
    const state = { link, up, rateBps: 0, delayMs: this.#linkByNumber(link)?.delayMs ?? 0 }
    this.#options.setLink(state)
    this.takeLinkState(state)
  }

  #noteControl(control: ControlBody): void {
    const { subject, value, text } = wordsOf(control)
    this.#emit({ name: 'run.control', control: control.kind, subject, text, ...(value !== undefined && { value }) })
  }

  #linkOf(id: string): LabHead['links'][number] | undefined {
    return this.#view.head.links.find((link) => link.id === id)
  }

  #linkByNumber(number: number): LabHead['links'][number] | undefined {
    return this.#view.head.links.find(({ link }) => link === number)
  }
}

function cutOf(link: number, toMs: number): Control {
  return { kind: 'disturbLink', link, disturbance: { kind: 'cut', fromMs: 0, toMs } }
}

function lossOf(link: number, addedDb: number): Control {
  return { kind: 'disturbLink', link, disturbance: { kind: 'attenuation', addedDb, fromMs: 0, toMs: FOREVER_MS } }
}

function noLink(id: string): string {
  return `no link ${id.slice(0, 80)}`
}

type ControlWords = { readonly subject: string; readonly text: string; readonly value?: number }

function wordsOf(control: ControlBody): ControlWords {
  switch (control.kind) {
    case 'cutLink': {
      const time = control.forS === undefined ? '' : ` for ${control.forS} s`
      return { subject: control.link, text: `link ${control.link} cut${time}` }
    }
    case 'restoreLink':
      return { subject: control.link, text: `link ${control.link} restored` }
    case 'attenuateLink':
      return {
        subject: control.link,
        text: `link ${control.link}: ${control.addedDb} dB added`,
        value: control.addedDb,
      }
    case 'disableChain':
      return { subject: control.chain, text: `chain ${control.chain} switched off` }
    case 'enableChain':
      return { subject: control.chain, text: `chain ${control.chain} switched on` }
    case 'loadStep':
      return {
        subject: `bus ${control.bus}`,
        text: `load step of ${control.mw} MW at bus ${control.bus}`,
        value: control.mw,
      }
    case 'setPolicy':
      return { subject: control.policy, text: `policy ${control.policy}` }
  }
}
