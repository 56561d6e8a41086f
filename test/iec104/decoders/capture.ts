/** A capture file of one TCP connection, written octet by octet: nothing of it comes from the code under test. */

const PORT = 2404
const LINKTYPE_RAW = 101

/** Octets of a pcap file (version 2.4) with one TCP segment for each payload, sent from port 2404. */
export function tcpCapture(payloads: readonly Uint8Array[]): Uint8Array {
  const head = Buffer.alloc(24)
  head.writeUInt32LE(0xa1b2_c3d4, 0)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  head.writeUInt32LE(65_535, 16)
  head.writeUInt32LE(LINKTYPE_RAW, 20)
  let sequence = 1
  const records = payloads.map((payload, i) => {
    const packet = tcpPacket(sequence, payload)
    sequence += payload.length
    const record = Buffer.alloc(16)
    record.writeUInt32LE(1_700_000_000 + i, 0)
    record.writeUInt32LE(packet.length, 8)
    record.writeUInt32LE(packet.length, 12)
    return Buffer.concat([record, packet])
  })
  return Buffer.concat([head, ...records])
}

/** IPv4 and TCP headers of 20 octets each, then the payload. */
function tcpPacket(sequence: number, payload: Uint8Array): Buffer {
  const packet = Buffer.alloc(40 + payload.length)
  packet.writeUInt8(0x45, 0)
  packet.writeUInt16BE(packet.length, 2)
  packet.writeUInt8(64, 8)
  packet.writeUInt8(6, 9)
  packet.set([10, 0, 0, 1], 12)
  packet.set([10, 0, 0, 2], 16)
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10)
  packet.writeUInt16BE(PORT, 20)
  packet.writeUInt16BE(50_000, 22)
  packet.writeUInt32BE(sequence, 24)
  packet.writeUInt32BE(1, 28)
  packet.writeUInt8(5 << 4, 32)
  packet.writeUInt8(0x18, 33)
  packet.writeUInt16BE(0xffff, 34)
  packet.set(payload, 40)
  const pseudoHeader = Buffer.from([...packet.subarray(12, 20), 0, 6, 0, 20 + payload.length])
  packet.writeUInt16BE(checksum(Buffer.concat([pseudoHeader, packet.subarray(20)])), 36)
  return packet
}

/** Internet checksum, RFC 1071. */
function checksum(octets: Uint8Array): number {
  let sum = 0
  for (const [i, octet] of octets.entries()) sum += i % 2 === 0 ? octet << 8 : octet
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
