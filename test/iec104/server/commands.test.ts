/** IEC 60870-5-101, 7.4.8: commands, direct and select-before-operate. */
import t from 'tap'
import { cot } from '../../../src/protocol/index.ts'
import { bits, CONFIG, double, Lab, setpoint, single, step, timedSingle, WALL_MS } from './harness.ts'

const select = { select: true }

t.test('direct commands', async (t) => {
  t.test('confirmation, return information, termination, in this order', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    t.same(client.ask(single(101, true)), ['C_SC_NA_1 7 1/101', 'M_SP_TB_1 11 1/1', 'C_SC_NA_1 10 1/101'])
    t.match(client.values('M_SP_TB_1'), [{ siq: { on: true }, time: { wallMs: WALL_MS } }])
    t.match(lab.commands, [{ ca: 1, ioa: 101, kind: 'single', value: 1, oa: 0 }])
  })
  t.test('every kind of command moves its point', async (t) => {
    const client = new Lab().start()
    const cases = [
      [double(111, 2), 'M_DP_TB_1', { diq: { state: 2 } }],
      [step(121, 2), 'M_ST_TB_1', { vti: { value: -2 } }],
      [step(121, 1), 'M_ST_TB_1', { vti: { value: -3 } }],
      [setpoint('C_SE_NA_1', 141, -0.25), 'M_ME_TD_1', { value: -0.25 }],
      [setpoint('C_SE_NB_1', 151, 77), 'M_ME_TE_1', { value: 77 }],
      [setpoint('C_SE_NC_1', 161, 49.5), 'M_ME_TF_1', { value: 49.5 }],
      [bits(131, 0xffff_0000), 'M_BO_TB_1', { bsi: 0xffff_0000 }],
    ] as const
    for (const [asdu, type, value] of cases) {
      t.equal(client.ask(asdu).length, 3, asdu.type)
      t.match(client.values(type), [value], asdu.type)
    }
  })
  t.test('OA and T are mirrored; a command under test is confirmed and not carried out', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    t.same(client.ask(single(101, true, { oa: 9, test: true })), ['C_SC_NA_1 7t 1/101', 'C_SC_NA_1 10t 1/101'])
    t.same(
      client.asdus.map(({ oa }) => oa),
      [9, 9],
    )
    t.same(lab.commands, [])
  })
  t.test('the process may refuse: negative termination', async (t) => {
    const lab = new Lab()
    lab.holdCommands = true
    const client = lab.start()
    t.same(client.ask(single(101, true)), ['C_SC_NA_1 7 1/101'])
    lab.feed({ kind: 'commandDone', id: lab.commands[0]?.id ?? 0, ok: false })
    t.same(client.got(), ['C_SC_NA_1 7 1/101', 'C_SC_NA_1 10- 1/101'])
  })
  t.test('the process that says nothing is waited for 10 s; its late answer is nothing', async (t) => {
    const lab = new Lab()
    lab.holdCommands = true
    const client = lab.start()
    client.send(single(101, true))
    lab.advanceMs(9_999)
    t.equal(client.asdus.length, 1)
    lab.advanceMs(1)
    lab.feed({ kind: 'commandDone', id: lab.commands[0]?.id ?? 0, ok: true })
    t.same(client.got(), ['C_SC_NA_1 7 1/101', 'C_SC_NA_1 10- 1/101'])
  })
  t.test('one command an object at a time', async (t) => {
    const lab = new Lab()
    lab.holdCommands = true
    const client = lab.start()
    client.send(single(101, true))
    t.same(client.ask(single(101, false)), ['C_SC_NA_1 7- 1/101'])
    t.same(client.ask(single(103, true)), ['C_SC_NA_1 7 1/103'])
  })
  t.test('what is refused: reserved states and qualifiers, set-points out of range, a missing select', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    const orders = [
      double(111, 0),
      double(111, 3),
      step(121, 0),
      step(121, 3),
      single(101, true, { qu: 4 }),
      setpoint('C_SE_NB_1', 151, 101),
      setpoint('C_SE_NC_1', 161, Number.NaN),
      setpoint('C_SE_NC_1', 161, 1, { qu: 1 }),
      single(102, true),
    ]
    const got = orders.flatMap((order) => client.ask(order))
    t.equal(got.length, orders.length)
    t.ok(got.every((line) => line.includes(' 7- ')))
    t.same(lab.commands, [])
  })
  t.test('deactivation of a command that is not selected is refused', async (t) => {
    t.same(new Lab().start().ask(single(101, true, { cot: cot.deactivation })), ['C_SC_NA_1 9- 1/101'])
  })
  t.test('pulses: qualifier 1 short, 2 long; a single output falls back at its end', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.ask(single(101, true, { qu: 1 }))
    t.match(lab.commands.at(-1), { pulseMs: 500 })
    client.forget()
    lab.advanceMs(499)
    t.same(client.got(), [])
    lab.advanceMs(1)
    t.same(client.got(), ['M_SP_TB_1 3 1/1'])
    t.match(client.values('M_SP_TB_1'), [{ siq: { on: false }, time: { wallMs: WALL_MS + 500 } }])
    client.ask(double(111, 2, { qu: 2 }))
    t.match(lab.commands.at(-1), { pulseMs: 2_000 })
    client.ask(single(101, true, { qu: 3 }))
    client.forget()
    lab.advanceMs(5_000)
    t.same(client.got(), [], 'breakers and persistent outputs stay')
  })
})

