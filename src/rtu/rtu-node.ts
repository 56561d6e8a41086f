import {
  type Asdu,
  type AsduView,
  asduOf,
  cot,
  decodeAsdu,
  encodeAsdu,
  peekAsdu,
  typeIdOf,
  WireError,
} from '../protocol/index.ts'
import type { Node, NodeEffect, NodeInput, Suite, Wake } from '../runtime/contract.ts'
import {
  DEFAULT_PRIORITIES,
  hopEvent,
  LinkPorts,
  type PortEvent,
  type Priorities,
  priorityOf,
} from '../runtime/link-ports.ts'
import { CENTRE, CentreFront, type PortContext } from './centre-front.ts'
import type { RtuConfig, RtuPoint } from './config.ts'
import { Forwards } from './forwards.ts'
import { reportedValues } from './report-values.ts'
import type { Devices } from './station/commands.ts'
import { checkStation } from './station/config-check.ts'
import type { StreamEffect, StreamInput } from './station/contract.ts'
import { StationCore } from './station/core.ts'
import { confirmationOf, type Order } from './station/desk.ts'
import type { StationStatus } from './station/status.ts'
import { StreamFront } from './station/stream-front.ts'

const QOI_STATION = 20
/** Place of the test sequence counter's low octet: after ASDU header and object address (IEC 60870-5-101, 7.3.4.8). */
const TSC_AT = 9
const M_EI_NA_1 = typeIdOf('M_EI_NA_1')
const C_IC_NA_1 = typeIdOf('C_IC_NA_1')
const C_TS_TA_1 = typeIdOf('C_TS_TA_1')
/** Types in monitor direction with CP56Time2a, for which the standard knows no cyclic transmission. */
const TAGGED = { first: typeIdOf('M_SP_TB_1'), last: typeIdOf('M_EP_TF_1') }
const CAUSE = 0x3f
const DEFAULT_HOLD_MS = 10_000
const DEFAULT_DRAIN_MS = 5_000

/** An ASDU as it came in from an IED. */
type Report = { readonly octets: Uint8Array; readonly view: AsduView; readonly suite: Suite; readonly link: number }

/**
 * A remote terminal unit with its 104/TCP face: controlled station towards the centre (over secure links) and towards the
 * controlling stations on TCP, controlling station of its IEDs.
 *
 * One station serves them all: point database, events, interrogation, counters, selection, clock, parameters, files.
 * Commands are handed to the IED that owns the address, its answers back to who gave the command. What an IED reports goes
 * up at once with its octets, or waits for a link if it is an event. It goes in the suite that the
 * centre's last test command with time tag (C_TS_TA_1) asks for by its counter (odd: one-time pad), or else in the IED's.
 */
export class RtuNode implements Node<NodeInput | StreamInput, NodeEffect | StreamEffect> {
  readonly #config: RtuConfig
  readonly #holdMs: number
  readonly #priorities: Priorities
  readonly #ports: LinkPorts<PortContext>
  readonly #upLinks: ReadonlySet<number>
  readonly #core: StationCore
  readonly #centre: CentreFront
  readonly #streams: StreamFront
  readonly #forwards = new Forwards()
  readonly #points: ReadonlyMap<number, RtuPoint>
  /** The IED's link by address. */
  readonly #owners = new Map<number, number>()
  /** Whether the IED on a link could be reached when it was last looked at. */
  readonly #reach = new Map<number, boolean>()
  /** What the counter of the centre's last test command says; absent: reports keep the suite in which they came. */
  #reportSuite: Suite | undefined
  #streamEffects: StreamEffect[] = []
  #isDraining = false

