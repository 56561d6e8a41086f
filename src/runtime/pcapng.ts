/**
 * Capture files: pcapng (draft-ietf-opsawg-pcapng), written little-endian with nanosecond stamps, and read in either
 * byte order.
 */
import { appendFileSync, writeFileSync } from 'node:fs'

/** LINKTYPE_RAW: each frame begins with its IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101

export type PcapngSection = {
  readonly hardware?: string
  readonly os?: string
  /** Program that wrote the file. */
  readonly userAppl?: string
  readonly comment?: string
}

export type PcapngInterface = {
  readonly name: string
  readonly description?: string
  /** LINKTYPE_ number; `LINKTYPE_RAW` by default. */
  readonly linkType?: number
}

export type PcapngFrame = {
  /** What `addInterface` gave. */
  readonly interfaceId: number
  /** Wall time, nanoseconds since 1970. */
  readonly timestampNs: bigint
  readonly bytes: Uint8Array
  readonly comment?: string
}

const SECTION_HEADER = 0x0a0d0d0a
const INTERFACE_DESCRIPTION = 1
const ENHANCED_PACKET = 6
const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const OPTION = { end: 0, comment: 1, hardware: 2, os: 3, userAppl: 4, name: 2, description: 3, tsresol: 9 } as const
const MAX_OPTION_BYTES = 0xffff
const SNAPLEN = 262_144

/** Produces the blocks of a capture file and hands each to `sink`; the section header goes first. */
export class PcapngWriter {
  readonly #sink: (block: Uint8Array) => void
  #interfaces = 0

  constructor(sink: (block: Uint8Array) => void, section: PcapngSection = {}) {
    this.#sink = sink
    const body = new Uint8Array(16)
    const view = new DataView(body.buffer)
    view.setUint32(0, BYTE_ORDER_MAGIC, true)
    view.setUint16(4, 1, true)
    // Section length: not known in advance.
    view.setBigInt64(8, -1n, true)
    const { hardware, os, userAppl, comment } = section
    sink(
      block(SECTION_HEADER, [
        body,
        option(OPTION.comment, comment),
        option(OPTION.hardware, hardware),
        option(OPTION.os, os),
        option(OPTION.userAppl, userAppl),
      ]),
    )
  }

  /** Describes one more interface; gives its number for `frame`. */
  addInterface({ name, description, linkType = LINKTYPE_RAW }: PcapngInterface): number {
    const body = new Uint8Array(8)
    const view = new DataView(body.buffer)
    view.setUint16(0, linkType, true)
    view.setUint32(4, SNAPLEN, true)
    const tsresol = option(OPTION.tsresol, Uint8Array.of(9))
    const options = [option(OPTION.name, name), option(OPTION.description, description), tsresol]
    this.#sink(block(INTERFACE_DESCRIPTION, [body, ...options]))
    return this.#interfaces++
  }

