import { type Asdu, cot, decodeAsdu, peekAsdu, replyTo, WireError } from '../../protocol/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
import { Commands, type Devices } from './commands.ts'
import { checkStation } from './config-check.ts'
import type { CoreConfig, CoreEffect, PointSpec, ProcessInput } from './contract.ts'
import { confirmationOf, type Desk, type Order, type Way } from './desk.ts'
import type { QueuedEvent } from './event-queue.ts'
import { Files } from './files.ts'
import { type Group, Groups } from './groups.ts'
import { Interrogation, pageJob } from './interrogation.ts'
import { BROADCAST_CA, faultOf, isRefusal, isServedType } from './orders.ts'
import type { Outbox } from './outbox.ts'
import { Parameters } from './parameters.ts'
import { applyChange, type PointChange, PointDatabase, setTopical } from './point-database.ts'
import { Process } from './process.ts'
import { Scans } from './scans.ts'
import { Services } from './services.ts'
import { StationClock } from './station-clock.ts'
import type { StationStatus } from './status.ts'

const DEFAULT_MAX_EVENTS = 10_000

/** An ASDU of a controlling station; the octets may be changed when the call is over. */
export type Incoming = { readonly octets: Uint8Array; readonly way?: Way }

/**
 * A controlled station without its transport: takes the ASDUs of each connection and has, in the connection's outbox, what
 * is to be sent on it. Point database, events, interrogation, counters, commands, clock, parameters, files, redundancy
 * groups. Pure.
 */
export class StationCore {
  readonly #announceStart: boolean
  readonly #cas: ReadonlySet<number>
  readonly #clock: StationClock
  readonly #points: PointDatabase
  readonly #groups: Groups
  readonly #scans: Scans
  readonly #interrogation: Interrogation
  readonly #process: Process
  readonly #commands: Commands
  readonly #files: Files
  readonly #services: Services
  readonly #outboxes = new Map<number, Outbox>()
  readonly #refusedByCause = new Map<number, number>()
  #scansSkipped = 0
  #effects: CoreEffect[] = []