  /** RangeError if two IEDs own the same address, and for whatever a station refuses. */
  constructor(config: RtuConfig) {
    const { id, ca, upLinks, ieds, station, tcp } = config
    this.#config = config
    this.#holdMs = config.holdMs ?? DEFAULT_HOLD_MS
    this.#priorities = { ...DEFAULT_PRIORITIES, ...config.priorities }
    this.#ports = new LinkPorts([...upLinks, ...ieds.map(({ link }) => link)])
    const upNumbers = upLinks.map(({ link }) => link)
    this.#upLinks = new Set(upNumbers)
    this.#points = knownPoints(config)
    for (const { link, ioas } of ieds) {
      for (const ioa of ioas) {
        if (this.#owners.has(ioa)) throw new RangeError(`RTU ${id}: two IEDs own IOA ${ioa}`)
        this.#owners.set(ioa, link.link)
      }
    }
    // Without TCP there is no queue of events for it.
    const redundancy = tcp === undefined ? ({ kind: 'several', groups: [] } as const) : tcp.redundancy
    this.#core = new StationCore(
      { ...station, points: [], cas: [ca], ...(redundancy && { redundancy }) },
      this.#devices(),
    )
    this.#centre = new CentreFront({
      core: this.#core,
      ports: this.#ports,
      upLinks: upNumbers,
      centres: config.centres,
      holdMs: this.#holdMs,
      priorities: this.#priorities,
    })
    this.#streams = new StreamFront(this.#core, tcp ?? {}, (effect) => void this.#streamEffects.push(effect))
  }

  get wakeAtMs(): number | undefined {
    const portsMs = this.#ports.wakeAtMs ?? Number.POSITIVE_INFINITY
    const atMs = Math.min(portsMs, this.#centre.wakeAtMs, this.#core.wakeAtMs, this.#streams.wakeAtMs)
    return Number.isFinite(atMs) ? atMs : undefined
  }

  /** Connections over TCP, queues of events and counts. */
  stationStatus(): StationStatus {
    return { connections: this.#streams.status(), ...this.#core.status() }
  }

  handle(input: NodeInput | StreamInput | Wake, nowMs: number): readonly (NodeEffect | StreamEffect)[] {
    if (input.kind === 'connected' || input.kind === 'octets' || input.kind === 'disconnected') {
      this.#streams.take(input, nowMs)
    } else {
      this.#ports.take(input, nowMs)
      if (input.kind === 'start') this.#core.begin(input.wallMs, nowMs)
      else if (input.kind === 'drain') this.#drain(nowMs)
      else if (input.kind === 'wake') {
        this.#streams.wake(nowMs)
        this.#core.wake(nowMs)
      }
    }
    this.#settle(nowMs)
    this.#streams.pump(nowMs)
    for (const effect of this.#core.takeEffects()) if (effect.kind === 'event') this.#ports.event(effect.event)
    const effects = this.#ports.finish(nowMs)
    if (this.#streamEffects.length === 0) return effects
    const streamEffects = this.#streamEffects
    this.#streamEffects = []
    return [...effects, ...streamEffects]
  }

  /** What one message has led to may make room for the next. */
  #settle(nowMs: number): void {
    let isGoingOn = true
    while (isGoingOn) {
      for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) this.#onPort(event, nowMs)
      this.#watchReach()
      isGoingOn = this.#centre.pump(nowMs)
    }
  }

  #drain(nowMs: number): void {
    this.#ports.drain({ after: [...this.#upLinks], patienceMs: this.#config.drainMs ?? DEFAULT_DRAIN_MS }, nowMs)
    if (this.#isDraining) return
    this.#isDraining = true
    const { groups, scansSkipped, abandonedEvents } = this.#core.status()
    const sum = (of: (group: StationStatus['groups'][number]) => number): number =>
      groups.reduce((total, group) => total + of(group), 0)
    const waitingEvents = sum((group) => group.waitingEvents)
    const droppedEvents = sum((group) => group.droppedEvents) + abandonedEvents
    this.#ports.event({ name: 'station', waitingEvents, droppedEvents, scansSkipped })
  }

  /** Values of an IED that cannot be reached are not topical. */
  #watchReach(): void {
    for (const { link, ioas } of this.#config.ieds) {
      const isUp = this.#ports.isUp(link.link)
      if (this.#reach.get(link.link) === isUp) continue
      this.#reach.set(link.link, isUp)
      for (const ioa of ioas) this.#core.setTopical(this.#config.ca, ioa, isUp)
    }
  }

  #onPort(event: PortEvent<PortContext>, nowMs: number): void {
    if (event.kind === 'asdu' && this.#upLinks.has(event.link)) {
      if (event.asdu[0] === C_TS_TA_1) this.#reportSuite = ((event.asdu[TSC_AT] ?? 0) & 1) === 1 ? 'otp' : 'aes'
      this.#centre.receive(event, nowMs)
    } else if (event.kind === 'asdu') this.#onReport(event, nowMs)
    else if (event.kind === 'up' && !this.#upLinks.has(event.link)) this.#interrogate(event.link, nowMs)
    else if (event.kind === 'sent') this.#onSent(event)
    else if (event.kind === 'lost') this.#onLost(event.context, event.wasSent, nowMs)
  }

  #onSent(event: Extract<PortEvent<PortContext>, { kind: 'sent' }>): void {
    const { context } = event
    this.#centre.onSent(context)
    const isCommand = context?.kind === 'command'
    const fromLink = isCommand ? context.order.way?.link : context?.kind === 'answer' ? context.fromLink : undefined
    const view = isCommand ? context.order.view : context?.kind === 'answer' ? context.view : undefined
    const hop = view && fromLink !== undefined ? hopEvent(view, fromLink, event) : undefined
    if (hop !== undefined) this.#ports.event(hop)
  }

  #onLost(context: PortContext, wasSent: boolean, nowMs: number): void {
    this.#centre.onLost(context, wasSent, nowMs)
    if (context?.kind !== 'command' || wasSent) return
    // A command that never left this node has certainly not been carried out, and its sender should know at once.
    this.#forwards.remove(context.order)
    this.#core.answer(context.order, confirmationOf(context.order.view), true)
  }

  /** Asks an IED for its values. */
  #interrogate(link: number, nowMs: number): void {
    const objects = [{ ioa: 0, value: { qoi: QOI_STATION } }]
    const asdu = encodeAsdu(asduOf('C_IC_NA_1', { cot: cot.activation, ca: this.#config.ca, objects }))
    this.#sendDown(link, { asdu, suite: 'aes' }, undefined, nowMs)
  }

  #devices(): Devices {
    const { ca } = this.#config
    const linkOf = (ioa: number): number | undefined => this.#owners.get(ioa)
    return {
      owns: (orderCa, ioa) => orderCa === ca && linkOf(ioa) !== undefined,
      isReachable: (_ca, ioa) => this.#ports.isUp(linkOf(ioa) ?? Number.NaN),
      forward: (order) => this.#forward(order),
    }
  }

  #forward(order: Order): void {
    const { view, octets, way, nowMs, connection } = order
    const link = this.#owners.get(view.ioa)
    if (link === undefined) return
    this.#forwards.add(order)
    const suite = way?.suite ?? this.#config.tcp?.commandSuite ?? 'aes'
    if (connection !== CENTRE) {
      const { ca, ioa, typeId } = view
      this.#ports.event({ name: 'command.forwarded', connection, ca, ioa, typeId, toLink: link, suite })
    }
    this.#sendDown(link, { asdu: octets, suite }, { kind: 'command', order }, nowMs)
  }

  #sendDown(
    link: number,
    { asdu, suite }: { readonly asdu: Uint8Array; readonly suite: Suite },
    context: PortContext,
    nowMs: number,
  ): void {
    const view = peekAsdu(asdu)
    if (view === undefined) return
    const priority = priorityOf(view, this.#priorities)
    this.#ports.send([link], { asdu, suite, priority, expiresAtMs: nowMs + this.#holdMs }, context, nowMs)
  }

  /** From an IED, which speaks for its own addresses only. */
  #onReport({ link, asdu: octets, suite }: Extract<PortEvent<PortContext>, { kind: 'asdu' }>, nowMs: number): void {
    const view = peekAsdu(octets)
    // The RTU interrogates for its own database; nothing of that goes up.
    if (view?.ca !== this.#config.ca || view.typeId === M_EI_NA_1 || view.typeId === C_IC_NA_1) return
    const asdu = decode(octets)
    if (asdu === undefined) return
    if (asdu.objects.some(({ ioa }) => this.#owners.get(ioa) !== link)) {
      this.#ports.event({ name: 'rtu.foreignPoint', link, ioa: view.ioa, typeId: view.typeId })
      return
    }
    const report = { octets, view, suite, link }
    if (isProcessCommand(view.typeId)) this.#onAnswer(report, nowMs)
    else {
      this.#learn(asdu, nowMs)
      if (view.cot !== cot.interrogatedByStation) this.#passUp(report, nowMs)
    }
  }

  /** An answer to a command. */
  #onAnswer(report: Report, nowMs: number): void {
    const { octets, view, suite, link: fromLink } = report
    const orders = this.#forwards.takers(octets, view)
    const context: PortContext = { kind: 'answer', view, fromLink }
    if (orders.length === 0) this.#centre.relay(octets, { suite }, context, nowMs)
    for (const order of orders) {
      if (order.connection === CENTRE) this.#centre.relay(octets, { suite, link: order.way?.link }, context, nowMs)
      else this.#core.reply(order, octets)
    }
  }

  #learn(asdu: Asdu, nowMs: number): void {
    const { ca } = this.#config
    for (const { ioa, kind, change } of reportedValues(asdu)) {
      this.#core.update({ ...this.#points.get(ioa), ca, ioa, kind }, change, nowMs)
    }
  }

  /** Cyclic values are for now; all else waits until it can be sent. */
  #passUp({ octets, view, suite: ownSuite }: Report, nowMs: number): void {
    const suite = this.#reportSuite ?? ownSuite
    const packable = view.objectCount === 1
    if (view.cot !== cot.periodic && view.cot !== cot.backgroundScan) {
      this.#core.report({ octets, packable, way: { suite } })
      return
    }
    this.#centre.relay(octets, { suite }, undefined, nowMs)
    if (this.#config.tcp === undefined) return
    const isListening = (group: { readonly active: number | undefined }): boolean =>
      group.active !== undefined && group.active !== CENTRE
    this.#core.report({ octets: asEvent(octets, view), packable }, isListening)
  }
}

/** RangeError for a group, a period or an address that is none. */
function knownPoints({ id, ca, points = [] }: RtuConfig): ReadonlyMap<number, RtuPoint> {
  // The kind is not known yet: that of most, which may have all there is.
  const [problem] = checkStation({ points: points.map((point) => ({ ...point, ca, kind: 'float' })) })
  if (problem !== undefined) throw new RangeError(`RTU ${id}: points[${problem.index}]: ${problem.message}`)
  return new Map(points.map((point) => [point.ioa, point]))
}

/** A value with time tag, as the standard lets it be sent. */
function asEvent(octets: Uint8Array, { typeId }: AsduView): Uint8Array {
  if (typeId < TAGGED.first || typeId > TAGGED.last) return octets
  const event = octets.slice()
  event[2] = ((octets[2] ?? 0) & ~CAUSE) | cot.spontaneous
  return event
}

function isProcessCommand(typeId: number): boolean {
  return (typeId >= 45 && typeId <= 51) || (typeId >= 58 && typeId <= 64)
}

function decode(octets: Uint8Array): Asdu | undefined {
  try {
    return decodeAsdu(octets)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}
