import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { encodeI, encodeS, encodeU, parseApdu, StreamDeframer } from '../../../src/protocol/iec104/apci.ts'
import {
  type Asdu,
  asduOf,
  cot,
  decodeAsdu,
  encodeAsdu,
  isControlDirection,
  peekAsdu,
  replyTo,
} from '../../../src/protocol/iec104/asdu.ts'
import * as elements from '../../../src/protocol/iec104/elements.ts'
import { WireError, type WireFault } from '../../../src/protocol/iec104/errors.ts'
import { OctetReader, OctetWriter } from '../../../src/protocol/iec104/octets.ts'
import { cp56, readCp56, writeCp56 } from '../../../src/protocol/iec104/time.ts'
import { layoutOf, TYPES, type TypeName, typeIdOf, typeName } from '../../../src/protocol/iec104/types.ts'
import { hexOf, octets, vectors } from './vectors.ts'

const names = Object.keys(TYPES) as TypeName[]

/** What a decoder does with octets: a value, or the fault and its offset. Anything else thrown is let through. */
function outcome<T>(decode: () => T): { value: T } | { code: WireFault['code']; offset: number } {
  try {
    return { value: decode() }
  } catch (error) {
    if (error instanceof WireError) return { code: error.fault.code, offset: error.offset }
    throw error
  }
}

t.test('ASDU vectors are written as the standard has them, and read back', async (t) => {
  for (const [hex, asdu] of vectors) {
    t.equal(hexOf(encodeAsdu(asdu)), hex, `${asdu.type} is written`)
    t.strictSame(decodeAsdu(octets(hex)), asdu, `${asdu.type} is read`)
  }
})

t.test('the table holds every type of the standard under its number', async (t) => {
  const ids = [...range(1, 21), ...range(30, 41), ...range(45, 51), ...range(58, 64), 70]
  t.strictSame(names.map(typeIdOf), [...ids, ...range(100, 107), ...range(110, 113), ...range(120, 127)])
  t.strictSame(names.map(typeIdOf).map(typeName), names)
  t.equal(typeName(22), undefined)
})

t.test('objects have the sizes of the standard', async (t) => {
  const sizes = names.map((name) => `${typeIdOf(name)}:${layoutOf(name).sizeBytes ?? '*'}`).join(' ')
  t.equal(
    sizes,
    '1:1 2:4 3:1 4:4 5:2 6:5 7:5 8:8 9:3 10:6 11:3 12:6 13:5 14:8 15:5 16:8 17:6 18:7 19:7 20:5 21:2 ' +
      '30:8 31:8 32:9 33:12 34:10 35:10 36:12 37:12 38:10 39:11 40:11 41:14 ' +
      '45:1 46:1 47:1 48:3 49:3 50:5 51:4 58:8 59:8 60:8 61:10 62:10 63:12 64:11 70:1 ' +
      '100:1 101:1 102:0 103:7 104:2 105:1 106:2 107:9 110:3 111:3 112:5 113:1 ' +
      '120:6 121:7 122:4 123:5 124:4 125:* 126:13 127:16',
  )
})

t.test('every type, any value, one object or many, survives encode and decode', async (t) => {
  for (const name of names) {
    const property = fc.property(arbitraryAsdu(name), (asdu) => {
      const decoded = decodeAsdu(encodeAsdu(asdu))
      return isDeepStrictEqual(decoded, asdu)
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 40 }), name)
  }
})

t.test('field sizes of one octet, as 101 systems have them, survive too', async (t) => {
  const params = { cotBytes: 1, caBytes: 1, ioaBytes: 2 } as const
  const asdu = asduOf('C_IC_NA_1', { cot: cot.activation, ca: 7, objects: [{ ioa: 0x1234, value: { qoi: 20 } }] })
  t.equal(hexOf(encodeAsdu(asdu, params)), '64 01 06 07 34 12 14')
  t.strictSame(decodeAsdu(octets('64 01 06 07 34 12 14'), params), asdu)
  t.match(peekAsdu(octets('64 01 06 07 34 12 14'), params), { typeId: 100, cot: 6, oa: 0, ca: 7, ioa: 0x1234 })
  t.throws(() => encodeAsdu({ ...asdu, oa: 1 }, params), RangeError, 'an originator has no place there')
  t.throws(() => encodeAsdu({ ...asdu, ca: 256 }, params), RangeError)
})

