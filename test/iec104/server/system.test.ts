/** IEC 60870-5-101, 7.2.3 and 7.4: unknown type, cause, CA and IOA; clock, test, parameters, reset of the process. */
import t from 'tap'
import { type Asdu, asduOf, cot, encodeAsdu } from '../../../src/protocol/index.ts'
import { CONFIG, clock, counters, interrogation, Lab, read, reset, setpoint, single, WALL_MS } from './harness.ts'

t.test('causes 44 to 47, P/N = 1, all else mirrored', async (t) => {
  t.test('44: a type that is not served, with octets that nobody can read', async (t) => {
    const client = new Lab().start()
    client.forget()
    client.send(Uint8Array.of(200, 1, 0x80 | 6, 33, 1, 0, 5, 0, 0, 0xaa, 0xbb))
    const [frame] = client.frames
    const octets = frame?.format === 'I' ? [...frame.asdu] : []
    t.same(octets, [200, 1, 0x80 | 0x40 | 44, 33, 1, 0, 5, 0, 0, 0xaa, 0xbb])
  })
  t.test('44: a type of the monitor direction', async (t) => {
    const value = { siq: { on: true, blocked: false, substituted: false, notTopical: false, invalid: false } }
    const asdu = asduOf('M_SP_NA_1', { cot: cot.spontaneous, ca: 1, objects: [{ ioa: 1, value }] })
    t.same(new Lab().start().ask(asdu), ['M_SP_NA_1 44- 1/1'])
  })
  t.test('45: a cause that the type does not take', async (t) => {
    const client = new Lab().start()
    const spontaneous = { cot: cot.spontaneous, oa: 5 }
    t.same(client.ask(interrogation(20, spontaneous)), ['C_IC_NA_1 45- 1/0'])
    t.equal(client.asdus[0]?.oa, 5)
    t.same(client.ask(single(101, true, spontaneous)), ['C_SC_NA_1 45- 1/101'])
    t.same(client.ask(read(1, { cot: cot.activation })), ['C_RD_NA_1 45- 1/1'])
    t.same(client.ask(clock(WALL_MS, { cot: cot.deactivation })), ['C_CS_NA_1 45- 1/0'])
  })
  t.test('46: a common address that is not here', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(interrogation(20, { ca: 3 })), ['C_IC_NA_1 46- 3/0'])
    t.same(client.ask(single(101, true, { ca: 3 })), ['C_SC_NA_1 46- 3/101'])
    t.same(client.ask(single(101, true, { ca: 65_535 })), ['C_SC_NA_1 46- 65535/101'])
    t.same(client.ask(interrogation(20, { ca: 0 })), ['C_IC_NA_1 46- 0/0'])
  })
  t.test('47: an object that is not here, or not of this kind', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(single(999, true)), ['C_SC_NA_1 47- 1/999'])
    t.same(client.ask(single(101, true, { ca: 2 })), ['C_SC_NA_1 47- 2/101'])
    t.same(client.ask(setpoint('C_SE_NC_1', 101, 1)), ['C_SE_NC_1 47- 1/101'])
    const objects = [{ ioa: 4, value: { qoi: 20 } }]
    t.same(client.ask(asduOf('C_IC_NA_1', { cot: cot.activation, ca: 1, objects })), ['C_IC_NA_1 47- 1/4'])
  })
  t.test('a refusal of the peer is not answered', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(single(101, true, { cot: cot.unknownIoa })), [])
    t.equal(client.closed, undefined)
  })
  t.test('refusals are counted by cause', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(read(999))
    client.send(interrogation(20, { ca: 3 }))
    t.same(lab.station.status().refusedByCause, { 46: 1, 47: 1 })
  })
})

t.test('octets that do not fit', async (t) => {
  for (const [name, edit] of [
    ['fewer octets than the objects need', (octets: number[]) => octets.slice(0, -1)],
    ['octets after the last object', (octets: number[]) => [...octets, 0]],
  ] as const) {
    t.test(`${name} close`, async (t) => {
      const client = new Lab().start()
      client.send(Uint8Array.from(edit([...encodeAsdu(interrogation())])))
      t.match(client.closed, /malformed ASDU/)
    })
  }
  t.test('a VSQ that the type does not have closes', async (t) => {
    const closes = [0, 2, 127, 0x81].map((vsq) => {
      const client = new Lab().start()
      const octets = encodeAsdu(single(101, true))
      octets[1] = vsq
      client.send(octets)
      return client.closed
    })
    t.ok(closes.every((reason) => reason?.startsWith('malformed ASDU')))
  })
  t.test('a time that is none is refused', async (t) => {
    const client = new Lab().start()
    const octets = encodeAsdu(clock(WALL_MS))
    octets[14] = 13
    client.forget()
    client.send(octets)
    const [frame] = client.frames
    t.equal(frame?.format === 'I' ? frame.asdu[2] : 0, 0x47)
  })
  t.test('an ASDU without a whole header closes', async (t) => {
    const client = new Lab().start()
    client.send(Uint8Array.of(100, 1, 6))
    t.match(client.closed, /malformed ASDU/)
  })
})

