import fc from 'fast-check'
import t from 'tap'
import { encodeI, encodeS, encodeU, parseApdu } from '../../../src/protocol/iec104/apci.ts'
import { ApciConnection, type ApciEffect, type ApciOptions } from '../../../src/protocol/iec104/connection.ts'
import { Pair } from './pair.ts'
import { octets } from './vectors.ts'

const defaults = { k: 12, w: 8, t1Ms: 15_000, t2Ms: 10_000, t3Ms: 20_000 } as const
const asdu = octets('66 01 05 00 01 00 01 00 00')

/** Effects in few words: `I 3/7` is N(S)/N(R), `S 7`, `testfrAct`, `asdu`, `acked 2`, `close t1Ack`. */
function words(effects: readonly ApciEffect[]): string[] {
  return effects.map((effect) => {
    if (effect.kind === 'acked') return `acked ${effect.count}`
    if (effect.kind === 'close') return `close ${effect.reason}`
    if (effect.kind !== 'transmit') return effect.kind
    const frame = parseApdu(effect.apdu)
    if (frame.format === 'U') return frame.function
    return frame.format === 'S' ? `S ${frame.recvSeq}` : `I ${frame.sendSeq}/${frame.recvSeq}`
  })
}

function opened(role: ApciOptions['role'], options: Partial<ApciOptions> = {}): ApciConnection {
  const connection = new ApciConnection({ ...defaults, ...options, role })
  connection.open(0)
  connection.receive(encodeU(role === 'controlling' ? 'startdtCon' : 'startdtAct'), 0)
  return connection
}

const i = (sendSeq: number, recvSeq: number) => encodeI(sendSeq, recvSeq, asdu)

