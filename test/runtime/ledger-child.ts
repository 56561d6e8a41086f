/** Reserves for ever and writes each mark that is durable to its standard output; the test kills it. */
import { writeSync } from 'node:fs'
import { LedgerFile } from '../../src/runtime/node-files.ts'

const [file = ''] = process.argv.slice(2)
const ledger = await LedgerFile.open({
  file,
  node: 'gwa',
  run: 'tiny-1',
  ends: [{ link: 3, end: 0 }],
  expect: 'existing',
})
let slots = ledger.recovered[0]?.slots ?? 0
const next = (): void => {
  slots += 1
  ledger.reserve({ channel: 6, side: 'sender', slots, msgIds: 4 * slots })
}
ledger.onDurable(
  (mark) => {
    writeSync(1, `${mark.slots}\n`)
    next()
  },
  (error) => {
    throw error
  },
)
next()
setInterval(() => {}, 1000)
