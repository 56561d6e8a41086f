import t from 'tap'
import { KeyServerNode } from '../../src/keypool/pure.ts'
import type { LabNode, NodeEffect, NodeInput, Wake } from '../../src/runtime/contract.ts'
import {
  CLEAR,
  type GridEffect,
  type GridInput,
  type LinkLaw,
  LinkModelNode,
  QkdLink,
  randomStream,
  World,
  type WorldOptions,
} from '../../src/sim/index.ts'

/** A node made of a function; `wakeAtMs` is for the function to set. */
type Script = (input: NodeInput | Wake, nowMs: number, self: { wakeAtMs: number | undefined }) => readonly NodeEffect[]

function node(script: Script): LabNode {
  return {
    wakeAtMs: undefined as number | undefined,
    handle(input, nowMs) {
      return script(input, nowMs, this as { wakeAtMs: number | undefined })
    },
  }
}

const note = (name: string, facts: Record<string, number | string> = {}): NodeEffect => ({
  kind: 'event',
  event: { name, ...facts },
})

/** Sends a counter every 10 ms. */
const pinger = () =>
  node((input, nowMs, self) => {
    if (input.kind === 'datagram') return [note('pong', { count: input.bytes[0] ?? -1 })]
    if (input.kind === 'drain') self.wakeAtMs = undefined
    if (input.kind !== 'start' && input.kind !== 'wake') return []
    self.wakeAtMs = nowMs + 10
    return [{ kind: 'send', link: 7, bytes: Uint8Array.of((nowMs / 10) & 0xff, 0, 0, 0) }]
  })

/** Sends back what it gets, after spoiling the bytes it was given. */
const echo = () =>
  node((input) => {
    if (input.kind !== 'datagram') return []
    const bytes = input.bytes.slice()
    input.bytes.fill(0xee)
    return [note('ping', { count: bytes[0] ?? -1 }), { kind: 'send', link: 7, bytes }]
  })

function pingPong(law: Partial<LinkLaw>, rest: Partial<WorldOptions> = {}, seed = 1): World {
  return new World({
    seed,
    nodes: new Map([
      ['a', pinger()],
      ['b', echo()],
    ]),
    links: [{ link: 7, ends: ['a', 'b'], law: { ...CLEAR, ...law } }],
    ...rest,
  })
}

const times = (world: World, name: string) => world.events.filter((event) => event.name === name).map(({ tMs }) => tMs)

t.test('datagrams cross the link in the delay it has, there and back', async (t) => {
  const world = pingPong({ delayMs: 5 })
  world.runUntil(25)
  t.same(times(world, 'ping'), [5, 15, 25])
  t.same(times(world, 'pong'), [10, 20])
  t.equal(world.nowMs, 25)
  world.runUntil(30)
  t.same(world.events.at(-1), { tMs: 30, node: 'a', name: 'pong', count: 2 })
})

t.test('losses show in what comes back', async (t) => {
  const world = pingPong({ delayMs: 1, lossRatio: 0.2 })
  world.runUntil(100_000)
  const pongs = times(world, 'pong').length
  t.ok(Math.abs(pongs - 10_000 * 0.64) < 200, `${pongs} of 10000 came back`)
  t.equal(world.counts.sent, world.counts.lost + world.counts.delivered)
})

t.test('the same seed gives the same run to the last event, another one does not', async (t) => {
  const run = (seed: number) => {
    const faults = { dropRatio: 0.01, duplicateRatio: 0.05, corruptRatio: 0.05, reorderRatio: 0.1 }
    const world = pingPong({ delayMs: 3, jitterMs: 1, lossRatio: 0.1 }, { faults }, seed)
    world.runUntil(20_000)
    return JSON.stringify(world.events)
  }
  t.equal(run(1), run(1))
  t.not(run(1), run(2))
})

t.test(
  'a hook sees every datagram and may drop it or change it, and what the receiver does to it stays there',
  async (t) => {
    const seen: string[] = []
    const world = pingPong(
      { delayMs: 1 },
      {
        onDatagram: ({ link, fromEnd, bytes }, nowMs) => {
          seen.push(`${nowMs}: ${link} from ${fromEnd} ${bytes[0]}`)
          if (fromEnd === 0 && bytes[0] === 1) return 'drop'
          return fromEnd === 0 && bytes[0] === 2 ? Uint8Array.of(99) : 'pass'
        },
      },
    )
    world.runUntil(29)
    t.same(seen, ['0: 7 from 0 0', '1: 7 from 1 0', '10: 7 from 0 1', '20: 7 from 0 2', '21: 7 from 1 99'])
    t.same(
      world.events.flatMap(({ name, count }) => (name === 'pong' ? [count] : [])),
      [0, 99],
    )
    t.same(world.counts, { sent: 5, lost: 1, delivered: 4, injected: 0 })
  },
)

