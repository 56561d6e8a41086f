import type { GridDone, GridRequest, GridSample, LabEvent, Node, Wake } from '../runtime/contract.ts'
import type { Disturbance } from './disturbance.ts'
import { checkDisturbances } from './disturbance.ts'
import type { GridCase } from './grid-case.ts'
import { GridError } from './grid-case.ts'
import type { GridAction } from './grid-client.ts'
import { GridClient } from './grid-client.ts'
import { GridModel, STEP_MS } from './grid-model.ts'
import type { MachineModel } from './machine-dynamics.ts'
import type { GridLineFault } from './port.ts'
import { checkGridRequest, MIN_PERIOD_MS } from './request.ts'
import type { GridSummary } from './summary.ts'
import { SummaryKeeper } from './summary.ts'

export type GridNodeOptions = {
  readonly case: GridCase
  /** Default `twoaxis`. */
  readonly model?: MachineModel
  readonly disturbances: readonly Disturbance[]
  /** Safe band of the summary, Hz; default 0.05. */
  readonly bandHz?: number
  /** Most steps of 10 ms integrated for one input, so that catching up never blocks for long; default 500. */
  readonly maxStepsPerInput?: number
}

export type GridInput =
  | { readonly kind: 'start'; readonly wallMs: number }
  | { readonly kind: 'request'; readonly client: number; readonly request: GridRequest }
  /** A client sent a line that is no request. */
  | { readonly kind: 'badLine'; readonly client: number; readonly fault: GridLineFault }
  | { readonly kind: 'clientGone'; readonly client: number }
  /** A disturbance on top of the scenario's, at the present step. Refused in the record if it makes no sense. */
  | { readonly kind: 'disturb'; readonly disturbance: DisturbanceNow }
  | { readonly kind: 'drain' }

/** A disturbance that acts at once. */
export type DisturbanceNow = Disturbance extends infer One
  ? One extends Disturbance
    ? Omit<One, 'atMs'>
    : never
  : never

export type GridEffect =
  | { readonly kind: 'reply'; readonly client: number; readonly message: GridSample | GridDone }
  | { readonly kind: 'event'; readonly event: LabEvent }

/** Frequency is told to the record every 100 ms. */
const REPORT_STEPS = 10
/** A wake this much behind the time asked for counts as late. */
const LATE_MS = 50
const MAX_CLIENTS = 1024
/** Refusals of one client that are told to the record; later ones are only counted. */
const MAX_TOLD_REFUSALS = 20

type Due =
  | { readonly step: number; readonly kind: 'disturbance'; readonly disturbance: Disturbance }
  | { readonly step: number; readonly kind: 'action'; readonly client: GridClient; readonly action: GridAction }

/**
 * The grid of a lab: integrates a `GridModel` along lab time, samples buses for its clients and carries out their actions.
 *
 * - The state shown at `nowMs` is that of step floor(nowMs / 10); disturbances and breakers act at the nearest step. Until
 *   the first of them the grid is in its steady state.
 * - `shed` trips `loadMw` (MW at the power-flow voltage), or what is left if that is less (the answer's reason then says
 *   how much); with nothing left it fails. `setpoint` acts at the present step; at most the machine's rating.
 * - A breaker that has been told to move does so even if its client goes.
 * - `drain` gives the event `grid.summary`, ends sampling and drops disturbances still to come; actions go on.
 * - Should the integration leave the model's range, `grid.collapsed` says so, samples end and actions are refused.
 */
export class GridNode implements Node<GridInput, GridEffect> {
  wakeAtMs: number | undefined

  readonly #model: GridModel
  readonly #machineBuses: ReadonlySet<number>
  readonly #maxSteps: number
  readonly #summary: SummaryKeeper
  readonly #clients = new Map<number, GridClient>()
  /** In order of step, and of arrival within a step. */
  #due: Due[] = []
  /** Last step reached; -1 before the first input. */
  #step = -1
  #steady = true
  #draining = false
  #toldCollapse = false
  #stepsLate = 0
  #refusals = 0

