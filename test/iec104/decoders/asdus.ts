/** ASDUs of every type of the type table: every bit of every element by itself, the extremes, the widest addresses. */
import { encodeI, MAX_ASDU_BYTES, SEQ_MODULUS } from '../../../src/protocol/iec104/apci.ts'
import { type Asdu, cot, encodeAsdu, MAX_OBJECTS } from '../../../src/protocol/iec104/asdu.ts'
import * as e from '../../../src/protocol/iec104/elements.ts'
import { OctetReader } from '../../../src/protocol/iec104/octets.ts'
import { type Cp56Time2a, cp56 } from '../../../src/protocol/iec104/time.ts'
import { layoutOf, TYPES, type TypeLayout, type TypeName } from '../../../src/protocol/iec104/types.ts'

/** An ASDU, and the I-frame that carries it. */
export type Sent = {
  readonly asdu: Asdu
  readonly sendSeq: number
  readonly recvSeq: number
  readonly apdu: Uint8Array
}

/** An element value as the tests walk it: by field, as the type table names them. */
export type Fields = { readonly [field: string]: unknown }

export const TYPE_NAMES = Object.keys(TYPES) as TypeName[]

const ONE_OCTET = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x20, 0x3f, 0x40, 0x55, 0x7f, 0x80, 0xaa, 0xc0, 0xff]
const UNSIGNED_16 = [0, 1, 0x55aa, 0xaa55, 0x00ff, 0x0100, 0x8000, 0xffff]
const SIGNED_16 = [0, 1, -1, 255, 256, -256, 1234, -32_768, 32_767]
const GROUPS = Array.from({ length: 17 }, (_, i) => 20 + i)

const TIMES: readonly Cp56Time2a[] = [
  cp56(Date.UTC(2026, 2, 15, 14, 30, 45, 678)),
  { ...cp56(Date.UTC(2026, 6, 1, 23, 59, 59, 999)), summerTime: true },
  { ...cp56(Date.UTC(2028, 1, 29)), invalid: true },
  cp56(Date.UTC(2000, 0, 1)),
  { ...cp56(Date.UTC(2069, 11, 31, 12, 0, 0, 1)), dayOfWeek: 0 },
  cp56(Date.UTC(2070, 0, 1, 1, 2, 3, 4)),
  { ...cp56(Date.UTC(2099, 11, 31, 23, 59, 59, 999)), summerTime: true, invalid: true },
  { wallMs: 0, invalid: true, summerTime: false, dayOfWeek: 0 },
  ...Array.from({ length: 7 }, (_, i) => cp56(Date.UTC(2026, 3 + i, 20 + i, 2 * i, 8 * i, 9 * i, 111 * i))),
]

const SAMPLES = new Map<unknown, readonly unknown[]>([
  [e.NVA, SIGNED_16.map((step) => step / 0x8000)],
  [e.SVA, SIGNED_16],
  [
    e.R32,
    [0, -0, 1.5, -1, 0.1, 123_456.789, -273.15, 3.4028234663852886e38, -3.4028234663852886e38]
      .concat([1.1754943508222875e-38, 1.401298464324817e-45, Infinity, -Infinity, Number.NaN])
      .map(Math.fround),
  ],
  [
    e.BCR,
    [0, 1, -1, 1234, -1234, 0x00ff_ff00, -0x8000_0000, 0x7fff_ffff].map((count, i) => ({
      count,
      sequence: [0, 1, 2, 4, 8, 16, 31, 21][i],
      carry: i % 2 === 1,
      adjusted: i % 3 === 1,
      invalid: i % 5 === 1,
    })),
  ],
  [e.BSI, [0, 1, 0x8000_0000, 0x1234_5678, 0xff00_00ff, 0x0000_ff00, 0xffff_ffff]],
  [
    e.SCD,
    [0, 1, 0x8000, 0x1234, 0xffff].flatMap((bits) => [
      { status: bits, changes: 0 },
      { status: 0x00f1, changes: bits },
    ]),
  ],
  [e.NOF, UNSIGNED_16],
  [e.LOF, [0, 1, 0x100, 0x1_0000, 0x12_3456, 64_000, 0xff_ffff]],
  [e.CP16, [0, 1, 255, 256, 0x0ff0, 59_999]],
  [
    e.CP24,
    [0, 1, 59_999, 60_000, 30 * 60_000 + 45_678, 3_599_999].flatMap((hourMs) => [
      { hourMs, invalid: false },
      { hourMs, invalid: true },
    ]),
  ],
  [e.CP56, TIMES],
  [e.SEGMENT, [0, 1, 3, 200, 236].map((size) => Uint8Array.from({ length: size }, (_, i) => 0xff - i))],
])

function samplesOf(name: string, element: e.Element<unknown>): readonly unknown[] {
  const listed = SAMPLES.get(element)
  if (listed !== undefined) return listed
  const octets = name === 'qoi' ? [...ONE_OCTET, ...GROUPS] : ONE_OCTET
  const values = octets.map((octet) => element.read(new OctetReader(Uint8Array.of(octet))))
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
}

