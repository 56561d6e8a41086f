/** The station in the RTU, as the centre sees it over the secure links. */
import fc from 'fast-check'
import t from 'tap'
import { asduOf, cot, cp56, decodeAsdu, encodeAsdu, replyTo } from '../../src/protocol/index.ts'
import { clock, interrogation, measured, reading, setpoint, trip } from '../nodes/asdus.ts'
import { linkOptions, WALL_MS } from '../nodes/harness.ts'
import { rtuLab } from './lab.ts'

const GOOD = { blocked: false, substituted: false, notTopical: false, invalid: false }

const breaker = (ioa: number, on: boolean, cause: number = cot.spontaneous): Uint8Array =>
  encodeAsdu(
    asduOf('M_SP_TB_1', {
      cot: cause,
      ca: 5,
      objects: [{ ioa, value: { siq: { ...GOOD, on }, time: cp56(WALL_MS) } }],
    }),
  )
const count = (ioa: number, value: number): Uint8Array => {
  const bcr = { count: value, sequence: 0, carry: false, adjusted: false, invalid: false }
  return encodeAsdu(asduOf('M_IT_NA_1', { cot: cot.spontaneous, ca: 5, objects: [{ ioa, value: { bcr } }] }))
}
const counters = (request: number, freeze = 0): Uint8Array =>
  encodeAsdu(
    asduOf('C_CI_NA_1', { cot: cot.activation, ca: 5, objects: [{ ioa: 0, value: { qcc: { request, freeze } } }] }),
  )
const reset = (qrp: number): Uint8Array =>
  encodeAsdu(asduOf('C_RP_NA_1', { cot: cot.activation, ca: 5, objects: [{ ioa: 0, value: { qrp } }] }))
/** The same octets with another originator address. */
const by = (oa: number, asdu: Uint8Array): Uint8Array => {
  const octets = asdu.slice()
  octets[3] = oa
  return octets
}
const asTest = (asdu: Uint8Array): Uint8Array => {
  const octets = asdu.slice()
  octets[2] = (octets[2] ?? 0) | 0x80
  return octets
}
const confirm = (asdu: Uint8Array): Uint8Array => replyTo(asdu, { cot: cot.activationCon, negative: false })
const terminate = (asdu: Uint8Array): Uint8Array => replyTo(asdu, { cot: cot.activationTermination, negative: false })

