/**
 * A link under everything at once, in virtual time: loss, reordering, duplication, corruption, replay, forged headers,
 * steps of the wall clock, a key server that hands used key out again, and crashes of both ends at every point where the
 * ledger is written. Checks as it goes; keeps no more than it needs, so that millions of frames can pass.
 */
import {
  Ledger,
  type LedgerIdentity,
  LINK_DEFAULTS,
  SecureLink,
  type SecureLinkEffect,
  type SecureLinkInput,
} from '../../../src/protocol/index.ts'
import { EventQueue } from '../../../src/sim/event-queue.ts'
import { type Arrival, type Attack, HostileWire } from './hostile-wire.ts'
import { type End, random } from './link-world.ts'
import { asduOf, type SenderLife, SoakChecks } from './soak-checks.ts'
import { type CrashPoint, VirtualDisk } from './virtual-disk.ts'

const ENDS = [0, 1] as const
const FIRST_WALL_MS = 1_700_000_000_000
const MESSAGE_PERIOD_MS = 8
/** A crash point crashes about every so many times it is passed. */
const PASSES_PER_CRASH = 40
export type SoakReport = {
  readonly virtualS: number
  /** Distinct frames sealed. */
  readonly sealed: number
  /** Datagrams put on the wire by the ends, retransmissions included. */
  readonly transmitted: number
  /** Datagrams that came to an end, those of the attacker included. */
  readonly received: number
  readonly delivered: number
  readonly attacks: Readonly<Record<Attack, number>>
  /** Crashes by the point at which they hit. */
  readonly crashes: Readonly<Record<CrashPoint, number>>
  /** Torn copies of the ledger that a restart found. */
  readonly tornCopies: number
  readonly fsyncs: number
  readonly discardedSlots: number
  readonly usedSlots: number
  /** Longest time from both ends being there to data transfer, ms. */
  readonly slowestRecoveryMs: number
  /** What went wrong, at most 20; must be empty. */
  readonly faults: readonly string[]
}

type EndState = {
  readonly end: End
  readonly disk: VirtualDisk
  ledger: Ledger
  link: SecureLink | undefined
  sender: SenderLife
  isWriting: boolean
  armedMs: number
}

/** The key server's side of a stream. */
type Stream = { assignedSlots: number; askedSlots: number; isDry: boolean }

