import t from 'tap'
import {
  type LabRecord,
  metricsOf,
  reconcileBooks,
  reportHtml,
  reportText,
  tasksOf,
} from '../../src/experiment/index.ts'

const CONTEXT = { seed: 5, version: '0.1.0', impairment: 'virtual', isolation: 'virtual' } as const

const at = (
  tMs: number,
  node: string,
  name: string,
  facts: Omit<LabRecord, 'tMs' | 'node' | 'name'> = {},
): LabRecord => ({
  tMs,
  node,
  name,
  ...facts,
})

const POINT = { ca: 1, ioa: 5003, typeId: 45 }
const ISSUED = { ...POINT, taskType: 'shedding', chain: 'shedding-3', requiredSuite: 'otp', deadlineMs: 1000 }

type Story = {
  readonly suite?: 'otp' | 'aes'
  readonly keyWaitMs?: number
  readonly latencyMs?: number
  readonly reason?: string
}

/** The records of one command at 1000 ms, as the nodes on its way leave them. */
function command({ suite = 'otp', keyWaitMs = 0, latencyMs = 200, reason = 'done' }: Story = {}): LabRecord[] {
  const doneMs = 1000 + latencyMs
  const ok = reason === 'done'
  const hop = { ...POINT, suite, queueMs: 1, keyWaitMs: 0 }
  return [
    at(1000, 'cc', 'task.issued', { task: 't1', ...ISSUED }),
    at(1002, 'cc', 'task.sent', { task: 't1', link: 0, suite, queueMs: 2, keyWaitMs: 0, waitMs: 0 }),
    at(1010 + keyWaitMs, 'gwA', 'hop', { ...hop, cot: 6, queueMs: keyWaitMs + 5, keyWaitMs }),
    at(1012 + keyWaitMs, 'rtu1', 'hop', { ...hop, cot: 6 }),
    at(1014 + keyWaitMs, 'load3', 'ied.act', { ...POINT, suite }),
    at(doneMs - 10, 'load3', 'ied.done', { ...POINT, ok: true, breakerMs: 90 }),
    at(doneMs - 5, 'rtu1', 'hop', { ...hop, cot: 10 }),
    at(doneMs, 'cc', 'task.done', { task: 't1', ok, delivered: ok || reason === 'suite', latencyMs, reason }),
  ]
}

const sample = (tagMs: number) => ({ ca: 1, ioa: 2030, tagMs, deadlineMs: 4000, requiredSuite: 'aes' })

const BOOKS = [
  at(900, 'cc', 'books', { channel: 0, side: 'sender', assignedSlots: 64, usedSlots: 10 }),
  at(1900, 'cc', 'books', { channel: 0, side: 'sender', assignedSlots: 64, usedSlots: 20 }),
  at(1900, 'gwA', 'books', { channel: 0, side: 'receiver', assignedSlots: 64, usedSlots: 20 }),
]

const POOL = {
  level: 'normal',
  generatedBits: 10_000,
  usedBits: 640,
  expiredBits: 0,
  discardedBits: 2_000,
  reservedBits: 1_408,
  poolBits: 5_952,
}

const GRID = at(3000, 'grid', 'grid.summary', {
  maxAbsDeltaFHz: 0.0805,
  maxWorstMachineHz: 0.11,
  secondsAboveBand: 2.8,
  lastReturnS: 3.1,
})

t.test('a command is full in its suite and in time, else degraded, late or failed', async (t) => {
  const outcome = (story: Story) => tasksOf(command(story))[0]?.outcome
  t.equal(outcome({}), 'full')
  t.equal(outcome({ suite: 'aes', reason: 'suite' }), 'degraded')
  t.equal(outcome({ latencyMs: 1200, reason: 'late' }), 'late')
  t.equal(outcome({ latencyMs: 30_000, reason: 'timeout' }), 'failed')
  const unended = command().filter(({ name }) => name !== 'task.done')
  t.match(tasksOf(unended)[0], { outcome: 'failed', reason: 'no answer', lastSeenAt: 'rtu1' })
})

