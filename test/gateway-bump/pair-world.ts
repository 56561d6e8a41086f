/** A master, a pair of gateways with a faulty network between them, and an outstation, in virtual time. */
import {
  type BumpConfig,
  type BumpEffect,
  BumpGateway,
  type BumpInput,
  NEAR_DEFAULTS,
} from '../../src/gateway/bump/index.ts'
import {
  type ApciOptions,
  encodeU,
  LINK_DEFAULTS,
  StreamSession,
  type StreamSessionEffect,
} from '../../src/protocol/index.ts'
import type { LabEvent } from '../../src/runtime/contract.ts'
import { type Random, randomStream } from '../../src/sim/index.ts'

export type Faults = { readonly lossRatio: number; readonly duplicateRatio: number; readonly jitterMs: number }
export const CLEAN: Faults = { lossRatio: 0, duplicateRatio: 0, jitterMs: 0 }

export type PairOptions = {
  readonly seed?: number
  readonly faults?: Faults
  readonly near?: Partial<BumpConfig['near']>
  readonly bump?: Partial<BumpConfig>
  /** Slots that the key server may hand out a channel. */
  readonly keyBudgetSlots?: number
}

const LINK_DELAY_MS = 5
const TCP_DELAY_MS = 1
/** A second at which both gateways are long up. */
export const READY_MS = 1000

/** A plain 104 station on one TCP connection with a gateway, obeying the standard. */
export class Station {
  readonly id: number
  readonly session: StreamSession
  readonly received: Uint8Array[] = []
  readonly log: string[] = []
  /** Chunks are looked at this long one after the other: a slow station. */
  slowMs = 0
  nextReadMs = 0
  queue: Uint8Array[] = []
  isOpen = true
  /** Not yet the session's: only test frames are answered. */
  isStandBy = false

  constructor(id: number, options: ApciOptions) {
    this.id = id
    this.session = new StreamSession(options)
  }

  has(entry: string): boolean {
    return this.log.some((line) => line.startsWith(entry))
  }
}

type Timed = { readonly atMs: number; readonly order: number; readonly run: () => void }
type End = 0 | 1

export class PairWorld {
  /** 0 accepts masters and is the controlling end of the link, 1 dials the outstation. */
  readonly gateways: readonly [BumpGateway, BumpGateway]
  readonly events: readonly [(LabEvent & { readonly atMs: number })[], (LabEvent & { readonly atMs: number })[]] = [
    [],
    [],
  ]
  readonly suites: string[] = []
  nowMs = 0
  faults: Faults
  isLinkOut = false
  keyBudgetSlots: number
  outstation: Station | undefined
  /** Every connection that the outstation had. */
  readonly outstations: Station[] = []
  outstationListens = true
  outstationOptions: Partial<ApciOptions> = {}
  outstationSlowMs = 0
  /** What the outstation sends as soon as it may. */
  outstationQueue: readonly Uint8Array[] = []
  readonly masters = new Map<number, Station>()
  readonly #near: BumpConfig['near']
  readonly #random: Random
  readonly #paused = new Map<string, Uint8Array[]>()
  readonly #asked = [0, 0]
  readonly #keyLength = [0, 0]
  #timed: Timed[] = []
  #order = 0
  #nextMaster = 0

  constructor({ seed = 1, faults = CLEAN, near, bump, keyBudgetSlots }: PairOptions = {}) {
    this.faults = faults
    this.keyBudgetSlots = keyBudgetSlots ?? Number.POSITIVE_INFINITY
    this.#random = randomStream(seed, 'pair')
    this.#near = { ...NEAR_DEFAULTS, ...near }
    const make = (end: End): BumpGateway =>
      new BumpGateway({
        side: end === 0 ? 'accept' : 'dial',
        near: this.#near,
        link: { ...LINK_DEFAULTS, t1Ms: 10_000, t3Ms: 5_000, link: 0, end, epoch: 1_700_000_000_000, queueLimit: 4 },
        suite: 'otp',
        ...bump,
      })
    this.gateways = [make(0), make(1)]
    for (const end of [1, 0] as const) this.feed(end, { kind: 'start' })
  }

  /** A master connects; it sends STARTDT at once unless it is to be a stand-by. */
  connectMaster(options: Partial<ApciOptions> = {}, starts = true): Station {
    const id = this.#nextMaster++
    const master = new Station(id, { ...NEAR_DEFAULTS, role: 'controlling', ...options })
    this.masters.set(id, master)
    this.feed(0, { kind: 'nearOpen', connection: id, peer: `master ${id}` })
    master.isStandBy = true
    if (starts) this.startMaster(master)
    return master
  }

