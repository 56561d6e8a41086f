import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { KeyServerNode, serveKeys, writeLabCa } from '../../keypool/index.ts'
import { labClock } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'

/** The key server's own name in its certificate. */
const SERVER_ID = 'keyserver'
const GENERATE_PERIOD_MS = 100

export type KeyLink = { readonly link: number; readonly ends: readonly [string, string] }

export type KeyServerSettings = {
  /** Where authority and certificates are kept, or made. */
  readonly dir: string
  readonly links: readonly KeyLink[]
  /** Key generated on each link, bit/s. */
  readonly rateBps: number
  /** Most unassigned key kept for each link, bits. */
  readonly capBits: number
  readonly host: string
  readonly port: number
}

export type RunningKeyServer = { readonly port: number; readonly close: () => void }

/** Serves key from this machine's random source as if the links generated it. @throws CliError for unusable settings. */
export async function startLocalKeyServer(settings: KeyServerSettings): Promise<RunningKeyServer> {
  const { dir, links, rateBps, capBits, host, port } = settings
  const names = [...new Set(links.flatMap(({ ends }) => ends))]
  const ca = await attempt(() => writeLabCa(dir, [SERVER_ID, ...names], Date.now()))
  const own = ca.nodes.get(SERVER_ID)
  if (own === undefined) throw new CliError(`${dir}: holds no certificate for ${SERVER_ID}`)
  const node = new KeyServerNode({
    poolKind: 'perLink',
    links: links.map((link) => ({ ...link, keys: 'pool' as const })),
    capBits: capBits * links.length,
    safeBits: 0,
    thBits: 0,
    randomBytes: (n) => randomBytes(n),
  })
  const nowMs = labClock(process.hrtime.bigint())
  const tls = { caPem: ca.caPem, ...own }
  const server = await attempt(() => serveKeys({ node, host, port, tls, nowMs }), `${host}:${port}`)
  server.feed({ kind: 'start' })
  let lastMs = nowMs()
  const timer = setInterval(() => {
    const now = nowMs()
    for (const { link } of links) server.feed({ kind: 'generated', link, bits: (rateBps * (now - lastMs)) / 1000 })
    lastMs = now
  }, GENERATE_PERIOD_MS)
  return {
    port: server.port,
    close() {
      clearInterval(timer)
      server.close()
    },
  }
}

/** What to write into the gateways' files. */
export function gatewayHints({ dir, links, host }: KeyServerSettings, port: number): string {
  const lines = links.flatMap(({ link, ends }) =>
    ends.flatMap((id, end) => [
      `${id}:`,
      `  far:  { link: ${link}, end: ${end}, ... }`,
      `  keys: { server: '${host}:${port}', ca: ${join(dir, 'ca.pem')}, cert: ${join(dir, `${id}.pem`)}, key: ${join(dir, `${id}.key.pem`)} }`,
    ]),
  )
  return lines.join('\n')
}

async function attempt<T>(action: () => Promise<T>, what = ''): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof Error) throw new CliError(what === '' ? error.message : `${what}: ${error.message}`)
    throw error
  }
}