t.test('bad octets are refused with the fault and its offset', async (t) => {
  const cases: [why: string, hex: string, code: WireFault['code'], offset: number][] = [
    ['nothing at all', '', 'TRUNCATED', 0],
    ['no VSQ', '64', 'TRUNCATED', 1],
    ['half a common address', '64 01 06 00 01', 'TRUNCATED', 4],
    ['a type that is not in the table', 'c8 01 06 00 01 00 00 00 00 14', 'UNKNOWN_TYPE', 0],
    ['no objects', '01 00 03 00 01 00', 'BAD_COUNT', 1],
    ['two commands in one ASDU', '2d 02 06 00 01 00 01 00 00 01 02 00 00 01', 'BAD_COUNT', 1],
    ['a sequence of a type that has none', '24 81 03 00 01 00', 'BAD_SEQUENCE', 1],
    ['a sequence beyond the last address', '01 82 14 00 01 00 ff ff ff 00 01', 'BAD_SEQUENCE', 10],
    ['fewer objects than VSQ says', '01 02 03 00 01 00 01 00 00 01', 'TRUNCATED', 10],
    ['a cut object', '0d 01 03 00 01 00 01 00 00 00 00 80', 'TRUNCATED', 9],
    ['more octets than VSQ says', '01 01 03 00 01 00 01 00 00 01 00', 'TRAILING', 10],
    ['month 13', '67 01 06 00 0a 00 00 00 00 6e b2 1e 0e 0f 0d 1a', 'BAD_FIELD', 9],
    ['29 February 2025', '67 01 06 00 0a 00 00 00 00 00 00 00 00 1d 02 19', 'BAD_FIELD', 9],
    ['millisecond 60000', '67 01 06 00 0a 00 00 00 00 60 ea 1e 0e 0f 03 1a', 'BAD_FIELD', 9],
    ['minute 60 of a short time', '02 01 03 00 01 00 64 00 00 01 00 00 3c', 'BAD_FIELD', 12],
    ['a delay of a minute', '6a 01 06 00 0a 00 00 00 00 60 ea', 'BAD_FIELD', 9],
    ['a segment longer than the ASDU', '7d 01 0d 00 0a 00 00 00 00 01 00 02 04 aa bb cc', 'TRUNCATED', 13],
    ['250 octets', '01'.repeat(250), 'TOO_LONG', 249],
  ]
  for (const [why, hex, code, offset] of cases) {
    t.strictSame(
      outcome(() => decodeAsdu(octets(hex))),
      { code, offset },
      why,
    )
  }
})

t.test('any octets give an ASDU or a WireError, and what is read can be written', async (t) => {
  const known = fc.constantFrom(...names.map(typeIdOf))
  const framed = fc
    .tuple(known, fc.constantFrom(1, 2, 0x81, 0x82, 0x7f), fc.uint8Array({ minLength: 4, maxLength: 60 }))
    .map(([typeId, vsq, rest]) => Uint8Array.of(typeId, vsq, ...rest))
  const fitting = fc.constantFrom(...names).chain((name) => {
    const bytes = 7 + (layoutOf(name).sizeBytes ?? 4)
    return fc
      .uint8Array({ minLength: bytes, maxLength: bytes })
      .map((rest) => Uint8Array.of(typeIdOf(name), 1, ...rest))
  })
  let read = 0
  const property = fc.property(fc.oneof(fc.uint8Array({ maxLength: 260 }), framed, fitting), (bytes) => {
    peekAsdu(bytes)
    outcome(() => parseApdu(bytes))
    const result = outcome(() => decodeAsdu(bytes))
    if (!('value' in result)) return true
    read += 1
    return isDeepStrictEqual(decodeAsdu(encodeAsdu(result.value)), result.value)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3000 }))
  t.ok(read > 300, `${read} of 3000 were ASDUs`)
})