  /** A stand-by becomes the one that wants data transfer. */
  startMaster(master: Station): void {
    master.isStandBy = false
    this.apply(0, master, master.session.open(this.nowMs))
  }

  /** A station sends ASDUs as its window allows. */
  send(end: End, station: Station, ...asdus: readonly Uint8Array[]): void {
    station.queue.push(...asdus)
    this.#flush(end, station)
  }

  /** A station ends its connection. */
  hangUp(end: End, station: Station): void {
    if (!station.isOpen) return
    station.isOpen = false
    station.log.push('hung up')
    this.at(this.nowMs + TCP_DELAY_MS, () =>
      this.feed(end, { kind: 'nearClosed', connection: station.id, reason: 'peer closed' }),
    )
  }

  /** Octets straight from a station's end of the connection, whatever they are. */
  raw(end: End, station: Station, bytes: Uint8Array): void {
    this.#toGateway(end, station, bytes)
  }

  run(untilMs: number): void {
    for (;;) {
      const stations: readonly (readonly [End, Station])[] = [
        ...[...this.masters.values()].map((master) => [0, master] as const),
        ...(this.outstation === undefined ? [] : [[1, this.outstation] as const]),
      ]
      const wakes = [
        ...([0, 1] as const).map((end) => ({
          atMs: this.gateways[end].wakeAtMs,
          run: () => this.feed(end, { kind: 'wake' }),
        })),
        ...stations.map(([end, station]) => ({
          atMs: station.isOpen ? station.session.wakeAtMs : undefined,
          run: () => this.apply(end, station, station.session.wake(this.nowMs)),
        })),
        ...this.#timed.slice(0, 1).map(({ atMs }) => ({ atMs, run: () => this.#timed.shift()?.run() })),
      ]
      let next: { atMs: number | undefined; run: () => void } | undefined
      for (const wake of wakes) if ((wake.atMs ?? Infinity) < (next?.atMs ?? Infinity)) next = wake
      if (next?.atMs === undefined || next.atMs > untilMs) break
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = untilMs
  }

  eventsOf(end: End, name: string): readonly LabEvent[] {
    return this.events[end].filter((event) => event.name === name)
  }

  at(atMs: number, run: () => void): void {
    const timed = { atMs, order: this.#order++, run }
    let index = this.#timed.length
    while (index > 0 && (this.#timed[index - 1]?.atMs ?? 0) > atMs) index -= 1
    this.#timed.splice(index, 0, timed)
  }

  feed(end: End, input: BumpInput | { readonly kind: 'wake' }): void {
    for (const effect of this.gateways[end].handle(input, this.nowMs)) this.#carryOut(end, effect)
  }

  apply(end: End, station: Station, effects: readonly StreamSessionEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'write') this.#toGateway(end, station, effect.bytes)
      else if (effect.kind === 'asdu') station.received.push(effect.asdu)
      else if (effect.kind === 'started' || effect.kind === 'stopped') station.log.push(effect.kind)
      else if (effect.kind === 'close') {
        station.log.push(`gave up: ${effect.reason}`)
        this.hangUp(end, station)
      }
    }
    this.#flush(end, station)
  }

  supply(): void {
    for (const channel of [0, 1] as const) this.#supply(channel)
  }

  #flush(end: End, station: Station): void {
    while (station.isOpen && station.session.canSend) {
      const asdu = station.queue.shift()
      if (asdu === undefined) return
      this.apply(end, station, station.session.send(asdu, this.nowMs))
    }
  }

  #carryOut(end: End, effect: BumpEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#transmit(end, effect.bytes)
        break
      case 'fetchKeys': {
        const channel = effect.channel === 0 ? 0 : 1
        this.#asked[channel] = Math.max(this.#asked[channel] ?? 0, effect.upToSlot)
        this.#supply(channel)
        break
      }
      case 'event':
        this.events[end].push({ ...effect.event, atMs: this.nowMs })
        break
      case 'dial':
        this.at(this.nowMs + TCP_DELAY_MS, () => this.#dialled(effect.connection))
        break
      case 'nearWrite':
      case 'nearClose':
        this.#toStation(end, effect)
        break
      case 'nearPause': {
        const key = `${end} ${effect.connection}`
        const held = this.#paused.get(key)
        this.#paused.delete(key)
        if (effect.isPaused) this.#paused.set(key, [])
        else {
          for (const bytes of held ?? []) this.at(this.nowMs, () => this.#arrive(end, effect.connection, bytes))
        }
        break
      }
      case 'books':
        break
    }
  }

  #dialled(connection: number): void {
    if (!this.outstationListens) {
      this.feed(1, { kind: 'nearClosed', connection, reason: 'nobody listens there' })
      return
    }
    const options = { ...NEAR_DEFAULTS, role: 'controlled', ...this.outstationOptions } as const
    this.outstation = new Station(connection, options)
    this.outstation.slowMs = this.outstationSlowMs
    this.outstation.queue.push(...this.outstationQueue)
    this.outstations.push(this.outstation)
    this.apply(1, this.outstation, this.outstation.session.open(this.nowMs))
    this.feed(1, { kind: 'nearOpen', connection, peer: 'outstation' })
  }

