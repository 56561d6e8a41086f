import {
  type Asdu,
  type AsduView,
  asduOf,
  cot,
  decodeAsdu,
  encodeAsdu,
  peekAsdu,
  replyTo,
  typeIdOf,
  WireError,
} from '../protocol/index.ts'
import type { GridDone, LabNode, NodeEffect, NodeInput, Suite, Wake } from '../runtime/contract.ts'
import { DEFAULT_PRIORITIES, LinkPorts, type Priorities, priorityOf } from '../runtime/link-ports.ts'
import type { IedConfig } from './config.ts'
import { breakerReport, Measurands, protectionEvent } from './measurands.ts'

const BROADCAST_CA = 65_535
const QOI_STATION = 20
const C_SC_NA_1 = typeIdOf('C_SC_NA_1')
const C_SE_NC_1 = typeIdOf('C_SE_NC_1')
const C_SC_TA_1 = typeIdOf('C_SC_TA_1')
const C_IC_NA_1 = typeIdOf('C_IC_NA_1')
const SERVED_TYPES: ReadonlySet<number> = new Set([C_SC_NA_1, C_SE_NC_1, C_SC_TA_1, C_IC_NA_1])
/** How long a message may wait for the link or for key, ms. */
const HOLD_MS = 10_000
const DEFAULT_DRAIN_MS = 5_000
/** Commands that may be under way in the grid; more are refused. */
const MAX_ACTIONS = 64
const NOTHING: readonly NodeEffect[] = []
/** Values of M_ME_TF_1 that fit one ASDU. */
const MAX_PMU_OBJECTS = 16

/** An ASDU from the RTU; the answer goes in the same suite. */
type Received = { readonly octets: Uint8Array; readonly suite: Suite }

/** A command that the grid is carrying out. */
type Action = Received & { readonly ioa: number; readonly sinceMs: number }

type Burst = NonNullable<IedConfig['bursts']>[number]
type BurstEvent = Pick<Burst, 'atMs' | 'deadlineMs' | 'requiredSuite'> & { readonly ioa: number }

function eventsOf({ firstIoa, events, atMs, withinMs, deadlineMs, requiredSuite }: Burst): readonly BurstEvent[] {
  return Array.from({ length: events }, (_, index) => {
    return { ioa: firstIoa + index, atMs: atMs + (withinMs * index) / events, deadlineMs, requiredSuite }
  })
}

/** When telemetry is due, and what it is. */
type Telemetry = { readonly periodMs: number; readonly deadlineMs: number; atMs: number; readonly isPmu: boolean }

/**
 * A sensor or actuator on a bus: 104 controlled station towards its RTU, and a client of the grid. Reports frequency
 * beyond a deadband at once and everything periodically; trips its load or sets its machine when told. It answers in the
 * suite in which it was asked.
 */
export class Ied implements LabNode {
  readonly #config: IedConfig
  readonly #priorities: Priorities
  readonly #ports: LinkPorts<undefined>
  readonly #measurands: Measurands
  /** When something is due by time; infinite when nothing is. */
  #dueMs = Number.POSITIVE_INFINITY
  /** Wall clock at lab time 0. */
  #wallAtZeroMs = 0
  readonly #telemetry: Telemetry[] = []
  /** Protection events to come, the next one first. */
  readonly #events: BurstEvent[]
  #hasAnnounced = false
  #isTripped = false
  /** Under way, by the id of the grid request. */
  readonly #actions = new Map<number, Action>()
  #nextRequest = 1

  /** RangeError for a phasor block that does not fit one ASDU. */
  constructor(config: IedConfig) {
    const { objects } = config.pmu ?? { objects: 1 }
    if (!Number.isInteger(objects) || objects < 1 || objects > MAX_PMU_OBJECTS) {
      throw new RangeError(`IED ${config.id}: phasor block of ${objects} values, not 1..${MAX_PMU_OBJECTS}`)
    }
    this.#config = config
    this.#priorities = { ...DEFAULT_PRIORITIES, ...config.priorities }
    this.#ports = new LinkPorts([config.link])
    this.#measurands = new Measurands(config)
    this.#events = (config.bursts ?? []).flatMap(eventsOf).sort((a, b) => a.atMs - b.atMs)
  }

