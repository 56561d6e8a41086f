/** Octets of a point's present state. Written here and not by the codec: a flood of events is nothing else but this. */
import { type TypeName, typeIdOf } from '../../protocol/index.ts'
import type { Point } from './point-database.ts'
import { type ElementState, encodeObject, kindRow, POINT_KINDS, type PointKind, type Quality } from './point-kinds.ts'

/** Header and address: where the elements of the first object begin. */
const OBJECT_AT = 9
const CP56_BYTES = 7
const NO_TIME = { wallMs: 0, invalid: true, summerTime: false, dayOfWeek: 0 } as const

const scratch = new Uint8Array(5)
const view = new DataView(scratch.buffer)

/** A time tag as it is sent. */
export type TimeTag = { readonly kind: 'none' | 'cp24' | 'cp56'; readonly octets: Uint8Array }

export const NO_TAG: TimeTag = { kind: 'none', octets: new Uint8Array() }

/** Elements of one object of the kind without time tag: the same octets as the codec gives. */
export function elementOctets(kind: PointKind, state: ElementState): Uint8Array {
  const { value, quality, transient, changes, reading } = state
  const qds = bitsOf(quality)
  switch (kind) {
    case 'single':
      scratch[0] = (qds & 0xf0) | (value === 1 ? 1 : 0)
      return scratch.slice(0, 1)
    case 'double':
      scratch[0] = (qds & 0xf0) | value
      return scratch.slice(0, 1)
    case 'step':
      scratch[0] = (value & 0x7f) | (transient ? 0x80 : 0)
      scratch[1] = qds
      return scratch.slice(0, 2)
    case 'bitstring':
      view.setUint32(0, value, true)
      break
    case 'packed':
      view.setUint16(0, value, true)
      view.setUint16(2, changes, true)
      break
    case 'float':
      view.setFloat32(0, value, true)
      break
    case 'normalized':
    case 'scaled':
      view.setInt16(0, kind === 'normalized' ? Math.round(value * 0x8000) : value, true)
      scratch[2] = qds
      return scratch.slice(0, 3)
    case 'counter':
      view.setInt32(0, reading.count, true)
      scratch[4] =
        reading.sequence | (reading.carry ? 0x20 : 0) | (reading.adjusted ? 0x40 : 0) | (reading.invalid ? 0x80 : 0)
      return scratch.slice(0, 5)
    default:
      // Protection events are rare, and have a type with a time tag only.
      return encodeObject(kind, { cot: 0, ca: 0, ioa: 0 }, state, { cp56: NO_TIME }).slice(OBJECT_AT, -CP56_BYTES)
  }
  scratch[4] = qds
  return scratch.slice(0, 5)
}

/** QDS, 7.2.6.3. */
function bitsOf({ overflow, blocked, substituted, notTopical, invalid }: Quality): number {
  return (
    (overflow ? 0x01 : 0) |
    (blocked ? 0x10 : 0) |
    (substituted ? 0x20 : 0) |
    (notTopical ? 0x40 : 0) |
    (invalid ? 0x80 : 0)
  )
}

type EventType = { readonly typeId: number; readonly isTagged: boolean }

/** Types of events by kind and time tag; a kind that has no type with the tag is sent without. */
const EVENT_TYPES: ReadonlyMap<PointKind, Readonly<Record<TimeTag['kind'], EventType>>> = new Map(
  (Object.keys(POINT_KINDS) as PointKind[]).map((kind) => {
    const { plain, cp24, cp56 } = kindRow(kind)
    const of = (tagged: TypeName | undefined): EventType => {
      const type = tagged ?? plain
      return { typeId: type === undefined ? 0 : typeIdOf(type), isTagged: tagged !== undefined }
    }
    return [kind, { none: of(undefined), cp24: of(cp24), cp56: of(cp56) }]
  }),
)

/** An ASDU that reports the point as it is now. RangeError when its kind is never sent without a time tag. */
export function eventOctets({ spec, kind, octets }: Point, cause: number, tag: TimeTag): Uint8Array {
  const { typeId = 0, isTagged = false } = EVENT_TYPES.get(kind)?.[tag.kind] ?? {}
  if (typeId === 0) throw new RangeError(`${kind} is not reported without a time tag`)
  const { ca, ioa } = spec
  const tagAt = OBJECT_AT + octets.length
  const asdu = new Uint8Array(isTagged ? tagAt + tag.octets.length : tagAt)
  asdu[0] = typeId
  asdu[1] = 1
  asdu[2] = cause
  asdu[4] = ca & 0xff
  asdu[5] = ca >> 8
  asdu[6] = ioa & 0xff
  asdu[7] = (ioa >> 8) & 0xff
  asdu[8] = ioa >> 16
  asdu.set(octets, OBJECT_AT)
  if (isTagged) asdu.set(tag.octets, tagAt)
  return asdu
}
