/**
 * `npm run bench -- q3p`: seal and open of a 60-octet payload in each suite beside node:crypto's AES-128-GCM, taken in
 * turns in one run, so that whatever else the machine does falls on all alike.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { cryptoReady, Q3pChannel, type Sealed } from '../src/protocol/index.ts'
import { machine, quantile } from './q3p/machine.ts'

const PAYLOAD_BYTES = 60
const ROUNDS = 200
const CALLS = 500

export async function bench(args: readonly string[]): Promise<number> {
  await cryptoReady
  const rounds = Number(args[0] ?? ROUNDS)
  const payload = randomBytes(PAYLOAD_BYTES)
  const samples = new Map<string, Float64Array>()
  const note = (name: string, index: number, us: number): void => {
    const all = samples.get(name) ?? new Float64Array(rounds * CALLS)
    samples.set(name, all)
    all[index] = us
  }
  const ends = pairOfEnds()
  for (let round = 0; round < rounds; round += 1) {
    for (const suite of ['otp', 'aes'] as const) {
      ends.refill()
      for (let call = 0; call < CALLS; call += 1) {
        const t0 = process.hrtime.bigint()
        const sealed = ends.a.seal('data', payload, suite, 0)
        const t1 = process.hrtime.bigint()
        const opened = 'wait' in sealed ? sealed : ends.b.open(sealed.datagram)
        const t2 = process.hrtime.bigint()
        if (!('payload' in opened)) throw new Error(`not opened: ${JSON.stringify(opened)}`)
        note(`${suite} seal`, round * CALLS + call, Number(t1 - t0) / 1000)
        note(`${suite} open`, round * CALLS + call, Number(t2 - t1) / 1000)
      }
    }
    const [key, header] = [randomBytes(16), payload.subarray(0, 20)]
    for (let call = 0; call < CALLS; call += 1) {
      const iv = randomBytes(12)
      const t0 = process.hrtime.bigint()
      const cipher = createCipheriv('aes-128-gcm', key, iv)
      cipher.setAAD(header)
      const text = cipher.update(payload)
      cipher.final()
      const tag = cipher.getAuthTag()
      const t1 = process.hrtime.bigint()
      const decipher = createDecipheriv('aes-128-gcm', key, iv, { authTagLength: 16 })
      decipher.setAAD(header)
      decipher.setAuthTag(tag)
      decipher.update(text)
      decipher.final()
      const t2 = process.hrtime.bigint()
      note('node:crypto AES-128-GCM encrypt', round * CALLS + call, Number(t1 - t0) / 1000)
      note('node:crypto AES-128-GCM decrypt', round * CALLS + call, Number(t2 - t1) / 1000)
    }
  }
  console.log(machine())
  console.log(`payload ${PAYLOAD_BYTES} octets, ${rounds * CALLS} calls each, in turns of ${CALLS}; microseconds`)
  for (const [name, all] of samples) {
    const [p50, p90, p99] = [0.5, 0.9, 0.99].map((ratio) => quantile(all, ratio).toFixed(2))
    console.log(`${name.padEnd(34)} p50 ${p50}  p90 ${p90}  p99 ${p99}`)
  }
  return 0
}

/** Both ends of a link with an open epoch; `refill` gives key for a round. */
function pairOfEnds(): { readonly a: Q3pChannel; readonly b: Q3pChannel; readonly refill: () => void } {
  const options = { link: 3, aesMaxMessages: 64, aesMaxMs: 1e9 }
  const [a, b] = [new Q3pChannel({ ...options, end: 0 }), new Q3pChannel({ ...options, end: 1 })]
  let slot = 0
  const refill = (): void => {
    const bytes = randomBytes(4 * 19 * (CALLS + 10))
    for (const end of [a, b]) end.addKey({ channel: 6, slot, bytes })
    slot += bytes.length / 4
  }
  refill()
  b.open((a.handshake(() => new Uint8Array(20)) as Sealed).datagram)
  return { a, b, refill }
}