  get wakeAtMs(): number | undefined {
    return this.#dueMs === Number.POSITIVE_INFINITY ? undefined : this.#dueMs
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    // Samples come fifty times a second and are hardly ever news.
    if (input.kind === 'grid' && input.message.kind === 'sample' && nowMs < this.#dueMs && !this.#ports.isHolding) {
      if (this.#ports.isEnding || !this.#measurands.take(input.message)) return NOTHING
    }
    const effects = this.#handle(input, nowMs)
    const telemetryMs = this.#telemetry.reduce((atMs, due) => Math.min(atMs, due.atMs), Number.POSITIVE_INFINITY)
    const eventMs = this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY
    this.#dueMs = Math.min(this.#ports.wakeAtMs ?? Number.POSITIVE_INFINITY, telemetryMs, eventMs)
    return effects
  }

  #handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    this.#ports.take(input, nowMs)
    if (input.kind === 'start') this.#start(input.wallMs, nowMs)
    else if (input.kind === 'drain') this.#drain(nowMs)
    else if (input.kind === 'grid' && input.message.kind === 'done') this.#done(input.message, nowMs)
    else if (input.kind === 'grid' && input.message.kind === 'sample' && !this.#ports.isEnding) {
      const isNews = this.#measurands.take(input.message)
      if (isNews)
        this.#send(this.#measurands.report('frequency', cot.spontaneous, this.#wallMs(nowMs)), this.#suite, nowMs)
    }
    this.#sendTelemetry(nowMs)
    this.#sendEvents(nowMs)
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) {
      if (event.kind === 'asdu') this.#onAsdu({ octets: event.asdu, suite: event.suite }, nowMs)
      else if (event.kind === 'up') this.#announce(nowMs)
    }
    return this.#ports.finish(nowMs)
  }

  get #suite(): Suite {
    return this.#config.telemetrySuite ?? 'aes'
  }

  #wallMs(nowMs: number): number {
    return this.#wallAtZeroMs + nowMs
  }

  #start(wallMs: number, nowMs: number): void {
    const {
      bus,
      samplePeriodMs: periodMs,
      telemetryPeriodMs,
      telemetryPhaseMs,
      telemetryDeadlineMs,
      pmu,
    } = this.#config
    this.#wallAtZeroMs = wallMs - nowMs
    this.#ports.effect({ kind: 'grid', request: { kind: 'subscribe', bus, periodMs } })
    const first = nowMs + (telemetryPhaseMs ?? telemetryPeriodMs)
    this.#telemetry.push({ periodMs: telemetryPeriodMs, deadlineMs: telemetryDeadlineMs, atMs: first, isPmu: false })
    if (pmu === undefined) return
    const { periodMs: pmuMs, deadlineMs, phaseMs = pmuMs } = pmu
    this.#telemetry.push({ periodMs: pmuMs, deadlineMs, atMs: nowMs + phaseMs, isPmu: true })
  }

  #drain(nowMs: number): void {
    this.#telemetry.length = 0
    this.#events.length = 0
    const { link, drainMs = DEFAULT_DRAIN_MS } = this.#config
    this.#ports.drain({ after: [link.link], patienceMs: drainMs }, nowMs)
  }

  #sendTelemetry(nowMs: number): void {
    for (const due of this.#telemetry) {
      if (nowMs < due.atMs) continue
      due.atMs += due.periodMs * (1 + Math.floor((nowMs - due.atMs) / due.periodMs))
      const tagMs = Math.floor(this.#wallMs(nowMs))
      const { pmu, ca } = this.#config
      const asdu =
        due.isPmu && pmu !== undefined
          ? this.#measurands.block(pmu.firstIoa, pmu.objects, tagMs)
          : this.#measurands.report('all', cot.periodic, tagMs)
      const ioa = asdu && peekAsdu(asdu)?.ioa
      if (ioa === undefined) continue
      const { deadlineMs } = due
      const requiredSuite = this.#config.telemetryRequiredSuite ?? 'aes'
      const taskClass = due.isPmu ? 'pmu' : 'telemetry'
      this.#ports.event({ name: 'telemetry.sampled', taskClass, ca, ioa, tagMs, deadlineMs, requiredSuite })
      this.#send(asdu, this.#suite, nowMs)
    }
  }

  #sendEvents(nowMs: number): void {
    for (let next = this.#events[0]; next !== undefined && next.atMs <= nowMs; next = this.#events[0]) {
      this.#events.shift()
      const { ca } = this.#config
      const { ioa, deadlineMs, requiredSuite } = next
      const tagMs = Math.floor(this.#wallMs(nowMs))
      this.#ports.event({ name: 'telemetry.sampled', taskClass: 'event', ca, ioa, tagMs, deadlineMs, requiredSuite })
      this.#send(protectionEvent(ca, ioa, tagMs), this.#suite, nowMs)
    }
  }

  /** End of initialization, at the first connection only (IEC 60870-5-101, 7.4.3). */
  #announce(nowMs: number): void {
    if (this.#hasAnnounced) return
    this.#hasAnnounced = true
    const objects = [{ ioa: 0, value: { coi: { cause: 0, changed: false } } }]
    this.#send(
      encodeAsdu(asduOf('M_EI_NA_1', { cot: cot.initialized, ca: this.#config.ca, objects })),
      this.#suite,
      nowMs,
    )
  }

  #send(asdu: Uint8Array | undefined, suite: Suite, nowMs: number): void {
    const view = asdu && peekAsdu(asdu)
    if (asdu === undefined || view === undefined) return
    const message = {
      asdu,
      suite,
      priority: priorityOf(view, this.#priorities),
      expiresAtMs: nowMs + HOLD_MS,
      resend: true,
    }
    this.#ports.send([this.#config.link.link], message, undefined, nowMs)
  }

  #onAsdu(received: Received, nowMs: number): void {
    const view = peekAsdu(received.octets)
    if (view === undefined) return
    const fault = this.#faultOf(view)
    if (fault !== undefined) this.#reply(received, NO(fault), nowMs)
    else this.#obey(received, nowMs)
  }

  /** The cause to answer with when this cannot be served (IEC 60870-5-101, 7.2.3). */
  #faultOf({ typeId, ca, cot: cause, ioa }: AsduView): number | undefined {
    const { commandIoa, setpointIoa } = this.#config.points
    if (!SERVED_TYPES.has(typeId)) return cot.unknownTypeId
    if (ca !== this.#config.ca && !(typeId === C_IC_NA_1 && ca === BROADCAST_CA)) return cot.unknownCa
    if (cause !== cot.activation) return cot.unknownCot
    if (typeId === C_IC_NA_1) return undefined
    return ioa === (typeId === C_SE_NC_1 ? setpointIoa : commandIoa) ? undefined : cot.unknownIoa
  }

  #obey(received: Received, nowMs: number): void {
    const asdu = decode(received.octets)
    const { bus, shedMw = 0, breakerDelayMs = 0 } = this.#config
    if (asdu?.type === 'C_IC_NA_1') this.#interrogate(received, asdu.objects[0]?.value.qoi, nowMs)
    else if (asdu?.type === 'C_SC_NA_1' || asdu?.type === 'C_SC_TA_1') {
      const sco = asdu.objects[0]?.value.sco
      // Direct commands only; and the load has no way back.
      const isFit = sco?.on === true && !sco.select && this.#actions.size < MAX_ACTIONS
      this.#reply(received, { cot: cot.activationCon, negative: !isFit }, nowMs)
      if (isFit && this.#isTripped) this.#reply(received, YES(cot.activationTermination), nowMs)
      // A trip under way is not begun again: its own end answers both.
      else if (isFit && !this.#isUnderWay(received.octets, 'anyValue')) {
        const id = this.#begin(received, nowMs)
        this.#ports.effect({ kind: 'grid', request: { kind: 'shed', id, bus, loadMw: shedMw, breakerDelayMs } })
      }
    } else if (asdu?.type === 'C_SE_NC_1') {
      const { value: deltaMw = Number.NaN, qos } = asdu.objects[0]?.value ?? {}
      const isFit = Number.isFinite(deltaMw) && qos?.select === false && this.#actions.size < MAX_ACTIONS
      this.#reply(received, { cot: cot.activationCon, negative: !isFit }, nowMs)
      // The same set-point while it is being set is not set twice; another one is set after it.
      if (isFit && !this.#isUnderWay(received.octets, 'sameValue')) {
        const id = this.#begin(received, nowMs)
        this.#ports.effect({ kind: 'grid', request: { kind: 'setpoint', id, bus, deltaMw } })
      }
    }
  }

  #reply({ octets, suite }: Received, reply: Reply, nowMs: number): void {
    this.#send(replyTo(octets, reply), suite, nowMs)
  }

  #interrogate({ octets, suite }: Received, qoi: number | undefined, nowMs: number): void {
    // The answer to an interrogation of all stations names the one that answers.
    const own = octets.slice()
    own[4] = this.#config.ca & 0xff
    own[5] = this.#config.ca >> 8
    const received = { octets: own, suite }
    const isFit = qoi === QOI_STATION
    this.#reply(received, { cot: cot.activationCon, negative: !isFit }, nowMs)
    if (!isFit) return
    for (const asdu of this.#measurands.interrogated(this.#isTripped)) this.#send(asdu, suite, nowMs)
    this.#reply(received, YES(cot.activationTermination), nowMs)
  }

  #isUnderWay(octets: Uint8Array, which: 'anyValue' | 'sameValue'): boolean {
    const ioa = peekAsdu(octets)?.ioa
    return [...this.#actions.values()].some(
      (action) => action.ioa === ioa && (which === 'anyValue' || isSame(action.octets, octets)),
    )
  }

  #begin(received: Received, nowMs: number): number {
    const { octets, suite } = received
    const { ioa = 0, typeId = 0 } = peekAsdu(octets) ?? {}
    const id = this.#nextRequest++
    this.#actions.set(id, { ...received, ioa, sinceMs: nowMs })
    this.#ports.event({ name: 'ied.act', ca: this.#config.ca, ioa, typeId, suite })
    return id
  }

  /** The grid has carried out a request, or refused it. */
  #done({ id, ok }: GridDone, nowMs: number): void {
    const action = this.#actions.get(id)
    if (action === undefined) return
    this.#actions.delete(id)
    const { ca, points } = this.#config
    const { suite, ioa, sinceMs } = action
    this.#ports.event({ name: 'ied.done', ca, ioa, ok, breakerMs: nowMs - sinceMs })
    this.#reply(action, { cot: cot.activationTermination, negative: !ok }, nowMs)
    if (!ok || ioa !== points.commandIoa) return
    this.#isTripped = true
    if (points.breakerIoa === undefined) return
    this.#send(breakerReport(ca, points.breakerIoa, true, this.#wallMs(nowMs)), suite, nowMs)
  }
}

type Reply = { readonly cot: number; readonly negative: boolean }
const YES = (cause: number): Reply => ({ cot: cause, negative: false })
const NO = (cause: number): Reply => ({ cot: cause, negative: true })

function decode(octets: Uint8Array): Asdu | undefined {
  try {
    return decodeAsdu(octets)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, i) => octet === b[i])
}
