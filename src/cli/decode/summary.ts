import { CENTRE_MESSAGE_TYPE, typeIdOf } from '../../protocol/index.ts'
import { centrePartOf } from './centre-message.ts'
import type { Content, DecodedFrame } from './decoder.ts'

/** Name of messages between control centres, which have no label in the standard. */
const CENTRE = 'centre message'

/** Counts over a capture. */
export type CaptureCounts = {
  frames: number
  refused: number
  readonly tags: { good: number; bad: number; unverified: number }
  /** By sequence, without `new`. */
  readonly repeats: Map<string, number>
  /** ASDUs by channel and type, each Msg-Id once: what the sending node counts as sent. */
  readonly asdus: Map<number, Map<string, number>>
}

/** Gathers counts of frames as they are decoded. */
export class Summary {
  readonly counts: CaptureCounts = {
    frames: 0,
    refused: 0,
    tags: { good: 0, bad: 0, unverified: 0 },
    repeats: new Map(),
    asdus: new Map(),
  }

  add({ fault, opened, fields, content }: DecodedFrame): void {
    const { counts } = this
    counts.frames += 1
    if (fault !== undefined) counts.refused += 1
    if (opened === undefined || fields === undefined) return
    counts.tags[opened.tag] += 1
    if (opened.sequence !== 'new') {
      counts.repeats.set(opened.sequence, (counts.repeats.get(opened.sequence) ?? 0) + 1)
      return
    }
    if (opened.tag === 'bad' || content?.kind !== 'apdu') return
    const type = typeOf(content)
    if (type === undefined) return
    const byType = counts.asdus.get(fields.channel) ?? new Map<string, number>()
    counts.asdus.set(fields.channel, byType)
    byType.set(type, (byType.get(type) ?? 0) + 1)
  }

  /** Lines for people. */
  lines(): string[] {
    const { frames, refused, tags, repeats, asdus } = this.counts
    const parts = [
      `${frames} Q3P frames: tag good ${tags.good}, bad ${tags.bad}, unverified ${tags.unverified}`,
      ...(refused === 0 ? [] : [`refused ${refused}`]),
      ...[...repeats].map(([sequence, count]) => `${sequence} ${count}`),
    ]
    const channels = [...asdus].sort(([a], [b]) => a - b)
    return [
      parts.join(', '),
      ...channels.map(([channel, byType]) => {
        const types = [...byType].sort(([a], [b]) => idOf(a) - idOf(b)).map(([type, count]) => `${type} ${count}`)
        return `link ${channel >> 1}, direction ${channel & 1}: ${types.join(', ')}`
      }),
    ]
  }
}

function typeOf({ apdu, asdu }: Content & { readonly kind: 'apdu' }): string | undefined {
  if (asdu === undefined || apdu.format !== 'I') return undefined
  if (!('code' in asdu)) return asdu.type
  const centre = centrePartOf(apdu.asdu)
  return centre && `${CENTRE} (${centre.kind})`
}

function idOf(type: string): number {
  if (type.startsWith(CENTRE)) return CENTRE_MESSAGE_TYPE
  return typeIdOf(type as Parameters<typeof typeIdOf>[0])
}
