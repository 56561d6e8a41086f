import fc from 'fast-check'
import t from 'tap'
import { Gateway } from '../../src/gateway/index.ts'
import { Ied } from '../../src/ied/index.ts'
import type { MasterConfig } from '../../src/master/index.ts'
import { Master } from '../../src/master/index.ts'
import { Rtu } from '../../src/rtu/index.ts'
import type { LabNode, PoolStatus } from '../../src/runtime/contract.ts'
import { GreedyPolicy, StaticPolicy } from '../../src/scheduler/index.ts'
import { linkOptions, Peer, tell, World } from './harness.ts'
import { lab, masterConfig } from './lab.ts'

const falling = (world: World, deltaFHz = -0.05) =>
  world.sample('machine', { bus: 30, deltaFHz, voltagePu: 1, powerMw: 250 })
const agcConfig: Partial<MasterConfig> = {
  agc: { periodMs: 4_000, kp: 0.1, kiPerS: 0.012, mwPerHz: 2367, units: [{ chain: 'agc' }] },
}
const books = { generatedBits: 0, usedBits: 0, expiredBits: 0, discardedBits: 0, reservedBits: 0, poolBits: 1e5 }
const status = (level: PoolStatus['level'], links: PoolStatus['links'] = []): PoolStatus => ({
  ...{ tMs: 0, level, safeBits: 16_000, thBits: 32_000, capBits: 144_000, books, links },
})

t.test('falling frequency sheds the load: all the way to the breaker and back within the deadline', async (t) => {
  const { world, master } = lab()
  world.runTo(2_000)
  falling(world)
  world.runTo(3_000)
  t.match(world.named('task.issued'), [
    {
      task: 't1',
      taskType: 'shedding',
      chain: 'shed',
      ca: 5,
      ioa: 700,
      typeId: 45,
      requiredSuite: 'otp',
      deadlineMs: 1_000,
    },
  ])
  const [sent] = world.named('task.sent')
  t.match(sent, { task: 't1', link: 1, suite: 'otp', queueMs: 0, keyWaitMs: 0 })
  t.match(world.named('ied.act'), [{ node: 'load', ca: 5, ioa: 700, typeId: 45, suite: 'otp' }])
  t.match(world.named('ied.done'), [{ node: 'load', ok: true, breakerMs: 90 }])
  t.match(world.named('task.confirmed'), [{ latencyMs: 14 }])
  t.match(world.named('task.done'), [
    { task: 't1', ok: true, delivered: true, latencyMs: 104, suite: 'otp', reason: 'done' },
  ])
  t.equal(
    world.named('hop').filter(({ typeId }) => typeId === 45).length,
    6,
    'gateway and RTU, command and two answers',
  )
  t.same(master.status().tasks, { issued: 1, ok: 1, late: 0 })
})

t.test('at the start clocks are set and stations interrogated, once', async (t) => {
  const { world } = lab()
  world.runTo(25_000)
  t.equal(world.named('clock.set', 'rtu').length, 1)
  const interrogations = world.named('hop', 'gwA').filter(({ typeId, cot }) => typeId === 100 && cot === 6)
  t.equal(interrogations.length, 1)
})

t.test('AGC sends a set-point each period; the machine gets it', async (t) => {
  const { world } = lab({ ...agcConfig, shedding: { ...masterConfig.shedding, chains: [] } } as Partial<MasterConfig>)
  world.runTo(2_000)
  falling(world, -0.1)
  world.runTo(9_000)
  t.match(
    world.named('task.done').map(({ taskType, ok }) => [taskType, ok]),
    [
      ['agc', true],
      ['agc', true],
    ],
  )
  const set = world.gridRequests.flatMap(({ request }) =>
    request.kind === 'setpoint' ? [Math.round(request.deltaMw * 10) / 10] : [],
  )
  t.same(set, [23.7, 35])
})

t.test('set-points run as Poisson streams and end ok', async (t) => {
  const { world } = lab({ setpoints: { units: [{ chain: 'unit', ratePerS: 0.5 }], stepMw: 2, timeoutMs: 10_000 } })
  world.runTo(60_000)
  const done = world.named('task.done')
  t.ok(done.length > 15 && done.every(({ ok }) => ok === true), `${done.length} done`)
})

