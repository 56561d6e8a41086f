import {
  type Apdu,
  type Asdu,
  decodeAsdu,
  type Handshake,
  parseApdu,
  parseHandshake,
  WireError,
  type WireFault,
} from '../../protocol/index.ts'
import { ChannelWatch, type Standing } from './channel-watch.ts'
import { type FrameFields, readFields } from './frame-fields.ts'
import { KeyBook } from './key-book.ts'
import { type FrameNumbers, openFrame, slotsOf, type Verdict } from './opener.ts'
import type { UdpFrame } from './udp-frames.ts'

/** What a payload in the clear holds. */
export type Content =
  | { readonly kind: 'handshake'; readonly handshake: Handshake }
  /** `asdu` of an I-frame: decoded, or why it cannot be. */
  | { readonly kind: 'apdu'; readonly apdu: Apdu; readonly asdu: Asdu | WireFault | undefined }
  | { readonly kind: 'malformed'; readonly why: string }

/** All that can be said of a frame. */
export type DecodedFrame = {
  readonly frame: UdpFrame
  /** Undefined when not even a header is there. */
  readonly fields: FrameFields | undefined
  /** Why a receiver refuses the frame at once; `cut`: the capture has it in part only. */
  readonly fault: NonNullable<FrameFields['fault']> | 'cut' | undefined
  /** Absent when the frame has a fault. */
  readonly opened?: FrameNumbers & Verdict & Standing & { readonly slots: number }
  /** Undefined when the payload is not in the clear, or of a command that has no known payload. */
  readonly content: Content | undefined
}

/** Follows the frames of a capture in their order. Takes hostile octets; never throws for them. */
export class Q3pDecoder {
  readonly #keys: KeyBook
  readonly #channels = new Map<number, ChannelWatch>()

  constructor(keys: KeyBook = new KeyBook()) {
    this.#keys = keys
  }

  decode(frame: UdpFrame): DecodedFrame {
    const datagram = frame.payload
    const isCut = datagram.length < frame.payloadBytes
    const fields = readFields(datagram)
    const { header, payload } = fields ?? {}
    if (isCut || header === undefined || payload === undefined) {
      return { frame, fields, fault: isCut ? 'cut' : (fields?.fault ?? 'length'), content: undefined }
    }
    const { channel } = header
    const watch = this.#channels.get(channel) ?? new ChannelWatch()
    this.#channels.set(channel, watch)
    const told = header.command === 'handshake' ? toldMsgId(payload, header.msgId) : undefined
    const numbers = watch.numbers(header, told, this.#keys.near(channel))
    const verdict = openFrame(datagram, header, payload, numbers, this.#keys)
    const standing = watch.take({
      ...numbers,
      number: frame.number,
      timestampNs: frame.timestampNs,
      source: frame.source,
      datagram,
      header,
      payloadBytes: payload.length,
      tag: verdict.tag,
      isTold: told !== undefined,
    })
    const slots = header.suite === 'aes' && !standing.rekeys ? 0 : slotsOf(header, numbers, payload.length).count
    const opened = { ...numbers, ...verdict, ...standing, slots }
    return { frame, fields, fault: undefined, opened, content: contentOf(header.command, verdict.text) }
  }
}

/** A HANDSHAKE says its Msg-Id whole. */
function toldMsgId(payload: Uint8Array, msgIdField: number): number | undefined {
  const told = parseHandshake(payload)?.msgId
  return told !== undefined && told % 2 ** 32 === msgIdField ? told : undefined
}

function contentOf(command: string, text: Uint8Array | undefined): Content | undefined {
  if (text === undefined) return undefined
  if (command === 'handshake') {
    const handshake = parseHandshake(text)
    return handshake === undefined ? { kind: 'malformed', why: 'no handshake' } : { kind: 'handshake', handshake }
  }
  if (command !== 'data') return undefined
  const apdu = orFault(() => parseApdu(text))
  if ('code' in apdu) return { kind: 'malformed', why: apdu.code }
  return { kind: 'apdu', apdu, asdu: apdu.format === 'I' ? orFault(() => decodeAsdu(apdu.asdu)) : undefined }
}

function orFault<T extends object>(read: () => T): T | WireFault {
  try {
    return read()
  } catch (error) {
    if (error instanceof WireError) return error.fault
    throw error
  }
}