/** As many values as the field with the most samples needs; the others go round beside it. */
function valuesOf(layout: TypeLayout): readonly Fields[] {
  const samples = layout.fields.map(({ name, element }) => ({ name, values: samplesOf(name, element) }))
  const count = Math.max(1, ...samples.map(({ values }) => values.length))
  return Array.from({ length: count }, (_, i) =>
    Object.fromEntries(samples.map(({ name, values }, f) => [name, values[(i + 3 * f) % values.length]])),
  )
}

const CAUSES = {
  monitor: [cot.spontaneous, cot.periodic, cot.backgroundScan, cot.request, cot.interrogatedByStation, 36, 37, 41],
  command: [
    cot.activation,
    cot.activationCon,
    cot.deactivation,
    cot.deactivationCon,
    cot.activationTermination,
    44,
    47,
  ],
  file: [cot.fileTransfer, cot.request],
}

function causesOf({ typeId }: TypeLayout): readonly number[] {
  if (typeId === 70) return [cot.initialized]
  if (typeId >= 120) return CAUSES.file
  return typeId < 45 ? CAUSES.monitor : CAUSES.command
}

const ADDRESSES = [1, 0xff, 0x100, 0xffff, 0x1_0000, 0x12_3456, 0xff_fffe, 0xff_ffff]

function addressAt(layout: TypeLayout, i: number): number {
  const isSystem = layout.typeId === 70 || (layout.typeId >= 100 && layout.typeId <= 107 && layout.typeId !== 102)
  return isSystem ? 0 : (ADDRESSES[i % ADDRESSES.length] ?? 0)
}

type Objects = readonly { readonly ioa: number; readonly value: Fields }[]

/** One object, all values, and as many as go into an ASDU. */
function listsOf(layout: TypeLayout, values: readonly Fields[], sq: boolean): readonly Objects[] {
  const sizeBytes = layout.sizeBytes ?? MAX_ASDU_BYTES
  const room = MAX_ASDU_BYTES - 6 - (sq ? 3 : 0)
  const most = Math.min(MAX_OBJECTS, Math.floor(room / (sizeBytes + (sq ? 0 : 3))))
  const chunks = [values.slice(0, 1)]
  for (let i = 1; i < values.length; i += most) chunks.push(values.slice(i, i + most))
  chunks.push(Array.from({ length: most }, (_, i) => values[i % values.length] ?? {}))
  return chunks.map((chunk, n) => {
    const bases = [0xff_ffff + 1 - chunk.length, 0xfffe, 0xff]
    const base = bases[n % bases.length] ?? 0
    return chunk.map((value, i) => ({ ioa: sq ? base + i : addressAt(layout, i + n), value }))
  })
}

type Content = { readonly layout: TypeLayout; readonly sq: boolean; readonly objects: Objects }

function contentsOf(name: TypeName): readonly Content[] {
  const layout = layoutOf(name)
  const values = valuesOf(layout)
  if (layout.shape === 'one') {
    return values.map((value, i) => ({ layout, sq: false, objects: [{ ioa: addressAt(layout, i), value }] }))
  }
  const modes = layout.shape === 'sequence' ? [false, true] : [false]
  return modes.flatMap((sq) => listsOf(layout, values, sq).map((objects) => ({ layout, sq, objects })))
}

/** Every type with its values; the header fields go round. */
function everyType(): readonly Asdu[] {
  const oas = [0, 5, 255]
  const cas = [1, 255, 256, 10, 65_534, 65_535]
  return TYPE_NAMES.flatMap((name) =>
    contentsOf(name).map(({ layout, sq, objects }, i) => {
      const causes = causesOf(layout)
      const header = {
        cot: causes[i % causes.length],
        negative: i % 4 === 1,
        test: i % 5 === 1,
        oa: oas[i % oas.length],
        ca: cas[i % cas.length],
      }
      return { type: name, ...header, sq, objects } as unknown as Asdu
    }),
  )
}

/** Every cause with P/N and T, on the shortest of ASDUs. */
function everyHeader(): readonly Asdu[] {
  return Array.from({ length: 256 }, (_, octet) => ({
    type: 'C_RD_NA_1',
    cot: octet & 0x3f,
    negative: (octet & 0x40) !== 0,
    test: (octet & 0x80) !== 0,
    oa: octet,
    ca: 1 + octet,
    sq: false,
    objects: [{ ioa: 0x01_0000 + octet, value: {} }],
  }))
}

/** All ASDUs in order, the send sequence number passing its turn at 32 767. */
export function everything(): readonly Sent[] {
  return [...everyType(), ...everyHeader()].map((asdu, i) => {
    const sendSeq = (SEQ_MODULUS - 100 + i) % SEQ_MODULUS
    const recvSeq = (i * 37) % SEQ_MODULUS
    return { asdu, sendSeq, recvSeq, apdu: encodeI(sendSeq, recvSeq, encodeAsdu(asdu)) }
  })
}