t.test('database', async (t) => {
  const points = [
    { ioa: 1, group: 1 },
    { ioa: 2, group: 2 },
    { ioa: 11, group: 2 },
  ]
  t.test('groups are interrogated by themselves; the originator address is mirrored', async (t) => {
    const { say, report, reportB, news } = rtuLab({ points })
    report(breaker(1, true))
    report(measured(5, 2, 49.9))
    reportB(measured(5, 11, 1.01))
    report(measured(5, 3, 7))
    news()
    say(by(9, interrogation(5, 22)))
    t.same(news(), ['C_IC_NA_1 7 0 oa9', 'M_ME_NC_1 22 2,11 oa9', 'C_IC_NA_1 10 0 oa9'])
    say(interrogation(5, 21))
    t.same(news(), ['C_IC_NA_1 7 0', 'M_SP_NA_1 21 1', 'C_IC_NA_1 10 0'])
    say(interrogation(5, 20))
    t.same(news(), ['C_IC_NA_1 7 0', 'M_SP_NA_1 20 1', 'M_ME_NC_1 20 2,3,11', 'C_IC_NA_1 10 0'])
    say(interrogation(5, 23))
    t.same(news(), ['C_IC_NA_1 7- 0'], 'nothing is in it')
  })
  t.test('counters have their own interrogation and can be frozen', async (t) => {
    const { up, say, report, news } = rtuLab({ points: [{ ioa: 1, group: 1 }] })
    report(count(1, 40))
    news()
    say(counters(5))
    t.same(news(), ['C_CI_NA_1 7 0', 'M_IT_NA_1 37 1', 'C_CI_NA_1 10 0'])
    say(counters(1, 1))
    report(count(1, 50))
    news()
    say(counters(1))
    const reading = decodeAsdu(up.received[1]?.asdu ?? new Uint8Array())
    t.match(reading, { type: 'M_IT_NA_1', cot: 38, objects: [{ value: { bcr: { count: 40, sequence: 1 } } }] })
  })
  t.test('every kind of report is read, and kept as what it is', async (t) => {
    const { say, report, news } = rtuLab({ ieds: [{ link: linkOptions(3, 0), ioas: [1, 2, 3, 4, 5, 6, 7] }] })
    const header = { cot: cot.spontaneous, ca: 5 }
    const qds = { ...GOOD, overflow: false }
    for (const asdu of [
      asduOf('M_DP_NA_1', { ...header, objects: [{ ioa: 1, value: { diq: { ...GOOD, state: 2 } } }] }),
      asduOf('M_ST_NA_1', { ...header, objects: [{ ioa: 2, value: { vti: { value: -3, transient: false }, qds } }] }),
      asduOf('M_BO_NA_1', { ...header, objects: [{ ioa: 3, value: { bsi: 7, qds } }] }),
      asduOf('M_PS_NA_1', { ...header, objects: [{ ioa: 4, value: { scd: { status: 3, changes: 1 }, qds } }] }),
      asduOf('M_ME_ND_1', { ...header, objects: [{ ioa: 5, value: { value: 0.5 } }] }),
      asduOf('M_ME_TD_1', { ...header, objects: [{ ioa: 6, value: { value: 0.5, qds, time: cp56(WALL_MS) } }] }),
      asduOf('M_ME_NB_1', { ...header, objects: [{ ioa: 7, value: { value: -9, qds } }] }),
    ])
      report(encodeAsdu(asdu))
    // Another kind than before: passed up, but not taken.
    report(measured(5, 1, 50))
    t.equal(news().length, 8)
    say(interrogation(5))
    t.same(news().slice(1, -1), [
      'M_DP_NA_1 20 1',
      'M_ST_NA_1 20 2',
      'M_BO_NA_1 20 3',
      'M_PS_NA_1 20 4',
      'M_ME_NA_1 20 5,6',
      'M_ME_NB_1 20 7',
    ])
  })
  t.test('cyclic and background scans of points that have appeared', async (t) => {
    const scanned = [
      { ioa: 2, cycleMs: 1_000 },
      { ioa: 3, background: true },
    ]
    const { world, report, news } = rtuLab({ points: scanned, station: { backgroundMs: 2_500 } })
    world.runTo(3_000)
    t.same(news(), [], 'nothing is there yet')
    report(measured(5, 2, 1, cot.interrogatedByStation))
    report(measured(5, 3, 1, cot.interrogatedByStation))
    world.runTo(8_900)
    const got = news()
    t.equal(got.filter((line) => line === 'M_ME_NC_1 1 2').length, 5)
    t.equal(got.filter((line) => line === 'M_ME_NC_1 2 3').length, 2)
  })
  t.test('reset of the process is confirmed and the end of initialization told again', async (t) => {
    const { say, news } = rtuLab()
    say(reset(1))
    t.same(news(), ['C_RP_NA_1 7 0', 'M_EI_NA_1 4 0'])
  })
  t.test('files of the station are there', async (t) => {
    const files = [{ ca: 5, ioa: 9_000, nof: 1, bytes: Uint8Array.of(1, 2, 3) }]
    const { say, news } = rtuLab({ station: { files } })
    const value = { nof: 0, nos: 0, scq: { request: 0, fault: 0 } }
    say(encodeAsdu(asduOf('F_SC_NA_1', { cot: cot.request, ca: 5, objects: [{ ioa: 0, value }] })))
    t.same(news(), ['F_DR_TA_1 5 9000'])
  })
  t.test('a configuration that cannot be is refused', async (t) => {
    t.throws(() => rtuLab({ points: [{ ioa: 1, group: 17 }] }), /points\[0\]: group 17/)
    t.throws(() => rtuLab({ points: [{ ioa: 1, cycleMs: 0 }] }), /cycleMs 0/)
  })
})

