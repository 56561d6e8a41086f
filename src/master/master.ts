import { type AsduView, cot, peekAsdu, typeIdOf } from '../protocol/index.ts'
import type { LabNode, NodeEffect, NodeInput, Suite, Wake } from '../runtime/contract.ts'
import { LinkPorts, type PortEvent } from '../runtime/link-ports.ts'
import type { Chain, Policy } from '../scheduler/index.ts'
import { Agc } from './agc.ts'
import { reportOrder, setpointCommand, singleCommand, stationCommand } from './commands.ts'
import type { MasterChain, MasterConfig } from './config.ts'
import { Measurements } from './measurements.ts'
import { type ChainSet, chainSetFaults, type MasterOrder, orderEvent } from './orders.ts'
import { Peers } from './peers.ts'
import { Planning } from './planning.ts'
import { valuesOf } from './point-values.ts'
import { ReportSuites } from './report-suites.ts'
import { Setpoints } from './setpoints.ts'
import { Shedding } from './shedding.ts'
import { Stations } from './stations.ts'
import type { MasterStatus } from './status.ts'
import { type Attempt, type TaskSpec, TaskTable, type Way } from './tasks.ts'

export type MasterOptions = {
  readonly policy: Policy
  /** Uniform numbers in 0..1, 1 excluded, for the set-points. */
  readonly random: () => number
}

const DEFAULT_TICK_MS = 100
const DEFAULT_DRAIN_MS = 3_000
/** So long nothing must have come before links are closed, ms: more than a sample under way takes with a retransmission. */
const QUIET_MS = 500
const DEFAULT_INTERROGATION_TIMEOUT_MS = 10_000
/** Clock synchronisation and interrogation give way to commands. */
const STATION_PRIORITY = 4
/** Between centres: grants before the rest of what may be on the link, and worth nothing by the next round. */
const PEER_PRIORITY = 1
const PEER_EXPIRY_MS = 500
/** By then a test command that was not sent is told anew. */
const TEST_EXPIRY_MS = 2_000
/** Place of the originator address in an ASDU (IEC 60870-5-101, 7.2.3). */
const OA_AT = 3
const M_SP_TB_1 = typeIdOf('M_SP_TB_1')
const NOTHING: readonly NodeEffect[] = []

/**
 * The control centre: 104 controlling station, scheduler, and the applications AGC, load shedding and set-points. Each
 * tick it plans the chains' states, runs the applications on the latest measurements and sends what is due; in between it
 * takes what comes in.
 */
export class Master implements LabNode {
  #config: MasterConfig
  readonly #ports: LinkPorts<Attempt | undefined>
  #chains: ReadonlyMap<string, MasterChain>
  readonly #planning: Planning
  readonly #measurements: Measurements
  readonly #stations: Stations
  readonly #tasks: TaskTable
  #agc: Agc | undefined
  #shedding: Shedding | undefined
  readonly #random: () => number
  #setpoints: Setpoints | undefined
  /** Wall clock at lab time 0; undefined before `start`. */
  #wallAtZeroMs: number | undefined
  #tickAtMs = Number.POSITIVE_INFINITY
  #agcAtMs = Number.POSITIVE_INFINITY
  #drainUntilMs: number | undefined
  /** When telemetry last came, or `drain`. */
  #heardMs = 0
  #deltaFHz: number | undefined
  /** Orders that wait for the next tick. */
  #orders: MasterOrder[] = []
  /** The last sample of the centre's own meter. */
  #meterHz: number | undefined
  readonly #reportSuites = new ReportSuites()
  readonly #peers: Peers
  #tests = 0

  /** RangeError if an application names a chain that is not there or has no target. */
  constructor(config: MasterConfig, { policy, random }: MasterOptions) {
    this.#config = config
    this.#ports = new LinkPorts(config.links)
    this.#chains = new Map(config.chains.map((entry) => [entry.chain.id, entry]))
    this.#planning = new Planning(config, policy)
    this.#measurements = new Measurements(config.measurements)
    this.#stations = new Stations(config.stations, config.interrogationTimeoutMs ?? DEFAULT_INTERROGATION_TIMEOUT_MS)
    this.#tasks = new TaskTable(config.requeueMs, config.taskPrefix)
    this.#agc = config.agc && new Agc(config.agc)
    this.#shedding = config.shedding && new Shedding(config.shedding)
    this.#random = random
    this.#peers = new Peers(config)
    const units = [...(config.agc?.units ?? []), ...(config.setpoints?.units ?? [])].map(({ chain }) => chain)
    for (const chain of [...units, ...(config.shedding?.chains ?? [])]) this.#targetOf(chain)
  }