t.test('a datagram can be put on a link by nobody', async (t) => {
  const world = pingPong({ delayMs: 1 })
  world.runUntil(3)
  world.inject({ link: 7, fromEnd: 0, bytes: Uint8Array.of(66) })
  world.runUntil(5)
  t.same(world.events.at(-1), { tMs: 5, node: 'a', name: 'pong', count: 66 })
  t.equal(world.counts.injected, 1)
})

t.test('faults can begin and end while the world runs', async (t) => {
  const world = pingPong({})
  const pongs = (untilMs: number) => {
    const before = times(world, 'pong').length
    world.runUntil(untilMs)
    return times(world, 'pong').length - before
  }
  t.equal(pongs(99), 10)
  world.setFaults({ dropRatio: 1 })
  t.equal(pongs(199), 0)
  world.setFaults(undefined)
  t.equal(pongs(299), 10)
})

t.test('inputs of the same time are handled in the order they were caused', async (t) => {
  const heard: number[] = []
  const world = new World({
    seed: 1,
    nodes: new Map([
      [
        'a',
        node((input) =>
          input.kind === 'start' ? [1, 2, 3].map((n) => ({ kind: 'send', link: 1, bytes: Uint8Array.of(n) })) : [],
        ),
      ],
      ['b', node((input) => (input.kind === 'datagram' && heard.push(input.bytes[0] ?? 0) ? [] : []))],
    ]),
    links: [{ link: 1, ends: ['a', 'b'], law: CLEAR }],
  })
  world.runUntil(0)
  t.same(heard, [1, 2, 3])
})

t.test('a node is woken when it asks, also when it changes its mind, and not after it gave up', async (t) => {
  const wakes: number[] = []
  const wishes = new Map<number, number | undefined>([
    [0, 100],
    [10, 50],
    [50, 70],
    [60, 200],
    [80, undefined],
  ])
  const world = new World({
    seed: 1,
    nodes: new Map([
      [
        'a',
        node((input, nowMs, self) => {
          if (input.kind === 'wake') wakes.push(nowMs)
          self.wakeAtMs = wishes.get(nowMs)
          return []
        }),
      ],
    ]),
    links: [],
  })
  const poke = (tMs: number) => {
    world.runUntil(tMs)
    world.input('a', { kind: 'drain' })
    world.runUntil(tMs)
  }
  poke(10)
  poke(60)
  poke(80)
  world.runUntil(1000)
  t.same(wakes, [50])
})

t.test('a node that wakes for ever at one moment ends the run with its name', async (t) => {
  const stuck = node((_, nowMs, self) => {
    self.wakeAtMs = nowMs
    return []
  })
  const world = new World({ seed: 1, nodes: new Map([['stuck', stuck]]), links: [] })
  t.throws(() => world.runUntil(1), /stuck never stops waking/)
})

t.test('links that make no sense are refused, and so is sending on a foreign one', async (t) => {
  const nodes = new Map([
    ['a', pinger()],
    ['b', echo()],
    ['c', node(() => [])],
  ])
  const link = { link: 7, ends: ['a', 'b'] as const, law: CLEAR }
  t.throws(() => new World({ seed: 1, nodes, links: [link, link] }), /link 7 is given twice/)
  t.throws(() => new World({ seed: 1, nodes, links: [{ ...link, ends: ['a', 'z'] }] }), /z, which is no node/)
  const foreign = new World({ seed: 1, nodes, links: [{ ...link, ends: ['b', 'c'] }] })
  t.throws(() => foreign.runUntil(0), /node a sends on link 7/)
})

t.test('after drain the nodes have the grace time to finish', async (t) => {
  const world = pingPong({ delayMs: 20 })
  world.runUntil(50)
  world.drain(1000)
  t.equal(world.nowMs, 1050)
  t.equal(times(world, 'pong').length, world.counts.sent / 2, 'what was sent came back')
  t.equal(times(world, 'pong').at(-1), 90)
})

t.test('grid requests reach the grid and its answers the node that asked', async (t) => {
  const asker = (bus: number) =>
    node((input) => {
      if (input.kind === 'start') return [{ kind: 'grid', request: { kind: 'subscribe', bus, periodMs: 20 } }]
      return input.kind === 'grid' && input.message.kind === 'sample'
        ? [note('sample', { bus: input.message.bus })]
        : []
    })
  const clients: number[] = []
  const grid = {
    wakeAtMs: undefined,
    handle(input: GridInput | Wake, nowMs: number): readonly GridEffect[] {
      if (input.kind === 'clientGone') clients.push(-input.client)
      if (input.kind !== 'request' || input.request.kind !== 'subscribe') return []
      clients.push(input.client)
      const message = { kind: 'sample', bus: input.request.bus, tMs: nowMs, deltaFHz: 0, voltagePu: 1 } as const
      return [
        { kind: 'event', event: { name: 'grid', worstHz: 0 } },
        { kind: 'reply', client: input.client, message },
      ]
    },
  }
  const nodes = new Map([
    ['x', asker(16)],
    ['y', asker(17)],
  ])
  const world = new World({ seed: 1, nodes, links: [], grid })
  world.runUntil(5)
  t.same(
    world.events.map((event) => `${event.tMs} ${event.node} ${event.name} ${event['bus'] ?? ''}`),
    ['1 grid grid ', '1 grid grid ', '2 x sample 16', '2 y sample 17'],
  )
  world.crash('y')
  world.runUntil(10)
  t.same(clients, [0, 1, -1])
})

