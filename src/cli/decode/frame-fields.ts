import { HEADER_BYTES, type Header, parseHeader, TAG_BYTES } from '../../protocol/index.ts'

/** The fields of a Q3P datagram as they stand in it, whether they make sense or not. */
export type FrameFields = {
  readonly lengthField: number
  /** Low 32 bits of the message counter. */
  readonly msgIdField: number
  readonly flags: number
  readonly commandField: number
  readonly channel: number
  readonly eKeyId: number
  readonly aKeyId: number
  /** Undefined when the datagram has not the room for a tag. */
  readonly payload: Uint8Array | undefined
  readonly tag: Uint8Array | undefined
  /** What a receiver reads, or why it refuses the frame without a look at key or tag. */
  readonly header: Header | undefined
  readonly fault: 'length' | 'version' | 'flags' | 'command' | undefined
}

/** Reads a datagram of any octets; undefined when not even a header is there. */
export function readFields(datagram: Uint8Array): FrameFields | undefined {
  if (datagram.length < HEADER_BYTES) return undefined
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  const header = parseHeader(datagram)
  const tagOffset = datagram.length - TAG_BYTES
  const hasTag = tagOffset >= HEADER_BYTES
  return {
    lengthField: view.getUint32(0),
    msgIdField: view.getUint32(4),
    flags: view.getUint8(8),
    commandField: view.getUint8(9),
    channel: view.getUint16(10),
    eKeyId: view.getUint32(12),
    aKeyId: view.getUint32(16),
    payload: hasTag ? datagram.subarray(HEADER_BYTES, tagOffset) : undefined,
    tag: hasTag ? datagram.subarray(tagOffset) : undefined,
    header: 'drop' in header ? undefined : header,
    fault: 'drop' in header ? header.drop : undefined,
  }
}
