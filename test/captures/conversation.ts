/** A conversation in which every verdict on a frame comes up once at least. */
import { encodeI, encodeS, encodeU } from '../../src/protocol/index.ts'
import { type CraftedFrame, Crafter } from './crafted.ts'

export const TWO_32 = 2 ** 32
/** C_SC_NA_1 for CA 1, IOA 5003, on. */
export const SINGLE_COMMAND = Uint8Array.of(45, 1, 6, 0, 1, 0, 0x8b, 0x13, 0, 1)

export type Conversation = {
  readonly crafter: Crafter
  readonly frames: readonly CraftedFrame[]
  /** What each frame is, in order: sequence or fault, with its marks. */
  readonly verdicts: readonly string[]
}

export function conversation(): Conversation {
  const crafter = new Crafter()
  const frames: CraftedFrame[] = []
  const verdicts: string[] = []
  const say = (verdict: string, datagram: Uint8Array, more: Partial<CraftedFrame> = {}): Uint8Array => {
    frames.push({ datagram, ...more })
    verdicts.push(verdict)
    return datagram
  }
  const i = (seq: number): Uint8Array => encodeI(seq, 0, SINGLE_COMMAND)

  // Channel 0: a session from its HANDSHAKE on.
  const [channel, other] = [0, 1]
  const opening = say('new', crafter.handshake({ channel, msgId: 0, slot: 0 }, 7, 'centre'))
  say('new rekeys', crafter.aes({ channel, msgId: 1, slot: 8 }, encodeU('startdtAct')))
  const first = say('new', crafter.otp({ channel, msgId: 2, slot: 12 }, i(0)))
  const supervision = say('new', crafter.aes({ channel, msgId: 3, slot: 8 }, encodeS(0)))
  say('new', crafter.auth({ channel, msgId: 4, slot: 20 }, i(1)))
  say('retransmission of 3', first)
  say('replay of 4', supervision)
  say('replay of 1', opening)
  say('replay of 3', first, { atMs: 16_000 })
  say('conflict of 3 bad', withOctet(first, 30, (first[30] ?? 0) ^ 1))
  say('reflected of 3', first, { source: '10.64.0.2', destination: '10.64.0.1' })
  const fifth = crafter.otp({ channel, msgId: 5, slot: 24 }, i(2))
  say('reflected', fifth, { source: '10.64.0.9' })
  say('new', fifth)
  say('new gap 40', crafter.otp({ channel, msgId: 9, slot: 72 }, i(4)))
  say('new', crafter.otp({ channel, msgId: 7, slot: 40 }, i(3)))
  say('new reuse', crafter.otp({ channel, msgId: 10, slot: 72 }, i(5)))
  say('new gap 920 rekeys', crafter.aes({ channel, msgId: 11, slot: 1000 }, i(6)))
  // A new epoch: what was before is over.
  say('new gap 46', crafter.handshake({ channel, msgId: 20, slot: 1050 }, 8))
  say('replay of 13', fifth)
  say('new', crafter.otp({ channel, msgId: 21, slot: 1058 }, i(0)))
  say('new gap 934', crafter.otp({ channel, msgId: 2000, slot: 2000 }, i(1)))
  say('late', crafter.otp({ channel, msgId: 300, slot: 1100 }, i(2)))
  // Commands that carry no APDU, and payloads that are none.
  say('new', crafter.otp({ channel, msgId: 2001, slot: 2008, command: 'load' }, Uint8Array.of(1, 2, 3)))
  say('new malformed', crafter.otp({ channel, msgId: 2002, slot: 2013 }, Uint8Array.of(0x68, 9, 1)))
  say('new malformed', crafter.auth({ channel, msgId: 2003, slot: 2018 }, new Uint8Array(0)))

  // Channel 1 far on: counters and slots beyond 32 bits, told by the HANDSHAKE.
  const [msgId, slot] = [3 * TWO_32 - 2, 2 * TWO_32 - 10]
  say('new', crafter.handshake({ channel: other, msgId, slot }))
  say('new rekeys', crafter.aes({ channel: other, msgId: msgId + 1, slot: slot + 8 }, encodeU('startdtCon')))
  say('new', crafter.otp({ channel: other, msgId: msgId + 2, slot: slot + 12 }, i(0)))
  say('new', crafter.aes({ channel: other, msgId: msgId + 3, slot: slot + 8 }, i(1)))

  // Channel 2: the capture begins in the middle, under an AES key that is in use.
  crafter.handshake({ channel: 2, msgId: 5 * TWO_32, slot: 4 * TWO_32 })
  const [midId, midSlot] = [5 * TWO_32 + 70, 4 * TWO_32 + 500]
  say('new', crafter.aes({ channel: 2, msgId: midId, slot: midSlot }, encodeS(5)))
  say('new', crafter.otp({ channel: 2, msgId: midId + 1, slot: midSlot + 300 }, i(0)))
  say('new rekeys', crafter.aes({ channel: 2, msgId: midId + 2, slot: midSlot + 308 }, encodeS(6)))

  // What a receiver refuses at once.
  say('length', Uint8Array.of(1, 2, 3))
  say('length', first.subarray(0, 30))
  say('length', Uint8Array.from([...first, 0]))
  say('version', withOctet(first, 8, 0x63))
  say('flags', withOctet(first, 8, 0x53))
  say('flags', withOctet(first, 8, 0x47))
  say('flags', withOctet(opening, 8, 0x43))
  say('command', withOctet(first, 9, 5))
  return { crafter, frames, verdicts }
}

function withOctet(frame: Uint8Array, at: number, octet: number): Uint8Array {
  const copy = frame.slice()
  copy[at] = octet
  return copy
}