/** Wants 64 slots of channel 14 at the start and uses half of them. */
const keyUser = () =>
  node((input) => {
    switch (input.kind) {
      case 'start':
        return [{ kind: 'fetchKeys', channel: 14, upToSlot: 64 }]
      case 'keyBlock': {
        const facts = { slot: input.block.slot, first: input.block.bytes[0] ?? -1, size: input.block.bytes.length }
        input.block.bytes.fill(0)
        const endSlot = input.block.slot + input.block.bytes.length / 4
        const books = { channel: 14, side: 'sender', assignedSlots: endSlot, usedSlots: Math.min(32, endSlot) } as const
        return [note('block', facts), { kind: 'books', books }]
      }
      case 'pool':
        return [note('status', { level: input.status.level, usedBits: input.status.books.usedBits })]
      default:
        return []
    }
  })

function keyed(rest: Partial<WorldOptions> = {}): World {
  const random = randomStream(1, 'key material')
  const keyServer = new KeyServerNode({
    poolKind: 'shared',
    links: [{ link: 7, ends: ['a', 'b'], keys: 'pool' }],
    safeBits: 1000,
    thBits: 2000,
    capBits: 100_000,
    randomBytes: (n) => random.bytes(n),
  })
  const cut = { kind: 'cut', fromMs: 1000, toMs: 2000 } as const
  const links = [new QkdLink({ link: 7, lengthKm: 20, disturbances: [cut] }, randomStream(1, 'link 7'))]
  const nodes = new Map([
    ['a', keyUser()],
    ['b', keyUser()],
  ])
  const wire = { link: 7, ends: ['a', 'b'], law: { ...CLEAR, delayMs: 5 } } as const
  return new World({ seed: 1, nodes, links: [wire], keyServer, linkModel: new LinkModelNode({ links }), ...rest })
}

t.test('key the sender asks for comes to both ends alike, each its own copy, and its use comes back', async (t) => {
  const world = keyed({ statusTo: ['a'] })
  world.runUntil(900)
  const blocks = (of: string) =>
    world.events.flatMap(({ name, node, slot, first, size }) =>
      name === 'block' && node === of ? [{ slot, first, size }] : [],
    )
  t.same(blocks('a'), blocks('b'))
  t.equal(
    blocks('a').reduce((sum, { size }) => sum + Number(size), 0),
    256,
  )
  t.equal(world.events.filter(({ name }) => name === 'keys.refused').length, 1, 'the receiver may not ask')
  const last = world.events.filter(({ name }) => name === 'status').at(-1)
  t.equal(last?.['usedBits'], 32 * 32)
  t.ok(world.events.every(({ name, node }) => name !== 'status' || node === 'a'))
})

t.test('a break of the QKD link stops its datagrams and is recorded once', async (t) => {
  const world = keyed()
  world.runUntil(1500)
  world.inject({ link: 7, fromEnd: 0, bytes: Uint8Array.of(1) })
  t.equal(world.counts.lost, 1)
  world.runUntil(2500)
  world.inject({ link: 7, fromEnd: 0, bytes: Uint8Array.of(1) })
  t.equal(world.counts.lost, 1)
  t.same([times(world, 'qkd.break'), times(world, 'qkd.repair')], [[1000], [2000]])
  world.disturb({ kind: 'disturb', link: 7, disturbance: { kind: 'cut', fromMs: 0, toMs: 9000 } })
  world.runUntil(3000)
  t.same(times(world, 'qkd.break'), [1000, 2600])
})

t.test('a node that crashed and starts again never gets its old key', async (t) => {
  const world = keyed()
  world.runUntil(150)
  world.crash('a')
  world.runUntil(250)
  world.restart('a', keyUser())
  t.throws(() => world.restart('a', keyUser()), /has not crashed/)
  world.runUntil(500)
  const ends = world.events.flatMap(({ name, node, tMs, slot, size }) =>
    name === 'block' && node === 'a' ? [{ tMs, slot: Number(slot), end: Number(slot) + Number(size) / 4 }] : [],
  )
  const before = ends.filter(({ tMs }) => tMs < 200)
  const after = ends.filter(({ tMs }) => tMs > 200)
  t.ok(before.length > 0 && after.length > 0)
  t.equal(after[0]?.slot, before.at(-1)?.end, 'the stream goes on where the old one ended')
  t.equal(after.at(-1)?.end, 64)
})