t.test('commands with time tag', async (t) => {
  t.test('they are carried out like those without', async (t) => {
    t.same(new Lab().start().ask(timedSingle(101, true, WALL_MS)), [
      'C_SC_TA_1 7 1/101',
      'M_SP_TB_1 11 1/1',
      'C_SC_TA_1 10 1/101',
    ])
  })
  t.test('one that was under way for too long is discarded without an answer, where an age is set', async (t) => {
    const lab = new Lab({ ...CONFIG, maxCommandAgeMs: 2_000 })
    const client = lab.start()
    lab.advanceMs(3_000)
    t.same(client.ask(timedSingle(101, true, WALL_MS)), [])
    t.same(lab.commands, [])
    t.equal(client.ask(timedSingle(101, true, WALL_MS + 2_500)).length, 3)
  })
})

t.test('select before operate', async (t) => {
  t.test('select is confirmed, execute carried out, once', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    t.same(client.ask(single(102, true, select)), ['C_SC_NA_1 7 1/102'])
    t.same(lab.commands, [])
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7 1/102', 'M_SP_TB_1 11 1/2', 'C_SC_NA_1 10 1/102'])
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'], 'the selection is used up')
  })
  t.test('a selection lasts for its time', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(single(102, true, select))
    lab.advanceMs(9_999)
    t.equal(client.ask(single(102, true)).length, 3)
    client.send(single(102, true, select))
    lab.advanceMs(10_000)
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
    t.equal(lab.names('command.selectTimeout').length, 1)
  })
  t.test('another connection can neither execute, nor select, nor deselect', async (t) => {
    const lab = new Lab()
    const client = lab.start('10.0.0.1:1000')
    const other = lab.start('10.0.0.2:1000')
    client.send(single(102, true, select))
    t.same(other.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
    t.same(other.ask(single(102, true, select)), ['C_SC_NA_1 7- 1/102'])
    t.same(other.ask(single(102, true, { cot: cot.deactivation })), ['C_SC_NA_1 9- 1/102'])
    t.equal(client.ask(single(102, true)).length, 3, 'the selection still holds')
  })
  t.test('another originator on the same connection neither', async (t) => {
    const client = new Lab().start()
    client.send(single(102, true, { select: true, oa: 1 }))
    t.same(client.ask(single(102, true, { oa: 2 })), ['C_SC_NA_1 7- 1/102'])
    t.equal(client.ask(single(102, true, { oa: 1 })).length, 3)
  })
  t.test('another value, qualifier or type is refused and ends the selection', async (t) => {
    const client = new Lab().start()
    for (const wrong of [single(102, false), single(102, true, { qu: 1 }), timedSingle(102, true, WALL_MS)]) {
      client.send(single(102, true, select))
      t.match(client.ask(wrong), [/ 7- /])
      t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
    }
  })
  t.test('a selection is for one object', async (t) => {
    const client = new Lab().start()
    client.send(single(101, true, select))
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
  })
  t.test('deactivation ends the selection', async (t) => {
    const client = new Lab().start()
    client.send(single(102, true, select))
    t.same(client.ask(single(102, true, { ...select, cot: cot.deactivation })), ['C_SC_NA_1 9 1/102'])
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
  })
  t.test('it ends with the connection, and with STOPDT', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(single(102, true, select))
    client.disconnect()
    const next = lab.start()
    t.same(next.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
    next.send(single(102, true, select))
    next.u('stopdtAct')
    next.u('startdtAct')
    t.same(next.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'])
  })
  t.test('selecting again starts the time anew', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(single(102, true, select))
    lab.advanceMs(9_000)
    client.send(single(102, true, select))
    lab.advanceMs(9_000)
    t.equal(client.ask(single(102, true)).length, 3)
  })
  t.test('set-points and time-tagged commands can be selected; direct-only objects cannot', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(setpoint('C_SE_NC_1', 161, 3, select)), ['C_SE_NC_1 7 1/161'])
    t.same(client.ask(setpoint('C_SE_NC_1', 161, 4)), ['C_SE_NC_1 7- 1/161'])
    client.send(timedSingle(102, true, WALL_MS, select))
    t.equal(client.ask(timedSingle(102, true, WALL_MS + 900)).length, 3, 'the time tags may differ')
    t.same(client.ask(single(103, true, select)), ['C_SC_NA_1 7- 1/103'])
  })
})
