import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseApdu, parseHeader } from '../../src/protocol/index.ts'
import { readPcapng } from '../../src/runtime/index.ts'
import { LabUnderTest, q104 } from './lab-under-test.ts'

const TINY = 'scenarios/tiny.yaml'
const isRoot = process.getuid?.() === 0
const IP_AND_UDP_BYTES = 28

t.test('a live run carries commands from the centre to the breaker and its books agree to the bit', async (t) => {
  const lab = new LabUnderTest('t-live', TINY, '--duration', '11s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  const metrics = lab.metrics()
  t.match(metrics, { valid: true, booksBalanced: true, pFull: 1, seed: 7, version: String })
  t.match(String(metrics['isolation']), /^(netns|userns|loopback)$/)
  t.match(String(metrics['impairment']), /^(netem|transport)$/)
  t.match(
    stdout.split('\n')[0],
    /isolation .*links impaired/,
    'the first line says how the lab is isolated and impaired',
  )

  const events = readFileSync(lab.file('events.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const shed = events.find(({ name, typeId }) => name === 'ied.act' && typeId === 45)
  t.ok(shed, 'the breaker was told to open')
  const way = events.filter(({ name, ioa, cot }) => name === 'hop' && ioa === shed?.ioa && cot === 6)
  t.same(
    way.map(({ node }) => node),
    ['gwA', 'rtu1'],
    'by way of gateway and RTU',
  )

  const { interfaces, frames } = readPcapng(readFileSync(lab.file('capture.pcapng')))
  t.same(interfaces.map(({ name }) => name).sort(), ['cc-gwA', 'gwA-rtu1', 'rtu1-gen30', 'rtu1-load3'])
  t.ok(frames.length >= Number(metrics['frames']) * 0.99, 'the capture has the frames that were sent')
  const datagrams = frames.map(({ bytes }) => bytes.subarray(IP_AND_UDP_BYTES))
  const headers = datagrams.map((bytes) => parseHeader(bytes))
  t.same(
    headers.filter((header) => 'drop' in header),
    [],
    'every datagram has the Q3P header',
  )
  t.same(datagrams.filter(carriesAsduInClear), [], 'no datagram carries an ASDU in clear')
  t.same(await lab.leftovers(), [])
})

/** The payload parses as an I-frame: by chance one encrypted payload in some ten thousand does. */
function carriesAsduInClear(datagram: Uint8Array): boolean {
  const payload = datagram.subarray(20, -16)
  try {
    return parseApdu(payload).format === 'I'
  } catch {
    return false
  }
}

t.test('Ctrl-C at any moment ends the run in order and leaves nothing behind', async (t) => {
  const moments = [/isolation/, /starting/, /processes up/, /t {3}1\//]
  await Promise.all(
    moments.map(async (moment, index) => {
      const lab = new LabUnderTest(`t-int-${index}`, TINY)
      await lab.printed(moment)
      lab.child.kill('SIGINT')
      const { code } = await lab.finished
      t.equal(code, 130, `interrupted at ${moment}`)
      t.same(await lab.leftovers(), [])
    }),
  )
})

t.test('a killed process ends the run with a report that names it', { skip: !isRoot && 'needs root' }, async (t) => {
  const dies = async (victim: string): Promise<void> => {
    const lab = new LabUnderTest(`t-kill-${victim.toLowerCase()}`, TINY)
    await lab.printed(/t {3}1\//)
    for (const pid of lab.pidsOf(victim)) process.kill(pid, 'SIGKILL')
    const { code, stdout, stderr } = await lab.finished
    t.equal(code, 1, `${victim}: ${stderr}`)
    t.match(stdout, new RegExp(`process ${victim} was ended by SIGKILL`))
    t.same(await lab.leftovers(), [])
  }
  await Promise.all(['cc', 'gwA', 'rtu1', 'load3'].map(dies))
  await Promise.all(['keyserver', 'grid', 'redis'].map(dies))
})

t.test('a run whose capture was killed says so and is not valid', { skip: !isRoot && 'needs root' }, async (t) => {
  const lab = new LabUnderTest('t-capture', TINY, '--duration', '6s')
  await lab.printed(/t {3}1\//)
  for (const pid of lab.pidsRunning('tcpdump')) process.kill(pid, 'SIGKILL')
  const { code, stdout } = await lab.finished
  t.equal(code, 1)
  t.match(stdout, /tcpdump in q104-t-capture-\w+: ended \(SIGKILL\)/)
  t.same(await lab.leftovers(), [])
})

t.test('a run that is killed itself leaves no process, namespace or lock', async (t) => {
  const lab = new LabUnderTest('t-self', TINY)
  await lab.printed(/t {3}1\//)
  lab.child.kill('SIGKILL')
  await lab.finished
  t.same(await lab.leftovers(), [])
})

t.test('without namespaces the lab runs on loopback addresses', async (t) => {
  const lab = new LabUnderTest('t-loop', TINY, '--isolation', 'loopback', '--duration', '8s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  t.match(lab.metrics(), { valid: true, isolation: 'loopback', impairment: 'transport' })
  t.ok(readPcapng(readFileSync(lab.file('capture.pcapng'))).frames.length > 50)
  t.same(await lab.leftovers(), [])
})

t.test('inside a user namespace the lab runs as it does for root', async (t) => {
  const lab = new LabUnderTest('t-user', TINY, '--isolation', 'userns', '--duration', '8s')
  const { code, stdout, stderr } = await lab.finished
  t.equal(code, 0, stderr + stdout)
  t.match(lab.metrics(), { valid: true, isolation: 'userns' })
  t.same(await lab.leftovers(), [])
})

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
