/** The attacker of captures/attack.yaml: taps link 1, between gateway and substation, and writes on it. */
import { randomStream } from '../../src/sim/index.ts'
import type { Attacker } from './recorded-lab.ts'

const LINK = 1
const OTP_FLAGS = 0x43
/** Octets of a datagram that carries a single command: what is encrypted still has its length. */
const COMMAND_BYTES = 52
/** Octets of a datagram that carries an S- or U-frame. */
const SUPERVISION_BYTES = 42
const FLAGS_AT = 8
const COMMAND_AT = 9
const MSG_ID_AT = 4

type Tapped = { readonly [Kind in 'command' | 'supervision' | 'handshake' | 'newest']: Uint8Array }
type Attack = { readonly atMs: number; readonly comment: string; readonly make: (tapped: Tapped) => Uint8Array } & {
  /** 0 to the substation, as if from the gateway; 1 the other way. */
  readonly fromEnd?: 0 | 1
}

const ATTACKS: readonly Attack[] = [
  { atMs: 6_000, comment: 'the shed command again, soon', make: ({ command }) => command },
  { atMs: 7_000, comment: 'an S- or U-frame again', make: ({ supervision }) => supervision },
  { atMs: 8_000, comment: 'the shed command with one bit changed', make: ({ command }) => changed(command, 30, 1) },
  { atMs: 9_000, comment: 'a message made up: the next Msg-Id, random octets', make: madeUp },
  { atMs: 10_000, comment: 'the shed command sent back to the gateway', fromEnd: 1, make: ({ command }) => command },
  { atMs: 11_000, comment: 'the shed command cut short', make: ({ command }) => command.subarray(0, 30) },
  { atMs: 12_000, comment: 'version 3', make: ({ command }) => withOctet(command, FLAGS_AT, 0x63) },
  { atMs: 13_000, comment: 'the reserved flag', make: ({ command }) => withOctet(command, FLAGS_AT, 0x53) },
  { atMs: 14_000, comment: 'a command that is not defined', make: ({ command }) => withOctet(command, COMMAND_AT, 9) },
  { atMs: 20_000, comment: 'the shed command again, after t1', make: ({ command }) => command },
  { atMs: 21_000, comment: 'the HANDSHAKE again', make: ({ handshake }) => handshake },
]

export function tapAndWrite(): Attacker {
  const tapped: { -readonly [Kind in keyof Tapped]?: Uint8Array } = {}
  return {
    tap({ link, fromEnd, bytes }) {
      if (link !== LINK || fromEnd !== 0) return
      tapped.handshake ??= bytes.slice()
      if (bytes.length === SUPERVISION_BYTES) tapped.supervision = bytes.slice()
      if (bytes.length === COMMAND_BYTES && bytes[FLAGS_AT] === OTP_FLAGS) tapped.command ??= bytes.slice()
      tapped.newest = bytes.slice()
    },
    strikes: ATTACKS.map(({ atMs, comment, make, fromEnd = 0 }) => ({
      atMs,
      make: () => ({ link: LINK, fromEnd, bytes: make(complete(tapped)), comment }),
    })),
  }
}

function complete({ command, supervision, handshake, newest }: Partial<Tapped>): Tapped {
  if (command && supervision && handshake && newest) return { command, supervision, handshake, newest }
  throw new Error('the attacker has not seen what it wants to send')
}

function changed(frame: Uint8Array, at: number, mask: number): Uint8Array {
  return withOctet(frame, at, (frame[at] ?? 0) ^ mask)
}

function withOctet(frame: Uint8Array, at: number, octet: number): Uint8Array {
  const copy = frame.slice()
  copy[at] = octet
  return copy
}

/** The Msg-Id that comes next; the rest is noise. */
function madeUp({ command, newest }: Tapped): Uint8Array {
  const made = command.slice()
  made.set(randomStream(13, 'made up').bytes(made.length - 20), 20)
  const msgId = new DataView(newest.buffer, newest.byteOffset).getUint32(MSG_ID_AT) + 1
  new DataView(made.buffer, made.byteOffset).setUint32(MSG_ID_AT, msgId)
  return made
}
