import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import type { GridLine, GridMessage } from '../../src/grid/index.ts'
import {
  encodeGridMessage,
  GridLineDecoder,
  MAX_LINE_BYTES,
  parseGridReply,
  parseGridRequest,
} from '../../src/grid/index.ts'
import type { GridRequest } from '../../src/runtime/contract.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const faultOf = (line: GridLine<unknown>): string =>
  line.kind === 'fault' ? `${line.fault.code}: ${line.fault.reason}` : ''

const bus = fc.integer({ min: 1, max: 118 })
const id = fc.nat()
const finite = (max: number, min = 0): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true })
const request: fc.Arbitrary<GridRequest> = fc.oneof(
  fc.record({ kind: fc.constant('subscribe' as const), bus, periodMs: finite(3_600_000) }),
  fc.record({ kind: fc.constant('shed' as const), id, bus, loadMw: finite(1e6), breakerDelayMs: finite(60_000) }),
  fc.record({ kind: fc.constant('setpoint' as const), id, bus, deltaMw: finite(1e6, -1e6) }),
)
const reply = fc.oneof(
  fc.record(
    {
      kind: fc.constant('sample' as const),
      bus,
      tMs: finite(1e9),
      deltaFHz: finite(60, -60),
      voltagePu: finite(2),
      powerMw: finite(1e4, -1e4),
    },
    { requiredKeys: ['kind', 'bus', 'tMs', 'deltaFHz', 'voltagePu'] },
  ),
  fc.record(
    {
      kind: fc.constant('done' as const),
      id,
      ok: fc.boolean(),
      tMs: finite(1e9),
      reason: fc.string({ maxLength: 100 }),
    },
    { requiredKeys: ['kind', 'id', 'ok', 'tMs'] },
  ),
)

function decodeInPieces<M>(decoder: GridLineDecoder<M>, octets: Uint8Array, pieceBytes: number): GridLine<M>[] {
  const lines: GridLine<M>[] = []
  for (let i = 0; i < octets.length; i += pieceBytes) lines.push(...decoder.push(octets.subarray(i, i + pieceBytes)))
  return lines
}

function joined(messages: readonly GridMessage[]): Uint8Array {
  return Buffer.concat(messages.map(encodeGridMessage))
}

t.test('any messages come out as they went in, however the stream is cut', async (t) => {
  const wrong: string[] = []
  const pieces = fc.integer({ min: 1, max: 300 })
  const check = <M>(messages: readonly GridMessage[], lines: readonly GridLine<M>[]): void => {
    const carried = JSON.stringify(messages.map((message) => ({ kind: 'message', message })))
    if (!isDeepStrictEqual(JSON.parse(carried), lines)) wrong.push(carried)
  }
  fc.assert(
    fc.property(fc.array(request, { maxLength: 5 }), pieces, (messages, pieceBytes) => {
      check(messages, decodeInPieces(new GridLineDecoder(parseGridRequest), joined(messages), pieceBytes))
    }),
  )
  fc.assert(
    fc.property(fc.array(reply, { maxLength: 5 }), pieces, (records, pieceBytes) => {
      const messages = records as readonly GridMessage[]
      check(messages, decodeInPieces(new GridLineDecoder(parseGridReply), joined(messages), pieceBytes))
    }),
  )
  t.same(wrong, [])
})

t.test('any octets give messages or faults, never a throw, and the next good line is read', async (t) => {
  const good: GridRequest = { kind: 'subscribe', bus: 16, periodMs: 100 }
  const scraps = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.uint8Array({ minLength: 900, maxLength: 1300 }),
    fc.json().map(bytes),
    fc.constantFrom('\n', '\r\n', '{', '"kind":"shed"', '{"kind":"shed","id":3,"bus":1}', '\u{1f50c}').map(bytes),
    request.map(encodeGridMessage),
  )
  const wrong: string[] = []
  fc.assert(
    fc.property(fc.array(scraps, { maxLength: 8 }), fc.integer({ min: 1, max: 400 }), (parts, pieceBytes) => {
      const decoder = new GridLineDecoder(parseGridRequest)
      const noise = decodeInPieces(decoder, Buffer.concat(parts), pieceBytes)
      const last = [...decoder.push(bytes('\n')), ...decoder.push(encodeGridMessage(good))].at(-1)
      if (JSON.stringify(last) !== JSON.stringify({ kind: 'message', message: good })) wrong.push(JSON.stringify(last))
      for (const line of noise)
        if (line.kind === 'fault' && line.fault.reason.length > 200) wrong.push(line.fault.reason)
    }),
    { numRuns: 300 },
  )
  t.same(wrong, [])
})