  /** RangeError that names everything that is wrong with `config`. `devices` carry out commands that are not in it. */
  constructor(config: CoreConfig, devices?: Devices) {
    const problems = checkStation(config)
    if (problems.length > 0) {
      throw new RangeError(problems.map(({ part, index, message }) => `${part}[${index}]: ${message}`).join('\n'))
    }
    const desk = this.#desk()
    this.#announceStart = config.announceStart ?? true
    this.#clock = new StationClock(config.needsClockSync ?? false)
    this.#points = new PointDatabase(config.points)
    const commandCas = config.commands?.map(({ ca }) => ca) ?? []
    const fileCas = config.files?.map(({ ca }) => ca) ?? []
    this.#cas = new Set([...(config.cas ?? []), ...this.#points.cas, ...commandCas, ...fileCas])
    this.#groups = new Groups(config.redundancy ?? { kind: 'perConnection' }, {
      maxEvents: config.maxEvents ?? DEFAULT_MAX_EVENTS,
      maxObjects: config.maxEventsPerAsdu ?? Number.POSITIVE_INFINITY,
    })
    this.#scans = new Scans(this.#points, config)
    this.#interrogation = new Interrogation(this.#points, config, desk)
    this.#process = new Process(config, this.#points, this.#clock, this.#interrogation, (octets) =>
      this.#groups.push({ octets, packable: true }),
    )
    this.#commands = new Commands(config, this.#clock, desk, devices)
    this.#files = new Files(config, this.#clock, desk)
    const parts = {
      clock: this.#clock,
      groups: this.#groups,
      process: this.#process,
      interrogation: this.#interrogation,
      commands: this.#commands,
      parameters: new Parameters(this.#points, this.#scans, desk),
      files: this.#files,
    }
    this.#services = new Services(parts, desk)
  }

  /** When `wake` is due, infinity when it is not. */
  get wakeAtMs(): number {
    return Math.min(this.#scans.wakeAtMs, this.#commands.wakeAtMs, this.#process.wakeAtMs)
  }

  /** The common addresses of this station. */
  get cas(): readonly number[] {
    return [...this.#cas]
  }

  status(): Omit<StationStatus, 'connections'> {
    return {
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

  /** The station begins: the wall clock shows `wallMs`. */
  begin(wallMs: number, nowMs: number): void {
    this.#clock.start(wallMs, nowMs)
    this.#scans.start(nowMs)
    this.#process.start(nowMs)
    if (this.#announceStart) this.#services.announce(this.#cas)
  }

  wake(nowMs: number): void {
    this.#commands.wake(nowMs)
    this.#process.wake(nowMs)
    for (const { key, cot: cause, pages } of this.#scans.due(nowMs)) {
      for (const outbox of this.#outboxes.values()) {
        const isTaken = outbox.scan(pageJob(key, pages, { cot: cause, oa: 0 }))
        if (!isTaken && outbox.isListening) this.#scansSkipped += 1
      }
    }
  }

  /** What the station asks for since the last call. */
  takeEffects(): readonly CoreEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  log(event: LabEvent): void {
    this.#effects.push({ kind: 'event', event })
  }

  /** Whether a peer belongs to any redundancy group. */
  admits(peer: string, peerName?: string): boolean {
    return this.#groups.admits(peer, peerName)
  }

  connect(outbox: Outbox): void {
    this.#outboxes.set(outbox.id, outbox)
  }

  disconnect(outbox: Outbox): void {
    this.stop(outbox)
    this.#outboxes.delete(outbox.id)
  }

  /** Data transfer begins. The connection of its redundancy group that had it before is closed. */
  start(outbox: Outbox): void {
    const group = this.#groups.enter(outbox.peer, outbox.peerName)
    // Who is in no group was not let in.
    if (group === undefined) return
    const before = group.active === undefined ? undefined : this.#outboxes.get(group.active)
    before?.close?.('superseded in its redundancy group')
    this.#join(outbox, group)
    this.log({ name: 'connection.started', connection: outbox.id, group: group.name })
  }

  /** Data transfer begins, in a redundancy group of this name that is for nobody else. */
  startAlone(outbox: Outbox, name: string): void {
    this.#join(outbox, this.#groups.add(name))
  }

  /** Data transfer is over: what is bound to the connection ends. */
  stop(outbox: Outbox): void {
    outbox.leaveGroup()
    this.#commands.disconnected(outbox.id)
    this.#files.disconnected(outbox.id)
  }

  /** Takes an ASDU. One that is malformed closes the connection, or is refused where that cannot be done. */
  receive(outbox: Outbox, { octets, way }: Incoming, nowMs: number): void {
    const { id: connection, peer } = outbox
    const view = peekAsdu(octets)
    const read = view && isServedType(view.typeId) ? decoded(octets) : undefined
    const isMalformed = view === undefined || (read instanceof WireError && read.fault.code !== 'BAD_FIELD')
    if (isMalformed && outbox.close !== undefined) {
      // To mirror a number of objects that does not fit the octets would be to send what is malformed ourselves.
      outbox.close(`malformed ASDU: ${read instanceof WireError ? read.message : 'too short'}`)
      return
    }
    if (view === undefined) return
    const from = { connection, peer, way, octets, view, nowMs }
    if (isRefusal(view)) this.#note('asdu.refusedByPeer', from)
    else if (read === undefined) this.answer(from, cot.unknownTypeId, true)
    else if (read instanceof WireError) {
      const fault = isMalformed ? faultOf(view, this.#cas) : undefined
      this.#refuse(from, fault ?? confirmationOf(view))
    } else {
      const order = { ...from, asdu: read }
      const fault = faultOf(view, this.#cas)
      if (fault !== undefined) this.answer(order, fault, true)
      else if (view.ca === BROADCAST_CA) this.#serveAll(order)
      else this.#services.serve(order)
    }
  }

  /** Mirrors an order with another cause. */
  answer(order: Omit<Order, 'asdu'>, cause: number, negative = false): void {
    if (cause >= cot.unknownTypeId) this.#refuse(order, cause)
    else this.#reply(order, replyTo(order.octets, { cot: cause, negative }))
  }

  /** Sends an ASDU that answers an order, as it is. */
  reply(order: Pick<Order, 'connection' | 'way'>, asdu: Uint8Array): void {
    this.#reply(order, asdu)
  }

  /** A value from the process, or the end of a command. */
  take(input: ProcessInput, nowMs: number): void {
    if (input.kind === 'setPoint') {
      if (!this.#process.setPoint(input, nowMs)) this.log({ name: 'point.unknown', ca: input.ca, ioa: input.ioa })
      return
    }
    const result = this.#commands.done(input.id, input.ok)
    if (result !== undefined) this.#process.show(result, nowMs)
    this.#commands.terminate(input.id, input.ok)
  }

  /** Takes a value for which somebody else reports the event; a point that is not there yet is made. */
  update(spec: PointSpec, change: PointChange, nowMs: number): void {
    const point = this.#points.find(spec.ca, spec.ioa) ?? this.#learn(spec, nowMs)
    if (point.kind === spec.kind) applyChange(point, change)
  }

  /** Whether the device behind a point can be reached: while it cannot, its value is not topical. No event tells it. */
  setTopical(ca: number, ioa: number, isTopical: boolean): void {
    const point = this.#points.find(ca, ioa)
    if (point !== undefined) setTopical(point, isTopical)
  }

  /** Reports an ASDU to each group that `isFor` says, or keeps it for them. */
  report(event: QueuedEvent, isFor?: (group: Group) => boolean): void {
    this.#groups.push(event, isFor)
  }

  #learn(spec: PointSpec, nowMs: number) {
    const point = this.#points.add(spec)
    this.#interrogation.forgetPages()
    this.#scans.add(point, nowMs)
    return point
  }

  #join(outbox: Outbox, group: Group): void {
    group.active = outbox.id
    outbox.group = group
    outbox.isListening = true
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

  #refuse(order: Omit<Order, 'asdu'>, cause: number): void {
    this.#reply(order, replyTo(order.octets, { cot: cause, negative: true }))
    this.#refusedByCause.set(cause, (this.#refusedByCause.get(cause) ?? 0) + 1)
    this.#note('asdu.refused', order, { cause })
  }

  #reply({ connection, way }: Pick<Order, 'connection' | 'way'>, asdu: Uint8Array): void {
    const outbox = this.#outboxes.get(connection)
    if (outbox?.answer(asdu, way) === false) outbox.close?.('too many answers wait')
  }

  #desk(): Desk {
    return {
      answer: (order, cause, negative) => this.answer(order, cause, negative),
      reply: (order, asdu) => this.#reply(order, asdu),
      conclude: ({ connection, octets, way }, negative) => {
        const end = replyTo(octets, { cot: cot.activationTermination, negative })
        const { group } = this.#outboxes.get(connection) ?? {}
        group?.events.push({ octets: end, connection, packable: false, ...(way && { way }) })
      },
      run: (order, job) => this.#outboxes.get(order.connection)?.run(job, order.way) ?? false,
      callOff: (order, key) => this.#outboxes.get(order.connection)?.callOff(key) ?? false,
      effect: (effect) => void this.#effects.push(effect),
      log: (event) => this.log(event),
    }
  }

  #note(name: string, { connection, view }: Omit<Order, 'asdu'>, facts: Omit<LabEvent, 'name'> = {}): void {
    const { typeId, cot: cause, ca, ioa } = view
    this.log({ name, connection, typeId, cot: cause, ca, ioa, ...facts })
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
