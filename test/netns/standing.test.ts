import { spawn, spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  acquireLab,
  checkLinks,
  detectIsolation,
  hasNetem,
  type Isolation,
  LabNetwork,
  planLab,
  standLab,
  takeDown,
} from '../../netns/index.ts'
import { main } from '../../src/cli/main.ts'
import { askLab, type LabRequest, serveControl } from '../../src/cli/netlab/control.ts'
import { bentLaw, joinedWords, wordsOf } from '../../src/cli/netlab/law-words.ts'
import { CLEAR } from '../../src/sim/index.ts'
import { lossRuns } from '../netem/guest.ts'
import { killCycles, type Left, leftOf, NOTHING_LEFT } from './kill-cycles.ts'

const BIN = join(process.cwd(), 'build', 'src', 'cli', 'bin.js')
const STAND_LAB = new URL('./stand-lab.js', import.meta.url).pathname
const NOBODY = 65_534
/** Times a lab is killed while it comes up; `npm run bench -- netns-cycles` does it 100 times. */
const CYCLES = 4

t.setTimeout(90_000 + 12_000 * CYCLES)

const isRoot = process.getuid?.() === 0
const detected = await detectIsolation()
const netem = await hasNetem()
const NO_NETNS = detected.isolation === 'netns' ? false : `needs root and network namespaces: ${detected.why}`
const asNobody = (command: readonly string[]): string[] =>
  isRoot ? ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', ...command] : [...command]
const usernsProbe = asNobody(['unshare', '--user', '--map-root-user', '--net', '--mount', 'true'])
const NO_USERNS =
  spawnSync(usernsProbe[0] ?? '', usernsProbe.slice(1)).status === 0 ? false : 'user namespaces are forbidden here'

// Locks of these tests stay among themselves.
const stateDir = mkdtempSync(join(tmpdir(), 'q104-test-state-'))
const nobodysStateDir = mkdtempSync(join(tmpdir(), 'q104-test-state-'))
if (isRoot) chownSync(nobodysStateDir, NOBODY, NOBODY)
process.env['Q104_STATE_DIR'] = stateDir
t.teardown(() => {
  for (const dir of [stateDir, nobodysStateDir]) rmSync(dir, { recursive: true })
})
const lab = `s${process.pid}`

type Done = { readonly code: number | null; readonly out: string }

function command(
  isolation: Isolation,
  args: readonly string[],
): readonly [string, readonly string[], NodeJS.ProcessEnv] {
  // tap's own record of processes would follow into those that may not write it.
  const all = ['env', '-u', 'NODE_OPTIONS', process.execPath, ...args]
  const [file = '', ...rest] = isolation === 'userns' ? asNobody(all) : all
  return [file, rest, { ...process.env, Q104_STATE_DIR: isolation === 'userns' ? nobodysStateDir : stateDir }]
}

/** Runs `q104` to its end: as nobody, if the isolation is userns. */
function q104(isolation: Isolation, ...args: readonly string[]): Done {
  const [file, rest, env] = command(isolation, [BIN, ...args])
  const { status, stdout, stderr } = spawnSync(file, rest, { encoding: 'utf8', env })
  return { code: status, out: stdout + stderr }
}

/** The same in this process, where nothing is inherited and no isolation matters. */
async function inProcess(...args: readonly string[]): Promise<Done> {
  let out = ''
  const write = (text: string | Uint8Array): boolean => {
    out += text
    return true
  }
  const kept = [process.stdout.write, process.stderr.write] as const
  Object.assign(process.stdout, { write })
  Object.assign(process.stderr, { write })
  try {
    const code = await main(args)
    return { code, out }
  } finally {
    Object.assign(process.stdout, { write: kept[0] })
    Object.assign(process.stderr, { write: kept[1] })
  }
}

const leftovers = (): Left => leftOf(lab, [stateDir, nobodysStateDir])

async function nothingLeft(): Promise<Left> {
  const deadline = performance.now() + 5_000
  while (JSON.stringify(leftovers()) !== JSON.stringify(NOTHING_LEFT) && performance.now() < deadline) await sleep(50)
  return leftovers()
}