  /** @throws GridError for a case or a disturbance that makes no sense. */
  constructor(options: GridNodeOptions) {
    const { bandHz = 0.05, maxStepsPerInput = 500 } = options
    if (!(bandHz > 0)) throw new GridError(`bandHz must be positive, not ${bandHz}`)
    if (!(maxStepsPerInput >= 1)) throw new GridError(`maxStepsPerInput must be 1 or more, not ${maxStepsPerInput}`)
    checkDisturbances(options.case, options.disturbances)
    this.#model = new GridModel(options.case, options.model)
    this.#machineBuses = new Set(options.case.machines.map(({ bus }) => bus))
    this.#maxSteps = maxStepsPerInput
    this.#summary = new SummaryKeeper(bandHz, STEP_MS)
    for (const disturbance of options.disturbances) {
      this.#schedule({ kind: 'disturbance', step: Math.round(disturbance.atMs / STEP_MS), disturbance })
    }
  }

  handle(input: GridInput | Wake, nowMs: number): readonly GridEffect[] {
    const effects: GridEffect[] = []
    if (input.kind === 'wake' && this.wakeAtMs !== undefined && nowMs - this.wakeAtMs > LATE_MS) this.#stepsLate++
    const behind = this.#advance(nowMs, effects)
    this.#take(input, nowMs, effects)
    this.#carryOutDue(effects)
    this.#sample(effects)
    this.wakeAtMs = behind ? nowMs : this.#nextWakeMs()
    return effects
  }

  /** Figures of the run so far. */
  summary(): GridSummary {
    return this.#summary.summary()
  }

