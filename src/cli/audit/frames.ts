import { type Header, parseHeader } from '../../protocol/index.ts'
import type { PcapngContent } from '../../runtime/index.ts'

/** A datagram of a capture that is a Q3P message by its header. Whether it is a true one is another question. */
export type AuditFrame = {
  /** Number in the capture, from 1, as Wireshark counts. */
  readonly number: number
  /** Name of the interface it passed: the link. */
  readonly interfaceName: string
  readonly header: Header
  readonly bytes: Uint8Array
}

export type Extracted = {
  readonly frames: readonly AuditFrame[]
  /** UDP datagrams that are no Q3P message. */
  readonly foreign: number
  /** Q3P messages with a wrong UDP checksum: damaged on the way, and dropped by the receiver's kernel. */
  readonly damaged: number
}

/** Octets of the link layer's header by LINKTYPE, and where it says what it carries. */
const LINK_LAYERS: ReadonlyMap<number, { readonly headerBytes: number; readonly typeOffset?: number }> = new Map([
  [1, { headerBytes: 14, typeOffset: 12 }],
  [101, { headerBytes: 0 }],
  [113, { headerBytes: 16, typeOffset: 14 }],
  [228, { headerBytes: 0 }],
  [276, { headerBytes: 20, typeOffset: 0 }],
])
const ETHERTYPE_IPV4 = 0x0800
const UDP = 17

/** The Q3P messages among the frames of a capture, in its order. */
export function q3pFrames({ frames, interfaces }: PcapngContent): Extracted {
  const found: AuditFrame[] = []
  let foreign = 0
  let damaged = 0
  for (const [index, { bytes, interfaceId }] of frames.entries()) {
    const { name = '', linkType = -1 } = interfaces[interfaceId] ?? {}
    const packet = ipv4Packet(bytes, linkType)
    const payload = packet && udpPayload(packet)
    if (packet === undefined || payload === undefined) continue
    const header = parseHeader(payload)
    if ('drop' in header) foreign += 1
    else if (!hasRightChecksum(packet)) damaged += 1
    else found.push({ number: index + 1, interfaceName: name, header, bytes: payload })
  }
  return { frames: found, foreign, damaged }
}

function ipv4Packet(bytes: Uint8Array, linkType: number): Uint8Array | undefined {
  const layer = LINK_LAYERS.get(linkType)
  if (layer === undefined) return undefined
  const { headerBytes, typeOffset } = layer
  if (typeOffset !== undefined && u16(bytes, typeOffset) !== ETHERTYPE_IPV4) return undefined
  const packet = bytes.subarray(headerBytes)
  return (packet[0] ?? 0) >> 4 === 4 ? packet : undefined
}

/** Undefined for what is no whole UDP datagram. */
function udpPayload(packet: Uint8Array): Uint8Array | undefined {
  const headerBytes = ((packet[0] ?? 0) & 15) * 4
  const isFragment = (u16(packet, 6) & 0x3fff) !== 0
  if (headerBytes < 20 || packet[9] !== UDP || isFragment || packet.length < headerBytes + 8) return undefined
  const end = headerBytes + u16(packet, headerBytes + 4)
  return end >= headerBytes + 8 && end <= packet.length ? packet.subarray(headerBytes + 8, end) : undefined
}

/**
 * Whether the UDP checksum is right, was not computed (0), or is the sum of the pseudo-header alone, which a capture on
 * the sending side has when the rest is left to the device.
 */
function hasRightChecksum(packet: Uint8Array): boolean {
  const headerBytes = ((packet[0] ?? 0) & 15) * 4
  const sizeBytes = u16(packet, headerBytes + 4)
  const stored = u16(packet, headerBytes + 6)
  const pseudo = onesSum(packet.subarray(12, 20), UDP + sizeBytes)
  if (stored === 0 || stored === pseudo) return true
  return onesSum(packet.subarray(headerBytes, headerBytes + sizeBytes), pseudo) === 0xffff
}

function onesSum(bytes: Uint8Array, start: number): number {
  let sum = start
  for (let index = 0; index < bytes.length; index += 2) sum += u16(bytes, index)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}