t.test('telemetry arrives with its latency; sampled and received agree on the tag', async (t) => {
  const { world } = lab()
  falling(world, 0)
  world.sample('load', { bus: 16, deltaFHz: 0, voltagePu: 1 })
  world.runTo(31_000)
  const key = ({ ca, ioa, tagMs }: { readonly [fact: string]: unknown }) => `${ca} ${ioa} ${tagMs}`
  const sampled = world.named('telemetry.sampled').map(key)
  t.equal(sampled.length, 6)
  t.same(world.named('telemetry.received').map(key).toSorted(), sampled.toSorted())
  t.match(world.named('telemetry.received')[0], { suite: 'aes', latencyMs: 7 })
})

t.test('when the first path is down the greedy policy commands over the second', async (t) => {
  const { world } = lab()
  world.cut(1, true)
  world.runTo(20_000)
  falling(world)
  world.runTo(21_000)
  t.match(world.named('task.sent'), [{ link: 2 }])
  t.match(world.named('task.done'), [{ ok: true }])
})

t.test('with a static plan a shed waits for its path, and is done when the link is back', async (t) => {
  const { world } = lab({}, new StaticPolicy())
  world.runTo(2_000)
  falling(world, 0.01)
  world.cut(1, true)
  world.runTo(40_000)
  falling(world)
  world.runTo(45_000)
  t.same(world.named('task.sent'), [])
  world.cut(1, false)
  world.runTo(65_000)
  t.match(world.named('task.done'), [{ ok: false, delivered: false, reason: 'late', suite: 'otp' }])
})

t.test('a plan in AES delivers without being ok; the plan and its change are told', async (t) => {
  const { world, master } = lab()
  world.input('master', { kind: 'pool', status: { ...status('reconfigure'), books: { ...books, poolBits: 0 } } })
  world.runTo(2_000)
  falling(world)
  world.runTo(3_000)
  t.match(world.named('task.done'), [{ ok: false, delivered: true, suite: 'aes', reason: 'suite' }])
  t.match(world.named('plan').at(-1), { level: 'reconfigure', off: 0, aes: 3, otp: 0 })
  t.match(master.status(), { chains: { aes: 3 }, tasks: { issued: 1, ok: 0, late: 1 } })
  world.input('master', { kind: 'pool', status: status('normal') })
  world.runTo(6_000)
  t.match(world.named('plan').at(-1), { level: 'normal', otp: 3 })
})

t.test('a link the key server calls broken is not used', async (t) => {
  const { world } = lab()
  world.input('master', { kind: 'pool', status: status('normal', [{ link: 3, up: false, rateBps: 0, delayMs: 0 }]) })
  world.runTo(2_000)
  falling(world)
  world.runTo(3_000)
  t.match(world.named('task.sent'), [{ link: 2 }])
})

t.test('a shed refused because the device is out of reach is tried again until it is done', async (t) => {
  const { world } = lab()
  world.runTo(2_000)
  world.cut(5, true)
  world.runTo(45_000)
  falling(world)
  world.runTo(47_000)
  world.cut(5, false)
  world.runTo(70_000)
  t.ok(world.named('task.sent').length > 1)
  t.match(world.named('task.done'), [{ ok: false, reason: 'late' }])
  t.equal(world.gridRequests.filter(({ request }) => request.kind === 'shed').length, 1)
})

t.test('drain finishes what is under way, closes from the centre outwards, and the books are equal', async (t) => {
  const { world } = lab(agcConfig)
  world.runTo(10_000)
  falling(world)
  world.runTo(10_120)
  world.inputAll({ kind: 'drain' })
  world.runTo(16_000)
  const done = world.named('task.done').filter(({ taskType }) => taskType === 'shedding')
  t.match(done, [{ ok: true }])
  const counters = world.named('counters')
  t.same(counters.length, 14, 'each end of each link')
  t.ok(
    counters.every(({ tMs }) => tMs < 12_000),
    `ended at ${Math.max(...counters.map(({ tMs }) => tMs))} ms`,
  )
  t.ok(counters.every((event) => (event['framesSent'] as number) > 0))
  t.equal(world.books.size, 28)
  t.same(world.unequalBooks(), [])
  t.same(
    world.named('link.down').filter(({ reason }) => reason !== 'stopped'),
    [],
  )
})

