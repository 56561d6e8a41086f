/**
 * `npm run bench -- keypool [SECONDS [ROUNDS [RATE]]]`: GetKey through the client's local buffer, and over gRPC with mutual TLS at a
 * fixed rate of requests, with the other end of every link connected and acknowledging, and the books written to a journal. Over
 * gRPC by turns on KeyClient's stream and by a call each, as others may ask. The key server runs in a process of its own.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { arch, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ChannelCredentials, Client } from '@grpc/grpc-js'
import { KeyClient, KeyServerNode, type LabCa, makeLabCa, openKeyJournal, serveKeys } from '../src/keypool/index.ts'
import { keyServerService } from '../src/keypool/messages.ts'

/** Limits that the figures are judged by. */
const BUFFER_P99_US = 50
const GRPC_P99_MS = 5
const RATE_PER_S = 1000
/** A command of 16 octets under one-time pad and tag: 8 slots. */
const SLOTS = 8
const LINKS = Array.from({ length: 32 }, (_, link) => link)

type Pem = { readonly caPem: string; readonly certPem: string; readonly keyPem: string }
/** What a process of the bench is: the key server, or the other end of all links. */
type Role =
  | { readonly kind: 'keyserver'; readonly tls: Pem; readonly dir: string }
  | { readonly kind: 'gw'; readonly tls: Pem; readonly port: number }

async function play(role: Role): Promise<void> {
  process.once('disconnect', () => process.exit())
  process.on('message', () => process.send?.(cpuMs()))
  if (role.kind === 'gw') {
    const client = new KeyClient({ ...clientOptions(role.tls, 'gw', role.port), links: LINKS })
    client.onBlock((block) => block.bytes.fill(0))
    await client.ready
    process.send?.(0)
    return
  }
  const node = new KeyServerNode({
    poolKind: 'shared',
    links: LINKS.map((link) => ({ link, ends: ['master', 'gw'], keys: 'pool' })),
    ...{ capBits: 1e12, safeBits: 0, thBits: 0 },
    journal: openKeyJournal({ path: join(role.dir, 'journal'), identity: 'bench' }),
    randomBytes: (n) => randomBytes(n),
  })
  const { tls } = role
  const server = await serveKeys({ node, host: '127.0.0.1', port: 0, tls, nowMs: () => performance.now() })
  server.feed({ kind: 'start' })
  server.feed({ kind: 'generated', link: 0, bits: 5e11 })
  process.send?.(server.port)
}

/** Starts a process of the bench; gives it and the number it says when it is ready. */
async function start(role: Role): Promise<{ readonly child: ChildProcess; readonly told: number }> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(role)], { execArgv: [] })
  const told = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(Number(message)))
    child.once('exit', () => reject(new Error(`the ${role.kind} ended`)))
  })
  return { child, told }
}

/**
 * `args`: seconds of each gRPC round, default 10, how many rounds of each way, default 3, and requests a second, default 1000 (the
 * limit of p99 is for those).
 */
