/** Events, scans, queues and redundancy groups of the controlled station. */
import t from 'tap'
import type { PointSpec, StationConfig } from '../../../src/rtu/index.ts'
import { type Client, CONFIG, interrogation, Lab, read, single, WALL_MS } from './harness.ts'

const SINGLE: PointSpec = { ca: 1, ioa: 1, kind: 'single' }

/** Times of the events' tags, ms since the start. */
const tags = (client: Client): readonly number[] =>
  client.values('M_SP_TB_1').map((value) => (value as { time: { wallMs: number } }).time.wallMs - WALL_MS)

t.test('events', async (t) => {
  t.test('a change is sent at once, with the type and time tag of its point', async (t) => {
    const points: PointSpec[] = [
      SINGLE,
      { ...SINGLE, ioa: 2, timeTag: 'none' },
      { ...SINGLE, ioa: 3, timeTag: 'cp24' },
      { ...SINGLE, ioa: 4, events: false },
      { ca: 1, ioa: 5, kind: 'packed' },
      { ca: 1, ioa: 6, kind: 'protectionEvent' },
      { ca: 1, ioa: 7, kind: 'protectionStart' },
      { ca: 1, ioa: 8, kind: 'protectionTrip' },
    ]
    const lab = new Lab({ points, maxEventsPerAsdu: 1 })
    const client = lab.start()
    lab.advanceMs(1_500)
    for (const ioa of [1, 2, 3, 4, 5, 6, 7, 8]) lab.set(ioa, 1, { elapsedMs: 20 })
    t.same(client.got(), [
      'M_SP_TB_1 3 1/1',
      'M_SP_NA_1 3 1/2',
      'M_SP_TA_1 3 1/3',
      'M_PS_NA_1 3 1/5',
      'M_EP_TD_1 3 1/6',
      'M_EP_TE_1 3 1/7',
      'M_EP_TF_1 3 1/8',
    ])
    t.same(tags(client), [1_500])
    t.match(client.values('M_PS_NA_1'), [{ scd: { status: 1, changes: 1 } }])
    t.match(client.values('M_EP_TE_1'), [{ spe: { general: true, l1: false }, durationMs: 20 }])
  })
  t.test('no change, no event; a change of quality is one', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.set(1, 0)
    t.same(client.got(), [])
    lab.set(1, 0, { quality: { invalid: true } })
    lab.set(1, 0, { quality: { invalid: true } })
    lab.set(1, 0)
    t.equal(client.got().length, 2)
  })
  t.test('a value of the process may bring its own time', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.set(1, 1, { timeMs: WALL_MS - 250 })
    t.same(tags(client), [-250])
  })
  t.test('a value for a point that is not there is told to the log', async (t) => {
    const lab = new Lab()
    lab.set(999, 1)
    t.match(lab.names('point.unknown'), [{ ca: 1, ioa: 999 }])
  })
  t.test('a step position under way is marked so', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.set(21, -2, { transient: true })
    lab.set(21, -2)
    t.match(client.values('M_ST_TB_1'), [{ vti: { transient: true } }, { vti: { value: -2, transient: false } }])
  })
})

