/** Present values in as few ASDUs as they fit: for interrogation, scans and reading. */
import { MAX_ASDU_BYTES, MAX_OBJECTS, typeIdOf } from '../../protocol/index.ts'
import type { Point } from './point-database.ts'
import { kindRow, type PointKind } from './point-kinds.ts'

const HEADER_BYTES = 6
const IOA_BYTES = 3
/** A run of addresses at least this long is sent as a sequence (SQ = 1). */
const MIN_RUN = 4

/** Points that go into one ASDU. */
export type Page = {
  readonly typeId: number
  readonly ca: number
  /** SQ: the addresses count up from the first. */
  readonly sq: boolean
  readonly points: readonly Point[]
  readonly sizeBytes: number
}

/** Pages of points of one common address, given by ascending IOA. Kinds without a plain type are left out. */
export function pagesOf(points: readonly Point[]): readonly Page[] {
  const byKind = new Map<PointKind, Point[]>()
  for (const point of points) {
    if (kindRow(point.kind).plain === undefined) continue
    const alike = byKind.get(point.kind)
    if (alike === undefined) byKind.set(point.kind, [point])
    else alike.push(point)
  }
  return [...byKind.values()].flatMap((alike) => {
    const runs = runsOf(alike)
    const loose = runs.filter((run) => run.length < MIN_RUN).flat()
    const sequences = runs.filter((run) => run.length >= MIN_RUN)
    return [...sequences.flatMap((run) => cut(run, true)), ...cut(loose, false)]
  })
}

/** An ASDU with the values that the page's points have now. */
export function encodePage({ typeId, ca, sq, points, sizeBytes }: Page, cot: number, oa: number): Uint8Array {
  // Written here and not by the codec: the elements lie ready, and a scan of many points is nothing but copying.
  const asdu = new Uint8Array(sizeBytes)
  asdu[0] = typeId
  asdu[1] = points.length | (sq ? 0x80 : 0)
  asdu[2] = cot
  asdu[3] = oa
  asdu[4] = ca & 0xff
  asdu[5] = ca >> 8
  let offset = HEADER_BYTES
  for (const [i, { spec, octets }] of points.entries()) {
    if (i === 0 || !sq) {
      asdu[offset] = spec.ioa & 0xff
      asdu[offset + 1] = (spec.ioa >> 8) & 0xff
      asdu[offset + 2] = spec.ioa >> 16
      offset += IOA_BYTES
    }
    asdu.set(octets, offset)
    offset += octets.length
  }
  return asdu
}

function runsOf(points: readonly Point[]): Point[][] {
  const runs: Point[][] = []
  let lastIoa = Number.NaN
  for (const point of points) {
    if (point.spec.ioa === lastIoa + 1) runs.at(-1)?.push(point)
    else runs.push([point])
    lastIoa = point.spec.ioa
  }
  return runs
}

function cut(points: readonly Point[], sq: boolean): Page[] {
  const [first] = points
  const plain = first && kindRow(first.kind).plain
  if (first === undefined || plain === undefined) return []
  const elementBytes = first.octets.length
  const perObject = sq ? elementBytes : elementBytes + IOA_BYTES
  const fixedBytes = sq ? HEADER_BYTES + IOA_BYTES : HEADER_BYTES
  const size = Math.min(MAX_OBJECTS, Math.floor((MAX_ASDU_BYTES - fixedBytes) / perObject))
  const pages: Page[] = []
  for (let at = 0; at < points.length; at += size) {
    const part = points.slice(at, at + size)
    pages.push({
      typeId: typeIdOf(plain),
      ca: first.spec.ca,
      sq,
      points: part,
      sizeBytes: fixedBytes + part.length * perObject,
    })
  }
  return pages
}