  #stationOf(end: End, connection: number): Station | undefined {
    return end === 0 ? this.masters.get(connection) : this.outstations.find(({ id }) => id === connection)
  }

  #toStation(end: End, effect: Extract<BumpEffect, { kind: 'nearWrite' | 'nearClose' }>): void {
    const station = this.#stationOf(end, effect.connection)
    if (station === undefined) return
    const atMs = Math.max(this.nowMs + TCP_DELAY_MS, station.nextReadMs)
    station.nextReadMs = atMs + station.slowMs
    this.at(atMs, () => {
      if (!station.isOpen) return
      if (effect.kind === 'nearWrite' && station.isStandBy) {
        if (hex(effect.bytes) === hex(encodeU('testfrAct'))) this.raw(end, station, encodeU('testfrCon'))
        else station.log.push(hex(effect.bytes))
      } else if (effect.kind === 'nearWrite') {
        this.apply(end, station, station.session.receive(effect.bytes, this.nowMs))
      } else {
        station.isOpen = false
        station.log.push('closed')
        this.feed(end, { kind: 'nearClosed', connection: effect.connection, reason: 'closed' })
      }
    })
  }

  /** Octets come in whatever pieces. */
  #toGateway(end: End, station: Station, bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length; ) {
      const sizeBytes = 1 + Math.floor(this.#random.uniform() * 40)
      const piece = bytes.slice(offset, offset + sizeBytes)
      offset += sizeBytes
      this.at(this.nowMs + TCP_DELAY_MS, () => this.#arrive(end, station.id, piece))
    }
  }

  #arrive(end: End, connection: number, bytes: Uint8Array): void {
    const held = this.#paused.get(`${end} ${connection}`)
    if (held !== undefined) held.push(bytes)
    else this.feed(end, { kind: 'nearData', connection, bytes })
  }

  #transmit(from: End, bytes: Uint8Array): void {
    this.suites.push((bytes[8] ?? 0) & 0x08 ? 'aes' : 'otp')
    if (this.isLinkOut) return
    const { lossRatio, duplicateRatio, jitterMs } = this.faults
    const copies = this.#random.uniform() < duplicateRatio ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#random.uniform() < lossRatio) continue
      const atMs = this.nowMs + LINK_DELAY_MS + this.#random.uniform() * jitterMs
      this.at(atMs, () => this.feed(from === 0 ? 1 : 0, { kind: 'datagram', bytes: bytes.slice() }))
    }
  }

  #supply(channel: End): void {
    const slot = this.#keyLength[channel] ?? 0
    const upTo = Math.min(this.#asked[channel] ?? 0, this.keyBudgetSlots)
    if (upTo <= slot) return
    this.#keyLength[channel] = upTo
    const bytes = Uint8Array.from({ length: 4 * (upTo - slot) }, () => Math.floor(this.#random.uniform() * 256))
    for (const end of [0, 1] as const) {
      this.at(this.nowMs + 3, () =>
        this.feed(end, { kind: 'keyBlock', block: { channel, slot, bytes: bytes.slice() } }),
      )
    }
  }
}

/** An ASDU of any type: spontaneous or whatever cause, with a number in its octets. */
export function asdu(number: number, { typeId = 30, cause = 3, sizeBytes = 20 } = {}): Uint8Array {
  const bytes = new Uint8Array(Math.max(13, sizeBytes)).fill(number & 0xff)
  bytes.set([typeId, 1, cause, 0, 1, 0])
  new DataView(bytes.buffer).setUint32(9, number)
  return bytes
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