t.test('start and stop of data transfer (5.3)', async (t) => {
  t.test('the controlling station starts, the controlled one confirms', async (t) => {
    const master = new ApciConnection({ ...defaults, role: 'controlling' })
    const rtu = new ApciConnection({ ...defaults, role: 'controlled' })
    t.strictSame(words(rtu.open(0)), [])
    t.strictSame(words(master.open(0)), ['startdtAct'])
    t.notOk(master.canSend || rtu.canSend || master.isStarted)
    t.strictSame(words(rtu.receive(encodeU('startdtAct'), 5)), ['startdtCon', 'started'])
    t.strictSame(words(master.receive(encodeU('startdtCon'), 10)), ['started'])
    t.ok(master.canSend && rtu.canSend && master.isStarted && rtu.isStarted)
  })
  t.test('an unanswered STARTDT act closes after t1', async (t) => {
    const master = new ApciConnection({ ...defaults, role: 'controlling' })
    master.open(100)
    t.equal(master.wakeAtMs, 15_100)
    t.strictSame(words(master.wake(15_099)), [])
    t.strictSame(words(master.wake(15_100)), ['close t1Startdt'])
    t.equal(master.wakeAtMs, undefined)
  })
  t.test('data before STARTDT closes', async (t) => {
    for (const role of ['controlling', 'controlled'] as const) {
      for (const frame of [i(0, 0), encodeS(0)]) {
        const station = new ApciConnection({ ...defaults, role })
        station.open(0)
        t.strictSame(words(station.receive(frame, 1)), ['close notStarted'], role)
      }
    }
  })
  t.test('a stop waits until both directions are acknowledged', async (t) => {
    const master = opened('controlling')
    const rtu = opened('controlled')
    rtu.send(asdu, 1)
    rtu.receive(i(0, 0), 2)
    master.send(asdu, 1)
    master.receive(i(0, 0), 2)
    t.strictSame(words(master.stop(3)), ['S 1'], 'acknowledges, and waits for the acknowledgement of its own')
    t.notOk(master.canSend)
    t.throws(() => master.send(asdu, 3), RangeError)
    t.strictSame(words(master.receive(encodeS(1), 4)), ['acked 1', 'stopdtAct'])
    t.strictSame(words(rtu.receive(encodeU('stopdtAct'), 5)), ['S 1'], 'has an I-frame of its own unacknowledged')
    t.notOk(rtu.canSend)
    t.strictSame(words(rtu.receive(encodeS(1), 6)), ['acked 1', 'stopdtCon', 'stopped'])
    t.strictSame(words(master.receive(encodeU('stopdtCon'), 7)), ['stopped'])
    t.notOk(master.isStarted || rtu.isStarted)
  })
  t.test('data still comes in while the stop is under way, and is acknowledged at once', async (t) => {
    const master = opened('controlling')
    t.strictSame(words(master.stop(1)), ['stopdtAct'])
    t.strictSame(words(master.stop(2)), [], 'once')
    t.strictSame(words(master.receive(i(0, 0), 2)), ['asdu', 'S 1'])
    t.strictSame(words(master.receive(encodeU('stopdtCon'), 3)), ['stopped'])
    t.strictSame(words(master.receive(i(1, 0), 4)), ['close notStarted'])
  })
  t.test('an unanswered STOPDT act closes after t1', async (t) => {
    const master = opened('controlling')
    master.stop(1000)
    t.equal(master.wakeAtMs, 16_000)
    t.strictSame(words(master.wake(16_000)), ['close t1Stopdt'])
  })
  t.test('data after STOPDT act closes the controlled station', async (t) => {
    const rtu = opened('controlled')
    rtu.send(asdu, 1)
    rtu.receive(encodeU('stopdtAct'), 2)
    t.strictSame(words(rtu.receive(i(0, 0), 3)), ['close notStarted'])
  })
  t.test('a stopped transfer starts again with the numbers going on', async (t) => {
    const master = opened('controlling')
    t.strictSame(words(master.start(0)), [], 'nothing to start')
    master.send(asdu, 1)
    master.receive(encodeS(1), 2)
    master.stop(3)
    master.receive(encodeU('stopdtCon'), 4)
    t.strictSame(words(master.start(5)), ['startdtAct'])
    master.receive(encodeU('startdtCon'), 6)
    t.strictSame(words(master.send(asdu, 7)), ['I 1/0'])
  })
  t.test('repeated acts are confirmed again and change nothing', async (t) => {
    const rtu = opened('controlled')
    rtu.send(asdu, 1)
    t.strictSame(words(rtu.receive(encodeU('startdtAct'), 2)), ['startdtCon'])
    t.equal(rtu.unacked, 1)
    rtu.receive(encodeS(1), 3)
    t.strictSame(words(rtu.receive(encodeU('stopdtAct'), 4)), ['stopdtCon', 'stopped'])
    t.strictSame(words(rtu.receive(encodeU('stopdtAct'), 5)), ['stopdtCon'])
  })
  t.test('acts to the controlling and confirmations to the controlled station close', async (t) => {
    t.strictSame(words(opened('controlling').receive(encodeU('startdtAct'), 1)), ['close wrongRole'])
    t.strictSame(words(opened('controlling').receive(encodeU('stopdtAct'), 1)), ['close wrongRole'])
    t.strictSame(words(opened('controlled').receive(encodeU('startdtCon'), 1)), ['close wrongRole'])
    t.strictSame(words(opened('controlled').receive(encodeU('stopdtCon'), 1)), ['close wrongRole'])
    t.strictSame(words(opened('controlled').stop(1)), [], 'and only the controlling station stops')
  })
})

t.test('numbering (5.1)', async (t) => {
  t.test('I-frames are counted, and each carries the acknowledgement', async (t) => {
    const rtu = opened('controlled')
    t.strictSame(words(rtu.send(asdu, 1)), ['I 0/0'])
    t.strictSame(words(rtu.receive(i(0, 0), 2)), ['asdu'])
    t.strictSame(words(rtu.receive(i(1, 1), 3)), ['acked 1', 'asdu'])
    t.strictSame(words(rtu.send(asdu, 4)), ['I 1/2'])
    t.strictSame(words(rtu.send(asdu, 4)), ['I 2/2'])
    t.equal(rtu.unacked, 2)
    t.strictSame(words(rtu.receive(encodeS(3), 5)), ['acked 2'])
    t.equal(rtu.unacked, 0)
  })
  t.test('a gap or a repetition in N(S) closes', async (t) => {
    t.strictSame(words(opened('controlled').receive(i(1, 0), 1)), ['close sendSeq'])
    const rtu = opened('controlled')
    rtu.receive(i(0, 0), 1)
    t.strictSame(words(rtu.receive(i(0, 0), 2)), ['close sendSeq'])
  })
  t.test('an N(R) beyond what was sent closes, in S- and I-frames', async (t) => {
    for (const frame of [encodeS(2), i(0, 2)]) {
      const rtu = opened('controlled')
      rtu.send(asdu, 1)
      t.strictSame(words(rtu.receive(frame, 2)), ['close recvSeq'])
    }
  })
  t.test('an N(R) that takes an acknowledgement back closes', async (t) => {
    const rtu = opened('controlled')
    rtu.send(asdu, 1)
    rtu.receive(encodeS(1), 2)
    t.strictSame(words(rtu.receive(encodeS(0), 3)), ['close recvSeq'])
  })
  t.test('numbers wrap at 32768', async (t) => {
    const master = opened('controlling', { w: 1 })
    const rtu = opened('controlled', { w: 1 })
    const seen: string[] = []
    for (let n = 0; n < 32_770; n++) {
      const [sent] = rtu.send(asdu, n)
      if (sent?.kind !== 'transmit') break
      const effects = master.receive(sent.apdu, n)
      const ack = effects.find((effect) => effect.kind === 'transmit')
      const acked = ack?.kind === 'transmit' ? rtu.receive(ack.apdu, n) : []
      if (n > 32_765) seen.push(words([sent, ...effects, ...acked]).join(', '))
    }
    t.strictSame(seen, [
      'I 32766/0, asdu, S 32767, acked 1',
      'I 32767/0, asdu, S 0, acked 1',
      'I 0/0, asdu, S 1, acked 1',
      'I 1/0, asdu, S 2, acked 1',
    ])
  })
  t.test('octets that are no APDU close', async (t) => {
    t.strictSame(words(opened('controlled').receive(octets('68 04 0f 00 00 00'), 1)), ['close malformed'])
  })
})

