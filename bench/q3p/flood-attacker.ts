/**
 * Floods from the address of a link's end: its socket is handed over as file descriptor 3. What it sends:
 *
 * - `noise`: random octets.
 * - `blind`: a third noise, two thirds with a right header but for counters picked at random.
 * - `sniffing`: like blind, but with the counters of messages that are due, as one picks who reads along: they pass every
 *   check before the tag, in the suites by turns, so that the receiver must find the key and compute.
 */
import { createSocket } from 'node:dgram'
import { type FromAttacker, KEY_SLOTS, LINK } from './flood-messages.ts'

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
  if (kind === 'noise' || index % 3 === 0) return bytes
  const view = new DataView(bytes.buffer)
  const isAes = index % 3 === 1
  view.setUint32(0, sizeBytes)
  if (kind === 'sniffing') view.setUint32(4, 12_000 + Math.floor(uniform() * 48_000))
  view.setUint8(8, isAes ? 0x4b : 0x43)
  view.setUint8(9, 4)
  view.setUint16(10, 2 * LINK)
  if (kind !== 'sniffing') return bytes
  view.setUint32(12, KEY_SLOTS / 2 + Math.floor((uniform() * KEY_SLOTS) / 3))
  view.setUint32(16, isAes ? 0 : KEY_SLOTS / 2 + Math.floor((uniform() * KEY_SLOTS) / 3))
  return bytes
}

const datagrams = Array.from({ length: VARIANTS }, (_, index) => garbage(index))
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
      return
    }
    const due = Math.min((elapsedMs * perS) / 1000, sent + BURST)
    for (; sent < due; sent += 1) socket.send(datagrams[sent % VARIANTS] ?? new Uint8Array(1))
    setImmediate(burst)
  }
  burst()
})
