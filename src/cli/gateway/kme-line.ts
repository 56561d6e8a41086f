import { createHmac, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import {
  Etsi014Client,
  Etsi014Error,
  type Etsi014Key,
  Etsi014Pairing,
  type Etsi014PairingEffect,
  type Etsi014PairingInput,
} from '../../keypool/etsi014-index.ts'
import type { ChannelMark, KeyBlock, LabEvent, StreamBooks } from '../../runtime/contract.ts'
import { drive, loadTls, UdpLink } from '../../runtime/index.ts'
import { CliError } from '../errors.ts'
import type { GatewaySettings, KmeSettings } from './config-file.ts'

/** Where a gateway's key comes from: the key server, or its own key manager. */
export type KeyLine = {
  readonly fetch: (channel: number, upToSlot: number) => void
  readonly report: (books: StreamBooks) => void
  /** Blocks become the callee's. */
  readonly onBlock: (callback: (block: KeyBlock) => void) => void
  readonly close: () => Promise<void>
}

export type KmeLineOptions = {
  readonly settings: GatewaySettings
  readonly kme: KmeSettings
  /** What the ledger says that key of earlier lives may have been used. */
  readonly recovered: readonly ChannelMark[]
  readonly nowMs: () => number
  readonly log: (event: LabEvent) => void
}

const MIN_SECRET_BYTES = 32

/**
 * Key from this gateway's own key manager (ETSI GS QKD 014), of which the twin fetches the same keys from its own: the two
 * tell each other the key_IDs by UDP, next to the link.
 * @throws CliError for a secret that is too short, TcpError for certificates that cannot be used.
 */
export async function openKmeLine({ settings, kme, recovered, nowMs, log }: KmeLineOptions): Promise<KeyLine> {
  const { far, keys, bump } = settings
  loadTls(keys.files, Date.now())
  const { caFile, certFile, keyFile } = keys.files
  const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
    [caFile, certFile, keyFile].map((path) => readFile(path, 'utf8')),
  )
  const secret = await readSecret(kme.secretFile)
  const { url, serverName, twinSae, keySizeBits } = kme
  const client = new Etsi014Client({ url, caPem, certPem, keyPem, ...(serverName !== undefined && { serverName }) })
  const { link } = far
  const { end: side } = bump.link
  const [tx, rx] = [2 * link + side, 2 * link + 1 - side]
  const slotsOf = (channel: number): number => recovered.find((mark) => mark.channel === channel)?.slots ?? 0
  const node = new Etsi014Pairing({
    link,
    side,
    txStartSlot: slotsOf(tx),
    rxStartSlot: slotsOf(rx),
    keySizeBits,
    mac: (message) => createHmac('sha256', secret).update(message).digest(),
    randomBytes: (length) => randomBytes(length),
  })
  const udp = new UdpLink({
    end: { localHost: far.local, peerHost: far.peer, port: kme.port },
    nowMs,
    onDatagram: (bytes) => driven.feed({ kind: 'message', bytes }),
  })

  let onBlock = (block: KeyBlock): void => void block.bytes.fill(0)
  const stopped = new AbortController()
  const call = (number: number, keys: Promise<readonly Etsi014Key[]>): void => {
    keys.then(
      (got) => {
        if (stopped.signal.aborted) for (const key of got) key.wipe()
        else driven.feed({ kind: 'keys', call: number, keys: got })
      },
      (error: unknown) => {
        if (stopped.signal.aborted) return
        if (!(error instanceof Etsi014Error)) throw error
        log({ name: 'keys.failed', reason: error.message })
        driven.feed({ kind: 'failed', call: number, isFinal: !error.isPassing })
      },
    )
  }
  const carryOut = (effect: Etsi014PairingEffect): void => {
    switch (effect.kind) {
      case 'encKeys':
        call(effect.call, client.encKeys(twinSae, { number: effect.number, sizeBits: effect.sizeBits }))
        break
      case 'decKeys':
        call(effect.call, client.decKeys(twinSae, effect.keyIds))
        break
      case 'send':
        udp.send(effect.bytes)
        break
      case 'keyBlock':
        onBlock(effect.block)
        break
      case 'skip':
        onBlock({ channel: effect.channel, slot: effect.upToSlot, bytes: new Uint8Array(0) })
        break
      case 'event':
        log(effect.event)
        break
    }
  }
  const driven = drive<Etsi014PairingInput, Etsi014PairingEffect>(node, { nowMs, carryOut, signal: stopped.signal })
  await udp.open()
  driven.feed({ kind: 'start' })
  return {
    fetch: (channel, upToSlot) => {
      if (channel === tx) driven.feed({ kind: 'want', upToSlot })
    },
    report: () => {}, // A manager has no books of use: what it has delivered is gone from it.
    onBlock: (callback) => {
      onBlock = callback
    },
    async close() {
      stopped.abort()
      udp.close()
      client.close()
      secret.fill(0)
    },
  }
}

async function readSecret(file: string): Promise<Buffer> {
  const secret = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`keys.kme.secret: ${file}: cannot be read (${error.code})`)
  })
  if (secret.length >= MIN_SECRET_BYTES) return secret
  throw new CliError(`keys.kme.secret: ${file}: found ${secret.length} octets, expected ${MIN_SECRET_BYTES} or more`)
}