t.test('the time of a command is told apart: turn, key, queue, wire, breaker', async (t) => {
  const [task] = tasksOf(command({ keyWaitMs: 700, latencyMs: 1100, reason: 'late' }))
  t.match(task, { outcome: 'late', keyWaitMs: 700, breakerMs: 90, turnMs: 0, queueMs: 2 + 5 + 1 + 1 })
  t.equal(task?.wireMs, 1100 - 700 - 90 - 9)
  t.same(
    task?.hops.map(({ node, direction }) => `${node} ${direction}`),
    ['cc control', 'gwA control', 'rtu1 control', 'rtu1 monitor'],
  )
})

t.test('a command that never left the centre waited there, and one without a route says where it ended', async (t) => {
  const never = [
    at(1000, 'cc', 'task.issued', { task: 't1', ...ISSUED }),
    at(2100, 'cc', 'task.done', { task: 't1', ok: false, delivered: false, latencyMs: 1100, reason: 'off' }),
  ]
  t.match(tasksOf(never)[0], { outcome: 'failed', reason: 'off', turnMs: 1100, wireMs: 0, lastSeenAt: 'cc' })
  const noRoute = [...command({ reason: 'timeout' }).slice(0, 2), at(1400, 'gwA', 'hop.noRoute', { ...POINT, cot: 6 })]
  t.match(
    tasksOf([
      ...noRoute,
      at(2000, 'cc', 'task.done', { task: 't1', ok: false, latencyMs: 1000, reason: 'timeout' }),
    ])[0],
    {
      reason: 'timeout, no route at gwA',
    },
  )
})

t.test('the records of two commands to one point are not mixed up', async (t) => {
  const later = command({ keyWaitMs: 300, latencyMs: 600 }).map((record) => ({
    ...record,
    tMs: record.tMs + 5000,
    ...(record['task'] === undefined ? {} : { task: 't2' }),
  }))
  t.same(
    tasksOf([...later, ...command()]).map(({ task, keyWaitMs }) => [task, keyWaitMs]),
    [
      ['t1', 0],
      ['t2', 300],
    ],
  )
})

t.test('of several attempts the last one, and the suite of the answer, decide', async (t) => {
  const [issued, ...rest] = command()
  const early = at(1001, 'cc', 'task.sent', { task: 't1', link: 0, suite: 'aes', queueMs: 0, keyWaitMs: 0, waitMs: 0 })
  const attempts = issued === undefined ? [] : [issued, early, ...rest]
  t.equal(tasksOf(attempts)[0]?.outcome, 'full')
  const inAes = attempts.map((record) => (record.name === 'task.done' ? { ...record, suite: 'aes' } : record))
  t.equal(tasksOf(inAes)[0]?.outcome, 'degraded')
})

t.test('telemetry is joined by point and time tag', async (t) => {
  const tasks = tasksOf([
    at(100, 'gen30', 'telemetry.sampled', sample(100)),
    at(200, 'gen30', 'telemetry.sampled', sample(200)),
    at(300, 'gen30', 'telemetry.sampled', sample(300)),
    at(110, 'cc', 'telemetry.received', { ca: 1, ioa: 2030, tagMs: 100, latencyMs: 10, suite: 'aes' }),
    at(5200, 'cc', 'telemetry.received', { ca: 1, ioa: 2030, tagMs: 200, latencyMs: 5000, suite: 'otp' }),
  ])
  t.same(
    tasks.map(({ taskClass, outcome }) => [taskClass, outcome]),
    [
      ['telemetry', 'full'],
      ['telemetry', 'late'],
      ['telemetry', 'failed'],
    ],
  )
})