export async function bench(args: string[]): Promise<void> {
  const [runS = 10, runs = 3, ratePerS = RATE_PER_S] = args.map(Number).filter((value) => value > 0)
  const [cpu] = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  const noise = await timerLateness()
  console.log(`${cpus().length} x ${cpu?.model ?? 'cpu'} (${arch()}), ${memory}, node ${process.version}`)
  console.log(`a 1 ms timer of this machine is late by: ${text(noise, 'ms')}`)
  const dir = mkdtempSync(join(tmpdir(), 'q104-bench-'))
  const lab = await makeLabCa(['keyserver', 'master', 'gw'], Date.now())
  const children: ChildProcess[] = []
  try {
    const { child, told: port } = await start({ kind: 'keyserver', tls: pemOf(lab, 'keyserver'), dir })
    children.push(child)
    children.push((await start({ kind: 'gw', tls: pemOf(lab, 'gw'), port })).child)
    const buffered = await buffer(lab, port)
    console.log(`GetKey through the local buffer:  ${text(buffered, 'us')}   (limit p99 ${BUFFER_P99_US} us)`)
    const p99s: Record<Way, number[]> = { stream: [], unary: [] }
    for (let index = 0; index < 2 * runs; index++) {
      const way = index % 2 === 0 ? 'stream' : 'unary'
      const asker = await ASKERS[way](lab, port)
      await warmUp(asker, ratePerS)
      const machine = machineTicks()
      const [serverMs, peerMs, clientMs] = [...(await Promise.all(children.map(cpuMsOf))), cpuMs()]
      const { tookMs, lateMs } = await overGrpc(asker, runS * ratePerS, ratePerS)
      const clientEndMs = cpuMs()
      const [serverEndMs, peerEndMs] = await Promise.all(children.map(cpuMsOf))
      const stolen = shareStolen(machine)
      await asker.close()
      p99s[way].push(quantile(tookMs, 0.99))
      console.log(`GetKey over gRPC at ${ratePerS}/s, ${way}: ${text(tookMs, 'ms')}   (limit p99 ${GRPC_P99_MS} ms)`)
      const each = (endMs = 0, startMs = 0): string => `${((1000 * (endMs - startMs)) / tookMs.length).toFixed(0)} us`
      const server = `key server ${each(serverEndMs, serverMs)}`
      console.log(
        `  CPU time a request: ${server}, asker ${each(clientEndMs, clientMs)}, other end ${each(peerEndMs, peerMs)}`,
      )
      console.log(`  of the time, until the asker's timer let it ask: ${text(lateMs, 'ms')}; ${stolen}`)
    }
    for (const [way, values] of Object.entries(p99s)) {
      console.log(`median of ${runs} rounds, ${way}: p99 ${quantile(values, 0.5).toFixed(2)} ms over gRPC`)
    }
  } finally {
    for (const child of children) child.kill()
    rmSync(dir, { recursive: true })
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

type MachineTicks = { readonly all: number; readonly idle: number; readonly stolen: number } | undefined

/** What the machine's processors have done so far, by Linux; undefined elsewhere. */
function machineTicks(): MachineTicks {
  try {
    const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]?.trim().split(/\s+/).slice(1, 9).map(Number) ?? []
    const [, , , idle = 0, waiting = 0, , , stolen = 0] = fields
    return { all: fields.reduce((sum, ticks) => sum + ticks, 0), idle: idle + waiting, stolen }
  } catch {
    return undefined
  }
}

/** What of the processors' time since then the host gave to others, and what was idle: a round with much of the first tells little. */
function shareStolen(before: MachineTicks): string {
  const now = machineTicks()
  if (before === undefined || now === undefined) return 'steal unknown'
  const percent = (ticks: number): string => `${((100 * ticks) / (now.all - before.all)).toFixed(1)} %`
  return `stolen by the host ${percent(now.stolen - before.stolen)}, idle ${percent(now.idle - before.idle)}`
}

/** CPU time of a process of the bench so far. */
function cpuMsOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('message', (told) => resolve(Number(told)))
    child.send('cpu')
  })
}

