/** Transfer of files, IEC 60870-5-101, 7.4.11: what the three exchanges share. */
import { type Asdu, cot, MAX_ASDU_BYTES } from '../../protocol/index.ts'
import { type Header, isForOriginator, isOfStation, type Received, refusalOf } from './exchange.ts'
import type { OperationResult } from './operation.ts'

/** Select and call qualifier, 7.2.6.30. */
export const SCQ = { default: 0, selectFile: 1, requestFile: 2, deactivateFile: 3, requestSection: 6 } as const
/** Last section or segment qualifier, 7.2.6.31. */
export const LSQ = { file: 1, fileDeactivated: 2, section: 3, sectionDeactivated: 4 } as const
/** Acknowledge file or section qualifier, 7.2.6.32. */
export const AFQ = { fileOk: 1, fileBad: 2, sectionOk: 3, sectionBad: 4 } as const
/** Fault in a negative acknowledgement: checksum. */
export const AFQ_CHECKSUM = 2
/** Octets of an ASDU before the segment's own: header 6, IOA 3, NOF 2, NOS 1, LOS 1. */
export const SEGMENT_BYTES = MAX_ASDU_BYTES - 13
/** Largest section, 7.2.6.35. */
export const SECTION_BYTES = 64_000
/** Times a section is asked for again after a wrong checksum. */
export const SECTION_RETRIES = 2

/** The file an exchange is about. */
export type FileAddress = { readonly ca: number; readonly ioa: number; readonly nof: number; readonly oa: number }

/** Checksum of a section or file: the sum of its octets modulo 256. */
export function checksumOf(octets: Uint8Array): number {
  let sum = 0
  for (const octet of octets) sum = (sum + octet) & 0xff
  return sum
}

/** Header of what we send about a file. */
export function fileHeader({ ca, oa }: FileAddress): { cot: number; ca: number; oa: number } {
  return { cot: cot.fileTransfer, ca, oa }
}

/** An ASDU about this file; undefined when it is about another one, or no file. */
export function aboutFile(received: Received, file: FileAddress): Asdu | undefined {
  const { header, asdu } = received
  const isMine = isOfStation(header.ca, file.ca) && header.ioa === file.ioa && isForOriginator(header.oa, file.oa)
  if (!isMine || asdu === undefined) return undefined
  const [object] = asdu.objects
  return object !== undefined && 'nof' in object.value && object.value.nof === file.nof ? asdu : undefined
}

/** A refusal of our request by its cause or P/N. */
export function fileRefusalOf(header: Header, file: FileAddress): OperationResult | undefined {
  const isAnswer = header.typeId >= 120 && header.typeId <= 127 && isForOriginator(header.oa, file.oa)
  const isMine = isAnswer && (header.ca === file.ca || header.cot === cot.unknownCa)
  return isMine ? refusalOf(header) : undefined
}

/** A refusal by a qualifier of the file transfer itself. */
export function fileRefused(ca: number, reason: string): OperationResult {
  return { kind: 'refused', cot: cot.fileTransfer, negative: false, ca, reason }
}
