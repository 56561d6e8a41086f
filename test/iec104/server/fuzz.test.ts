/** Whatever octets come, they give effects or a close: never an exception, never more than the input is worth. */
import fc from 'fast-check'
import t from 'tap'
import { encodeI, encodeU } from '../../../src/protocol/index.ts'
import { ControlledStation, type StationEffect, type StationInput } from '../../../src/rtu/index.ts'
import { CONFIG, WALL_MS } from './harness.ts'

const files = [
  { ca: 1, ioa: 5, nof: 1, bytes: new Uint8Array(1_000) },
  { ca: 1, ioa: 6, nof: 1, writable: true },
]
const CONFIGURATION = { ...CONFIG, files, maxFileBytes: 10_000, backgroundMs: 1_000 }

function started(): ControlledStation {
  const station = new ControlledStation(CONFIGURATION)
  const inputs: StationInput[] = [
    { kind: 'start', wallMs: WALL_MS },
    { kind: 'connected', connection: 1, peer: '10.0.0.1:1' },
    { kind: 'octets', connection: 1, bytes: encodeU('startdtAct') },
  ]
  for (const input of inputs) station.handle(input, 0)
  return station
}

function isClosed(effects: readonly StationEffect[]): boolean {
  return effects.some(({ kind }) => kind === 'close')
}

/** ASDUs with a header that gets past the first checks more often than not. */
const asdu = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(45, 46, 47, 48, 49, 50, 51, 58, 63, 64, 100, 101, 102, 103, 104, 105, 106, 107),
      fc.nat(255),
    ),
    fc.oneof(fc.constant(1), fc.nat(255)),
    fc.oneof(fc.constantFrom(5, 6, 8, 13), fc.nat(255)),
    fc.nat(255),
    fc.constantFrom(1, 2, 65_535, 0, 777),
    fc.oneof(fc.constantFrom(0, 1, 5, 6, 11, 41, 51, 61, 101, 102, 111, 121, 131, 141, 151, 161), fc.nat(0xff_ffff)),
    fc.uint8Array({ maxLength: 30 }),
  )
  .map(([typeId, vsq, cause, oa, ca, ioa, rest]) =>
    Uint8Array.of(typeId, vsq, cause, oa, ca & 0xff, ca >> 8, ioa & 0xff, (ioa >> 8) & 0xff, ioa >> 16, ...rest),
  )
const fileAsdu = fc
  .tuple(
    fc.integer({ min: 110, max: 127 }),
    fc.constantFrom(5, 6, 13),
    fc.constantFrom(0, 5, 6, 61),
    fc.array(fc.oneof(fc.constantFrom(0, 1, 2, 3), fc.nat(255)), { minLength: 3, maxLength: 12 }),
  )
  .map(([typeId, cause, ioa, rest]) => Uint8Array.of(typeId, 1, cause, 0, 1, 0, ioa, 0, 0, ...rest))

t.test('any octets on a connection', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (chunks) => {
      const station = started()
      for (const bytes of chunks) station.handle({ kind: 'octets', connection: 1, bytes }, 1)
      return true
    }),
    { numRuns: 500 },
  )
  t.pass('no exception')
})

t.test('any ASDUs in I-frames with the right numbers, then time', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.oneof(asdu, asdu, fileAsdu), { maxLength: 40 }), fc.boolean(), (asdus, acks) => {
      const station = started()
      let nowMs = 1
      let sent = 2
      for (const [n, octets] of asdus.entries()) {
        const bytes = encodeI(n, acks ? sent : 0, octets)
        const effects = station.handle({ kind: 'octets', connection: 1, bytes }, nowMs)
        if (isClosed(effects)) break
        sent = 2 + station.status().connections.reduce((sum, { asdusSent }) => sum + asdusSent, 0) - 2
      }
      for (let step = 0; step < 50; step++) {
        nowMs = Math.max(nowMs, station.wakeAtMs ?? nowMs)
        for (const effect of station.handle({ kind: 'wake' }, nowMs)) {
          if (effect.kind === 'command') station.handle({ kind: 'commandDone', id: effect.command.id, ok: true }, nowMs)
        }
      }
      return true
    }),
    { numRuns: 1_000 },
  )
  t.pass('no exception')
})

t.test('any values from the process', async (t) => {
  const ioas = CONFIG.points.map(({ ioa }) => ioa)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...ioas), fc.double(), fc.double(), fc.double()), { maxLength: 30 }),
      (changes) => {
        const station = started()
        for (const [ioa, value, timeMs, elapsedMs] of changes) {
          station.handle({ kind: 'setPoint', ca: 1, ioa, value, timeMs, elapsedMs }, 1)
        }
        return true
      },
    ),
    { numRuns: 500 },
  )
  t.pass('no exception')
})

t.test('inputs for connections that are not there', async (t) => {
  const station = started()
  t.same(station.handle({ kind: 'octets', connection: 9, bytes: Uint8Array.of(1) }, 1), [])
  t.same(station.handle({ kind: 'disconnected', connection: 9 }, 1), [])
  t.same(station.handle({ kind: 'commandDone', id: 9, ok: true }, 1), [])
})

t.test('a configuration with faults names them all', async (t) => {
  const config = {
    points: [
      { ca: 0, ioa: 1, kind: 'single' as const },
      { ca: 1, ioa: 2, kind: 'double' as const, value: 4 },
      { ca: 1, ioa: 2, kind: 'double' as const, deadband: 1 },
      { ca: 1, ioa: 3, kind: 'counter' as const, group: 5 },
      { ca: 1, ioa: 4, kind: 'protectionTrip' as const, timeTag: 'none' as const, cycleMs: 1 },
    ],
    commands: [{ ca: 1, ioa: 9, kind: 'single' as const, pointIoa: 2 }],
    files: [{ ca: 1, ioa: 9, nof: 0 }],
  }
  let message = ''
  try {
    new ControlledStation(config)
  } catch (error) {
    message = error instanceof RangeError ? error.message : ''
  }
  t.same(message.split('\n').length, 10, message)
  t.match(message, /commands\[0\]: a single command cannot show on a double point/)
})
