import { readFile } from 'node:fs/promises'
import type { PlanEtsi014, PlanSae } from '../../experiment/index.ts'
import { Etsi014Client, Etsi014Source, OctetQueue } from '../../keypool/etsi014-index.ts'
import type { KeySource, KeySourceHost } from './key-source.ts'

/** Octets that a stock leaves over because they do not fill a slot, and one call's worth of keys: no reason to drop any. */
const SLACK_BYTES = 4096

/** Fills the pool from key managers by ETSI GS QKD 014, a pair of SAEs a link. */
export async function etsi014Source(
  host: KeySourceHost,
  { links, pollMs }: PlanEtsi014,
  sockets: Readonly<Record<string, string>>,
): Promise<KeySource> {
  const { nowMs, node, feed, record, config } = host
  const { poolKind, capBits } = config.pool
  // A stock for each link holds that link's key; one that all links share holds all of it in one row.
  const queues = poolKind === 'perLink' ? links.map(() => new OctetQueue()) : [new OctetQueue()]
  const indexOf = new Map(links.map(({ link }, index) => [link, poolKind === 'perLink' ? index : 0]))
  const queueOf = (link: number): OctetQueue => queues[indexOf.get(link) ?? 0] ?? new OctetQueue()
  const stockBits = (link: number): number => {
    return poolKind === 'perLink' ? node().stockBits(link) : node().books().poolBits
  }

  const clients: Etsi014Client[] = []
  const clientOf = async (sae: PlanSae): Promise<Etsi014Client> => {
    const { url, serverName } = sae
    const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
      [sae.ca, sae.cert, sae.key].map((file) => readFile(file, 'utf8')),
    )
    const socketPath = sockets[url]
    const way = { ...(socketPath !== undefined && { socketPath }), ...(serverName !== undefined && { serverName }) }
    const client = new Etsi014Client({ url, caPem, certPem, keyPem, ...way })
    clients.push(client)
    return client
  }

  const sources = await Promise.all(
    links.map(async ({ link, delayMs, master, slave, keySizeBits }) => {
      let reason = ''
      return new Etsi014Source({
        master: await clientOf(master),
        masterSaeId: master.id,
        slave: await clientOf(slave),
        slaveSaeId: slave.id,
        pollMs,
        ...(keySizeBits !== undefined && { keySizeBits }),
        nowMs,
        roomBits: () => (capBits - (poolKind === 'perLink' ? links.length : 1) * stockBits(link)) / links.length,
        onKey(bytes) {
          const bits = 8 * bytes.length
          queueOf(link).add(bytes)
          feed({ kind: 'generated', link, bits })
          // What grew too old in the pool, or found it full, leaves here as well.
          const keptBytes = stockBits(link) / 8 + SLACK_BYTES
          if (queueOf(link).bytes > 2 * keptBytes) queueOf(link).keepNewest(keptBytes)
        },
        onState(state) {
          const now = state.up ? '' : state.reason
          if (now !== reason) record({ name: 'etsi014.state', link, up: state.up, reason: now })
          reason = now
          // Without a manager there is no new key; what is in the pool, and the fibre, are as good as before.
          feed({ kind: 'linkState', state: { link, up: true, rateBps: Math.round(state.rateBps), delayMs } })
        },
      })
    }),
  )

  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.close()))
  }
  return {
    randomBytes(n, link) {
      const bytes = queueOf(link).take(n)
      if (bytes === undefined) throw new Error(`NO_KEY: the pool gave ${n} octets that no manager had delivered`)
      return bytes
    },
    go() {
      for (const source of sources) source.start()
    },
    drain: () => void close(),
    async stop() {
      for (const client of clients) client.close()
      await close()
      const counts = sources.map((source) => source.counts())
      const sum = (fact: 'keys' | 'bits' | 'keysLost' | 'faults'): number => {
        return counts.reduce((total, count) => total + count[fact], 0)
      }
      record({
        name: 'etsi014',
        keys: sum('keys'),
        bits: sum('bits'),
        keysLost: sum('keysLost'),
        faults: sum('faults'),
      })
      for (const queue of queues) queue.keepNewest(0)
    },
    lag: () => ({ wakes: 0, maxMs: 0, over50Ms: 0 }),
  }
}
