import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseScenario, ScenarioError, scenarioJsonSchema } from '../../src/experiment/index.ts'

/** A small scenario, line by line; tests change lines of it. */
const LINES = [
  'name: small', // 1
  'seed: 3', // 2
  'durationS: 20', // 3
  'grid:', // 4
  '  case: ieee39', // 5
  '  disturbances:', // 6
  '    - { kind: loadStep, atS: 5, bus: 16, mw: 400 }', // 7
  'topology:', // 8
  '  nodes:', // 9
  '    master: { id: cc }', // 10
  '    gateways: [{ id: gwA }]', // 11
  '    rtus: [{ id: rtu1 }]', // 12
  '    ieds:', // 13
  '      - { id: load3, kind: load, rtu: rtu1, bus: 3, shedMw: 42.5 }', // 14
  '      - { id: gen30, kind: generator, rtu: rtu1, bus: 30 }', // 15
  '  links:', // 16
  '    - { between: [cc, gwA], lengthKm: 20 }', // 17
  '    - { between: [gwA, rtu1], lengthKm: 20 }', // 18
]

/** The text with some lines (from 1) replaced, and others added at the end. */
function withLines(changes: Readonly<Record<number, string>>, ...added: readonly string[]): string {
  return [...LINES.map((line, index) => changes[index + 1] ?? line), ...added].join('\n')
}

function problemsOf(text: string): readonly string[] {
  try {
    parseScenario(text, 's.yaml')
    return []
  } catch (error) {
    if (error instanceof ScenarioError) return error.problems
    throw error
  }
}

t.test('a short scenario gets every default', async (t) => {
  const { keys, tasks, topology, chains, scheduler, outputs } = parseScenario(LINES.join('\n'), 's.yaml')
  t.same(keys.thresholds, { safeBits: 16_000, thBits: 32_000, capBits: 144_000 })
  t.match(keys.linkModel.rateModel, { kind: 'bb84', effectiveRatePerS: 1e5, errorCorrection: 1.16 })
  t.same(keys.linkModel.breakDurationS, [3, 5])
  t.match(tasks.shedding, { detectionHz: 0.03, deadlineS: 1, requiredSuite: 'otp' })
  t.equal(topology.stationLink.keys, 'local')
  t.equal(topology.links[0]?.keys, 'pool')
  t.equal(chains, 'auto')
  t.match(scheduler, { policy: 'greedy', tickMs: 100 })
  t.equal(outputs.keylog, false)
})

t.test('the scenarios that come with the program are good', async (t) => {
  for (const name of ['ieee39', 'tiny']) {
    const file = `scenarios/${name}.yaml`
    t.equal(parseScenario(readFileSync(file, 'utf8'), file).name, name)
  }
})

