/** A key server in a process of its own, so that a test can kill it. Argument: JSON of a KeyServerSpec. */
import { openKeyJournal } from '../../src/keypool/index.ts'
import type { Pem } from './key-lab.ts'

export type KeyServerSpec = {
  readonly port: number
  readonly journalPath: string
  readonly tls: Pem
  /** Key that link 0 makes, bits every 5 ms. */
  readonly bitsPerTick: number
}

const spec: KeyServerSpec = JSON.parse(process.argv[2] ?? '')
const { POOL, serve } = await import('./key-lab.ts')
const journal = openKeyJournal({ path: spec.journalPath, identity: POOL.links })
const server = await serve(spec.port, { pool: { journal }, serve: { tls: spec.tls } })
const timer = setInterval(() => server.feed({ kind: 'generated', link: 0, bits: spec.bitsPerTick }), 5)
process.on('message', (text) => {
  if (text === 'quiet') clearInterval(timer)
  process.send?.({ books: server.node.books(), streams: server.node.streams(), past: journal.past !== undefined })
})
process.send?.('ready')
