/** A controlled station in virtual time, and controlling stations that see every octet. */
import {
  type Apdu,
  type Asdu,
  asduOf,
  cot,
  cp56,
  decodeAsdu,
  encodeAsdu,
  encodeI,
  encodeS,
  encodeU,
  parseApdu,
  StreamDeframer,
  type UFunction,
  WireError,
} from '../../../src/protocol/index.ts'
import {
  ControlledStation,
  type ProcessCommand,
  type StationConfig,
  type StationEffect,
  type StationInput,
} from '../../../src/rtu/index.ts'
import type { LabEvent, Wake } from '../../../src/runtime/contract.ts'

export const WALL_MS = Date.UTC(2026, 4, 17, 12)

/** A station with a bit of everything, CA 1; one point in CA 2. */
export const CONFIG: StationConfig = {
  points: [
    { ca: 1, ioa: 1, kind: 'single', group: 1 },
    { ca: 1, ioa: 2, kind: 'single', group: 1, value: 1 },
    { ca: 1, ioa: 11, kind: 'double', value: 1 },
    { ca: 1, ioa: 21, kind: 'step', value: -3 },
    { ca: 1, ioa: 31, kind: 'bitstring', value: 0xdead_beef },
    { ca: 1, ioa: 41, kind: 'normalized', value: 0.5, group: 2 },
    { ca: 1, ioa: 51, kind: 'scaled', value: -7, group: 2 },
    { ca: 1, ioa: 61, kind: 'float', value: 1.5, group: 16 },
    { ca: 1, ioa: 71, kind: 'counter', value: 100, group: 1 },
    { ca: 1, ioa: 72, kind: 'counter', value: 200, group: 2 },
    { ca: 1, ioa: 81, kind: 'packed', value: 3 },
    { ca: 1, ioa: 91, kind: 'protectionEvent' },
    { ca: 2, ioa: 1, kind: 'single', group: 1 },
  ],
  commands: [
    { ca: 1, ioa: 101, kind: 'single', pointIoa: 1 },
    { ca: 1, ioa: 102, kind: 'single', mode: 'select', pointIoa: 2 },
    { ca: 1, ioa: 103, kind: 'single', mode: 'direct' },
    { ca: 1, ioa: 111, kind: 'double', pointIoa: 11 },
    { ca: 1, ioa: 121, kind: 'step', pointIoa: 21 },
    { ca: 1, ioa: 131, kind: 'bitstring', pointIoa: 31 },
    { ca: 1, ioa: 141, kind: 'normalized', pointIoa: 41 },
    { ca: 1, ioa: 151, kind: 'scaled', pointIoa: 51, min: -100, max: 100 },
    { ca: 1, ioa: 161, kind: 'float', pointIoa: 61 },
  ],
}

/** The station, its clock and its clients. Commands are carried out at once unless `holdCommands`. */
export class Lab {
  nowMs = 0
  holdCommands = false
  readonly station: ControlledStation
  readonly commands: ProcessCommand[] = []
  readonly events: LabEvent[] = []
  readonly effects: StationEffect[] = []
  readonly #clients = new Map<number, Client>()
  #nextId = 1

  constructor(config: StationConfig = CONFIG) {
    this.station = new ControlledStation(config)
    this.feed({ kind: 'start', wallMs: WALL_MS })
  }

  /** Hands over one input and all that follows from it at the same time. */
  feed(input: StationInput | Wake): void {
    const inputs: (StationInput | Wake)[] = [input]
    for (let next = inputs.shift(); next !== undefined; next = inputs.shift()) {
      const effects = this.station.handle(next, this.nowMs)
      this.effects.push(...effects)
      for (const effect of effects) inputs.push(...this.#carryOut(effect))
    }
  }

  #carryOut(effect: StationEffect): StationInput[] {
    if (effect.kind === 'event') this.events.push(effect.event)
    if (effect.kind === 'command') {
      this.commands.push(effect.command)
      return this.holdCommands ? [] : [{ kind: 'commandDone', id: effect.command.id, ok: true }]
    }
    if (effect.kind !== 'write' && effect.kind !== 'close') return []
    const client = this.#clients.get(effect.connection)
    if (effect.kind === 'close') {
      if (client !== undefined) client.closed = effect.reason
      return []
    }
    const reply = client?.take(effect.bytes)
    return reply === undefined ? [] : [{ kind: 'octets', connection: effect.connection, bytes: reply }]
  }

