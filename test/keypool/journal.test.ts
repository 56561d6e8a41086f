import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { openKeyJournal } from '../../src/keypool/index.ts'
import { journalLine, readJournal } from '../../src/keypool/journal.ts'
import {
  type JournalEntry,
  JournalState,
  type KeyJournal,
  type KeyServerEffect,
  KeyServerNode,
  type KeyServerOptions,
} from '../../src/keypool/pure.ts'
import type { KeyBlock, PoolBooks } from '../../src/runtime/contract.ts'

const LINKS: KeyServerOptions['links'] = [
  { link: 0, ends: ['a', 'b'], keys: 'pool' },
  { link: 1, ends: ['b', 'c'], keys: 'pool' },
  { link: 2, ends: ['a', 'd'], keys: 'local' },
  { link: 3, ends: ['a', 'c'], keys: 'relay' },
]
const CHANNELS = 8

class Killed extends Error {}

/** A journal on a disk of which a process can die at any write, and a machine at any octet that was not synced. */
class Disk {
  text = ''
  #syncedLength = 0
  #boot = 1
  #appended = 0
  /** Durable writes that nobody waits for. */
  #toSync: (() => void)[] = []
  /** Writes left until the process dies, and whether the last one gets through. */
  dieAfter: { writes: number; writes1More: boolean } | undefined

  open(): KeyJournal {
    const read = this.text === '' ? undefined : readJournal(this.text, 'disk')
    const state = read?.state ?? new JournalState()
    const exact = read !== undefined && !read.torn && read.head.boot === `${this.#boot}`
    const past = read && { entry: state.entry(), exact }
    this.text = `${journalLine(0, { q104: 'key journal 1', identity: 'x', boot: `${this.#boot}` })}`
    this.text += journalLine(1, state.entry())
    this.#syncedLength = this.text.length
    let lines = 2
    this.#toSync = []
    return {
      past,
      prepare: (marks, done) => {
        this.text += journalLine(lines++, state.withMarks(marks))
        const { length } = this.text
        this.#toSync.push(() => {
          this.#syncedLength = Math.max(this.#syncedLength, length)
          done()
        })
      },
      append: (entry: JournalEntry, durable: boolean) => {
        const { dieAfter } = this
        if (this.#appended++ % 3 === 0) for (const sync of this.#toSync.splice(0)) sync()
        if (dieAfter !== undefined && dieAfter.writes-- <= 0 && !dieAfter.writes1More) throw new Killed()
        this.text += journalLine(lines++, entry)
        state.take(entry)
        if (dieAfter !== undefined && dieAfter.writes < 0) throw new Killed()
        if (durable) this.#syncedLength = this.text.length
      },
    }
  }

  failMachine(keptRatio: number): void {
    const unsynced = this.text.length - this.#syncedLength
    this.text = this.text.slice(0, this.#syncedLength + Math.floor(unsynced * keptRatio))
    this.#boot++
  }
}

type Stream = { nextSlot: number; usedSlots: number; discardedSlots: number; material: Map<number, number> }

/** A node as the key server sees it, its KeyClient included. */
class End {
  readonly id: string
  readonly instance: string
  readonly streams = new Map<number, Stream>()
  /** Blocks on their way. */
  coming: KeyBlock[] = []

  constructor(id: string, instance: string) {
    this.id = id
    this.instance = instance
    for (const { link, ends } of LINKS) {
      if (!ends.includes(id)) continue
      for (const channel of [2 * link, 2 * link + 1]) {
        this.streams.set(channel, { nextSlot: 0, usedSlots: 0, discardedSlots: 0, material: new Map() })
      }
    }
  }

  get have(): { channel: number; slot: number }[] {
    return [...this.streams].map(([channel, { nextSlot }]) => ({ channel, slot: nextSlot }))
  }

