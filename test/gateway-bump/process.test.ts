/** A pair of gateways as processes on loopback: keys over gRPC, Q3P over UDP, 104 over TCP and TLS. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NEAR_DEFAULTS } from '../../src/gateway/bump/index.ts'
import { StreamSession, type StreamSessionEffect } from '../../src/protocol/index.ts'
import {
  dialTcp,
  listenTcp,
  type OctetStream,
  PcapngFile,
  rawUdpPacket,
  type TlsOptions,
} from '../../src/runtime/index.ts'
import { randomStream } from '../../src/sim/index.ts'
import { asdu, hex } from './pair-world.ts'

const Q104 = fileURLToPath(new URL('../../src/cli/bin.js', import.meta.url))
const HOST = '127.0.0.1'
const PATIENCE_MS = 20_000

/** A q104 process whose lines can be waited for. */
class Process {
  readonly lines: string[] = []
  readonly exited: Promise<number | null>
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()

  constructor(...args: readonly string[]) {
    this.#child = spawn(process.execPath, [Q104, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream === null) continue
      createInterface(stream).on('line', (line) => {
        this.lines.push(line)
        for (const look of [...this.#waiting]) look()
      })
    }
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve))
  }

  /** The first match in a line from number `from` on. */
  async line(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        for (const line of this.lines.slice(from)) {
          const match = pattern.exec(line)
          if (match === null) continue
          clearTimeout(timer)
          this.#waiting.delete(look)
          resolve(match)
          return
        }
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        reject(new Error(`no line ${pattern} in\n${this.lines.join('\n')}`))
      }, PATIENCE_MS)
      this.#waiting.add(look)
      look()
    })
  }

  async end(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return this.exited
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/** A plain 104 station on a real stream. */
class TcpStation {
  readonly received: string[] = []
  readonly log: string[] = []
  readonly #session: StreamSession
  readonly #stream: OctetStream
  readonly #queue: Uint8Array[] = []
  #timer: NodeJS.Timeout | undefined
  #look: () => void = () => {}

  constructor(stream: OctetStream, role: 'controlling' | 'controlled') {
    this.#session = new StreamSession({ ...NEAR_DEFAULTS, role })
    this.#stream = stream
    stream.onData((chunk) => this.#apply(this.#session.receive(chunk, performance.now())))
    stream.onClose(() => {
      clearTimeout(this.#timer)
      this.log.push('closed')
      this.#look()
    })
    this.#apply(this.#session.open(performance.now()))
  }

  send(...asdus: readonly Uint8Array[]): void {
    this.#queue.push(...asdus)
    this.#apply([])
  }

  close(): void {
    this.#stream.close()
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    if (condition()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE_MS)
      this.#look = () => {
        if (!condition()) return
        clearTimeout(timer)
        this.#look = () => {}
        resolve()
      }
    })
  }

  #apply(effects: readonly StreamSessionEffect[]): void {
    const nowMs = performance.now()
    const all = [...effects]
    for (let effect = all.shift(); effect !== undefined || this.#canSend; effect = all.shift()) {
      if (effect === undefined) {
        const next = this.#queue.shift()
        if (next !== undefined) all.push(...this.#session.send(next, nowMs))
      } else if (effect.kind === 'write') this.#stream.write(effect.bytes)
      else if (effect.kind === 'asdu') this.received.push(hex(effect.asdu))
      else if (effect.kind === 'close') this.#stream.close()
      else if (effect.kind !== 'acked') this.log.push(effect.kind)
    }
    clearTimeout(this.#timer)
    const { wakeAtMs } = this.#session
    if (wakeAtMs !== undefined && !this.log.includes('closed')) {
      this.#timer = setTimeout(() => this.#apply(this.#session.wake(performance.now())), wakeAtMs - nowMs + 1)
    }
    this.#look()
  }

  get #canSend(): boolean {
    return this.#queue.length > 0 && this.#session.canSend
  }
}