  advanceMs(durationMs: number): void {
    const endMs = this.nowMs + durationMs
    for (let wakeMs = this.station.wakeAtMs; wakeMs !== undefined && wakeMs <= endMs; wakeMs = this.station.wakeAtMs) {
      this.nowMs = Math.max(this.nowMs, wakeMs)
      this.feed({ kind: 'wake' })
    }
    this.nowMs = endMs
  }

  set(ioa: number, value: number, more: Partial<Extract<StationInput, { kind: 'setPoint' }>> = {}): void {
    this.feed({ kind: 'setPoint', ca: 1, ioa, value, ...more })
  }

  /** A new connection, before STARTDT. */
  connect(peer = '10.0.0.1:40000'): Client {
    const client = new Client(this, this.#nextId)
    this.#nextId += 1
    this.#clients.set(client.id, client)
    this.feed({ kind: 'connected', connection: client.id, peer })
    return client
  }

  /** A new connection with data transfer started; what it got until then is forgotten. */
  start(peer?: string): Client {
    const client = this.connect(peer)
    client.u('startdtAct')
    client.forget()
    return client
  }

  names(name: string): readonly LabEvent[] {
    return this.events.filter((event) => event.name === name)
  }
}

/** A controlling station's end, by hand: acknowledges what it gets unless `isSilent`. */
export class Client {
  readonly id: number
  readonly frames: Apdu[] = []
  readonly asdus: Asdu[] = []
  /** Octets of the writes, one entry a write. */
  readonly writes: Uint8Array[] = []
  closed: string | undefined
  isSilent = false
  sendSeq = 0
  recvSeq = 0
  readonly #lab: Lab
  readonly #deframer = new StreamDeframer()

  constructor(lab: Lab, id: number) {
    this.#lab = lab
    this.id = id
  }

  /** Takes octets; gives the acknowledgement. */
  take(bytes: Uint8Array): Uint8Array | undefined {
    this.writes.push(bytes)
    let isOwed = false
    for (const apdu of this.#deframer.push(bytes).apdus) {
      const frame = parseApdu(apdu)
      this.frames.push(frame)
      if (frame.format !== 'I') continue
      const asdu = decoded(frame.asdu)
      if (asdu !== undefined) this.asdus.push(asdu)
      this.recvSeq = (frame.sendSeq + 1) % 32_768
      isOwed = true
    }
    return isOwed && !this.isSilent ? encodeS(this.recvSeq) : undefined
  }

  forget(): void {
    this.frames.length = 0
    this.asdus.length = 0
    this.writes.length = 0
  }

  octets(bytes: Uint8Array): void {
    this.#lab.feed({ kind: 'octets', connection: this.id, bytes })
  }

  u(name: UFunction): void {
    this.octets(encodeU(name))
  }

  ack(): void {
    this.octets(encodeS(this.recvSeq))
  }

  /** An I-frame with the right numbers. */
  send(asdu: Asdu | Uint8Array): void {
    const octets = asdu instanceof Uint8Array ? asdu : encodeAsdu(asdu)
    const frame = encodeI(this.sendSeq, this.recvSeq, octets)
    this.sendSeq = (this.sendSeq + 1) % 32_768
    this.octets(frame)
  }

  /** Sends, and gives what came back. */
  ask(asdu: Asdu | Uint8Array): readonly string[] {
    this.forget()
    this.send(asdu)
    return this.got()
  }

  disconnect(): void {
    this.#lab.feed({ kind: 'disconnected', connection: this.id })
  }

