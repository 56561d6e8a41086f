/**
 * A process that owns a lab, for tests that kill it: `node lab-owner.js <isolation> <lab> <directory>`.
 *
 * Takes the lab, starts the janitor, builds cc - gw - rtu (two links side by side between cc and gw), captures while
 * datagrams go there and back, prints one line of JSON, then waits: for `end` on standard input, or a signal.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  acquireLab,
  Capture,
  hasNetem,
  type Isolation,
  insideUserns,
  LabNetwork,
  type LabPlan,
  planLab,
  reexecInUserns,
  startJanitor,
} from '../../netns/index.ts'

const [isolationArg = '', lab = '', dir = ''] = process.argv.slice(2)
const PORT = 2404
const ROUNDS = 25

/** Answers each datagram with itself, on the given addresses. */
const ECHO = `
const bind = (host) => new Promise((resolve) => {
  const socket = require('dgram').createSocket('udp4')
  socket.on('message', (bytes, peer) => socket.send(bytes, peer.port, peer.address))
  socket.bind(${PORT}, host, resolve)
})
Promise.all(process.argv.slice(1).map(bind)).then(() => console.log('ready'))
`

/** Sends numbered datagrams from the first address to the second, one a millisecond; prints how many came back. */
const CLIENT = `
const [from, to] = process.argv.slice(1)
const socket = require('dgram').createSocket('udp4')
let back = 0
const finish = () => { console.log(back); process.exit() }
socket.on('message', () => { if (++back === ${ROUNDS}) finish() })
socket.bind(${PORT}, from, () => {
  for (let i = 0; i < ${ROUNDS}; i++) setTimeout(() => socket.send('datagram ' + i, ${PORT}, to), i)
})
setTimeout(finish, 5000)
`

/** A TCP server on the management network, and one who asks it. */
const SERVER = `
const server = require('net').createServer((socket) => socket.end('rtu here'))
server.listen(9000, process.argv[1], () => console.log('ready'))
`
const VISITOR = `require('net').connect(9000, process.argv[1]).pipe(process.stdout)`

function inNode(network: LabNetwork, node: string, script: string, addresses: readonly string[]): ChildProcess {
  const command = [...network.execPrefix(node), process.execPath, '-e', script, ...addresses]
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => child.stdout?.once('data', (bytes: Buffer) => resolve(bytes.toString().trim())))
}

/** Addresses of a link's two ends. */
function addresses(plan: LabPlan, link: number): [string, string] {
  const ends = plan.links.find((candidate) => candidate.link === link)?.ends
  return [ends?.[0].address ?? '', ends?.[1].address ?? '']
}

async function own(isolation: Isolation): Promise<number> {
  let signals = 0
  process.on('SIGINT', () => {
    signals++
    setTimeout(() => process.exit(40 + signals), 200)
  })
  const tempDir = join(dir, 'temp')
  mkdirSync(tempDir)
  const lock = await acquireLab(lab)
  const net = {
    lab,
    nodes: ['cc', 'gw', 'rtu'].map((id, i) => ({ id, number: i + 1 })),
    links: [
      { link: 0, ends: ['cc', 'gw'] },
      { link: 1, ends: ['cc', 'gw'] },
      { link: 2, ends: ['gw', 'rtu'] },
    ] as const,
  }
  const plan = planLab(net, isolation)
  const janitor = await startJanitor(plan, lock, [tempDir])
  const network = await LabNetwork.up(plan)
  const path = join(dir, 'capture.pcapng')
  const available = await Capture.available(isolation)
  const capture = available.available ? await Capture.start(plan, { port: PORT, path }) : undefined
  const gw = inNode(network, 'gw', ECHO, [addresses(plan, 0)[1], addresses(plan, 1)[1]])
  const rtu = inNode(network, 'rtu', ECHO, [addresses(plan, 2)[1]])
  await Promise.all([firstLine(gw), firstLine(rtu)])
  const back: number[] = []
  for (const [link, node] of [
    [0, 'cc'],
    [1, 'cc'],
    [2, 'gw'],
  ] as const) {
    back.push(Number(await firstLine(inNode(network, node, CLIENT, addresses(plan, link)))))
  }
  const summary = await capture?.stop()
  const management = plan.nodes[2]?.managementAddress ?? ''
  const server = inNode(network, 'rtu', SERVER, [management])
  await firstLine(server)
  const managementAnswer = await firstLine(inNode(network, 'cc', VISITOR, [management]))
  const report = {
    pids: [process.pid, janitor.pid, gw.pid, rtu.pid, server.pid],
    lockFile: lock.file,
    back,
    managementAnswer,
    netem: await hasNetem(),
    captureFailure: available.available ? '' : available.why,
    capture: summary && { ...summary, framesByLink: [...summary.framesByLink] },
  }
  console.log(JSON.stringify(report))
  await new Promise((resolve) => process.stdin.once('data', resolve))
  await network.down()
  await network.down()
  await janitor.dismiss()
  lock.release()
  return 7
}

const isolation = isolationArg as Isolation
if (isolation === 'userns' && !insideUserns()) process.exitCode = await reexecInUserns(process.argv.slice(1))
else process.exit(await own(isolation))
