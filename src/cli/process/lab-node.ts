import { readFile } from 'node:fs/promises'
import { KeyClient } from '../../keypool/index.ts'
import { ProcessMetrics } from '../../observe/index.ts'
import type { StreamEffect } from '../../rtu/index.ts'
import type { LabEvent, NodeEffect, NodeInput } from '../../runtime/contract.ts'
import { drive, Recorder, UdpLink } from '../../runtime/index.ts'
import { KeyLogFile } from '../../runtime/node-files.ts'
import { Impairment, type LinkLaw, randomStream } from '../../sim/index.ts'
import type { Control, FromProcess, ProcessSpec } from '../lab/ipc.ts'
import { GridClient } from './grid-client.ts'
import { openNodeLedger } from './ledger-io.ts'
import {
  createLabNode,
  type MasterProcessConfig,
  orderOf,
  type ProcessInput,
  type ProcessNode,
} from './node-of-role.ts'
import { linkNamesOf, type RoleHost, type RoleRunner } from './process-main.ts'
import { StreamHub } from './stream-hub.ts'
import { WireRecorder } from './wire-recorder.ts'

/** How often the master tells the run what the terminal shows. */
const STATUS_PERIOD_MS = 500

async function keyClientOf(
  spec: ProcessSpec,
  feed: (input: NodeInput) => void,
  waiting: (peer: string) => void,
): Promise<KeyClient> {
  const serverName = 'keyserver'
  const { ca, cert, key } = spec.certificates
  const [caPem, certPem, keyPem] = await Promise.all([ca, cert, key].map((file) => readFile(file, 'utf8')))
  const client = new KeyClient({
    address: `${spec.keyserver.host}:${spec.keyserver.port}`,
    serverName,
    caPem: caPem ?? '',
    certPem: certPem ?? '',
    keyPem: keyPem ?? '',
    nodeId: spec.id,
    links: spec.ends.map(({ link }) => link),
  })
  // In the same turn as the client was made: it would wipe a block that nobody takes.
  client.onBlock((block) => feed({ kind: 'keyBlock', block }))
  client.onWaiting((wait) => {
    if (wait !== undefined) waiting(serverName)
  })
  return client
}

