/** Writes the low 32 bits of a number from 0 to 2^53 - 1, big-endian. */
export function putU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value / 0x1000000
  bytes[offset + 1] = value / 0x10000
  bytes[offset + 2] = value / 0x100
  bytes[offset + 3] = value
}

/** Reads 32 bits, big-endian, unsigned. The caller has checked the length. */
export function getU32(bytes: Uint8Array, offset: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]]
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

/** Writes a number from 0 to 2^53 - 1 as 64 bits, big-endian. */
export function putU64(bytes: Uint8Array, offset: number, value: number): void {
  putU32(bytes, offset, Math.floor(value / 0x1_0000_0000))
  putU32(bytes, offset + 4, value % 0x1_0000_0000)
}

/** Reads 64 bits, big-endian; exact below 2^53. */
export function getU64(bytes: Uint8Array, offset: number): number {
  return getU32(bytes, offset) * 0x1_0000_0000 + getU32(bytes, offset + 4)
}
