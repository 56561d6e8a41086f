import t from 'tap'
import { cryptoReady } from '../../../src/protocol/index.ts'
import { Soak } from './soak.ts'

await cryptoReady
/** The suite's share of the million frames of `npm run bench -- q3p-soak`. */
const FRAMES = 75_000

for (const seed of [1, 2, 3, 4]) {
  t.test(
    `no slot protects two messages and what is accepted was sent, in order, once, whatever link, disk and attacker do (seed ${seed})`,
    async (t) => {
      const report = new Soak(seed).run(FRAMES)
      t.same(report.faults, [])
      const { sealed, delivered, crashes, attacks, tornCopies, slowestRecoveryMs } = report
      t.ok(sealed >= FRAMES && delivered > FRAMES / 4, `${sealed} frames sealed, ${delivered} messages delivered`)
      t.ok(
        Object.values(crashes).every((count) => count > 20),
        `crashes at every write point: ${JSON.stringify(crashes)}`,
      )
      t.ok(tornCopies > 100, `${tornCopies} copies of ledgers put right`)
      t.ok(
        Object.values(attacks).every((count) => count > 500),
        JSON.stringify(attacks),
      )
      t.ok(slowestRecoveryMs < 20_000, `slowest recovery ${slowestRecoveryMs} ms`)
    },
  )
}
