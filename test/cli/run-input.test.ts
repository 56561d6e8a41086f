import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { q104 } from './lab-under-test.ts'

const TINY = 'scenarios/tiny.yaml'

t.test('bad input gets one clear error, exit code 2, and nothing is started', async (t) => {
  const cases: readonly (readonly [string[], RegExp])[] = [
    [['run'], /SCENARIO is needed/],
    [['run', 'no-such.yaml'], /no-such\.yaml: cannot be read \(ENOENT\)/],
    [['run', TINY, '--duration', 'soon'], /--duration: found 'soon', expected a duration/],
    [['run', TINY, '--isolation', 'vm'], /--isolation: found 'vm', expected one of netns, userns, loopback/],
    [['run', TINY, '--sed', '3'], /--sed/],
    [['run', TINY, '--lab', 'Über'], /lab name/],
    [['fly'], /there is no command 'fly'/],
  ]
  for (const [args, message] of cases) {
    const { code, stderr } = q104(...args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, message)
  }
})

t.test('a wrong scenario is refused before anything starts, with file and place', async (t) => {
  const good = readFileSync(TINY, 'utf8')
  const dir = t.testdir()
  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ['durationS', 'durationsS', /wrong\.yaml:\d+:\d+: durationsS: .*durationS/],
    ['lengthKm: 20', 'lengthKm: -20', /wrong\.yaml:\d+:\d+: topology\.links\[0\]\.lengthKm: .*-20/],
    ['bus: 16', 'bus: 4711', /wrong\.yaml:\d+:\d+: grid\.disturbances\[0\]\.bus: .*4711/],
    ['id: gen30', 'id: load3', /wrong\.yaml:\d+:\d+: .*load3/],
    ['between: [cc, gwA]', 'between: [cc, rtu9]', /wrong\.yaml:\d+:\d+: .*rtu9/],
  ]
  for (const [from, to, message] of wrong) {
    const file = join(dir, 'wrong.yaml')
    writeFileSync(file, good.replace(from, to))
    const { code, stdout, stderr } = q104('run', file)
    t.equal(code, 2, `${to}: ${stderr}`)
    t.match(stderr, message)
    t.equal(stdout, '', 'nothing was started')
  }
})

t.test('every command explains itself, with an example', async (t) => {
  const { code, stdout } = q104('--help')
  t.equal(code, 0)
  const commands = [...stdout.matchAll(/^ {2}(\w+) +\S/gm)].map(([, name = '']) => name)
  t.ok(commands.length >= 5)
  for (const name of commands) t.match(q104(name, '--help').stdout, /usage: [\s\S]*Example: /, name)
})