  /**
   * Records one frame.
   * @throws RangeError if the interface has not been added, the time is negative, or the frame is above 262,144 bytes.
   */
  frame({ interfaceId, timestampNs, bytes, comment }: PcapngFrame): void {
    if (!(interfaceId >= 0 && interfaceId < this.#interfaces)) throw new RangeError(`no interface ${interfaceId}`)
    if (timestampNs < 0n) throw new RangeError(`time ${timestampNs} ns is before 1970`)
    if (bytes.length > SNAPLEN) throw new RangeError(`frame of ${bytes.length} bytes, more than ${SNAPLEN}`)
    const head = new Uint8Array(20)
    const view = new DataView(head.buffer)
    view.setUint32(0, interfaceId, true)
    view.setUint32(4, Number((timestampNs >> 32n) & 0xffff_ffffn), true)
    view.setUint32(8, Number(timestampNs & 0xffff_ffffn), true)
    view.setUint32(12, bytes.length, true)
    view.setUint32(16, bytes.length, true)
    this.#sink(block(ENHANCED_PACKET, [head, padded(bytes), option(OPTION.comment, comment)]))
  }
}

/** A capture file that grows: blocks are gathered and appended in chunks. */
export class PcapngFile {
  readonly path: string
  readonly writer: PcapngWriter
  #blocks: Uint8Array[] = []
  #bytes = 0

  /** Creates the file, or empties one that is there. Errors of the file system are thrown as they come. */
  constructor(path: string, section: PcapngSection = {}) {
    this.path = path
    writeFileSync(path, '')
    this.writer = new PcapngWriter((bytes) => {
      this.#blocks.push(bytes)
      this.#bytes += bytes.length
      if (this.#bytes >= 65_536) this.flush()
    }, section)
    this.flush()
  }

  /** Appends what has gathered. Call it last of all too. */
  flush(): void {
    if (this.#bytes === 0) return
    const bytes = concat(this.#blocks)
    this.#blocks = []
    this.#bytes = 0
    appendFileSync(this.path, bytes)
  }
}

export type PcapngContent = {
  readonly section: PcapngSection
  readonly interfaces: readonly (PcapngInterface & { readonly linkType: number })[]
  readonly frames: readonly PcapngFrame[]
  /** The last block is cut off, as when the writer was killed; all before it is here. */
  readonly truncated: boolean
}

/** These bytes are no pcapng file. `offset` is where reading stopped. */
export class PcapngError extends Error {
  override readonly name = 'PcapngError'
  readonly offset: number
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`)
    this.offset = offset
  }
}

type ReadInterface = PcapngInterface & { readonly linkType: number; readonly ticksPerS: bigint }
type ReadOption = { readonly code: number; readonly bytes: Uint8Array }

const MAX_INTERFACES = 65_536

/**
 * Reads a capture file; blocks of unknown type are skipped. Interfaces of several sections are numbered through, and
 * `section` is the first one's.
 * @throws PcapngError for anything that is not pcapng, with the offset.
 */
export function readPcapng(bytes: Uint8Array): PcapngContent {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const interfaces: ReadInterface[] = []
  const frames: PcapngFrame[] = []
  let section: PcapngSection | undefined
  let firstInterface = 0
  let little = true
  let offset = 0
  const content = (truncated: boolean): PcapngContent => ({
    section: section ?? {},
    interfaces: interfaces.map(({ ticksPerS: _, ...description }) => description),
    frames,
    truncated,
  })
  if (bytes.length < 28) throw new PcapngError('no section header', 0)
  while (offset < bytes.length) {
    if (bytes.length - offset < 12) return content(true)
    const isSection = view.getUint32(offset, true) === SECTION_HEADER
    if (isSection) little = byteOrder(view, offset)
    else if (section === undefined) throw new PcapngError('no section header', offset)
    const length = view.getUint32(offset + 4, little)
    if (length < 12 || length % 4 !== 0) throw new PcapngError(`block of ${length} bytes`, offset)
    if (length > bytes.length - offset) return content(true)
    const body = new DataView(bytes.buffer, bytes.byteOffset + offset + 8, length - 12)
    if (view.getUint32(offset + length - 4, little) !== length) throw new PcapngError('block lengths differ', offset)
    const type = view.getUint32(offset, little)
    if (isSection) {
      section ??= readSection(body, little, offset)
      firstInterface = interfaces.length
    } else if (type === INTERFACE_DESCRIPTION) {
      if (interfaces.length === MAX_INTERFACES) throw new PcapngError('too many interfaces', offset)
      interfaces.push(readInterface(body, little, offset))
    } else if (type === ENHANCED_PACKET) {
      frames.push(readFrame(body, { little, offset, interfaces, firstInterface }))
    }
    offset += length
  }
  return content(false)
}

/** Wall time as `PcapngFrame` wants it, from milliseconds since 1970 (microseconds are kept). */
export function wallNs(wallMs: number): bigint {
  return BigInt(Math.round(wallMs * 1000)) * 1000n
}

export type UdpEnds = {
  readonly sourceAddress: string
  readonly sourcePort: number
  readonly destinationAddress: string
  readonly destinationPort: number
}

/**
 * The IPv4 packet (RFC 791) that carries a payload by UDP (RFC 768), checksums included, for captures of frames that
 * this program sent or received without seeing their headers.
 * @throws RangeError if an address is no dotted IPv4 address, a port is not in 0..65535 or the payload is above 65,507 bytes.
 */
export function rawUdpPacket(ends: UdpEnds, payload: Uint8Array): Uint8Array {
  if (payload.length > 65_507) throw new RangeError(`UDP payload of ${payload.length} bytes`)
  const packet = new Uint8Array(28 + payload.length)
  const view = new DataView(packet.buffer)
  view.setUint8(0, 0x45)
  view.setUint16(2, packet.length)
  // Do not fragment, as Linux sends datagrams below the path's MTU.
  view.setUint16(6, 0x4000)
  view.setUint8(8, 64)
  view.setUint8(9, UDP)
  packet.set(addressOctets(ends.sourceAddress), 12)
  packet.set(addressOctets(ends.destinationAddress), 16)
  view.setUint16(10, ~onesSum(packet.subarray(0, 20)) & 0xffff)
  view.setUint16(20, checkedPort(ends.sourcePort))
  view.setUint16(22, checkedPort(ends.destinationPort))
  view.setUint16(24, 8 + payload.length)
  packet.set(payload, 28)
  view.setUint16(26, udpChecksum(packet, 20))
  return packet
}

/**
 * Completes, in place, the UDP checksum of an IPv4 packet captured on the sending side of a virtual interface: there the
 * field holds the sum of the pseudo-header only, the rest being left to the device. Any other packet stays as it is.
 */
export function completeUdpChecksum(packet: Uint8Array): void {
  const version = packet[0] ?? 0
  const headerBytes = (version & 15) * 4
  if (version >> 4 !== 4 || headerBytes < 20 || packet[9] !== UDP || packet.length < headerBytes + 8) return
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const fragment = view.getUint16(6) & 0x3fff
  if (fragment !== 0 || view.getUint16(2) !== packet.length) return
  const lengthBytes = packet.length - headerBytes
  if (view.getUint16(headerBytes + 4) !== lengthBytes) return
  if (view.getUint16(headerBytes + 6) !== onesSum(packet.subarray(12, 20), UDP + lengthBytes)) return
  view.setUint16(headerBytes + 6, 0)
  view.setUint16(headerBytes + 6, udpChecksum(packet, headerBytes))
}

const UDP = 17

function udpChecksum(packet: Uint8Array, headerBytes: number): number {
  const pseudo = onesSum(packet.subarray(12, 20), UDP + packet.length - headerBytes)
  // A sum of zero is sent as all ones: zero would mean "no checksum" (RFC 768).
  return ~onesSum(packet.subarray(headerBytes), pseudo) & 0xffff || 0xffff
}

/** Ones' complement sum of 16-bit words (RFC 1071), not inverted. */
function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

function addressOctets(address: string): number[] {
  const octets = address.split('.').map((text) => (/^\d{1,3}$/.test(text) ? Number(text) : 256))
  if (octets.length !== 4 || octets.some((octet) => octet > 255)) throw new RangeError(`no IPv4 address: ${address}`)
  return octets
}

function checkedPort(port: number): number {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new RangeError(`no UDP port: ${port}`)
  return port
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(parts)
  // Four zero bytes behind the body are the end of its options.
  const length = 12 + body.length + 4
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, length, true)
  bytes.set(body, 8)
  view.setUint32(length - 4, length, true)
  return bytes
}

function option(code: number, value: string | Uint8Array | undefined): Uint8Array {
  if (value === undefined) return new Uint8Array(0)
  const bytes = (typeof value === 'string' ? new TextEncoder().encode(value) : value).subarray(0, MAX_OPTION_BYTES)
  const head = new Uint8Array(4)
  const view = new DataView(head.buffer)
  view.setUint16(0, code, true)
  view.setUint16(2, bytes.length, true)
  return concat([head, padded(bytes)])
}

function padded(bytes: Uint8Array): Uint8Array {
  const padding = -bytes.length & 3
  return padding === 0 ? bytes : concat([bytes, new Uint8Array(padding)])
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

function byteOrder(view: DataView, offset: number): boolean {
  const magic = view.getUint32(offset + 8, true)
  if (magic === BYTE_ORDER_MAGIC) return true
  if (view.getUint32(offset + 8, false) === BYTE_ORDER_MAGIC) return false
  throw new PcapngError('no byte-order magic', offset + 8)
}

function readSection(body: DataView, little: boolean, offset: number): PcapngSection {
  if (body.byteLength < 16) throw new PcapngError('section header too short', offset)
  const options = readOptions(body, 16, little)
  return definedOnly({
    comment: text(options, OPTION.comment),
    hardware: text(options, OPTION.hardware),
    os: text(options, OPTION.os),
    userAppl: text(options, OPTION.userAppl),
  })
}

function readInterface(body: DataView, little: boolean, offset: number): ReadInterface {
  if (body.byteLength < 8) throw new PcapngError('interface description too short', offset)
  const options = readOptions(body, 8, little)
  const resolution = options.find(({ code }) => code === OPTION.tsresol)?.bytes[0] ?? 6
  const exponent = BigInt(resolution & 0x7f)
  return {
    name: text(options, OPTION.name) ?? '',
    ...definedOnly({ description: text(options, OPTION.description) }),
    linkType: body.getUint16(0, little),
    ticksPerS: resolution & 0x80 ? 2n ** exponent : 10n ** exponent,
  }
}

type FrameContext = {
  readonly little: boolean
  readonly offset: number
  readonly interfaces: readonly ReadInterface[]
  readonly firstInterface: number
}

function readFrame(body: DataView, { little, offset, interfaces, firstInterface }: FrameContext): PcapngFrame {
  if (body.byteLength < 20) throw new PcapngError('packet block too short', offset)
  const interfaceId = firstInterface + body.getUint32(0, little)
  const ticksPerS = interfaces[interfaceId]?.ticksPerS
  if (ticksPerS === undefined) throw new PcapngError('packet of an interface not described', offset)
  const length = body.getUint32(12, little)
  if (length > body.byteLength - 20) throw new PcapngError('packet longer than its block', offset)
  const ticks = (BigInt(body.getUint32(4, little)) << 32n) | BigInt(body.getUint32(8, little))
  const options = readOptions(body, 20 + length + (-length & 3), little)
  return {
    interfaceId,
    timestampNs: (ticks * 1_000_000_000n) / ticksPerS,
    bytes: new Uint8Array(body.buffer, body.byteOffset + 20, length).slice(),
    ...definedOnly({ comment: text(options, OPTION.comment) }),
  }
}

/** Options from `start` to the end of a block's body; what is cut off is left out. */
function readOptions(body: DataView, start: number, little: boolean): ReadOption[] {
  const options: ReadOption[] = []
  let offset = start
  while (offset + 4 <= body.byteLength) {
    const code = body.getUint16(offset, little)
    const length = body.getUint16(offset + 2, little)
    if (code === OPTION.end || offset + 4 + length > body.byteLength) break
    options.push({ code, bytes: new Uint8Array(body.buffer, body.byteOffset + offset + 4, length) })
    offset += 4 + length + (-length & 3)
  }
  return options
}

function text(options: readonly ReadOption[], code: number): string | undefined {
  const found = options.find((candidate) => candidate.code === code)
  return found === undefined ? undefined : new TextDecoder().decode(found.bytes)
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function definedOnly<T extends object>(facts: T): Defined<T> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as Defined<T>
}