t.test('clock synchronisation', async (t) => {
  t.test('it is confirmed with the octets as sent, and moves the time tags', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    const wallMs = Date.UTC(2030, 1, 3, 4, 5, 6, 789)
    t.same(client.ask(clock(wallMs, { oa: 3 })), ['C_CS_NA_1 7 1/0'])
    t.match(client.asdus, [{ oa: 3, objects: [{ value: { time: { wallMs } } }] }])
    client.forget()
    lab.advanceMs(1_000)
    lab.set(1, 1)
    t.match(client.values('M_SP_TB_1'), [{ time: { wallMs: wallMs + 1_000, invalid: false } }])
    t.match(lab.names('clock.set'), [{ offsetMs: wallMs - WALL_MS }])
  })
  t.test('one for all stations is confirmed by each', async (t) => {
    t.same(new Lab().start().ask(clock(WALL_MS, { ca: 65_535 })), ['C_CS_NA_1 7 1/0', 'C_CS_NA_1 7 2/0'])
  })
  t.test('an invalid time is refused', async (t) => {
    const time = { wallMs: WALL_MS, invalid: true, summerTime: false, dayOfWeek: 0 }
    const asdu = asduOf('C_CS_NA_1', { cot: cot.activation, ca: 1, objects: [{ ioa: 0, value: { time } }] })
    t.same(new Lab().start().ask(asdu), ['C_CS_NA_1 7- 1/0'])
  })
  t.test('where the host clock is not trusted, time tags are invalid until the first synchronisation', async (t) => {
    const lab = new Lab({ ...CONFIG, needsClockSync: true })
    const client = lab.start()
    lab.set(1, 1)
    client.send(clock(WALL_MS))
    lab.set(1, 0)
    t.match(client.values('M_SP_TB_1'), [{ time: { invalid: true } }, { time: { invalid: false } }])
  })
  t.test('a time of the process that no tag can carry is marked invalid', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    for (const [i, timeMs] of [Number.NaN, 0, -1, 1e15].entries()) lab.set(1, (i + 1) % 2, { timeMs })
    t.match(
      client.values('M_SP_TB_1'),
      [1, 2, 3, 4].map(() => ({ time: { invalid: true } })),
    )
  })
})

t.test('test commands', async (t) => {
  const test = (fbp: number): Asdu =>
    asduOf('C_TS_NA_1', { cot: cot.activation, ca: 1, objects: [{ ioa: 0, value: { fbp } }] })
  const client = new Lab().start()
  t.same(client.ask(test(0x55aa)), ['C_TS_NA_1 7 1/0'])
  t.same(client.ask(test(0xaa55)), ['C_TS_NA_1 7- 1/0'])
  const time = { wallMs: WALL_MS, invalid: false, summerTime: false, dayOfWeek: 0 }
  const withTime = asduOf('C_TS_TA_1', {
    cot: cot.activation,
    ca: 1,
    objects: [{ ioa: 0, value: { tsc: 4711, time } }],
  })
  t.same(client.ask(withTime), ['C_TS_TA_1 7 1/0'])
  t.match(client.values('C_TS_TA_1'), [{ tsc: 4711 }])
})