t.test('selection', async (t) => {
  t.test('the station selects, the IED is told to execute only', async (t) => {
    const { iedA, say, report, news, told } = rtuLab()
    say(trip(5, 700, { select: true }))
    t.same(told(iedA), [])
    t.same(news(), ['C_SC_NA_1 7 700'])
    say(trip(5, 700))
    t.same(told(iedA), ['C_SC_NA_1 6 700'])
    report(confirm(trip(5, 700)))
    report(terminate(trip(5, 700)))
    t.same(news(), ['C_SC_NA_1 7 700', 'C_SC_NA_1 10 700'])
  })
  t.test('it holds for originator and value, and for its time', async (t) => {
    const { world, iedA, say, news, told } = rtuLab({ station: { selectTimeoutMs: 1_000 } })
    say(by(1, trip(5, 700, { select: true })))
    say(by(2, trip(5, 700)))
    t.same(news(), ['C_SC_NA_1 7 700 oa1', 'C_SC_NA_1 7- 700 oa2'])
    say(by(1, trip(5, 700, { on: false })))
    say(by(1, trip(5, 700, { select: true })))
    t.same(news(), ['C_SC_NA_1 7- 700 oa1', 'C_SC_NA_1 7 700 oa1'], 'another value ends it')
    t.same(told(iedA), [])
    world.runTo(world.nowMs + 1_100)
    t.match(world.named('command.selectTimeout'), [{ object: '5:700' }])
    say(trip(5, 700, { cot: cot.deactivation, select: true }))
    t.same(news(), ['C_SC_NA_1 9- 700'])
    say(trip(5, 700, { select: true }))
    say(trip(5, 700, { cot: cot.deactivation, select: true }))
    t.same(news(), ['C_SC_NA_1 7 700', 'C_SC_NA_1 9 700'])
  })
  t.test('it may be executed over the other way', async (t) => {
    const { iedA, up, say, news, told } = rtuLab()
    say(trip(5, 700, { select: true }), 1, 'otp')
    say(trip(5, 700), 2, 'aes')
    t.same(told(iedA), ['C_SC_NA_1 6 700'])
    t.match(up.received, [{ link: 1, suite: 'otp' }])
    t.same(news(), ['C_SC_NA_1 7 700'])
  })
  t.test('what cannot be reached cannot be selected', async (t) => {
    const { world, say, news } = rtuLab()
    world.cut(3, true)
    world.runTo(45_000)
    news()
    say(trip(5, 700, { select: true }))
    t.same(news(), ['C_SC_NA_1 7- 700'])
  })
  t.test('a test is answered and not carried out', async (t) => {
    const { iedA, say, up, told } = rtuLab()
    say(asTest(trip(5, 700)))
    t.same(told(iedA), [])
    t.same(
      up.received.map(({ asdu }) => [asdu[0], asdu[2]]),
      [
        [45, 0x87],
        [45, 0x8a],
      ],
    )
  })
})

t.test('answers', async (t) => {
  t.test('go out in the suite and over the link of the question', async (t) => {
    const { up, say } = rtuLab()
    for (const [link, suite] of [
      [1, 'otp'],
      [2, 'aes'],
    ] as const) {
      say(interrogation(5), link, suite)
      say(clock(5, WALL_MS), link, suite)
      t.match(up.received.splice(0), [
        { link, suite },
        { link, suite },
        { link, suite },
      ])
    }
  })
  t.test('of an IED go to who asked, once each, and a termination to both ways as one', async (t) => {
    const { iedB, up, say, reportB, news, told } = rtuLab()
    say(setpoint(5, 800, 3), 1)
    say(setpoint(5, 800, 4), 2)
    t.equal(told(iedB).length, 2)
    reportB(confirm(setpoint(5, 800, 3)), 'otp')
    reportB(confirm(setpoint(5, 800, 4)), 'otp')
    reportB(terminate(setpoint(5, 800, 4)), 'otp')
    reportB(terminate(setpoint(5, 800, 3)), 'otp')
    t.same(
      up.received.map(({ link }) => link),
      [1, 2, 2, 1],
    )
    t.equal(news().length, 4)
    reportB(terminate(setpoint(5, 800, 3)), 'otp')
    t.same(news(), ['C_SE_NC_1 10 800'], 'nobody waits for it: the first link up')
  })
  t.test('a command that could not leave is refused', async (t) => {
    const { world, say, news } = rtuLab({ holdMs: 1_000 })
    world.dryChannels.add(6)
    for (let n = 0; n < 40; n++) say(trip(5, 700))
    world.runTo(world.nowMs + 2_000)
    t.ok(news().some((line) => line === 'C_SC_NA_1 7- 700'))
    t.match(world.named('hop.lost')[0], { ioa: 700, reason: 'expired' })
  })
  t.test('what is malformed is refused by its header and ends nothing', async (t) => {
    const { world, iedA, say, up, told } = rtuLab()
    const short = trip(5, 700).slice(0, -1)
    say(short)
    say(Uint8Array.of(45, 1))
    say(reading(5, 1).slice(0, 8))
    t.same(told(iedA), [])
    t.same(
      up.received.map(({ asdu }) => [asdu[0], asdu[2], asdu.length]),
      [[45, 0x47, short.length]],
    )
    t.same(world.named('link.down'), [])
  })
})