/**
 * Passes datagrams on between the two gateways, which take it for each other, and loses some when told to. Keeps a copy of
 * all that it saw, as the attacker between them does.
 */
class Relay {
  lossRatio = 0
  lost = 0
  readonly seen: Uint8Array[] = []
  readonly #random = randomStream(1, 'relay')
  readonly #socket = createSocket('udp4')

  async open(port: number): Promise<void> {
    this.#socket.on('message', (bytes, { address }) => {
      this.seen.push(Uint8Array.from(bytes))
      const target = address === '127.0.0.1' ? '127.0.0.2' : '127.0.0.1'
      if (this.lossRatio === 0) return this.#socket.send(bytes, port, target)
      const copies = this.#random.uniform() < this.lossRatio ? 2 : 1
      for (let copy = 0; copy < copies; copy += 1) {
        if (this.#random.uniform() < this.lossRatio) this.lost += 1
        else setTimeout(() => this.#socket.send(bytes, port, target), this.#random.uniform() * 10)
      }
      return undefined
    })
    this.#socket.on('error', () => {})
    await new Promise<void>((resolve) => this.#socket.bind(port, '127.0.0.3', resolve))
  }

  close(): void {
    this.#socket.close()
  }
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

t.test('a pair of gateways between a master and an outstation that know nothing of them', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-gateway-'))
  const keys = join(dir, 'keys')
  const processes: Process[] = []
  const run = (...args: readonly string[]): Process => {
    const started = new Process(...args)
    processes.push(started)
    return started
  }
  t.teardown(() => {
    for (const one of processes) one.kill()
    rmSync(dir, { recursive: true })
  })

  const keyserver = run('keyserver', '--dir', keys, '--link', '0=gwa,gwb', '--listen', `${HOST}:0`, '--rate', '1Mbit')
  const [, keyPort = ''] = await keyserver.line(/serving keys on 127\.0\.0\.1:(\d+)/)
  t.equal(statSync(keys).mode & 0o777, 0o700)
  t.equal(statSync(join(keys, 'gwa.key.pem')).mode & 0o777, 0o600)

  const outstations: TcpStation[] = []
  const tls = (id: string): TlsOptions => ({
    caFile: join(keys, 'ca.pem'),
    certFile: join(keys, `${id}.pem`),
    keyFile: join(keys, `${id}.key.pem`),
  })
  const device = await listenTcp({ host: HOST, port: 0, tls: tls('keyserver') }, (stream) => {
    outstations.push(new TcpStation(stream, 'controlled'))
  })
  const udpPort = await freeUdpPort()
  const relay = new Relay()
  await relay.open(udpPort)
  const write = (id: string, near: string, far: string): string => {
    const path = join(dir, `${id}.yaml`)
    const files = (name: string): string => `ca: keys/ca.pem, cert: keys/${name}.pem, key: keys/${name}.key.pem`
    writeFileSync(
      path,
      `id: ${id}\nnear: { ${near.replace('TLS', `tls: { ${files(id)}, minVersion: TLSv1.3, names: [keyserver] }`)} }
far: { link: 0, ${far}, twin: ${id === 'gwa' ? 'gwb' : 'gwa'}, port: ${udpPort}, t1Ms: 2000, t3Ms: 1000 }\nkeys: { server: '${HOST}:${keyPort}', ${files(id)} }\n`,
    )
    return path
  }
  const fileA = write('gwa', `listen: '${HOST}:0'`, 'end: 0, local: 127.0.0.1, peer: 127.0.0.3')
  const fileB = write('gwb', `dial: '${HOST}:${device.port}', TLS`, 'end: 1, local: 127.0.0.2, peer: 127.0.0.3')
  const evidence = join(dir, 'evidence')
  mkdirSync(evidence)
  const gateway = (file: string, ...options: readonly string[]): Process =>
    run('gateway', '--config', file, '--keylog', join(evidence, 'keys.log'), ...options)
  const unready = gateway(fileA)
  t.equal(await unready.exited, 2, 'without a ledger nobody knows what key was used')
  t.match(unready.lines.join('\n'), /gwa\.ledger.*is missing.*at the gateway's very first start give --first-start/)
  let gwa = gateway(fileA, '--first-start')
  const gwb = gateway(fileB, '--first-start')
  let [, port = ''] = await gwa.line(/gateway\.ready .*port=(\d+)/)
  await Promise.all([gwa.line(/link\.up/), gwb.line(/link\.up/)])

  const connect = async (): Promise<TcpStation> =>
    new Promise((resolve, reject) => {
      const onConnection = (stream: OctetStream): void => resolve(new TcpStation(stream, 'controlling'))
      dialTcp({ host: HOST, port: Number(port) }, { onConnection, onFailure: (reason) => reject(new Error(reason)) })
    })

  const master = await connect()
  await master.until(() => master.log.includes('started'), 'STARTDT confirmed')
  const [outstation] = outstations
  if (outstation === undefined) throw new Error('the outstation was not dialled')
  t.same(outstation.log, ['started'])

  await t.test('carries ASDUs both ways, once, in order, octet for octet', async (t) => {
    const commands = Array.from({ length: 200 }, (_, index) => asdu(index, { typeId: 45, cause: 6 }))
    const events = Array.from({ length: 500 }, (_, index) => asdu(index, { sizeBytes: 20 + (index % 200) }))
    master.send(...commands)
    outstation.send(...events)
    await outstation.until(() => outstation.received.length >= commands.length, 'all commands')
    await master.until(() => master.received.length >= events.length, 'all events')
    t.same(outstation.received, commands.map(hex))
    t.same(master.received, events.map(hex))
  })

  await t.test('takes some milliseconds to a command and its answer', async (t) => {
    const times: number[] = []
    for (let number = 0; number < 50; number += 1) {
      const startMs = performance.now()
      const [before, after] = [outstation.received.length, master.received.length]
      master.send(asdu(number, { typeId: 45, cause: 6 }))
      await outstation.until(() => outstation.received.length > before, 'command')
      outstation.send(asdu(number, { typeId: 45, cause: 7 }))
      await master.until(() => master.received.length > after, 'confirmation')
      times.push(performance.now() - startMs)
    }
    const [median = 0] = times.toSorted((a, b) => a - b).slice(25)
    t.comment(`median of command to confirmation through the pair: ${median.toFixed(2)} ms`)
    t.ok(median < 50)
  })

  await t.test('closes the master when the outstation is gone, and serves him again', async (t) => {
    outstation.close()
    await master.until(() => master.log.includes('closed'), 'the master is closed')
    const again = await connect()
    await again.until(() => again.log.includes('started'), 'started again')
    t.equal(outstations.length, 2)
    again.close()
    await outstations[1]?.until(() => outstations[1]?.log.includes('closed') ?? false, 'outstation closed')
  })

  await t.test('a gateway that is killed and started again gets its twin and fresh key', async (t) => {
    const seen = gwa.lines.length
    gwb.kill()
    await gwb.exited
    const gwb2 = gateway(fileB)
    await Promise.all([gwb2.line(/link\.up/), gwa.line(/link\.up/, seen)])
    const again = await connect()
    await again.until(() => again.log.includes('started'), 'started again')
    const command = asdu(7, { typeId: 46, cause: 6 })
    again.send(command)
    const last = outstations.at(-1)
    await last?.until(() => last.received.length > 0, 'a command')
    t.same(last?.received, [hex(command)])
    t.equal(await gwb2.end(), 0, 'and ends when told to')
    await again.until(() => again.log.includes('closed'), 'the master is closed')
  })
  await device.close()

  await t.test('serves our client and server, TLS at the server, under loss, duplication and reordering', async (t) => {
    const files = ['ca', 'cert', 'key'].flatMap((what) => [
      `--tls-${what}`,
      join(keys, what === 'ca' ? 'ca.pem' : what === 'cert' ? 'keyserver.pem' : 'keyserver.key.pem'),
    ])
    const server = run('server', '--port', String(device.port), ...files)
    const seen = gwa.lines.length
    const gwb3 = gateway(fileB)
    await Promise.all([server.line(/controlled station/), gwb3.line(/link\.up/), gwa.line(/link\.up/, seen)])
    relay.lossRatio = 0.05
    const operations = 'gi counters set 1 2001 single on --sbo set 1 2604 float 12.5 read 604 clock file-get 2'.split(
      ' ',
    )
    const client = run('client', `${HOST}:${port}`, ...operations, '--to', join(dir, 'file'))
    t.equal(await client.exited, 0, client.lines.slice(-5).join('\n'))
    const confirmed = client.lines.flatMap((line) => / = (\w[\w-]*).*: confirmed/.exec(line)?.[1] ?? [])
    t.same(confirmed, ['gi', 'counters', 'set', 'set', 'read', 'clock', 'file-get'])
    t.equal(statSync(join(dir, 'file')).size, 100_000, 'a file of 100 000 octets came whole')
    t.ok(relay.lost > 10, `${relay.lost} datagrams were lost`)
    gwa.kill()
    await gwa.exited
    gwa = gateway(fileA)
    port = (await gwa.line(/gateway\.ready .*port=(\d+)/))[1] ?? ''
    await gwa.line(/link\.up/)
    const again = run('client', `${HOST}:${port}`, 'set', '1', '2001', 'single', 'on')
    t.equal(await again.exited, 0, again.lines.slice(-5).join('\n'))
    await Promise.all([gwb3.end(), server.end()])
  })
  t.equal(await gwa.end(), 0)
  t.equal(await keyserver.end(), 0)
  relay.close()

  await t.test('over all kills and starts no slot was used for two messages', async (t) => {
    const capture = new PcapngFile(join(evidence, 'capture.pcapng'), { userAppl: 'q104' })
    const interfaceId = capture.writer.addInterface({ name: 'gwa-gwb' })
    const ends = { sourceAddress: HOST, sourcePort: udpPort, destinationAddress: '127.0.0.3', destinationPort: udpPort }
    for (const [index, bytes] of relay.seen.entries()) {
      capture.writer.frame({ interfaceId, timestampNs: BigInt(index), bytes: rawUdpPacket(ends, bytes) })
    }
    capture.flush()
    for (const id of ['gwa', 'gwb']) copyFileSync(join(dir, `${id}.ledger`), join(evidence, `${id}.ledger`))
    const audit = run('audit', evidence, '--json')
    t.equal(await audit.exited, 0, audit.lines.join('\n'))
    const { channels, messages } = JSON.parse(audit.lines.join('\n'))
    t.equal(channels.length, 2)
    for (const { forged, epochs, ledgerSlots, slots } of channels) {
      t.equal(forged, 0, 'every message opens with the key log')
      t.ok(epochs >= 4, `${epochs} epochs`)
      t.ok(slots[1] <= ledgerSlots)
    }
    t.comment(`${messages} messages`)
  })
})

t.test('a file with mistakes is told line by line', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'q104-gateway-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'bad.yaml')
  writeFileSync(
    file,
    `id: gwa
near: { listen: '127.0.0.1:2404', kk: 3 }
far: { link: 99999, end: 0, local: 127.0.0.1, peer: x }
keys: { server: 'a b', ca: ca.pem, cert: c.pem, key: k.pem }
`,
  )
  const gateway = new Process('gateway', '--config', file)
  t.equal(await gateway.exited, 2)
  const text = gateway.lines.join('\n').replaceAll(file, 'FILE')
  t.match(text, /FILE:2:35: near: there is no key 'kk' here/)
  t.match(text, /FILE:3:14: far\.link: /)
  t.match(text, /FILE:3:\d+: far\.peer: expected an IPv4 address/)
  t.match(text, /FILE:4:17: keys\.server: found 'a b', expected host:port/)
})
