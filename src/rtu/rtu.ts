import {
  type Asdu,
  type AsduView,
  asduOf,
  cot,
  decodeAsdu,
  encodeAsdu,
  isControlDirection,
  peekAsdu,
  replyTo,
  typeIdOf,
  WireError,
} from '../protocol/index.ts'
import type { LabNode, NodeEffect, NodeInput, Suite, Wake } from '../runtime/contract.ts'
import {
  DEFAULT_PRIORITIES,
  hopEvent,
  LinkPorts,
  type PortEvent,
  type Priorities,
  priorityOf,
} from '../runtime/link-ports.ts'
import type { RtuConfig } from './config.ts'
import { Points } from './points.ts'

const BROADCAST_CA = 65_535
const QOI_STATION = 20
const M_EI_NA_1 = typeIdOf('M_EI_NA_1')
const C_IC_NA_1 = typeIdOf('C_IC_NA_1')
const C_RD_NA_1 = typeIdOf('C_RD_NA_1')
const C_CS_NA_1 = typeIdOf('C_CS_NA_1')
const SYSTEM_TYPES: ReadonlySet<number> = new Set([C_IC_NA_1, C_RD_NA_1, C_CS_NA_1])
const DEFAULT_HOLD_MS = 10_000
const DEFAULT_DRAIN_MS = 5_000

type Reply = { readonly cot: number; readonly negative: boolean }
const NO = (cause: number): Reply => ({ cot: cause, negative: true })

/** An ASDU as it came in. */
type Received = { readonly octets: Uint8Array; readonly view: AsduView; readonly suite: Suite; readonly link: number }

/**
 * A remote terminal unit: controlled station towards the centre, controlling station of its IEDs. Answers interrogation,
 * reading and clock synchronisation itself; hands commands to the IED that owns the address and its answers back to the link
 * the command came from; passes events up at once. What it passes on keeps its octets and its suite.
 */
export class Rtu implements LabNode {
  readonly #config: RtuConfig
  readonly #holdMs: number
  readonly #priorities: Priorities
  readonly #ports: LinkPorts<Received | undefined>
  readonly #points = new Points()
  readonly #upLinks: readonly number[]
  /** The IED's link by address. */
  readonly #owners = new Map<number, number>()
  /** Where the last command to an address came from. */
  readonly #askers = new Map<number, number>()
  /** The station's clock at lab time 0, wall-clock ms. */
  #wallAtZeroMs = 0
  #hasAnnounced = false

  /** RangeError if two IEDs own the same address. */
  constructor(config: RtuConfig) {
    this.#config = config
    this.#holdMs = config.holdMs ?? DEFAULT_HOLD_MS
    this.#priorities = { ...DEFAULT_PRIORITIES, ...config.priorities }
    this.#ports = new LinkPorts([...config.upLinks, ...config.ieds.map(({ link }) => link)])
    this.#upLinks = config.upLinks.map(({ link }) => link)
    for (const { link, ioas } of config.ieds) {
      for (const ioa of ioas) {
        if (this.#owners.has(ioa)) throw new RangeError(`RTU ${config.id}: two IEDs own IOA ${ioa}`)
        this.#owners.set(ioa, link.link)
      }
    }
  }

  get wakeAtMs(): number | undefined {
    return this.#ports.wakeAtMs
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    this.#ports.take(input, nowMs)
    if (input.kind === 'start') this.#wallAtZeroMs = input.wallMs - nowMs
    else if (input.kind === 'drain') {
      this.#ports.drain({ after: this.#upLinks, patienceMs: this.#config.drainMs ?? DEFAULT_DRAIN_MS }, nowMs)
    }
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) this.#onPort(event, nowMs)
    return this.#ports.finish(nowMs)
  }

