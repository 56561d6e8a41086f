/** How a file is cut for transfer: sections, and the segments that fit an ASDU. */

/** Octets of a segment: what 249 octets leave after header, IOA, name of file, name of section and length. */
export const SEGMENT_BYTES = 236
/** Names of sections are 1..255, so that a file of 2^24 - 1 octets has room. */
const SECTION_BYTES = 65_800
/** Longest file that its length element can tell. */
export const MAX_FILE_BYTES = 0xff_ffff

export function sectionCount(bytes: Uint8Array): number {
  return Math.max(1, Math.ceil(bytes.length / SECTION_BYTES))
}

/** Section 1..`sectionCount`; undefined for another number. */
export function sectionOf(bytes: Uint8Array, nos: number): Uint8Array | undefined {
  if (nos < 1 || nos > sectionCount(bytes)) return undefined
  return bytes.subarray((nos - 1) * SECTION_BYTES, nos * SECTION_BYTES)
}

/** Checksum of a section or a file: the sum of its octets modulo 256, 7.2.6.37. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (const octet of bytes) sum = (sum + octet) & 0xff
  return sum
}