t.test('windows (5.5)', async (t) => {
  t.test('no more than k I-frames are unacknowledged', async (t) => {
    const rtu = opened('controlled', { k: 3 })
    for (let n = 0; n < 3; n++) rtu.send(asdu, n)
    t.notOk(rtu.canSend)
    t.throws(() => rtu.send(asdu, 4), { name: 'RangeError', message: '3 of k 3' })
    rtu.receive(encodeS(1), 5)
    t.ok(rtu.canSend)
    t.strictSame(words(rtu.send(asdu, 6)), ['I 3/0'])
  })
  t.test('w I-frames received are acknowledged at once', async (t) => {
    const rtu = opened('controlled', { w: 3 })
    t.strictSame(
      [0, 1, 2, 3].map((n) => words(rtu.receive(i(n, 0), n)).join(' ')),
      ['asdu', 'asdu', 'asdu S 3', 'asdu'],
    )
  })
  t.test('an I-frame sent acknowledges too', async (t) => {
    const rtu = opened('controlled', { w: 2 })
    rtu.receive(i(0, 0), 0)
    rtu.send(asdu, 1)
    t.strictSame(words(rtu.receive(i(1, 0), 2)), ['asdu'], 'one owed, not two')
  })
})

t.test('timers (5.2)', async (t) => {
  t.test('t1 runs from the first transmission of the oldest unacknowledged I-frame', async (t) => {
    const rtu = opened('controlled')
    rtu.send(asdu, 1000)
    rtu.send(asdu, 3000)
    t.equal(rtu.wakeAtMs, 16_000)
    rtu.receive(encodeS(1), 15_000)
    t.equal(rtu.wakeAtMs, 18_000)
    t.strictSame(words(rtu.wake(18_000)), ['close t1Ack'])
  })
  t.test('t2 runs from the oldest I-frame received and not acknowledged', async (t) => {
    const rtu = opened('controlled')
    rtu.receive(i(0, 0), 1000)
    rtu.receive(i(1, 0), 9000)
    t.equal(rtu.wakeAtMs, 11_000)
    t.strictSame(words(rtu.wake(10_999)), [])
    t.strictSame(words(rtu.wake(11_000)), ['S 2'])
    t.equal(rtu.wakeAtMs, 29_000, 'then t3')
  })
  t.test('t3 without any frame received tests the connection, and t1 ends the test', async (t) => {
    const rtu = opened('controlled')
    rtu.receive(encodeU('testfrAct'), 5000)
    rtu.send(asdu, 24_000)
    t.equal(rtu.wakeAtMs, 25_000, 'what is sent does not count')
    t.strictSame(words(rtu.wake(25_000)), ['testfrAct'])
    t.strictSame(words(rtu.receive(encodeS(1), 26_000)), ['acked 1'])
    t.equal(rtu.wakeAtMs, 40_000, 'no other frame is the answer')
    t.strictSame(words(rtu.wake(40_000)), ['close t1Testfr'])
  })
  t.test('TESTFR is answered in every state, and its confirmation ends the test', async (t) => {
    const rtu = new ApciConnection({ ...defaults, role: 'controlled' })
    rtu.open(0)
    t.strictSame(words(rtu.receive(encodeU('testfrAct'), 1)), ['testfrCon'], 'stopped')
    t.strictSame(words(rtu.wake(20_001)), ['testfrAct'], 'and tests while stopped')
    t.strictSame(words(rtu.test(20_002)), [], 'one test at a time')
    t.strictSame(words(rtu.receive(encodeU('testfrCon'), 20_003)), [])
    t.equal(rtu.wakeAtMs, 40_003)
    t.strictSame(words(rtu.test(20_004)), ['testfrAct'])
  })
  t.test('a closed connection ignores all but open, which begins anew', async (t) => {
    const master = opened('controlling')
    master.send(asdu, 1)
    master.receive(encodeS(9), 2)
    const calls = [
      master.receive(encodeU('testfrAct'), 3),
      master.wake(99_999),
      master.test(4),
      master.acknowledge(5),
      master.stop(6),
      master.start(7),
    ]
    t.strictSame(calls.flatMap(words), [])
    t.throws(() => master.send(asdu, 8), RangeError)
    t.strictSame(words(master.open(9)), ['startdtAct'])
    master.receive(encodeU('startdtCon'), 10)
    t.strictSame(words(master.send(asdu, 11)), ['I 0/0'])
  })
  t.test('acknowledge repeats N(R) also when nothing is owed', async (t) => {
    const rtu = opened('controlled')
    t.strictSame(words(rtu.acknowledge(1)), ['S 0'])
    rtu.receive(i(0, 0), 2)
    t.strictSame([...words(rtu.acknowledge(3)), ...words(rtu.acknowledge(4))], ['S 1', 'S 1'])
    t.equal(rtu.wakeAtMs, 20_002, 't2 no longer runs')
  })
  t.test('options outside their ranges are refused', async (t) => {
    const bad: Partial<ApciOptions>[] = [
      { k: 0 },
      { k: 32_768 },
      { w: 1.5 },
      { t2Ms: 15_000 },
      { t3Ms: 0 },
      { uRetryMs: 0 },
    ]
    for (const options of bad) {
      t.throws(() => new ApciConnection({ ...defaults, role: 'controlled', ...options }), RangeError)
    }
  })
})

