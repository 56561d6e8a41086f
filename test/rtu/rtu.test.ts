import t from 'tap'
import { cot, decodeAsdu, replyTo } from '../../src/protocol/index.ts'
import { Rtu } from '../../src/rtu/index.ts'
import { clock, got, interrogation, measured, reading, setpoint, trip } from '../nodes/asdus.ts'
import { linkOptions, Peer, tell, WALL_MS, World } from '../nodes/harness.ts'

/** Two ways up (1 and 2), two IEDs (3 owns 1 and 700, 4 owns 2 and 800). */
function lab() {
  const up = new Peer([linkOptions(1, 0), linkOptions(2, 0)])
  const iedA = new Peer([linkOptions(3, 1)])
  const iedB = new Peer([linkOptions(4, 1)])
  const rtu = new Rtu({
    id: 'rtu',
    ca: 5,
    upLinks: [linkOptions(1, 1), linkOptions(2, 1)],
    ieds: [
      { link: linkOptions(3, 0), ioas: [1, 700] },
      { link: linkOptions(4, 0), ioas: [2, 800] },
    ],
  })
  const world = new World().add('up', up).add('iedA', iedA).add('iedB', iedB).add('rtu', rtu)
  world.connect(1, ['up', 'rtu']).connect(2, ['up', 'rtu']).connect(3, ['rtu', 'iedA']).connect(4, ['rtu', 'iedB'])
  world.start().runTo(100)
  const say = (link: number, asdu: Uint8Array, suite: 'otp' | 'aes' = 'otp') =>
    tell(world, 'up', up, { link, asdu, suite })
  return { world, up, iedA, iedB, say }
}

t.test('interrogates each IED when its link comes up and announces itself upwards once', async (t) => {
  const { up, iedA, iedB } = lab()
  t.same([got(iedA), got(iedB)], [['100:6 0'], ['100:6 0']])
  t.same(got(up), ['70:4 0'])
})

t.test('a command goes to the IED that owns the address, its answer back to where it came from', async (t) => {
  const { world, up, iedA, iedB, say } = lab()
  const command = setpoint(5, 800, 3)
  say(2, command)
  world.runTo(200)
  t.match(iedB.received[1], { asdu: command, suite: 'otp' })
  t.equal(iedA.received.length, 1)
  for (const cause of [cot.activationCon, cot.activationTermination]) {
    tell(world, 'iedB', iedB, { link: 4, asdu: replyTo(command, { cot: cause, negative: false }) })
  }
  world.runTo(300)
  t.same(got(up, 2), ['50:7 800', '50:10 800'])
  t.match(
    world.named('hop').map(({ fromLink, toLink, cot: cause }) => [fromLink, toLink, cause]),
    [
      [2, 4, 6],
      [4, 2, 7],
      [4, 2, 10],
    ],
  )
})

t.test(
  'an event passes at once, the same octets in the same suite; what it was asked for itself does not',
  async (t) => {
    const { world, up, iedA } = lab()
    const event = measured(5, 1, 49.9)
    tell(world, 'iedA', iedA, { link: 3, asdu: event, suite: 'aes' })
    tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 1, 49.8, cot.interrogatedByStation), suite: 'aes' })
    world.runTo(200)
    t.match(up.received.slice(1), [{ link: 1, asdu: event, suite: 'aes' }])
    t.equal(up.received.length, 2)
  },
)

t.test('interrogation is answered from the database; old values of an IED out of reach are not topical', async (t) => {
  const { world, up, iedA, iedB, say } = lab()
  tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 1, 49.9) })
  tell(world, 'iedB', iedB, { link: 4, asdu: measured(5, 2, 1.01) })
  world.runTo(200)
  world.cut(4, true)
  world.runTo(45_000)
  say(1, interrogation(5), 'aes')
  world.runTo(45_100)
  t.same(got(up).slice(3), ['100:7 0', '13:20 1', '100:10 0'])
  const values = decodeAsdu(up.received[4]?.asdu ?? new Uint8Array())
  t.match(values.objects, [
    { ioa: 1, value: { qds: { notTopical: false } } },
    { ioa: 2, value: { qds: { notTopical: true } } },
  ])
})

t.test('an interrogation of all stations is answered in its own name', async (t) => {
  const { world, up, say } = lab()
  say(1, interrogation(65_535))
  world.runTo(200)
  t.same(
    up.received.slice(1).map(({ asdu }) => decodeAsdu(asdu).ca),
    [5, 5],
  )
})

t.test('the answers to an interrogation stay in order also when they had to wait for key', async (t) => {
  const { world, up, iedA, say } = lab()
  tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 1, 49.9) })
  world.runTo(200)
  world.dryChannels.add(3)
  for (let i = 0; i < 30; i++) say(1, trip(5, 999))
  say(1, interrogation(5))
  world.runTo(1_000)
  t.ok(got(up).length < 30)
  world.water(3)
  world.runTo(2_000)
  t.same(got(up).slice(-3), ['100:7 0', '13:20 1', '100:10 0'])
})

t.test('read gives one point with cause request', async (t) => {
  const { world, up, iedA, say } = lab()
  tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 1, 49.9) })
  world.runTo(200)
  say(1, reading(5, 1))
  say(1, reading(5, 2))
  world.runTo(300)
  t.same(got(up).slice(2), ['13:5 1', '102:47- 2'])
})

t.test('a clock synchronisation is confirmed and sets the clock', async (t) => {
  const { world, up, say } = lab()
  say(1, clock(5, WALL_MS + 1_000))
  world.runTo(200)
  t.same(got(up).slice(1), ['103:7 0'])
  t.match(world.named('clock.set'), [{ ca: 5, offsetMs: 898 }])
})

t.test('what it cannot serve is answered with P/N: type, common address, cause, address', async (t) => {
  const { world, up, say } = lab()
  say(1, measured(5, 1, 50))
  say(1, trip(6, 700))
  say(1, trip(5, 700, { cot: 3 }))
  say(1, trip(5, 999))
  say(1, interrogation(5, 21))
  world.runTo(300)
  t.same(got(up).slice(1), ['36:44- 1', '45:46- 700', '45:45- 700', '45:47- 999', '100:7- 0'])
})

t.test('a command to an IED out of reach is refused at once', async (t) => {
  const { world, up, say } = lab()
  world.cut(3, true)
  world.runTo(45_000)
  say(1, trip(5, 700))
  world.runTo(45_100)
  t.same(got(up).slice(1), ['45:7- 700'])
})

t.test('an IED speaks for its own addresses only', async (t) => {
  const { world, up, iedA } = lab()
  tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 2, 7) })
  world.runTo(200)
  t.same(got(up), ['70:4 0'])
  t.match(world.named('rtu.foreignPoint'), [{ link: 3, ioa: 2 }])
})

t.test('an event that found no way up goes when a way is back', async (t) => {
  const { world, up, iedA } = lab()
  world.runTo(500)
  world.cut(1, true)
  world.cut(2, true)
  world.runTo(45_000)
  tell(world, 'iedA', iedA, { link: 3, asdu: measured(5, 1, 49.9) })
  world.runTo(46_000)
  world.cut(2, false)
  world.runTo(60_000)
  t.same(got(up).slice(1), ['36:3 1'])
})