t.test('metrics gather tasks, keys, grid and frames', async (t) => {
  const metrics = metricsOf(
    [
      ...command(),
      at(100, 'gen30', 'telemetry.sampled', sample(100)),
      ...BOOKS,
      at(0, 'keyserver', 'pool', {
        ...POOL,
        generatedBits: 0,
        usedBits: 0,
        discardedBits: 0,
        reservedBits: 0,
        poolBits: 0,
      }),
      at(2000, 'keyserver', 'pool', POOL),
      at(500, 'keyserver', 'qkd.break', { link: 0 }),
      at(501, 'keyserver', 'qkd.break', { link: 0 }),
      at(900, 'keyserver', 'qkd.repair', { link: 0 }),
      at(0, 'cc', 'plan', { why: 'a otp path 0 (required suite)' }),
      at(500, 'cc', 'plan', { why: 'a otp path 1 (required suite); b aes path 0 (AES: key is short)' }),
      GRID,
      at(3000, 'cc', 'counters', { link: 0, framesSent: 5, framesReceived: 4, retransmissions: 1 }),
      at(3000, 'gwA', 'counters', { link: 0, framesSent: 4, framesReceived: 5, retransmissions: 0 }),
    ],
    { ...CONTEXT, initialBits: 8_000, nodes: ['cc', 'gwA'] },
  )
  t.match(metrics, {
    valid: true,
    pFull: 0.5,
    pDelivered: 0.5,
    byClass: { shedding: { tasks: 1, pFull: 1 }, telemetry: { tasks: 1, failed: 1 } },
    maxAbsDeltaFHz: 0.0805,
    worstMachineHz: 0.11,
    trrS: 2.8,
    returnS: 3.1,
    keyUtilizationRatio: 0.32,
    keys: { stockChangeBits: 5_952 + 1_408 - 8_000, discardedBits: 2_000, breaks: 1, minPoolBits: 5_952 },
    deadlineMisses: 1,
    switches: 2,
    booksBalanced: true,
    frames: 9,
    framesReceived: 9,
    retransmissions: 1,
    seed: 5,
    version: '0.1.0',
  })
  t.equal(metrics.lost.length, 1)
  t.same(JSON.parse(JSON.stringify(metrics)), metrics, 'plain data')
})

t.test('a run with something missing is not valid, and says what', async (t) => {
  const { valid, invalidReasons } = metricsOf([], { ...CONTEXT, nodes: ['cc'], problems: ['gwA died'] })
  t.equal(valid, false)
  t.same(invalidReasons, [
    'gwA died',
    'no counters of cc: not drained to the end',
    'no books of the keys',
    'no record of the grid',
    'no task was issued',
  ])
})

t.test('without a summary the grid is judged by its samples', async (t) => {
  const samples = [0, -0.06, -0.07, -0.04, 0.01].map((deltaFHz, index) =>
    at(index * 100, 'grid', 'grid', { deltaFHz, worstHz: Math.abs(deltaFHz) * 1.5 }),
  )
  const metrics = metricsOf([...samples, at(50, 'grid', 'grid.disturbance')], CONTEXT)
  t.match(metrics, { maxAbsDeltaFHz: 0.07, trrS: 0.2, returnS: 0.25 })
  t.ok(Math.abs((metrics.worstMachineHz ?? 0) - 0.105) < 1e-9)
})

t.test('books are reconciled to the bit', async (t) => {
  t.match(reconcileBooks(BOOKS), { agree: true, differences: [], channels: 1, usedBits: 640 })
  t.same(reconcileBooks([]).agree, false, 'nothing to compare is no agreement')
  const off = [
    ...BOOKS.slice(0, 2),
    at(1900, 'gwA', 'books', { channel: 0, side: 'receiver', assignedSlots: 64, usedSlots: 19 }),
  ]
  t.same(reconcileBooks(off).differences, ['channel 0: sender used 640 bits, receiver used 608: 32 bits apart'])
  t.same(reconcileBooks(BOOKS.slice(0, 2)).differences, ['channel 0: no books of the receiver'])
  const pool = (facts: object) =>
    reconcileBooks([...BOOKS, at(2000, 'keyserver', 'pool', { ...POOL, ...facts })]).differences
  t.same(pool({}), [])
  t.same(pool({ poolBits: 5_920 }), ['pool: generated 10000 bits, sum of its parts 9968: 32 bits apart'])
  t.same(pool({ usedBits: 608, reservedBits: 1_440 }), [
    'pool: used 608 bits, sum over the channels 640: 32 bits apart',
  ])
  const local = reconcileBooks(
    [...BOOKS, at(2000, 'keyserver', 'pool', { ...POOL, usedBits: 0, reservedBits: 2_048 })],
    () => false,
  )
  t.ok(local.agree, 'channels with keys of their own do not count in the pool')
})

