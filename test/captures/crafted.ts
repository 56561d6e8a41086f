/** Q3P frames made by hand, with known key, as a capture file and its key log. */
import {
  type Command,
  encodeHandshake,
  KEY_LOG_HEADER,
  newDatagram,
  sealAes,
  sealAuth,
  sealOtp,
} from '../../src/protocol/index.ts'
import { rawUdpPacket } from '../../src/runtime/index.ts'
import { PcapngWriter } from '../../src/runtime/pcapng.ts'
import { type Random, randomStream } from '../../src/sim/index.ts'

export const Q3P_PORT = 10_104
const START_MS = 1_767_225_600_000

export type CraftedFrame = {
  readonly datagram: Uint8Array
  readonly atMs?: number
  readonly source?: string
  readonly destination?: string
  readonly port?: number
}

/** A pcapng file of datagrams, one a millisecond unless they say when. Channel bit 0 tells who sends. */
export function captureOf(frames: readonly CraftedFrame[]): Uint8Array {
  const blocks: Uint8Array[] = []
  const writer = new PcapngWriter((block) => blocks.push(block))
  const interfaceId = writer.addInterface({ name: 'a-b' })
  for (const [index, { datagram, atMs = index, port = Q3P_PORT, ...ends }] of frames.entries()) {
    const isBack = ((datagram[11] ?? 0) & 1) === 1
    const { source = isBack ? '10.64.0.2' : '10.64.0.1', destination = isBack ? '10.64.0.1' : '10.64.0.2' } = ends
    const addresses = { sourceAddress: source, destinationAddress: destination }
    const bytes = rawUdpPacket({ ...addresses, sourcePort: port, destinationPort: port }, datagram)
    writer.frame({ interfaceId, timestampNs: BigInt(Math.round((START_MS + atMs) * 1000)) * 1000n, bytes })
  }
  return Buffer.concat(blocks)
}

/** Key of one slot, by channel and slot: what a test would draw from a stream. */
function slotKey(channel: number, slot: number): Uint8Array {
  return randomStream(7, `slot ${channel} ${slot}`).bytes(4)
}

export type Sealing = {
  readonly channel: number
  readonly msgId: number
  readonly command?: Exclude<Command, 'handshake'>
  /** First slot of the message's key (AES: of its AES key). */
  readonly slot: number
}

/** Seals frames and notes their key. */
export class Crafter {
  readonly #lines: string[] = []
  readonly #r = new Map<number, Uint8Array>()

  /** The key log of all frames so far. */
  get keyLog(): string {
    return `${[KEY_LOG_HEADER, ...this.#lines].join('\n')}\n`
  }

  handshake({ channel, msgId, slot }: Omit<Sealing, 'command'>, epoch = 1, name = ''): Uint8Array {
    const key = this.#key(channel, slot, 8)
    const [r, s] = [key.slice(0, 16), key.slice(16)]
    this.#r.set(channel, r)
    this.#lines.push(`R ${channel} ${msgId} ${Buffer.from(r).toString('hex')}`)
    const handshake = { epoch, answers: 0, msgId, acceptsMsgId: 0, acceptsSlot: slot, k: 12, aesMaxMessages: 64, name }
    const payload = encodeHandshake(handshake)
    const header = { msgId, suite: 'auth', command: 'handshake', channel, eKeyId: 0, aKeyId: slot } as const
    const datagram = newDatagram(header, payload.length)
    sealAuth(datagram, payload, { r, s })
    return datagram
  }

  otp({ channel, msgId, slot, command = 'data' }: Sealing, payload: Uint8Array): Uint8Array {
    const padSlots = Math.ceil(payload.length / 4)
    const key = this.#key(channel, slot, padSlots + 4)
    const header = { msgId, suite: 'otp', command, channel, eKeyId: slot, aKeyId: slot + padSlots } as const
    const datagram = newDatagram(header, payload.length)
    sealOtp(datagram, payload, key, { r: this.#rOf(channel), s: key.subarray(4 * padSlots) })
    return datagram
  }

  auth({ channel, msgId, slot, command = 'data' }: Sealing, payload: Uint8Array): Uint8Array {
    const s = this.#key(channel, slot, 4)
    const datagram = newDatagram({ msgId, suite: 'auth', command, channel, eKeyId: 0, aKeyId: slot }, payload.length)
    sealAuth(datagram, payload, { r: this.#rOf(channel), s })
    return datagram
  }

  aes({ channel, msgId, slot, command = 'data' }: Sealing, payload: Uint8Array): Uint8Array {
    const key = this.#key(channel, slot, 4)
    const datagram = newDatagram({ msgId, suite: 'aes', command, channel, eKeyId: slot, aKeyId: 0 }, payload.length)
    sealAes(datagram, payload, { key, channel, msgId })
    return datagram
  }

  #rOf(channel: number): Uint8Array {
    const r = this.#r.get(channel)
    if (r === undefined) throw new Error(`channel ${channel} has no epoch`)
    return r
  }

  #key(channel: number, slot: number, count: number): Uint8Array {
    const key = Buffer.concat(Array.from({ length: count }, (_, index) => slotKey(channel, slot + index)))
    this.#lines.push(`K ${channel} ${slot} ${key.toString('hex')}`)
    return key
  }
}

/** Frames that an attacker or a broken device might send: whole frames with octets changed, cut and added to, and noise. */
export function hostileFrames(frames: readonly Uint8Array[], count: number, seed: number): Uint8Array[] {
  const random = randomStream(seed, 'hostile')
  return Array.from({ length: count }, () => {
    const frame = frames[Math.floor(random.uniform() * frames.length)] ?? new Uint8Array(0)
    return mutated(frame, random)
  })
}

function mutated(frame: Uint8Array, random: Random): Uint8Array {
  const below = (limit: number): number => Math.floor(random.uniform() * limit)
  const bytes = frame.slice()
  switch (below(6)) {
    case 0:
      return random.bytes(below(400))
    case 1:
      return bytes.subarray(0, below(bytes.length + 1))
    case 2:
      return Buffer.concat([bytes, random.bytes(1 + below(40))])
    case 3: {
      // The header alone, so that lengths stay and the frame goes further.
      const at = 4 + below(16)
      bytes[at] = below(256)
      return bytes
    }
    default:
      for (let changes = 1 + below(4); changes > 0; changes -= 1) bytes[below(bytes.length)] = below(256)
      return bytes
  }
}
