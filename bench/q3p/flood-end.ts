/** One end of the attacked link: the links of a node, on UDP, as a lab runs them. */
import { spawn } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { cryptoReady, LINK_DEFAULTS, parseHeader } from '../../src/protocol/index.ts'
import type { LabEvent, LabNode, NodeEffect, NodeInput, Wake } from '../../src/runtime/contract.ts'
import { drive, labClock, UdpLink } from '../../src/runtime/index.ts'
import { LinkPorts } from '../../src/runtime/link-ports.ts'
import {
  type FromAttacker,
  type FromEnd,
  HOSTS,
  KEY_SLOTS,
  LINK,
  PORT,
  type ToAttacker,
  type ToEnd,
} from './flood-messages.ts'

/** Time for the last confirmations after a round, ms. */
const SETTLE_MS = 1500
/** How often the attacker hears what is on the wire. */
const SNIFF_PERIOD_MS = 10
/** The nicest that a process can be. */
const LEAST_PRIORITY = 19

const nowMs = labClock(process.hrtime.bigint())
const tell = (message: FromEnd): void => void process.send?.(message)

/** A command is a C_SC_NA_1 whose object address counts; its confirmation is the same with cause 7. */
function command(id: number): Uint8Array {
  return Uint8Array.of(45, 1, 6, 0, 1, 0, id & 0xff, (id >> 8) & 0xff, (id >> 16) & 0xff, 1)
}

function idOf(asdu: Uint8Array): number {
  const [low = 0, middle = 0, high = 0] = asdu.subarray(6, 9)
  return low | (middle << 8) | (high << 16)
}

class EndNode implements LabNode {
  readonly #ports: LinkPorts<undefined>
  readonly #isStation: boolean
  /** Commands that wait to be handed to the link. */
  readonly queue: number[] = []
  readonly confirmedAtMs = new Map<number, number>()

  constructor(end: 0 | 1) {
    this.#isStation = end === 1
    this.#ports = new LinkPorts([{ ...LINK_DEFAULTS, link: LINK, end, epoch: 1 }])
  }

  get wakeAtMs(): number | undefined {
    return this.#ports.wakeAtMs
  }

  handle(input: NodeInput | Wake, atMs: number): readonly NodeEffect[] {
    if (input.kind === 'drain') this.#ports.close(atMs)
    this.#ports.take(input, atMs)
    for (let event = this.#ports.next(); event !== undefined; event = this.#ports.next()) {
      if (event.kind === 'up') tell({ kind: 'up' })
      if (event.kind !== 'asdu') continue
      if (this.#isStation) this.#send(event.asdu.with(2, 7), atMs)
      else this.confirmedAtMs.set(idOf(event.asdu), nowMs())
    }
    for (const id of this.queue.splice(0)) this.#send(command(id), atMs)
    return this.#ports.finish(atMs)
  }

  #send(asdu: Uint8Array, atMs: number): void {
    this.#ports.send([LINK], { asdu, suite: 'otp', priority: 1, expiresAtMs: atMs + 5000 }, undefined, atMs)
  }
}

/** The same key at both ends. */
function keyOf(channel: number): Uint8Array {
  const cipher = createCipheriv('aes-128-ctr', new Uint8Array(16).fill(channel), new Uint8Array(16))
  return cipher.update(new Uint8Array(4 * KEY_SLOTS))
}

/** File descriptor of this process' UDP socket on `host`. */
function descriptorOf(host: string): number {
  const hexHost = host
    .split('.')
    .reverse()
    .map((octet) => Number(octet).toString(16).padStart(2, '0'))
  const local = `${hexHost.join('')}:${PORT.toString(16)}`.toUpperCase()
  const line = readFileSync('/proc/net/udp', 'utf8')
    .split('\n')
    .find((text) => text.trim().split(/\s+/)[1] === local)
  const inode = line?.trim().split(/\s+/)[9]
  const found = readdirSync('/proc/self/fd').find((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === `socket:[${inode}]`
    } catch {
      return false
    }
  })
  if (found === undefined) throw new Error(`no socket on ${local}`)
  return Number(found)
}

await cryptoReady
const stopped = new AbortController()
let node: EndNode | undefined
let udp: UdpLink | undefined
let counters: LabEvent | undefined
let wake: () => void = () => {}
let drain: () => void = () => {}