export class Soak {
  readonly #queue = new EventQueue<(nowMs: number) => void>()
  readonly #random: () => number
  readonly #seed: number
  readonly #ends: readonly [EndState, EndState]
  readonly #streams: readonly [Stream, Stream] = [newStream(), newStream()]
  readonly #checks = new SoakChecks(() => this.#nowMs)
  readonly #wire: HostileWire
  readonly #lastGivenMs: [number, number] = [0, 0]
  #nowMs = 0
  #wallStepMs = 0
  #isRough = true
  #nextId = 1
  #transmitted = 0
  #received = 0
  #tornCopies = 0
  #bothThereMs: number | undefined
  #slowestRecoveryMs = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#random = random(seed)
    this.#wire = new HostileWire(this.#random)
    const make = (end: End): EndState => {
      const ledger = Ledger.create(identityOf(end))
      const disk = new VirtualDisk(ledger.image, this.#random, PASSES_PER_CRASH)
      const sender = { end, life: 0, baseSlot: undefined, sealedSlots: 0 }
      return { end, disk, ledger, link: undefined, sender, isWriting: false, armedMs: Number.POSITIVE_INFINITY }
    }
    this.#ends = [make(0), make(1)]
    for (const state of this.#ends) this.#start(state)
  }

  /** Runs until so many frames are sealed, then lets the link end in order. */
  run(frames: number): SoakReport {
    this.#talk()
    this.#trouble()
    const checks = this.#checks
    while (checks.sealed < frames && checks.faults.length === 0) this.#step()
    this.#isRough = false
    this.#wire.isRough = false
    this.#runFor(60_000)
    for (const state of this.#ends) this.#feed(state, { kind: 'close' })
    this.#runFor(20_000)
    if (checks.faults.length === 0) this.#checkEnd()
    return {
      virtualS: Math.round(this.#nowMs / 1000),
      sealed: checks.sealed,
      transmitted: this.#transmitted,
      received: this.#received,
      delivered: checks.delivered,
      attacks: this.#wire.attacks,
      crashes: mergeCounts(this.#ends.map(({ disk }) => disk.crashes)),
      tornCopies: this.#tornCopies,
      fsyncs: this.#ends[0].disk.syncs + this.#ends[1].disk.syncs,
      discardedSlots: checks.discardedSlots,
      usedSlots: checks.usedSlots,
      slowestRecoveryMs: Math.round(this.#slowestRecoveryMs),
      faults: checks.faults,
    }
  }

  #step(): void {
    if (this.#queue.size === 0) throw new Error('nothing will ever happen again')
    this.#nowMs = Math.max(this.#nowMs, this.#queue.nextMs)
    this.#queue.pop()?.(this.#nowMs)
  }

  #runFor(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs
    while (this.#queue.nextMs <= untilMs) this.#step()
    this.#nowMs = untilMs
  }

  #after(delayMs: number, act: () => void): void {
    this.#queue.push(this.#nowMs + delayMs, act)
  }

  /** Messages of both ends for ever, in runs of one suite, as a scheduler that moves a chain between states gives them. */
  #talk(): void {
    if (!this.#isRough) return
    const end: End = this.#random() < 0.5 ? 0 : 1
    const suite = Math.floor(this.#nextId / (1 + (this.#nextId % 13))) % 2 === 0 ? 'otp' : 'aes'
    const id = this.#nextId++
    const expiresAtMs = this.#nowMs + 5000
    const message = { id, asdu: asduOf(id), suite, priority: id % 3, expiresAtMs } as const
    this.#feed(this.#ends[end], { kind: 'message', message })
    this.#after(MESSAGE_PERIOD_MS * (0.5 + this.#random()), () => this.#talk())
  }

  /** Crashes out of the blue, dry spells of key, clock steps. */
  #trouble(): void {
    if (!this.#isRough) return
    const dice = this.#random()
    if (dice < 0.25) this.#crash(this.#ends[this.#random() < 0.5 ? 0 : 1], 'anywhere')
    else if (dice < 0.3) for (const state of this.#ends) this.#crash(state, 'anywhere')
    else if (dice < 0.5) this.#dry(this.#random() < 0.5 ? 0 : 1)
    else if (dice < 0.7) this.#wallStepMs += (this.#random() - 0.5) * 7_200_000
    this.#after(2000 + 8000 * this.#random(), () => this.#trouble())
  }

  #dry(channel: End): void {
    this.#streams[channel].isDry = true
    this.#after(200 + 2000 * this.#random(), () => {
      this.#streams[channel].isDry = false
      this.#supply(channel)
    })
  }

  #start(state: EndState): void {
    const { end } = state
    state.sender = { end, life: state.sender.life + 1, baseSlot: undefined, sealedSlots: 0 }
    const epoch = Math.floor(FIRST_WALL_MS + this.#nowMs + this.#wallStepMs)
    const names = { own: `end${end}`, peer: `end${1 - end}` }
    state.link = new SecureLink({ ...LINK_DEFAULTS, link: 0, end, epoch, names })
    this.#feed(state, { kind: 'open', marks: state.ledger.marks })
    if (this.#ends.every(({ link }) => link !== undefined)) this.#bothThereMs ??= this.#nowMs
    for (const arrival of this.#wire.meet(end)) this.#arrive(arrival)
    // Either way of a key server: it goes on where it was, or hands out once more what it gave an earlier life.
    for (const channel of ENDS) {
      const { assignedSlots } = this.#streams[channel]
      const again = this.#random() < 0.5 ? 0 : Math.floor(this.#random() * 300)
      this.#give(state, channel, Math.max(0, assignedSlots - again), assignedSlots, 1 + 3 * this.#random())
    }
  }

  #crash(state: EndState, point: CrashPoint): void {
    if (state.link === undefined) return
    state.disk.crashes[point] += 1
    this.#checks.closeBooks(state.sender, state.link)
    state.link = undefined
    state.isWriting = false
    this.#bothThereMs = undefined
    const bytes = state.disk.crash(this.#random() < 0.5 ? 'kill' : 'power')
    const { sender } = state
    this.#after(20 + 1500 * this.#random() ** 2, () => {
      if (state.sender !== sender || state.link !== undefined) return
      state.ledger = Ledger.read(bytes, identityOf(state.end))
      for (let next = state.ledger.nextWrite(); next !== undefined; next = state.ledger.nextWrite()) {
        this.#tornCopies += 1
        state.disk.write(next)
        state.disk.sync()
        state.ledger.settle()
      }
      this.#start(state)
    })
  }

  #feed(state: EndState, input: SecureLinkInput | { readonly kind: 'wake' }): void {
    const { link } = state
    if (link === undefined) return
    const effects = link.handle(input, this.#nowMs)
    for (const effect of effects) this.#carryOut(state, effect)
    if (state.link === link) this.#arm(state)
  }

  #arm(state: EndState): void {
    const { link } = state
    const dueMs = Math.max(this.#nowMs, link?.wakeAtMs ?? Number.POSITIVE_INFINITY)
    if (dueMs >= state.armedMs && state.armedMs >= this.#nowMs) return
    if (dueMs === Number.POSITIVE_INFINITY) return
    state.armedMs = dueMs
    this.#queue.push(dueMs, () => {
      if (state.armedMs !== dueMs) return
      state.armedMs = Number.POSITIVE_INFINITY
      const wakeAtMs = state.link?.wakeAtMs
      if (wakeAtMs !== undefined && wakeAtMs <= this.#nowMs) this.#feed(state, { kind: 'wake' })
      else this.#arm(state)
    })
  }

  #carryOut(state: EndState, effect: SecureLinkEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#checks.sent(state.sender, effect.bytes, state.disk.durableMark(state.end))
        this.#transmitted += 1
        for (const arrival of this.#wire.transmit(state.end, effect.bytes)) this.#arrive(arrival)
        break
      case 'fetchKeys':
        this.#streams[state.end].askedSlots = Math.max(this.#streams[state.end].askedSlots, effect.upToSlot)
        this.#after(2, () => this.#supply(state.end))
        break
      case 'reserve':
        state.ledger.reserve(effect.mark)
        this.#write(state)
        break
      case 'sent':
        this.#checks.messageSealed(state.end, effect.id)
        break
      case 'deliver':
        this.#checks.asduDelivered(state.end === 0 ? 1 : 0, effect.asdu)
        break
      case 'up':
        if (state.end === 0 && this.#bothThereMs !== undefined) {
          this.#slowestRecoveryMs = Math.max(this.#slowestRecoveryMs, this.#nowMs - this.#bothThereMs)
          this.#bothThereMs = Number.POSITIVE_INFINITY
        }
        break
    }
  }

  /** One write after the other, each of several moments at which the process may die. */
  #write(state: EndState): void {
    const next = state.isWriting ? undefined : state.ledger.nextWrite()
    if (next === undefined) return
    state.isWriting = true
    const { sender, disk } = state
    const then = (delayMs: number, point: CrashPoint, act: () => void): void =>
      this.#after(delayMs, () => {
        if (state.sender !== sender || state.link === undefined) return
        if (this.#isRough && disk.strikes(point)) this.#crash(state, point)
        else act()
      })
    then(0.1, 'beforeWrite', () => {
      disk.write(next)
      then(0.1, 'written', () =>
        then(0.2 + 4 * this.#random(), 'beforeSync', () => {
          disk.sync()
          then(0.1, 'synced', () => {
            state.isWriting = false
            for (const mark of state.ledger.settle()) this.#feed(state, { kind: 'reserved', mark })
            if (this.#isRough && disk.strikes('settled')) this.#crash(state, 'settled')
            else this.#write(state)
          })
        }),
      )
    })
  }

