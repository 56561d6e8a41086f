import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  acquireLab,
  Capture,
  clearNamespaces,
  detectIsolation,
  ensureStateDir,
  hasNetem,
  type Isolation,
  isProcessDir,
  LabNetwork,
  labHolder,
  labOfNamespace,
  makeProcessDir,
  planLab,
} from '../../netns/index.ts'
import { identify, isAlive } from '../../netns/processes.ts'
import { rawUdpPacket, readPcapng } from '../../src/runtime/pcapng.ts'
import { CLEAR } from '../../src/sim/index.ts'

const OWNER = new URL('./lab-owner.js', import.meta.url).pathname
const NOBODY = 65_534
const ROUNDS = 25

const isRoot = process.getuid?.() === 0
const detected = await detectIsolation()
const NO_NETNS = detected.isolation === 'netns' ? false : `needs root and network namespaces: ${detected.why}`
const asNobody = (command: readonly string[]): string[] =>
  isRoot ? ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', ...command] : [...command]
const usernsProbe = asNobody(['unshare', '--user', '--map-root-user', '--net', '--mount', 'true'])
const NO_USERNS =
  spawnSync(usernsProbe[0] ?? '', usernsProbe.slice(1)).status === 0 ? false : 'user namespaces are forbidden here'

// Locks of these tests stay among themselves.
const stateDir = mkdtempSync(join(tmpdir(), 'q104-test-state-'))
process.env['Q104_STATE_DIR'] = stateDir
t.teardown(() => rmSync(stateDir, { recursive: true }))
const lab = `t${process.pid}`

type Report = {
  readonly pids: readonly number[]
  readonly lockFile: string
  readonly back: readonly number[]
  readonly managementAnswer: string
  readonly netem: boolean
  readonly captureFailure: string
  readonly capture?: { readonly missedFrames: number; readonly failures: string[]; framesByLink: [number, number][] }
}

type Owner = { readonly process: ChildProcess; readonly report: Report; readonly exit: Promise<number | null> }

/** Starts an owner process and waits for its report. It has a process group of its own, as a shell gives a job. */
async function startOwner(isolation: Isolation, dir: string, env: NodeJS.ProcessEnv = {}): Promise<Owner> {
  // tap's own record of processes would follow into those that may not write it.
  const command = ['env', '-u', 'NODE_OPTIONS', process.execPath, OWNER, isolation, lab, dir]
  const [file = '', ...args] = isolation === 'userns' ? asNobody(command) : command
  const owner = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    env: { PATH: process.env['PATH'], Q104_STATE_DIR: stateDir, ...env },
  })
  const exit = new Promise<number | null>((resolve) => owner.once('exit', resolve))
  const line = await new Promise<string>((resolve, reject) => {
    let text = ''
    owner.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString()
      if (text.includes('\n')) resolve(text)
    })
    owner.once('exit', (code) => reject(new Error(`the owner ended with ${code}: ${text}`)))
  })
  return { process: owner, report: JSON.parse(line), exit }
}

async function within(ms: number, condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + ms
  while (!condition()) {
    if (performance.now() > deadline) return false
    await sleep(20)
  }
  return true
}

function labNamespaces(): string[] {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => labOfNamespace(line.split(' ')[0] ?? '') === lab)
}

function veths(): number {
  const { stdout } = spawnSync('ip', ['-o', 'link', 'show', 'type', 'veth'], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line !== '').length
}