async function begin(end: 0 | 1): Promise<void> {
  let feed: (input: NodeInput) => void = () => {}
  const mine = new EndNode(end)
  const link = new UdpLink({
    end: { localHost: HOSTS[end], peerHost: HOSTS[end === 0 ? 1 : 0], port: PORT },
    nowMs,
    onDatagram: (bytes) => feed({ kind: 'datagram', link: LINK, bytes }),
  })
  node = mine
  udp = link
  const driven = drive<NodeInput | Wake, NodeEffect>(mine, {
    nowMs,
    signal: stopped.signal,
    carryOut: (effect) => {
      if (effect.kind === 'send') {
        link.send(effect.bytes)
        overhear(effect.bytes)
      } else if (effect.kind === 'event' && effect.event.name === 'counters') counters = effect.event
    },
  })
  await link.open()
  feed = driven.feed
  wake = () => driven.feed({ kind: 'wake' })
  drain = () => driven.feed({ kind: 'drain' })
  driven.feed({ kind: 'start', wallMs: Date.now() })
  for (const channel of [2 * LINK, 2 * LINK + 1]) {
    driven.feed({ kind: 'keyBlock', block: { channel, slot: 0, bytes: keyOf(channel) } })
  }
}

let wire: ToAttacker = { msgId: 0, slot: 0, aesSlot: undefined }

/** What a reader of this end's datagrams learns. */
function overhear(bytes: Uint8Array): void {
  const header = parseHeader(bytes)
  if ('drop' in header) return
  const { msgId, suite, eKeyId, aKeyId } = header
  const aesSlot = suite === 'aes' ? eKeyId : wire.aesSlot
  const slot = Math.max(wire.slot, suite === 'aes' ? eKeyId + 4 : aKeyId + 4)
  wire = { msgId: Math.max(wire.msgId, msgId), slot, aesSlot }
}

let nextId = 1
function round(durationMs: number, perS: number): void {
  const sentAtMs = new Map<number, number>()
  const startMs = nowMs()
  const timer = setInterval(() => {
    const elapsedMs = nowMs() - startMs
    if (elapsedMs >= durationMs) {
      clearInterval(timer)
      setTimeout(() => report(sentAtMs), SETTLE_MS)
    } else if (sentAtMs.size < (elapsedMs * perS) / 1000) {
      const id = nextId++
      sentAtMs.set(id, nowMs())
      node?.queue.push(id)
      wake()
    }
  }, 1)
}

function report(sentAtMs: ReadonlyMap<number, number>): void {
  const times: number[] = []
  for (const [id, atMs] of sentAtMs) {
    const confirmedAtMs = node?.confirmedAtMs.get(id)
    if (confirmedAtMs !== undefined) times.push(confirmedAtMs - atMs)
  }
  tell({ kind: 'round', times, lost: sentAtMs.size - times.length })
}

function flood({ attack, durationMs, perS }: ToEnd & { kind: 'flood' }): void {
  const script = fileURLToPath(new URL('./flood-attacker.js', import.meta.url))
  const child = spawn(process.execPath, [script, attack, String(durationMs), String(perS)], {
    stdio: ['pipe', 'pipe', 'inherit', descriptorOf(HOSTS[0])],
  })
  // Who floods has a machine of its own: here it gets the time that the two ends leave.
  if (child.pid !== undefined) setPriority(child.pid, LEAST_PRIORITY)
  child.stdin?.on('error', () => {})
  const timer = setInterval(() => child.stdin?.write(`${JSON.stringify(wire)}\n`), SNIFF_PERIOD_MS)
  child.once('exit', () => clearInterval(timer))
  child.stdout?.on('data', (line: Buffer) => {
    const { sent } = JSON.parse(line.toString()) as FromAttacker
    tell({ kind: 'flooded', sent })
  })
}

process.on('message', (message: ToEnd) => {
  if (message.kind === 'begin') void begin(message.end)
  else if (message.kind === 'round') round(message.durationMs, message.perS)
  else if (message.kind === 'flood') flood(message)
  else if (message.kind === 'usage') {
    const { user, system } = process.cpuUsage()
    tell({ kind: 'usage', cpuUs: user + system, received: udp?.counters.received ?? 0 })
  } else {
    drain()
    setTimeout(() => {
      tell({ kind: 'stopped', counters: counters ?? {}, received: udp?.counters.received ?? 0 })
      stopped.abort()
      udp?.close()
      process.disconnect()
    }, SETTLE_MS)
  }
})
