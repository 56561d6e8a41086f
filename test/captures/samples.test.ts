import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseScenario } from '../../src/experiment/index.ts'
import { cryptoReady } from '../../src/protocol/index.ts'
import { goldenOf } from './golden.ts'
import { complaints, decodeAll, disagreements, tshark, tsharkRows, withoutTshark } from './tshark.ts'

const SAMPLES = ['control-loop', 'reroute', 'attack'] as const

t.before(async () => {
  await cryptoReady
  if (withoutTshark) t.comment(withoutTshark)
})

const captureFile = (name: string): string => `captures/${name}.pcapng`
const keyLogFile = (name: string): string => `captures/${name}.keys.log`

for (const name of SAMPLES) {
  const pcapng = readFileSync(captureFile(name))
  const keyLog = readFileSync(keyLogFile(name), 'utf8')

  t.test(`${name} is decoded to what is recorded of it`, async (t) => {
    const golden = JSON.parse(readFileSync(`test/captures/fixtures/${name}.json`, 'utf8'))
    t.same(goldenOf(pcapng, keyLog), golden)
    t.ok(pcapng.length < 100_000, 'and it is small')
    const file = `captures/${name}.yaml`
    t.equal(parseScenario(readFileSync(file, 'utf8'), file).name, name, 'its scenario can be run live')
  })

  t.test(`tshark decodes ${name} as we do`, { skip: withoutTshark }, async (t) => {
    const frames = decodeAll(pcapng, keyLog)
    t.same(disagreements(frames, tsharkRows(captureFile(name), keyLogFile(name))), [])
  })

  t.test(`the commands on the page of ${name} show what it says`, { skip: withoutTshark }, async (t) => {
    const page = readFileSync(`captures/${name}.md`, 'utf8')
    const commands = [...page.matchAll(/^tshark .*-Y '([^']+)'.*\n((?:.*\n)*?)```/gm)]
    t.ok(commands.length > 0)
    for (const [, filter = '', after = ''] of commands) {
      const result = tshark(captureFile(name), keyLogFile(name), ['-Y', filter, '-T', 'fields', '-e', 'frame.number'])
      t.same(complaints(result), [], filter)
      const found = result.stdout.split('\n').filter(Boolean).map(Number)
      // The page shows what tshark prints: each line begins with the frame's number.
      const shown = after.split('\n').flatMap((line) => (/^ *(\d+) /.exec(line) ?? []).slice(1).map(Number))
      t.same(shown, found, filter)
    }
  })
}
