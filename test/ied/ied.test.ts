import t from 'tap'
import { Ied, type IedConfig } from '../../src/ied/index.ts'
import { decodeAsdu } from '../../src/protocol/index.ts'
import { got, interrogation, measured, setpoint, trip } from '../nodes/asdus.ts'
import { linkOptions, Peer, tell, WALL_MS, World } from '../nodes/harness.ts'

function lab(more: Partial<IedConfig> = {}) {
  const rtu = new Peer([linkOptions(1, 0)])
  const ied = new Ied({
    id: 'ied',
    ca: 5,
    bus: 16,
    kind: 'load',
    link: linkOptions(1, 1),
    points: { frequencyIoa: 1, voltageIoa: 2, breakerIoa: 3, commandIoa: 700, setpointIoa: 800 },
    samplePeriodMs: 20,
    telemetryPeriodMs: 10_000,
    telemetryDeadlineMs: 4_000,
    deadbandHz: 0.005,
    shedMw: 42.5,
    breakerDelayMs: 90,
    ...more,
  })
  const world = new World().add('rtu', rtu).add('ied', ied).connect(1, ['rtu', 'ied'])
  world.start().runTo(100)
  return {
    world,
    rtu,
    say: (asdu: Uint8Array, suite: 'otp' | 'aes' = 'otp') => tell(world, 'rtu', rtu, { link: 1, asdu, suite }),
  }
}

const atRest = { bus: 16, deltaFHz: 0, voltagePu: 1.02 }

t.test('subscribes to its bus and announces itself at the first connection only', async (t) => {
  const { world, rtu } = lab()
  t.match(world.gridRequests, [{ request: { kind: 'subscribe', bus: 16, periodMs: 20 } }])
  t.same(got(rtu), ['70:4 0'])
})

t.test(
  'a trip is confirmed at once, done by the breaker, ended, and reported, in the suite of the command',
  async (t) => {
    const { world, rtu, say } = lab()
    say(trip(5, 700))
    world.runTo(150)
    t.same(got(rtu).slice(1), ['45:7 700'])
    world.runTo(400)
    t.same(got(rtu).slice(1), ['45:7 700', '45:10 700', '30:11 3'])
    t.ok(rtu.received.slice(1).every(({ suite }) => suite === 'otp'))
    t.match(world.gridRequests[1], { request: { kind: 'shed', bus: 16, loadMw: 42.5, breakerDelayMs: 90 } })
    t.match(world.named('ied.act'), [{ ca: 5, ioa: 700, typeId: 45, suite: 'otp' }])
    t.match(world.named('ied.done'), [{ ca: 5, ioa: 700, ok: true, breakerMs: 90 }])
  },
)

t.test('a trip given again is confirmed and not done twice, under way or done', async (t) => {
  const { world, rtu, say } = lab()
  say(trip(5, 700))
  world.runTo(150)
  say(trip(5, 700))
  world.runTo(400)
  say(trip(5, 700), 'aes')
  world.runTo(500)
  t.equal(world.gridRequests.filter(({ request }) => request.kind === 'shed').length, 1)
  t.same(got(rtu).slice(1), ['45:7 700', '45:7 700', '45:10 700', '30:11 3', '45:7 700', '45:10 700'])
  t.equal(rtu.received.at(-1)?.suite, 'aes')
})

t.test('a trip the grid refuses ends negative and may be tried again', async (t) => {
  const { world, rtu, say } = lab()
  world.gridRefuses = true
  say(trip(5, 700))
  world.runTo(400)
  t.same(got(rtu).slice(1), ['45:7 700', '45:10- 700'])
  world.gridRefuses = false
  say(trip(5, 700))
  world.runTo(800)
  t.same(got(rtu).slice(3), ['45:7 700', '45:10 700', '30:11 3'])
})

t.test('a set-point is confirmed, set, ended', async (t) => {
  const { world, rtu, say } = lab()
  say(setpoint(5, 800, 12.5))
  world.runTo(300)
  t.same(got(rtu).slice(1), ['50:7 800', '50:10 800'])
  t.match(world.gridRequests[1], { request: { kind: 'setpoint', bus: 16, deltaMw: 12.5 } })
})