for (const isolation of ['netns', 'userns'] as const) {
  t.test(
    `${isolation}: a lab is built, used, found up, and taken down`,
    {
      skip: isolation === 'netns' ? NO_NETNS : NO_USERNS,
    },
    async (t) => {
      const cli = (...args: readonly string[]): Done => q104(isolation, ...args)
      const up = ['up', 'scenarios/tiny.yaml', '--lab', lab, '--isolation', isolation]
      t.match(cli(...up), { code: 0, out: /is up: isolation \S+, 8 nodes, 4 links/ })
      t.match(cli('status'), {
        code: 0,
        out: new RegExp(`^${lab} +up since .* ${isolation} +scenarios/tiny.yaml`, 'm'),
      })
      t.match(cli('exec', `${lab}/cc`, '--', 'ip', '-brief', 'address', 'show', 'gwA'), {
        code: 0,
        out: /10\.64\.0\.1\/30/,
      })
      t.match(cli('exec', '--lab', lab, 'cc', '--', 'sh', '-c', 'pwd; exit 7'), { code: 7, out: `${process.cwd()}\n` })
      t.match(cli('exec', 'gwA', '--', 'sh', '-c', 'echo $Q104_LAB --help'), { code: 0, out: `${lab} --help\n` })
      t.match(cli(...up), { code: 0, out: /is up \(it was already\)/ })
      t.match(cli('run', 'scenarios/tiny.yaml', '--lab', lab, '--isolation', isolation), {
        code: 2,
        out: new RegExp(`lab ${lab} is up and kept .*q104 down ${lab}.*--lab`),
      })
      t.match(cli('up', 'scenarios/tiny.yaml', '--lab', lab, '--routed', '--isolation', isolation), {
        code: 2,
        out: /is up with another network/,
      })
      t.match(cli('link', 'cc-gwA', 'show'), { code: 0, out: /cc-gwA: delay=.*\n.*tc: netem limit 10000/ })
      if (!netem) t.match(cli('link', 'gwA-cc', 'set', 'delay=1ms'), { code: 2, out: /kernel has no netem/ })

      const [file, rest, env] = command(isolation, [BIN, 'exec', `${lab}/cc`, '--', 'sleep', '1000'])
      const sleeper = spawn(file, rest, { env, stdio: 'ignore' })
      const ended = new Promise((resolve) => sleeper.once('exit', (code) => resolve(code)))
      while (!/cc .*processes/.test(cli('status', lab).out)) await sleep(50)
      t.match(cli('down', lab), { code: 0, out: /9 namespaces and \d processes cleared/ })
      t.equal(await ended, 137, 'what ran in it has ended with it')
      t.match(cli('down', lab), { code: 0, out: /0 namespaces and 0 processes/ }, 'again')
      t.match(cli('exec', `${lab}/cc`, '--', 'true'), { code: 2, out: /there is no lab/ })
      t.same(await nothingLeft(), NOTHING_LEFT)
    },
  )

  t.test(
    `${isolation}: killed as it comes up, ${CYCLES} times, a lab comes up the next time and leaves nothing`,
    {
      skip: isolation === 'netns' ? NO_NETNS : NO_USERNS,
    },
    async (t) => {
      const [file, rest, env] = command(isolation, [STAND_LAB, isolation, lab])
      const [down, downArgs] = command(isolation, [BIN, 'down', lab])
      const { outcomes, failures, left, veths, endCode } = await killCycles({
        ...{ lab, cycles: CYCLES, env, stateDirs: [stateDir, nobodysStateDir], tempDirs: [] },
        ...{ killed: [file, ...rest], again: [file, ...rest], down: [down, ...downArgs] },
        wasUp: (output) => /^(was )?up$/m.test(output),
      })
      t.same(
        outcomes.filter(({ isUp }) => !isUp),
        [],
      )
      t.same(failures, [])
      t.equal(endCode, 0)
      t.same(left, NOTHING_LEFT, 'no namespace, process or file')
      t.equal(veths, 0, 'no veth')
    },
  )
}

t.test(
  'userns: a lab whose holder was killed is said to be left behind, and made anew',
  { skip: NO_USERNS },
  async (t) => {
    const [file, rest, env] = command('userns', [STAND_LAB, 'userns', lab])
    t.equal(spawnSync(file, rest, { env, encoding: 'utf8' }).stdout, 'up\n')
    const { holder } = JSON.parse(readFileSync(join(nobodysStateDir, `${lab}.lock`), 'utf8')).standing
    process.kill(holder.pid, 'SIGKILL')
    t.match(q104('userns', 'status'), { code: 0, out: /left behind; q104 down/ })
    t.match(q104('userns', 'exec', `${lab}/cc`, '--', 'true'), { code: 2, out: /is not up/ })
    t.equal(spawnSync(file, rest, { env, encoding: 'utf8' }).stdout, 'up\n', 'not "was up"')
    t.match(q104('userns', 'down', lab).out, /namespaces and 1 processes cleared/)
    t.same(await nothingLeft(), NOTHING_LEFT)
  },
)