  #take(input: GridInput | Wake, nowMs: number, effects: GridEffect[]): void {
    switch (input.kind) {
      case 'wake':
      case 'start':
        break
      case 'request':
        this.#request(input, nowMs, effects)
        break
      case 'badLine':
        this.#badLine(input, effects)
        break
      case 'clientGone':
        this.#clients.delete(input.client)
        break
      case 'disturb':
        this.#disturbNow(input.disturbance, effects)
        break
      case 'drain':
        this.#drain(effects)
        break
    }
  }

  /** Integrates towards `nowMs`. @returns true when the bound on steps left it behind. */
  #advance(nowMs: number, effects: GridEffect[]): boolean {
    const target = Math.floor(nowMs / STEP_MS)
    for (let left = this.#maxSteps; this.#step < target && left > 0; ) {
      this.#step++
      if (!this.#steady && !this.#model.collapsed) {
        this.#model.step()
        left--
      }
      this.#carryOutDue(effects)
      this.#note(effects)
    }
    return this.#step < target
  }

  #note(effects: GridEffect[]): void {
    if (this.#model.collapsed) {
      if (!this.#draining) this.#summary.noteCollapsed()
      if (!this.#toldCollapse) effects.push(event({ name: 'grid.collapsed', atMs: this.#nowMs() }))
      this.#toldCollapse = true
      return
    }
    if (this.#draining) return
    const deltaFHz = this.#model.coiHz()
    const worstHz = this.#model.worstHz()
    this.#summary.note(this.#nowMs(), deltaFHz, worstHz)
    if (this.#step % REPORT_STEPS !== 0) return
    const facts = { deltaFHz, worstHz, ...this.#voltages(), atMs: this.#nowMs() }
    effects.push(event({ name: 'grid', ...facts }))
  }

  /** Lowest and highest voltage of all buses, and where the lowest is. */
  #voltages(): { readonly minVoltagePu: number; readonly minVoltageBus: number; readonly maxVoltagePu: number } {
    let [minVoltagePu, minVoltageBus, maxVoltagePu] = [Number.POSITIVE_INFINITY, 0, 0]
    for (const { bus } of this.#model.grid.buses) {
      const pu = this.#model.voltagePu(bus)
      if (pu < minVoltagePu) [minVoltagePu, minVoltageBus] = [pu, bus]
      maxVoltagePu = Math.max(maxVoltagePu, pu)
    }
    return { minVoltagePu, minVoltageBus, maxVoltagePu }
  }

  #request(input: GridInput & { kind: 'request' }, nowMs: number, effects: GridEffect[]): void {
    const client = this.#clientOf(input.client)
    if (client === undefined) return
    const checked = checkGridRequest(input.request)
    if (!checked.ok) {
      this.#refuse(client, { id: checked.id ?? 0, reason: checked.reason }, effects)
      return
    }
    const request = checked.message
    const reason = this.#objection(request)
    if (reason !== undefined) this.#refuse(client, { id: 'id' in request ? request.id : undefined, reason }, effects)
    else if (request.kind === 'subscribe') this.#subscribe(client, request)
    else this.#accept(client, request, { nowMs, effects })
  }

  #subscribe(client: GridClient, { bus, periodMs }: GridRequest & { kind: 'subscribe' }): void {
    if (this.#draining) return
    client.subscribe(bus, Math.ceil(Math.max(MIN_PERIOD_MS, periodMs) / STEP_MS), this.#step)
  }

  /** Why a request that is well formed cannot be met by this grid. */
  #objection(request: GridRequest): string | undefined {
    const { buses, machines } = this.#model.grid
    if (!buses.some((bus) => bus.bus === request.bus)) return `unknown bus ${request.bus}`
    if (request.kind !== 'setpoint') return undefined
    const machine = machines.find((m) => m.bus === request.bus)
    if (machine === undefined || machine.governor === null) return `no governor at bus ${request.bus}`
    if (Math.abs(request.deltaMw) > machine.mBaseMva) return `deltaMw is beyond the rating of ${machine.mBaseMva} MVA`
    return undefined
  }

  #accept(client: GridClient, action: GridAction, { nowMs, effects }: { nowMs: number; effects: GridEffect[] }): void {
    const known = client.recall(action)
    switch (known.kind) {
      case 'fresh': {
        const shed = action.kind === 'shed'
        const step = shed ? Math.round((nowMs + action.breakerDelayMs) / STEP_MS) : Math.floor(nowMs / STEP_MS)
        this.#schedule({ kind: 'action', step, client, action })
        break
      }
      case 'underWay':
        break
      case 'answered':
        effects.push({ kind: 'reply', client: client.number, message: known.done })
        break
      case 'refused':
        this.#refuse(client, { id: action.id, reason: known.reason }, effects)
        break
    }
  }

  #badLine(input: GridInput & { kind: 'badLine' }, effects: GridEffect[]): void {
    const client = this.#clientOf(input.client)
    if (client !== undefined) this.#refuse(client, { id: input.fault.id ?? 0, reason: input.fault.reason }, effects)
  }

  /** Without an id (a subscription) the record alone is told. */
  #refuse(client: GridClient, { id, reason }: { id: number | undefined; reason: string }, effects: GridEffect[]): void {
    this.#refusals++
    client.refusals++
    if (id !== undefined) {
      const message: GridDone = { kind: 'done', id, ok: false, tMs: this.#nowMs(), reason }
      effects.push({ kind: 'reply', client: client.number, message })
    }
    if (client.refusals <= MAX_TOLD_REFUSALS)
      effects.push(event({ name: 'grid.refused', client: client.number, reason }))
  }

  #schedule(due: Due): void {
    const later = this.#due.findIndex((other) => other.step > due.step)
    if (later < 0) this.#due.push(due)
    else this.#due.splice(later, 0, due)
  }

  #carryOutDue(effects: GridEffect[]): void {
    for (let due = this.#due[0]; due !== undefined && due.step <= this.#step; due = this.#due[0]) {
      this.#due.shift()
      if (due.kind === 'disturbance') this.#disturb(due.disturbance, effects)
      else this.#act(due.client, due.action, effects)
    }
  }

  #disturbNow(disturbance: DisturbanceNow, effects: GridEffect[]): void {
    const reason = this.#model.collapsed ? 'the grid has collapsed' : this.#draining ? 'the run is over' : undefined
    const objection = reason ?? this.#disturbanceProblem(disturbance)
    if (objection === undefined) this.#disturb(disturbance, effects)
    else effects.push(event({ name: 'grid.refused', reason: objection }))
  }

  #disturbanceProblem(disturbance: DisturbanceNow): string | undefined {
    try {
      checkDisturbances(this.#model.grid, [{ ...disturbance, atMs: this.#nowMs() }])
      if (disturbance.kind === 'trip' && !this.#model.hasMachine(disturbance.bus)) return 'the machine is off already'
      return undefined
    } catch (error) {
      if (error instanceof GridError) return error.message
      throw error
    }
  }

  #disturb(disturbance: DisturbanceNow, effects: GridEffect[]): void {
    const { kind, bus } = disturbance
    const mw = disturbance.kind === 'loadStep' ? disturbance.mw : -this.#model.powerMw(bus)
    if (disturbance.kind === 'loadStep') this.#model.addLoad(bus, mw)
    else this.#model.trip(bus)
    this.#steady = false
    this.#summary.disturbed(this.#nowMs())
    effects.push(event({ name: 'grid.disturbance', disturbance: kind, bus, mw, atMs: this.#nowMs() }))
  }

  #act(client: GridClient, action: GridAction, effects: GridEffect[]): void {
    const outcome = this.#model.collapsed
      ? { ok: false, reason: 'the grid has collapsed' }
      : action.kind === 'shed'
        ? this.#shed(action, effects)
        : this.#setReference(action, effects)
    const done: GridDone = { kind: 'done', id: action.id, tMs: this.#nowMs(), ...outcome }
    client.settle(done)
    if (this.#clients.get(client.number) === client) {
      effects.push({ kind: 'reply', client: client.number, message: done })
    }
  }

  #shed(action: GridAction & { kind: 'shed' }, effects: GridEffect[]): Outcome {
    const { bus } = action
    const leftMw = this.#model.loadMw(bus)
    if (!(leftMw > 1e-9)) return { ok: false, reason: `no load left at bus ${bus}` }
    const mw = Math.min(action.loadMw, leftMw)
    this.#model.addLoad(bus, -mw)
    this.#steady = false
    effects.push(event({ name: 'grid.shed', bus, mw, atMs: this.#nowMs() }))
    return mw < action.loadMw ? { ok: true, reason: `only ${mw.toFixed(3)} MW were left` } : { ok: true }
  }

  #setReference(action: GridAction & { kind: 'setpoint' }, effects: GridEffect[]): Outcome {
    const { bus, deltaMw } = action
    if (!this.#model.hasMachine(bus)) return { ok: false, reason: `the machine at bus ${bus} is off` }
    this.#model.setReference(bus, deltaMw)
    this.#steady = false
    effects.push(event({ name: 'grid.setpoint', bus, deltaMw, atMs: this.#nowMs() }))
    return { ok: true }
  }

  #sample(effects: GridEffect[]): void {
    for (const client of this.#clients.values()) {
      for (const bus of client.takeDue(this.#step)) {
        const message = this.#sampleOf(bus)
        if (message !== undefined) effects.push({ kind: 'reply', client: client.number, message })
      }
    }
  }

  #sampleOf(bus: number): GridSample | undefined {
    const deltaFHz = this.#model.frequencyHz(bus)
    const voltagePu = this.#model.voltagePu(bus)
    if (this.#model.collapsed || !Number.isFinite(deltaFHz + voltagePu)) return undefined
    const tMs = this.#nowMs()
    if (!this.#machineBuses.has(bus)) return { kind: 'sample', bus, tMs, deltaFHz, voltagePu }
    return { kind: 'sample', bus, tMs, deltaFHz, voltagePu, powerMw: this.#model.powerMw(bus) }
  }

  #drain(effects: GridEffect[]): void {
    if (this.#draining) return
    this.#draining = true
    this.#due = this.#due.filter((due) => due.kind === 'action')
    for (const client of this.#clients.values()) client.unsubscribeAll()
    const facts = { ...this.summary(), stepsLate: this.#stepsLate, refusals: this.#refusals }
    effects.push(event({ name: 'grid.summary', ...facts, collapsed: this.#model.collapsed, atMs: this.#nowMs() }))
  }

  #nextWakeMs(): number | undefined {
    let step = this.#due[0]?.step ?? Number.POSITIVE_INFINITY
    if (!this.#draining && !this.#model.collapsed) {
      step = Math.min(step, (Math.floor(this.#step / REPORT_STEPS) + 1) * REPORT_STEPS)
      for (const client of this.#clients.values()) step = Math.min(step, client.nextStep())
    }
    return Number.isFinite(step) ? step * STEP_MS : undefined
  }

  /** The client of that number, made when it is first heard of; undefined when there are too many. */
  #clientOf(number: number): GridClient | undefined {
    const known = this.#clients.get(number)
    if (known !== undefined) return known
    if (this.#clients.size >= MAX_CLIENTS) {
      this.#refusals++
      return undefined
    }
    const client = new GridClient(number)
    this.#clients.set(number, client)
    return client
  }

  /** Lab time of the state. */
  #nowMs(): number {
    return Math.max(0, this.#step) * STEP_MS
  }
}

type Outcome = { readonly ok: boolean; readonly reason?: string }

function event(facts: LabEvent): GridEffect {
  return { kind: 'event', event: facts }
}