t.test('what it cannot serve is answered with P/N: type, common address, cause, address, value', async (t) => {
  const { world, rtu, say } = lab()
  say(measured(5, 1, 50))
  say(trip(6, 700))
  say(trip(5, 700, { cot: 3 }))
  say(trip(5, 701))
  say(setpoint(5, 801, 1))
  say(trip(5, 700, { on: false }))
  say(trip(5, 700, { select: true }))
  say(setpoint(5, 800, Number.NaN))
  say(interrogation(5, 21))
  world.runTo(300)
  const answers = [
    '36:44- 1',
    '45:46- 700',
    '45:45- 700',
    '45:47- 701',
    '50:47- 801',
    '45:7- 700',
    '45:7- 700',
    '50:7- 800',
  ]
  t.same(got(rtu).slice(1), [...answers, '100:7- 0'])
  t.equal(world.gridRequests.length, 1, 'nothing was asked of the grid')
})

t.test('octets that are no whole ASDU of a known type are not answered', async (t) => {
  const { world, rtu, say } = lab()
  say(trip(5, 700).slice(0, 9))
  say(Uint8Array.of(45))
  world.runTo(300)
  t.equal(rtu.received.length, 1)
})

t.test('interrogation gives the points without time tags, also when all stations are asked', async (t) => {
  const { world, rtu, say } = lab()
  world.sample('ied', { ...atRest, deltaFHz: 0.001 })
  say(interrogation(65_535))
  world.runTo(300)
  t.same(got(rtu).slice(1), ['36:3 1', '100:7 0', '13:20 1', '1:20 3', '100:10 0'])
  t.ok(
    rtu.received.every(({ asdu }) => decodeAsdu(asdu).ca === 5),
    'the answers name the one that answers',
  )
})

t.test('the first frequency, and one beyond the deadband about the value last reported, does not wait', async (t) => {
  const { world, rtu } = lab()
  for (const deltaFHz of [0, 0.004, -0.006, -0.008, -0.012]) world.sample('ied', { ...atRest, deltaFHz })
  world.runTo(200)
  const values = rtu.received.slice(1).map(({ asdu }) => {
    const decoded = decodeAsdu(asdu)
    return decoded.type === 'M_ME_TF_1' ? decoded.objects.map(({ value }) => Math.round(value.value * 1000)) : []
  })
  t.same(values, [[0], [-6], [-12]])
})

t.test('telemetry is periodic, tagged with wall time, and noted when it is sampled', async (t) => {
  const { world, rtu } = lab({ telemetryPhaseMs: 2_000 })
  world.sample('ied', atRest)
  world.runTo(13_000)
  t.same(got(rtu).slice(1), ['36:3 1', '36:1 1', '36:1 1'])
  const sampled = { ca: 5, ioa: 1, deadlineMs: 4_000, requiredSuite: 'aes' }
  t.match(world.named('telemetry.sampled'), [
    { ...sampled, tagMs: WALL_MS + 2_000 },
    { ...sampled, tagMs: WALL_MS + 12_000 },
  ])
  const decoded = decodeAsdu(rtu.received[2]?.asdu ?? new Uint8Array())
  t.match(decoded.objects, [{ ioa: 1 }, { ioa: 2, value: { time: { wallMs: WALL_MS + 2_000 } } }])
})

t.test('a phasor block of 16 values fills one APDU', async (t) => {
  const { world, rtu } = lab({ pmu: { firstIoa: 900, objects: 16, periodMs: 1_000, deadlineMs: 1_000 } })
  world.sample('ied', atRest)
  world.runTo(2_500)
  t.same(got(rtu).slice(1), ['36:3 1', '36:1 900', '36:1 900'])
  t.equal(rtu.received[2]?.asdu.length, 246)
})

t.test('drain: no more reports, commands under way end, then the link is closed', async (t) => {
  const { world, rtu, say } = lab()
  say(trip(5, 700))
  world.runTo(120)
  world.input('ied', { kind: 'drain' })
  world.sample('ied', { ...atRest, deltaFHz: -0.2 })
  world.runTo(400)
  t.same(got(rtu).slice(1), ['45:7 700', '45:10 700', '30:11 3'])
  t.same(world.named('counters', 'ied'), [], 'waits for the controlling station')
  world.input('rtu', { kind: 'drain' })
  world.runTo(2_000)
  t.equal(world.named('counters', 'ied').length, 1)
  t.same(world.unequalBooks(), [])
})
