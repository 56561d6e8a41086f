import t from 'tap'
import {
  type KeyServerEffect,
  type KeyServerInput,
  KeyServerNode,
  type KeyServerOptions,
} from '../../src/keypool/pure.ts'
import type { Wake } from '../../src/runtime/contract.ts'

function makeNode(options: Partial<KeyServerOptions> = {}): KeyServerNode {
  let next = 1
  return new KeyServerNode({
    poolKind: 'shared',
    links: [
      { link: 0, ends: ['master', 'gw'], keys: 'pool' },
      { link: 1, ends: ['gw', 'rtu'], keys: 'pool' },
      { link: 2, ends: ['rtu', 'ied'], keys: 'local' },
    ],
    capBits: 320_000,
    safeBits: 3200,
    thBits: 6400,
    randomBytes: (n) => new Uint8Array(n).fill(next++),
    ...options,
  })
}

/** `client channel@slot+slots` of each block, and its first byte. */
function blocksOf(effects: readonly KeyServerEffect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.kind !== 'blocks') return []
    const { channel, slot, bytes } = effect.block
    return [`${effect.client} ${channel}@${slot}+${bytes.length / 4} #${bytes[0] ?? '-'}`]
  })
}

function kinds(effects: readonly KeyServerEffect[]): string[] {
  return effects.map((effect) => (effect.kind === 'event' ? effect.event.name : effect.kind))
}

function feed(node: KeyServerNode, ...inputs: (KeyServerInput | Wake)[]): KeyServerEffect[] {
  return inputs.flatMap((input) => [...node.handle(input, 0)])
}

t.test('both ends get the same block, and each its own copy', async (t) => {
  const node = makeNode()
  feed(
    node,
    { kind: 'subscribe', client: 'master', links: [0] },
    { kind: 'subscribe', client: 'gw', links: [0, 1] },
    { kind: 'generated', link: 0, bits: 3200 },
  )
  const effects = feed(node, { kind: 'want', client: 'gw', channel: 1, upToSlot: 8 })
  t.same(blocksOf(effects), ['master 1@0+8 #1', 'gw 1@0+8 #1'])
  for (const effect of effects.slice(0, 1)) if (effect.kind === 'blocks') effect.block.bytes.fill(0)
  t.same(blocksOf(effects), ['master 1@0+8 #0', 'gw 1@0+8 #1'])
})

t.test('key drawn as a Buffer, whose slices share memory, reaches both ends whole', async (t) => {
  const node = makeNode({ randomBytes: (n) => Buffer.alloc(n, 7) })
  feed(
    node,
    { kind: 'subscribe', client: 'master', links: [0], have: [] },
    { kind: 'subscribe', client: 'gw', links: [0] },
    { kind: 'generated', link: 0, bits: 3200 },
  )
  const effects = feed(node, { kind: 'want', client: 'gw', channel: 1, upToSlot: 8 })
  t.same(blocksOf(effects), ['master 1@0+8 #7', 'gw 1@0+8 #7'])
})