/** Every frame as `<interface> <source> <payload>`, and how many had a wrong UDP checksum. */
function frames(path: string): { readonly seen: string[]; readonly wrong: number; readonly inOrder: boolean } {
  const { interfaces, frames } = readPcapng(readFileSync(path))
  let wrong = 0
  const seen = frames.map(({ interfaceId, bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const sourceAddress = bytes.subarray(12, 16).join('.')
    const ends = {
      ...{ sourceAddress, sourcePort: view.getUint16(20) },
      ...{ destinationAddress: bytes.subarray(16, 20).join('.'), destinationPort: view.getUint16(22) },
    }
    const payload = bytes.subarray(28)
    if (Buffer.compare(rawUdpPacket(ends, payload).subarray(20), bytes.subarray(20)) !== 0) wrong++
    return `${interfaces[interfaceId]?.description} ${interfaces[interfaceId]?.name} ${sourceAddress} ${Buffer.from(payload)}`
  })
  const times = frames.map(({ timestampNs }) => timestampNs)
  return { seen, wrong, inOrder: times.every((time, i) => i === 0 || time >= (times[i - 1] ?? 0n)) }
}

/** What `frames` must see of an owner's datagrams: each once there and once back, on its own link. */
function expectedFrames(base: string): string[] {
  const links = [
    { link: 0, name: 'cc-gw' },
    { link: 1, name: 'cc-gw' },
    { link: 2, name: 'gw-rtu' },
  ]
  return links.flatMap(({ link, name }) => {
    const [first, second] = [`${base}.${4 * link + 1}`, `${base}.${4 * link + 2}`]
    const where = `link ${link}: ${first} - ${second} ${name}`
    return Array.from({ length: ROUNDS }, (_, i) => i).flatMap((i) =>
      [first, second].map((source) => `${where} ${source} datagram ${i}`),
    )
  })
}

function checkTraffic(t: Tap, { back, capture, captureFailure }: Report, dir: string, base: string): void {
  t.same(back, [ROUNDS, ROUNDS, ROUNDS], 'every datagram came back, over each of the links')
  if (capture === undefined) {
    t.comment(`no capture here: ${captureFailure}`)
    return
  }
  const { seen, wrong, inOrder } = frames(join(dir, 'capture.pcapng'))
  t.same(seen.sort(), expectedFrames(base).sort(), 'each datagram is in the capture once, on its link')
  t.equal(wrong, 0, 'all checksums are complete')
  t.ok(inOrder, 'in order of time')
  t.same([capture.missedFrames, capture.failures], [0, []])
  t.same(
    capture.framesByLink.map(([, count]) => count),
    [2 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS],
  )
}

type Tap = Pick<typeof t, 'same' | 'equal' | 'ok' | 'comment' | 'teardown'>

/** A directory that the owner may write to, also when it runs as nobody. */
function openDir(t: Tap): string {
  const dir = mkdtempSync(join(tmpdir(), 'q104-test-'))
  chmodSync(dir, 0o777)
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

t.test(
  'netns: a lab carries its datagrams, and nothing is left when its owner is killed',
  { skip: NO_NETNS },
  async (t) => {
    const dir = openDir(t)
    const vethsBefore = veths()
    const owner = await startOwner('netns', dir)
    const { report } = owner
    checkTraffic(t, report, dir, '10.64.0')
    t.equal(report.managementAnswer, 'rtu here', 'the nodes reach each other over the management bridge')
    t.equal(report.netem, await hasNetem())
    t.same(labNamespaces().length, 4)
    t.equal(labHolder(lab)?.pid, report.pids[0])
    await t.rejects(acquireLab(lab), { name: 'LabBusyError', pid: report.pids[0] ?? 0 }, 'the lab is taken')

    process.kill(-(report.pids[1] ?? 0), 'SIGINT')
    process.kill(-(report.pids[1] ?? 0), 'SIGTERM')
    process.kill(report.pids[0] ?? 0, 'SIGKILL')
    t.ok(
      await within(8_000, () => !existsSync(report.lockFile)),
      'the janitor ignores Ctrl-C and removes the lock last',
    )
    t.same(labNamespaces(), [], 'no namespace')
    t.notOk(existsSync(join(dir, 'temp')), 'no temporary directory')
    t.ok(await within(2_000, () => report.pids.every((pid) => identify(pid) === undefined)), 'no process')
    t.equal(veths(), vethsBefore, 'no veth')
  },
)

t.test('netns: a lab that ends by itself leaves nothing either', { skip: NO_NETNS }, async (t) => {
  const dir = openDir(t)
  const { process: owner, report, exit } = await startOwner('netns', dir)
  owner.stdin?.write('end\n')
  t.equal(await exit, 7)
  t.same([labNamespaces(), existsSync(report.lockFile)], [[], false])
  t.ok(await within(2_000, () => report.pids.every((pid) => identify(pid) === undefined)), 'no process, no janitor')
})

t.test('netns: a new run waits for the janitor of a killed one, then builds', { skip: NO_NETNS }, async (t) => {
  const { report } = await startOwner('netns', openDir(t))
  process.kill(report.pids[0] ?? 0, 'SIGKILL')
  await within(2_000, () => identify(report.pids[0] ?? 0) === undefined)
  const lock = await acquireLab(lab)
  const plan = planLab({ lab, nodes: [{ id: 'cc', number: 1 }], links: [] }, 'netns')
  const network = await LabNetwork.up(plan)
  await sleep(200)
  t.equal(labNamespaces().length, 2, 'the old janitor does not touch the new lab')
  await network.down()
  lock.release()
  t.notOk(existsSync(lock.file))
})

t.test(
  'netns: leftovers are cleared with the processes in them, other labs untouched',
  { skip: NO_NETNS },
  async (t) => {
    const nodes = [{ id: 'cc', number: 1 }]
    const other = await LabNetwork.up(planLab({ lab: `${lab}-b`, nodes, links: [] }, 'netns'))
    const network = await LabNetwork.up(planLab({ lab, nodes, links: [] }, 'netns'))
    const [file = '', ...args] = [...network.execPrefix('cc'), 'sleep', '1000']
    const sleeper = spawn(file, args)
    const ended = new Promise((resolve) => sleeper.once('exit', (_, signal) => resolve(signal)))
    await within(2_000, () => readFileSync(`/proc/${sleeper.pid}/comm`, 'utf8') === 'sleep\n')
    const { namespaces, killedPids } = await clearNamespaces(lab)
    t.same(namespaces.toSorted(), [`q104-${lab}-cc`, `q104-${lab}-hub`])
    t.same(killedPids, [sleeper.pid])
    t.equal(await ended, 'SIGKILL')
    t.same(await clearNamespaces(lab), { namespaces: [], killedPids: [] }, 'nothing the second time')
    t.equal(labNamespaces().length, 0)
    t.equal((await clearNamespaces(`${lab}-b`)).namespaces.length, 2)
    await other.down()
  },
)

t.test('netns: what the kernel refuses is said, and nothing half-built stays', { skip: NO_NETNS }, async (t) => {
  const plan = planLab({ lab, nodes: [{ id: 'cc', number: 1 }], links: [] }, 'netns')
  const [node] = plan.nodes
  const twice = { ...plan, nodes: [...plan.nodes, ...(node === undefined ? [] : [node])] }
  await t.rejects(LabNetwork.up(twice), { name: 'LabError', message: /netns add q104-.*-cc: .*exists/ })
  t.same(labNamespaces(), [])
  const network = await LabNetwork.up(plan)
  t.throws(() => network.execPrefix('nobody'), /no node nobody/)
  await network.down()
})

t.test('netns: 30 namespaces, 26 links and the bridge are up in a moment', { skip: NO_NETNS }, async (t) => {
  const nodes = Array.from({ length: 29 }, (_, i) => ({ id: `node${i}`, number: i + 1 }))
  const links = Array.from({ length: 26 }, (_, link) => ({
    link,
    ends: [`node${link % 4}`, `node${link + 3}`] as const,
  }))
  const plan = planLab({ lab, nodes, links: links.filter(({ ends: [a, b] }) => a !== b) }, 'netns')
  const startMs = performance.now()
  const network = await LabNetwork.up(plan)
  const upMs = performance.now()
  if ((await Capture.available('netns')).available) {
    const capture = await Capture.start(plan, { port: 2404, path: join(t.testdir(), 'capture.pcapng') })
    const captureMs = performance.now()
    t.comment(`capture begins in ${Math.round(captureMs - upMs)} ms`)
    await capture.stop()
  }
  const downStartMs = performance.now()
  await network.down()
  const downMs = performance.now() - downStartMs
  t.comment(`built in ${Math.round(upMs - startMs)} ms, taken down in ${Math.round(downMs)} ms`)
  t.ok(upMs - startMs < 5_000 && downMs < 5_000)
  t.same(labNamespaces(), [])
})

t.test(
  'userns: the same lab without root; Ctrl-C arrives once, the exit code comes out',
  { skip: NO_USERNS },
  async (t) => {
    const dir = openDir(t)
    // Below /run, where the user namespace has a tmpfs of its own: the lock must be seen from outside all the same.
    const runtimeDir = isRoot ? mkdtempSync('/run/q104-test-') : dir
    if (isRoot) chownSync(runtimeDir, NOBODY, NOBODY)
    t.teardown(() => rmSync(runtimeDir, { recursive: true, force: true }))
    const env = { Q104_STATE_DIR: join(runtimeDir, 'q104') }

    const first = await startOwner('userns', dir, env)
    checkTraffic(t, first.report, dir, '10.64.0')
    t.equal(first.report.managementAnswer, 'rtu here')
    t.equal(first.report.netem, await hasNetem(), 'netem is found, or not, inside too')
    t.same(labNamespaces(), [], 'its namespaces are invisible outside')
    t.equal(first.report.lockFile, join(runtimeDir, 'q104', `${lab}.lock`))
    t.ok(existsSync(first.report.lockFile), 'its lock is not')
    process.kill(-(first.process.pid ?? 0), 'SIGINT')
    t.equal(await first.exit, 41, 'one SIGINT')
    t.ok(await within(8_000, () => first.report.pids.every((pid) => identify(pid) === undefined)), 'no process is left')
    t.notOk(existsSync(first.report.lockFile), 'nor the lock')

    const second = await startOwner('userns', dir, env)
    second.process.kill('SIGKILL')
    t.ok(
      await within(8_000, () => second.report.pids.every((pid) => identify(pid) === undefined)),
      'killed from outside',
    )
    t.same([existsSync(second.report.lockFile), existsSync(join(dir, 'temp'))], [false, false], 'nothing is left')
  },
)

t.test('loopback: the lab is its addresses; capture tells links apart by them', async (t) => {
  const dir = openDir(t)
  const { process: owner, report, exit } = await startOwner('loopback', dir)
  const plan = planLab({ lab, nodes: [{ id: 'cc', number: 1 }], links: [] }, 'loopback')
  checkTraffic(t, report, dir, plan.loopbackNetwork?.replace(/\.0\/18$/, '') ?? '')
  owner.stdin?.write('end\n')
  t.equal(await exit, 7)
  t.notOk(existsSync(report.lockFile))
  const network = await LabNetwork.up(plan)
  t.same(network.execPrefix('cc'), [])
  await t.rejects(network.setLaw(0, { ...CLEAR, delayMs: 1 }), /needs network namespaces/)
})

t.test('the folder of a killed process goes when somebody takes a lab, a live one keeps its own', async (t) => {
  const live = makeProcessDir()
  writeFileSync(join(live, 'file'), '')
  t.ok(isProcessDir(live))
  t.equal(makeProcessDir(), live, 'one folder a process')
  const own = identify(process.pid)
  const dead = [
    `p${process.pid.toString(36)}-${((own?.startTicks ?? 0) - 1).toString(36)}`,
    `p${(2 ** 22).toString(36)}-1`,
  ].map((name) => join(ensureStateDir(), name))
  const others = ['p1', 'p-1', 'px-1.tmp', 'p!-1'].map((name) => join(ensureStateDir(), name))
  for (const folder of [...dead, ...others]) mkdirSync(folder)
  for (const folder of dead) writeFileSync(join(folder, 'kme-0.sock'), '')
  const lock = await acquireLab(lab)
  t.same(dead.map(existsSync), [false, false])
  t.same([...others, join(live, 'file')].map(existsSync), [true, true, true, true, true])
  lock.release()
  t.notOk(['/tmp', '/', join(live, 'file'), join(live, '..')].some(isProcessDir))
  for (const folder of [live, ...others]) rmSync(folder, { recursive: true })
})

t.test('a stale lock is taken over, a live one names its process, a broken one stops nobody', async (t) => {
  const file = join(ensureStateDir(), `${lab}.lock`)
  const own = identify(process.pid)
  writeFileSync(file, JSON.stringify({ owner: own }))
  await t.rejects(acquireLab(lab), {
    message: `lab ${lab} is in use by process ${process.pid}; end it first, or give this run another --lab name`,
  })
  const reused = { pid: process.pid, startTicks: (own?.startTicks ?? 0) - 1 }
  t.notOk(isAlive(reused), 'the same pid with another start time is another process')
  for (const text of [JSON.stringify({ owner: reused }), '', 'null', '{"owner":{"pid":-1}}', '[]']) {
    writeFileSync(file, text)
    const lock = await acquireLab(lab)
    t.same(JSON.parse(readFileSync(file, 'utf8')), { owner: own }, `taken over: ${text}`)
    lock.release()
    lock.release()
    t.notOk(existsSync(file))
  }
  writeFileSync(file, JSON.stringify({ owner: reused }))
  const racers = await Promise.allSettled([acquireLab(lab), acquireLab(lab), acquireLab(lab)])
  t.equal(racers.filter(({ status }) => status === 'fulfilled').length, 1, 'one of several takes it')
  rmSync(file)
  await t.rejects(acquireLab('../evil'), { name: 'PlanError' })
})

t.test('a state directory that others can write to is refused', async (t) => {
  const dir = openDir(t)
  const kept = process.env['Q104_STATE_DIR']
  t.teardown(() => {
    process.env['Q104_STATE_DIR'] = kept
  })
  process.env['Q104_STATE_DIR'] = dir
  t.throws(() => ensureStateDir(), /must have mode 0700/)
  mkdirSync(join(dir, 'own'))
  process.env['Q104_STATE_DIR'] = join(dir, 'own', 'new')
  t.equal(ensureStateDir(), join(dir, 'own', 'new'))
  if (isRoot) {
    chownSync(join(dir, 'own', 'new'), NOBODY, NOBODY)
    t.throws(() => ensureStateDir(), /belongs to user 65534/)
  }
})

t.test('isolation is found by trying, and said in one sentence', async (t) => {
  t.match(detected, { isolation: /^(netns|userns|loopback)$/, why: /./ })
  t.same(await detectIsolation('loopback'), { isolation: 'loopback', why: 'loopback addresses, as asked' })
  if (!isRoot) await t.rejects(detectIsolation('netns'), { name: 'IsolationError', message: /not root/ })
  if (NO_USERNS === false) t.equal((await detectIsolation('userns')).isolation, 'userns')
  t.notOk(existsSync(`/run/netns/q104probe-${process.pid}`), 'the probe is gone')
  t.equal(typeof (await hasNetem()), 'boolean')
})
