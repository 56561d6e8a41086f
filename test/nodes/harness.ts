/** A small virtual-time world for node tests: datagrams with a delay, key streams in memory, a grid that obeys. */
import { cryptoReady, LINK_DEFAULTS, type SecureLinkOptions } from '../../src/protocol/index.ts'
import type {
  GridRequest,
  GridSample,
  LabEvent,
  LabNode,
  NodeEffect,
  NodeInput,
  StreamBooks,
  Suite,
  Wake,
} from '../../src/runtime/contract.ts'
import { LinkPorts, type Outgoing, type PortEvent } from '../../src/runtime/link-ports.ts'

await cryptoReady

/** Wall clock at lab time 0: 2026-01-01T00:00Z. */
export const WALL_MS = 1_767_225_600_000

export const linkOptions = (link: number, end: 0 | 1): SecureLinkOptions => ({
  ...LINK_DEFAULTS,
  link,
  end,
  epoch: 1000 + end,
})

export type Seen = LabEvent & { readonly tMs: number; readonly node: string }
type Due = { readonly atMs: number; readonly order: number; readonly act: () => void }
type Cable = { readonly ends: readonly [string, string]; readonly delayMs: number; isCut: boolean }

/** What all nodes share in a test. */
export class World {
  nowMs = 0
  readonly events: Seen[] = []
  readonly gridRequests: { readonly node: string; readonly request: GridRequest; readonly atMs: number }[] = []
  /** Latest books by `channel side`, as the nodes reported them. */
  readonly books = new Map<string, StreamBooks>()
  /** Channels that get no key for the time being. */
  readonly dryChannels = new Set<number>()
  /** Refuses grid requests. */
  gridRefuses = false
  readonly #nodes = new Map<string, LabNode>()
  readonly #cables = new Map<number, Cable>()
  readonly #streams = new Map<number, number>()
  #wanted = new Map<number, number>()
  #due: Due[] = []
  #order = 0

  add(id: string, node: LabNode): this {
    this.#nodes.set(id, node)
    return this
  }

  /** Joins two nodes; the first is end 0, the controlling station. */
  connect(link: number, ends: readonly [string, string], delayMs = 2): this {
    this.#cables.set(link, { ends, delayMs, isCut: false })
    return this
  }

