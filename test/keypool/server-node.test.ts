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
  t.same(kinds(node.handle({ kind: 'drain' }, 60)), ['status', 'pool'])
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