t.test('a problem names file, line, column, path, what was found and what was expected', async (t) => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['misspelt key', withLines({ 2: 'sead: 3' }), "s.yaml:2:1: sead: unknown key, found 'sead', expected 'seed'"],
    [
      'misspelt required key',
      withLines({ 17: '    - { between: [cc, gwA], lenghtKm: 20 }' }),
      "s.yaml:17:29: topology.links[0].lenghtKm: unknown key, found 'lenghtKm', expected 'lengthKm'",
    ],
    [
      'a key that is like no other',
      withLines({ 10: '    master: { id: cc, colour: red }' }),
      "s.yaml:10:23: topology.nodes.master.colour: unknown key, found 'colour', expected one of id, meterBus",
    ],
    [
      'negative length',
      withLines({ 18: '    - { between: [gwA, rtu1], lengthKm: -20 }' }),
      's.yaml:18:41: topology.links[1].lengthKm: too small, found -20, expected more than 0',
    ],
    [
      'wrong type',
      withLines({ 18: '    - { between: [gwA, rtu1], lengthKm: far }' }),
      "s.yaml:18:41: topology.links[1].lengthKm: wrong type, found 'far', expected a number",
    ],
    [
      'missing key',
      withLines({ 18: '    - { between: [gwA, rtu1] }' }),
      's.yaml:18:7: topology.links[1].lengthKm: missing, found nothing, expected a number',
    ],
    [
      'negative duration',
      withLines({ 3: 'durationS: -1' }),
      's.yaml:3:12: durationS: too small, found -1, expected more than 0',
    ],
    [
      'zero duration',
      withLines({ 3: 'durationS: 0' }),
      's.yaml:3:12: durationS: too small, found 0, expected more than 0',
    ],
    [
      'huge duration',
      withLines({ 3: 'durationS: 1e9' }),
      's.yaml:3:12: durationS: too large, found 1000000000, expected at most 86400',
    ],
    [
      'unknown kind',
      withLines({ 7: '    - { kind: quake, atS: 5, bus: 16, mw: 400 }' }),
      "s.yaml:7:15: grid.disturbances[0].kind: unknown choice, found 'quake', expected 'loadStep' or 'trip'",
    ],
    [
      'unknown choice',
      withLines({ 5: '  case: ieee14' }),
      "s.yaml:5:9: grid.case: unknown choice, found 'ieee14', expected 'ieee39' or 'ieee118'",
    ],
    [
      'bad name',
      withLines({ 1: 'name: ../../etc' }),
      's.yaml:1:7: name: wrong form, found \'../../etc\', expected a letter, then at most 31 letters, digits, "_" or "-"',
    ],
    [
      'neither of two forms',
      withLines({}, 'chains: 5'),
      "s.yaml:19:9: chains: unknown choice, found 5, expected 'auto' or a list or object",
    ],
    [
      'duplicate YAML key',
      withLines({}, 'seed: 4'),
      "s.yaml:19:1: seed: duplicate key, found 'seed' again, expected it once (first at line 2)",
    ],
    [
      'unknown bus of a disturbance',
      withLines({ 7: '    - { kind: loadStep, atS: 5, bus: 77, mw: 400 }' }),
      's.yaml:7:38: grid.disturbances[0].bus: unknown bus, found 77, expected a bus of ieee39',
    ],
    [
      'unknown bus of an IED',
      withLines({ 14: '      - { id: load3, kind: load, rtu: rtu1, bus: 99, shedMw: 42.5 }' }),
      's.yaml:14:50: topology.nodes.ieds[0].bus: unknown bus, found 99, expected a bus of ieee39',
    ],
    [
      'generator IED at a bus without a machine',
      withLines({ 15: '      - { id: gen30, kind: generator, rtu: rtu1, bus: 4 }' }),
      's.yaml:15:55: topology.nodes.ieds[1].bus: bus without a machine, found 4, expected one of 30, 31, 32, 33, 34, 35, 36, 37, 38, 39',
    ],
    [
      'more load shed than there is',
      withLines({ 14: '      - { id: load3, kind: load, rtu: rtu1, bus: 3, shedMw: 999 }' }),
      's.yaml:14:61: topology.nodes.ieds[0].shedMw: sheds more than there is, found 999, expected at most the 322 MW of load at bus 3',
    ],
    [
      'disturbance after the end',
      withLines({ 7: '    - { kind: loadStep, atS: 25, bus: 16, mw: 400 }' }),
      's.yaml:7:30: grid.disturbances[0].atS: after the end, found 25, expected less than durationS (20)',
    ],
    [
      'IED without RTU',
      withLines({ 15: '      - { id: gen30, kind: generator, rtu: rtu9, bus: 30 }' }),
      "s.yaml:15:44: topology.nodes.ieds[1].rtu: IED without RTU, found 'rtu9', expected the id of an RTU in topology.nodes.rtus",
    ],
    [
      'IED that names no RTU at all',
      withLines({ 15: '      - { id: gen30, kind: generator, bus: 30 }' }),
      's.yaml:15:9: topology.nodes.ieds[1].rtu: missing, found nothing, expected a text',
    ],
    [
      'link to an unknown node',
      withLines({}, '    - { between: [gwA, gwX], lengthKm: 20 }'),
      "s.yaml:19:24: topology.links[2].between[1]: unknown node, found 'gwX', expected the id of a node in topology.nodes",
    ],
    [
      'link to itself',
      withLines({}, '    - { between: [gwA, gwA], lengthKm: 20 }'),
      "s.yaml:19:18: topology.links[2].between: link to itself, found 'gwA' twice, expected two different nodes",
    ],
    [
      'link between the wrong kinds',
      withLines({}, '    - { between: [cc, load3], lengthKm: 20 }'),
      's.yaml:19:18: topology.links[2].between: link that joins the wrong kinds, found master-ied, expected master-master, master-gateway, master-rtu, gateway-gateway, gateway-rtu or rtu-ied',
    ],
    [
      'two links between the same nodes',
      withLines({}, '    - { id: again, between: [rtu1, gwA], lengthKm: 20 }'),
      's.yaml:19:29: topology.links[2].between: second link of a pair, found rtu1 and gwA again, expected one link between two nodes',
    ],
    [
      'duplicate node',
      withLines({ 12: '    rtus: [{ id: rtu1 }, { id: rtu1, ca: 7 }]' }),
      "s.yaml:12:32: topology.nodes.rtus[1].id: duplicate node, found 'rtu1' again, expected a name used once",
    ],
    [
      'duplicate link id',
      withLines({ 18: '    - { id: cc-gwA, between: [gwA, rtu1], lengthKm: 20 }' }),
      "s.yaml:18:13: topology.links[1].id: duplicate link, found 'cc-gwA' again, expected a name used once",
    ],
    [
      'thresholds out of order: safe above th',
      withLines({}, 'keys: { thresholds: { safeBits: 40000 } }'),
      's.yaml:19:9: keys.thresholds.thBits: thresholds out of order, found 32000, expected more than safeBits (40000)',
    ],
    [
      'thresholds out of order: th above cap',
      withLines({}, 'keys: { thresholds: { capBits: 20000 } }'),
      's.yaml:19:32: keys.thresholds.capBits: thresholds out of order, found 20000, expected more than thBits (32000)',
    ],
    [
      'AGC unit without an IED',
      withLines({}, 'tasks: { agc: { units: [31] } }'),
      's.yaml:19:25: tasks.agc.units[0]: unit without an IED, found 31, expected a bus with a generator IED: 30',
    ],
    [
      'fault on an unknown link',
      withLines({}, 'faults: [{ kind: cutLink, atS: 2, link: cc-gwZ, forS: 3 }]'),
      "s.yaml:19:41: faults[0].link: unknown link, found 'cc-gwZ', expected the id of a link with keys: pool",
    ],
  ]
  for (const [name, text, expected] of cases) t.same(problemsOf(text), [expected], name)
})

