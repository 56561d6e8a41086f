import t from 'tap'
import { Gateway, type GatewayConfig } from '../../src/gateway/index.ts'
import { cot, replyTo } from '../../src/protocol/index.ts'
import { got, interrogation, measured, trip } from '../nodes/asdus.ts'
import { linkOptions, Peer, tell, World } from '../nodes/harness.ts'

/** centre -1- gw -2- rtu1, gw -3- rtu2; link 4 is a second way to rtu1. */
function lab(more: Partial<GatewayConfig> = {}) {
  const centre = new Peer([linkOptions(1, 0)])
  const rtu1 = new Peer([linkOptions(2, 1), linkOptions(4, 1)])
  const rtu2 = new Peer([linkOptions(3, 1)])
  const gateway = new Gateway({
    id: 'gw',
    links: [linkOptions(1, 1), linkOptions(2, 0), linkOptions(3, 0), linkOptions(4, 0)],
    routes: { 1: [2, 4], 2: [3] },
    toCentre: [1],
    ...more,
  })
  const world = new World().add('centre', centre).add('rtu1', rtu1).add('rtu2', rtu2).add('gw', gateway)
  world.connect(1, ['centre', 'gw']).connect(2, ['gw', 'rtu1']).connect(3, ['gw', 'rtu2']).connect(4, ['gw', 'rtu1'])
  return { world: world.start().runTo(100), centre, rtu1, rtu2, gateway }
}

t.test(
  'a command goes to its station and the answer to the centre, no octet changed, in the suite they came in',
  async (t) => {
    const { world, centre, rtu1, rtu2 } = lab()
    const command = trip(1, 700)
    tell(world, 'centre', centre, { link: 1, asdu: command, suite: 'otp' })
    world.runTo(200)
    t.match(rtu1.received, [{ link: 2, asdu: command, suite: 'otp' }])
    t.same(rtu2.received, [])
    const answer = replyTo(command, { cot: cot.activationCon, negative: false })
    tell(world, 'rtu1', rtu1, { link: 2, asdu: answer, suite: 'aes' })
    world.runTo(300)
    t.match(centre.received, [{ link: 1, asdu: answer, suite: 'aes' }])
    t.match(world.named('hop', 'gw'), [
      { ca: 1, ioa: 700, typeId: 45, cot: 6, fromLink: 1, toLink: 2, suite: 'otp', queueMs: 0, keyWaitMs: 0 },
      { ca: 1, ioa: 700, typeId: 45, cot: 7, fromLink: 2, toLink: 1, suite: 'aes' },
    ])
  },
)

t.test('measurements go to the centre and make no hop event', async (t) => {
  const { world, centre, rtu2 } = lab()
  tell(world, 'rtu2', rtu2, { link: 3, asdu: measured(2, 1, 50), suite: 'aes' })
  world.runTo(200)
  t.same(got(centre), ['36:3 1'])
  t.same(world.named('hop'), [])
})

t.test('an unknown common address finds no route', async (t) => {
  const { world, centre, rtu1, rtu2 } = lab()
  tell(world, 'centre', centre, { link: 1, asdu: trip(99, 700) })
  world.runTo(200)
  t.same([rtu1.received, rtu2.received, centre.received], [[], [], []], 'a relay answers nothing')
  t.match(world.named('hop.noRoute'), [{ ca: 99, ioa: 700, typeId: 45, reason: 'noRoute' }])
})

t.test('an interrogation of all stations reaches each of them once', async (t) => {
  const { world, centre, rtu1, rtu2 } = lab()
  tell(world, 'centre', centre, { link: 1, asdu: interrogation(65_535) })
  world.runTo(200)
  t.same([got(rtu1), got(rtu2)], [['100:6 0'], ['100:6 0']])
})

t.test('when the preferred link has fallen silent the next one is used', async (t) => {
  const { world, centre, rtu1 } = lab()
  world.cut(2, true)
  tell(world, 'centre', centre, { link: 1, asdu: trip(1, 700) })
  world.runTo(5_000)
  t.same(got(rtu1), [], 'the first is lost on the cut link: a relay does not give a command twice')
  tell(world, 'centre', centre, { link: 1, asdu: trip(1, 701) })
  world.runTo(6_000)
  t.same(got(rtu1, 4), ['45:6 701'])
})

t.test('a message without a usable link waits, and goes when the link is back', async (t) => {
  const { world, centre, rtu2 } = lab()
  world.cut(3, true)
  world.runTo(45_000)
  t.match(world.named('link.down', 'gw'), [{ link: 3 }])
  tell(world, 'centre', centre, { link: 1, asdu: trip(2, 700) })
  world.runTo(46_000)
  world.cut(3, false)
  world.runTo(60_000)
  t.same(got(rtu2), ['45:6 700'])
  t.ok((world.named('hop')[0]?.['queueMs'] as number) > 900, 'the wait is in the hop')
})

t.test('a message without a usable link is given up after holdMs', async (t) => {
  const { world, centre, rtu2 } = lab({ holdMs: 500 })
  world.cut(3, true)
  world.runTo(45_000)
  tell(world, 'centre', centre, { link: 1, asdu: trip(2, 700) })
  world.runTo(46_000)
  world.cut(3, false)
  world.runTo(60_000)
  t.same(got(rtu2), [])
  t.match(world.named('hop.noRoute'), [{ ca: 2, ioa: 700, reason: 'noRoute' }])
})

t.test('waiting for key counts as key wait and is no loss', async (t) => {
  const { world, centre, rtu2 } = lab()
  world.dryChannels.add(6)
  for (let i = 0; i < 30; i++) tell(world, 'centre', centre, { link: 1, asdu: trip(2, 700 + i) })
  world.runTo(3_000)
  const before = rtu2.received.length
  world.water(6)
  world.runTo(4_000)
  t.ok(before < 30, `${before} before the key came`)
  t.equal(rtu2.received.length, 30)
  t.ok(world.named('hop').some(({ keyWaitMs }) => (keyWaitMs as number) > 2_000))
})

t.test('a route over a link that is not there is refused', async (t) => {
  t.throws(() => lab({ routes: { 1: [9] } }), { name: 'RangeError', message: /no link 9/ })
})

t.test('drain waits for the centre, then closes with equal books', async (t) => {
  const { world, centre, rtu1 } = lab()
  tell(world, 'centre', centre, { link: 1, asdu: trip(1, 700) })
  world.input('gw', { kind: 'drain' })
  world.runTo(500)
  t.same(world.named('counters', 'gw'), [])
  for (const id of ['centre', 'rtu1', 'rtu2']) world.input(id, { kind: 'drain' })
  world.runTo(2_500)
  t.same(got(rtu1), ['45:6 700'])
  t.equal(world.named('counters', 'gw').length, 4, 'one for each link')
  t.equal(world.books.size, 16)
  t.same(world.unequalBooks(), [])
})