t.test('the pool overwrites its own copy of what it handed over', async (t) => {
  const made: Uint8Array[] = []
  const node = makeNode({
    randomBytes: (n) => {
      const bytes = new Uint8Array(n).fill(7)
      made.push(bytes)
      return bytes
    },
  })
  feed(node, { kind: 'subscribe', client: 'master', links: [0] })
  feed(node, { kind: 'generated', link: 0, bits: 320 }, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
  t.same(
    [...(made[0] ?? [])].filter((byte) => byte !== 0),
    [],
  )
})

t.test('an end that subscribes late gets its stream from slot 0', async (t) => {
  const node = makeNode()
  feed(node, { kind: 'subscribe', client: 'master', links: [0] }, { kind: 'generated', link: 0, bits: 3200 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 5 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
  t.same(blocksOf(feed(node, { kind: 'subscribe', client: 'gw', links: [0] })), ['gw 0@0+5 #1', 'gw 0@5+4 #2'])
})

t.test('only the sending end of a channel may ask, and refusals say why', async (t) => {
  const node = makeNode()
  const ask = (client: string, channel: number, upToSlot: number): unknown => {
    const [effect] = feed(node, { kind: 'want', client, channel, upToSlot })
    return effect?.kind === 'refuse' ? effect.reason : effect?.kind
  }
  t.equal(ask('gw', 0, 1), 'notSender')
  t.equal(ask('rtu', 0, 1), 'notEnd')
  t.equal(ask('master', 77, 1), 'unknownLink')
  t.equal(ask('master', -1, 1), 'unknownLink')
  t.equal(ask('master', 0.5, 1), 'notSender')
  t.equal(ask('master', 0, -1), 'badSlot')
  t.equal(ask('master', 0, Number.NaN), 'badSlot')
  t.equal(ask('master', 0, 65_537), 'tooFar')
  t.equal(ask('master', 0, 1), undefined)
  t.match(feed(node, { kind: 'subscribe', client: 'ied', links: [0, 9] }), [
    { reason: 'notEnd' },
    { reason: 'unknownLink' },
  ])
})

t.test('what an acknowledging end has not acknowledged it gets again after a lost connection', async (t) => {
  const node = makeNode()
  const subscribe = (slot: number): KeyServerInput => {
    return { kind: 'subscribe', client: 'master', links: [0], instance: 'a', have: [{ channel: 0, slot }] }
  }
  feed(node, subscribe(0), { kind: 'generated', link: 0, bits: 3200 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 5 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
  feed(node, { kind: 'gone', client: 'master' })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 12 })
  t.same(blocksOf(feed(node, subscribe(5))), ['master 0@5+4 #2', 'master 0@9+3 #3'])
  feed(node, { kind: 'report', client: 'master', channel: 0, usedSlots: 6, heldSlots: 12 })
  t.same(blocksOf(feed(node, subscribe(12))), [])
  t.equal(node.books().usedBits, 6 * 32)
})

t.test('a sender that was started again never gets key its earlier life may have used: it is discarded', async (t) => {
  for (const have of [undefined, []]) {
    const node = makeNode()
    const subscribe = (instance: string): KeyServerInput => {
      return { kind: 'subscribe', client: 'master', links: [0], instance, ...(have && { have }) }
    }
    feed(node, subscribe('a'), { kind: 'generated', link: 0, bits: 3200 })
    feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
    feed(node, { kind: 'report', client: 'master', channel: 0, usedSlots: 3 })
    feed(node, { kind: 'gone', client: 'master' })
    t.same(blocksOf(feed(node, subscribe('b'))), ['master 0@9+0 #-'], 'an empty block says where the stream goes on')
    t.match(node.books(), { usedBits: 96, discardedBits: 192, reservedBits: 0 })
    t.same(blocksOf(feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 12 })), ['master 0@9+3 #2'])
  }
})

t.test('a receiver that was started again gets what it had not acknowledged', async (t) => {
  const node = makeNode()
  const subscribe = (instance: string): KeyServerInput => {
    return { kind: 'subscribe', client: 'gw', links: [0], instance, have: [] }
  }
  feed(node, subscribe('a'), { kind: 'generated', link: 0, bits: 3200 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
  t.same(blocksOf(feed(node, subscribe('b'))), ['gw 0@0+9 #1'])
})

t.test('after a restart of the server a stream goes on where the ends have it', async (t) => {
  const node = makeNode()
  const have = [{ channel: 0, slot: 500 }]
  feed(node, { kind: 'subscribe', client: 'master', links: [0], instance: 'a', have })
  feed(node, { kind: 'subscribe', client: 'gw', links: [0], instance: 'a', have })
  feed(node, { kind: 'generated', link: 0, bits: 3200 })
  const effects = feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 510 })
  t.same(blocksOf(effects), ['master 0@500+10 #1', 'gw 0@500+10 #1'])
  t.same(feed(node, { kind: 'report', client: 'master', channel: 0, usedSlots: 400, heldSlots: 500 }), [])
  t.match(node.books(), { usedBits: 0, reservedBits: 320 })
})

t.test('nothing is assigned while an end is far behind', async (t) => {
  const node = makeNode({ maxBacklogSlots: 100 })
  feed(node, { kind: 'subscribe', client: 'master', links: [0] }, { kind: 'generated', link: 0, bits: 320_000 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 100 })
  const more: KeyServerInput = { kind: 'want', client: 'master', channel: 0, upToSlot: 150 }
  t.match(feed(node, more), [{ kind: 'refuse', reason: 'peerBehind' }])
  feed(node, { kind: 'subscribe', client: 'gw', links: [0] })
  t.equal(blocksOf(feed(node, more)).length, 2)
})

t.test('an end cannot report what it was not given, nor a receiver what is used', async (t) => {
  const node = makeNode()
  feed(node, { kind: 'subscribe', client: 'master', links: [0] }, { kind: 'subscribe', client: 'gw', links: [0] })
  feed(node, { kind: 'generated', link: 0, bits: 3200 }, { kind: 'want', client: 'master', channel: 0, upToSlot: 9 })
  t.match(feed(node, { kind: 'report', client: 'master', channel: 0, usedSlots: 10 }), [{ reason: 'badSlot' }])
  t.match(feed(node, { kind: 'report', client: 'ied', channel: 0, usedSlots: 1 }), [{ reason: 'notEnd' }])
  t.match(feed(node, { kind: 'report', client: 'ied', channel: 99, usedSlots: 1 }), [{ reason: 'unknownLink' }])
  t.same(feed(node, { kind: 'report', client: 'gw', channel: 0, usedSlots: 9 }), [])
  t.equal(node.books().usedBits, 0)
  feed(node, { kind: 'report', channel: 0, usedSlots: 4 }, { kind: 'report', channel: 99, usedSlots: 4 })
  t.equal(node.books().usedBits, 128)
})

t.test('the state is published every 100 ms, the books are recorded every second', async (t) => {
  const node = makeNode()
  t.equal(node.wakeAtMs, undefined, 'it waits for start')
  const seen = new Map<string, number>()
  node.handle({ kind: 'start' }, 0)
  for (let nowMs = node.wakeAtMs ?? 0; nowMs <= 10_000; nowMs = node.wakeAtMs ?? Number.POSITIVE_INFINITY) {
    for (const name of kinds(node.handle({ kind: 'wake' }, nowMs))) seen.set(name, (seen.get(name) ?? 0) + 1)
  }
  t.same(
    [...seen],
    [
      ['status', 100],
      ['pool', 10],
    ],
  )
})

t.test('a change of level is published at once, links that break and come back are recorded', async (t) => {
  const node = makeNode()
  t.same(kinds(node.handle({ kind: 'start' }, 0)), ['status', 'pool'])
  t.same(kinds(node.handle({ kind: 'generated', link: 0, bits: 3000 }, 10)), [])
  t.same(kinds(node.handle({ kind: 'generated', link: 0, bits: 3000 }, 20)), ['status'])
  const state = { link: 1, up: false, rateBps: 0, delayMs: 3 }
  t.same(kinds(node.handle({ kind: 'linkState', state }, 30)), ['qkd.break'])
  t.same(kinds(node.handle({ kind: 'linkState', state }, 40)), [])
  t.same(kinds(node.handle({ kind: 'linkState', state: { ...state, up: true } }, 50)), ['qkd.repair'])
  t.same(node.status(60).links[1], { ...state, up: true })
  t.same(kinds(node.handle({ kind: 'drain' }, 60)), ['status', ...Array(6).fill('stream'), 'pool'])
})

t.test('a late wake publishes once and keeps to the grid', async (t) => {
  const node = makeNode()
  node.handle({ kind: 'start' }, 0)
  t.same(kinds(node.handle({ kind: 'wake' }, 730)), ['status'])
  t.equal(node.wakeAtMs, 800)
})

t.test('the pool event carries level and books', async (t) => {
  const node = makeNode()
  node.handle({ kind: 'generated', link: 0, bits: 32_000 }, 0)
  const effects = node.handle({ kind: 'start' }, 0)
  t.match(effects[1], {
    kind: 'event',
    event: {
      name: 'pool',
      level: 'normal',
      generatedBits: 32_000,
      usedBits: 0,
      expiredBits: 0,
      discardedBits: 0,
      reservedBits: 0,
      poolBits: 32_000,
    },
  })
})

t.test('a receiver that was started again makes the sender leave out what only it still holds', async (t) => {
  const node = makeNode()
  const subscribe = (client: string, instance: string, slot: number): KeyServerInput => {
    return { kind: 'subscribe', client, links: [0], instance, have: [{ channel: 0, slot }] }
  }
  const report = (client: string, usedSlots: number, discardedSlots: number): KeyServerInput => {
    return { kind: 'report', client, channel: 0, usedSlots, discardedSlots, heldSlots: 20 }
  }
  feed(node, subscribe('master', 'a', 0), subscribe('gw', 'a', 0), { kind: 'generated', link: 0, bits: 3200 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 20 })
  feed(node, report('gw', 0, 0), report('master', 5, 0), { kind: 'gone', client: 'gw' })
  const told = blocksOf(feed(node, subscribe('gw', 'b', 0)))
  t.same(told, ['master 0@20+0 #-', 'gw 0@20+0 #-'], 'nothing before slot 20')
  feed(node, { kind: 'gone', client: 'master' })
  t.same(blocksOf(feed(node, subscribe('master', 'a', 20))), ['master 0@20+0 #-'], 'it is told again')
  feed(node, report('master', 20, 12))
  t.match(node.books(), { usedBits: 8 * 32, discardedBits: 12 * 32, reservedBits: 0 }, 'it had used three more')
  feed(node, { kind: 'gone', client: 'master' })
  t.same(blocksOf(feed(node, subscribe('master', 'a', 20))), [], 'that is done')
  t.same(blocksOf(feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 22 })), [
    'master 0@20+2 #2',
    'gw 0@20+2 #2',
  ])
})

