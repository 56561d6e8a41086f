/** What the station writes itself, for speed, is what the codec would write. */
import fc from 'fast-check'
import t from 'tap'
import { asduOf, encodeAsdu } from '../../../src/protocol/index.ts'
import { PointDatabase } from '../../../src/rtu/station/point-database.ts'
import { encodeObject, fitted, kindRow, POINT_KINDS, type PointKind } from '../../../src/rtu/station/point-kinds.ts'
import { elementOctets, eventOctets } from '../../../src/rtu/station/point-octets.ts'
import { StationClock } from '../../../src/rtu/station/station-clock.ts'
import { WALL_MS } from './harness.ts'

const OBJECT_AT = 9
const kinds = Object.keys(POINT_KINDS) as PointKind[]

const flags = fc.record({
  overflow: fc.boolean(),
  blocked: fc.boolean(),
  substituted: fc.boolean(),
  notTopical: fc.boolean(),
  invalid: fc.boolean(),
})
const reading = fc.record({
  count: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  sequence: fc.nat(31),
  carry: fc.boolean(),
  adjusted: fc.boolean(),
  invalid: fc.boolean(),
})
const states = fc.constantFrom(...kinds).chain((kind) => {
  const { min, max } = kindRow(kind)
  return fc.record({
    kind: fc.constant(kind),
    state: fc.record({
      value: fc.double({ min, max, noNaN: true }).map((value) => fitted(kind, value).value),
      quality: flags,
      transient: fc.boolean(),
      changes: fc.nat(0xffff),
      reading,
      elapsedMs: fc.nat(59_999),
    }),
  })
})
const walls = fc.integer({ min: WALL_MS, max: WALL_MS + 400 * 86_400_000 })

t.test('elements and events of every kind, value, quality and time', async (t) => {
  const clock = new StationClock(false)
  const header = { cot: 3, ca: 513, ioa: 70_000 }
  fc.assert(
    fc.property(states, walls, fc.constantFrom('none', 'cp24', 'cp56'), ({ kind, state }, wallMs, tag) => {
      const { plain, cp24 } = kindRow(kind)
      const point = new PointDatabase([]).add({ ca: 513, ioa: 70_000, kind })
      point.state = state
      point.octets = elementOctets(kind, state)
      if (plain !== undefined) same(point.octets, encodeObject(kind, header, state).slice(OBJECT_AT))
      if (tag === 'none' && plain === undefined) return
      const cp56 = clock.cp56(wallMs)
      const time =
        tag === 'none' ? {} : tag === 'cp56' ? { cp56 } : { cp24: { hourMs: wallMs % 3_600_000, invalid: false } }
      if (tag === 'cp24' && cp24 === undefined && plain === undefined) return
      same(eventOctets(point, 3, clock.tag(tag, wallMs)), encodeObject(kind, header, state, time))
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})

t.test('time tags, also of a clock that is not set and of times that are none', async (t) => {
  const clocks = [new StationClock(false), new StationClock(true)]
  fc.assert(
    fc.property(fc.oneof(walls, fc.double(), fc.constant(Number.NaN)), (wallMs) => {
      for (const clock of clocks) {
        const objects = [{ ioa: 0, value: { time: clock.cp56(wallMs) } }]
        const whole = encodeAsdu(asduOf('C_CS_NA_1', { cot: 0, ca: 0, objects })).slice(OBJECT_AT)
        same(clock.tag('cp56', wallMs).octets, whole)
        same(clock.tag('cp24', wallMs).octets, whole.subarray(0, 3))
      }
    }),
  )
  const [, unset] = clocks
  t.equal((unset?.tag('cp56', WALL_MS).octets[2] ?? 0) & 0x80, 0x80)
  unset?.set(WALL_MS, 0)
  t.equal((unset?.tag('cp56', WALL_MS).octets[2] ?? 0) & 0x80, 0)
})

function same(a: Uint8Array, b: Uint8Array): void {
  if (a.length !== b.length || a.some((octet, i) => octet !== b[i])) {
    throw new Error(`${Buffer.from(a).toString('hex')} is not ${Buffer.from(b).toString('hex')}`)
  }
}
