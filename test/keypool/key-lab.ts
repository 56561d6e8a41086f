/** A key server on a loopback port, and clients of it, for the tests that need real gRPC. */
import { randomBytes } from 'node:crypto'
import { ChannelCredentials, Client, type ServiceError } from '@grpc/grpc-js'
import {
  KeyClient,
  type KeyClientOptions,
  type KeyServer,
  KeyServerNode,
  type KeyServerOptions,
  type LabCa,
  makeLabCa,
  type ServeOptions,
  serveKeys,
} from '../../src/keypool/index.ts'
import { type GetKeyReply, type GetKeyRequest, keyServerService } from '../../src/keypool/messages.ts'
import type { KeyBlock } from '../../src/runtime/contract.ts'

const NODES = ['keyserver', 'master', 'gw', 'rtu']
export const ca = await makeLabCa(NODES, Date.now())

export type Pem = { readonly caPem: string; readonly certPem: string; readonly keyPem: string }

export function pemOf(id: string, lab: LabCa = ca): Pem {
  const { certPem = '', keyPem = '' } = lab.nodes.get(id) ?? {}
  return { caPem: lab.caPem, certPem, keyPem }
}

export const POOL: KeyServerOptions = {
  poolKind: 'shared',
  links: [
    { link: 0, ends: ['master', 'gw'], keys: 'pool' },
    { link: 1, ends: ['gw', 'rtu'], keys: 'local' },
  ],
  capBits: 32_000_000,
  safeBits: 32_000,
  thBits: 64_000,
  randomBytes: (n) => Uint8Array.from(randomBytes(n)),
}

export async function serve(
  port = 0,
  options: { readonly pool?: Partial<KeyServerOptions>; readonly serve?: Partial<ServeOptions> } = {},
): Promise<KeyServer & { node: KeyServerNode }> {
  const node = new KeyServerNode({ ...POOL, ...options.pool })
  const startMs = performance.now()
  const server = await serveKeys({
    node,
    host: '127.0.0.1',
    port,
    tls: pemOf('keyserver'),
    nowMs: () => performance.now() - startMs,
    ...options.serve,
  })
  server.feed({ kind: 'start' })
  return { ...server, node }
}

export type Store = {
  client: KeyClient
  bytes: Map<number, number[]>
  faults: string[]
  /** Slots that never came; their octets count as zero. */
  holes: { channel: number; slot: number; slots: number }[]
  waits: string[]
  refused: string[]
}

type Tap = { teardown: (action: () => unknown) => unknown }

/** A client that keeps what it gets, as a node's key stream does. */
export function connect(
  t: Tap,
  port: number,
  nodeId: string,
  links: number[],
  options: Partial<KeyClientOptions> = {},
): Store {
  const client = new KeyClient({
    address: `127.0.0.1:${port}`,
    serverName: 'keyserver',
    ...pemOf(nodeId),
    nodeId,
    links,
    ...options,
  })
  const store: Store = { client, bytes: new Map(), faults: [], holes: [], waits: [], refused: [] }
  client.onBlock(({ channel, slot, bytes }: KeyBlock) => {
    const stream = store.bytes.get(channel) ?? []
    if (bytes.length === 0 && slot * 4 > stream.length) {
      store.holes.push({ channel, slot: stream.length / 4, slots: slot - stream.length / 4 })
      while (stream.length < slot * 4) stream.push(0)
    }
    if (bytes.length === 0) return void store.bytes.set(channel, stream)
    if (stream.length !== slot * 4) store.faults.push(`channel ${channel}: slot ${slot} after ${stream.length / 4}`)
    for (const octet of bytes) stream.push(octet)
    store.bytes.set(channel, stream)
  })
  client.onWaiting((wait) => store.waits.push(wait?.nodeId ?? 'over'))
  client.onRefused((channel, reason) => store.refused.push(`${channel} ${reason}`))
  t.teardown(() => client.close())
  return store
}

export async function until(condition: () => boolean, limitMs = 8000): Promise<boolean> {
  const endMs = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > endMs) return false
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return true
}

export function lengthOf(store: Store, channel: number): number {
  return (store.bytes.get(channel)?.length ?? 0) / 4
}

/** A bare gRPC client, as somebody else's program would be. */
export function bareClient(t: Tap, port: number, pem: { caPem: string; certPem?: string; keyPem?: string }): Client {
  const [key, cert] = [pem.keyPem, pem.certPem].map((text) => (text === undefined ? null : Buffer.from(text)))
  const credentials = ChannelCredentials.createSsl(Buffer.from(pem.caPem), key ?? null, cert ?? null)
  const client = new Client(`127.0.0.1:${port}`, credentials, { 'grpc.ssl_target_name_override': 'keyserver' })
  t.teardown(() => client.close())
  return client
}

export function getKey(client: Client, request: GetKeyRequest, waitMs = 1500): Promise<GetKeyReply | number> {
  const { path, requestSerialize, responseDeserialize } = keyServerService.getKey
  return new Promise((resolve) => {
    const done = (error: ServiceError | null, reply?: GetKeyReply): void => resolve(reply ?? error?.code ?? -1)
    const deadline = Date.now() + waitMs
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, done)
  })
}
