import { type ApciOptions, type Asdu, cot, decodeAsdu, peekAsdu, replyTo, WireError } from '../../protocol/index.ts'
import type { LabEvent, Node, Wake } from '../../runtime/contract.ts'
import { Commands } from './commands.ts'
import { checkStation } from './config-check.ts'
import { type ConnectionEvent, StationConnection } from './connection.ts'
import type { StationConfig, StationEffect, StationInput } from './contract.ts'
import { confirmationOf, type Desk, type Order } from './desk.ts'
import { Files } from './files.ts'
import { Groups } from './groups.ts'
import { Interrogation, pageJob } from './interrogation.ts'
import { BROADCAST_CA, faultOf, isRefusal, isServedType } from './orders.ts'
import { Parameters } from './parameters.ts'
import { PointDatabase } from './point-database.ts'
import { Process } from './process.ts'
import { Scans } from './scans.ts'
import { Services } from './services.ts'
import { StationClock } from './station-clock.ts'
import type { StationStatus } from './status.ts'

const APCI: ApciOptions = { role: 'controlled', k: 12, w: 8, t1Ms: 15_000, t2Ms: 10_000, t3Ms: 20_000 }
const DEFAULT_MAX_CONNECTIONS = 32
const DEFAULT_MAX_EVENTS = 10_000

/**
 * A controlled station of IEC 60870-5-104 for any number of controlling stations over byte streams (TCP, TLS): point
 * database, events, interrogation, counters, commands, clock, parameters, files, redundancy groups. Pure; whatever octets
 * a peer sends, they give effects or a close.
 */
export class ControlledStation implements Node<StationInput, StationEffect> {
  readonly #apci: ApciOptions
  readonly #maxConnections: number
  readonly #announceStart: boolean
  readonly #cas: ReadonlySet<number>
  readonly #clock: StationClock
  readonly #points: PointDatabase
  readonly #groups: Groups
  readonly #scans: Scans
  readonly #process: Process
  readonly #commands: Commands
  readonly #files: Files
  readonly #services: Services
  readonly #connections = new Map<number, StationConnection>()
  readonly #refusedByCause = new Map<number, number>()
  #scansSkipped = 0
  #effects: StationEffect[] = []