t.test('what cannot be sent is refused with a RangeError that names type and CA', async (t) => {
  const command = { cot: 6, ca: 1, objects: [{ ioa: 1, value: { qoi: 20 } }] }
  const point = (ioa: number) => ({ ioa, value: { value: 0.5 } })
  const many = (count: number, sq: boolean) =>
    asduOf('M_ME_ND_1', { cot: 1, ca: 1, sq, objects: range(1, count).map(point) })
  const bad: [string, Asdu][] = [
    ['CA', asduOf('C_IC_NA_1', { ...command, ca: 65_536 })],
    ['cause', asduOf('C_IC_NA_1', { ...command, cot: 64 })],
    ['IOA', asduOf('C_IC_NA_1', { ...command, objects: [{ ioa: 2 ** 24, value: { qoi: 20 } }] })],
    ['value', asduOf('C_IC_NA_1', { ...command, objects: [{ ioa: 0, value: { qoi: 256 } }] })],
    [
      'qualifier',
      asduOf('C_SE_NC_1', { ...command, objects: [{ ioa: 0, value: { value: 1, qos: { ql: 128, select: false } } }] }),
    ],
    ['no objects', asduOf('C_IC_NA_1', { ...command, objects: [] })],
    ['two objects', asduOf('C_IC_NA_1', { ...command, objects: [...command.objects, ...command.objects] })],
    ['SQ', asduOf('C_IC_NA_1', { ...command, sq: true })],
    ['normalized 1', asduOf('M_ME_ND_1', { cot: 1, ca: 1, objects: [{ ioa: 1, value: { value: 1 } }] })],
    ['gap', asduOf('M_ME_ND_1', { cot: 1, ca: 1, sq: true, objects: [point(1), point(3)] })],
    ['last IOA', asduOf('M_ME_ND_1', { cot: 1, ca: 1, sq: true, objects: [point(2 ** 24 - 1), point(2 ** 24)] })],
    ['251 octets', many(49, false)],
    ['128 objects', many(128, true)],
    [
      'segment',
      asduOf('F_SG_NA_1', {
        cot: 13,
        ca: 1,
        objects: [{ ioa: 0, value: { nof: 1, nos: 1, segment: new Uint8Array(237) } }],
      }),
    ],
  ]
  for (const [why, asdu] of bad) t.throws(() => encodeAsdu(asdu), { name: 'RangeError', message: asdu.type }, why)
  t.equal(encodeAsdu(many(48, false)).length, 6 + 48 * 5)
  t.equal(encodeAsdu(many(120, true)).length, 249, 'the longest ASDU')
})

t.test('CP56Time2a agrees with the calendar on every day of the century', async (t) => {
  const wrong: string[] = []
  for (let wallMs = Date.UTC(2000, 0, 1, 23, 59, 59, 999); wallMs < Date.UTC(2100, 0, 1); wallMs += 86_400_000) {
    const w = new OctetWriter(7)
    writeCp56(w, cp56(wallMs))
    const [, , , , day = 0, month, year = 0] = w.finish()
    const date = new Date(wallMs)
    const expected = [date.getUTCDate(), date.getUTCDay() || 7, date.getUTCMonth() + 1, date.getUTCFullYear()]
    const back = readCp56(new OctetReader(w.finish()))
    const same = isDeepStrictEqual([day & 31, day >> 5, month, 2000 + year], expected) && back.wallMs === wallMs
    if (!same) wrong.push(date.toISOString())
  }
  t.strictSame(wrong, [])
})

t.test('CP56Time2a keeps IV, SU and the day of week as the peer gave them', async (t) => {
  const read = (hex: string) => readCp56(new OctetReader(octets(hex)))
  const write = (time: ReturnType<typeof read>) => {
    const w = new OctetWriter(7)
    writeCp56(w, time)
    return hexOf(w.finish())
  }
  const wallMs = Date.UTC(2024, 1, 29, 12, 0, 0, 1)
  t.strictSame(read('01 00 80 8c 1d 02 18'), { wallMs, invalid: true, summerTime: true, dayOfWeek: 0 })
  t.equal(write({ wallMs, invalid: true, summerTime: true, dayOfWeek: 0 }), '01 00 80 8c 1d 02 18')
  const unset = { wallMs: 0, invalid: true, summerTime: false, dayOfWeek: 0 }
  t.strictSame(read('00 00 80 00 00 00 00'), unset, 'an invalid time without a date is no error')
  t.equal(write(unset), '00 00 80 00 00 00 00')
  t.equal(cp56(wallMs + 0.9).wallMs, wallMs, 'parts of a millisecond are cut off')
  t.throws(() => cp56(Date.UTC(1999, 11, 31)), RangeError)
  t.throws(() => cp56(Date.UTC(2100, 0, 1)), RangeError)
  t.throws(() => cp56(Number.NaN), RangeError)
})

t.test('a relay sees the header of any type', async (t) => {
  t.strictSame(peekAsdu(octets('c8 02 c6 05 27 00 11 27 00 ff')), {
    typeId: 200,
    cot: 6,
    negative: true,
    test: true,
    oa: 5,
    ca: 39,
    ioa: 10_001,
    objectCount: 2,
  })
  t.match(peekAsdu(octets('01 00 03 00 01 00')), { ioa: 0, objectCount: 0 })
  t.equal(peekAsdu(octets('01 01 03 00 01')), undefined, 'no whole header')
  t.equal(peekAsdu(octets('01 01 03 00 01 00 01 00')), undefined, 'no whole address')
  t.equal(peekAsdu(new Uint8Array(250)), undefined, 'too long')
})

