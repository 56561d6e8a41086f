import { ApciConnection, type ApciEffect, type ApciOptions } from '../../../src/protocol/iec104/connection.ts'

/** Two connections in virtual time. `fate` gives the delays at which copies of a frame arrive: none, one or more. */
export class Pair {
  readonly ends: readonly [ApciConnection, ApciConnection]
  readonly sent: [number, number] = [0, 0]
  readonly acked: [number, number] = [0, 0]
  readonly received: [number[], number[]] = [[], []]
  readonly closes: string[] = []
  nowMs = 0
  /** Over a lossy transport: how often unacknowledged I-frames are asked after by TESTFR act, answered by N(R). */
  testsAfterMs = Number.POSITIVE_INFINITY
  readonly #fate: (format: 'I' | 'S' | 'U') => readonly number[]
  readonly #flying: { atMs: number; to: 0 | 1; apdu: Uint8Array }[] = []
  /** I-frames never overtake one another, as the caller must see to. */
  readonly #lastIAtMs: [number, number] = [0, 0]

  constructor(options: Omit<ApciOptions, 'role'>, fate: (format: 'I' | 'S' | 'U') => readonly number[]) {
    this.ends = [
      new ApciConnection({ ...options, role: 'controlling' }),
      new ApciConnection({ ...options, role: 'controlled' }),
    ]
    this.#fate = fate
    this.carryOut(1, this.ends[1].open(0))
    this.carryOut(0, this.ends[0].open(0))
  }

  send(end: 0 | 1): void {
    if (!this.ends[end].canSend) return
    const n = this.sent[end]++
    this.carryOut(end, this.ends[end].send(Uint8Array.of(n & 0xff, (n >> 8) & 0xff), this.nowMs))
  }

  carryOut(end: 0 | 1, effects: readonly ApciEffect[]): void {
    const to = end === 0 ? 1 : 0
    for (const effect of effects) {
      if (effect.kind === 'close') this.closes.push(effect.reason)
      if (effect.kind === 'acked') this.acked[end] += effect.count
      if (effect.kind === 'asdu') this.received[end].push((effect.asdu[0] ?? 0) + 256 * (effect.asdu[1] ?? 0))
      if (effect.kind !== 'transmit') continue
      for (const delayMs of this.#fate(effect.format)) {
        let atMs = this.nowMs + delayMs
        if (effect.format === 'I') {
          atMs = Math.max(atMs, this.#lastIAtMs[to])
          this.#lastIAtMs[to] = atMs
        }
        this.#flying.push({ atMs, to, apdu: effect.apdu })
      }
    }
  }

  advanceMs(durationMs: number): void {
    const endMs = this.nowMs + durationMs
    while (this.nowMs < endMs) {
      this.#runUntil(Math.min(endMs, this.nowMs + this.testsAfterMs))
      if (this.testsAfterMs === Number.POSITIVE_INFINITY) continue
      for (const end of [0, 1] as const) {
        if (this.ends[end].unacked > 0) this.carryOut(end, this.ends[end].test(this.nowMs))
      }
    }
  }

  #runUntil(endMs: number): void {
    for (;;) {
      const flight = this.#flying.reduce(
        (first, each, at) => (each.atMs < (this.#flying[first]?.atMs ?? Infinity) ? at : first),
        0,
      )
      const next = this.#flying[flight]
      const wakes = this.ends.map((end) => end.wakeAtMs ?? Infinity)
      const wakeAtMs = Math.min(...wakes)
      const atMs = Math.min(wakeAtMs, next?.atMs ?? Infinity)
      if (atMs > endMs) break
      this.nowMs = Math.max(this.nowMs, atMs)
      if (next !== undefined && next.atMs <= wakeAtMs) {
        this.#flying.splice(flight, 1)
        const end = this.ends[next.to]
        this.carryOut(next.to, end.receive(next.apdu, this.nowMs))
        const isTest = this.testsAfterMs < Number.POSITIVE_INFINITY && next.apdu[2] === 0x43
        if (isTest) this.carryOut(next.to, end.acknowledge(this.nowMs))
      } else {
        const end = wakes[0] === wakeAtMs ? 0 : 1
        this.carryOut(end, this.ends[end].wake(this.nowMs))
      }
    }
    this.nowMs = endMs
  }
}