t.test('chains written out must walk links from the master to an IED that can do the task', async (t) => {
  const chain = (path: string, rest = 'taskType: shedding') =>
    withLines({}, 'chains:', `  - { id: c1, ${rest}, path: [${path}] }`)
  t.same(problemsOf(chain('cc, gwA, rtu1, load3')), [], 'a good one')
  t.same(problemsOf(chain('cc, rtu1, load3')), [
    's.yaml:20:46: chains[0].path[1]: path through no link, found cc to rtu1, expected a link between cc and rtu1',
  ])
  t.same(problemsOf(chain('gwA, rtu1, load3')), [
    "s.yaml:20:42: chains[0].path[0]: path does not begin at the master, found 'gwA', expected the master 'cc'",
  ])
  t.same(problemsOf(chain('cc, gwA, rtu1')), [
    "s.yaml:20:51: chains[0].path[2]: path does not end at an IED, found 'rtu1' (rtu), expected the id of an IED",
  ])
  t.same(problemsOf(chain('cc, gwA, rtu7, load3')), [
    "s.yaml:20:51: chains[0].path[2]: unknown node, found 'rtu7', expected the id of a node in topology.nodes",
  ])
  t.same(problemsOf(chain('cc, gwA, rtu1, gen30')), [
    "s.yaml:20:25: chains[0].taskType: task the IED cannot do, found shedding at 'gen30', a generator IED, expected a load IED",
  ])
  const twice = withLines(
    {},
    'chains:',
    '  - { id: c1, taskType: shedding, path: [cc, gwA, rtu1, load3] }',
    '  - { id: c1, taskType: setpoint, path: [cc, gwA, rtu1, gen30] }',
  )
  t.same(problemsOf(twice), [
    "s.yaml:21:11: chains[1].id: duplicate chain, found 'c1' again, expected a name used once",
  ])
})

