import type { ControllingStationEffect, Operation } from '../../../src/master/index.ts'
import { randomStream } from '../../../src/sim/index.ts'
import { VirtualLink } from './virtual-link.ts'

const CA = 1
const HOUR_MS = 3_600_000
const COUNTER_IOA = 1
const MEASURED_IOAS = [11, 12, 13] as const

export type SoakOptions = {
  readonly durationMs: number
  /** Changes of the counted point, a second on average. */
  readonly changesPerS: number
  readonly seed: number
  /** Called at the start, in the middle and at the end. */
  readonly mark?: (name: string) => void
}

export type SoakResult = {
  readonly changes: number
  /** Values of the counted point that did not come, or came twice or out of order. */
  readonly gaps: number
  readonly duplicates: number
  /** I-frames from the server to the client; the numbers wrap at 32 768. */
  readonly frames: number
  readonly wraps: number
  readonly operations: number
  readonly failed: readonly string[]
  readonly closes: readonly string[]
  readonly droppedEvents: number
}

/**
 * Our client and server through a day in virtual time: a point that counts up, measured values, an interrogation and a
 * clock an hour, a command and a test every ten minutes, counters, silences longer than t3; over a stream that delays by
 * up to 20 ms and cuts as it likes.
 */
export function soak({ durationMs, changesPerS, seed, mark = () => {} }: SoakOptions): SoakResult {
  const random = randomStream(seed, 'changes')
  const failed: string[] = []
  const closes: string[] = []
  let expected = 1
  let gaps = 0
  let duplicates = 0
  let changes = 0
  let operations = 0

  const observe = (effect: ControllingStationEffect): void => {
    if (effect.kind === 'link' && effect.state === 'closed') closes.push(effect.reason)
    if (effect.kind !== 'data' || effect.asdu.type !== 'M_BO_TB_1') return
    for (const { value } of effect.asdu.objects) {
      if (value.bsi < expected) duplicates += 1
      if (value.bsi > expected) gaps += value.bsi - expected
      expected = Math.max(expected, value.bsi + 1)
    }
  }
  const link = new VirtualLink({
    config: {
      points: [
        { ca: CA, ioa: COUNTER_IOA, kind: 'bitstring' },
        ...MEASURED_IOAS.map((ioa) => ({ ca: CA, ioa, kind: 'float', deadband: 0.5, cycleMs: 60_000 }) as const),
        { ca: CA, ioa: 20, kind: 'counter', value: 5 },
        { ca: CA, ioa: 30, kind: 'single' },
      ],
      commands: [{ ca: CA, ioa: 100, kind: 'single', pointIoa: 30 }],
      maxEventsPerAsdu: 1,
    },
    seed,
    delayMs: [0.05, 20],
    maxPieceBytes: 64,
    observe,
  }).connect()

  const change = (): void => {
    // Half an hour of silence every six hours lets t3 come into play.
    const isQuiet = link.nowMs % (6 * HOUR_MS) > 5.5 * HOUR_MS
    if (!isQuiet) {
      changes += 1
      link.feedServer({ kind: 'setPoint', ca: CA, ioa: COUNTER_IOA, value: changes })
    }
    const atMs = link.nowMs + random.exponential(1000 / changesPerS)
    if (atMs < durationMs) link.at(atMs, change)
  }
  const every = (periodMs: number, operation: () => Operation): void => {
    const act = (): void => {
      operations += 1
      link.operate(operation(), ({ result }) => {
        if (result.kind !== 'confirmed') failed.push(JSON.stringify(result))
      })
      if (link.nowMs + periodMs < durationMs) link.at(link.nowMs + periodMs, act)
    }
    if (periodMs < durationMs) link.at(periodMs, act)
  }
  link.at(0, change)
  every(HOUR_MS, () => ({ kind: 'interrogation', ca: CA, group: 0 }))
  every(HOUR_MS, () => ({ kind: 'clockSync', ca: CA }))
  every(HOUR_MS, () => ({ kind: 'counterInterrogation', ca: CA, group: 5, action: 'read' }))
  every(HOUR_MS / 6, () => ({ kind: 'test', ca: CA }))
  every(HOUR_MS / 6, () => ({
    kind: 'command',
    type: 'C_SC_NA_1',
    ca: CA,
    ioa: 100,
    value: { sco: { on: operations % 2 === 0, qu: 3, select: false } },
    mode: operations % 3 === 0 ? 'selectBeforeOperate' : 'direct',
  }))
  every(10_000, () => {
    // No operation of its own kind: keeps a measured value moving.
    for (const ioa of MEASURED_IOAS) {
      link.feedServer({ kind: 'setPoint', ca: CA, ioa, value: 50 + random.normal() })
    }
    return { kind: 'read', ca: CA, ioa: 11 }
  })

  mark('start')
  link.runUntil(durationMs / 2)
  mark('middle')
  link.runUntil(durationMs + 60_000)
  mark('end')
  const { connections, groups } = link.server.status()
  const frames = connections.reduce((sum, { asdusSent }) => sum + asdusSent, 0)
  gaps += changes + 1 - expected
  return {
    changes,
    gaps,
    duplicates,
    frames,
    wraps: Math.floor(frames / 32_768),
    operations,
    failed,
    closes,
    droppedEvents: groups.reduce((sum, { droppedEvents }) => sum + droppedEvents, 0),
  }
}