t.test('netns: on a routed lab every node reaches every other', { skip: NO_NETNS }, async (t) => {
  const cli = (...args: readonly string[]): Done => q104('netns', ...args)
  t.equal(cli('up', 'scenarios/tiny.yaml', '--lab', lab, '--routed').code, 0)
  // 10.64.0.14 is the generator's end of the fourth link, three hops from the centre.
  t.match(cli('exec', 'cc', '--', 'ping', '-c', '1', '-W', '2', '10.64.0.14'), { code: 0, out: /ttl=62/ })
  cli('down', lab)
  cli('up', 'scenarios/tiny.yaml', '--lab', lab)
  t.equal(cli('exec', 'cc', '--', 'ping', '-c', '1', '-W', '1', '10.64.0.14').code, 2, 'and only there')
  cli('down', lab)
  t.same(await nothingLeft(), NOTHING_LEFT)
})

t.test('loopback labs stand side by side; one whose addresses are taken is refused', async (t) => {
  const net = { nodes: [{ id: 'cc', number: 1 }], links: [] }
  const plan = (name: string) => planLab({ ...net, lab: name }, 'loopback')
  const names = Array.from({ length: 5_000 }, (_, i) => `l${i}`)
  const [first = ''] = names
  const same = names.find((name) => name !== first && plan(name).loopbackNetwork === plan(first).loopbackNetwork) ?? ''
  const other = names.find((name) => plan(name).loopbackNetwork !== plan(first).loopbackNetwork) ?? ''
  const stood = [await standLab(plan(first), 'x', new Map()), await standLab(plan(other), 'x', new Map())]
  t.same(
    stood.map(({ wasUp, isBent }) => [wasUp, isBent]),
    [
      [false, false],
      [false, false],
    ],
  )
  await t.rejects(standLab(plan(same), 'x', new Map()), {
    name: 'LabBusyError',
    message: new RegExp(`^lab ${first} has the loopback addresses 127.*another --lab name`),
  })
  t.match(q104('loopback', 'exec', `${first}/cc`, '--', 'echo', 'here'), { code: 0, out: 'here\n' })
  await t.rejects(acquireLab(first), /is up and kept/)
  for (const name of [first, other]) await takeDown(name)
  const lock = await acquireLab(first)
  lock.release()
  t.same(leftovers(), NOTHING_LEFT)
})

t.test('what is asked wrongly is said, with exit code 2', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['up'], /SCENARIO is needed/],
    [['up', 'nowhere.yaml'], /nowhere.yaml: cannot be read/],
    [['up', 'scenarios/tiny.yaml', '--isolation', 'best'], /expected one of netns, userns, loopback/],
    [['up', 'scenarios/tiny.yaml', '--lab', 'Tiny'], /1 to 20 characters/],
    [['exec', 'x/cc', 'true'], /put -- before the command/],
    [['exec', 'x/cc', '--'], /a command is needed/],
    [['exec', 'x/cc', '--', 'true'], /there is no lab x here/],
    [['status', 'x'], /there is no lab x here/],
    [['link'], /NODE-NODE is needed/],
    [['link', 'a-b', 'bend'], /found 'bend', expected show, set or check|there is no lab|which lab/],
    [['down'], /LAB is needed/],
    [['down', '../x'], /1 to 20 characters/],
  ]
  process.env['Q104_STATE_DIR'] = '/dev/null/q104'
  t.match(await inProcess('status'), { code: 2, out: /folder of the labs' locks: .*\/dev\/null\/q104/ })
  process.env['Q104_STATE_DIR'] = `/tmp/${'x'.repeat(80)}`
  t.match(await inProcess('down', 'x'), { code: 2, out: /85 octets, at most 80/ })
  process.env['Q104_STATE_DIR'] = stateDir
  for (const [args, message] of cases) t.match(await inProcess(...args), { code: 2, out: message }, args.join(' '))
  for (const name of ['up', 'status', 'exec', 'link', 'down']) {
    t.match(await inProcess(name, '--help'), { code: 0, out: /usage: q104 [\s\S]*Example: \.\/q104/ }, name)
  }
  t.ok(Array.isArray(JSON.parse((await inProcess('status', '--json')).out)))
})

