/** What a capture of a live lab is held against: the counters of its nodes, and key logs that are missing or wrong. */
import type { DecodedFrame } from '../../src/cli/decode/decoder.ts'

type Fact = Readonly<Record<string, string | number | boolean | null>>

/** `channel type` -> ASDUs captured, repetitions left out. */
export function capturedAsdus(decoded: readonly DecodedFrame[]): Map<string, number> {
  const sent = new Map<string, number>()
  for (const { opened, fields, content } of decoded) {
    if (opened?.sequence !== 'new' || content?.kind !== 'apdu' || content.apdu.format !== 'I') continue
    const key = `${fields?.channel} ${content.apdu.asdu[0]}`
    sent.set(key, (sent.get(key) ?? 0) + 1)
  }
  return sent
}

/** `channel type` -> ASDUs that the sending node has counted. */
export function countedAsdus(eventsJsonl: string): Map<string, number> {
  const events: Fact[] = eventsJsonl
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  // The channel a node sends on is the one whose stream it keeps the sender's books of.
  const channelOf = new Map(
    events
      .filter(({ name, side }) => name === 'books' && side === 'sender')
      .map(({ node, channel }) => [`${node} ${Number(channel) >> 1}`, channel]),
  )
  const counted = new Map<string, number>()
  for (const { name, node, link, ...facts } of events) {
    if (name !== 'counters') continue
    for (const [fact, count] of Object.entries(facts)) {
      const typeId = /^sentType(\d+)$/.exec(fact)?.[1]
      if (typeId !== undefined) counted.set(`${channelOf.get(`${node} ${link}`)} ${typeId}`, Number(count))
    }
  }
  return counted
}

/** What frames of one verdict are, for a filter or a message. */
export function verdicts(decoded: readonly DecodedFrame[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { opened } of decoded) counts[opened?.tag ?? 'none'] = (counts[opened?.tag ?? 'none'] ?? 0) + 1
  return counts
}

export type SpoiltKeyLog = {
  readonly keyLog: string
  /** Numbers of the frames whose tag needs the octet that was changed. */
  readonly frames: readonly number[]
}

/**
 * A key log in which one octet of key is wrong, in the lines of both ends: the first octet of the slots that authenticate a
 * frame sealed with a one-time pad.
 */
export function withOneOctetWrong(keyLog: string, decoded: readonly DecodedFrame[]): SpoiltKeyLog {
  const authSlotOf = ({ fields, opened }: DecodedFrame): number | undefined =>
    fields?.header?.suite === 'otp' ? opened?.aSlot : undefined
  const sealed = decoded.filter((frame) => authSlotOf(frame) !== undefined)
  const chosen = sealed[sealed.length >> 1]
  const slot = chosen && authSlotOf(chosen)
  const channel = chosen?.fields?.channel
  if (slot === undefined || channel === undefined) throw new Error('no frame is sealed with a one-time pad')
  const lines = keyLog.split('\n').map((line) => {
    const [kind, ofChannel, first, hex] = line.split(' ')
    const at = 8 * (slot - Number(first))
    if (kind !== 'K' || Number(ofChannel) !== channel || hex === undefined || at < 0 || at >= hex.length) return line
    const octet = (Number.parseInt(hex.slice(at, at + 2), 16) ^ 1).toString(16).padStart(2, '0')
    return `K ${ofChannel} ${first} ${hex.slice(0, at)}${octet}${hex.slice(at + 2)}`
  })
  const frames = decoded.filter((frame) => frame.fields?.channel === channel && authSlotOf(frame) === slot)
  return { keyLog: lines.join('\n'), frames: frames.map(({ frame }) => frame.number) }
}
