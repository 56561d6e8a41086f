import t from 'tap'
import { killStorm } from './kill-storm.ts'

const isRoot = process.getuid?.() === 0

t.test(
  'key server, control centre and gateway are killed at random: no slot is used twice, and the books balance',
  { skip: isRoot ? false : 'needs root', timeout: 120_000 },
  async (t) => {
    const report = await killStorm({ lab: 't-storm', kills: 6, seed: 9, gapMs: [1200, 2000] })
    const { kills, recoveriesMs, printed, ...rest } = report
    t.ok(Object.values(kills).every((count) => count > 0) && recoveriesMs.length === 6, 'each was killed')
    t.match(rest, { auditCode: 0, verdict: 'proven', violations: [], booksBalanced: true, faults: [] }, 'proven')
    if (!t.passing()) t.comment(printed)
    t.ok(rest.opened > 0 && rest.opened === rest.messages, 'every message of the capture opens with the key log')
    t.notOk(recoveriesMs.some(Number.isNaN), 'tasks go through again after every kill')
    t.comment(`${rest.tasksDone} tasks, from kill to task ${recoveriesMs.map((ms) => ms.toFixed(0)).join(' ')} ms`)
  },
)
