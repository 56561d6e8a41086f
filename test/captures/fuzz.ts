/** Hostile octets through tshark with our dissector and through our own decoder, which must say the same of them. */
import { encodeI } from '../../src/protocol/index.ts'
import { octets, vectors } from '../protocol/iec104/vectors.ts'
import { type CraftedFrame, Crafter, captureOf, hostileFrames } from './crafted.ts'
import { complaints, decodeAll, disagreements, tshark, tsharkRows, withFiles } from './tshark.ts'

export type FuzzOptions = {
  readonly seed: number
  /** APDUs that are spoilt and then sealed. */
  readonly inner: number
  /** Frames spoilt after they were sealed; every sound one stands among them. */
  readonly outer: number
  /** Ways to run tshark: all of them in the long run, some in the tests. */
  readonly ways: readonly FuzzWay[]
}

export type FuzzWay = { readonly keys: boolean; readonly passes: 1 | 2 }

export const ALL_WAYS: readonly FuzzWay[] = [true, false].flatMap((keys) => [
  { keys, passes: 1 },
  { keys, passes: 2 },
])

/** What must be in no output, whatever the octets are. */
const SCRIPT_ERROR = /Lua Error|stack traceback|q3p\.lua:\d+/

/** What went wrong: disagreements on a field, complaints and bad ends of tshark, errors of the script. Empty: nothing. */
export function fuzz({ seed, inner, outer, ways }: FuzzOptions): {
  readonly frames: number
  readonly faults: string[]
} {
  const sound = vectors.map(([hex]) => encodeI(1, 2, octets(hex)))
  const { crafter, frames } = sealedPayloads(
    hostileFrames(sound, inner, 2 * seed).filter(({ length }) => length <= 255),
  )
  const hostile = hostileFrames(frames, outer, 2 * seed + 1)
  const mixed = hostile.flatMap((datagram, index): CraftedFrame[] => {
    const whole = frames[index]
    return [{ datagram }, ...(whole === undefined ? [] : [{ datagram: whole }])]
  })
  const pcapng = captureOf(mixed)
  const faults = withFiles(pcapng, crafter.keyLog, (capture, keys) =>
    ways.flatMap(({ keys: withKeys, passes }) => {
      const keyLog = withKeys ? keys : ''
      const more = passes === 2 ? ['-2'] : []
      const decoded = decodeAll(pcapng, withKeys ? crafter.keyLog : '')
      const tree = tshark(capture, keyLog, [...(passes === 2 ? ['-T', 'pdml'] : ['-V']), ...more])
      const found = [
        ...disagreements(decoded, tsharkRows(capture, keyLog, more)),
        ...complaints(tree),
        ...(tree.status === 0 ? [] : [`tshark ended with ${tree.status}`]),
        ...(SCRIPT_ERROR.test(tree.stdout) ? [`error of the script: ${SCRIPT_ERROR.exec(tree.stdout)?.[0]}`] : []),
      ]
      return found.map((fault) => `seed ${seed}, ${withKeys ? 'keys' : 'no keys'}, ${passes} passes: ${fault}`)
    }),
  )
  return { frames: mixed.length, faults }
}

function sealedPayloads(payloads: readonly Uint8Array[]): { readonly crafter: Crafter; readonly frames: Uint8Array[] } {
  const crafter = new Crafter()
  const frames = [crafter.handshake({ channel: 0, msgId: 0, slot: 0 })]
  for (const [index, payload] of payloads.entries()) {
    const suite = (['otp', 'aes', 'auth'] as const)[index % 3] ?? 'otp'
    frames.push(crafter[suite]({ channel: 0, msgId: index + 1, slot: 8 + 80 * index }, payload))
  }
  return { crafter, frames }
}
