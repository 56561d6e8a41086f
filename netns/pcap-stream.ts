/** A frame as a capture tool wrote it. */
export type CookedFrame = {
  /** Wall time, nanoseconds since 1970. */
  readonly timestampNs: bigint
  /** Interface of the namespace that the frame passed. */
  readonly interfaceIndex: number
  /** IPv4 packet. */
  readonly packet: Uint8Array
}

/** A capture tool wrote something that is no pcap stream of LINUX_SLL2 frames. */
export class PcapStreamError extends Error {
  override readonly name = 'PcapStreamError'
}

const LINKTYPE_LINUX_SLL2 = 276
const ETHERTYPE_IPV4 = 0x0800
const MICROSECOND_MAGIC = 0xa1b2c3d4
const NANOSECOND_MAGIC = 0xa1b23c4d
const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const COOKED_HEADER_BYTES = 20
const MAX_FRAME_BYTES = 262_144

/**
 * Reads a classic pcap stream as it grows, and strips the Linux cooked header, version 2 (LINKTYPE_LINUX_SLL2: protocol
 * in octets 0-1, interface index in octets 4-7, packet from octet 20). Frames that are not IPv4 are left out.
 */
export class PcapStream {
  #rest = new Uint8Array(0)
  #format: { readonly little: boolean; readonly nsPerUnit: bigint } | undefined

  /**
   * Takes the next piece of the stream; gives the frames that are whole by now.
   * @throws PcapStreamError if the stream cannot be read on.
   */
  push(piece: Uint8Array): CookedFrame[] {
    const bytes = new Uint8Array(this.#rest.length + piece.length)
    bytes.set(this.#rest)
    bytes.set(piece, this.#rest.length)
    const view = new DataView(bytes.buffer)
    const frames: CookedFrame[] = []
    let offset = 0
    if (this.#format === undefined && bytes.length >= FILE_HEADER_BYTES) {
      this.#format = readFormat(view)
      offset = FILE_HEADER_BYTES
    }
    while (this.#format !== undefined && bytes.length - offset >= RECORD_HEADER_BYTES) {
      const { little, nsPerUnit } = this.#format
      const length = view.getUint32(offset + 8, little)
      if (length > MAX_FRAME_BYTES) throw new PcapStreamError(`frame of ${length} bytes`)
      const start = offset + RECORD_HEADER_BYTES
      if (bytes.length - start < length) break
      offset = start + length
      if (length < COOKED_HEADER_BYTES || view.getUint16(start) !== ETHERTYPE_IPV4) continue
      const seconds = BigInt(view.getUint32(start - RECORD_HEADER_BYTES, little))
      const units = BigInt(view.getUint32(start - RECORD_HEADER_BYTES + 4, little))
      frames.push({
        timestampNs: seconds * 1_000_000_000n + units * nsPerUnit,
        interfaceIndex: view.getUint32(start + 4),
        packet: bytes.slice(start + COOKED_HEADER_BYTES, offset),
      })
    }
    this.#rest = bytes.slice(offset)
    return frames
  }
}

function readFormat(view: DataView): { readonly little: boolean; readonly nsPerUnit: bigint } {
  for (const little of [true, false]) {
    const magic = view.getUint32(0, little)
    if (magic !== MICROSECOND_MAGIC && magic !== NANOSECOND_MAGIC) continue
    const linkType = view.getUint32(20, little) & 0x0fff_ffff
    if (linkType !== LINKTYPE_LINUX_SLL2) throw new PcapStreamError(`link type ${linkType}, not LINUX_SLL2`)
    return { little, nsPerUnit: magic === NANOSECOND_MAGIC ? 1n : 1000n }
  }
  throw new PcapStreamError('no pcap file header')
}