t.test('the books take a sender at its word on what it has discarded, each of its processes for itself', async (t) => {
  const node = makeNode()
  const subscribe = (instance: string): KeyServerInput => {
    return { kind: 'subscribe', client: 'master', links: [0], instance, have: [] }
  }
  const report = (usedSlots: number, discardedSlots: number): KeyServerInput => {
    return { kind: 'report', client: 'master', channel: 0, usedSlots, discardedSlots, heldSlots: usedSlots }
  }
  feed(node, subscribe('a'), { kind: 'generated', link: 0, bits: 32_000 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 100 }, report(30, 10), report(30, 10))
  t.match(node.books(), { usedBits: 20 * 32, discardedBits: 10 * 32, reservedBits: 70 * 32 })
  feed(node, report(50, 10), report(60, 15))
  t.match(node.books(), { usedBits: 45 * 32, discardedBits: 15 * 32, reservedBits: 40 * 32 })
  feed(node, { kind: 'gone', client: 'master' }, subscribe('b'))
  t.match(node.books(), { usedBits: 45 * 32, discardedBits: 55 * 32, reservedBits: 0 })
  feed(node, { kind: 'want', client: 'master', channel: 0, upToSlot: 150 }, report(140, 30))
  t.match(node.books(), { usedBits: 55 * 32, discardedBits: 85 * 32, reservedBits: 10 * 32 })
  t.match(feed(node, report(140, 151)), [{ reason: 'badSlot' }])
})

