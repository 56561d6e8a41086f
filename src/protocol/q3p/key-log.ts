/**
 * Records of the key log, the one way by which key leaves a channel: what Wireshark, `q104 decode` and `q104 audit` need
 * to open a capture. Made only where a key log was asked for.
 *
 * ```
 * R <channel> <64-bit Msg-Id the epoch starts at> <r, 32 hex digits>
 * K <channel> <64-bit slot> <key stream octets from that slot on, hex>
 * ```
 */

/** First line of a key log. */
export const KEY_LOG_HEADER = '# q3p key log 1'

/** The octets are held by a closure, so that neither JSON nor inspection of the record shows them. */
export type KeyLogRecord = {
  /** The line, without its end. Can be taken once: the octets are overwritten then. */
  readonly line: () => string
}

/** Where a channel puts its records; absent unless a key log was asked for. */
export type KeyLogSink = (record: KeyLogRecord) => void

/** `at` is the Msg-Id of an R record, the slot of a K record; the octets are copied. */
export function keyLogRecord(
  kind: 'R' | 'K',
  channel: number,
  at: number,
  first: Uint8Array,
  second: Uint8Array = new Uint8Array(0),
): KeyLogRecord {
  let held: Uint8Array | undefined = new Uint8Array(first.length + second.length)
  held.set(first)
  held.set(second, first.length)
  return {
    line() {
      if (held === undefined) throw new Error('this key log record was written already')
      const digits = Array.from(held, (octet) => octet.toString(16).padStart(2, '0'))
      held.fill(0)
      held = undefined
      return `${kind} ${channel} ${at} ${digits.join('')}`
    },
  }
}

/** A line of a key log, read. */
export type KeyLogLine = {
  readonly kind: 'R' | 'K'
  readonly channel: number
  /** Msg-Id of an R line, slot of a K line. */
  readonly at: number
  readonly octets: Uint8Array
}

const LINE = /^([RK]) (\d{1,5}) (\d{1,16}) ((?:[0-9a-f]{2}){1,65536})$/

/** Reads one line; undefined for comments and empty lines, and 'bad' for what is no record. */
export function parseKeyLogLine(text: string): KeyLogLine | 'bad' | undefined {
  if (text === '' || text.startsWith('#')) return undefined
  const [, kind, channelText, atText, digits = ''] = LINE.exec(text) ?? []
  if (kind !== 'R' && kind !== 'K') return 'bad'
  const [channel, at] = [Number(channelText), Number(atText)]
  const isRightSize = kind === 'R' ? digits.length === 32 : digits.length % 8 === 0
  if (channel > 0xffff || !Number.isSafeInteger(at) || !isRightSize) return 'bad'
  const octets = Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16),
  )
  return { kind, channel, at, octets }
}
