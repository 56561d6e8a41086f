/** `npm run bench -- q3p-soak [FRAMES [SEED]]`: the property test of test/protocol/q3p at full length, a million frames. */
import { cryptoReady } from '../src/protocol/index.ts'
import { Soak } from '../test/protocol/q3p/soak.ts'
import { machine } from './q3p/machine.ts'

export async function bench(args: readonly string[]): Promise<number> {
  const [frames, seed] = [Number(args[0] ?? 1_000_000), Number(args[1] ?? 1)]
  await cryptoReady
  console.log(machine())
  const before = process.cpuUsage()
  const report = new Soak(seed).run(frames)
  const { user, system } = process.cpuUsage(before)
  console.log(report)
  console.log(`${((user + system) / 1e6).toFixed(1)} s of CPU, ${report.faults.length} faults`)
  return report.faults.length > 0 ? 1 : 0
}