/** From `fetch` until the block is with the node, us; the server refills the buffer meanwhile. */
async function buffer(lab: LabCa, port: number): Promise<number[]> {
  const ahead = { lowSlots: 2048, highSlots: 8192 }
  const client = new KeyClient({ ...clientOptions(pemOf(lab, 'master'), 'master', port), links: LINKS, ahead })
  const reach = new Map<number, number>()
  client.onBlock(({ channel, slot, bytes }) => {
    reach.set(channel, slot + bytes.length / 4)
    bytes.fill(0)
  })
  await client.ready
  for (const link of LINKS) client.fetch(2 * link, SLOTS)
  await new Promise((resolve) => setTimeout(resolve, 500))
  const goals = new Map(LINKS.map((link) => [2 * link, reach.get(2 * link) ?? 0]))
  const tookUs: number[] = []
  let late = 0
  for (let batch = 0; batch < 4000; batch++) {
    for (let index = 0; index < 5; index++) {
      const channel = 2 * ((5 * batch + index) % LINKS.length)
      const goal = (goals.get(channel) ?? 0) + SLOTS
      goals.set(channel, goal)
      const start = process.hrtime.bigint()
      client.fetch(channel, goal)
      if ((reach.get(channel) ?? 0) < goal) late++
      tookUs.push(Number(process.hrtime.bigint() - start) / 1000)
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await client.close()
  if (late > 0) console.log(`${late} of ${tookUs.length} fetches found the buffer empty`)
  return tookUs
}

/** One who asks for key, and is told of each key that has come: its channel and where it ends. */
type Asker = {
  /** Where the key of each channel that has come ends. */
  readonly reach: ReadonlyMap<number, number>
  readonly onKey: (came: (channel: number, endSlot: number) => void) => void
  readonly ask: (channel: number, goal: number) => void
  readonly close: () => Promise<void>
}

const ASKERS = {
  async stream(lab: LabCa, port: number): Promise<Asker> {
    const client = new KeyClient({ ...clientOptions(pemOf(lab, 'master'), 'master', port), links: LINKS })
    const reach = new Map<number, number>()
    let tell = (_channel: number, _endSlot: number): void => {}
    client.onBlock(({ channel, slot, bytes }) => {
      bytes.fill(0)
      reach.set(channel, slot + bytes.length / 4)
      tell(channel, slot + bytes.length / 4)
    })
    await client.ready
    return {
      reach,
      onKey: (came) => {
        tell = came
      },
      ask: (channel, goal) => client.fetch(channel, goal),
      close: () => client.close(),
    }
  },

  /** No stream at all: the key comes in the answer, and what has come is reported now and then. */
  async unary(lab: LabCa, port: number): Promise<Asker> {
    const { getKey, reportUse } = keyServerService
    const { caPem, certPem, keyPem } = pemOf(lab, 'master')
    const credentials = ChannelCredentials.createSsl(...[caPem, keyPem, certPem].map((pem) => Buffer.from(pem)))
    const client = new Client(`127.0.0.1:${port}`, credentials, { 'grpc.ssl_target_name_override': 'keyserver' })
    const held = new Map<number, number>()
    const reach = new Map<number, number>()
    let tell = (_channel: number, _endSlot: number): void => {}
    const timer = setInterval(() => {
      const uses = [...held].map(([channel, heldSlots]) => ({ channel, heldSlots, usedSlots: 0 }))
      held.clear()
      client.makeUnaryRequest(
        reportUse.path,
        reportUse.requestSerialize,
        reportUse.responseDeserialize,
        { uses },
        () => {},
      )
    }, 100)
    return {
      reach,
      onKey: (came) => {
        tell = came
      },
      ask: (channel, upToSlot) => {
        const request = { channel, slots: SLOTS, upToSlot }
        const options = { deadline: Date.now() + 10_000 }
        const { path, requestSerialize, responseDeserialize } = getKey
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, (error, reply) => {
          if (error !== null || reply === undefined) throw new Error(`GetKey: ${error?.message}`)
          for (const { bytes } of reply.blocks) bytes.fill(0)
          held.set(channel, reply.assignedSlots)
          reach.set(channel, reply.assignedSlots)
          tell(channel, reply.assignedSlots)
        })
      },
      close: async () => {
        clearInterval(timer)
        client.close()
      },
    }
  },
} as const
type Way = keyof typeof ASKERS

/** Where the streams begin, and warm code. */
async function warmUp(asker: Asker, ratePerS: number): Promise<void> {
  for (const link of LINKS) asker.ask(2 * link, 1)
  await new Promise((resolve) => setTimeout(resolve, 500))
  await overGrpc(asker, 2 * ratePerS, ratePerS)
}

/**
 * So many requests at fixed times, whether or not the ones before were answered; from when one was due until its key is here, and
 * until it was asked, ms. One client, its requests spread over its links.
 */
async function overGrpc(
  asker: Asker,
  total: number,
  ratePerS: number,
): Promise<{ tookMs: number[]; lateMs: number[] }> {
  const due = new Map<number, { readonly goal: number; readonly dueMs: number }[]>()
  const [tookMs, lateMs]: [number[], number[]] = [[], []]
  asker.onKey((channel, end) => {
    const waiting = due.get(channel) ?? []
    while (waiting[0] !== undefined && waiting[0].goal <= end) {
      tookMs.push(performance.now() - waiting[0].dueMs)
      waiting.shift()
    }
  })
  const ask = (index: number, dueMs: number): void => {
    const channel = 2 * (index % LINKS.length)
    const waiting = due.get(channel) ?? []
    const goal = (waiting.at(-1)?.goal ?? asker.reach.get(channel) ?? 0) + SLOTS
    due.set(channel, [...waiting, { goal, dueMs }])
    asker.ask(channel, goal)
    lateMs.push(performance.now() - dueMs)
  }
  const startMs = performance.now() + 1
  for (let sent = 0; sent < total; ) {
    const dueMs = startMs + (sent * 1000) / ratePerS
    if (performance.now() >= dueMs) ask(sent++, dueMs)
    else await new Promise((resolve) => setTimeout(resolve, 1))
  }
  while ([...due.values()].some((waiting) => waiting.length > 0)) {
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return { tookMs, lateMs }
}

/** What the machine itself adds, ms: other programs, and a virtual machine's host. */
async function timerLateness(): Promise<number[]> {
  const lateMs: number[] = []
  for (let index = 0; index < 1000; index++) {
    const startMs = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 1))
    lateMs.push(performance.now() - startMs - 1)
  }
  return lateMs
}

function pemOf(lab: LabCa, id: string): Pem {
  const { certPem = '', keyPem = '' } = lab.nodes.get(id) ?? {}
  return { caPem: lab.caPem, certPem, keyPem }
}

function clientOptions(pem: Pem, nodeId: string, port: number) {
  return { address: `127.0.0.1:${port}`, serverName: 'keyserver', ...pem, nodeId }
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

function text(values: readonly number[], unit: string): string {
  const [p50, p99, max] = [quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)]
  return `p50 ${p50.toFixed(2)} ${unit}, p99 ${p99.toFixed(2)} ${unit}, max ${max.toFixed(2)} ${unit} of ${values.length}`
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send !== undefined) {
  await play(JSON.parse(process.argv[2] ?? ''))
}