  /** RangeError that names everything that is wrong with `config`. */
  constructor(config: StationConfig) {
    const problems = checkStation(config)
    if (problems.length > 0) {
      throw new RangeError(problems.map(({ part, index, message }) => `${part}[${index}]: ${message}`).join('\n'))
    }
    const desk = this.#desk()
    this.#apci = { ...APCI, ...config.apci }
    this.#announceStart = config.announceStart ?? true
    this.#maxConnections = config.maxConnections ?? DEFAULT_MAX_CONNECTIONS
    this.#clock = new StationClock(config.needsClockSync ?? false)
    this.#points = new PointDatabase(config.points)
    const commandCas = config.commands?.map(({ ca }) => ca) ?? []
    const fileCas = config.files?.map(({ ca }) => ca) ?? []
    this.#cas = new Set([...this.#points.cas, ...commandCas, ...fileCas])
    this.#groups = new Groups(config.redundancy ?? { kind: 'perConnection' }, {
      maxEvents: config.maxEvents ?? DEFAULT_MAX_EVENTS,
      maxObjects: config.maxEventsPerAsdu ?? Number.POSITIVE_INFINITY,
    })
    this.#scans = new Scans(this.#points, config)
    const interrogation = new Interrogation(this.#points, config, desk)
    this.#process = new Process(config, this.#points, this.#clock, interrogation, (octets) =>
      this.#groups.push({ octets, packable: true }),
    )
    this.#commands = new Commands(config, this.#clock, desk)
    this.#files = new Files(config, this.#clock, desk)
    const parts = {
      clock: this.#clock,
      groups: this.#groups,
      process: this.#process,
      interrogation,
      commands: this.#commands,
      parameters: new Parameters(this.#points, this.#scans, desk),
      files: this.#files,
    }
    this.#services = new Services(parts, desk)
  }

  get wakeAtMs(): number | undefined {
    let atMs = Math.min(this.#scans.wakeAtMs, this.#commands.wakeAtMs, this.#process.wakeAtMs)
    for (const { wakeAtMs } of this.#connections.values()) atMs = Math.min(atMs, wakeAtMs ?? Number.POSITIVE_INFINITY)
    return Number.isFinite(atMs) ? atMs : undefined
  }

  /** The common addresses of this station. */
  get cas(): readonly number[] {
    return [...this.#cas]
  }

  /** Connections, queues and counts, for a display or a log. */
  status(): StationStatus {
    return {
      connections: [...this.#connections.values()].map(({ id, peer, isStarted, group, unacked, counts }) => ({
        id,
        peer,
        isStarted,
        group: group?.name,
        unacked,
        ...counts,
      })),
      groups: this.#groups.all.map(({ name, events, active }) => ({
        name,
        active,
        waitingEvents: events.length,
        droppedEvents: events.dropped,
      })),
      abandonedEvents: this.#groups.abandonedEvents,
      scansSkipped: this.#scansSkipped,
      refusedByCause: Object.fromEntries(this.#refusedByCause),
    }
  }

  handle(input: StationInput | Wake, nowMs: number): readonly StationEffect[] {
    this.#take(input, nowMs)
    for (const connection of this.#connections.values()) {
      connection.pump(nowMs)
      this.#flush(connection)
    }
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #take(input: StationInput | Wake, nowMs: number): void {
    switch (input.kind) {
      case 'start':
        this.#clock.start(input.wallMs, nowMs)
        this.#scans.start(nowMs)
        this.#process.start(nowMs)
        if (this.#announceStart) this.#services.announce(this.#cas)
        break
      case 'connected':
        this.#connected(input, nowMs)
        break
      case 'octets': {
        const connection = this.#connections.get(input.connection)
        if (connection !== undefined) this.#act(connection, connection.receive(input.bytes, nowMs), nowMs)
        break
      }
      case 'disconnected':
        this.#forget(input.connection, 'disconnected')
        break
      case 'setPoint':
        if (!this.#process.setPoint(input, nowMs)) {
          this.#log({ name: 'point.unknown', ca: input.ca, ioa: input.ioa })
        }
        break
      case 'commandDone': {
        const result = this.#commands.done(input.id, input.ok)
        if (result !== undefined) this.#process.show(result, nowMs)
        this.#commands.terminate(input.id, input.ok)
        break
      }
      case 'wake':
        this.#wake(nowMs)
    }
  }

  #wake(nowMs: number): void {
    for (const connection of [...this.#connections.values()]) this.#act(connection, connection.wake(nowMs), nowMs)
    this.#commands.wake(nowMs)
    this.#process.wake(nowMs)
    for (const { key, cot: cause, pages } of this.#scans.due(nowMs)) {
      for (const connection of this.#connections.values()) {
        const isTaken = connection.scan(pageJob(key, pages, { cot: cause, oa: 0 }))
        if (!isTaken && connection.isStarted) this.#scansSkipped += 1
      }
    }
  }

  #connected(
    { connection: id, peer, peerName }: { connection: number; peer: string; peerName?: string },
    nowMs: number,
  ): void {
    const isFull = this.#connections.size >= this.#maxConnections
    if (isFull || !this.#groups.admits(peer, peerName)) {
      const reason = isFull ? 'too many connections' : 'in no redundancy group'
      this.#effects.push({ kind: 'close', connection: id, reason })
      this.#log({ name: 'connection.refused', connection: id, peer, reason })
      return
    }
    const connection = new StationConnection({ id, peer, peerName }, this.#apci)
    this.#connections.set(id, connection)
    this.#log({ name: 'connection.up', connection: id, peer })
    this.#act(connection, connection.open(nowMs), nowMs)
  }

  #act(connection: StationConnection, events: readonly ConnectionEvent[], nowMs: number): void {
    for (const event of events) {
      if (!this.#connections.has(connection.id)) return
      if (event.kind === 'asdu') this.#onAsdu(connection, event.asdu, nowMs)
      else if (event.kind === 'started') this.#started(connection)
      else if (event.kind === 'close') this.#close(connection.id, event.reason)
      else {
        this.#leave(connection)
        this.#log({ name: 'connection.stopped', connection: connection.id })
      }
    }
  }

  #started(connection: StationConnection): void {
    const group = this.#groups.enter(connection.peer, connection.peerName)
    // Who is in no group was not let in.
    if (group === undefined) return
    if (group.active !== undefined) this.#close(group.active, 'superseded in its redundancy group')
    group.active = connection.id
    connection.group = group
    this.#log({ name: 'connection.started', connection: connection.id, group: group.name })
  }

  #onAsdu(connection: StationConnection, octets: Uint8Array, nowMs: number): void {
    const { id, peer } = connection
    const view = peekAsdu(octets)
    const read = view && isServedType(view.typeId) ? decoded(octets) : undefined
    if (view === undefined || (read instanceof WireError && read.fault.code !== 'BAD_FIELD')) {
      // To mirror a number of objects that does not fit the octets would be to send what is malformed ourselves.
      this.#close(id, `malformed ASDU: ${read instanceof WireError ? read.message : 'too short'}`)
      return
    }
    const facts = { connection: id, typeId: view.typeId, cot: view.cot, ca: view.ca, ioa: view.ioa }
    if (isRefusal(view)) this.#log({ name: 'asdu.refusedByPeer', ...facts })
    else if (read === undefined) this.#refuse(connection, octets, cot.unknownTypeId, facts)
    else if (read instanceof WireError) this.#refuse(connection, octets, confirmationOf(view), facts)
    else {
      const fault = faultOf(view, this.#cas)
      if (fault !== undefined) this.#refuse(connection, octets, fault, facts)
      else if (view.ca === BROADCAST_CA) this.#serveAll({ connection: id, peer, octets, view, asdu: read, nowMs })
      else this.#services.serve({ connection: id, peer, octets, view, asdu: read, nowMs })
    }
  }

  /** An order to all stations is carried out for each, which answers under its own address. */
  #serveAll(order: Order): void {
    for (const ca of this.#cas) {
      const octets = order.octets.slice()
      octets[4] = ca & 0xff
      octets[5] = ca >> 8
      this.#services.serve({ ...order, octets, view: { ...order.view, ca }, asdu: { ...order.asdu, ca } })
    }
  }

  #refuse(connection: StationConnection, octets: Uint8Array, cause: number, facts: Omit<LabEvent, 'name'>): void {
    this.#reply(connection.id, replyTo(octets, { cot: cause, negative: true }))
    this.#refusedByCause.set(cause, (this.#refusedByCause.get(cause) ?? 0) + 1)
    this.#log({ name: 'asdu.refused', ...facts, cause })
  }

  #answer(order: Order, cause: number, negative = false): void {
    if (cause >= cot.unknownTypeId) {
      this.#refusedByCause.set(cause, (this.#refusedByCause.get(cause) ?? 0) + 1)
      const { typeId, ca, ioa } = order.view
      this.#log({ name: 'asdu.refused', connection: order.connection, typeId, cot: order.view.cot, ca, ioa, cause })
    }
    this.#reply(order.connection, replyTo(order.octets, { cot: cause, negative }))
  }

  #reply(id: number, asdu: Uint8Array): void {
    if (this.#connections.get(id)?.answer(asdu) === false) this.#close(id, 'too many answers wait')
  }

  #desk(): Desk {
    return {
      answer: (order, cause, negative) => this.#answer(order, cause, negative),
      reply: (order, asdu) => this.#reply(order.connection, asdu),
      conclude: (connection, octets, negative) => {
        const end = replyTo(octets, { cot: cot.activationTermination, negative })
        const { group } = this.#connections.get(connection) ?? {}
        group?.events.push({ octets: end, connection, packable: false })
      },
      run: (order, job) => this.#connections.get(order.connection)?.run(job) ?? false,
      callOff: (order, key) => this.#connections.get(order.connection)?.callOff(key) ?? false,
      effect: (effect) => void this.#effects.push(effect),
      log: (event) => this.#log(event),
    }
  }

  #close(id: number, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    this.#flush(connection)
    this.#effects.push({ kind: 'close', connection: id, reason })
    this.#forget(id, reason)
  }

  #forget(id: number, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    this.#leave(connection)
    this.#connections.delete(id)
    this.#log({ name: 'connection.down', connection: id, peer: connection.peer, reason, ...connection.counts })
  }

  /** Data transfer is over: what is bound to the connection ends. */
  #leave(connection: StationConnection): void {
    connection.leaveGroup()
    this.#commands.disconnected(connection.id)
    this.#files.disconnected(connection.id)
  }

  #flush(connection: StationConnection): void {
    const bytes = connection.takeWrites()
    if (bytes !== undefined) this.#effects.push({ kind: 'write', connection: connection.id, bytes })
  }

  #log(event: LabEvent): void {
    this.#effects.push({ kind: 'event', event })
  }
}

function decoded(octets: Uint8Array): Asdu | WireError {
  try {
    return decodeAsdu(octets)
  } catch (error) {
    if (error instanceof WireError) return error
    throw error
  }
}
