import type { GridDone, GridSample, LabEvent, LabNode, Node, NodeEffect, NodeInput } from '../runtime/contract.ts'
import { Actor } from './actor.ts'
import { EventQueue } from './event-queue.ts'
import { FaultInjector, type FaultLaw } from './faults.ts'
import { Impairment, type LinkLaw, lawInState } from './impair.ts'
import type { LinkModelEffect, LinkModelInput } from './link-model-node.ts'
import { randomStream } from './random.ts'
import type { GridEffect, GridInput, KeyServerEffect, KeyServerInput } from './world-peers.ts'

export type WorldLink = {
  readonly link: number
  /** Node ids; the first one is end 0, the controlling station. */
  readonly ends: readonly [string, string]
  readonly law: LinkLaw
}

/**
 * A datagram as it leaves a node. `fromEnd` is 0 or 1, the place of the sender in the link's `ends`. The receiver may
 * change `bytes` later: an observer that keeps them makes a copy.
 */
export type Datagram = {
  readonly link: number
  readonly fromEnd: 0 | 1
  readonly bytes: Uint8Array
}

/** An event as the recorder of a live run would write it. */
export type WorldEvent = LabEvent & { readonly tMs: number; readonly node: string }

export type WorldOptions = {
  /** Seed of the links' and faults' random streams. */
  readonly seed: number
  /** The nodes by id, in the order in which they start. */
  readonly nodes: ReadonlyMap<string, LabNode>
  readonly links: readonly WorldLink[]
  readonly keyServer?: Node<KeyServerInput, KeyServerEffect>
  readonly grid?: Node<GridInput, GridEffect>
  readonly linkModel?: Node<LinkModelInput, LinkModelEffect>
  /** Ids of the nodes that get the state of the key pool. */
  readonly statusTo?: readonly string[]
  /** Wall clock at the start of the run; default 2026-01-01 00:00 UTC. */
  readonly startWallMs?: number
  /** Delay of key, grid and status messages, one way; default 1. */
  readonly managementDelayMs?: number
  readonly faults?: FaultLaw
  /** Takes events instead of `events`. */
  readonly onEvent?: (event: WorldEvent) => void
  /** Sees every datagram as it is sent; may drop it or put other bytes in its place. */
  readonly onDatagram?: (datagram: Datagram, nowMs: number) => 'pass' | 'drop' | Uint8Array
}

/** Datagrams over all links so far; one that a fault duplicates is lost or delivered twice. */
export type WorldCounts = { sent: number; lost: number; delivered: number; injected: number }

type LabActor = Actor<NodeInput, NodeEffect>
type Replies = { readonly atMs: number; readonly all: { readonly actor: LabActor; readonly input: NodeInput }[] }
type Direction = { readonly impairment: Impairment; readonly toId: string; faults: FaultInjector | undefined }
type Wire = {
  readonly ends: readonly [string, string]
  readonly law: LinkLaw
  readonly directions: readonly [Direction, Direction]
}

/** 2026-01-01 00:00 UTC. */
const START_WALL_MS = 1_767_225_600_000
/** Name under which events of the key server and of the QKD links it hosts are recorded. */
const KEY_SERVER = 'keyserver'
const GRID = 'grid'

/**
 * A lab in virtual time: the nodes of a run, unchanged, on simulated links, with a key server, a grid and a model of the
 * QKD links. The same options and seed give the same run, event by event, on every machine.
 */
export class World {
  /** Events so far, in order, unless `onEvent` takes them. */
  readonly events: WorldEvent[] = []
  readonly counts: WorldCounts = { sent: 0, lost: 0, delivered: 0, injected: 0 }
  readonly #options: WorldOptions
  readonly #managementMs: number
  readonly #startWallMs: number
  readonly #queue = new EventQueue<(nowMs: number) => void>()
  readonly #actors = new Map<string, LabActor>()
  readonly #clients: ReadonlyMap<string, number>
  readonly #clientIds: readonly string[]
  readonly #wires = new Map<number, Wire>()
  readonly #keyServer: Actor<KeyServerInput, KeyServerEffect> | undefined
  readonly #grid: Actor<GridInput, GridEffect> | undefined
  readonly #linkModel: Actor<LinkModelInput, LinkModelEffect> | undefined
  #replies: Replies | undefined
  #linkNews: { readonly atMs: number; readonly all: LinkModelEffect[] } | undefined
  #nowMs = 0
  #starts = 0