t.test('over a transport that loses and reorders S- and U-frames', async (t) => {
  const uRetryMs = 1000
  t.test('acts are repeated until answered or t1', async (t) => {
    const master = new ApciConnection({ ...defaults, role: 'controlling', uRetryMs })
    master.open(0)
    const times: (number | undefined)[] = []
    for (let n = 0; n < 15; n++) {
      times.push(master.wakeAtMs)
      if (n < 14) t.strictSame(words(master.wake(master.wakeAtMs ?? 0)), ['startdtAct'])
    }
    t.equal(times.at(-1), 15_000)
    t.strictSame(words(master.wake(15_000)), ['close t1Startdt'])
  })
  t.test('an I-frame stands for the STARTDT con that was lost', async (t) => {
    const master = new ApciConnection({ ...defaults, role: 'controlling', uRetryMs })
    master.open(0)
    t.strictSame(words(master.receive(i(0, 0), 10)), ['started', 'asdu'])
    t.strictSame(words(master.receive(encodeU('startdtCon'), 20)), [], 'which may come late')
  })
  t.test('an acknowledgement that was overtaken is no error, one from the future is', async (t) => {
    const rtu = opened('controlled', { uRetryMs })
    for (let n = 0; n < 3; n++) rtu.send(asdu, n)
    t.strictSame(words(rtu.receive(encodeS(3), 10)), ['acked 3'])
    t.strictSame(words(rtu.receive(encodeS(1), 11)), [])
    t.strictSame(words(rtu.receive(i(0, 2), 12)), ['asdu'])
    t.strictSame(words(rtu.receive(encodeS(4), 13)), ['close recvSeq'])
  })
  t.test(
    'an S-frame that arrives after the stop, and a STARTDT act that arrives within it, are no errors',
    async (t) => {
      const rtu = opened('controlled', { uRetryMs })
      rtu.send(asdu, 1)
      rtu.receive(encodeU('stopdtAct'), 2)
      t.strictSame(words(rtu.receive(encodeU('startdtAct'), 3)), [])
      t.strictSame(words(rtu.receive(encodeS(1), 4)), ['acked 1', 'stopdtCon', 'stopped'])
      t.strictSame(words(rtu.receive(encodeS(1), 5)), [])
    },
  )
})

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('send' as const), end: fc.constantFrom(0 as const, 1 as const) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.nat(3000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.constant(60_000) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('test' as const), end: fc.constantFrom(0 as const, 1 as const) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('ack' as const), end: fc.constantFrom(0 as const, 1 as const) }),
    },
  ),
  { maxLength: 200, size: 'max' },
)