t.test('events over loss of the links', async (t) => {
  const valuesOf = (octets: Uint8Array): number[] =>
    decodeAsdu(octets).objects.map(({ value }) => (value as { value: number }).value)

  t.test('wait without limit of time, keep their octets, share ASDUs and come in order', async (t) => {
    const { world, up, report } = rtuLab()
    world.cut(1, true)
    world.cut(2, true)
    world.runTo(45_000)
    for (let n = 1; n <= 40; n++) report(measured(5, 1, n))
    world.runTo(120_000)
    world.cut(2, false)
    world.runTo(160_000)
    const got = up.received.flatMap(({ asdu }) => valuesOf(asdu))
    t.same(
      got,
      Array.from({ length: 40 }, (_, i) => i + 1),
    )
    t.ok(up.received.length < 10, `${up.received.length} ASDUs`)
    t.match(
      decodeAsdu(up.received[0]?.asdu ?? new Uint8Array()).objects[0],
      decodeAsdu(measured(5, 1, 1)).objects[0],
      'with the IED’s time tag',
    )
  })
  t.test('suites are not mixed', async (t) => {
    const { world, up, report } = rtuLab()
    world.cut(1, true)
    world.cut(2, true)
    world.runTo(45_000)
    for (const suite of ['aes', 'aes', 'otp', 'otp', 'aes'] as const) report(measured(5, 1, 1), suite)
    world.cut(1, false)
    world.runTo(80_000)
    t.same(up.received.map(({ suite, asdu }) => [suite, valuesOf(asdu).length]).toSorted(), [
      ['aes', 1],
      ['aes', 2],
      ['otp', 2],
    ])
  })
  t.test('at the limit the oldest is dropped, and that is counted', async (t) => {
    const { world, up, rtu, report } = rtuLab({ station: { maxEvents: 10 } })
    world.cut(1, true)
    world.cut(2, true)
    world.runTo(45_000)
    for (let n = 1; n <= 25; n++) report(measured(5, 1, n))
    t.match(rtu.node.stationStatus().groups, [{ name: 'centre', waitingEvents: 10, droppedEvents: 15 }])
    world.cut(1, false)
    world.runTo(80_000)
    t.same(
      up.received.flatMap(({ asdu }) => valuesOf(asdu)),
      [16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
    )
    world.input('rtu', { kind: 'drain' })
    t.match(world.named('station'), [{ waitingEvents: 0, droppedEvents: 15 }])
  })
  t.test('what a link was given and did not bring goes over the other', async (t) => {
    const { world, up, report } = rtuLab()
    world.cut(1, true)
    for (let n = 1; n <= 30; n++) report(measured(5, 1, n))
    world.runTo(60_000)
    const got = up.received.map(({ link, asdu }) => ({ link, values: valuesOf(asdu) }))
    t.same(
      [...new Set(got.flatMap(({ values }) => values))].toSorted((a, b) => a - b),
      Array.from({ length: 30 }, (_, i) => i + 1),
    )
    t.ok(got.every(({ link }) => link === 2))
  })
  t.test('no event is lost while links come and go', async (t) => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cut: fc.constantFrom(0, 1, 2), events: fc.nat(5) }), { maxLength: 6 }),
        (steps) => {
          const { world, up, report } = rtuLab()
          let n = 0
          for (const { cut, events } of steps) {
            world.runTo(world.nowMs + 300)
            if (cut !== 0) world.cut(cut, true)
            for (let i = 0; i < events; i++) report(measured(5, 1, ++n))
            world.runTo(world.nowMs + 40_000)
            world.cut(1, false)
            world.cut(2, false)
          }
          world.runTo(world.nowMs + 60_000)
          const got = up.received.flatMap(({ asdu }) => valuesOf(asdu))
          return new Set(got).size === n
        },
      ),
      { numRuns: 15 },
    )
    t.pass()
  })
  t.test('a link whose queue is full of answers loses none', async (t) => {
    const { world, up, say, report } = rtuLab()
    world.dryChannels.add(3)
    for (let n = 0; n < 400; n++) say(trip(5, 999), 1, 'otp')
    for (let n = 1; n <= 30; n++) report(measured(5, 1, n), 'otp')
    world.runTo(world.nowMs + 5_000)
    world.water(3)
    world.runTo(world.nowMs + 5_000)
    const values = up.received.flatMap(({ asdu }) => (asdu[0] === 36 ? valuesOf(asdu) : []))
    t.same(
      values,
      Array.from({ length: 30 }, (_, i) => i + 1),
    )
  })
  t.test('an event does not overtake the page that has the value before it', async (t) => {
    const { world, up, say, report } = rtuLab()
    report(measured(5, 1, 1))
    up.received.length = 0
    world.dryChannels.add(3)
    for (let n = 0; n < 30; n++) say(trip(5, 999), 1, 'otp')
    say(interrogation(5), 1, 'otp')
    report(measured(5, 1, 2), 'otp')
    world.water(3)
    world.runTo(world.nowMs + 2_000)
    const values = up.received.flatMap(({ asdu }) => (asdu[0] === 13 || asdu[0] === 36 ? valuesOf(asdu) : []))
    t.equal(values.at(-1), 2)
  })
})
