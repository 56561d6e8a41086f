import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LabNetwork, LabPlan as NetPlan } from '../../../netns/index.ts'
import { KME_ID, type LabPlan, type Scenario } from '../../experiment/index.ts'
import type { LinkLaw } from '../../sim/index.ts'
import type { GridConfig } from '../process/grid.ts'
import type { Address, LinkEnd, ProcessSpec } from './ipc.ts'
import type { Launch } from './lab-run.ts'
import type { OutsideWays } from './outside.ts'
import type { RunFolder } from './run-folder.ts'

/** UDP port of the operational plane. */
export const Q3P_PORT = 10_104
/** Processes besides the scenario's nodes, on the management network. */
export const SERVICES = ['keyserver', 'grid', 'redis'] as const

const PORTS = { keyserver: 10_443, grid: 10_118, redis: 16_379 }
const MAIN = fileURLToPath(new URL('../main-process.js', import.meta.url))
/** Small heaps: a lab is many processes, and each does little. */
const NODE = [
  process.execPath,
  '--max-semi-space-size=1',
  '--v8-pool-size=1',
  '--optimize-for-size',
  '--max-old-space-size=128',
  MAIN,
]

export type LaunchContext = {
  readonly scenario: Scenario
  readonly plan: LabPlan
  readonly net: NetPlan
  readonly network: LabNetwork
  readonly folder: RunFolder
  readonly certificateDir: string
  readonly tempDir: string
  /** The nodes apply the links' laws themselves. */
  readonly impairInTransport: boolean
  /** The nodes record what they send themselves. */
  readonly recordWires: boolean
  readonly redisServer: string | undefined
  /** Names this run in the nodes' ledgers. */
  readonly runId: string
  readonly keyLogFile: string | undefined
  readonly outside: OutsideWays
  /** Certificates of the authority for programs outside. */
  readonly saeDir: string
}

/** The processes of a lab: Redis, key server, grid, and a process a node. They find each other in whatever order they start. */
export function launchesOf(context: LaunchContext): readonly Launch[] {
  const { scenario, plan, net, network, folder, redisServer } = context
  const address = (id: keyof typeof PORTS): Address => ({ host: hostOf(net, id), port: PORTS[id] })
  const linkNames = Object.fromEntries(net.links.map(({ link, name }) => [link, name]))
  const base = (id: string): Omit<ProcessSpec, 'role' | 'config' | 'ends'> => ({
    id,
    lab: net.lab,
    seed: plan.seed,
    eventsFile: folder.eventsFile(id),
    certificates: certificatesOf(context.certificateDir, id),
    keyserver: address('keyserver'),
    grid: address('grid'),
    linkNames,
    ...(redisServer !== undefined && { redis: address('redis') }),
  })
  const launch = (spec: ProcessSpec): Launch => ({
    id: spec.id,
    command: [...network.execPrefix(spec.id), ...NODE],
    spec,
  })
  const gridConfig: GridConfig = { ...plan.grid, case: scenario.grid.case }
  const laws: Record<number, LinkLaw> = Object.fromEntries(plan.links.map(({ link, law }) => [link, law]))
  const redis = (server: string): Launch => {
    const { host, port } = address('redis')
    const options = [
      '--bind',
      host,
      '--port',
      String(port),
      '--save',
      '',
      '--appendonly',
      'no',
      '--protected-mode',
      'no',
    ]
    const command = [...network.execPrefix('redis'), server, ...options, '--dir', context.tempDir]
    return { id: 'redis', command, readyLine: /Ready to accept connections/ }
  }
  return [
    ...(redisServer === undefined ? [] : [redis(redisServer)]),
    launch({
      ...base('keyserver'),
      role: 'keyserver',
      config: plan.keyserver,
      ends: [],
      ledger: { file: folder.journalFile('keyserver'), run: context.runId, isRestart: false },
      tunnels: context.outside.tunnels,
      ...serve014Of(context),
    }),
    launch({ ...base('grid'), role: 'grid', config: gridConfig, ends: [] }),
    ...plan.nodes.map(({ id, ...node }) =>
      launch({
        ...base(id),
        role: node.kind,
        config: node.kind === 'master' ? { master: node.config, scheduler: plan.scheduler } : node.config,
        ends: endsOf(net, id),
        ...(node.kind === 'rtu' && node.config.tcp && { tcp: { host: hostOf(net, id), port: node.config.tcp.port } }),
        ledger: { file: folder.ledgerFile(id), run: context.runId, isRestart: false },
        ...(context.keyLogFile !== undefined && { keyLogFile: context.keyLogFile }),
        ...(context.impairInTransport && { laws }),
        ...(context.recordWires && { wireFile: folder.wireFile(id) }),
      }),
    ),
  ]
}

function serve014Of({ plan, outside, saeDir }: LaunchContext): Pick<ProcessSpec, 'serve014'> {
  const { serve014 } = plan.keyserver
  if (serve014 === undefined || outside.serve014 === undefined) return {}
  const { pairs, keySizeBits } = serve014
  const { socketPath } = outside.serve014
  return { serve014: { pairs, keySizeBits, kmeId: KME_ID, certificates: certificatesOf(saeDir, KME_ID), socketPath } }
}

function hostOf(net: NetPlan, id: string): string {
  return net.nodes.find((node) => node.id === id)?.managementAddress ?? ''
}

function certificatesOf(dir: string, id: string): ProcessSpec['certificates'] {
  return { ca: join(dir, 'ca.pem'), cert: join(dir, `${id}.pem`), key: join(dir, `${id}.key.pem`) }
}

function endsOf(net: NetPlan, id: string): readonly LinkEnd[] {
  return net.links.flatMap(({ link, ends: [first, second] }): readonly LinkEnd[] => {
    if (first.node === id) {
      return [{ link, end: 0, localHost: first.address, peerHost: second.address, port: Q3P_PORT }]
    }
    if (second.node !== id) return []
    return [{ link, end: 1, localHost: second.address, peerHost: first.address, port: Q3P_PORT }]
  })
}

/** The same process started again: its ledger must be there, and its links begin new epochs. */
export function relaunchOf(context: LaunchContext, plan: LabPlan, id: string): Launch | undefined {
  const launch = launchesOf({ ...context, plan }).find((entry) => entry.id === id)
  if (launch?.spec === undefined) return undefined
  const { ledger } = launch.spec
  return { ...launch, spec: { ...launch.spec, ...(ledger && { ledger: { ...ledger, isRestart: true } }) } }
}
