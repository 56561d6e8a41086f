/** An RTU between a centre with two ways and two IEDs, in virtual time. */
import {
  CONTROLLING_STATION_DEFAULTS,
  ControllingStation,
  type ControllingStationEffect,
  type Operation,
} from '../../src/master/index.ts'
import { decodeAsdu, encodeAsdu } from '../../src/protocol/index.ts'
import { type RtuConfig, RtuNode, type StreamEffect, type StreamInput } from '../../src/rtu/index.ts'
import type { LabNode, NodeEffect, NodeInput, Wake } from '../../src/runtime/contract.ts'
import { linkOptions, Peer, tell, WALL_MS, World } from '../nodes/harness.ts'

type Done = Extract<ControllingStationEffect, { kind: 'done' }>

/** An RTU with its TCP face, and controlling stations on it that the world does not see. */
export class Station implements LabNode {
  readonly node: RtuNode
  readonly #masters = new Map<number, Master>()
  #effects: NodeEffect[] = []

  constructor(config: RtuConfig) {
    this.node = new RtuNode(config)
  }

  get wakeAtMs(): number | undefined {
    const times = [this.node, ...this.#masters.values()].flatMap(({ wakeAtMs }) => wakeAtMs ?? [])
    return times.length === 0 ? undefined : Math.min(...times)
  }

  handle(input: NodeInput | Wake, nowMs: number): readonly NodeEffect[] {
    for (const master of [...this.#masters.values()]) {
      if (input.kind === 'wake' && (master.wakeAtMs ?? Number.POSITIVE_INFINITY) <= nowMs) master.wake(nowMs)
    }
    this.feed(input, nowMs)
    return this.#effects.splice(0)
  }

  /** A controlling station connects. What the RTU sends on its links goes out with the next input. */
  connect(connection: number, nowMs: number): Master {
    const master = new Master((input, atMs) => this.feed(input, atMs), connection)
    this.#masters.set(connection, master)
    this.feed({ kind: 'connected', connection, peer: `192.0.2.${connection}:40000` }, nowMs)
    master.take({ kind: 'open' }, nowMs)
    return master
  }

  disconnect(connection: number, nowMs: number): void {
    this.#masters.delete(connection)
    this.feed({ kind: 'disconnected', connection }, nowMs)
  }

  feed(input: NodeInput | StreamInput | Wake, nowMs: number): void {
    for (const effect of this.node.handle(input, nowMs)) {
      if (effect.kind === 'write' || effect.kind === 'close') this.#masters.get(effect.connection)?.on(effect, nowMs)
      else this.#effects.push(effect)
    }
  }
}

/** A third party's controlling station. */
export class Master {
  readonly got: string[] = []
  readonly done: Done[] = []
  closed: string | undefined
  readonly #station = new ControllingStation({ ...CONTROLLING_STATION_DEFAULTS, parallel: 4 })
  readonly #feed: (input: StreamInput, nowMs: number) => void
  readonly #connection: number
  #nextId = 1

  constructor(feed: (input: StreamInput, nowMs: number) => void, connection: number) {
    this.#feed = feed
    this.#connection = connection
  }

  get wakeAtMs(): number | undefined {
    return this.#station.wakeAtMs
  }

  wake(nowMs: number): void {
    this.take({ kind: 'wake' }, nowMs)
  }

  operate(operation: Operation, nowMs: number): void {
    this.take({ kind: 'operate', id: this.#nextId++, operation, wallMs: WALL_MS + nowMs }, nowMs)
  }

  on(effect: StreamEffect, nowMs: number): void {
    if (effect.kind === 'close') this.closed = effect.reason
    else this.take({ kind: 'octets', bytes: effect.bytes }, nowMs)
  }

  take(input: Parameters<ControllingStation['handle']>[0], nowMs: number): void {
    for (const effect of this.#station.handle(input, nowMs)) {
      if (effect.kind === 'write')
        this.#feed({ kind: 'octets', connection: this.#connection, bytes: effect.bytes }, nowMs)
      else if (effect.kind === 'done') this.done.push(effect)
      else if (effect.kind === 'data') this.got.push(brief(encodeAsdu(effect.asdu)))
    }
  }
}

/** `type cause`, `-` for P/N, the addresses, and the OA if there is one. */
export function brief(octets: Uint8Array): string {
  const { type, cot, negative, oa, objects } = decodeAsdu(octets)
  const ioas = objects.map(({ ioa }) => ioa).join(',')
  return `${type} ${cot}${negative ? '-' : ''} ${ioas}${oa === 0 ? '' : ` oa${oa}`}`
}

/** Links 1 and 2 up; the IED on link 3 owns 1, 2, 3 and 700, that on link 4 owns 11 and 800. CA 5. */
export function rtuLab(more: Partial<RtuConfig> = {}) {
  const up = new Peer([linkOptions(1, 0), linkOptions(2, 0)])
  const iedA = new Peer([linkOptions(3, 1)])
  const iedB = new Peer([linkOptions(4, 1)])
  const rtu = new Station({
    id: 'rtu',
    ca: 5,
    upLinks: [linkOptions(1, 1), linkOptions(2, 1)],
    ieds: [
      { link: linkOptions(3, 0), ioas: [1, 2, 3, 700] },
      { link: linkOptions(4, 0), ioas: [11, 800] },
    ],
    ...more,
  })
  const world = new World().add('up', up).add('iedA', iedA).add('iedB', iedB).add('rtu', rtu)
  world.connect(1, ['up', 'rtu']).connect(2, ['up', 'rtu']).connect(3, ['rtu', 'iedA']).connect(4, ['rtu', 'iedB'])
  // Long enough for the end of initialization to be acknowledged.
  world.start().runTo(500)
  up.received.length = 0
  iedA.received.length = 0
  iedB.received.length = 0
  const say = (asdu: Uint8Array, link = 1, suite: 'otp' | 'aes' = 'otp') => {
    tell(world, 'up', up, { link, asdu, suite })
    world.runTo(world.nowMs + 20)
  }
  const report = (asdu: Uint8Array, suite: 'otp' | 'aes' = 'aes') => {
    tell(world, 'iedA', iedA, { link: 3, asdu, suite })
    world.runTo(world.nowMs + 10)
  }
  const reportB = (asdu: Uint8Array, suite: 'otp' | 'aes' = 'aes') => {
    tell(world, 'iedB', iedB, { link: 4, asdu, suite })
    world.runTo(world.nowMs + 10)
  }
  /** What came to the centre since the last call. */
  const news = (): string[] => up.received.splice(0).map(({ asdu }) => brief(asdu))
  const told = (ied: Peer): string[] => ied.received.splice(0).map(({ asdu }) => brief(asdu))
  return { world, up, iedA, iedB, rtu, say, report, reportB, news, told }
}
