/** IEC 60870-5-104, clause 5: start and stop of data transfer, numbering, windows, timers of the controlled station. */
import t from 'tap'
import { encodeAsdu, encodeI, encodeS, encodeU, SEQ_MODULUS } from '../../../src/protocol/index.ts'
import { interrogation, Lab, read } from './harness.ts'

t.test('5.3 start and stop', async (t) => {
  t.test('STARTDT act is confirmed and data flows only then', async (t) => {
    const lab = new Lab()
    const client = lab.connect()
    lab.set(1, 1)
    t.same(client.frames, [], 'nothing is sent before')
    client.u('startdtAct')
    t.same(client.frames[0], { format: 'U', function: 'startdtCon' })
    t.same(client.got(), ['M_EI_NA_1 4 1/0', 'M_EI_NA_1 4 2/0', 'M_SP_TB_1 3 1/1'])
  })
  t.test('an I-frame before STARTDT closes', async (t) => {
    const client = new Lab().connect()
    client.send(interrogation())
    t.equal(client.closed, 'notStarted')
  })
  t.test('STOPDT is confirmed after our I-frames are acknowledged, and an I-frame after it closes', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.isSilent = true
    lab.set(1, 1)
    client.forget()
    client.u('stopdtAct')
    t.same(client.frames, [], 'no confirmation while an I-frame of ours is not acknowledged')
    client.ack()
    t.same(client.frames, [{ format: 'U', function: 'stopdtCon' }])
    lab.set(1, 0)
    t.equal(client.frames.length, 1, 'events wait')
    client.send(read(1))
    t.equal(client.closed, 'notStarted')
  })
  t.test('events that come while stopped are sent at the next STARTDT', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.u('stopdtAct')
    client.forget()
    lab.set(1, 1)
    client.u('startdtAct')
    t.same(client.got(), ['M_SP_TB_1 3 1/1'])
  })
  t.test('TESTFR act is confirmed, before STARTDT too', async (t) => {
    const client = new Lab().connect()
    client.u('testfrAct')
    t.same(client.frames, [{ format: 'U', function: 'testfrCon' }])
  })
  t.test('a confirmation of STARTDT sent to the controlled station closes', async (t) => {
    const client = new Lab().connect()
    client.u('startdtCon')
    t.equal(client.closed, 'wrongRole')
  })
})

t.test('5.1 numbering', async (t) => {
  t.test('N(S) that is not the next one closes', async (t) => {
    const client = new Lab().start()
    client.sendSeq = 1
    client.send(read(1))
    t.equal(client.closed, 'sendSeq')
  })
  t.test('N(S) that is repeated closes', async (t) => {
    const client = new Lab().start()
    client.send(read(1))
    client.sendSeq = 0
    client.send(read(1))
    t.equal(client.closed, 'sendSeq')
  })
  t.test('N(R) beyond what was sent closes, in S- and in I-frames', async (t) => {
    const [a, b] = [new Lab().start(), new Lab().start()]
    a.octets(encodeS(a.recvSeq + 1))
    b.octets(encodeI(0, b.recvSeq + 1, encodeAsdu(read(1))))
    t.same([a.closed, b.closed], ['recvSeq', 'recvSeq'])
  })
  t.test('numbers wrap at 32768 in both directions, without gap or duplicate', async (t) => {
    const client = new Lab().start()
    const first = client.recvSeq
    let wrong = 0
    for (let n = 0; n < SEQ_MODULUS + 100; n++) {
      client.forget()
      client.send(read(1))
      const [frame] = client.frames.filter(({ format }) => format === 'I')
      if (frame?.format !== 'I' || frame.sendSeq !== (first + n) % SEQ_MODULUS) wrong += 1
    }
    t.equal(wrong, 0)
    t.equal(client.closed, undefined)
    t.equal(client.sendSeq, 100)
  })
})