  get wakeAtMs(): number | undefined {
    const setpointsMs = this.#isDraining ? undefined : this.#setpoints?.nextAtMs
    const atMs = Math.min(
      this.#tickAtMs,
      setpointsMs ?? Number.POSITIVE_INFINITY,
      this.#ports.wakeAtMs ?? Number.POSITIVE_INFINITY,
    )
    return atMs === Number.POSITIVE_INFINITY ? undefined : atMs
  }

  status(): MasterStatus {
    const { counts: chains, policyName: policy, disabled, outlook } = this.#planning
    const forecast = outlook === undefined ? {} : { forecast: outlook }
    return { deltaFHz: this.#deltaFHz, chains, tasks: this.#tasks.counts, policy, disabled, ...forecast }
  }

  handle(input: NodeInput | MasterOrder | Wake, nowMs: number): readonly NodeEffect[] {
    if ('request' in input) {
      this.#orders.push(input)
      return NOTHING
    }
    if (input.kind === 'grid') {
      if (input.message.kind === 'sample') this.#meterHz = input.message.deltaFHz
      return NOTHING
    }
    this.#ports.take(input, nowMs)
    if (input.kind === 'start') this.#start(input.wallMs, nowMs)
    else if (input.kind === 'pool') this.#planning.setStatus(input.status)
    else if (input.kind === 'drain') this.#drain(nowMs)
    this.#takePorts(nowMs)
    if (nowMs >= this.#tickAtMs) this.#tick(nowMs)
    this.#issueSetpoints(nowMs)
    this.#takePorts(nowMs)
    if (this.#drainUntilMs !== undefined) this.#endIfDone(this.#drainUntilMs, nowMs)
    return this.#ports.finish(nowMs)
  }

  get #isDraining(): boolean {
    return this.#drainUntilMs !== undefined
  }

  get #tickMs(): number {
    return this.#config.tickMs ?? DEFAULT_TICK_MS
  }

  #start(wallMs: number, nowMs: number): void {
    this.#wallAtZeroMs = wallMs - nowMs
    this.#tickAtMs = nowMs
    if (this.#config.meter !== undefined) {
      this.#ports.effect({ kind: 'grid', request: { kind: 'subscribe', ...this.#config.meter } })
    }
    if (this.#config.agc !== undefined) this.#agcAtMs = nowMs + this.#config.agc.periodMs
    if (this.#config.setpoints !== undefined) {
      this.#setpoints = new Setpoints(this.#config.setpoints, this.#random, nowMs)
    }
  }

  #wallMs(nowMs: number): number {
    return (this.#wallAtZeroMs ?? 0) + nowMs
  }

  /** Plan, stations, applications, commands: in this order, so that a command goes as the newest plan says. */
  #tick(nowMs: number): void {
    // Late wakes do not pile ticks up.
    this.#tickAtMs += this.#tickMs * (1 + Math.floor((nowMs - this.#tickAtMs) / this.#tickMs))
    for (const order of this.#orders.splice(0)) this.#carryOut(order, nowMs)
    const { meter } = this.#config
    this.#deltaFHz = meter === undefined ? this.#measurements.coiHz(this.#wallMs(nowMs)) : this.#meterHz
    const seen = { deltaFHz: this.#deltaFHz, voltagesPu: this.#measurements.voltagesPu(this.#wallMs(nowMs)) }
    for (const event of this.#planning.step((link) => this.#ports.isUp(link), seen, nowMs)) {
      this.#ports.event(event)
    }
    this.#speak(nowMs)
    if (!this.#isDraining) {
      this.#callStations(nowMs)
      this.#tellReportSuites(nowMs)
      this.#shed(nowMs)
      this.#control(nowMs)
    }
    this.#stepTasks(nowMs)
  }

  /** Hands what the policy has for other centres to their links. On a link that is down it would be late when it comes up. */
  #speak(nowMs: number): void {
    const { talk } = this.#planning
    if (talk === undefined) return
    for (const event of talk.takeEvents()) this.#ports.event(event)
    for (const { link, asdu } of this.#peers.asdusOf(talk)) {
      if (!this.#ports.isUp(link)) continue
      const expiresAtMs = nowMs + PEER_EXPIRY_MS
      this.#ports.send([link], { asdu, suite: 'aes', priority: PEER_PRIORITY, expiresAtMs }, undefined, nowMs)
    }
  }

  #carryOut(order: MasterOrder, nowMs: number): void {
    const problems = this.#obey(order, nowMs)
    this.#ports.event(orderEvent(order, problems))
  }

  #obey(order: MasterOrder, nowMs: number): readonly string[] {
    switch (order.kind) {
      case 'setEnabled':
        return this.#planning.setEnabled(order.chain, order.enabled) ? [] : [`no chain ${order.chain}`]
      case 'setPolicy':
        this.#planning.setPolicy(order.policy)
        return []
      case 'setChains': {
        const problems = chainSetFaults(order.set, this.#config.topology)
        if (problems.length === 0) this.#setChains(order.set, nowMs)
        return problems
      }
    }
  }

  #setChains({ chains, agc, shedding, setpoints }: ChainSet, nowMs: number): void {
    const { agc: _, shedding: __, setpoints: ___, ...rest } = this.#config
    this.#config = {
      ...rest,
      chains,
      ...(agc && { agc }),
      ...(shedding && { shedding }),
      ...(setpoints && { setpoints }),
    }
    this.#chains = new Map(chains.map((entry) => [entry.chain.id, entry]))
    this.#planning.setChains(chains.map(({ chain }) => chain))
    if (agc !== undefined) {
      if (this.#agc === undefined) this.#agcAtMs = nowMs + agc.periodMs
      this.#agc ??= new Agc(agc)
      this.#agc.configure(agc)
    }
    if (shedding !== undefined) {
      this.#shedding ??= new Shedding(shedding)
      this.#shedding.configure(shedding)
    }
    if (setpoints === undefined) this.#setpoints = undefined
    else {
      this.#setpoints ??= new Setpoints(setpoints, this.#random, nowMs)
      this.#setpoints.configure(setpoints, nowMs)
    }
  }