  #supply(channel: End): void {
    const stream = this.#streams[channel]
    const fromSlot = stream.assignedSlots
    if (stream.isDry || stream.askedSlots <= fromSlot) return
    stream.assignedSlots = stream.askedSlots
    for (const state of this.#ends) this.#give(state, channel, fromSlot, stream.assignedSlots, 1 + 4 * this.#random())
  }

  /** A block of the stream reaches an end, later; blocks to one end come in order. */
  #give(state: EndState, channel: End, fromSlot: number, toSlot: number, delayMs: number): void {
    const { sender } = state
    const atMs = Math.max(this.#nowMs + delayMs, this.#lastGivenMs[state.end])
    this.#lastGivenMs[state.end] = atMs
    this.#queue.push(atMs, () => {
      if (state.sender !== sender) return
      const bytes = keyOf(this.#seed + channel, fromSlot, toSlot - fromSlot)
      if (channel === state.end) sender.baseSlot ??= fromSlot
      this.#feed(state, { kind: 'keyBlock', block: { channel, slot: fromSlot, bytes } })
    })
  }

  #arrive({ from, bytes, what, delayMs }: Arrival): void {
    this.#after(delayMs, () => {
      const state = this.#ends[from === 0 ? 1 : 0]
      const { link } = state
      if (link === undefined) return
      this.#received += 1
      const before = framesReceived(link)
      const wakeAtMs = link.wakeAtMs
      const used = what === 'false' ? usedOf(link) : ''
      const effects = link.handle({ kind: 'datagram', bytes: bytes.slice() }, this.#nowMs)
      const accepted = framesReceived(link) - before
      if (what === 'false') {
        if (accepted > 0) this.#checks.fault(`end ${state.end} accepted a forged datagram`)
        const isDue = wakeAtMs !== undefined && wakeAtMs <= this.#nowMs
        if (effects.length > 0 && !isDue) this.#checks.fault(`end ${state.end} answered a forged datagram`)
        if (usedOf(link) !== used && !isDue) this.#checks.fault(`end ${state.end} used key for a forged datagram`)
      } else if (accepted > 0) this.#checks.accepted(from, bytes)
      for (const effect of effects) this.#carryOut(state, effect)
      if (state.link === link) this.#arm(state)
    })
  }

  #checkEnd(): void {
    for (const { end, link, sender } of this.#ends) {
      if (link !== undefined) this.#checks.closeBooks(sender, link)
      if (link === undefined || link.wakeAtMs !== undefined) this.#checks.fault(`end ${end} is not quiet`)
    }
    const [a, b] = [this.#ends[0].link, this.#ends[1].link]
    if (a !== undefined && b !== undefined) this.#checks.booksAgree(a, b)
  }
}