  /** @throws Error naming a link that is given twice or whose end is no node. */
  constructor(options: WorldOptions) {
    this.#options = options
    this.#managementMs = options.managementDelayMs ?? 1
    this.#startWallMs = options.startWallMs ?? START_WALL_MS
    this.#clientIds = [...options.nodes.keys()]
    this.#clients = new Map(this.#clientIds.map((id, client) => [id, client]))
    for (const link of options.links) this.#addWire(link)

    const { keyServer, grid, linkModel } = options
    this.#keyServer =
      keyServer && this.#open(KEY_SERVER, keyServer, (effect, nowMs) => this.#fromKeyServer(effect, nowMs))
    this.#grid = grid && this.#open(GRID, grid, (effect, nowMs) => this.#fromGrid(effect, nowMs))
    this.#linkModel =
      linkModel && this.#open(KEY_SERVER, linkModel, (effect, nowMs) => this.#fromLinkModel(effect, nowMs))
    for (const infrastructure of [this.#keyServer, this.#grid, this.#linkModel]) {
      infrastructure?.post(0, { kind: 'start', wallMs: this.#startWallMs })
    }
    for (const [id, node] of options.nodes) this.#start(id, node)
  }

  /** Lab time, ms. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Lets time pass until `untilMs`, included. */
  runUntil(untilMs: number): void {
    while (this.#queue.nextMs <= untilMs) {
      this.#nowMs = this.#queue.nextMs
      this.#queue.pop()?.(this.#nowMs)
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  /** Tells every node that no new work comes, and gives them `graceMs` to finish. */
  drain(graceMs: number): void {
    for (const actor of this.#actors.values()) actor.post(this.#nowMs, { kind: 'drain' })
    for (const infrastructure of [this.#grid, this.#linkModel, this.#keyServer]) {
      infrastructure?.post(this.#nowMs, { kind: 'drain' })
    }
    this.runUntil(this.#nowMs + graceMs)
  }

  /** Gives an input to a node now, as from outside the world. */
  input(id: string, input: NodeInput): void {
    this.#actors.get(id)?.post(this.#nowMs, input)
  }

  /** Gives an input to the model of the QKD links now, such as a cut by hand. */
  disturb(input: LinkModelInput): void {
    this.#linkModel?.post(this.#nowMs, input)
  }

  /** Puts a datagram on the link as if `fromEnd` had sent it: an attacker's, or one recorded before. */
  inject({ link, fromEnd, bytes }: Datagram): void {
    this.counts.injected++
    this.#transmit(this.#wire(link).directions[fromEnd], link, { bytes: bytes.slice(), holdMs: 0 })
  }

  /** Changes the law of both directions of a link. */
  setLaw(link: number, law: LinkLaw): void {
    for (const direction of this.#wire(link).directions) direction.impairment.law = law
  }

  /** Faults on all links from now on. */
  setFaults(faults: FaultLaw | undefined): void {
    for (const [link, { directions }] of this.#wires) {
      directions.forEach((direction, end) => {
        direction.faults = faults && new FaultInjector(faults, this.#random(`faults ${link} ${end} ${this.#nowMs}`))
      })
    }
  }

  /** Ends a node as SIGKILL ends a process: what it held and what was on its way to it is lost. */
  crash(id: string): void {
    this.#actors.get(id)?.stop()
    this.#actors.delete(id)
    const tMs = this.#nowMs + this.#managementMs
    this.#keyServer?.post(tMs, { kind: 'gone', client: id })
    this.#grid?.post(tMs, { kind: 'clientGone', client: this.#clients.get(id) ?? -1 })
  }

  /** Starts a new node in the place of one that crashed. */
  restart(id: string, node: LabNode): void {
    if (!this.#clients.has(id) || this.#actors.has(id)) throw new Error(`node ${id} has not crashed`)
    this.#start(id, node)
  }

  #start(id: string, node: LabNode): void {
    const actor = this.#open(id, node, (effect, nowMs) => this.#fromNode(id, effect, nowMs))
    this.#actors.set(id, actor)
    const links = [...this.#wires].filter(([, { ends }]) => ends.includes(id)).map(([link]) => link)
    this.#keyServer?.post(this.#nowMs + this.#managementMs, {
      kind: 'subscribe',
      client: id,
      links,
      instance: `${this.#starts++}`,
    })
    actor.post(this.#nowMs, { kind: 'start', wallMs: this.#startWallMs + this.#nowMs })
  }

  #open<Input, Effect>(
    id: string,
    node: Node<Input, Effect>,
    carryOut: (effect: Effect, nowMs: number) => void,
  ): Actor<Input, Effect> {
    return new Actor({ id, node }, this.#queue, carryOut)
  }

  #fromNode(id: string, effect: NodeEffect, nowMs: number): void {
    const laterMs = nowMs + this.#managementMs
    switch (effect.kind) {
      case 'send':
        this.#send(id, effect.link, effect.bytes)
        break
      case 'fetchKeys': {
        const { kind: _, ...want } = effect
        this.#keyServer?.post(laterMs, { kind: 'want', client: id, ...want })
        break
      }
      case 'books': {
        const { channel, side, usedSlots, discardedSlots = 0 } = effect.books
        this.#record(id, { name: 'books', ...effect.books }, nowMs)
        if (side !== 'sender') break
        this.#keyServer?.post(laterMs, { kind: 'report', client: id, channel, usedSlots, discardedSlots })
        break
      }
      case 'grid': {
        const client = this.#clients.get(id) ?? -1
        this.#grid?.post(laterMs, { kind: 'request', client, request: effect.request })
        break
      }
      case 'event':
        this.#record(id, effect.event, nowMs)
    }
  }

  #fromKeyServer(effect: KeyServerEffect, nowMs: number): void {
    const laterMs = nowMs + this.#managementMs
    switch (effect.kind) {
      case 'blocks': {
        // Each client overwrites what it has used, so each gets its own copy.
        const block = { ...effect.block, bytes: effect.block.bytes.slice() }
        this.#actors.get(effect.client)?.post(laterMs, { kind: 'keyBlock', block })
        break
      }
      case 'status':
        for (const id of this.#options.statusTo ?? []) {
          this.#actors.get(id)?.post(laterMs, { kind: 'pool', status: effect.status })
        }
        break
      case 'refuse':
        this.#record(KEY_SERVER, { name: 'keys.refused', client: effect.client, reason: effect.reason }, nowMs)
        break
      case 'event':
        this.#record(KEY_SERVER, effect.event, nowMs)
    }
  }

  #fromGrid(effect: GridEffect, nowMs: number): void {
    switch (effect.kind) {
      case 'reply':
        this.#reply(effect.client, effect.message, nowMs + this.#managementMs)
        break
      case 'event':
        this.#record(GRID, effect.event, nowMs)
    }
  }

  /** The grid answers many at a time: what arrives at one time is one entry of the queue. */
  #reply(client: number, message: GridSample | GridDone, atMs: number): void {
    const actor = this.#actors.get(this.#clientIds[client] ?? '')
    if (actor === undefined) return
    if (this.#replies?.atMs !== atMs) {
      const replies: Replies = { atMs, all: [] }
      this.#replies = replies
      this.#queue.push(atMs, (nowMs) => {
        if (this.#replies === replies) this.#replies = undefined
        for (const reply of replies.all) reply.actor.feed(reply.input, nowMs)
      })
    }
    this.#replies?.all.push({ actor, input: { kind: 'grid', message } })
  }

  #fromLinkModel(effect: LinkModelEffect, nowMs: number): void {
    switch (effect.kind) {
      case 'generated':
        this.#tellKeyServer(effect, nowMs)
        break
      case 'linkState': {
        const wire = this.#wires.get(effect.state.link)
        if (wire !== undefined) this.setLaw(effect.state.link, lawInState(wire.law, effect.state))
        this.#tellKeyServer(effect, nowMs)
      }
    }
  }

  /** All links step at one time: what they say is one entry of the queue. */
  #tellKeyServer(effect: LinkModelEffect, nowMs: number): void {
    if (this.#linkNews?.atMs !== nowMs) {
      const news = { atMs: nowMs, all: [] as LinkModelEffect[] }
      this.#linkNews = news
      this.#queue.push(nowMs, () => {
        if (this.#linkNews === news) this.#linkNews = undefined
        for (const one of news.all) this.#keyServer?.feed(one, nowMs)
      })
    }
    this.#linkNews?.all.push(effect)
  }

  #send(id: string, link: number, sent: Uint8Array): void {
    const wire = this.#wire(link)
    const fromEnd = id === wire.ends[0] ? 0 : 1
    if (id !== wire.ends[fromEnd]) throw new Error(`node ${id} sends on link ${link}, which is not its own`)
    this.counts.sent++
    // The sender keeps its datagram for retransmission and may overwrite it: what travels is a copy.
    const copy = sent.slice()
    const verdict = this.#options.onDatagram?.({ link, fromEnd, bytes: copy }, this.#nowMs) ?? 'pass'
    if (verdict === 'drop') {
      this.counts.lost++
      return
    }
    const bytes = verdict === 'pass' ? copy : verdict.slice()
    const direction = wire.directions[fromEnd]
    const onWire = direction.faults?.apply(bytes) ?? [{ bytes, holdMs: 0 }]
    if (onWire.length === 0) this.counts.lost++
    for (const one of onWire) this.#transmit(direction, link, one)
  }

  #transmit(
    { impairment, toId }: Direction,
    link: number,
    { bytes, holdMs }: { readonly bytes: Uint8Array; readonly holdMs: number },
  ): void {
    const arrivalsMs = impairment.arrivals(this.#nowMs, bytes.length)
    const receiver = this.#actors.get(toId)
    if (arrivalsMs.length === 0 || receiver === undefined) {
      this.counts.lost++
      return
    }
    this.counts.delivered += arrivalsMs.length
    // The receiver may change what it gets: each copy is its own.
    for (const arrivesMs of arrivalsMs) {
      receiver.post(arrivesMs + holdMs, { kind: 'datagram', link, bytes: bytes.slice() })
    }
  }

  #addWire({ link, ends, law }: WorldLink): void {
    if (this.#wires.has(link)) throw new Error(`link ${link} is given twice`)
    for (const id of ends) if (!this.#clients.has(id)) throw new Error(`link ${link} ends at ${id}, which is no node`)
    const direction = (end: 0 | 1): Direction => {
      const { faults } = this.#options
      return {
        impairment: new Impairment(law, this.#random(`link ${link} ${end}`)),
        toId: ends[end === 0 ? 1 : 0],
        faults: faults && new FaultInjector(faults, this.#random(`faults ${link} ${end}`)),
      }
    }
    this.#wires.set(link, { ends, law, directions: [direction(0), direction(1)] })
  }

  #wire(link: number): Wire {
    const wire = this.#wires.get(link)
    if (wire === undefined) throw new Error(`there is no link ${link}`)
    return wire
  }

  #random(name: string) {
    return randomStream(this.#options.seed, name)
  }

  #record(node: string, event: LabEvent, tMs: number): void {
    const record: WorldEvent = { tMs, node, ...event }
    if (this.#options.onEvent !== undefined) this.#options.onEvent(record)
    else this.events.push(record)
  }
}
