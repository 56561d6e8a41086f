/**
 * The Wireshark dissector and our decoder on hostile frames: `npm run bench -- dissector-fuzz [ROUNDS [SEED]]`, each round
 * of another seed, with and without key log, in one pass and in two, whole trees and all fields.
 */
import { cryptoReady } from '../src/protocol/index.ts'
import { ALL_WAYS, fuzz } from '../test/captures/fuzz.ts'
import { tsharkVersion, withoutTshark } from '../test/captures/tshark.ts'

const [INNER, OUTER] = [600, 5_000]

/** Exit code 1 if they disagree on a field, or tshark or the script fails. Defaults: 10 rounds from seed 1. */
export async function bench(args: readonly string[]): Promise<number> {
  if (withoutTshark) throw new Error(withoutTshark)
  const [rounds, seed] = [Number(args[0] ?? 10), Number(args[1] ?? 1)]
  await cryptoReady
  console.log(tsharkVersion())
  let total = 0
  const faults: string[] = []
  for (let round = 0; round < rounds; round++) {
    const done = fuzz({ seed: seed + round, inner: INNER, outer: OUTER, ways: ALL_WAYS })
    total += done.frames
    faults.push(...done.faults)
    process.stderr.write(`${round + 1} of ${rounds} rounds, ${faults.length} faults\n`)
  }
  console.log(`${total} frames, each ${ALL_WAYS.length} ways: ${faults.length} faults`)
  for (const fault of faults.slice(0, 20)) console.log(fault)
  return faults.length === 0 ? 0 : 1
}
