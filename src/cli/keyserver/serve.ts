import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  JournalError,
  type JournalFile,
  KeyServerNode,
  openKeyJournal,
  serveKeys,
  writeLabCa,
} from '../../keypool/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
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
  /** Begin a journal although there are certificates of an earlier start. */
  readonly isFirst: boolean
}

export type RunningKeyServer = {
  readonly port: number
  /** What the journal tells of the earlier lives of this server; undefined in the first. */
  readonly restored: LabEvent | undefined
  /** Settles when the journal cannot be written, with the reason: nothing is handed out any more. */
  readonly failed: Promise<unknown>
  readonly close: () => void
}

/** Positions and books, never key. */
const JOURNAL = 'keyserver.journal'

/**
 * Serves key from this machine's random source as if the links generated it. What was handed out is in a journal that outlives
 * process and machine, so that no slot of a stream is ever handed out again. CliError for unusable settings or journal.
 */
export async function startLocalKeyServer(settings: KeyServerSettings): Promise<RunningKeyServer> {
  const { dir, links, rateBps, capBits, host, port } = settings
  const names = [...new Set(links.flatMap(({ ends }) => ends))]
  const journal = openJournal(settings)
  const ca = await attempt(() => writeLabCa(dir, [SERVER_ID, ...names], Date.now()))
  const own = ca.nodes.get(SERVER_ID)
  if (own === undefined) throw new CliError(`${dir}: holds no certificate for ${SERVER_ID}`)
  const node = new KeyServerNode({
    poolKind: 'perLink',
    links: links.map((link) => ({ ...link, keys: 'pool' as const })),
    capBits: capBits * links.length,
    safeBits: 0,
    thBits: 0,
    journal,
    randomBytes: (n) => randomBytes(n),
  })
  const nowMs = labClock(process.hrtime.bigint())
  const tls = { caPem: ca.caPem, ...own }
  let fail: (error: unknown) => void = () => {}
  const failed = new Promise<unknown>((resolve) => {
    fail = resolve
  })
  let restored: LabEvent | undefined
  const onEvent = (event: LabEvent): void => {
    if (event.name === 'keyserver.restored') restored = event
  }
  const options = { node, host, port, tls, nowMs, onEvent, onFault: fail }
  const server = await attempt(() => serveKeys(options), `${host}:${port}`)
  server.feed({ kind: 'start' })
  let lastMs = nowMs()
  const timer = setInterval(() => {
    const now = nowMs()
    for (const { link } of links) server.feed({ kind: 'generated', link, bits: (rateBps * (now - lastMs)) / 1000 })
    lastMs = now
  }, GENERATE_PERIOD_MS)
  return {
    port: server.port,
    restored,
    failed,
    close() {
      clearInterval(timer)
      server.close()
      journal.close()
    },
  }
}

/** Where there are certificates there was an earlier start, and its journal must be there. */
function openJournal({ dir, links, isFirst }: KeyServerSettings): JournalFile {
  const path = join(dir, JOURNAL)
  if (isFirst && existsSync(path)) {
    throw new CliError(`${path}: found a journal, expected none with --first-start; start without it`)
  }
  const mustExist = !isFirst && existsSync(join(dir, `${SERVER_ID}.pem`))
  const identity = { keyserver: links.toSorted((one, other) => one.link - other.link) }
  try {
    return openKeyJournal({ path, identity, mustExist, outlivesMachine: true })
  } catch (error) {
    if (!(error instanceof JournalError)) throw new CliError(error instanceof Error ? error.message : String(error))
    throw new CliError(`${error.message}\n${ADVICE[error.code]}`)
  }
}

const ADVICE: Record<JournalError['code'], string> = {
  JOURNAL_BROKEN: 'what it handed out is not known any more; begin in another --dir, with gateways that begin anew too',
  JOURNAL_FOREIGN: 'it is of other --link options; expected those of the earlier start, or another --dir',
  JOURNAL_MISSING:
    'without it slots could be handed out twice; --first-start begins one, with gateways that begin anew too',
  JOURNAL_SHARED: 'is another q104 keyserver running on this --dir?',
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
