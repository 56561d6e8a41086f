/**
 * Floods from the address of a link's end: its socket is handed over as file descriptor 3. What it sends:
 *
 * - `noise`: random octets.
 * - `blind`: a third noise, two thirds with a right header but for counters picked at random.
 * - `sniffing`: a third noise, the rest as one forges who reads along (standard input tells what is on the wire): Msg-Ids
 *   that are due next, and the key that they would take. They pass every check before the tag, half as one-time pad, half as
 *   AES by turns under the key in use and under one that was not used yet, so that the receiver must find key and compute.
 * - `freshKey`: all of them AES under a key that was not used yet: what costs the receiver most.
 */
import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { type FromAttacker, LINK, type ToAttacker } from './flood-messages.ts'

const VARIANTS = 3000
/** Datagrams sent at one go. */
const BURST = 50
/** Internals of node:dgram. */
const STATE = 'Symbol(state symbol)'
const CONNECTED = 2
const [kind = 'blind', ...numbers] = process.argv.slice(2)
const [durationMs = 0, perS = 0] = numbers.map(Number)

/** Mulberry32: this is noise, not key. */
let state = 1
function uniform(): number {
  state = (state + 0x6d2b79f5) >>> 0
  let mixed = Math.imul(state ^ (state >>> 15), state | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

function garbage(index: number): Uint8Array {
  const sizeBytes = 60 + Math.floor(uniform() * 60)
  const bytes = Uint8Array.from({ length: sizeBytes }, () => uniform() * 256)
  if (isNoise(index)) return bytes
  const view = new DataView(bytes.buffer)
  view.setUint32(0, sizeBytes)
  view.setUint8(8, isAes(index) ? 0x4b : 0x43)
  view.setUint8(9, 4)
  view.setUint16(10, 2 * LINK)
  return bytes
}

function isNoise(index: number): boolean {
  return kind === 'noise' || (kind !== 'freshKey' && index % 3 === 0)
}

function isAes(index: number): boolean {
  return kind === 'freshKey' || index % 3 === 1
}

let wire: ToAttacker = { msgId: 0, slot: 0, aesSlot: undefined }

/** The next forgery, brought up to what is on the wire now. */
function forgery(index: number): Uint8Array {
  const bytes = datagrams[index % VARIANTS] ?? new Uint8Array(1)
  if (kind === 'noise' || kind === 'blind' || isNoise(index)) return bytes
  const view = new DataView(bytes.buffer)
  const ahead = 1 + (index % 50)
  view.setUint32(4, wire.msgId + ahead)
  const isInUse = kind === 'sniffing' && isAes(index) && index % 2 === 0
  const slot = isInUse ? (wire.aesSlot ?? wire.slot) : wire.slot + ahead
  view.setUint32(12, slot)
  view.setUint32(16, isAes(index) ? 0 : slot + Math.ceil((bytes.length - 36) / 4))
  return bytes
}

const datagrams = Array.from({ length: VARIANTS }, (_, index) => garbage(index))
createInterface(process.stdin).on('line', (line) => {
  wire = JSON.parse(line) as ToAttacker
})
const socket = createSocket('udp4')
socket.on('error', () => {})
socket.bind({ fd: 3 }, () => {
  // What comes in is for the owner of the socket; and the socket is connected, which Node does not know.
  const state = Reflect.get(socket, Reflect.ownKeys(socket).find((key) => String(key) === STATE) ?? '')
  state.handle.recvStop()
  state.connectState = CONNECTED
  const startMs = performance.now()
  let sent = 0
  const burst = (): void => {
    const elapsedMs = performance.now() - startMs
    if (elapsedMs >= durationMs) {
      const message: FromAttacker = { sent }
      process.stdout.write(`${JSON.stringify(message)}\n`)
      socket.close()
      process.stdin.destroy()
      return
    }
    const due = Math.min((elapsedMs * perS) / 1000, sent + BURST)
    for (; sent < due; sent += 1) socket.send(forgery(sent))
    setImmediate(burst)
  }
  burst()
})
