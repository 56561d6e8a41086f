import { cot } from '../../protocol/index.ts'
import { type CommandOrder, orderProblem, readCommand } from './command-order.ts'
import type { CommandSpec, CoreConfig, ProcessCommand } from './contract.ts'
import { confirmationOf, type Desk, type Order } from './desk.ts'
import type { StationClock } from './station-clock.ts'

/** A selection: whose, of what, and until when. */
type Selection = {
  readonly connection: number
  readonly oa: number
  readonly typeId: number
  readonly command: CommandOrder
  readonly untilMs: number
}

/** A command that the process has in hand. */
type Execution = {
  readonly process: ProcessCommand
  readonly spec: CommandSpec
  readonly order: Order
  readonly untilMs: number
}

/** Devices that carry out commands by themselves: they confirm and end them, the station selects for them. */
export type Devices = {
  readonly owns: (ca: number, ioa: number) => boolean
  readonly isReachable: (ca: number, ioa: number) => boolean
  /** Hands on an order to execute. */
  readonly forward: (order: Order) => void
}

/** How a command came out, for the point that shows it. */
export type CommandResult = { readonly spec: CommandSpec; readonly process: ProcessCommand }

/**
 * Process commands, direct and select-before-operate (IEC 60870-5-101, 7.4.8). A selection holds for one connection,
 * originator, object, type, value and qualifier, and for a time. One command an object is carried out at a time.
 */
export class Commands {
  readonly #specs = new Map<string, CommandSpec>()
  readonly #config: CoreConfig
  readonly #clock: StationClock
  readonly #desk: Desk
  readonly #devices: Devices | undefined
  readonly #selections = new Map<string, Selection>()
  readonly #executions = new Map<number, Execution>()
  #nextId = 1

  constructor(config: CoreConfig, clock: StationClock, desk: Desk, devices?: Devices) {
    this.#config = config
    this.#devices = devices
    this.#clock = clock
    this.#desk = desk
    for (const spec of config.commands ?? []) this.#specs.set(keyOf(spec), spec)
  }