t.test('the ends of a relay link get equal key over whatever way there is, minute by minute', async (t) => {
  let next = 0
  const node = makeNode({
    links: [
      { link: 0, ends: ['a', 'b'], keys: 'pool' },
      { link: 1, ends: ['b', 'c'], keys: 'pool' },
      { link: 2, ends: ['a', 'd'], keys: 'pool' },
      { link: 3, ends: ['d', 'c'], keys: 'pool' },
      { link: 4, ends: ['a', 'c'], keys: 'relay' },
    ],
    poolKind: 'perLink',
    randomBytes: (n) => Uint8Array.from({ length: n }, () => next++ & 0xff),
  })
  const streams = new Map<string, number[]>()
  const routes: unknown[] = []
  const events: unknown[] = []
  const take = (effects: readonly KeyServerEffect[]): void => {
    for (const effect of effects) {
      if (effect.kind === 'blocks') {
        const stream = streams.get(effect.client) ?? []
        if (stream.length !== 4 * effect.block.slot) throw new Error('a hole')
        streams.set(effect.client, [...stream, ...effect.block.bytes])
      }
      if (effect.kind === 'event' && effect.event.name === 'relay.route') routes.push(effect.event['path'])
      if (effect.kind === 'event' && effect.event.name === 'pool') events.push(effect.event['relayUsedBits'])
    }
  }
  const state = (link: number, up: boolean): KeyServerInput => {
    return { kind: 'linkState', state: { link, up, rateBps: 0, delayMs: 1 } }
  }
  take(node.handle({ kind: 'start' }, 0))
  for (const client of ['a', 'c']) take(node.handle({ kind: 'subscribe', client, links: [4] }, 0))
  for (let second = 1; second <= 120; second++) {
    const nowMs = second * 1000
    for (const link of [0, 1, 2, 3]) take(node.handle({ kind: 'generated', link, bits: 640 }, nowMs))
    take(node.handle({ kind: 'want', client: 'a', channel: 8, upToSlot: 10 * second }, nowMs))
    if (second === 30) take(node.handle(state(1, false), nowMs))
    if (second === 60) take(node.handle(state(3, false), nowMs))
    if (second === 80) {
      t.equal(streams.get('a')?.length, 4 * 600, 'since second 60 there is no way')
      take(node.handle(state(1, true), nowMs))
    }
    take(node.handle({ kind: 'report', channel: 8, usedSlots: 10 * second - 20 }, nowMs))
    take(node.handle({ kind: 'wake' }, nowMs))
  }
  t.same(routes, ['a b c', 'a d c', null, 'a b c'])
  t.equal(streams.get('a')?.length, 4 * 1200)
  t.same(streams.get('a'), streams.get('c'))
  const relayed = 1200 * 32
  t.match(node.relayBooks(), { generatedBits: relayed })
  t.equal(node.books().usedBits, 2 * relayed, 'each of two hops has spent as much')
  t.equal(
    [...node.relayUseBits().values()].reduce((sum, bits) => sum + bits, 0),
    2 * relayed,
  )
  take(node.handle({ kind: 'drain' }, 121_000))
  t.ok(events.length > 100 && events.at(-1) === 2 * relayed)
})

t.test('wants name their quota, and wants that nobody waits for any more are told of', async (t) => {
  const node = makeNode({
    poolKind: 'quota',
    quotas: [
      { id: 'shed', channels: [0, 1, 2, 3] },
      { id: 'agc', channels: [0] },
    ],
  })
  node.handle({ kind: 'start' }, 0)
  const want = (quota: string | undefined, upToSlot: number): KeyServerInput => {
    return {
      kind: 'want',
      client: 'master',
      channel: 0,
      upToSlot,
      deadlineMs: 70,
      ...(quota !== undefined && { quota }),
    }
  }
  t.match(feed(node, want('nobody', 1)), [{ reason: 'unknownQuota' }])
  t.match(feed(node, want(undefined, 1)), [{ reason: 'unknownQuota' }], 'two name the channel')
  t.same(feed(node, want('agc', 5)), [])
  t.equal(node.wakeAtMs, 70)
  t.match(node.handle({ kind: 'wake' }, 70), [{ kind: 'refuse', client: 'master', reason: 'overdue' }])
  t.equal(node.stream(0)?.wantedSlots, 0)
})