t.test('5.5 windows', async (t) => {
  t.test('an unacknowledged window stalls at exactly k', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.isSilent = true
    for (let n = 0; n < 20; n++) lab.set(1, n % 2 === 0 ? 1 : 0)
    t.equal(client.asdus.length, 12)
    client.octets(encodeS(client.recvSeq - 8))
    t.same(
      client.asdus.slice(12).map(({ objects }) => objects.length),
      [8],
      'what waited shares an ASDU',
    )
  })
  t.test('w received I-frames are acknowledged at once, fewer after t2', async (t) => {
    const lab = new Lab({ points: [{ ca: 1, ioa: 1, kind: 'single' }], maxEvents: 1 })
    const client = lab.start()
    const acks = () => client.frames.flatMap((frame) => (frame.format === 'S' ? [frame.recvSeq] : []))
    client.isSilent = true
    // A type that is answered is acknowledged by the answer; a refusal by the peer is not answered.
    const refusal = encodeAsdu({ ...read(1), cot: 47, negative: true })
    for (let n = 0; n < 8; n++) client.send(refusal)
    t.same(acks(), [8])
    client.send(refusal)
    lab.advanceMs(9_999)
    t.same(acks(), [8])
    lab.advanceMs(1)
    t.same(acks(), [8, 9])
  })
})

t.test('5.2 timers', async (t) => {
  t.test('t1: an I-frame that is not acknowledged for 15 s closes', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    client.isSilent = true
    lab.set(1, 1)
    lab.advanceMs(14_999)
    t.equal(client.closed, undefined)
    lab.advanceMs(1)
    t.equal(client.closed, 't1Ack')
  })
  t.test('t3: after 20 s of silence TESTFR act; unanswered it closes 15 s later', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.advanceMs(19_999)
    t.same(client.frames, [])
    lab.advanceMs(1)
    t.same(client.frames, [{ format: 'U', function: 'testfrAct' }])
    lab.advanceMs(14_999)
    t.equal(client.closed, undefined)
    lab.advanceMs(1)
    t.equal(client.closed, 't1Testfr')
  })
  t.test('an answered TESTFR starts t3 anew', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.advanceMs(20_000)
    client.u('testfrCon')
    lab.advanceMs(19_999)
    t.equal(client.frames.length, 1)
    lab.advanceMs(1)
    t.equal(client.frames.length, 2)
    t.equal(client.closed, undefined)
  })
  t.test('setting the clock does not touch the timers', async (t) => {
    const lab = new Lab()
    const client = lab.start()
    lab.advanceMs(5_000)
    client.octets(encodeU('testfrAct'))
    lab.feed({ kind: 'start', wallMs: Date.UTC(2050, 0, 1) })
    client.forget()
    lab.advanceMs(19_999)
    t.same(
      client.frames.filter(({ format }) => format === 'U'),
      [],
    )
  })
})

t.test('streams', async (t) => {
  t.test('an APDU may come octet by octet, and three may come at once', async (t) => {
    const client = new Lab().start()
    for (const octet of encodeI(0, client.recvSeq, encodeAsdu(read(1)))) client.octets(Uint8Array.of(octet))
    const three = [1, 2, 3].map((n) => encodeI(n, client.recvSeq, encodeAsdu(read(n))))
    client.octets(Uint8Array.from(three.flatMap((frame) => [...frame])))
    t.same(client.got(), ['M_SP_NA_1 5 1/1', 'M_SP_NA_1 5 1/1', 'M_SP_NA_1 5 1/2', 'C_RD_NA_1 47- 1/3'])
  })
  t.test('answers of one input leave in one write of whole APDUs', async (t) => {
    const client = new Lab().start()
    client.forget()
    client.send(interrogation())
    t.equal(client.writes.length, 1)
    t.ok(client.asdus.length > 3)
  })
  for (const [name, octets] of [
    ['a start octet other than 0x68', [0x69, 4]],
    ['a length below 4', [0x68, 3]],
    ['a length above 253', [0x68, 254]],
    ['a control field of no format', [0x68, 4, 0x03, 0, 0, 0]],
  ] as const) {
    t.test(`${name} closes`, async (t) => {
      const client = new Lab().start()
      client.octets(Uint8Array.from(octets))
      t.match(client.closed, /malformed/)
    })
  }
  t.test('more connections than allowed are closed at once', async (t) => {
    const lab = new Lab({ points: [{ ca: 1, ioa: 1, kind: 'single' }], maxConnections: 1 })
    lab.start()
    t.equal(lab.connect().closed, 'too many connections')
  })
})