  #callStations(nowMs: number): void {
    for (const order of this.#stations.step((link) => this.#ports.isUp(link), nowMs)) {
      const asdu = this.#signed(stationCommand(order, this.#wallMs(nowMs)))
      const expiresAtMs = nowMs + (this.#config.interrogationTimeoutMs ?? DEFAULT_INTERROGATION_TIMEOUT_MS)
      const message = { asdu, suite: 'aes', priority: STATION_PRIORITY, expiresAtMs } as const
      this.#ports.send([order.link], message, undefined, nowMs)
    }
  }

  #tellReportSuites(nowMs: number): void {
    for (const { chain, reports } of this.#config.chains) {
      // A chain that is off still reports, in the suite that costs next to no key.
      if (reports !== undefined) this.#reportSuites.want(reports, this.#planning.wayOf(chain).suite ?? 'aes')
    }
    for (const { ca, suite } of this.#reportSuites.step(nowMs)) {
      const links = this.#config.stations.find((station) => station.ca === ca)?.links ?? []
      this.#tests += 1
      const asdu = this.#signed(reportOrder(ca, suite, this.#tests, this.#wallMs(nowMs)))
      const message = { asdu, suite: 'aes', priority: STATION_PRIORITY, expiresAtMs: nowMs + TEST_EXPIRY_MS } as const
      this.#ports.send(links, message, undefined, nowMs)
    }
  }

  #shed(nowMs: number): void {
    const config = this.#config.shedding
    if (config === undefined || this.#shedding === undefined) return
    const { timeoutMs, retryMs, timeTagged } = config
    for (const id of this.#shedding.step(this.#deltaFHz)) {
      const { chain, target } = this.#targetOf(id)
      const command = singleCommand(target, timeTagged === true ? this.#wallMs(nowMs) : undefined)
      this.#issue({ ...command, chain, timeoutMs, retryMs, waitsWhenOff: true }, nowMs)
    }
  }

  #control(nowMs: number): void {
    if (this.#agc === undefined || this.#config.agc === undefined || nowMs < this.#agcAtMs) return
    const { periodMs } = this.#config.agc
    this.#agcAtMs += periodMs * (1 + Math.floor((nowMs - this.#agcAtMs) / periodMs))
    for (const { chain, deltaMw } of this.#agc.step(this.#deltaFHz, nowMs)) {
      this.#issueSetpoint(chain, deltaMw, { timeoutMs: periodMs, replaces: true }, nowMs)
    }
  }

  #issueSetpoints(nowMs: number): void {
    const { setpoints } = this.#config
    if (setpoints === undefined || this.#setpoints === undefined || this.#isDraining) return
    const commands = this.#setpoints.step(nowMs)
    if (commands.length === 0) return
    for (const { chain, deltaMw } of commands) {
      this.#issueSetpoint(chain, deltaMw, { timeoutMs: setpoints.timeoutMs }, nowMs)
    }
    this.#stepTasks(nowMs)
  }

  #issueSetpoint(id: string, deltaMw: number, terms: Pick<TaskSpec, 'timeoutMs' | 'replaces'>, nowMs: number): void {
    const { chain, target } = this.#targetOf(id)
    this.#issue({ ...setpointCommand(target, deltaMw), chain, ...terms }, nowMs)
  }

  #issue(task: TaskSpec, nowMs: number): void {
    this.#tasks.issue({ ...task, asdu: this.#signed(task.asdu) }, nowMs)
  }

  /** Puts the originator address into an ASDU of our own. */
  #signed(asdu: Uint8Array): Uint8Array {
    asdu[OA_AT] = this.#config.originator ?? 0
    return asdu
  }

  #targetOf(id: string): { readonly chain: Chain; readonly target: { readonly ca: number; readonly ioa: number } } {
    const { chain, target } = this.#chains.get(id) ?? {}
    if (chain === undefined || target === undefined) throw new RangeError(`chain ${id} is not there or has no target`)
    return { chain, target }
  }

  #stepTasks(nowMs: number): void {
    this.#tasks.step((chain) => this.#wayOf(chain), nowMs)
    this.#carryOutTasks(nowMs)
  }

  #wayOf(chain: Chain): Way {
    const { suite, link } = this.#planning.wayOf(chain)
    return { suite, link: link !== undefined && this.#ports.isUp(link) ? link : undefined }
  }

  #carryOutTasks(nowMs: number): void {
    for (const effect of this.#tasks.takeEffects()) {
      if (effect.kind === 'event') this.#ports.event(effect.event)
      else this.#ports.send([effect.link], effect, effect.attempt, nowMs)
    }
  }

  #takePorts(nowMs: number): void {
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) {
      this.#onPort(event, nowMs)
      this.#carryOutTasks(nowMs)
    }
  }

  #onPort(event: PortEvent<Attempt | undefined>, nowMs: number): void {
    if (event.kind === 'asdu') {
      if (this.#peers.take(event, this.#planning.talk, nowMs)) this.#speak(nowMs)
      else this.#onAsdu(event.asdu, event.suite, nowMs)
    } else if (event.kind === 'sent' && event.context !== undefined) {
      const { link, suite, queueMs, keyWaitMs } = event
      this.#tasks.onSent(event.context, { link, suite, queueMs, keyWaitMs }, nowMs)
    } else if (event.kind === 'lost' && event.context !== undefined) this.#tasks.onLost(event.context, nowMs)
  }

  #onAsdu(asdu: Uint8Array, suite: Suite, nowMs: number): void {
    const view = peekAsdu(asdu)
    if (view === undefined) return
    if (view.typeId >= 45 && view.typeId <= 69) this.#tasks.onAnswer(asdu, view, suite, nowMs)
    else if (view.typeId < 45) this.#onData(asdu, view, suite, nowMs)
    else {
      this.#stations.onAsdu(view, nowMs)
      this.#reportSuites.onAsdu(asdu, view)
    }
  }

  #onData(asdu: Uint8Array, view: AsduView, suite: Suite, nowMs: number): void {
    this.#heardMs = nowMs
    const wallMs = this.#wallMs(nowMs)
    for (const { ioa, value, tagWallMs, isValid } of valuesOf(asdu, wallMs)) {
      // A tag from the future would keep later values out.
      this.#measurements.set(view.ca, ioa, { value, tagWallMs: Math.min(tagWallMs, wallMs), isValid })
      // A block is one message; events may share an ASDU and are each for themselves.
      const isBlock = view.cot === cot.periodic && ioa === view.ioa
      if (!isBlock && !(view.typeId === M_SP_TB_1 && view.cot === cot.spontaneous)) continue
      const latencyMs = wallMs - tagWallMs
      this.#ports.event({ name: 'telemetry.received', ca: view.ca, ioa, tagMs: tagWallMs, latencyMs, suite })
    }
  }

  #drain(nowMs: number): void {
    if (this.#drainUntilMs !== undefined) return
    this.#drainUntilMs = nowMs + (this.#config.drainMs ?? DEFAULT_DRAIN_MS)
    this.#heardMs = nowMs
  }

  /** Links stay open for commands, and for samples that were taken before their stations heard of the end. */
  #endIfDone(untilMs: number, nowMs: number): void {
    const isDone = this.#tasks.size === 0 && nowMs - this.#heardMs >= QUIET_MS
    if (this.#ports.isEnding || (!isDone && nowMs < untilMs)) return
    this.#tasks.endAll('drain', nowMs)
    this.#carryOutTasks(nowMs)
    this.#tickAtMs = Number.POSITIVE_INFINITY
    this.#ports.close(nowMs)
  }
}
