import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { PlanKeyServer } from '../../experiment/index.ts'
import { KeyServerNode, openKeyJournal, PoolPublisher, serveKeys } from '../../keypool/index.ts'
import { ProcessMetrics } from '../../observe/index.ts'
import { drive, Recorder } from '../../runtime/index.ts'
import { LinkModelNode, QkdLink, randomStream } from '../../sim/index.ts'
import { linkNamesOf, type RoleHost, type RoleRunner } from './process-main.ts'

/** How often the run hears how the stock stands. */
const STATUS_PERIOD_MS = 500

/** The key server: the QKD links' model fills the pool, gRPC hands key to the two ends of each link, Redis tells the stock. */
export async function startKeyServer({ spec, nowMs, tell }: RoleHost): Promise<RoleRunner> {
  const { pool, qkdLinks, initial } = spec.config as PlanKeyServer
  const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
    [spec.certificates.ca, spec.certificates.cert, spec.certificates.key].map((file) => readFile(file, 'utf8')),
  )
  const isRestart = spec.ledger?.isRestart === true
  const recorder = new Recorder(spec.eventsFile, spec.id)
  const stopped = new AbortController()
  const publisher = spec.redis && new PoolPublisher({ ...spec.redis, lab: spec.lab })
  const metrics = new ProcessMetrics({
    role: spec.role,
    linkNames: linkNamesOf(spec),
    wakeLagMaxMs: () => driven.lag().maxMs,
  })
  const journal =
    spec.ledger &&
    openKeyJournal({
      path: spec.ledger.file,
      identity: { run: spec.ledger.run, links: pool.links },
      mustExist: spec.ledger.isRestart,
    })
  const node = new KeyServerNode({ ...pool, ...(journal && { journal }), randomBytes: (n) => randomBytes(n) })
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
  const model = new LinkModelNode({
    links: qkdLinks.map((options) => new QkdLink(options, randomStream(spec.seed, `qkd ${options.link}`))),
  })
  /** Key made while this key server was not there is nobody's. */
  let makesKey = true
  const driven = drive(model, {
    nowMs,
    signal: stopped.signal,
    carryOut(effect) {
      if (effect.kind === 'linkState') tell({ kind: 'linkState', state: effect.state })
      if (effect.kind === 'linkState' || makesKey) server.feed(effect)
    },
  })

  let statusTimer: NodeJS.Timeout | undefined
  return {
    metrics,
    go(wallMs) {
      server.feed({ kind: 'start' })
      driven.feed({ kind: 'start', wallMs })
      if (!isRestart) for (const { link, bits } of initial) server.feed({ kind: 'generated', link, bits })
      else {
        makesKey = false
        driven.feed({ kind: 'wake' })
        makesKey = true
      }
      statusTimer = setInterval(() => tell({ kind: 'status', status: node.status(nowMs()) }), STATUS_PERIOD_MS)
    },
    drain() {
      driven.feed({ kind: 'drain' })
      server.feed({ kind: 'drain' })
      tell({ kind: 'drained' })
    },
    async stop() {
      clearInterval(statusTimer)
      stopped.abort()
      server.close()
      await Promise.all([publisher?.close(), recorder.close()])
      journal?.close()
      return { lag: driven.lag(), counters: {} }
    },
  }
}