t.test('commands, requests and deactivations go down, all else goes up', async (t) => {
  const down = [45, 58, 69, 100, 113].flatMap((typeId) => [5, 6, 8].map((cause) => ({ typeId, cot: cause })))
  t.ok(down.every(isControlDirection))
  const up = [
    ...[1, 13, 36, 44, 70, 99, 114, 120].flatMap((typeId) => [3, 5, 6, 8].map((cause) => ({ typeId, cot: cause }))),
    ...[45, 64, 100, 107].flatMap((typeId) => [7, 9, 10, 44, 45, 46, 47].map((cause) => ({ typeId, cot: cause }))),
  ]
  t.notOk(up.some(isControlDirection))
})

t.test('a confirmation is the command with another cause', async (t) => {
  const command = octets('2d 01 86 05 0a 00 88 13 00 01')
  t.equal(hexOf(replyTo(command, { cot: cot.activationCon, negative: true })), '2d 01 c7 05 0a 00 88 13 00 01')
  t.equal(hexOf(replyTo(command, { cot: cot.activationTermination, negative: false })), '2d 01 8a 05 0a 00 88 13 00 01')
  t.equal(hexOf(command), '2d 01 86 05 0a 00 88 13 00 01', 'which is left as it was')
  t.throws(() => replyTo(command, { cot: 64, negative: false }), RangeError)
  t.throws(() => replyTo(octets('2d 01'), { cot: 7, negative: false }), RangeError)
})

t.test('APDU vectors', async (t) => {
  t.equal(hexOf(encodeU('startdtAct')), '68 04 07 00 00 00')
  t.equal(hexOf(encodeU('startdtCon')), '68 04 0b 00 00 00')
  t.equal(hexOf(encodeU('stopdtAct')), '68 04 13 00 00 00')
  t.equal(hexOf(encodeU('stopdtCon')), '68 04 23 00 00 00')
  t.equal(hexOf(encodeU('testfrAct')), '68 04 43 00 00 00')
  t.equal(hexOf(encodeU('testfrCon')), '68 04 83 00 00 00')
  t.equal(hexOf(encodeS(1)), '68 04 01 00 02 00')
  t.equal(hexOf(encodeS(32_767)), '68 04 01 00 fe ff')
  t.equal(hexOf(encodeI(129, 2, octets('66 01 05 00 01 00 01 00 00'))), '68 0d 02 01 04 00 66 01 05 00 01 00 01 00 00')
  t.strictSame(parseApdu(octets('68 04 43 00 00 00')), { format: 'U', function: 'testfrAct' })
  t.strictSame(parseApdu(octets('68 04 01 00 fe ff')), { format: 'S', recvSeq: 32_767 })
  t.strictSame(parseApdu(octets('68 05 fe ff 00 01 aa')), {
    format: 'I',
    sendSeq: 32_767,
    recvSeq: 128,
    asdu: octets('aa'),
  })
  for (const seq of [-1, 0.5, 32_768]) t.throws(() => encodeS(seq), RangeError)
  for (const size of [0, 250]) t.throws(() => encodeI(0, 0, new Uint8Array(size)), RangeError)
})

t.test('APDUs with anything but the standard in them are refused', async (t) => {
  const cases: [why: string, hex: string, code: WireFault['code'], offset: number][] = [
    ['five octets', '68 04 43 00 00', 'TRUNCATED', 0],
    ['another start octet', '10 04 43 00 00 00', 'BAD_START', 0],
    ['length too small', '68 03 43 00 00 00', 'BAD_LENGTH', 1],
    ['length too large', '68 05 43 00 00 00', 'BAD_LENGTH', 1],
    ['length 254', `68 fe ${'00'.repeat(254)}`, 'BAD_LENGTH', 1],
    ['an I-frame without an ASDU', '68 04 00 00 00 00', 'BAD_LENGTH', 1],
    ['an S-frame with an ASDU', '68 05 01 00 00 00 aa', 'BAD_LENGTH', 1],
    ['a U-frame with an ASDU', '68 05 43 00 00 00 aa', 'BAD_LENGTH', 1],
    ['two functions', '68 04 0f 00 00 00', 'BAD_CONTROL', 2],
    ['no function', '68 04 03 00 00 00', 'BAD_CONTROL', 2],
    ['a U-frame with a number', '68 04 43 00 02 00', 'BAD_CONTROL', 3],
    ['an S-frame with N(S)', '68 04 05 00 00 00', 'BAD_CONTROL', 2],
    ['an S-frame with a high N(S)', '68 04 01 01 00 00', 'BAD_CONTROL', 3],
    ['the reserved bit of an S-frame', '68 04 01 00 01 00', 'BAD_CONTROL', 4],
    ['the reserved bit of an I-frame', '68 05 00 00 01 00 aa', 'BAD_CONTROL', 4],
  ]
  for (const [why, hex, code, offset] of cases) {
    t.strictSame(
      outcome(() => parseApdu(octets(hex))),
      { code, offset },
      why,
    )
  }
})

