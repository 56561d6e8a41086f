import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { type BumpEffect, BumpGateway, type BumpInput } from '../../gateway/bump/index.ts'
import { KeyClient } from '../../keypool/index.ts'
import { cryptoReady } from '../../protocol/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
import {
  type Dialer,
  dialTcp,
  drive,
  type Listener,
  labClock,
  listenTcp,
  loadTls,
  type OctetStream,
  TcpError,
  UdpLink,
} from '../../runtime/index.ts'
import { KeyLogFile, LedgerFile, LedgerFileError } from '../../runtime/node-files.ts'
import { CliError } from '../errors.ts'
import type { GatewaySettings } from './config-file.ts'
import { type KeyLine, openKmeLine } from './kme-line.ts'

/** How long a gateway that is told to end waits for its link to be closed in order. */
const DRAIN_MS = 1500

export type RunningGateway = {
  /** Port that masters connect to; undefined at the end that dials. */
  readonly port: number | undefined
  /** Closes connections and link in order, then all sockets. */
  readonly close: () => Promise<void>
}

export type GatewayStart = {
  /** The gateway's very first start, so there is no ledger yet; else there must be one. */
  readonly isFirst: boolean
  /** Where all key that is used is logged in the clear; only if it was asked for. */
  readonly keyLogFile: string | undefined
}

/**
 * Runs a gateway on sockets: 104 on TCP or TLS, the link on UDP, key over gRPC. Resolves when it listens (or may dial).
 * @throws TcpError for a file or address that cannot be used, CliError for a ledger that cannot be trusted.
 */
export async function startGateway(
  settings: GatewaySettings,
  { isFirst, keyLogFile }: GatewayStart,
  log: (event: LabEvent) => void,
): Promise<RunningGateway> {
  await cryptoReady
  const { id, near, far, bump } = settings
  const nowMs = labClock(process.hrtime.bigint())
  const stopped = new AbortController()
  const streams = new Map<number, OctetStream>()
  const dialers = new Map<number, Dialer>()
  let onLinkDown: () => void = () => {}

  const ledger = await openLedger(settings, isFirst)
  const keyLog = keyLogFile === undefined ? undefined : new KeyLogFile(keyLogFile)
  const logged = keyLog === undefined ? {} : { keyLog: true as const }
  const { kme } = settings.keys
  const { recovered } = ledger
  const keyClient: KeyLine =
    kme === undefined ? await keyClientOf(settings, log) : await openKmeLine({ settings, kme, recovered, nowMs, log })
  const link = new UdpLink({
    end: { localHost: far.local, peerHost: far.peer, port: far.port },
    nowMs,
    onDatagram: (bytes) => driven.feed({ kind: 'datagram', bytes }),
  })
  const node = new BumpGateway({ ...bump, link: { ...bump.link, ...logged, epoch: Date.now() } })

  const attach = (connection: number, stream: OctetStream): void => {
    const { peer, peerName } = stream
    streams.set(connection, stream)
    driven.feed({ kind: 'nearOpen', connection, peer: peerName === undefined ? peer : `${peerName} ${peer}` })
    stream.onClose((reason) => {
      streams.delete(connection)
      dialers.delete(connection)
      driven.feed({ kind: 'nearClosed', connection, reason })
    })
    stream.onData((bytes) => driven.feed({ kind: 'nearData', connection, bytes }))
  }

  const dial = (connection: number): void => {
    const { host, port, t0Ms, tls } = near
    const onFailure = (reason: string): void => {
      dialers.delete(connection)
      driven.feed({ kind: 'nearClosed', connection, reason })
    }
    try {
      const handlers = { onConnection: (stream: OctetStream) => attach(connection, stream), onFailure }
      dialers.set(connection, dialTcp({ host, port, t0Ms, ...(tls && { tls }) }, handlers))
    } catch (error) {
      // The certificates were there at the start.
      if (!(error instanceof TcpError)) throw error
      onFailure(error.message)
    }
  }

  const carryOut = (effect: BumpEffect): void => {
    switch (effect.kind) {
      case 'send':
        link.send(effect.bytes)
        break
      case 'fetchKeys':
        keyClient.fetch(effect.channel, effect.upToSlot)
        break
      case 'reserve':
        ledger.reserve(effect.mark)
        break
      case 'keyLog':
        keyLog?.write(effect.record)
        break
      case 'books':
        if (effect.books.side === 'sender') keyClient.report(effect.books)
        break
      case 'event':
        log(effect.event)
        if (effect.event.name === 'link.down') onLinkDown()
        break
      case 'dial':
        dial(effect.connection)
        break
      case 'nearWrite':
        streams.get(effect.connection)?.write(effect.bytes)
        break
      case 'nearClose':
        streams.get(effect.connection)?.close()
        dialers.get(effect.connection)?.close()
        dialers.delete(effect.connection)
        break
      case 'nearPause':
        if (effect.isPaused) streams.get(effect.connection)?.pause()
        else streams.get(effect.connection)?.resume()
        break
    }
  }
  const driven = drive<BumpInput, BumpEffect>(node, { nowMs, carryOut, signal: stopped.signal })

  ledger.onDurable(
    (mark) => driven.feed({ kind: 'reserved', mark }),
    // Without a ledger no key may be used.
    (error) => {
      throw error
    },
  )

  // In the same turn as the client was made: it would wipe a block that nobody takes.
  keyClient.onBlock((block) => {
    driven.feed({ kind: 'keyBlock', block })
    block.bytes.fill(0)
  })

  let listener: Listener | undefined
  try {
    await link.open()
    if (near.kind === 'listen') listener = await listen(settings, attach, log)
    else if (near.tls !== undefined) loadTls(near.tls, Date.now())
  } catch (error) {
    link.close()
    await Promise.all([keyClient.close(), ledger.close()])
    keyLog?.close()
    throw error
  }
  driven.feed({ kind: 'start', marks: ledger.recovered })
  log({ name: 'gateway.ready', id, near: near.kind, host: near.host, port: listener?.port ?? near.port })

  return {
    port: listener?.port,
    async close() {
      const linkDown = new Promise<void>((resolve) => {
        onLinkDown = resolve
        setTimeout(resolve, DRAIN_MS)
      })
      driven.feed({ kind: 'drain' })
      await linkDown
      stopped.abort()
      log({ name: 'gateway.end', ...node.counters(), refused: link.counters.refused })
      for (const dialer of dialers.values()) dialer.close()
      await listener?.close()
      link.close()
      await Promise.all([keyClient.close(), ledger.close()])
      keyLog?.close()
    },
  }
}