function play(pair: Pair, script: typeof steps extends fc.Arbitrary<infer S> ? S : never): boolean {
  for (const step of script) {
    if (step.kind === 'advance') pair.advanceMs(step.ms)
    else if (step.kind === 'send') pair.send(step.end)
    else {
      const end = pair.ends[step.end]
      if (end.isStarted)
        pair.carryOut(step.end, step.kind === 'test' ? end.test(pair.nowMs) : end.acknowledge(pair.nowMs))
    }
    if (pair.ends.some((end, at) => end.unacked !== 0 && end.unacked !== (pair.sent[at] ?? 0) - (pair.acked[at] ?? 0)))
      return false
  }
  return true
}

const inOrder = (received: readonly number[]) => received.every((n, at) => n === at)

t.test('over a perfect pipe any traffic arrives once, in order, and is acknowledged', async (t) => {
  const windows = fc.record({ k: fc.integer({ min: 1, max: 20 }), w: fc.integer({ min: 1, max: 20 }) })
  let carried = 0
  const property = fc.property(windows, fc.nat(2000), steps, (sizes, delayMs, script) => {
    const pair = new Pair({ ...defaults, ...sizes }, () => [delayMs])
    pair.advanceMs(5000)
    if (!pair.ends.every((end) => end.isStarted) || !play(pair, script)) return false
    pair.advanceMs(30_000)
    carried += pair.sent[0] + pair.sent[1]
    const isComplete = pair.received[1].length === pair.sent[0] && pair.received[0].length === pair.sent[1]
    const isAcked = pair.ends.every((end) => end.unacked === 0)
    return pair.closes.length === 0 && isComplete && isAcked && pair.received.every(inOrder)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 150 }))
  t.ok(carried > 1000, `${carried} ASDUs`)
})

t.test('lost, repeated and reordered S- and U-frames do no harm to a caller that tests and repeats N(R)', async (t) => {
  const fates = fc.infiniteStream(fc.constantFrom([], [], [1], [10], [400], [5, 900], [2500], [20], [30]))
  let carried = 0
  const property = fc.property(fates, steps, (stream, script) => {
    const pair = new Pair({ ...defaults, uRetryMs: 700 }, (format) => {
      const copies = stream.next().value ?? []
      return format === 'I' ? [copies[0] ?? 50] : copies
    })
    pair.testsAfterMs = 1000
    pair.advanceMs(10_000)
    if (!play(pair, script)) return false
    pair.advanceMs(40_000)
    carried += pair.sent[0] + pair.sent[1]
    const isComplete = pair.received[1].length === pair.sent[0] && pair.received[0].length === pair.sent[1]
    const isAcked = pair.ends.every((end) => end.unacked === 0)
    return pair.closes.length === 0 && isComplete && isAcked && pair.received.every(inOrder)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 100 }))
  t.ok(carried > 1000, `${carried} ASDUs`)
})

t.test('any octets at any time are ignored, answered or close, but never throw', async (t) => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 12 }),
    fc.tuple(fc.nat(3), fc.nat(3)).map(([ns, nr]) => i(ns, nr)),
    fc.nat(3).map(encodeS),
    fc.constantFrom('startdtAct', 'startdtCon', 'stopdtAct', 'stopdtCon', 'testfrAct', 'testfrCon').map(encodeU),
  )
  const property = fc.property(
    fc.constantFrom('controlling' as const, 'controlled' as const),
    fc.constantFrom(undefined, 500),
    fc.array(fc.tuple(frame, fc.nat(3000), fc.boolean()), { maxLength: 40 }),
    (role, uRetryMs, script) => {
      const station = new ApciConnection({ ...defaults, role, ...(uRetryMs === undefined ? {} : { uRetryMs }) })
      let nowMs = 0
      station.open(nowMs)
      for (const [bytes, ms, sends] of script) {
        nowMs += ms
        if ((station.wakeAtMs ?? Infinity) <= nowMs) station.wake(nowMs)
        if ((station.wakeAtMs ?? Infinity) <= nowMs) return false
        station.receive(bytes, nowMs)
        if (sends && station.canSend) station.send(asdu, nowMs)
        if (station.unacked > defaults.k) return false
        if (station.wakeAtMs === undefined) station.open(nowMs)
      }
      return true
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})