t.test('an RTU that no link joins to the centre is a problem', async (t) => {
  const text = withLines({ 12: '    rtus: [{ id: rtu1 }, { id: rtu2 }]' })
  t.same(problemsOf(text), [
    "s.yaml:12:32: topology.nodes.rtus[1].id: unreachable node, found 'rtu2', expected links that join it to the master",
  ])
})

t.test('all problems are told at once, in the order of the file, and none twice', async (t) => {
  const text = withLines({
    2: 'sead: 3',
    3: 'durationS: -1',
    7: '    - { kind: loadStep, atS: 5, bus: 77, mw: 400 }',
    17: '    - { between: [cc, gwA], lenghtKm: 20 }',
    18: '    - { between: [gwA, rtu1], lengthKm: -20 }',
  })
  const problems = problemsOf(text)
  t.same(
    problems.map((problem) => problem.replace(/^s\.yaml:(\d+):\d+: ([^,]*),.*/, '$1 $2')),
    [
      '2 sead: unknown key',
      '3 durationS: too small',
      '7 grid.disturbances[0].bus: unknown bus',
      '17 topology.links[0].lenghtKm: unknown key',
      '18 topology.links[1].lengthKm: too small',
    ],
  )
  t.throws(() => parseScenario(text, 's.yaml'), { name: 'ScenarioError', message: problems.join('\n') })
})

t.test('what is no YAML, or hostile YAML, is a problem and not a crash', async (t) => {
  const lists = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
  for (let i = 0; i < 9; i += 1)
    lists.push(
      `b${i}: &b${i} [${Array(10)
        .fill(i === 0 ? '*a' : `*b${i - 1}`)
        .join(', ')}]`,
    )
  const texts = [
    'a: [1, 2',
    '\t- x',
    '',
    '5',
    '[]',
    '['.repeat(50_000),
    lists.join('\n'),
    'x: *nobody',
    '__proto__: { a: 1 }',
    'name: "a\\nb"',
  ]
  for (const text of texts) {
    const problems = problemsOf(text)
    t.ok(problems.length > 0, `refused: ${text.slice(0, 20)}`)
    t.ok(
      problems.every((problem) => /^s\.yaml:\d+:\d+: [^\n]+$/.test(problem)),
      'one problem a line',
    )
  }
})

t.test('a file full of problems is told the first hundred, and how many more', async (t) => {
  const problems = problemsOf(withLines({}, ...Array.from({ length: 150 }, (_, index) => `nonsense${index}: 1`)))
  t.equal(problems.length, 101)
  t.equal(problems.at(-1), 's.yaml: and 50 more problems')
})

t.test('the 118-bus case has its own buses and machines', async (t) => {
  const text = withLines({
    5: '  case: ieee118',
    7: '    - { kind: trip, atS: 5, bus: 100 }',
    14: '      - { id: load3, kind: load, rtu: rtu1, bus: 59, shedMw: 42.5 }',
    15: '      - { id: gen30, kind: generator, rtu: rtu1, bus: 80 }',
  })
  t.same(problemsOf(text), [])
  t.match(problemsOf(text.replace('bus: 100', 'bus: 118'))[0], /bus without a machine, found 118/)
})

t.test('the JSON Schema for editors describes keys with their units', async (t) => {
  const schema = JSON.stringify(scenarioJsonSchema())
  t.match(schema, /"durationS"/)
  t.match(schema, /"additionalProperties":false/)
  t.match(schema, /R_eff: clock/)
})
