import {
  type Asdu,
  type AsduOf,
  asduOf,
  cot,
  peekAsdu,
  type TypeName,
  typeIdOf,
  typeName,
} from '../../protocol/index.ts'
import { ALL_STATIONS, type OperationResult } from './operation.ts'

/** Header of a received ASDU. */
export type Header = {
  readonly typeId: number
  readonly cot: number
  readonly negative: boolean
  readonly oa: number
  readonly ca: number
  /** Address of the first object. */
  readonly ioa: number
}

/** A received ASDU. Confirmations are told by their header, so that a field we cannot decode does no harm. */
export type Received = {
  readonly header: Header
  readonly octets: Uint8Array
  readonly asdu: Asdu | undefined
}

/** What an exchange does next. */
export type Step = {
  /** ASDUs, or the octets of one. */
  readonly send?: readonly (Asdu | Uint8Array)[]
  /** The time-out begins anew with this many ms; without it the one that runs goes on. */
  readonly waitMs?: number
  /** The first answer of the peer: times the confirmation. */
  readonly isConfirmation?: boolean
  readonly result?: OperationResult
}

/** One operation under way: a small state machine that sees the ASDUs received and its own time-out. */
export type Exchange = {
  begin(wallMs: number): Step
  /** Undefined: the ASDU is of no concern to this operation. */
  take(received: Received, wallMs: number): Step | undefined
  /** The time-out has passed. */
  expire(): Step
}

/** Times that exchanges wait, ms. */
export type Waits = {
  /** For each answer of the peer. */
  readonly timeoutMs: number
  /** Without news, until a broadcast is taken as answered by all, or an ACTTERM that need not come as not coming. */
  readonly quietMs: number
}

/** Reads the header of a received ASDU; undefined when it has none. */
export function headerOf(octets: Uint8Array, asdu: Asdu | undefined): Header | undefined {
  if (asdu === undefined) return peekAsdu(octets)
  const { type, negative, oa, ca, objects } = asdu
  return { typeId: typeIdOf(type), cot: asdu.cot, negative, oa, ca, ioa: objects[0]?.ioa ?? 0 }
}

/** An ASDU with one object. */
export function single<N extends TypeName>(
  type: N,
  header: { readonly cot: number; readonly ca: number; readonly oa: number },
  object: AsduOf<N>['objects'][number],
): AsduOf<N> {
  return asduOf(type, { ...header, objects: [object] } as Pick<AsduOf<N>, 'cot' | 'ca' | 'objects'> &
    Partial<AsduOf<N>>)
}

/** Whether a station with address `ca` answers a request to `asked`: some echo the broadcast address, others do not. */
export function isOfStation(ca: number, asked: number): boolean {
  return ca === asked || asked === ALL_STATIONS
}

/** Answers carry our originator address, or none: many stations leave it 0. */
export function isForOriginator(oa: number, own: number): boolean {
  return oa === own || oa === 0
}

const UNKNOWN: ReadonlyMap<number, string> = new Map([
  [cot.unknownTypeId, 'unknown type identification'],
  [cot.unknownCot, 'unknown cause of transmission'],
  [cot.unknownCa, 'unknown common address'],
  [cot.unknownIoa, 'unknown information object address'],
])

/** The refusal that a received ASDU is, or undefined: causes 44 to 47 refuse without P/N too. */
export function refusalOf(header: Header): OperationResult | undefined {
  const { negative, ca } = header
  const unknown = UNKNOWN.get(header.cot)
  if (unknown === undefined && !negative) return undefined
  const label = typeName(header.typeId) ?? `type ${header.typeId}`
  const reason = unknown ?? (header.cot === cot.activationTermination ? `${label} failed` : `${label} refused`)
  return { kind: 'refused', cot: header.cot, negative, ca, reason }
}

/** A confirmed result without data. */
export function confirmed(fields: Partial<Extract<OperationResult, { kind: 'confirmed' }>>): OperationResult {
  return { kind: 'confirmed', objectCount: 0, stations: [], ...fields }
}

/** Octets one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const octets = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    octets.set(part, offset)
    offset += part.length
  }
  return octets
}
