// Sets up what is missing, then runs every check: formatting and lint, unused code, tests. Last line: 'N passed, N failed'.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { prepare, TEST_TOOLS } from './setup.mjs'

prepare(TEST_TOOLS)

const counts = { passed: 0, failed: 0 }
function check(name, command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  console.log(`${status === 0 ? 'ok' : 'NOT OK'}: ${name}`)
  counts[status === 0 ? 'passed' : 'failed'] += 1
}

check('formatting and lint (biome)', 'node_modules/.bin/biome', ['ci', '.'])
check('no unused files, exports or dependencies (knip)', 'node_modules/.bin/knip', [])

// tap's plugins are compiled once after an install; .taprc drops its TypeScript plugin (see docs/decisions).
const tapStamp = 'node_modules/.q104-tap-built'
if (!existsSync(tapStamp)) {
  const { status } = spawnSync('node_modules/.bin/tap', ['build'], { stdio: ['ignore', 'ignore', 'inherit'] })
  if (status === 0) writeFileSync(tapStamp, '')
}

/** Runs tap with raw TAP output: prints failures and one line a file, counts assertions of subtests. */
const tap = spawn('node_modules/.bin/tap', ['--reporter=tap', '--disable-coverage', ...process.argv.slice(2)], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
let rest = ''
tap.stdout.setEncoding('utf8')
tap.stdout.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n')
  rest = lines.pop() ?? ''
  for (const line of lines) report(line)
})

let failing = 0
const skipped = []
function report(line) {
  const point = /^( *)(ok|not ok) \d+ - (.*)$/.exec(line)
  if (point) {
    const [, indent, verdict, title] = point
    const passed = verdict === 'ok'
    if (indent.length === 4 && / # SKIP\b/i.test(title)) {
      skipped.push(title)
      return
    }
    if (indent.length === 4 || (indent.length === 0 && !passed))
      counts[passed ? 'passed' : 'failed'] += indent.length === 4 ? 1 : 0
    if (indent.length === 0)
      console.log(
        `${verdict}: ${title.replace(/ # time=.*/, '').replace(/ \{$/, '')}${/time=\S+/.exec(title)?.[0].replace('time=', '  ') ?? ''}`,
      )
    failing = passed ? 0 : 40
    if (!passed) console.log(line)
    return
  }
  if (failing > 0 && line.trim() !== '') {
    failing -= 1
    console.log(line)
  }
}

tap.on('close', (code) => {
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  for (const title of skipped) console.log(`SKIPPED: ${title}`)
  console.log(`${counts.passed} passed, ${counts.failed} failed`)
  process.exitCode = counts.failed === 0 ? 0 : 1
})