t.test('a line says what is wrong with it', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['nonsense', 'NOT_JSON: not JSON'],
    ['[]', 'NOT_A_MESSAGE: not an object'],
    ['null', 'NOT_A_MESSAGE: not an object'],
    ['{}', 'NOT_A_MESSAGE: unknown kind'],
    ['{"kind":"open"}', 'NOT_A_MESSAGE: unknown kind'],
    ['{"kind":"sample","bus":1}', 'NOT_A_MESSAGE: unknown kind'],
    ['{"kind":"subscribe","bus":1}', 'NOT_A_MESSAGE: periodMs must be a number from 0 to 3600000'],
    ['{"kind":"subscribe","bus":1.5,"periodMs":100}', 'NOT_A_MESSAGE: bus must be an integer from 1'],
    ['{"kind":"subscribe","bus":"1","periodMs":100}', 'NOT_A_MESSAGE: bus must be an integer from 1'],
    ['{"kind":"subscribe","bus":1,"periodMs":100,"x":1}', 'NOT_A_MESSAGE: unknown field "x"'],
    ['{"kind":"subscribe","bus":1,"periodMs":100,"__proto__":{}}', 'NOT_A_MESSAGE: unknown field "__proto__"'],
    ['{"kind":"setpoint","id":-1,"bus":1,"deltaMw":1}', 'NOT_A_MESSAGE: id must be an integer from 0'],
    [
      '{"kind":"setpoint","id":1,"bus":1,"deltaMw":1e300}',
      'NOT_A_MESSAGE: deltaMw must be a number from -1000000 to 1000000',
    ],
    [
      '{"kind":"setpoint","id":1,"bus":1,"deltaMw":null}',
      'NOT_A_MESSAGE: deltaMw must be a number from -1000000 to 1000000',
    ],
  ]
  t.same(
    cases.map(([line]) => faultOf(parseGridRequest(bytes(line)))),
    cases.map(([, reason]) => reason),
  )
  t.equal(faultOf(parseGridRequest(new Uint8Array([0x22, 0xff, 0x22]))), 'NOT_UTF8: not UTF-8')
  t.match(
    parseGridRequest(bytes('{"kind":"shed","id":7,"bus":1}')),
    { fault: { id: 7 } },
    'with the id, to be answered',
  )
  t.match(parseGridReply(bytes('{"kind":"done","id":1,"ok":1,"tMs":0}')), {
    fault: { reason: 'ok must be true or false' },
  })
})

t.test('a line of 1024 octets is read, a longer one is reported once and dropped', async (t) => {
  const line = JSON.stringify({ kind: 'subscribe', bus: 1, periodMs: 100 })
  const decoder = new GridLineDecoder(parseGridRequest)
  t.match(decoder.push(bytes(`${line.padEnd(MAX_LINE_BYTES)}\n`)), [{ kind: 'message' }])
  const faults = decodeInPieces(decoder, bytes('x'.repeat(10_000)), 700)
  t.same(faults.map(faultOf), ['LINE_TOO_LONG: more than 1024 octets'])
  t.same(decoder.push(bytes('y\r\n\r\n\n')), [], 'the rest of it and empty lines give nothing')
  t.match(decoder.push(bytes(`${line}\r\n`)), [{ kind: 'message', message: { bus: 1 } }])
})

t.test('an over-long reason is cut so that the line stays within bounds', async (t) => {
  const octets = encodeGridMessage({ kind: 'done', id: 1, ok: false, tMs: 0, reason: '\u0001'.repeat(5000) })
  t.ok(octets.length <= MAX_LINE_BYTES + 1, `${octets.length}`)
})
