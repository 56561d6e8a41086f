import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { Etsi014Key } from '../../src/keypool/etsi014-messages.ts'
import {
  Etsi014Pairing,
  type Etsi014PairingEffect,
  type Etsi014PairingInput,
} from '../../src/keypool/etsi014-pairing.ts'
import { MAX_IDS_BYTES, readPairingMessage, writePairingMessage } from '../../src/keypool/etsi014-pairing-message.ts'
import type { Wake } from '../../src/runtime/contract.ts'

type Side = 0 | 1
const mac = (message: Uint8Array): Uint8Array => createHmac('sha256', 'shared').update(message).digest()
const otherMac = (message: Uint8Array): Uint8Array => createHmac('sha256', 'other').update(message).digest()

/** A small generator (mulberry32): numbers in 0..1. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Two managers of one QKD link: a key is given once by enc_keys and once by dec_keys. Each 4 octets of key are unique. */
class Managers {
  readonly #ready = new Map<string, Uint8Array>()
  #count = 0
  #octets = 0
  isFull = true

  enc(number: number, sizeBits: number, idLength = 36): Etsi014Key[] {
    return Array.from({ length: number }, () => {
      const bytes = new Uint8Array(sizeBits / 8)
      const view = new DataView(bytes.buffer)
      for (let at = 0; at < bytes.length; at += 4) view.setUint32(at, ++this.#octets)
      const id = `${++this.#count}`.padStart(idLength, '0')
      this.#ready.set(id, bytes.slice())
      return new Etsi014Key(id, bytes)
    })
  }

  dec(keyIds: readonly string[]): Etsi014Key[] | undefined {
    const found = keyIds.map((id) => this.#ready.get(id))
    if (found.includes(undefined)) return undefined
    for (const id of keyIds) this.#ready.delete(id)
    return keyIds.map((id, index) => new Etsi014Key(id, found[index] ?? new Uint8Array(0)))
  }
}

/** The stream of one channel at one end's process, as a secure link would hold it: values of 4 octets by slot. */
type Stream = { readonly slots: Map<number, number>; end: number | undefined; usedSlots: number }

type Faults = { loss: number; repeat: number; maxDelayMs: number; deny: number; busy: number; crash: number }
const QUIET: Faults = { loss: 0, repeat: 0, maxDelayMs: 20, deny: 0, busy: 0, crash: 0 }

class World {
  readonly problems: string[] = []
  readonly managers = new Managers()
  readonly sent: Uint8Array[] = []
  readonly events: string[] = []
  nowMs = 0
  faults: Faults
  readonly #random: () => number
  readonly #idLength: number
  readonly #queue: { atMs: number; run: () => void }[] = []
  readonly ends: [Etsi014Pairing, Etsi014Pairing]
  readonly #lives: [number, number] = [0, 0]
  /** By side, then channel. */
  streams: [Stream[], Stream[]] = [
    [fresh(), fresh()],
    [fresh(), fresh()],
  ]
  /** Slots and values that a sender has sent under, over all its lives. */
  readonly #usedSlots = new Set<string>()
  readonly #usedValues = new Set<number>()
  readonly goals: [number, number] = [0, 0]

  constructor(seed: number, faults: Faults, idLength = 36) {
    this.#random = randomOf(seed)
    this.faults = faults
    this.#idLength = idLength
    this.ends = [this.#make(0, 0, 0), this.#make(1, 0, 0)]
    for (const side of [0, 1] as const) this.feed(side, { kind: 'start' })
  }

  want(side: Side, upToSlot: number): void {
    this.goals[side] = upToSlot
    this.feed(side, { kind: 'want', upToSlot })
  }

  /** Where the sender's stream of this side ends; a stream that has not begun goes on above its ledger. */
  endOf(side: Side): number {
    const stream = this.streams[side][side]
    return stream?.end ?? stream?.usedSlots ?? 0
  }

  feed(side: Side, input: Etsi014PairingInput | Wake): void {
    for (const effect of this.ends[side].handle(input, this.nowMs)) this.#carryOut(side, effect)
  }

  runTo(endMs: number): void {
    for (;;) {
      const wakes = this.ends.map((end) => end.wakeAtMs ?? Number.POSITIVE_INFINITY)
      this.#queue.sort((one, other) => one.atMs - other.atMs)
      const next = Math.min(...wakes, this.#queue[0]?.atMs ?? Number.POSITIVE_INFINITY)
      if (next > endMs) break
      this.nowMs = Math.max(this.nowMs, next)
      const due = this.#queue[0]
      if (due !== undefined && due.atMs <= this.nowMs) {
        this.#queue.shift()
        due.run()
      } else for (const side of [0, 1] as const) if ((wakes[side] ?? 0) <= this.nowMs) this.feed(side, { kind: 'wake' })
      this.#use()
      if (this.#random() < this.faults.crash) this.crash(this.#random() < 0.5 ? 0 : 1)
    }
    this.nowMs = endMs
  }

  /** The end's process dies and comes back with what its ledger knows: what was sent under, and no key. */
  crash(side: Side): void {
    this.#lives[side]++
    const [tx, rx] = [this.streams[side][side], this.streams[side][1 - side]]
    this.streams[side] = [fresh(), fresh()]
    for (const [channel, stream] of this.streams[side].entries()) {
      stream.usedSlots = (channel === side ? tx?.usedSlots : rx?.usedSlots) ?? 0
    }
    this.ends[side] = this.#make(side, tx?.usedSlots ?? 0, rx?.usedSlots ?? 0)
    this.feed(side, { kind: 'start' })
    this.feed(side, { kind: 'want', upToSlot: this.goals[side] })
  }

  #make(side: Side, txStartSlot: number, rxStartSlot: number): Etsi014Pairing {
    return new Etsi014Pairing({
      link: 0,
      side,
      txStartSlot,
      rxStartSlot,
      keySizeBits: 64,
      batchKeys: 8,
      mac,
      randomBytes: (length) => Uint8Array.from({ length }, () => Math.floor(256 * this.#random())),
    })
  }

  /** The sender sends under some of its key; the receiver's ledger sees what it could open. */
  #use(): void {
    for (const side of [0, 1] as const) {
      const tx = this.streams[side][side]
      const rx = this.streams[1 - side]?.[side]
      if (tx === undefined || rx === undefined || tx.end === undefined) continue
      const upTo = Math.min(tx.end, tx.usedSlots + Math.floor(5 * this.#random()))
      for (let slot = tx.usedSlots; slot < upTo; slot++) {
        const value = tx.slots.get(slot)
        if (value === undefined) continue
        if (this.#usedSlots.has(`${side} ${slot}`)) this.problems.push(`slot ${slot} of channel ${side} used twice`)
        if (this.#usedValues.has(value)) this.problems.push(`key ${value} used twice`)
        this.#usedSlots.add(`${side} ${slot}`)
        this.#usedValues.add(value)
        const atPeer = rx.slots.get(slot)
        if (atPeer !== undefined && atPeer !== value) this.problems.push(`slot ${slot} of channel ${side} differs`)
        if (atPeer !== undefined) rx.usedSlots = Math.max(rx.usedSlots, slot + 1)
      }
      tx.usedSlots = Math.max(tx.usedSlots, upTo)
    }
  }

  #later(side: Side, run: () => void): void {
    const life = this.#lives[side]
    const atMs = this.nowMs + this.faults.maxDelayMs * this.#random()
    this.#queue.push({ atMs, run: () => this.#lives[side] === life && run() })
  }

  #carryOut(side: Side, effect: Etsi014PairingEffect): void {
    const { loss, repeat, deny, busy } = this.faults
    const peer = side === 0 ? 1 : 0
    switch (effect.kind) {
      case 'send':
        this.sent.push(effect.bytes)
        for (let copies = this.#random() < repeat ? 2 : 1; copies > 0; copies--) {
          const atMs = this.nowMs + this.faults.maxDelayMs * this.#random()
          const run = (): void => this.feed(peer, { kind: 'message', bytes: effect.bytes })
          if (this.#random() >= loss) this.#queue.push({ atMs, run })
        }
        return
      case 'encKeys':
      case 'decKeys': {
        const { call } = effect
        const keys =
          this.#random() < busy || !this.managers.isFull
            ? 'busy'
            : effect.kind === 'encKeys'
              ? this.managers.enc(effect.number, effect.sizeBits, this.#idLength)
              : this.managers.dec(effect.keyIds)
        // The answer may be lost although the keys are gone; the client then says it failed.
        const isLost = this.#random() < deny
        this.#later(side, () => {
          if (keys === 'busy') this.feed(side, { kind: 'failed', call, isFinal: false })
          else if (keys === undefined) this.feed(side, { kind: 'failed', call, isFinal: true })
          else if (isLost) this.feed(side, { kind: 'failed', call, isFinal: false })
          else this.feed(side, { kind: 'keys', call, keys })
        })
        return
      }
      case 'keyBlock':
        this.#append(side, effect.block)
        return
      case 'skip': {
        const stream = this.streams[side][effect.channel]
        if (stream !== undefined) stream.usedSlots = Math.max(stream.usedSlots, effect.upToSlot)
        return
      }
      case 'event':
        this.events.push(effect.event.name)
    }
  }

  #append(side: Side, { channel, slot, bytes }: { channel: number; slot: number; bytes: Uint8Array }): void {
    const stream = this.streams[side][channel]
    if (stream === undefined) throw new Error(`channel ${channel}`)
    if (stream.end !== undefined && stream.end !== slot) this.problems.push(`slot ${slot} after ${stream.end}`)
    if (slot < stream.usedSlots) this.problems.push(`slot ${slot} below the ledger's ${stream.usedSlots}`)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let at = 0; at < bytes.length; at += 4) stream.slots.set(slot + at / 4, view.getUint32(at))
    stream.end = slot + bytes.length / 4
  }
}

function fresh(): Stream {
  return { slots: new Map(), end: undefined, usedSlots: 0 }
}

t.test('both ends get equal streams of both directions, each from its own manager', async (t) => {
  const world = new World(1, QUIET)
  world.want(0, 100)
  world.want(1, 37)
  world.runTo(2000)
  const [[a0, a1], [b0, b1]] = world.streams
  t.same([a0?.end, b0?.end], [100, 100])
  t.same([a1?.end, b1?.end], [38, 38], 'whole keys')
  t.same(a0?.slots, b0?.slots)
  t.same(a1?.slots, b1?.slots)
  t.same(world.problems, [])
  const before = world.sent.length
  world.want(0, 100)
  world.runTo(60_000)
  t.equal(world.sent.length, before, 'and then nothing is said')
})

t.test('a sender has no key before its twin has it', async (t) => {
  const world = new World(2, QUIET)
  world.want(0, 10)
  while ((world.streams[1][0]?.end ?? 0) === 0 && world.nowMs < 1000) world.runTo(world.nowMs + 0.5)
  t.same([world.streams[0][0]?.end, world.streams[1][0]?.end], [0, 10])
  world.runTo(1000)
  t.equal(world.streams[0][0]?.end, 10)
})

t.test('a manager without key is asked again, ever less often, and nothing else is', async (t) => {
  const world = new World(3, QUIET)
  world.managers.isFull = false
  world.want(0, 10)
  world.runTo(60_000)
  t.equal(world.streams[0][0]?.end, 0)
  t.equal(world.sent.length, 4, 'the hellos of both ends and their welcomes')
  world.managers.isFull = true
  world.runTo(80_000)
  t.equal(world.streams[0][0]?.end, 10)
})

t.test('forged, foreign, reflected and repeated messages change nothing', async (t) => {
  const world = new World(4, QUIET)
  world.want(0, 100)
  world.runTo(2000)
  const before = JSON.stringify([...world.streams[0], ...world.streams[1]].map(({ end }) => end))
  const recorded = [...world.sent]
  for (const bytes of recorded) {
    world.feed(1, { kind: 'message', bytes: bytes.subarray(0, -1) })
    world.feed(1, { kind: 'message', bytes: bytes.with(20, 9) })
    const message = readPairingMessage(bytes, mac)
    if (message !== undefined) world.feed(1, { kind: 'message', bytes: writePairingMessage(message, otherMac) })
    world.feed(0, { kind: 'message', bytes })
    world.feed(1, { kind: 'message', bytes })
  }
  world.runTo(4000)
  t.equal(JSON.stringify([...world.streams[0], ...world.streams[1]].map(({ end }) => end)), before)
  world.want(0, 200)
  world.runTo(6000)
  t.equal(world.streams[1][0]?.end, 200, 'and the stream goes on')
  t.same(world.problems, [])
})

t.test('messages of an earlier life of the sender, played again, do not stop the one of today', async (t) => {
  const world = new World(5, QUIET)
  world.want(0, 50)
  world.runTo(2000)
  const recorded = [...world.sent]
  world.crash(0)
  world.want(0, 100)
  world.runTo(4000)
  for (const bytes of recorded) world.feed(1, { kind: 'message', bytes })
  world.want(0, 150)
  world.runTo(8000)
  t.ok((world.streams[0][0]?.end ?? 0) >= 150)
  t.equal(world.streams[0][0]?.end, world.streams[1][0]?.end)
  t.same(world.problems, [])
})

t.test('a receiver that was started again costs the key it has lost, and the sender is told', async (t) => {
  const world = new World(6, QUIET)
  world.want(0, 100)
  world.runTo(2000)
  world.crash(1)
  world.want(0, 200)
  world.runTo(9000)
  const [sender, receiver] = [world.streams[0][0], world.streams[1][0]]
  t.equal(sender?.end, receiver?.end)
  t.ok((sender?.usedSlots ?? 0) >= 100, 'nothing below is sent under any more')
  t.same(world.problems, [])
})

t.test('a sender that wants nothing learns at once that its twin was started again, and then is quiet', async (t) => {
  const world = new World(8, QUIET)
  world.want(0, 100)
  world.runTo(2000)
  world.crash(1)
  world.runTo(4000)
  t.ok((world.streams[0][0]?.usedSlots ?? 0) >= 100, 'what the twin has lost is not sent under')
  const sent = world.sent.length
  world.runTo(60_000)
  t.equal(world.sent.length, sent)
  t.same(world.problems, [])
})

t.test('long key_IDs make smaller batches', async (t) => {
  const world = new World(7, QUIET, 128)
  const big = new World(7, QUIET, 200)
  world.want(0, 100)
  big.want(0, 100)
  world.runTo(20_000)
  big.runTo(60_000)
  t.ok((world.streams[1][0]?.end ?? 0) >= 100)
  t.ok((big.streams[1][0]?.end ?? 0) >= 100)
  t.ok([...world.sent, ...big.sent].every(({ length }) => length <= MAX_IDS_BYTES + 100))
})

t.test('over loss, repetition, delay, refusals and crashes of both ends no key is used twice or differs', async (t) => {
  const seeds = Array.from({ length: 80 }, (_, seed) => seed)
  const problems: string[] = []
  let lost = 0
  for (const seed of seeds) {
    const world = new World(seed, { loss: 0.2, repeat: 0.2, maxDelayMs: 1500, deny: 0.1, busy: 0.1, crash: 0.01 })
    for (let step = 1; step <= 20; step++) {
      world.want(0, world.endOf(0) + 40)
      world.want(1, world.endOf(1) + 40)
      world.runTo(step * 10_000)
    }
    world.faults = QUIET
    world.runTo(300_000)
    const goals = [world.endOf(0) + 40, world.endOf(1) + 40] as const
    for (const side of [0, 1] as const) world.want(side, goals[side])
    world.runTo(400_000)
    problems.push(...world.problems.map((problem) => `${seed}: ${problem}`))
    for (const side of [0, 1] as const) {
      const [tx, rx] = [world.streams[side][side], world.streams[1 - side]?.[side]]
      if ((tx?.end ?? 0) < goals[side] || tx?.end !== rx?.end) problems.push(`${seed}: stuck at ${tx?.end}, ${rx?.end}`)
    }
    lost += world.events.filter((name) => name === 'etsi014.lost').length
  }
  t.same(problems.slice(0, 10), [])
  t.ok(lost > seeds.length, 'and keys were lost on the way')
})

t.test('any octets with a good tag are read or refused, and none make an end throw', async () => {
  const world = new World(8, QUIET)
  world.want(0, 50)
  world.runTo(1000)
  const magic = [0x51, 0x34, 0x50, 0x31]
  fc.assert(
    fc.property(fc.nat({ max: 7 }), fc.nat({ max: 2 }), fc.uint8Array({ maxLength: 120 }), (kind, channel, rest) => {
      const body = Uint8Array.from([...magic, kind, 0, channel, ...rest])
      const bytes = Uint8Array.from([...body, ...mac(body)])
      world.feed(0, { kind: 'message', bytes })
      world.feed(1, { kind: 'message', bytes })
    }),
    { numRuns: 2000 },
  )
})