  start(): this {
    for (const id of this.#nodes.keys()) this.input(id, { kind: 'start', wallMs: WALL_MS + this.nowMs })
    return this
  }

  input(id: string, input: NodeInput | Wake): void {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new Error(`no node ${id}`)
    for (const effect of node.handle(input, this.nowMs)) this.#carryOut(id, node, effect)
  }

  inputAll(input: NodeInput): void {
    for (const id of this.#nodes.keys()) this.input(id, input)
  }

  sample(id: string, sample: Omit<GridSample, 'kind' | 'tMs'>): void {
    this.input(id, { kind: 'grid', message: { kind: 'sample', tMs: this.nowMs, ...sample } })
  }

  cut(link: number, isCut: boolean): void {
    const cable = this.#cables.get(link)
    if (cable !== undefined) cable.isCut = isCut
  }

  /** Lets a dry channel have key again. */
  water(channel: number): void {
    this.dryChannels.delete(channel)
    this.#fetch(channel, this.#wanted.get(channel) ?? 0)
  }

  at(atMs: number, act: () => void): void {
    this.#due.push({ atMs: Math.max(atMs, this.nowMs), order: this.#order++, act })
  }

  /** Runs on until this time. */
  runTo(endMs: number): this {
    for (let steps = 0; steps < 1_000_000; steps++) {
      this.#due.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const due = this.#due[0]
      const wakes = [...this.#nodes].map(([id, node]) => ({ id, atMs: node.wakeAtMs ?? Number.POSITIVE_INFINITY }))
      const wake = wakes.reduce((first, next) => (next.atMs < first.atMs ? next : first))
      if (Math.min(due?.atMs ?? Number.POSITIVE_INFINITY, wake.atMs) > endMs) break
      if (due !== undefined && due.atMs <= wake.atMs) {
        this.#due.shift()
        this.nowMs = Math.max(this.nowMs, due.atMs)
        due.act()
      } else {
        this.nowMs = Math.max(this.nowMs, wake.atMs)
        this.input(wake.id, { kind: 'wake' })
        // A node that asks for the time it was just given would never let the world go on.
        const again = this.#nodes.get(wake.id)?.wakeAtMs
        if (again !== undefined && again <= this.nowMs) this.#spins += 1
        if (this.#spins > 1000) throw new Error(`${wake.id} spins at ${this.nowMs}`)
      }
    }
    this.nowMs = endMs
    return this
  }

  named(name: string, node?: string): readonly Seen[] {
    return this.events.filter((event) => event.name === name && (node === undefined || event.node === node))
  }

  /** Channels whose two ends do not agree about what is used. */
  unequalBooks(): readonly number[] {
    const channels = [...new Set([...this.books.values()].map(({ channel }) => channel))]
    return channels.filter((channel) => {
      const sender = this.books.get(`${channel} sender`)
      return sender === undefined || sender.usedSlots !== this.books.get(`${channel} receiver`)?.usedSlots
    })
  }

  #spins = 0

  #carryOut(id: string, node: LabNode, effect: NodeEffect): void {
    switch (effect.kind) {
      case 'event':
        this.events.push({ ...effect.event, tMs: this.nowMs, node: id })
        return
      case 'books':
        this.books.set(`${effect.books.channel} ${effect.books.side}`, effect.books)
        return
      case 'fetchKeys':
        this.#wanted.set(effect.channel, effect.upToSlot)
        if (!this.dryChannels.has(effect.channel)) this.#fetch(effect.channel, effect.upToSlot)
        return
      case 'send': {
        const cable = this.#cables.get(effect.link)
        if (cable === undefined || cable.isCut) return
        const to = cable.ends[0] === id ? cable.ends[1] : cable.ends[0]
        const bytes = effect.bytes.slice()
        this.at(this.nowMs + cable.delayMs, () => this.input(to, { kind: 'datagram', link: effect.link, bytes }))
        return
      }
      case 'grid':
        this.#onGrid(id, node, effect.request)
    }
  }

  #onGrid(node: string, _: LabNode, request: GridRequest): void {
    this.gridRequests.push({ node, request, atMs: this.nowMs })
    if (request.kind === 'subscribe') return
    const afterMs = request.kind === 'shed' ? request.breakerDelayMs : 5
    const ok = !this.gridRefuses
    this.at(this.nowMs + afterMs, () => {
      this.input(node, { kind: 'grid', message: { kind: 'done', id: request.id, ok, tMs: this.nowMs } })
    })
  }

  /** The key server: the same octets to both ends, a millisecond later. */
  #fetch(channel: number, upToSlot: number): void {
    const slot = this.#streams.get(channel) ?? 0
    if (upToSlot <= slot) return
    this.#streams.set(channel, upToSlot)
    const bytes = new Uint8Array((upToSlot - slot) * 4)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (channel * 7919 + (slot * 4 + i) * 104_729) >>> 3
    const ends = this.#cables.get(Math.floor(channel / 2))?.ends ?? []
    for (const id of ends) {
      this.at(this.nowMs + 1, () =>
        this.input(id, { kind: 'keyBlock', block: { channel, slot, bytes: bytes.slice() } }),
      )
    }
  }
}

/** A bare station for one side of a node under test: sends what it is told and notes what comes. */
export class Peer implements LabNode {
  readonly received: {
    readonly link: number
    readonly asdu: Uint8Array
    readonly suite: Suite
    readonly atMs: number
  }[] = []
  readonly #ports: LinkPorts<undefined>
  readonly #links: readonly number[]

  constructor(links: readonly SecureLinkOptions[]) {
    this.#ports = new LinkPorts(links)
    this.#links = links.map(({ link }) => link)
  }

  get wakeAtMs(): number | undefined {
    return this.#ports.wakeAtMs
  }

  isUp(link: number): boolean {
    return this.#ports.isUp(link)
  }

  /** Queues an ASDU; goes out with the next input, so follow it by a wake. */
  send(link: number, asdu: Uint8Array, nowMs: number, more: Partial<Outgoing> = {}): void {
    const message = { asdu, suite: 'otp', priority: 1, expiresAtMs: nowMs + 10_000, ...more } as const
    this.#ports.send([link], message, undefined, nowMs)
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    this.#ports.take(input, nowMs)
    if (input.kind === 'drain') this.#ports.drain({ after: this.#links.slice(0, 0), patienceMs: 1000 }, nowMs)
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) this.#note(event, nowMs)
    return this.#ports.finish(nowMs)
  }

  #note(event: PortEvent<undefined>, atMs: number): void {
    if (event.kind !== 'asdu') return
    const { link, asdu, suite } = event
    this.received.push({ link, asdu: asdu.slice(), suite, atMs })
  }
}

/** Has a peer send an ASDU now. */
export function tell(
  world: World,
  id: string,
  peer: Peer,
  what: { readonly link: number; readonly asdu: Uint8Array; readonly suite?: Suite },
): void {
  peer.send(what.link, what.asdu, world.nowMs, { suite: what.suite ?? 'otp' })
  world.input(id, { kind: 'wake' })
}