t.test('drain waits for samples that were taken before the stations heard of it', async (t) => {
  const { world } = lab()
  world.runTo(9_990)
  falling(world, 0)
  world.runTo(10_000)
  t.same(world.named('telemetry.received'), [], 'they are under way')
  world.inputAll({ kind: 'drain' })
  world.runTo(16_000)
  t.equal(world.named('telemetry.sampled').length, 1)
  t.equal(world.named('telemetry.received').length, 1)
})

t.test('drain gives up after three seconds what does not end', async (t) => {
  const { world } = lab()
  world.runTo(2_000)
  world.cut(5, true)
  falling(world)
  world.runTo(2_200)
  world.inputAll({ kind: 'drain' })
  world.runTo(12_000)
  t.match(world.named('task.done'), [{ ok: false, reason: 'drain' }])
  t.equal(new Set(world.named('counters').map(({ node }) => node)).size, 6)
})

t.test('an application on a chain that is not there is refused at once', async (t) => {
  const shedding = { thresholdHz: -0.03, timeoutMs: 30_000, retryMs: 3_000, chains: ['nowhere'] }
  t.throws(() => lab({ shedding }), { name: 'RangeError', message: /chain nowhere/ })
})

t.test('whatever octets an authentic peer or a stranger sends, no node throws', async (t) => {
  const ends = (end: 0 | 1) => [linkOptions(1, end)]
  const points = { frequencyIoa: 1, commandIoa: 700, setpointIoa: 800 }
  const ied = { id: 'n', ca: 5, bus: 1, kind: 'load', points, samplePeriodMs: 20, telemetryPeriodMs: 1e4 } as const
  const makers: Record<string, { end: 0 | 1; make: () => LabNode }> = {
    master: {
      end: 0,
      make: () => new Master({ ...masterConfig, links: ends(0) }, { policy: new GreedyPolicy(), random: () => 0.5 }),
    },
    gateway: { end: 1, make: () => new Gateway({ id: 'n', links: ends(1), routes: { 5: [1] }, toCentre: [1] }) },
    rtu: {
      end: 1,
      make: () => new Rtu({ id: 'n', ca: 5, upLinks: ends(1), ieds: [{ link: linkOptions(2, 0), ioas: [700] }] }),
    },
    rtuBelow: {
      end: 0,
      make: () =>
        new Rtu({ id: 'n', ca: 5, upLinks: [linkOptions(2, 1)], ieds: [{ link: linkOptions(1, 0), ioas: [1, 700] }] }),
    },
    ied: {
      end: 1,
      make: () => new Ied({ ...ied, link: linkOptions(1, 1), telemetryDeadlineMs: 1, deadbandHz: 1, shedMw: 1 }),
    },
  }
  // Headers that nodes look into are made likely.
  const header = fc.tuple(
    fc.constantFrom(1, 13, 30, 36, 45, 50, 58, 70, 100, 102, 103, 200),
    fc.constantFrom(0, 1, 2, 0x81, 127),
    fc.constantFrom(1, 3, 5, 6, 7, 8, 10, 0x47, 44, 63),
    fc.nat(255),
    fc.constantFrom(5, 255),
    fc.constantFrom(0, 255),
  )
  const body = fc.uint8Array({ maxLength: 60 })
  const asdu = fc.oneof(
    fc.tuple(header, body).map(([head, rest]) => Uint8Array.of(...head, ...rest)),
    fc.uint8Array({ minLength: 1, maxLength: 249 }),
  )
  for (const [name, { end, make }] of Object.entries(makers)) {
    const peer = new Peer(ends(end === 0 ? 1 : 0))
    const world = new World().add('node', make()).add('peer', peer)
    world
      .connect(1, end === 0 ? ['node', 'peer'] : ['peer', 'node'])
      .start()
      .runTo(200)
    fc.assert(
      fc.property(asdu, fc.uint8Array({ maxLength: 300 }), (octets, datagram) => {
        tell(world, 'peer', peer, { link: 1, asdu: octets })
        world.input('node', { kind: 'datagram', link: 1, bytes: datagram })
        world.runTo(world.nowMs + 20)
      }),
      { numRuns: 300 },
    )
    t.ok(peer.isUp(1), `${name}: the link is still up`)
    if (name === 'rtu' || name === 'ied') t.ok(peer.received.length > 100, `${name} answered ${peer.received.length}`)
  }
})
