import { type AsduView, isControlDirection, peekAsdu } from '../protocol/index.ts'
import type { LabNode, NodeEffect, NodeInput, Suite, Wake } from '../runtime/contract.ts'
import {
  DEFAULT_PRIORITIES,
  hopEvent,
  LinkPorts,
  type PortEvent,
  type Priorities,
  priorityOf,
} from '../runtime/link-ports.ts'
import type { GatewayConfig } from './config.ts'

/** The common address that means every station (IEC 60870-5-101, 7.2.4). */
const BROADCAST_CA = 65_535
const DEFAULT_HOLD_MS = 10_000
const DEFAULT_DRAIN_MS = 5_000

type Relayed = { readonly view: AsduView; readonly fromLink: number }

/**
 * A trusted relay. Opens each message of one link and seals it again in the same suite for another: control direction by
 * common address along `routes`, monitor direction along `toCentre` (of several centres, to the one whose originator address
 * it carries), always over the first link that is up and never back
 * where it came from. It never changes an octet of an ASDU and answers nothing itself. What finds no link waits `holdMs`.
 *
 * Emits `hop` for commands and their confirmations when they leave, `hop.noRoute` for what found no link and `hop.lost` for what a link gave up.
 */
export class Gateway implements LabNode {
  readonly #config: GatewayConfig
  readonly #holdMs: number
  readonly #priorities: Priorities
  readonly #ports: LinkPorts<Relayed>
  readonly #routes: ReadonlyMap<number, readonly number[]>
  /** The links towards any centre. */
  readonly #upLinks: ReadonlySet<number>

  /** RangeError if a route names a link that the gateway does not have. */
  constructor(config: GatewayConfig) {
    this.#config = config
    this.#holdMs = config.holdMs ?? DEFAULT_HOLD_MS
    this.#priorities = { ...DEFAULT_PRIORITIES, ...config.priorities }
    this.#ports = new LinkPorts(config.links)
    this.#routes = new Map(Object.entries(config.routes).map(([ca, links]) => [Number(ca), links]))
    this.#upLinks = new Set([...config.toCentre, ...Object.values(config.centres ?? {}).flat()])
    const known = new Set(config.links.map(({ link }) => link))
    const unknown = [...this.#upLinks, ...[...this.#routes.values()].flat()].filter((link) => !known.has(link))
    if (unknown.length > 0) throw new RangeError(`gateway ${config.id}: no link ${[...new Set(unknown)].join(', ')}`)
  }

  get wakeAtMs(): number | undefined {
    return this.#ports.wakeAtMs
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    this.#ports.take(input, nowMs)
    if (input.kind === 'drain') {
      // Of two gateways that are each other's second way, the controlled one waits for the other.
      const controlled = this.#config.links.filter(({ link, end }) => end === 1 && this.#upLinks.has(link))
      const after = controlled.map(({ link }) => link)
      this.#ports.drain({ after, patienceMs: this.#config.drainMs ?? DEFAULT_DRAIN_MS }, nowMs)
    }
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) this.#onPort(event, nowMs)
    return this.#ports.finish(nowMs)
  }

  #onPort(event: PortEvent<Relayed>, nowMs: number): void {
    if (event.kind === 'asdu') this.#relay(event.asdu, event.suite, event.link, nowMs)
    else if (event.kind === 'sent') {
      const hop = hopEvent(event.context.view, event.context.fromLink, event)
      if (hop !== undefined) this.#ports.event(hop)
    }
  }

  #relay(asdu: Uint8Array, suite: Suite, fromLink: number, nowMs: number): void {
    const view = peekAsdu(asdu)
    if (view === undefined) return
    const priority = priorityOf(view, this.#priorities)
    // A command may not be given twice behind its sender's back; all else may arrive twice.
    const message = { asdu, suite, priority, expiresAtMs: nowMs + this.#holdMs, resend: !isControlDirection(view) }
    const ways = this.#waysOf(view).map((links) => links.filter((link) => link !== fromLink))
    if (ways.every((links) => links.length === 0)) this.#ports.noteLoss(asdu, 'noRoute')
    for (const links of ways) if (links.length > 0) this.#ports.send(links, message, { view, fromLink }, nowMs)
  }

  /** The lists of links to send over: one, or one for each station when all are meant. */
  #waysOf(view: AsduView): readonly (readonly number[])[] {
    const { toCentre, centres } = this.#config
    if (!isControlDirection(view)) return [centres?.[view.oa] ?? toCentre]
    if (view.ca !== BROADCAST_CA) return [this.#routes.get(view.ca) ?? []]
    // Stations behind one common next hop get one copy: the next relay fans out again.
    const byFirst = new Map<number, readonly number[]>()
    for (const links of this.#routes.values()) {
      const first = links.find((link) => this.#ports.isUp(link)) ?? links[0]
      if (first !== undefined && !byFirst.has(first)) byFirst.set(first, links)
    }
    return [...byFirst.values()]
  }
}