  receive(): void {
    for (const { channel, slot, bytes } of this.coming.splice(0)) {
      const stream = this.streams.get(channel)
      if (stream === undefined) throw new Error(`${this.id} got key of channel ${channel}`)
      if (stream.nextSlot === 0) {
        stream.usedSlots = slot
      } else if (bytes.length === 0) {
        stream.discardedSlots += Math.max(0, slot - stream.usedSlots)
        stream.usedSlots = Math.max(stream.usedSlots, slot)
      } else if (slot > stream.nextSlot) {
        throw new Error(`${this.id} got slot ${slot} of channel ${channel} after ${stream.nextSlot}`)
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      for (let index = 0; index < bytes.length / 4; index++) {
        if (slot + index >= stream.nextSlot) stream.material.set(slot + index, view.getUint32(4 * index))
      }
      stream.nextSlot = Math.max(stream.nextSlot, slot + bytes.length / 4)
    }
  }
}

function senderOf(channel: number): string {
  return LINKS.find(({ link }) => link === channel >> 1)?.ends[channel & 1] ?? ''
}

/** The whole lab: a key server that can die, its disk, and its ends. */
class Lab {
  readonly disk = new Disk()
  readonly used = new Set<string>()
  readonly usedMaterial = new Set<number>()
  readonly usedCounts = new Map<number, number>()
  readonly ends = new Map<string, End>()
  server: KeyServerNode | undefined
  harmless = true
  deaths = 0
  #material = 1
  #instances = 0

  constructor() {
    for (const id of ['a', 'b', 'c', 'd']) this.startEnd(id)
    this.startServer()
  }

  startEnd(id: string): void {
    const end = new End(id, `${this.#instances++}`)
    this.ends.set(id, end)
    this.#subscribe(end)
  }