  /** What came: type, cause (`-` P/N, `t` test), CA/IOA of the first object, and how many there are if more. */
  got(): readonly string[] {
    return this.asdus.map(({ type, cot: cause, negative, test, ca, objects }) => {
      const count = objects.length > 1 ? ` x${objects.length}` : ''
      return `${type} ${cause}${negative ? '-' : ''}${test ? 't' : ''} ${ca}/${objects[0]?.ioa}${count}`
    })
  }

  /** Values of the objects, with `field` of each. */
  values(type: string): readonly unknown[] {
    return this.asdus.filter((asdu) => asdu.type === type).flatMap(({ objects }) => objects.map(({ value }) => value))
  }
}

/** Undefined for what a refusal mirrors and nobody can read. */
function decoded(octets: Uint8Array): Asdu | undefined {
  try {
    return decodeAsdu(octets)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

type More = { readonly cot?: number; readonly ca?: number; readonly oa?: number; readonly test?: boolean }

function header({ cot: cause = cot.activation, ca = 1, oa = 0, test = false }: More) {
  return { cot: cause, ca, oa, test }
}

export const interrogation = (qoi = 20, more: More = {}): Asdu =>
  asduOf('C_IC_NA_1', { ...header(more), objects: [{ ioa: 0, value: { qoi } }] })

export const counters = (request: number, freeze: number, more: More = {}): Asdu =>
  asduOf('C_CI_NA_1', { ...header(more), objects: [{ ioa: 0, value: { qcc: { request, freeze } } }] })

export const read = (ioa: number, more: More = {}): Asdu =>
  asduOf('C_RD_NA_1', { ...header({ cot: cot.request, ...more }), objects: [{ ioa, value: {} }] })

export const clock = (wallMs: number, more: More = {}): Asdu =>
  asduOf('C_CS_NA_1', { ...header(more), objects: [{ ioa: 0, value: { time: cp56(wallMs) } }] })

export const reset = (qrp: number, more: More = {}): Asdu =>
  asduOf('C_RP_NA_1', { ...header(more), objects: [{ ioa: 0, value: { qrp } }] })

type CommandMore = More & { readonly select?: boolean; readonly qu?: number }

export const single = (ioa: number, on: boolean, more: CommandMore = {}): Asdu => {
  const sco = { on, qu: more.qu ?? 0, select: more.select ?? false }
  return asduOf('C_SC_NA_1', { ...header(more), objects: [{ ioa, value: { sco } }] })
}

export const timedSingle = (ioa: number, on: boolean, wallMs: number, more: CommandMore = {}): Asdu => {
  const sco = { on, qu: more.qu ?? 0, select: more.select ?? false }
  return asduOf('C_SC_TA_1', { ...header(more), objects: [{ ioa, value: { sco, time: cp56(wallMs) } }] })
}

export const double = (ioa: number, state: number, more: CommandMore = {}): Asdu => {
  const dco = { state, qu: more.qu ?? 0, select: more.select ?? false }
  return asduOf('C_DC_NA_1', { ...header(more), objects: [{ ioa, value: { dco } }] })
}

export const step = (ioa: number, direction: number, more: CommandMore = {}): Asdu => {
  const rco = { step: direction, qu: more.qu ?? 0, select: more.select ?? false }
  return asduOf('C_RC_NA_1', { ...header(more), objects: [{ ioa, value: { rco } }] })
}

export const setpoint = (
  type: 'C_SE_NA_1' | 'C_SE_NB_1' | 'C_SE_NC_1',
  ioa: number,
  value: number,
  more: CommandMore = {},
): Asdu => {
  const qos = { ql: more.qu ?? 0, select: more.select ?? false }
  return asduOf(type, { ...header(more), objects: [{ ioa, value: { value, qos } }] })
}

export const bits = (ioa: number, bsi: number, more: More = {}): Asdu =>
  asduOf('C_BO_NA_1', { ...header(more), objects: [{ ioa, value: { bsi } }] })
