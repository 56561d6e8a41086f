/** IEC 60870-5-101, 7.4.5 to 7.4.7: station and group interrogation, reading, integrated totals. */
import t from 'tap'
import { cot } from '../../../src/protocol/index.ts'
import type { PointSpec } from '../../../src/rtu/index.ts'
import { counters, interrogation, Lab, read } from './harness.ts'

const off = { cot: cot.deactivation }

t.test('station interrogation', async (t) => {
  t.test('confirmation, every value without time tag under cause 20, termination; no totals', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(interrogation()), [
      'C_IC_NA_1 7 1/0',
      'M_SP_NA_1 20 1/1 x2',
      'M_DP_NA_1 20 1/11',
      'M_ST_NA_1 20 1/21',
      'M_BO_NA_1 20 1/31',
      'M_ME_NA_1 20 1/41',
      'M_ME_NB_1 20 1/51',
      'M_ME_NC_1 20 1/61',
      'M_PS_NA_1 20 1/81',
      'C_IC_NA_1 10 1/0',
    ])
    t.match(client.values('M_SP_NA_1'), [{ siq: { on: false } }, { siq: { on: true } }])
    t.match(client.values('M_ME_NC_1'), [{ value: 1.5, qds: { invalid: false } }])
    t.match(client.values('M_ST_NA_1'), [{ vti: { value: -3, transient: false } }])
    t.match(client.values('M_BO_NA_1'), [{ bsi: 0xdead_beef }])
  })
  t.test('the originator address is mirrored in confirmation, values and termination', async (t) => {
    const client = new Lab().start()
    client.send(interrogation(20, { oa: 7 }))
    t.same(new Set(client.asdus.map(({ oa }) => oa)), new Set([7]))
  })
  t.test('quality of the points is reported', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.set(51, 99_999)
    lab.set(61, 2, { quality: { notTopical: true, substituted: true } })
    lab.set(1, Number.NaN)
    client.ask(interrogation())
    t.match(client.values('M_ME_NB_1'), [{ value: 32_767, qds: { overflow: true } }])
    t.match(client.values('M_ME_NC_1'), [{ value: 2, qds: { notTopical: true, substituted: true, invalid: false } }])
    t.match(client.values('M_SP_NA_1'), [{ siq: { on: false, invalid: true } }, {}])
  })
  t.test('values are those of the moment they are sent: no older value follows a newer event', async (t) => {
    const lab = new Lab({ points: floats(2_000), apci: { k: 1, w: 1 } })
    const client = lab.start()
    client.isSilent = true
    client.send(interrogation())
    lab.set(2_000, 42)
    for (let n = 0; n < 100; n++) client.ack()
    t.equal(client.got()[1], 'M_ME_TF_1 3 1/2000', 'the event overtakes the interrogation')
    t.match(client.values('M_ME_NC_1').at(-1), { value: 42 })
    t.equal(client.got().at(-1), 'C_IC_NA_1 10 1/0')
  })
  t.test('runs of addresses are sent as sequences, loose ones with their addresses, 249 octets at most', async (t) => {
    const points = [...floats(200), { ca: 1, ioa: 1_000, kind: 'float' as const }]
    const client = new Lab({ points }).start()
    t.same(client.ask(interrogation()), [
      'C_IC_NA_1 7 1/0',
      ...[1, 49, 97, 145].map((ioa) => `M_ME_NC_1 20 1/${ioa} x48`),
      'M_ME_NC_1 20 1/193 x8',
      'M_ME_NC_1 20 1/1000',
      'C_IC_NA_1 10 1/0',
    ])
    t.same(client.asdus.map(({ sq }) => sq).slice(1, -1), [true, true, true, true, true, false])
    t.equal(Math.max(...client.frames.map((frame) => (frame.format === 'I' ? frame.asdu.length : 0))), 249)
    t.equal(new Set(client.asdus.flatMap(({ objects }) => objects.map(({ ioa }) => ioa))).size, 202)
  })
  t.test('deactivation stops it: confirmed, and no termination', async (t) => {
    const client = new Lab({ points: floats(5_000) }).start()
    client.isSilent = true
    client.send(interrogation())
    t.equal(client.asdus.length, 12, 'the window is full')
    t.same(client.ask(interrogation(20, off)), ['C_IC_NA_1 9 1/0'])
    client.ack()
    t.equal(client.asdus.length, 1)
  })
  t.test('deactivation of what is not under way is refused', async (t) => {
    t.same(new Lab().start().ask(interrogation(20, off)), ['C_IC_NA_1 9- 1/0'])
  })
  t.test('it ends with the connection', async (t) => {
    const lab = new Lab({ points: floats(5_000) })
    const client = lab.start()
    client.isSilent = true
    client.send(interrogation())
    client.disconnect()
    const next = lab.start()
    t.same(next.got(), [])
  })
})