t.test('books balance over several lives of an end, with what crashes discarded', async (t) => {
  const side = (node: string, facts: object) => at(1900, node, 'books', { channel: 0, ...facts })
  const lives = [
    ...BOOKS.slice(0, 2),
    // Killed after it had used 25 slots and reported 20; its next life begins behind all it was given.
    at(3000, 'cc', 'ledger.resumed', { marks: 2 }),
    side('cc', {
      side: 'sender',
      assignedSlots: 200,
      usedSlots: 150,
      discardedSlots: 56,
      messageSlots: 140,
      firstSlot: 64,
    }),
    side('gwA', { side: 'receiver', assignedSlots: 200, usedSlots: 140 }),
  ]
  const stream = { channel: 0, assignedSlots: 200, usedSlots: 50, discardedSlots: 95, skippedSlots: 5 }
  const pool = at(5000, 'keyserver', 'pool', { ...POOL, usedBits: 1600, reservedBits: 448 })
  const differences = (facts: object, more: typeof lives = []) =>
    reconcileBooks([...lives, ...more, at(5000, 'keyserver', 'stream', { ...stream, ...facts }), pool]).differences
  t.same(differences({}), [])
  t.same(differences({ discardedSlots: 94 }), [
    'channel 0: sender used 4800 bits, pool used or discarded 4768: 32 bits apart',
    'pool: used 1600 bits, sum over the channels 1632: 32 bits apart',
  ])
  t.same(differences({ assignedSlots: 201 }), [
    'channel 0: sender assigned 6400 bits, pool assigned 6432: 32 bits apart',
  ])
  const seen = (usedSlots: number) =>
    reconcileBooks([...lives.slice(0, -1), side('gwA', { side: 'receiver', assignedSlots: 200, usedSlots })])
      .differences
  t.same(seen(150), [], 'a receiver may have been told what was discarded')
  t.same(seen(151), ['channel 0: sender used 4800 bits, receiver used 4832: 32 bits apart'])
  const mute = side('cc', { side: 'sender', assignedSlots: 200, usedSlots: 150, messageSlots: 0, firstSlot: 150 })
  t.same(
    reconcileBooks([...lives.slice(0, 3), mute, side('gwA', { side: 'receiver', assignedSlots: 200, usedSlots: 12 })])
      .differences,
    [],
    'of what a killed life has sent some may be lost',
  )
  t.same(seen(139), ['channel 0: sender used 4480 bits, receiver used 4448: 32 bits apart'])
})

t.test('the report says what happened and where lost tasks lost their time', async (t) => {
  const metrics = metricsOf(
    [
      ...command({ keyWaitMs: 700, latencyMs: 1100, reason: 'late' }),
      ...BOOKS,
      at(2000, 'keyserver', 'pool', POOL),
      GRID,
    ],
    CONTEXT,
  )
  const text = reportText(metrics, { name: 'small <1>', durationS: 3 })
  t.match(text, /^Run small <1>, seed 5, 3 s; isolation virtual, link delays by virtual; q104 0\.1\.0\nValid: yes\n/)
  t.match(text, /P_succ \(required suite, in time\) +0\.0000/)
  t.match(text, /max \|df\|, centre of inertia +0\.0805 Hz/)
  t.match(text, /TRR, time outside 0\.05 Hz +2\.80 s/)
  t.match(text, /agree to the bit/)
  t.match(
    text,
    /t1 +shedding +shedding-3 +1\.00 +late +0 +700 +9 +301 +90 +cc otp .*gwA otp \(key 700, queue 5\) .*rtu1 otp.*; late/,
  )
  const html = reportHtml(metrics, { name: 'small <1>', durationS: 3 })
  t.match(html, /<h1>small &lt;1&gt;<\/h1>/)
  t.notMatch(html, /https?:|<script|src=/, 'nothing from elsewhere')
})

t.test('a report of books that do not agree says so', async (t) => {
  const metrics = metricsOf([...command(), ...BOOKS.slice(0, 2), GRID], CONTEXT)
  const text = reportText(metrics, { name: 'x', durationS: 3 })
  t.match(text, /Valid: NO \(the books of the keys do not agree\)/)
  t.match(text, /Key books: DO NOT AGREE\n {2}channel 0: no books of the receiver/)
})
