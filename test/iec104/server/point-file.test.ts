/** Point files, console lines, the demo database. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CliError } from '../../../src/cli/errors.ts'
import { readConsoleLine } from '../../../src/cli/server/console-line.ts'
import { demoStation } from '../../../src/cli/server/demo.ts'
import { parseServerOptions } from '../../../src/cli/server/options.ts'
import { loadPointFile, parsePoints } from '../../../src/cli/server/point-file.ts'
import { simulatedValues } from '../../../src/cli/server/simulate.ts'
import { describeStation } from '../../../src/cli/server/summary.ts'
import { ControlledStation, checkStation } from '../../../src/rtu/index.ts'

/** The problems of a text, a line each. */
function problems(text: string, file = 'p.yaml'): readonly string[] {
  try {
    parsePoints(text, file, 1)
    return []
  } catch (error) {
    if (error instanceof CliError) return error.message.split('\n').slice(1)
    throw error
  }
}

t.test('YAML', async (t) => {
  t.test('points, commands, files and settings', async (t) => {
    const text = `
redundancy: { kind: several, groups: [{ name: A, peers: [10.0.0.1] }, { name: rest }] }
backgroundMs: 60000
points:
  - { ioa: 1, kind: single, name: breaker, group: 1 }
  - { ca: 2, ioa: 100, count: 3, kind: float, name: feeder, deadband: 0.5, quality: [invalid, notTopical] }
commands:
  - { ioa: 1001, kind: single, pointIoa: 1, mode: select }
files:
  - { ioa: 5000, nof: 1, path: a.txt }
`
    const parsed = parsePoints(text, 'p.yaml', 7)
    t.same(parsed.points, [
      { ca: 7, ioa: 1, kind: 'single', name: 'breaker', group: 1 },
      ...[1, 2, 3].map((n) => ({
        ca: 2,
        ioa: 99 + n,
        kind: 'float',
        name: `feeder ${n}`,
        deadband: 0.5,
        quality: { invalid: true, notTopical: true },
      })),
    ])
    t.same(parsed.commands, [{ ca: 7, ioa: 1001, kind: 'single', pointIoa: 1, mode: 'select' }])
    t.match(parsed.files, [{ spec: { ca: 7, ioa: 5000, nof: 1 }, path: 'a.txt' }])
    t.match(parsed.settings, { backgroundMs: 60_000, redundancy: { kind: 'several' } })
  })
  t.test('every problem is named with file and line', async (t) => {
    const text = `points:
  - { ioa: 1, kind: single }
  - ioa: 2
    kind: singel
  - { ioa: 3, kind: float, dedband: 1 }
  - { kind: float }
comands: []
maxEvents: 0
`
    const found = problems(text)
    t.equal(found.length, 5)
    t.match(found[0], /^p\.yaml:4: kind: Invalid option/)
    t.match(found[1], /^p\.yaml:5: Unrecognized key: "dedband"/)
    t.match(found[2], /^p\.yaml:6: ioa: /)
    t.match(found[3], /^p\.yaml:7: Unrecognized key: "comands"/)
    t.match(found[4], /^p\.yaml:8: maxEvents: /)
  })
  t.test('what the rows mean together is checked too', async (t) => {
    const text = `points:
  - { ioa: 1, kind: single }
  - { ioa: 1, kind: float }
  - { ioa: 2, kind: single, group: 17 }
commands:
  - { ioa: 9, kind: double, pointIoa: 1 }
`
    t.same(problems(text), [
      'p.yaml:3: CA 1 IOA 1 is there twice',
      'p.yaml:4: group 17 is not in 1..16',
      'p.yaml:6: a double command cannot show on a float point',
    ])
  })
  t.test('what is no YAML, no mapping, no list', async (t) => {
    t.match(problems('points: ['), [/^p\.yaml:1: not YAML/])
    t.match(problems('- 1'), ['p.yaml:1: expected a mapping with points, commands or files'])
    t.match(problems('points: 3'), ['p.yaml:1: points: expected a list'])
    t.match(problems('points: [3]'), [/^p\.yaml:1: Invalid input/])
  })
})