t.test('buffering over link loss', async (t) => {
  t.test('events are kept with their time tags and sent in order, before an interrogation', async (t) => {
    const lab = new Lab()
    lab.start().disconnect()
    for (let n = 1; n <= 5; n++) {
      lab.advanceMs(100)
      lab.set(1, n % 2)
    }
    const client = lab.connect()
    client.octets(Uint8Array.of(0x68, 4, 7, 0, 0, 0))
    client.send(interrogation())
    t.equal(client.got()[0], 'M_SP_TB_1 3 1/1 x5')
    t.same(tags(client), [100, 200, 300, 400, 500])
    t.equal(client.got().at(-1), 'C_IC_NA_1 10 1/0')
  })
  t.test('what was sent and not acknowledged is sent again first', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.isSilent = true
    for (let n = 1; n <= 15; n++) {
      lab.advanceMs(1)
      lab.set(1, n % 2)
    }
    client.octets(Uint8Array.of(0x68, 4, 1, 0, (client.recvSeq - 10) << 1, 0))
    client.disconnect()
    const next = lab.connect()
    next.u('startdtAct')
    t.same(tags(next), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
  })
  t.test('at the limit the oldest is dropped and counted', async (t) => {
    const lab = new Lab({ points: [SINGLE], maxEvents: 10, maxEventsPerAsdu: 1 })
    lab.start().disconnect()
    for (let n = 1; n <= 25; n++) {
      lab.advanceMs(1)
      lab.set(1, n % 2)
    }
    t.match(lab.station.status().groups, [{ waitingEvents: 10, droppedEvents: 15 }])
    const client = lab.connect()
    client.u('startdtAct')
    t.same(tags(client), [16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
  })
  t.test('answers and ends of commands are not kept for somebody else', async (t) => {
    const lab = new Lab(CONFIG)
    lab.holdCommands = true
    const client = lab.start()
    client.send(single(101, true))
    client.disconnect()
    lab.feed({ kind: 'commandDone', id: lab.commands[0]?.id ?? 0, ok: true })
    const next = lab.connect()
    next.u('startdtAct')
    t.same(next.got(), ['M_SP_TB_1 11 1/1'], 'the return information is kept')
  })
})

t.test('24 hours with an event every 2 s and a lost connection every hour: no gap, no duplicate', async (t) => {
  const lab = new Lab({ points: [{ ca: 1, ioa: 1, kind: 'counter', events: true }] })
  let client = lab.start()
  const counts: number[] = []
  const collect = (): void => {
    for (const value of client.values('M_IT_TB_1')) counts.push((value as { bcr: { count: number } }).bcr.count)
    client.forget()
    lab.effects.length = 0
    lab.events.length = 0
  }
  for (let n = 1; n <= 43_200; n++) {
    lab.advanceMs(2_000)
    lab.set(1, n)
    if (n % 100 === 0) collect()
    if (n % 1_800 === 0) client.disconnect()
    if (n > 1_800 && n % 1_800 === 30) {
      client = lab.connect()
      client.u('startdtAct')
    }
  }
  collect()
  t.equal(lab.nowMs, 86_400_000)
  const missing = counts.findIndex((count, i) => count !== i + 1)
  t.equal(missing, -1)
  t.same(
    lab.station.status().groups.map(({ waitingEvents, droppedEvents }) => [waitingEvents, droppedEvents]),
    [[0, 0]],
  )
})

t.test('priorities', async (t) => {
  t.test('answers, then events, then interrogations, then scans', async (t) => {
    const points: PointSpec[] = [
      ...Array.from({ length: 3_000 }, (_, i) => ({ ca: 1, ioa: i + 10, kind: 'float' as const, cycleMs: 1_000 })),
      SINGLE,
    ]
    const lab = new Lab({ points, maxEventsPerAsdu: 1 })
    const client = lab.start()
    client.isSilent = true
    const acknowledged = client.recvSeq
    lab.advanceMs(1_000)
    t.equal(client.got().length, 12, 'the scan has filled the window')
    client.recvSeq = acknowledged
    client.send(interrogation())
    for (let n = 0; n < 5; n++) lab.set(1, (n + 1) % 2)
    client.send(read(1))
    client.forget()
    client.isSilent = false
    client.recvSeq = acknowledged + 12
    client.ack()
    const causes = client.asdus.map((asdu) => asdu.cot)
    const order = causes.filter((cause, i) => cause !== causes[i - 1])
    t.same(order, [7, 5, 3, 20, 10, 1])
  })
  t.test('a scan that is still being sent is not begun again; that is counted', async (t) => {
    const points: PointSpec[] = Array.from({ length: 3_000 }, (_, i) => ({
      ca: 1,
      ioa: i + 1,
      kind: 'float',
      cycleMs: 1_000,
    }))
    const lab = new Lab({ points })
    lab.start().isSilent = true
    lab.advanceMs(5_500)
    t.equal(lab.station.status().scansSkipped, 4)
  })
  t.test('who asks and never acknowledges is closed before memory runs out', async (t) => {
    const client = new Lab().start()
    client.isSilent = true
    client.recvSeq = 0
    for (let n = 0; n < 2_000 && client.closed === undefined; n++) {
      client.recvSeq = 2
      client.send(read(1))
    }
    t.equal(client.closed, 'too many answers wait')
  })
})

t.test('scans', async (t) => {
  t.test('cyclic values keep their period under cause 1, background values under cause 2', async (t) => {
    const points: PointSpec[] = [
      { ca: 1, ioa: 1, kind: 'float', cycleMs: 1_000 },
      { ca: 1, ioa: 2, kind: 'float', cycleMs: 2_500 },
      { ...SINGLE, ioa: 3, background: true },
    ]
    const lab = new Lab({ points, backgroundMs: 4_000 })
    const client = lab.start()
    lab.advanceMs(10_000)
    const count = (line: string): number => client.got().filter((got) => got === line).length
    t.same([count('M_ME_NC_1 1 1/1'), count('M_ME_NC_1 1 1/2'), count('M_SP_NA_1 2 1/3')], [10, 4, 2])
  })
  t.test('nothing is kept of them while nobody listens', async (t) => {
    const lab = new Lab({ points: [{ ca: 1, ioa: 1, kind: 'float', cycleMs: 1_000 }] })
    lab.start().disconnect()
    lab.advanceMs(60_000)
    const client = lab.connect()
    client.u('startdtAct')
    t.same(client.got(), [])
  })
  t.test('deadband: a change inside it is no event, small steps add up', async (t) => {
    const lab = new Lab({ points: [{ ca: 1, ioa: 1, kind: 'scaled', deadband: 10 }] })
    const client = lab.start()
    for (let value = 1; value <= 35; value++) lab.set(1, value)
    t.match(client.values('M_ME_TE_1'), [{ value: 11 }, { value: 22 }, { value: 33 }])
  })
})

t.test('redundancy groups', async (t) => {
  const config = (redundancy: StationConfig['redundancy'] & object): StationConfig => ({ points: [SINGLE], redundancy })

  t.test('one group: starting a second connection closes the first, which loses nothing', async (t) => {
    const lab = new Lab(config({ kind: 'one' }))
    const first = lab.start('10.0.0.1:1')
    first.isSilent = true
    const second = lab.connect('10.0.0.2:1')
    lab.advanceMs(1)
    lab.set(1, 1)
    t.equal(first.got().length, 1)
    t.equal(second.got().length, 0, 'only the started one gets data')
    second.u('startdtAct')
    t.match(first.closed, /superseded/)
    t.same(tags(second), [1], 'not acknowledged, so sent again')
  })
  t.test('several groups: by host, each with its own queue', async (t) => {
    const groups = [
      { name: 'A', peers: ['10.0.0.1', '10.0.0.2'] },
      { name: 'B', peers: ['ems.example'] },
    ]
    const lab = new Lab(config({ kind: 'several', groups }))
    const a = lab.start('10.0.0.1:1')
    lab.feed({ kind: 'connected', connection: 99, peer: '10.9.9.9:1', peerName: 'ems.example' })
    t.match(lab.connect('10.0.0.9:1').closed, 'in no redundancy group')
    lab.set(1, 1)
    t.equal(a.got().length, 1)
    t.match(
      lab.station.status().groups.toSorted((x, y) => (x.name < y.name ? -1 : 1)),
      [
        { name: 'A', waitingEvents: 0, active: a.id },
        { name: 'B', waitingEvents: 2 },
      ],
    )
    lab.start('10.0.0.2:1')
    t.match(a.closed, /superseded/)
  })
  t.test('several groups: one without peers takes the others', async (t) => {
    const lab = new Lab(config({ kind: 'several', groups: [{ name: 'A', peers: ['10.0.0.1'] }, { name: 'rest' }] }))
    lab.start('10.0.0.7:1')
    t.match(lab.names('connection.started'), [{ group: 'rest' }])
  })
  t.test('one per connection: each gets every event, a lost one finds its queue again', async (t) => {
    const lab = new Lab(config({ kind: 'perConnection' }))
    const a = lab.start('10.0.0.1:1')
    const b = lab.start('10.0.0.2:1')
    const other = lab.start('10.0.0.2:2')
    lab.set(1, 1)
    t.same(
      [a, b, other].map((client) => client.got().length),
      [1, 1, 1],
    )
    a.disconnect()
    lab.set(1, 0)
    const c = lab.connect('10.0.0.3:1')
    c.u('startdtAct')
    t.same(c.got(), [], 'a newcomer has no past')
    const back = lab.connect('10.0.0.1:2')
    back.u('startdtAct')
    t.equal(back.got().length, 1)
  })
  t.test('one per connection: queues of peers that do not come back are not kept for ever', async (t) => {
    const lab = new Lab(config({ kind: 'perConnection', maxGroups: 3 }))
    for (let n = 0; n < 10; n++) lab.start(`10.0.1.${n}:1`).disconnect()
    lab.set(1, 1)
    t.ok(lab.station.status().groups.length <= 4)
    for (let n = 10; n < 20; n++) lab.start(`10.0.1.${n}:1`).disconnect()
    t.ok(lab.station.status().abandonedEvents > 0)
  })
})