  /** When a selection or a command runs out. */
  get wakeAtMs(): number {
    let atMs = Number.POSITIVE_INFINITY
    for (const { untilMs } of this.#selections.values()) atMs = Math.min(atMs, untilMs)
    for (const { untilMs } of this.#executions.values()) atMs = Math.min(atMs, untilMs)
    return atMs
  }

  /** Takes an order that is for this station. */
  take(order: Order): void {
    const command = readCommand(order.asdu)
    if (command === undefined) return
    const key = keyOf(order.view)
    const spec = this.#specs.get(key) ?? this.#deviceSpec(command, order)
    if (spec === undefined || spec.kind !== command.kind) {
      this.#desk.answer(order, cot.unknownIoa, true)
      return
    }
    if (this.#isStale(command, order)) return
    const problem =
      order.view.cot === cot.deactivation
        ? this.#deselect(key, command, order)
        : (orderProblem(command, spec) ??
          (command.select ? this.#select(key, command, order, spec) : this.#operate(key, command, order, spec)))
    if (problem === undefined) return
    this.#desk.answer(order, confirmationOf(order.view), true)
    this.#log('command.refused', order, { problem })
  }

  /** The process has answered; gives the command when it was carried out. Late and unknown answers are nothing. */
  done(id: number, ok: boolean): CommandResult | undefined {
    const execution = this.#executions.get(id)
    return execution && ok ? execution : undefined
  }

  /** Ends a command towards the controlling station. */
  terminate(id: number, ok: boolean): void {
    const execution = this.#executions.get(id)
    if (execution === undefined) return
    this.#executions.delete(id)
    const { order, spec, process } = execution
    if (spec.termination ?? true) this.#desk.conclude(order, !ok)
    this.#desk.log({ name: 'command.done', ca: process.ca, ioa: process.ioa, ok })
  }

  wake(nowMs: number): void {
    for (const [key, { untilMs, connection }] of this.#selections) {
      if (untilMs > nowMs) continue
      this.#selections.delete(key)
      this.#desk.log({ name: 'command.selectTimeout', object: key, connection })
    }
    for (const [id, { untilMs }] of this.#executions) if (untilMs <= nowMs) this.terminate(id, false)
  }

  /** Selections of a connection end with it; commands under way go on. */
  disconnected(connection: number): void {
    for (const [key, selection] of this.#selections) {
      if (selection.connection === connection) this.#selections.delete(key)
    }
  }

  /** General reset of a common address: nothing is selected any longer, nothing is under way. */
  reset(ca: number): void {
    for (const key of this.#selections.keys()) if (key.startsWith(`${ca}:`)) this.#selections.delete(key)
    for (const [id, { process }] of this.#executions) if (process.ca === ca) this.terminate(id, false)
  }

  #select(key: string, command: CommandOrder, order: Order, spec: CommandSpec): string | undefined {
    if (spec.mode === 'direct') return 'not to be selected'
    const held = this.#selections.get(key)
    if (held !== undefined && !isHolder(held, order)) return 'selected by another'
    const obstacle = this.#obstacle(spec)
    if (obstacle !== undefined) return obstacle
    this.#desk.answer(order, cot.activationCon)
    if (order.view.test) return undefined
    const timeoutMs = spec.selectTimeoutMs ?? this.#config.selectTimeoutMs ?? 10_000
    const { connection, view, nowMs } = order
    const untilMs = nowMs + timeoutMs
    this.#selections.set(key, { connection, oa: view.oa, typeId: view.typeId, command, untilMs })
    this.#log('command.selected', order)
    return undefined
  }

  #operate(key: string, command: CommandOrder, order: Order, spec: CommandSpec): string | undefined {
    const held = this.#selections.get(key)
    if (held !== undefined) {
      if (!isHolder(held, order)) return 'selected by another'
      this.#selections.delete(key)
      if (!isSame(held, command, order)) return 'not what was selected'
    } else if (spec.mode === 'select') return 'not selected'
    const obstacle = this.#obstacle(spec)
    if (obstacle !== undefined) return obstacle
    if (this.#isOfDevice(spec) && !order.view.test) {
      this.#devices?.forward(order)
      return undefined
    }
    this.#desk.answer(order, cot.activationCon)
    if (order.view.test) {
      this.#desk.conclude(order, false)
      return undefined
    }
    this.#execute(command, order, spec)
    return undefined
  }

  #execute(command: CommandOrder, order: Order, spec: CommandSpec): void {
    const { view, nowMs, peer } = order
    const { ca, ioa, kind, name } = spec
    const pulseMs = this.#pulseMs(command, spec)
    const process: ProcessCommand = {
      id: this.#nextId,
      ca,
      ioa,
      kind,
      ...(name !== undefined && { name }),
      value: command.value,
      ...(pulseMs !== undefined && { pulseMs }),
      oa: view.oa,
      peer,
    }
    this.#nextId += 1
    const untilMs = nowMs + (this.#config.executeTimeoutMs ?? 10_000)
    this.#executions.set(process.id, { process, spec, order, untilMs })
    this.#log('command.accepted', order, { value: command.value })
    this.#desk.effect({ kind: 'command', command: process })
  }

  #deselect(key: string, command: CommandOrder, order: Order): string | undefined {
    const held = this.#selections.get(key)
    if (held === undefined || !isHolder(held, order) || !isSame(held, command, order)) return 'not selected'
    this.#selections.delete(key)
    this.#desk.answer(order, cot.deactivationCon)
    this.#log('command.deselected', order)
    return undefined
  }

  /** An object of a device, whatever its kind: the device knows. */
  #deviceSpec({ kind }: CommandOrder, { view: { ca, ioa } }: Order): CommandSpec | undefined {
    return this.#devices?.owns(ca, ioa) === true ? { ca, ioa, kind } : undefined
  }

  #isOfDevice(spec: CommandSpec): boolean {
    return !this.#specs.has(keyOf(spec))
  }

  /** What stands in the way of a command now. A device that is busy says so itself. */
  #obstacle(spec: CommandSpec): string | undefined {
    if (this.#isOfDevice(spec)) return this.#devices?.isReachable(spec.ca, spec.ioa) ? undefined : 'out of reach'
    for (const execution of this.#executions.values()) if (execution.spec === spec) return 'busy'
    return undefined
  }

  #pulseMs({ kind, qualifier }: CommandOrder, spec: CommandSpec): number | undefined {
    if (kind !== 'single' && kind !== 'double' && kind !== 'step') return undefined
    if (qualifier === 1) return spec.shortPulseMs ?? this.#config.shortPulseMs ?? 500
    if (qualifier === 2) return spec.longPulseMs ?? this.#config.longPulseMs ?? 2_000
    return undefined
  }

  /** A command that was under way for too long is discarded without an answer. */
  #isStale({ time }: CommandOrder, order: Order): boolean {
    const { maxCommandAgeMs } = this.#config
    if (time === undefined || maxCommandAgeMs === undefined) return false
    const ageMs = this.#clock.wallMs(order.nowMs) - time.wallMs
    if (!time.invalid && Math.abs(ageMs) <= maxCommandAgeMs) return false
    this.#log('command.stale', order, { ageMs })
    return true
  }

  #log(name: string, { view, connection }: Order, facts: { readonly [fact: string]: string | number } = {}): void {
    const { typeId, ca, ioa, oa } = view
    this.#desk.log({ name, connection, typeId, ca, ioa, oa, ...facts })
  }
}

function keyOf({ ca, ioa }: { readonly ca: number; readonly ioa: number }): string {
  return `${ca}:${ioa}`
}

function isHolder(held: Selection, { connection, view }: Order): boolean {
  return held.connection === connection && held.oa === view.oa
}

function isSame(held: Selection, { value, qualifier }: CommandOrder, { view }: Order): boolean {
  return held.typeId === view.typeId && held.command.value === value && held.command.qualifier === qualifier
}