  startServer(): void {
    this.disk.dieAfter = undefined
    this.server = new KeyServerNode({
      ...{ poolKind: 'shared', links: LINKS, capBits: 64_000, safeBits: 0, thBits: 0, expiryMs: 5000 },
      journal: this.disk.open(),
      randomBytes: (n) => {
        const view = new DataView(new ArrayBuffer(n))
        for (let at = 0; at < n; at += 4) view.setUint32(at, this.#material++)
        return new Uint8Array(view.buffer)
      },
    })
    this.check()
    for (const end of this.ends.values()) this.#subscribe(end)
  }

  /** Undefined when the server is dead, or dies of it. */
  tell(input: Parameters<KeyServerNode['handle']>[0], nowMs = 0): readonly KeyServerEffect[] | undefined {
    try {
      const effects = this.server?.handle(input, nowMs)
      for (const effect of effects ?? []) {
        if (effect.kind === 'blocks') this.ends.get(effect.client)?.coming.push(effect.block)
      }
      return effects
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      this.killServer()
      return undefined
    }
  }

  killServer(): void {
    this.server = undefined
    this.deaths++
    for (const end of this.ends.values()) end.coming = []
  }

  failMachine(keptRatio: number): void {
    this.killServer()
    this.disk.failMachine(keptRatio)
    this.harmless = false
    for (const id of [...this.ends.keys()]) this.ends.set(id, new End(id, `${this.#instances++}`))
    this.startServer()
  }

  /** The sender of a channel uses what it has: rule 1. */
  use(channel: number, slots: number): void {
    const stream = this.ends.get(senderOf(channel))?.streams.get(channel)
    if (stream === undefined) return
    for (let left = slots; left > 0 && stream.usedSlots < stream.nextSlot; left--) {
      const slot = stream.usedSlots++
      const key = `${channel}:${slot}`
      if (this.used.has(key)) throw new Error(`slot ${key} is used twice`)
      this.used.add(key)
      const material = stream.material.get(slot)
      if (material === undefined) throw new Error(`there is no key at ${key}`)
      if (this.usedMaterial.has(material)) throw new Error(`key at ${key} is used twice`)
      this.usedMaterial.add(material)
      this.usedCounts.set(channel, (this.usedCounts.get(channel) ?? 0) + 1)
    }
  }

  report(id: string): void {
    const end = this.ends.get(id)
    for (const [channel, { nextSlot, usedSlots, discardedSlots }] of end?.streams ?? []) {
      this.tell({ kind: 'report', client: id, channel, heldSlots: nextSlot, usedSlots, discardedSlots })
    }
  }

  receive(id: string): void {
    this.ends.get(id)?.receive()
  }

  check(): void {
    if (this.server === undefined) return
    for (const books of [this.server.books(), this.server.localBooks(), this.server.relayBooks()]) {
      if (imbalanceBits(books) !== 0) throw new Error(`books do not balance: ${JSON.stringify(books)}`)
      if (Object.values(books).some((bits) => bits < 0)) throw new Error('a negative balance')
    }
    for (const { channel, assignedSlots, usedSlots, discardedSlots, skippedSlots, reserved } of this.server.streams()) {
      const sum = reserved.reduce((all, [from, to]) => all + to - from, usedSlots + discardedSlots + skippedSlots)
      if (sum !== assignedSlots)
        throw new Error(`stream ${channel}: ${sum} of ${assignedSlots} slots are accounted for`)
      if (usedSlots > (this.usedCounts.get(channel) ?? 0)) throw new Error(`channel ${channel}: more used than was`)
    }
  }

  #subscribe(end: End): void {
    const links = LINKS.flatMap(({ link, ends }) => (ends.includes(end.id) ? [link] : []))
    const effects = this.tell({ kind: 'subscribe', client: end.id, links, instance: end.instance, have: end.have })
    if (effects?.some(({ kind }) => kind === 'refuse')) throw new Error(`${end.id} is refused`)
  }
}

function imbalanceBits(books: PoolBooks): number {
  const { generatedBits, usedBits, expiredBits, discardedBits, reservedBits, poolBits } = books
  return generatedBits - usedBits - expiredBits - discardedBits - reservedBits - poolBits
}

const channel = fc.integer({ min: 0, max: CHANNELS - 1 })
const id = fc.constantFrom('a', 'b', 'c', 'd')
const arbStep = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('generate' as const), bits: fc.integer({ min: 0, max: 6000 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('want' as const), channel, slots: fc.integer({ min: 1, max: 120 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('use' as const), channel, slots: fc.integer({ min: 1, max: 90 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('flow' as const), channel, slots: fc.integer({ min: 1, max: 90 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('receive' as const), id }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('report' as const), id }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('killAtWrite' as const),
      writes: fc.integer({ min: 0, max: 6 }),
      writes1More: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restartEnd' as const), id }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('failMachine' as const),
      kept: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
)

t.test('a server that dies at any write, with its ends or without: no slot twice, books true to the bit', async (t) => {
  let deaths = 0
  let uses = 0
  let comparisons = 0
  const property = fc.property(
    fc.boolean(),
    fc.array(arbStep, { minLength: 20, maxLength: 150 }),
    (onlyServer, steps) => {
      const lab = new Lab()
      for (const step of steps) {
        if (lab.server === undefined) lab.startServer()
        const before = lab.server?.books().generatedBits ?? 0
        const machineFails = step.kind === 'failMachine'
        if (step.kind === 'generate') lab.tell({ kind: 'generated', link: step.bits % 2, bits: step.bits })
        if (step.kind === 'want') {
          const upToSlot = (lab.server?.stream(step.channel)?.assignedSlots ?? 0) + step.slots
          lab.tell({ kind: 'want', client: senderOf(step.channel), channel: step.channel, upToSlot })
        }
        if (step.kind === 'flow') {
          lab.tell({ kind: 'generated', link: 0, bits: 32 * step.slots })
          const upToSlot = (lab.server?.stream(step.channel)?.assignedSlots ?? 0) + step.slots
          lab.tell({ kind: 'want', client: senderOf(step.channel), channel: step.channel, upToSlot })
          lab.receive(senderOf(step.channel))
          lab.use(step.channel, step.slots)
        }
        if (step.kind === 'use') lab.use(step.channel, step.slots)
        if (step.kind === 'receive') lab.receive(step.id)
        if (step.kind === 'report') lab.report(step.id)
        if (step.kind === 'kill') lab.killServer()
        if (step.kind === 'killAtWrite') lab.disk.dieAfter = step
        if (step.kind === 'restartEnd' && !onlyServer) {
          lab.harmless = false
          lab.startEnd(step.id)
        }
        if (machineFails && !onlyServer) lab.failMachine(step.kept)
        lab.check()
        if (lab.server === undefined) lab.startServer()
        const after = lab.server?.books().generatedBits ?? 0
        if (!machineFails && after < before) throw new Error('key that was generated is forgotten')
      }
      lab.disk.dieAfter = undefined
      if (lab.server === undefined) lab.startServer()
      for (const end of lab.ends.keys()) {
        lab.receive(end)
        lab.report(end)
      }
      lab.check()
      deaths += lab.deaths
      uses += lab.usedMaterial.size
      if (!lab.harmless) return
      // Nothing but the key server died: what the senders used is what the books say, to the bit.
      for (const { channel, usedSlots } of lab.server?.streams() ?? []) {
        comparisons++
        const really = lab.usedCounts.get(channel) ?? 0
        if (usedSlots !== really) throw new Error(`channel ${channel}: ${usedSlots} in the books, ${really} used`)
      }
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 600 }))
  t.comment(`${deaths} deaths, ${uses} slots used, ${comparisons} streams compared to the bit`)
  t.ok(deaths > 1000 && uses > 10_000 && comparisons > 500)
})

t.test('an end that has more of a stream than the journal knows of is refused', async (t) => {
  const lab = new Lab()
  const have = [{ channel: 0, slot: 5 }]
  const effects = lab.tell({ kind: 'subscribe', client: 'a', links: [0, 2], instance: 'z', have })
  t.match(effects, [{ kind: 'refuse', client: 'a', reason: 'aheadOfJournal' }])
  t.equal(lab.server?.subscribeRefusal('a', 2, have), undefined, 'of the other link it knows nothing')
})

t.test('a server that was started again says what was lost, and marks every stream far ahead', async (t) => {
  const lab = new Lab()
  lab.tell({ kind: 'generated', link: 0, bits: 32_000 })
  lab.tell({ kind: 'want', client: 'a', channel: 0, upToSlot: 100 })
  lab.killServer()
  lab.startServer()
  t.match(lab.tell({ kind: 'start' }), [
    {
      kind: 'event',
      event: { name: 'keyserver.restored', exact: true, generatedBits: 32_000, lostBits: 28_800, usedBits: 0 },
    },
  ])
  t.match(lab.server?.books(), { poolBits: 0, discardedBits: 32_000 }, 'nobody had got the block')
  const { entry } = lab.disk.open().past ?? {}
  t.same(entry?.marks, [[0, 1124]])
  lab.failMachine(0)
  lab.tell({ kind: 'generated', link: 0, bits: 32_000 })
  lab.tell({ kind: 'want', client: 'a', channel: 0, upToSlot: 1130 })
  lab.receive('a')
  t.match(lab.ends.get('a')?.streams.get(0), { nextSlot: 1130, usedSlots: 1124 }, 'beyond all that may have been')
})

// --- the file ------------------------------------------------------------------------------------------------------

const NONE = { generatedSlots: 0, usedSlots: 0, expiredSlots: 0, discardedSlots: 0 }

function entry(generatedSlots: number, mark: number): JournalEntry {
  const pool = { ...NONE, generatedSlots }
  return { pool, local: NONE, relay: NONE, relayUse: [], streams: [], marks: [[0, mark]] }
}

function tempPath(t: { teardown: (action: () => void) => void }): string {
  const dir = mkdtempSync(join(tmpdir(), 'q104-journal-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  return join(dir, 'keyserver', 'journal')
}

t.test('a journal outlives its process, is private, and stays short', async (t) => {
  const path = tempPath(t)
  const first = openKeyJournal({ path, identity: { lab: 'x' }, rewriteBytes: 2000 })
  t.equal(first.past, undefined)
  for (let index = 1; index <= 200; index++) first.append(entry(index, 10 * index), index % 7 === 0)
  first.append({ ...entry(200, 2000), outsideUse: [[3, 9]] }, false)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.ok(statSync(path).size < 3000)
  const second = openKeyJournal({ path, identity: { lab: 'x' }, mustExist: true })
  t.match(second.past, {
    exact: true,
    entry: { pool: { generatedSlots: 200 }, marks: [[0, 2000]], outsideUse: [[3, 9]] },
  })
  t.throws(() => first.append(entry(1, 1), true), { code: 'JOURNAL_SHARED' }, 'the first life is over')
  second.close()
  second.close()
})

t.test('a journal that is torn, cut, changed, foreign or gone is refused by name, never guessed at', async (t) => {
  const path = tempPath(t)
  const open = () => openKeyJournal({ path, identity: 'lab', mustExist: true })
  t.throws(open, { code: 'JOURNAL_MISSING' })
  const journal = openKeyJournal({ path, identity: 'lab' })
  for (let index = 1; index <= 3; index++) journal.append(entry(index, index), true)
  journal.close()
  const whole = readFileSync(path, 'utf8')
  t.throws(() => openKeyJournal({ path, identity: 'other' }), { code: 'JOURNAL_FOREIGN' })

  truncateSync(path, whole.length - 10)
  t.throws(open, { code: 'JOURNAL_BROKEN', message: /cut off/ }, 'no process leaves half a line')
  const lines = whole.split('\n')
  const broken = {
    'a changed octet': whole.replace('"generatedSlots":2', '"generatedSlots":3'),
    'a missing line': [...lines.slice(0, 3), ...lines.slice(4)].join('\n'),
    'lines in another order': [lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n'),
    'no head': lines.slice(1).join('\n'),
    'nothing at all': '',
    'something else': 'hello\nworld\n',
  }
  for (const [what, text] of Object.entries(broken)) {
    writeFileSync(path, text)
    t.throws(open, { name: 'JournalError', code: 'JOURNAL_BROKEN' }, what)
  }
  unlinkSync(path)
  t.throws(open, { code: 'JOURNAL_MISSING' })
})

t.test('after the machine has failed a torn last line is left out, and the streams go on at their marks', async (t) => {
  const path = tempPath(t)
  openKeyJournal({ path, identity: 'lab' }).close()
  const head = JSON.parse((readFileSync(path, 'utf8').split('\n')[0] ?? '').slice(9))
  const lines = [
    journalLine(0, { ...head, boot: 'an earlier one' }),
    journalLine(1, entry(1, 50)),
    journalLine(2, entry(2, 70)),
  ]
  for (const [text, mark] of [
    [lines.join(''), 70],
    [lines.join('').slice(0, -3), 50],
    [`${lines.slice(0, 2).join('')}\0\0\0\0\n`, 50],
  ] as const) {
    writeFileSync(path, text)
    const journal = openKeyJournal({ path, identity: 'lab' })
    t.match(journal.past, { exact: false, entry: { marks: [[0, mark]] } })
    journal.close()
    t.match(openKeyJournal({ path, identity: 'lab' }).past, { exact: true }, 'and is whole again')
  }
})

t.test(
  'marks are moved before they are reached, and nobody waits for that; where it fails the disk is waited for',
  async (t) => {
    const durable: boolean[] = []
    const prepared: { readonly marks: JournalEntry['marks']; readonly done: () => void }[] = []
    const node = new KeyServerNode({
      ...{ poolKind: 'shared', capBits: 1e9, safeBits: 0, thBits: 0 },
      links: [{ link: 0, ends: ['a', 'b'], keys: 'pool' }],
      randomBytes: (n) => new Uint8Array(n).fill(7),
      journal: {
        past: undefined,
        append: (_entry, isDurable) => durable.push(isDurable),
        prepare: (marks, done) => prepared.push({ marks, done }),
      },
    })
    node.handle({ kind: 'start' }, 0)
    node.handle({ kind: 'generated', link: 0, bits: 1e8 }, 0)
    const want = (upToSlot: number, nowMs: number): void => {
      durable.length = 0
      node.handle({ kind: 'want', client: 'a', channel: 0, upToSlot }, nowMs)
    }
    want(8, 1)
    t.same([durable, prepared.length], [[true], 0], 'the first slot')
    want(700, 20_000)
    t.same([durable, prepared.length], [[false], 0])
    want(800, 30_000)
    t.same([durable, prepared.map(({ marks }) => marks)], [[false], [[[0, 1824]]]])
    want(1032, 30_001)
    t.same([durable, prepared.length], [[false], 1], 'one at a time')
    prepared[0]?.done()
    want(1600, 30_002)
    t.same(
      [durable, prepared.map(({ marks }) => marks[0])],
      [
        [false],
        [
          [0, 1824],
          [0, 1600 + 2048],
        ],
      ],
    )
    want(1900, 30_003)
    t.same(durable, [true], 'the word of the disk is not there yet')
  },
)

t.test('a mark that was written without waiting is in the file when it is called back', async (t) => {
  const path = tempPath(t)
  const journal = openKeyJournal({ path, identity: 1 })
  journal.append(entry(5, 10), true)
  for (const rewriteBytes of [1, 1e6]) {
    const other = openKeyJournal({ path: `${path}${rewriteBytes}`, identity: 1, rewriteBytes })
    other.append(entry(7, 20), true)
    await new Promise<void>((resolve) => other.prepare?.([[0, 44]], resolve))
    other.close()
    const { past } = openKeyJournal({ path: `${path}${rewriteBytes}`, identity: 1, mustExist: true })
    t.match(past, { exact: true, entry: { pool: { generatedSlots: 7 }, marks: [[0, 44]] } })
  }
  t.equal(openKeyJournal({ path: `${path}-lab`, identity: 1, outlivesMachine: false }).prepare, undefined)
})
