/**
 * Makes the sample captures of captures/ anew: `node build/test/captures/make-samples.js`. Each is a run of the scenario
 * beside it in virtual time, so the same program makes the same octets. What our decoder says of them goes to fixtures/,
 * and what tshark shows to the pages beside them.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cryptoReady } from '../../src/protocol/index.ts'
import { tapAndWrite } from './attacker.ts'
import { goldenOf } from './golden.ts'
import { type Attacker, recordLab } from './recorded-lab.ts'
import { tshark, withoutTshark } from './tshark.ts'

const SAMPLES: readonly (readonly [name: string, attacker?: Attacker])[] = [
  ['control-loop'],
  ['reroute'],
  ['attack', tapAndWrite()],
]

/** Puts what tshark prints below each of its commands on a page. */
function withOutputs(page: string, name: string): string {
  return page.replaceAll(/^(tshark .*-Y '([^']+)'.*\n)(?:.*\n)*?```/gm, (_, command: string, filter: string) => {
    const { stdout } = tshark(`captures/${name}.pcapng`, `captures/${name}.keys.log`, ['-Y', filter])
    return `${command}${stdout.replaceAll(/[ \t]+$/gm, '')}\`\`\``
  })
}

await cryptoReady
mkdirSync('test/captures/fixtures', { recursive: true })
for (const [name, attacker] of SAMPLES) {
  const file = `captures/${name}.yaml`
  const { pcapng, keyLog, events } = recordLab(readFileSync(file, 'utf8'), file, attacker)
  writeFileSync(`captures/${name}.pcapng`, pcapng)
  writeFileSync(`captures/${name}.keys.log`, keyLog)
  writeFileSync(`test/captures/fixtures/${name}.json`, `${JSON.stringify(goldenOf(pcapng, keyLog), undefined, 1)}\n`)
  const page = `captures/${name}.md`
  if (!withoutTshark) writeFileSync(page, withOutputs(readFileSync(page, 'utf8'), name))
  process.stdout.write(`captures/${name}: ${pcapng.length} octets, ${keyLog.length} octets of key log\n`)
  for (const { node, link, name: event, ...facts } of events) {
    if (event !== 'counters') continue
    const drops = Object.entries(facts).filter(([fact]) => fact.startsWith('drop'))
    if (drops.length > 0)
      process.stdout.write(`  ${node}, link ${link}: ${JSON.stringify(Object.fromEntries(drops))}\n`)
  }
}