t.test('group interrogation', async (t) => {
  t.test('only the group, under its own cause', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(interrogation(21)), ['C_IC_NA_1 7 1/0', 'M_SP_NA_1 21 1/1 x2', 'C_IC_NA_1 10 1/0'])
    t.same(client.ask(interrogation(22)), [
      'C_IC_NA_1 7 1/0',
      'M_ME_NA_1 22 1/41',
      'M_ME_NB_1 22 1/51',
      'C_IC_NA_1 10 1/0',
    ])
    t.same(client.ask(interrogation(36)), ['C_IC_NA_1 7 1/0', 'M_ME_NC_1 36 1/61', 'C_IC_NA_1 10 1/0'])
  })
  t.test('a group with nothing in it and qualifiers outside 20..36 are refused', async (t) => {
    const client = new Lab().start()
    const refused = [23, 0, 19, 37, 255].map((qoi) => client.ask(interrogation(qoi)))
    t.same(new Set(refused.flat()), new Set(['C_IC_NA_1 7- 1/0']))
  })
})

t.test('CA 65535', async (t) => {
  t.test('an interrogation of all stations is answered for each under its own address', async (t) => {
    const client = new Lab().start()
    const got = client.ask(interrogation(21, { ca: 65_535 }))
    t.same([...got].toSorted(), [
      'C_IC_NA_1 10 1/0',
      'C_IC_NA_1 10 2/0',
      'C_IC_NA_1 7 1/0',
      'C_IC_NA_1 7 2/0',
      'M_SP_NA_1 21 1/1 x2',
      'M_SP_NA_1 21 2/1',
    ])
    for (const ca of [1, 2]) {
      const causes = client.asdus.filter((asdu) => asdu.ca === ca).map((asdu) => asdu.cot)
      t.same(causes, [7, 21, 10], `in order for CA ${ca}`)
    }
  })
  t.test('counter interrogation fans out too; a station without counters refuses', async (t) => {
    const client = new Lab().start()
    t.same(
      new Set(client.ask(counters(5, 0, { ca: 65_535 }))),
      new Set(['C_CI_NA_1 7 1/0', 'C_CI_NA_1 7- 2/0', 'M_IT_NA_1 37 1/71 x2', 'C_CI_NA_1 10 1/0']),
    )
  })
  t.test('reading and commands are not for all stations: cause 46', async (t) => {
    t.same(new Lab().start().ask(read(1, { ca: 65_535 })), ['C_RD_NA_1 46- 65535/1'])
  })
})

t.test('reading', async (t) => {
  t.test('the value comes under cause 5, without a confirmation', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(read(61)), ['M_ME_NC_1 5 1/61'])
    t.same(client.ask(read(71)), ['M_IT_NA_1 5 1/71'])
  })
  t.test('what cannot be read is an unknown IOA', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(read(999)), ['C_RD_NA_1 47- 1/999'])
    t.same(client.ask(read(101)), ['C_RD_NA_1 47- 1/101'])
    t.same(client.ask(read(91)), ['C_RD_NA_1 47- 1/91'])
  })
})