t.test('parameters', async (t) => {
  const parameter = (ioa: number, value: number, kind: number, notInOperation = false): Asdu => {
    const qpm = { kind, changed: false, notInOperation }
    return asduOf('P_ME_NC_1', { cot: cot.activation, ca: 1, objects: [{ ioa, value: { value, qpm } }] })
  }
  const activate = (ioa: number, qpa: number, cause: number = cot.activation): Asdu =>
    asduOf('P_AC_NA_1', { cot: cause, ca: 1, objects: [{ ioa, value: { qpa } }] })

  t.test('a threshold holds events back', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    t.same(client.ask(parameter(61, 10, 1)), ['P_ME_NC_1 7 1/61'])
    client.forget()
    for (const value of [5, 11, 12, 21, 23, 12.5]) lab.set(61, value)
    t.match(client.values('M_ME_TF_1'), [{ value: 12 }, { value: 23 }, { value: 12.5 }])
  })
  t.test('passing a limit is an event whatever the threshold', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(parameter(61, 1_000, 1))
    client.send(parameter(61, 20, 4))
    client.send(parameter(61, -20, 3))
    client.forget()
    for (const value of [19, 21, 30, 5, -21, 0]) lab.set(61, value)
    t.match(client.values('M_ME_TF_1'), [{ value: 21 }, { value: 5 }, { value: -21 }, { value: 0 }])
  })
  t.test('smoothing keeps a share of the former value', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(parameter(61, 0.5, 2))
    client.forget()
    for (const value of [3.5, 3.5]) lab.set(61, value)
    t.match(client.values('M_ME_TF_1'), [{ value: 2.5 }, { value: 3 }])
  })
  t.test('what is loaded as not in operation waits for its activation', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(parameter(61, 10, 1, true))
    client.forget()
    lab.set(61, 2)
    t.equal(client.asdus.length, 1)
    t.same(client.ask(activate(0, 1)), ['P_AC_NA_1 7 1/0'])
    client.forget()
    lab.set(61, 5)
    t.equal(client.asdus.length, 0)
    t.same(client.ask(activate(61, 2, cot.deactivation)), ['P_AC_NA_1 9 1/61'])
    lab.set(61, 6)
    t.equal(client.asdus.length, 2, 'back to what is configured')
  })
  t.test('cyclic transmission of an object is switched on and off', async (t) => {
    const lab = new Lab({ ...CONFIG, cycleMs: 1_000 })
    const client = lab.start()
    t.same(client.ask(activate(61, 3)), ['P_AC_NA_1 7 1/61'])
    client.forget()
    lab.advanceMs(3_500)
    t.same(
      client.got(),
      [1, 2, 3].map(() => 'M_ME_NC_1 1 1/61'),
    )
    client.send(activate(61, 3, cot.deactivation))
    client.forget()
    lab.advanceMs(3_000)
    t.same(client.got(), [])
  })
  t.test('what is refused', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(parameter(999, 1, 1)), ['P_ME_NC_1 47- 1/999'])
    t.same(client.ask(parameter(51, 1, 1)), ['P_ME_NC_1 47- 1/51'], 'not a short float')
    t.same(client.ask(parameter(61, 1, 9)), ['P_ME_NC_1 7- 1/61'])
    t.same(client.ask(parameter(61, -1, 1)), ['P_ME_NC_1 7- 1/61'])
    t.same(client.ask(parameter(61, 1, 2)), ['P_ME_NC_1 7- 1/61'])
    t.same(client.ask(parameter(61, Number.NaN, 1)), ['P_ME_NC_1 7- 1/61'])
    t.same(client.ask(activate(61, 9)), ['P_AC_NA_1 7- 1/61'])
    t.same(client.ask(activate(999, 2)), ['P_AC_NA_1 47- 1/999'])
  })
})

t.test('reset of the process', async (t) => {
  t.test('general reset: confirmed, told to the application, and the end of initialization follows', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.send(single(102, true, { select: true }))
    t.same(client.ask(reset(1)), ['C_RP_NA_1 7 1/0', 'M_EI_NA_1 4 1/0'])
    t.match(client.values('M_EI_NA_1'), [{ coi: { cause: 2 } }])
    t.match(
      lab.effects.filter(({ kind }) => kind === 'reset'),
      [{ qrp: 1 }],
    )
    t.same(client.ask(single(102, true)), ['C_SC_NA_1 7- 1/102'], 'nothing is selected any longer')
  })
  t.test('reset of the pending events empties the queue', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.isSilent = true
    for (let n = 0; n < 100; n++) lab.set(1, (n + 1) % 2)
    t.same(client.ask(reset(2)).at(-1), 'C_RP_NA_1 7 1/0')
    client.ack()
    t.same(client.got().at(-1), 'C_RP_NA_1 7 1/0', 'nothing comes after it')
    t.match(lab.station.status().groups, [{ waitingEvents: 0 }])
  })
  t.test('a reset of all stations resets each', async (t) => {
    const client = new Lab().start()
    const got = client.ask(reset(1, { ca: 65_535 }))
    t.same(got, ['C_RP_NA_1 7 1/0', 'C_RP_NA_1 7 2/0', 'M_EI_NA_1 4 1/0', 'M_EI_NA_1 4 2/0'])
  })
  t.test('a reset of one station leaves the events of another', async (t) => {
    const lab = new Lab()
    lab.start().disconnect()
    lab.set(1, 1)
    lab.feed({ kind: 'setPoint', ca: 2, ioa: 1, value: 1 })
    const client = lab.connect()
    client.isSilent = true
    client.octets(Uint8Array.of(0x68, 4, 7, 0, 0, 0))
    for (let n = 0; n < 20; n++) lab.feed({ kind: 'setPoint', ca: (n % 2) + 1, ioa: 1, value: Math.floor(n / 2) % 2 })
    client.ask(reset(2))
    client.ack()
    t.ok(client.asdus.filter(({ type }) => type === 'M_SP_TB_1').every(({ ca }) => ca === 2))
    t.ok(client.asdus.length > 1)
  })
  t.test('other qualifiers are refused', async (t) => {
    const client = new Lab().start()
    t.same(client.ask(reset(0)), ['C_RP_NA_1 7- 1/0'])
    t.same(client.ask(reset(3)), ['C_RP_NA_1 7- 1/0'])
  })
  t.test('under test it is confirmed only', async (t) => {
    const lab = new Lab()
    t.same(lab.start().ask(reset(1, { test: true })), ['C_RP_NA_1 7t 1/0'])
    t.same(
      lab.effects.filter(({ kind }) => kind === 'reset'),
      [],
    )
    lab.start().ask(counters(5, 1, { test: true }))
  })
})
