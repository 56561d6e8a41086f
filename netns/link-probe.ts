/**
 * One end, or several, of links that are measured: a process in a node's namespace, started by `checkLinks`. Every end sends
 * numbered datagrams that carry when they were sent, by the machine's monotonic clock, and notes how old those of the
 * other end are when they come.
 */
import { readFileSync } from 'node:fs'
import { type UdpEnd, UdpLink } from '../src/runtime/index.ts'
import { Impairment, type LinkLaw, randomStream } from '../src/sim/index.ts'

export type ProbeEnd = {
  readonly link: number
  readonly side: 0 | 1
  readonly end: UdpEnd
  /** Datagrams to send, one an interval, the first after `turn` of one (0..1). */
  readonly count: number
  readonly intervalMs: number
  readonly turn: number
  readonly sizeBytes: number
  /** The law this end applies itself, where the kernel does not. */
  readonly law?: LinkLaw
}

/** The same for all ends, and without their laws: the way of a datagram as the machine makes it. */
export const BARE = { count: 20, intervalMs: 20 }

export type ToProbe =
  | { readonly kind: 'ends'; readonly ends: readonly ProbeEnd[]; readonly seed: number }
  /** Sending begins, anew, at this time of the monotonic clock. */
  | { readonly kind: 'go'; readonly startNs: bigint; readonly isBare: boolean }
  | { readonly kind: 'report' }

export type EndReport = {
  readonly link: number
  readonly side: 0 | 1
  readonly sent: number
  /** Ages of the datagrams that came, each number counted once, in order of arrival, ms. */
  readonly delaysMs: Float64Array
  /** The numbers of those datagrams. */
  readonly numbers: Uint32Array
  readonly duplicates: number
  /** Datagrams that the kernel could not put into the full buffer of this end's socket: no loss of the link. */
  readonly overruns: number
}

export type FromProbe =
  | { readonly kind: 'ready' }
  | { readonly kind: 'sent' }
  | {
      readonly kind: 'report'
      readonly ends: readonly EndReport[]
      /** How late the timers of this process came while it sent, ms: the median and the most. */
      readonly lagMs: { readonly median: number; readonly max: number }
    }

/** Sequence number and time of sending. */
const STAMP_BYTES = 12
/** Shortest time between two looks at what is due. */
const TICK_MS = 1
/** Most datagrams of one end sent at one tick: what a late timer has missed is made up for in pieces. */
const MAX_BURST = 40

class End {
  readonly #probe: ProbeEnd
  readonly #link: UdpLink
  readonly #nowMs: () => number
  readonly #bytes: Uint8Array
  readonly #stamp: DataView
  readonly #seen = new Set<number>()
  #delaysMs: number[] = []
  #isBare = false
  #duplicates = 0
  #sent = 0

  constructor(probe: ProbeEnd, seed: number, nowMs: () => number) {
    const { end, link, side, law, sizeBytes } = probe
    const impairment = law && new Impairment(law, randomStream(seed, `check ${link} ${side}`))
    this.#probe = probe
    this.#nowMs = nowMs
    this.#bytes = new Uint8Array(Math.max(STAMP_BYTES, sizeBytes))
    this.#stamp = new DataView(this.#bytes.buffer)
    this.#link = new UdpLink({
      end,
      nowMs,
      ...(impairment && {
        law: (now: number, size: number) => (this.#isBare ? [now] : impairment.arrivals(now, size)),
      }),
      onDatagram: (bytes) => this.#take(bytes),
    })
  }

  open(): Promise<void> {
    return this.#link.open()
  }

  begin(isBare: boolean): void {
    this.#isBare = isBare
    this.#seen.clear()
    this.#delaysMs = []
    this.#duplicates = 0
    this.#sent = 0
  }

  get #pace(): { readonly count: number; readonly intervalMs: number } {
    return this.#isBare ? BARE : this.#probe
  }

  get intervalMs(): number {
    return this.#pace.intervalMs
  }

  get isDone(): boolean {
    return this.#sent >= this.#pace.count
  }

  /** Sends what is due. */
  tick(nowMs: number): void {
    const { count, intervalMs } = this.#pace
    const sinceMs = nowMs - this.#probe.turn * intervalMs
    const due = Math.min(count, Math.floor(sinceMs / intervalMs) + 1, this.#sent + MAX_BURST)
    while (this.#sent < due) {
      this.#stamp.setUint32(0, this.#sent++)
      this.#stamp.setFloat64(4, this.#nowMs())
      // The socket, or the transport's delay, keeps what it is given.
      this.#link.send(this.#bytes.slice())
    }
  }

  report(): EndReport {
    const { link, side, end } = this.#probe
    const [delaysMs, numbers] = [Float64Array.from(this.#delaysMs), Uint32Array.from(this.#seen)]
    const duplicates = this.#duplicates
    return { link, side, sent: this.#sent, delaysMs, numbers, duplicates, overruns: overrunsAt(end) }
  }

  #take(bytes: Uint8Array): void {
    const nowMs = this.#nowMs()
    if (bytes.length < STAMP_BYTES) return
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const seq = view.getUint32(0)
    if (this.#seen.has(seq)) {
      this.#duplicates++
      return
    }
    this.#seen.add(seq)
    this.#delaysMs.push(nowMs - view.getFloat64(4))
  }
}

/** Datagrams dropped at a full socket of this namespace: the last column of its line in /proc/net/udp. */
function overrunsAt({ localHost, port }: UdpEnd): number {
  // The address stands there as one number in the machine's own order of octets.
  const address = Buffer.from(localHost.split('.').map(Number)).readUInt32LE().toString(16).padStart(8, '0')
  const local = `${address}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
  const line = readFileSync('/proc/net/udp', 'utf8')
    .split('\n')
    .find((candidate) => candidate.trim().split(/\s+/)[1] === local)
  return Number(line?.trim().split(/\s+/).at(-1) ?? 0)
}

function tell(message: FromProbe): void {
  process.send?.(message)
}

let startNs = process.hrtime.bigint()
const nowMs = (): number => Number(process.hrtime.bigint() - startNs) / 1e6
let lagsMs: number[] = []
let ends: readonly End[] = []

function run(): void {
  const tickMs = Math.max(TICK_MS, Math.floor(Math.min(...ends.map((end) => end.intervalMs)) / 2))
  let dueMs = Math.max(0, nowMs())
  const tick = (): void => {
    const atMs = nowMs()
    if (atMs >= dueMs) lagsMs.push(atMs - dueMs)
    for (const end of ends) end.tick(atMs)
    if (ends.every((end) => end.isDone)) {
      tell({ kind: 'sent' })
      return
    }
    dueMs = nowMs() + tickMs
    setTimeout(tick, tickMs)
  }
  setTimeout(tick, Math.max(0, -nowMs()))
}

process.on('disconnect', () => process.exit())
process.on('message', async (message: ToProbe) => {
  switch (message.kind) {
    case 'ends':
      ends = message.ends.map((end) => new End(end, message.seed, nowMs))
      await Promise.all(ends.map((end) => end.open()))
      tell({ kind: 'ready' })
      return
    case 'go':
      startNs = message.startNs
      lagsMs = []
      for (const end of ends) end.begin(message.isBare)
      run()
      return
    case 'report': {
      lagsMs.sort((a, b) => a - b)
      const lagMs = { median: lagsMs[lagsMs.length >> 1] ?? 0, max: lagsMs.at(-1) ?? 0 }
      tell({ kind: 'report', ends: ends.map((end) => end.report()), lagMs })
    }
  }
})