  #onPort(event: PortEvent<Received | undefined>, nowMs: number): void {
    if (event.kind === 'asdu') this.#onAsdu(event, nowMs)
    else if (event.kind === 'up') this.#onUp(event.link, nowMs)
    else if (event.kind === 'sent' && event.context !== undefined) {
      const hop = hopEvent(event.context.view, event.context.link, event)
      if (hop !== undefined) this.#ports.event(hop)
    } else if (event.kind === 'lost' && event.context !== undefined && !event.wasSent) {
      // A command that never left this node has certainly not been carried out, and its sender should know at once.
      if (isControlDirection(event.context.view)) this.#answer(event.context, NO(cot.activationCon), nowMs)
    }
  }

  #onUp(link: number, nowMs: number): void {
    const { ca } = this.#config
    if (!this.#upLinks.includes(link)) {
      const objects = [{ ioa: 0, value: { qoi: QOI_STATION } }]
      const octets = encodeAsdu(asduOf('C_IC_NA_1', { cot: cot.activation, ca, objects }))
      this.#send([link], { octets, suite: 'aes' }, nowMs)
    } else if (!this.#hasAnnounced) {
      this.#hasAnnounced = true
      const objects = [{ ioa: 0, value: { coi: { cause: 0, changed: false } } }]
      const octets = encodeAsdu(asduOf('M_EI_NA_1', { cot: cot.initialized, ca, objects }))
      this.#send([link], { octets, suite: 'aes' }, nowMs)
    }
  }

  #onAsdu(event: { readonly link: number; readonly asdu: Uint8Array; readonly suite: Suite }, nowMs: number): void {
    const view = peekAsdu(event.asdu)
    if (view === undefined) return
    const received = { octets: event.asdu, view, suite: event.suite, link: event.link }
    if (this.#upLinks.includes(event.link)) this.#onOrder(received, nowMs)
    else this.#onReport(received, nowMs)
  }

  /** From the centre. */
  #onOrder(received: Received, nowMs: number): void {
    const { view, octets } = received
    const fault = this.#faultOf(view)
    if (fault !== undefined) this.#answer(received, NO(fault), nowMs)
    else if (isProcessCommand(view.typeId)) this.#command(received, nowMs)
    else {
      const asdu = decode(octets)
      if (asdu?.type === 'C_IC_NA_1') this.#interrogate(received, asdu.objects[0]?.value.qoi, nowMs)
      else if (asdu?.type === 'C_RD_NA_1') this.#report(received, cot.request, nowMs, view.ioa)
      else if (asdu?.type === 'C_CS_NA_1') this.#setClock(received, asdu.objects[0]?.value.time, nowMs)
    }
  }

  /** The cause to answer with when this cannot be served (IEC 60870-5-101, 7.2.3). */
  #faultOf({ typeId, ca, cot: cause, ioa }: AsduView): number | undefined {
    const isCommand = isProcessCommand(typeId)
    if (!isCommand && !SYSTEM_TYPES.has(typeId)) return cot.unknownTypeId
    const isForAll = ca === BROADCAST_CA && (typeId === C_IC_NA_1 || typeId === C_CS_NA_1)
    if (ca !== this.#config.ca && !isForAll) return cot.unknownCa
    const isDeactivation = isCommand && cause === cot.deactivation
    if (cause !== (typeId === C_RD_NA_1 ? cot.request : cot.activation) && !isDeactivation) return cot.unknownCot
    if (isCommand && !this.#owners.has(ioa)) return cot.unknownIoa
    return typeId === C_RD_NA_1 && !this.#points.has(ioa) ? cot.unknownIoa : undefined
  }

  #command(received: Received, nowMs: number): void {
    const { ioa } = received.view
    const link = this.#owners.get(ioa)
    if (link === undefined || !this.#ports.isUp(link)) this.#answer(received, NO(cot.activationCon), nowMs)
    else {
      this.#askers.set(ioa, received.link)
      this.#send([link], received, nowMs)
    }
  }

  #interrogate(received: Received, qoi: number | undefined, nowMs: number): void {
    const isFit = qoi === QOI_STATION
    this.#answer(received, { cot: cot.activationCon, negative: !isFit }, nowMs)
    if (!isFit) return
    this.#report(received, cot.interrogatedByStation, nowMs)
    this.#answer(received, { cot: cot.activationTermination, negative: false }, nowMs)
  }

  /** The values asked for: of one address, or of all. */
  #report({ link, suite }: Received, cause: number, nowMs: number, ioa?: number): void {
    const header = { cot: cause, ca: this.#config.ca }
    for (const octets of this.#points.report(header, (ied) => this.#ports.isUp(ied), ioa)) {
      this.#send(this.#backTo(link), { octets, suite }, nowMs)
    }
  }

  #setClock(
    received: Received,
    time: { readonly wallMs: number; readonly invalid: boolean } | undefined,
    nowMs: number,
  ): void {
    const isFit = time !== undefined && !time.invalid
    if (isFit) {
      const offsetMs = time.wallMs - (this.#wallAtZeroMs + nowMs)
      this.#wallAtZeroMs += offsetMs
      this.#ports.event({ name: 'clock.set', ca: this.#config.ca, offsetMs })
    }
    this.#answer(received, { cot: cot.activationCon, negative: !isFit }, nowMs)
  }

  /** From an IED, which speaks for its own addresses only. */
  #onReport(received: Received, nowMs: number): void {
    const { view, link, octets } = received
    // The RTU interrogates for its own database; nothing of that goes up.
    if (view.ca !== this.#config.ca || view.typeId === M_EI_NA_1 || view.typeId === C_IC_NA_1) return
    const asdu = decode(octets)
    if (asdu === undefined) return
    if (asdu.objects.some(({ ioa }) => this.#owners.get(ioa) !== link)) {
      this.#ports.event({ name: 'rtu.foreignPoint', link, ioa: view.ioa, typeId: view.typeId })
      return
    }
    this.#points.take(asdu, link)
    if (view.cot === cot.interrogatedByStation) return
    const asker = isProcessCommand(view.typeId) ? this.#askers.get(view.ioa) : undefined
    this.#send(asker === undefined ? this.#upLinks : this.#backTo(asker), received, nowMs)
  }

  /** The station's own answer, to the link and in the suite of the question. */
  #answer({ octets, suite, link, view }: Received, reply: Reply, nowMs: number): void {
    const answer = replyTo(octets, reply)
    if (view.ca === BROADCAST_CA) {
      // The answer to a question to all stations names the one that answers.
      answer[4] = this.#config.ca & 0xff
      answer[5] = this.#config.ca >> 8
    }
    this.#send(this.#backTo(link), { octets: answer, suite }, nowMs)
  }

  #backTo(link: number): readonly number[] {
    return [link, ...this.#upLinks.filter((other) => other !== link)]
  }

  /** Sends what came in, or something of our own (without `view`). */
  #send(
    links: readonly number[],
    what: Received | { readonly octets: Uint8Array; readonly suite: Suite },
    nowMs: number,
  ): void {
    const relayed = 'view' in what ? what : undefined
    const view = relayed?.view ?? peekAsdu(what.octets)
    if (view === undefined) return
    const { octets: asdu, suite } = what
    const message = {
      asdu,
      suite,
      priority: priorityOf(view, this.#priorities),
      expiresAtMs: nowMs + this.#holdMs,
      resend: !isControlDirection(view),
    }
    this.#ports.send(links, message, relayed, nowMs)
  }
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