t.test('a byte stream gives the same APDUs however it is cut', async (t) => {
  const anApdu = fc.oneof(
    fc.constant(encodeU('testfrAct')),
    fc.nat(32_767).map(encodeS),
    fc.uint8Array({ minLength: 1, maxLength: 249 }).map((asdu) => encodeI(1, 2, asdu)),
  )
  const property = fc.property(fc.array(anApdu), fc.array(fc.integer({ min: 1, max: 300 })), (apdus, cuts) => {
    const stream = Buffer.concat(apdus)
    const deframer = new StreamDeframer()
    const out: Uint8Array[] = []
    let at = 0
    for (const size of [...cuts, stream.length]) {
      const { apdus: cut, fault } = deframer.push(stream.subarray(at, at + size))
      if (fault !== undefined) return false
      out.push(...cut)
      at += size
    }
    return isDeepStrictEqual(out.map(hexOf), apdus.map(hexOf))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('a byte stream that loses its framing ends after the APDUs before the loss', async (t) => {
  const deframer = new StreamDeframer()
  const { apdus, fault } = deframer.push(octets('68 04 43 00 00 00 00 68 04 43 00 00 00'))
  t.strictSame(apdus.map(hexOf), ['68 04 43 00 00 00'])
  t.strictSame(fault?.fault, { code: 'BAD_START', octet: 0 })
  t.strictSame(deframer.push(octets('68 04 43 00 00 00')), { apdus: [], fault }, 'for good')
  for (const length of ['03', 'fe', 'ff']) {
    t.match(new StreamDeframer().push(octets(`68 ${length}`)).fault, { fault: { code: 'BAD_LENGTH' } })
  }
})

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

/** Any value of an element: read from any octets, save times and segments, which not all octets are. */
function arbitraryValue(element: elements.Element<unknown>): fc.Arbitrary<unknown> {
  if (element === elements.CP56) {
    return fc.record(
      {
        wallMs: fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2100, 0, 1) - 1 }),
        invalid: fc.boolean(),
        summerTime: fc.boolean(),
        dayOfWeek: fc.nat(7),
      },
      { noNullPrototype: true },
    )
  }
  if (element === elements.CP24)
    return fc.record({ hourMs: fc.nat(3_599_999), invalid: fc.boolean() }, { noNullPrototype: true })
  if (element === elements.CP16) return fc.nat(59_999)
  if (element === elements.SEGMENT) return fc.uint8Array({ maxLength: 236 })
  return fc
    .uint8Array({ minLength: element.sizeBytes, maxLength: element.sizeBytes })
    .map((bytes) => element.read(new OctetReader(bytes)))
}

function arbitraryAsdu(name: TypeName): fc.Arbitrary<Asdu> {
  const { fields, shape } = layoutOf(name)
  const value = fc.record(Object.fromEntries(fields.map(({ name, element }) => [name, arbitraryValue(element)])), {
    noNullPrototype: true,
  })
  const values = fc.array(value, { minLength: 1, maxLength: shape === 'one' ? 1 : 10 })
  const header = fc.record(
    {
      cot: fc.nat(63),
      negative: fc.boolean(),
      test: fc.boolean(),
      oa: fc.nat(255),
      ca: fc.nat(65_535),
      sq: shape === 'sequence' ? fc.boolean() : fc.constant(false),
    },
    { noNullPrototype: true },
  )
  return fc.tuple(header, values, fc.nat(2 ** 24 - 20), fc.infiniteStream(fc.nat(2 ** 24 - 1))).map(
    ([fields, list, firstIoa, ioas]) =>
      ({
        type: name,
        ...fields,
        objects: list.map((value, i) => ({ ioa: fields.sq ? firstIoa + i : (ioas.next().value ?? 0), value })),
      }) as unknown as Asdu,
  )
}

t.test('what is made of a Buffer does not share its memory', async (t) => {
  const command = Buffer.from(
    encodeAsdu(
      asduOf('C_SC_NA_1', {
        cot: cot.activation,
        ca: 1,
        objects: [{ ioa: 5, value: { sco: { on: true, qu: 0, select: false } } }],
      }),
    ),
  )
  const before = Buffer.from(command.toString('hex'), 'hex')
  replyTo(command, { cot: cot.activationCon, negative: false })
  t.same(command, before, 'a reply leaves the command as it is')
})
