/**
 * The Q3P header, version 2: 20 octets, big-endian, before the payload; a tag of 16 octets after it.
 *
 * ```
 *  0      4       8      9        10       12       16       20        20+n
 *  Length Msg-Id  Flags  Command  Channel  E-KeyId  A-KeyId  payload   A-Tag (16)
 * ```
 */
import { getU32, putU32 } from './octets.ts'
import type { FrameSuite, HeaderDrop } from './types.ts'

export const HEADER_BYTES = 20
export const TAG_BYTES = 16
/** Longest payload: the longest APDU of IEC 60870-5-104, start and length octets included. */
export const MAX_PAYLOAD_BYTES = 255
export const MAX_DATAGRAM_BYTES = HEADER_BYTES + MAX_PAYLOAD_BYTES + TAG_BYTES
export const MIN_DATAGRAM_BYTES = HEADER_BYTES + TAG_BYTES

/** Flags octet: version in the top three bits, then Z compressed (never set), A authenticated, E encrypted, S suite. */
const VERSION = 0x40
const VERSION_MASK = 0xe0
const FLAGS = { auth: VERSION | 0x02, otp: VERSION | 0x03, aes: VERSION | 0x0b } as const satisfies Record<
  FrameSuite,
  number
>
const SUITES = new Map<number, FrameSuite>([
  [FLAGS.auth, 'auth'],
  [FLAGS.otp, 'otp'],
  [FLAGS.aes, 'aes'],
])

const COMMANDS = ['handshake', 'load', 'loadRequest', 'store', 'data'] as const
/** HANDSHAKE 0, LOAD 1, LOAD-REQUEST 2, STORE 3, DATA 4. */
export type Command = (typeof COMMANDS)[number]

export type Header = {
  /** Low 32 bits of the message counter. */
  readonly msgId: number
  readonly suite: FrameSuite
  readonly command: Command
  /** 2 x link number + direction, 0..65535. */
  readonly channel: number
  /** Low 32 bits of the slot where the encryption key starts; 0 without encryption. */
  readonly eKeyId: number
  /** Low 32 bits of the slot where the authentication key starts; 0 with 'aes'. */
  readonly aKeyId: number
}

/** A new datagram with its header written, payload and tag still zero. Numbers above 32 bits are cut to their low 32. */
export function newDatagram(header: Header, payloadBytes: number): Uint8Array {
  if (payloadBytes > MAX_PAYLOAD_BYTES)
    throw new RangeError(`payload of ${payloadBytes} octets, not 0..${MAX_PAYLOAD_BYTES}`)
  const datagram = new Uint8Array(HEADER_BYTES + payloadBytes + TAG_BYTES)
  putU32(datagram, 0, datagram.length)
  putU32(datagram, 4, header.msgId)
  datagram[8] = FLAGS[header.suite]
  datagram[9] = COMMANDS.indexOf(header.command)
  datagram[10] = header.channel >> 8
  datagram[11] = header.channel
  putU32(datagram, 12, header.eKeyId)
  putU32(datagram, 16, header.aKeyId)
  return datagram
}

/** Reads and checks the header of a received datagram: length, version, flags, command, in this order. Never throws. */
export function parseHeader(datagram: Uint8Array): Header | { readonly drop: HeaderDrop } {
  const sizeBytes = datagram.length
  if (sizeBytes < MIN_DATAGRAM_BYTES || sizeBytes > MAX_DATAGRAM_BYTES) return { drop: 'length' }
  if (getU32(datagram, 0) !== sizeBytes) return { drop: 'length' }
  const flags = datagram[8] ?? 0
  if ((flags & VERSION_MASK) !== VERSION) return { drop: 'version' }
  const suite = SUITES.get(flags)
  if (suite === undefined) return { drop: 'flags' }
  const command = COMMANDS[datagram[9] ?? 0]
  if (command === undefined) return { drop: 'command' }
  if (command === 'handshake' && suite !== 'auth') return { drop: 'flags' }
  return {
    msgId: getU32(datagram, 4),
    suite,
    command,
    channel: ((datagram[10] ?? 0) << 8) | (datagram[11] ?? 0),
    eKeyId: getU32(datagram, 12),
    aKeyId: getU32(datagram, 16),
  }
}