t.test('words make a law, and a law is said in words', async (t) => {
  const usual = { ...CLEAR, delayMs: 3 }
  const bent = (...words: string[]) => bentLaw(usual, words, usual)
  t.same(bent('delay=20ms', 'jitter=500us', 'distribution=pareto', 'loss=1.5%'), {
    ...{ ...CLEAR, delayMs: 20, jitterMs: 0.5, jitter: 'pareto', lossRatio: 0.015 },
  })
  const all = ['delay=1.5s', 'jitter=2ms', 'distribution=uniform', 'loss=0.1%', 'burst=1%/25%/80%', 'duplicate=2%']
  const law = bent(...all, 'reorder=5%', 'rate=1mbit', 'down')
  t.same(law.burst, { startRatio: 0.01, endRatio: 0.25, lossRatio: 0.8 })
  t.equal(
    wordsOf(law),
    'delay=1500ms jitter=2ms distribution=uniform loss=0.1% burst=1%/25%/80% duplicate=2% reorder=5% rate=1000000bit down',
  )
  t.same(bentLaw(CLEAR, wordsOf(law).split(' '), CLEAR), law)
  t.same(bentLaw(law, ['up', 'burst=none', 'rate=none', 'loss=0'], usual).burst, undefined)
  t.same(bentLaw(law, ['default', 'loss=1%'], usual), { ...usual, lossRatio: 0.01 })
  for (const word of ['delay', 'delay=20', 'delay=-1ms', 'loss=0.5', 'loss=200%', 'rate=fast', 'burst=1%', 'x=1', '']) {
    t.throws(() => bent(word), { name: 'CliError' }, word)
  }
  t.same(joinedWords(['delay=1ms', 'down'], ['up', 'delay=2ms']), ['delay=2ms', 'up'])
  t.same(joinedWords(['delay=1ms'], ['default', 'loss=1%']), ['loss=1%'])
})

t.test('a running lab is asked on its socket, and refuses what is wrong', async (t) => {
  const asked: LabRequest[] = []
  const links = [{ link: 0, name: 'a-b', ends: ['a', 'b'] as const, law: CLEAR, usualLaw: CLEAR }]
  const server = await serveControl(lab, async (request) => {
    asked.push(request)
    if (request.kind === 'bend') throw new Error('no such link')
    return { kind: 'links', appliedBy: 'netem', links }
  })
  t.same((await askLab(lab, { kind: 'links' })).links, links)
  await t.rejects(askLab(lab, { kind: 'bend', link: 7, words: ['down'] }), {
    name: 'CliError',
    message: /no such link/,
  })
  await t.rejects(askLab(lab, { kind: 'bend', link: 0.5, words: [] }), /not a request/)
  t.same(
    asked.map(({ kind }) => kind),
    ['links', 'bend'],
  )
  server.close()
  await t.rejects(askLab(lab, { kind: 'links' }), {
    name: 'CliError',
    message: /cannot be asked while it starts or ends/,
  })
  t.same(readdirSync(stateDir), [])
})

t.test('links that are not as asked for are found, with the figure', async (t) => {
  const isolation = detected.isolation === 'netns' ? 'netns' : 'loopback'
  const nodes = ['a', 'b', 'c'].map((id, i) => ({ id, number: i + 1 }))
  const links = (['ab', 'bc', 'ca', 'ab'] as const).map((ends, link) => ({
    link,
    ends: [ends[0] ?? '', ends[1] ?? ''] as const,
  }))
  const network = await LabNetwork.up(planLab({ lab, nodes, links }, isolation))
  t.teardown(() => network.down())
  const asked = new Map([
    [0, CLEAR],
    [1, { ...CLEAR, delayMs: 40 }],
    [2, { ...CLEAR, lossRatio: 0.5 }],
    [3, { ...CLEAR, outage: true }],
  ])
  const found = await checkLinks(network, asked, 'asTheyAre', { rounds: 1 })
  const about = (text: RegExp): number => found.problems.filter((problem) => text.test(problem)).length
  t.equal(about(/^link [bc] to [bc]: delay \d\.\d ms, 40\.0 ms asked for$/), 2)
  t.equal(about(/^link [ac] to [ac]: 0\.0 % of 40 lost, 50\.0 % asked for$/), 2)
  t.equal(about(/^link [ab] to [ab]: 0\.0 % of 40 lost, 100\.0 % asked for$/), 2)
  t.same(found.links[0]?.lossRatio, { measured: 0, asked: 0 })

  const applied = await checkLinks(network, asked, 'transport')
  t.comment(`timers late ${JSON.stringify(applied.lagMs)}, ${applied.tookMs.toFixed(0)} ms, ${applied.rounds} rounds`)
  t.same(applied.problems, [], 'the probes apply the laws themselves: all as asked')
  t.same(
    applied.links.map(({ lossRatio }) => lossRatio.asked),
    [0, 0, 0.5, 1],
  )
  t.same(applied.links[3]?.directions[0].received, 0)
  t.same(lossRuns([true, false, false, true, false]), [2, 1])
  if (netem) return
  await t.rejects(checkLinks(network, asked, 'netem'), { name: 'LabError' })
})