t.test('integrated totals', async (t) => {
  const readings = (lab: ReturnType<Lab['start']>): readonly unknown[] => {
    lab.ask(counters(5, 0))
    return lab.values('M_IT_NA_1')
  }
  t.test('read: all under cause 37, a group under 38 to 41', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(counters(5, 0)), ['C_CI_NA_1 7 1/0', 'M_IT_NA_1 37 1/71 x2', 'C_CI_NA_1 10 1/0'])
    t.match(client.values('M_IT_NA_1'), [{ bcr: { count: 100, sequence: 0 } }, { bcr: { count: 200 } }])
    t.same(client.ask(counters(2, 0)), ['C_CI_NA_1 7 1/0', 'M_IT_NA_1 39 1/72', 'C_CI_NA_1 10 1/0'])
    t.same(client.ask(counters(3, 0)), ['C_CI_NA_1 7- 1/0'])
    t.same(client.ask(counters(0, 0)), ['C_CI_NA_1 7- 1/0'])
  })
  t.test('freeze: the reading stays while the counter runs on; the sequence number counts freezes', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    t.same(client.ask(counters(5, 1)), ['C_CI_NA_1 7 1/0', 'C_CI_NA_1 10 1/0'])
    lab.set(71, 150)
    t.match(readings(client), [{ bcr: { count: 100, sequence: 1 } }, { bcr: { count: 200, sequence: 1 } }])
    client.ask(counters(1, 1))
    t.match(readings(client), [{ bcr: { count: 150, sequence: 2 } }, { bcr: { count: 200, sequence: 1 } }])
  })
  t.test('freeze with reset gives increments; reset alone clears the running count', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.ask(counters(5, 2))
    t.match(readings(client), [{ bcr: { count: 100 } }, { bcr: { count: 200 } }])
    lab.set(71, 130)
    client.ask(counters(5, 2))
    t.match(readings(client), [{ bcr: { count: 30 } }, { bcr: { count: 0 } }])
    lab.set(71, 135)
    client.ask(counters(5, 3))
    lab.set(71, 137)
    client.ask(counters(5, 1))
    t.match(readings(client), [{ bcr: { count: 2 } }, { bcr: { count: 0 } }])
  })
  t.test('an overflow sets the carry of the next reading only, and the sequence wraps at 32', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.set(71, 0x8000_0000)
    client.ask(counters(1, 1))
    t.match(readings(client)[0], { bcr: { count: -0x8000_0000, carry: true } })
    for (let n = 0; n < 31; n++) client.ask(counters(2, 1))
    t.match(readings(client)[1], { bcr: { sequence: 31 } })
    client.ask(counters(2, 1))
    t.match(readings(client)[1], { bcr: { sequence: 0 } })
  })
  t.test('frozen counters are reported spontaneously where the station is set to (mode D)', async (t) => {
    const points: PointSpec[] = [{ ca: 1, ioa: 71, kind: 'counter', value: 5 }]
    const client = new Lab({ points, reportFrozen: true }).start()
    t.same(client.ask(counters(5, 1)), ['C_CI_NA_1 7 1/0', 'M_IT_TB_1 3 1/71', 'C_CI_NA_1 10 1/0'])
  })
  t.test('a local freeze keeps its period (mode A)', async (t) => {
    const points: PointSpec[] = [{ ca: 1, ioa: 71, kind: 'counter', value: 5 }]
    const lab = new Lab({ points, reportFrozen: true, freezeMs: 60_000 })
    const client = lab.start()
    for (let n = 0; n < 30; n++) {
      lab.advanceMs(10_000)
      client.u('testfrAct')
    }
    t.equal(client.got().length, 5)
    t.match(client.values('M_IT_TB_1').at(-1), { bcr: { sequence: 5 } })
  })
})

function floats(count: number): PointSpec[] {
  return Array.from({ length: count }, (_, i) => ({ ca: 1, ioa: i + 1, kind: 'float' as const }))
}
