import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { PlanKeyServer } from '../../experiment/index.ts'
import { KeyServerNode, openKeyJournal, PoolPublisher, serveKeys } from '../../keypool/index.ts'
import { ProcessMetrics } from '../../observe/index.ts'
import { Recorder } from '../../runtime/index.ts'
import { type KeySourceHost, modelSource } from './key-source.ts'
import { linkNamesOf, type RoleHost, type RoleRunner } from './process-main.ts'

/** How often the run hears how the stock stands. */
const STATUS_PERIOD_MS = 500

/**
 * The key server: the QKD links' model, or key managers, fill the pool; gRPC hands key to the two ends of each link, Redis
 * tells the stock.
 */
export async function startKeyServer(host: RoleHost): Promise<RoleRunner> {
  const { spec, nowMs, tell } = host
  const config = spec.config as PlanKeyServer
  const { pool, etsi014 } = config
  const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
    [spec.certificates.ca, spec.certificates.cert, spec.certificates.key].map((file) => readFile(file, 'utf8')),
  )
  const recorder = new Recorder(spec.eventsFile, spec.id)
  const publisher = spec.redis && new PoolPublisher({ ...spec.redis, lab: spec.lab })
  const metrics = new ProcessMetrics({
    role: spec.role,
    linkNames: linkNamesOf(spec),
    wakeLagMaxMs: () => source.lag().maxMs,
  })
  const journal =
    spec.ledger &&
    openKeyJournal({
      path: spec.ledger.file,
      identity: { run: spec.ledger.run, links: pool.links },
      mustExist: spec.ledger.isRestart,
      outlivesMachine: false,
    })
  const sourceHost: KeySourceHost = {
    ...host,
    config,
    node: () => node,
    feed: (input) => server.feed(input),
    record: (event) => recorder.record(event, nowMs()),
  }
  // Loaded only where there are managers: the key server of a lab stays small.
  const source =
    etsi014 === undefined
      ? modelSource(sourceHost)
      : await (await import('./etsi014-links.ts')).etsi014Source(sourceHost, etsi014, spec.tunnels ?? {})
  const node = new KeyServerNode({
    ...pool,
    ...(journal && { journal }),
    randomBytes: source.randomBytes,
    localBytes: (n) => randomBytes(n),
  })
  const server = await serveKeys({
    node,
    ...spec.keyserver,
    tls: { caPem, certPem, keyPem },
    nowMs,
    onStatus: (status) => {
      publisher?.publish(status)
      metrics.observePool(status)
    },
    onEvent: (event) => {
      recorder.record(event, nowMs())
      metrics.observe(event)
    },
  })

  const outside = spec.serve014 && (await (await import('./serve014.ts')).serve014(spec.serve014, node, nowMs))
  let statusTimer: NodeJS.Timeout | undefined
  return {
    metrics,
    go(wallMs) {
      server.feed({ kind: 'start' })
      source.go(wallMs)
      statusTimer = setInterval(() => tell({ kind: 'status', status: node.status(nowMs()) }), STATUS_PERIOD_MS)
    },
    control(request, control) {
      const refuse = (problem: string): void => tell({ kind: 'controlled', request, problem })
      if (source.bend === undefined)
        return refuse('the key of this lab comes from key managers: its links have no model')
      if (control.kind === 'disturbLink') {
        source.bend({ kind: 'disturb', link: control.link, disturbance: control.disturbance })
      } else if (control.kind === 'mendLink') {
        source.bend({ kind: 'mend', link: control.link, disturbance: control.disturbance })
      } else return refuse(`the key server cannot ${control.kind}`)
      tell({ kind: 'controlled', request })
    },
    drain() {
      outside?.end()
      source.drain()
      server.feed({ kind: 'drain' })
      tell({ kind: 'drained' })
    },
    async stop() {
      clearInterval(statusTimer)
      await Promise.all([source.stop(), outside?.close()])
      server.close()
      await Promise.all([publisher?.close(), recorder.close()])
      journal?.close()
      return { lag: source.lag(), counters: {} }
    },
  }
}
