import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Etsi014Manager, Etsi014PoolStore, serveEtsi014 } from '../../keypool/etsi014-index.ts'
import type { KeyServerNode } from '../../keypool/index.ts'
import type { Serve014Spec } from '../lab/ipc.ts'

export type Serve014 = {
  /** No more key leaves the pool; callers get 503. */
  readonly end: () => void
  readonly close: () => Promise<void>
}

/** Serves the pool's key to programs outside the lab by ETSI GS QKD 014, on the unix socket that leads out of it. */
export async function serve014(
  { pairs, keySizeBits, kmeId, certificates, socketPath }: Serve014Spec,
  node: KeyServerNode,
  nowMs: () => number,
): Promise<Serve014> {
  const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
    [certificates.ca, certificates.cert, certificates.key].map((file) => readFile(file, 'utf8')),
  )
  let isOpen = true
  const store = new Etsi014PoolStore({
    pairs,
    stock: (link) => {
      const { availableBits, capBits } = node.openStock(link)
      return { availableBits: isOpen ? availableBits : 0, capBits }
    },
    draw: (link, slots) => (isOpen ? node.drawOutside(link, slots, nowMs()) : undefined),
  })
  const manager = new Etsi014Manager({
    kmeId,
    saes: [...new Set(pairs.flatMap(({ saes }) => saes))].map((saeId) => ({ saeId })),
    mayShare: (master, slave) => store.mayShare(master, slave),
    store,
    newKeyId: randomUUID,
    keySizeBits,
  })
  // An earlier life that was killed has left its socket.
  rmSync(socketPath, { force: true })
  const server = await serveEtsi014({
    manager,
    ...{ host: '', port: 0, socketPath },
    tls: { caPem, certPem, keyPem },
    nowMs,
    // The journal cannot be written: nothing may be handed out any more.
    onFault: (error) =>
      queueMicrotask(() => {
        throw error
      }),
  })
  return {
    end() {
      isOpen = false
    },
    close: () => server.close(),
  }
}