function newStream(): Stream {
  return { assignedSlots: 0, askedSlots: 0, isDry: false }
}

function identityOf(end: End): LedgerIdentity {
  return { node: `end${end}`, run: 'soak', ends: [{ link: 0, end }] }
}

/** Key octets of a stream, the same whenever they are asked for. */
function keyOf(seed: number, slot: number, slots: number): Uint8Array {
  const bytes = new Uint8Array(4 * slots)
  const view = new DataView(bytes.buffer)
  for (let index = 0; index < slots; index += 1) {
    let mixed = Math.imul(slot + index + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
    view.setUint32(4 * index, Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) >>> 0)
  }
  return bytes
}

function framesReceived(link: SecureLink): number {
  return link.counters()['framesReceived'] ?? 0
}

function usedOf(link: SecureLink): string {
  const [tx, rx] = link.books()
  return `${tx.usedSlots} ${rx.usedSlots}`
}

function mergeCounts(counts: readonly Record<CrashPoint, number>[]): Record<CrashPoint, number> {
  const merged: Record<CrashPoint, number> = {
    anywhere: 0,
    beforeWrite: 0,
    written: 0,
    beforeSync: 0,
    synced: 0,
    settled: 0,
  }
  for (const one of counts) for (const point of Object.keys(merged) as CrashPoint[]) merged[point] += one[point]
  return merged
}