t.test('CSV', async (t) => {
  t.test('a line of columns, then a row a line; quotes, comments, empty cells, semicolons', async (t) => {
    const text = `# my station
object,ca,ioa,kind,name,value,group,events,quality,pointIoa,mode

,1,1,single,"breaker, ""north""",1,1,no,invalid blocked,,
point,,2,float,,,,,,,
command,1,1001,single,,,,,,1,select
`
    const parsed = parsePoints(text, 'p.csv', 3)
    t.same(parsed.points, [
      {
        ca: 1,
        ioa: 1,
        kind: 'single',
        name: 'breaker, "north"',
        value: 1,
        group: 1,
        events: false,
        quality: { invalid: true, blocked: true },
      },
      { ca: 3, ioa: 2, kind: 'float' },
    ])
    t.same(parsed.commands, [{ ca: 1, ioa: 1001, kind: 'single', pointIoa: 1, mode: 'select' }])
    t.equal(parsePoints('ioa;kind\n1;single\n', 'p.csv', 1).points.length, 1)
  })
  t.test('every problem is named with file and line', async (t) => {
    const text =
      'object,ioa,kind,colour\npoint,1,single\nthing,2,single\npoint,x,single\npoint,3,"single\npoint,4,5,6,7,8\n'
    const found = problems(text, 'p.csv')
    t.match(found, [
      /^p\.csv:1: unknown column colour/,
      'p.csv:3: object: expected point, command or file',
      /^p\.csv:4: ioa: /,
      'p.csv:5: a quote is not closed',
      'p.csv:6: found 6 cells, expected at most 4',
    ])
  })
})

t.test('files on disk', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'q104-'))
  t.teardown(() => rm(dir, { recursive: true }))
  const file = join(dir, 'p.yaml')
  await writeFile(join(dir, 'a.txt'), 'hello')
  await writeFile(file, 'points: [{ ioa: 1, kind: single }]\nfiles:\n  - { ioa: 5, nof: 1, path: a.txt }\n')
  const config = await loadPointFile(file, 1)
  t.same(Buffer.from(config.files?.[0]?.bytes ?? []).toString(), 'hello')
  t.ok(new ControlledStation(config))
  await writeFile(file, 'files:\n  - { ioa: 5, nof: 1, path: b.txt }\n')
  await t.rejects(loadPointFile(file, 1), { message: `${file}:2: b.txt: cannot be read (ENOENT)` })
  await t.rejects(loadPointFile(join(dir, 'none.yaml'), 1), /cannot be read \(ENOENT\)/)
})

t.test('the demo database', async (t) => {
  const config = demoStation([1, 2], false)
  t.same(checkStation(config), [])
  t.same(new Set(config.points.map(({ kind }) => kind)).size, 12, 'points of every kind')
  t.same(
    config.points.filter(({ cycleMs, background }) => cycleMs !== undefined || background === true),
    [],
  )
  t.same(checkStation(demoStation([1], true)), [])
  t.match(describeStation(config, { address: 'a:1', transport: 'TCP', from: 'demo' }), [
    'q104 server: IEC 60870-5-104 controlled station on a:1 (TCP), demo',
    'CA 1',
    '  points    single           IOA 1..8',
  ])
  const moved = simulatedValues(demoStation([1], true), 12_345)
  t.ok(moved.length > 10)
  t.notOk(
    moved.some((input) => input.kind === 'setPoint' && input.ioa === 1),
    'commanded points stay',
  )
})

t.test('lines on stdin', async (t) => {
  t.match(readConsoleLine('set 1 601 49.5 invalid transient'), {
    kind: 'set',
    input: { kind: 'setPoint', ca: 1, ioa: 601, value: 49.5, quality: { invalid: true }, transient: true },
  })
  t.match(readConsoleLine('set 1 1 on'), { kind: 'set', input: { value: 1 } })
  t.match(readConsoleLine('  # nothing'), { kind: 'nothing' })
  t.match(readConsoleLine('status'), { kind: 'status' })
  t.match(readConsoleLine('quit'), { kind: 'quit' })
  for (const line of ['set 1 1', 'set 1 1 x', 'set a 1 1', 'set 1 1 1 goode', 'reset', 'set 1 1 ']) {
    t.match(readConsoleLine(line), { kind: 'bad' }, line)
  }
})

t.test('options', async (t) => {
  t.match(parseServerOptions([]), { host: '127.0.0.1', port: 2404, cas: [1], tls: undefined })
  t.match(parseServerOptions(['--ca', '1,7', '--k', '20', '--t3', '5s', '--redundancy', 'one']), {
    cas: [1, 7],
    station: { apci: { k: 20, w: 8, t3Ms: 5_000 }, redundancy: { kind: 'one' } },
  })
  const tls = ['--tls-ca', 'ca.pem', '--tls-cert', 'c.pem', '--tls-key', 'k.pem', '--tls-min', '1.3']
  t.match(parseServerOptions(tls), { port: 19_998, tls: { caFile: 'ca.pem', minVersion: 'TLSv1.3' } })
  for (const bad of [
    ['--port', 'x'],
    ['--ca', '0'],
    ['--k', '0'],
    ['--t2', '20s'],
    ['--tls-cert', 'c.pem'],
    ['--redundancy', 'two'],
    ['extra'],
    ['--nonsense'],
  ]) {
    t.throws(() => parseServerOptions(bad), CliError, bad.join(' '))
  }
})