/** Runs master, gateway, RTU or IED on real sockets: its links on UDP, its keys over gRPC, the grid over TCP. */
export async function startLabNode(host: RoleHost): Promise<RoleRunner> {
  const { spec, nowMs, tell } = host
  const stopped = new AbortController()
  const recorder = new Recorder(spec.eventsFile, spec.id)
  const wire = spec.wireFile === undefined ? undefined : new WireRecorder(spec.wireFile)
  const waiting = (peer: string): void => tell({ kind: 'waiting', for: peer })

  const impairments = new Map<number, Impairment>()
  const links = new Map<number, UdpLink>()
  // What comes in before the run begins waits for `start`, which is every node's first input.
  const early: ProcessInput[] = []
  let feed: (input: ProcessInput) => void = (input) => void early.push(input)

  for (const end of spec.ends) {
    const law = spec.laws?.[end.link]
    const impairment = law && new Impairment(law, randomStream(spec.seed, `law ${end.link} ${end.end}`))
    if (impairment !== undefined) impairments.set(end.link, impairment)
    const link = new UdpLink({
      end,
      nowMs,
      ...(impairment && { law: (now: number, sizeBytes: number) => impairment.arrivals(now, sizeBytes) }),
      ...(wire && { onWire: (bytes: Uint8Array) => wire.record(end, bytes) }),
      onDatagram: (bytes) => feed({ kind: 'datagram', link: end.link, bytes }),
    })
    links.set(end.link, link)
  }

  const ledger = spec.ledger && (await openNodeLedger(spec, spec.ledger, (input) => feed(input)))
  const keyLog = spec.keyLogFile === undefined ? undefined : new KeyLogFile(spec.keyLogFile)
  const keys = await keyClientOf(spec, (input) => feed(input), waiting)
  const isMeter = spec.role === 'master' && (spec.config as MasterProcessConfig).master.meter !== undefined
  const grid = spec.role === 'ied' || isMeter ? new GridClient(spec.grid, waiting) : undefined
  const node: ProcessNode & { status?: () => Readonly<Record<string, unknown>> } = await createLabNode(spec)

  const metrics = new ProcessMetrics({
    role: spec.role,
    linkNames: linkNamesOf(spec),
    wakeLagMaxMs: () => driven.lag().maxMs,
    datagrams: () => new Map([...links].map(([link, { counters }]) => [link, counters])),
  })
  const record = (event: LabEvent, atMs: number): void => {
    recorder.record(event, atMs)
    metrics.observe(event)
  }
  const streams = new StreamHub({
    feed: (input) => feed(input),
    log: (event) => record(event, nowMs()),
  })

  const carryOut = (effect: NodeEffect | StreamEffect, atMs: number): void => {
    switch (effect.kind) {
      case 'send':
        links.get(effect.link)?.send(effect.bytes)
        return
      case 'fetchKeys':
        keys.fetch(effect.channel, effect.upToSlot, effect)
        return
      case 'reserve':
        ledger?.reserve(effect.mark)
        return
      case 'keyLog':
        keyLog?.write(effect.record)
        return
      case 'books':
        record({ name: 'books', ...effect.books }, atMs)
        if (effect.books.side === 'sender') keys.report(effect.books)
        return
      case 'grid':
        grid?.request(effect.request)
        return
      case 'write':
      case 'close':
        streams.carryOut(effect)
        return
      case 'event':
        record(effect.event, atMs)
        // A node gives its counters when its links are closed: nothing more will come from it.
        if (effect.event.name === 'counters') tell({ kind: 'drained' })
        else if (effect.event.name.startsWith('order.')) tell(answerOf(effect.event))
    }
  }
  const driven = drive(node, { nowMs, carryOut, signal: stopped.signal })

  if (spec.role === 'master') keys.onStatus((status) => feed({ kind: 'pool', status }))
  grid?.onMessage((message) => feed({ kind: 'grid', message }))

  await Promise.all([...links.values()].map((link) => link.open()))
  if (spec.tcp !== undefined) await streams.listen(spec.tcp)
  await Promise.all([keys.ready, grid?.ready])

  let statusTimer: NodeJS.Timeout | undefined
  return {
    metrics,
    go(wallMs) {
      // A process that was started again begins in the middle of lab time.
      driven.feed({ kind: 'start', wallMs: wallMs + nowMs(), ...(ledger && { marks: ledger.marks }) })
      feed = driven.feed
      for (const input of early.splice(0)) feed(input)
      if (node.status === undefined) return
      statusTimer = setInterval(() => tell({ kind: 'status', status: node.status?.() ?? {} }), STATUS_PERIOD_MS)
    },
    law(link, law: LinkLaw) {
      const impairment = impairments.get(link)
      if (impairment !== undefined) impairment.law = law
    },
    ...(spec.role === 'master' && {
      control: async (request: number, control: Control): Promise<void> => {
        const order = await orderOf(request, control, spec)
        if (typeof order === 'string') tell({ kind: 'controlled', request, problem: order })
        else feed(order)
      },
    }),
    drain() {
      driven.feed({ kind: 'drain' })
    },
    async stop() {
      clearInterval(statusTimer)
      const counters = { datagramsSent: 0, datagramsReceived: 0, lostByLaw: 0, refused: 0 }
      for (const link of links.values()) {
        counters.datagramsSent += link.counters.sent
        counters.datagramsReceived += link.counters.received
        counters.lostByLaw += link.counters.lostByLaw
        counters.refused += link.counters.refused
      }
      stopped.abort()
      for (const link of links.values()) link.close()
      grid?.close()
      await streams.close()
      await keys.close()
      keyLog?.close()
      await Promise.all([recorder.close(), wire?.close(), ledger?.close()])
      return { lag: driven.lag(), counters }
    },
  }
}

/** What a master's order became: `order.done`, or `order.refused` with its problems. */
function answerOf({ name, request, problems }: LabEvent): FromProcess {
  const problem = name === 'order.refused' ? { problem: String(problems) } : {}
  return { kind: 'controlled', request: Number(request), ...problem }
}