/** It belongs to the authority of the key server: another one has other key. */
async function openLedger({ id, far, keys, bump }: GatewaySettings, isFirst: boolean): Promise<LedgerFile> {
  const file = keys.ledgerFile
  const expect = isFirst ? 'new' : 'existing'
  const { caFile } = keys.files
  const run = createHash('sha256')
    .update(keys.name)
    .update(await readFile(caFile))
    .digest('hex')
    .slice(0, 32)
  try {
    return await LedgerFile.open({ file, expect, node: id, run, ends: [{ link: far.link, end: bump.link.end }] })
  } catch (error) {
    if (!(error instanceof LedgerFileError)) throw error
    const isMissing = !isFirst && !existsSync(file)
    throw new CliError(
      isMissing ? `${error.message}; at the gateway's very first start give --first-start` : error.message,
    )
  }
}

async function listen(
  { near, bump }: GatewaySettings,
  attach: (connection: number, stream: OctetStream) => void,
  log: (event: LabEvent) => void,
): Promise<Listener> {
  const { host, port, tls } = near
  let nextConnection = 0
  return listenTcp(
    {
      host,
      port,
      ...(tls && { tls }),
      // A few more than the gateway takes, so that it is the gateway that refuses and says so.
      maxConnections: 2 * (bump.maxConnections ?? 1) + 8,
      onRefused: (peer, reason) => log({ name: 'near.refused', peer, reason }),
    },
    (stream) => attach(nextConnection++, stream),
  )
}

async function keyClientOf({ id, far, keys }: GatewaySettings, log: (event: LabEvent) => void): Promise<KeyClient> {
  // Checks the files, with messages that name them.
  loadTls(keys.files, Date.now())
  const { caFile, certFile, keyFile } = keys.files
  const [caPem = '', certPem = '', keyPem = ''] = await Promise.all(
    [caFile, certFile, keyFile].map((path) => readFile(path, 'utf8')),
  )
  const { address, name: serverName } = keys
  const nodeId = id
  const client = new KeyClient({
    address,
    serverName,
    caPem,
    certPem,
    keyPem,
    nodeId,
    links: [far.link],
  })
  // Told once, however often the client tries.
  let isWaiting = false
  client.onWaiting((wait) => {
    if (wait === undefined) log({ name: 'keys.ready' })
    else if (!isWaiting) log({ name: 'keys.waiting', server: address, reason: wait.reason })
    isWaiting = wait !== undefined
  })
  client.onRefused((channel, reason) => log({ name: 'keys.refused', channel, reason }))
  return client
}
