import { LINKTYPE_RAW, type readPcapng } from '../../runtime/index.ts'

/** A UDP datagram of a capture. */
export type UdpFrame = {
  /** Number of the frame in the file, from 1, as Wireshark counts. */
  readonly number: number
  /** Wall time, nanoseconds since 1970. */
  readonly timestampNs: bigint
  /** Name of the interface it was captured on; empty when the file does not say. */
  readonly interfaceName: string
  readonly source: string
  readonly destination: string
  readonly payload: Uint8Array
  /** Octets of the payload on the wire: more than `payload` holds when the capture cut the frame. */
  readonly payloadBytes: number
}

const UDP = 17
const IPV4 = 0x0800
const IPV6 = 0x86dd
const VLAN_TAGS = [0x8100, 0x88a8]
const IPV6_HEADER_BYTES = 40

/** Where the IP header begins, by link type (tcpdump.org/linktypes.html); undefined: no IP in this frame. */
const IP_OFFSET: ReadonlyMap<number, (bytes: Uint8Array) => number | undefined> = new Map([
  [LINKTYPE_RAW, () => 0],
  [228, () => 0],
  [229, () => 0],
  // BSD loopback: the address family in the byte order of the machine.
  [0, () => 4],
  [108, () => 4],
  [1, ethernet],
  [113, (bytes) => ipAfter(bytes, 14, 16)],
  [276, (bytes) => ipAfter(bytes, 0, 20)],
])

/** The UDP datagrams from or to a port, in the order of the file. What is no UDP over IP is passed over; never throws. */
export function* udpFrames(capture: ReturnType<typeof readPcapng>, port: number): Generator<UdpFrame> {
  for (const [index, { interfaceId, timestampNs, bytes }] of capture.frames.entries()) {
    const network = capture.interfaces[interfaceId]
    const offset = IP_OFFSET.get(network?.linkType ?? LINKTYPE_RAW)?.(bytes)
    const datagram = offset === undefined ? undefined : udpOf(bytes.subarray(offset), port)
    if (datagram === undefined) continue
    yield { number: index + 1, timestampNs, interfaceName: network?.name ?? '', ...datagram }
  }
}

function ethernet(bytes: Uint8Array): number | undefined {
  let at = 12
  while (VLAN_TAGS.includes(u16(bytes, at)) && at < bytes.length) at += 4
  return ipAfter(bytes, at, at + 2)
}

function ipAfter(bytes: Uint8Array, typeOffset: number, ipOffset: number): number | undefined {
  return [IPV4, IPV6].includes(u16(bytes, typeOffset)) ? ipOffset : undefined
}

type Datagram = Pick<UdpFrame, 'source' | 'destination' | 'payload' | 'payloadBytes'>

function udpOf(packet: Uint8Array, port: number): Datagram | undefined {
  const version = (packet[0] ?? 0) >> 4
  const ends = version === 4 ? ipv4(packet) : version === 6 ? ipv6(packet) : undefined
  if (ends === undefined) return undefined
  const { udp, source, destination } = ends
  const sizeBytes = u16(udp, 4)
  if (udp.length < 8 || sizeBytes <= 8 || (u16(udp, 0) !== port && u16(udp, 2) !== port)) return undefined
  return { source, destination, payload: udp.subarray(8, sizeBytes), payloadBytes: sizeBytes - 8 }
}

type Ends = { readonly udp: Uint8Array; readonly source: string; readonly destination: string }

function ipv4(packet: Uint8Array): Ends | undefined {
  const headerBytes = ((packet[0] ?? 0) & 15) * 4
  const isFragment = (u16(packet, 6) & 0x3fff) !== 0
  if (headerBytes < 20 || packet.length < headerBytes || packet[9] !== UDP || isFragment) return undefined
  return {
    udp: packet.subarray(headerBytes),
    source: packet.subarray(12, 16).join('.'),
    destination: packet.subarray(16, 20).join('.'),
  }
}

function ipv6(packet: Uint8Array): Ends | undefined {
  if (packet.length < IPV6_HEADER_BYTES || packet[6] !== UDP) return undefined
  return {
    udp: packet.subarray(IPV6_HEADER_BYTES),
    source: ipv6Text(packet.subarray(8, 24)),
    destination: ipv6Text(packet.subarray(24, 40)),
  }
}

/** The longest run of zero groups, two at least, shortened (RFC 5952). */
function ipv6Text(octets: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, index) => u16(octets, 2 * index).toString(16))
  const runs = [...groups.join(':').matchAll(/(?<![0-9a-f])0(?::0)+(?![0-9a-f])/g)]
  const longest = runs.reduce((best, [run]) => (run.length > best.length ? run : best), '')
  if (longest === '') return groups.join(':')
  const [before = '', after = ''] = groups.join(':').split(longest, 2)
  return `${before.replace(/:$/, '')}::${after.replace(/^:/, '')}`
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}
