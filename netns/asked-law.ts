import { FRAME_OVERHEAD_BYTES, Impairment, type LinkLaw, randomStream } from '../src/sim/index.ts'

/** A statistic of one measurement, over many: its mean, and how far one may be off by chance. */
export type Expected = { readonly mean: number; readonly spread: number }

/** What a law makes of the datagrams of one end. */
export type Asked = {
  readonly count: number
  readonly intervalMs: number
  readonly lossRatio: Expected
  readonly duplicateRatio: Expected
  /** Median delay. */
  readonly delayMs: Expected
  /** See `Middle`. */
  readonly jitterMs: Expected
  /** Latest arrival after sending that is likely. */
  readonly latestMs: number
}

export type Sending = { readonly durationMs: number; readonly intervalMs: number; readonly sizeBytes: number }

/** A statistic farther from its mean than this many standard deviations of its own is not chance. */
const SPREAD = 4
const ROUNDS = { most: 64, least: 12 }
const MOST_FRAMES = 200_000
/** The means are those of a measurement at least this long. */
const LONG_FRAMES = 10_000
/** A limited line is used to this part: what waits in its queue is not the law's delay. */
const LINE_USE = 0.25

/**
 * Plays the law many times on the datagrams that an end is to send. So whatever a law does (bursts of loss, a slow line,
 * delays cut off at zero), what is expected of it is what the model of the transport does.
 */
export function askedOf(law: LinkLaw, sending: Sending): Asked {
  const { bandwidthBps } = law
  const lineMs = bandwidthBps === undefined ? 0 : ((sending.sizeBytes + FRAME_OVERHEAD_BYTES) * 8_000) / bandwidthBps
  const intervalMs = Math.max(sending.intervalMs, lineMs / LINE_USE)
  const count = Math.max(3, Math.round(sending.durationMs / intervalMs))
  const rounds = Math.max(ROUNDS.least, Math.min(ROUNDS.most, Math.floor(MOST_FRAMES / count)))
  const pattern = { intervalMs, sizeBytes: sending.sizeBytes }
  const long = play(law, { ...pattern, count: Math.max(count, LONG_FRAMES) }, 0)
  const played = Array.from({ length: rounds }, (_, i) => play(law, { ...pattern, count }, i + 1))
  const expected = (statistic: (one: Played) => number, mean = statistic(long)): Expected => ({
    mean,
    spread: SPREAD * deviationOf(played.map(statistic).filter(Number.isFinite)),
  })
  return {
    count,
    intervalMs,
    lossRatio: expected(({ lossRatio }) => lossRatio, lossOf(law)),
    duplicateRatio: expected(({ duplicateRatio }) => duplicateRatio),
    delayMs: expected(({ middle }) => middle.medianMs),
    jitterMs: expected(({ middle }) => middle.jitterMs),
    latestMs: Math.max(long.latestMs, ...played.map(({ latestMs }) => latestMs)),
  }
}

/** Part of the datagrams of which no copy arrives, in the long run. */
function lossOf({ outage, lossRatio, burst, duplicateRatio = 0 }: LinkLaw): number {
  if (outage) return 1
  const { startRatio, endRatio, lossRatio: inBurst } = burst ?? { startRatio: 0, endRatio: 1, lossRatio: 0 }
  const burstPart = startRatio === 0 ? 0 : startRatio / (startRatio + endRatio)
  // A datagram that is doubled and then lost still arrives once.
  return (1 - duplicateRatio) * ((1 - burstPart) * lossRatio + burstPart * inBurst)
}

/** Middle of delays: their median, and half the width that holds the middle 68 %: the deviation, if they are normal. */
export type Middle = { readonly medianMs: number; readonly jitterMs: number }

export function middleOf(delaysMs: Float64Array): Middle {
  const sorted = Float64Array.from(delaysMs).sort()
  const at = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
  return { medianMs: at(0.5), jitterMs: (at(0.8413) - at(0.1587)) / 2 }
}

type Played = {
  readonly lossRatio: number
  readonly duplicateRatio: number
  readonly middle: Middle
  readonly latestMs: number
}

type Pattern = { readonly count: number; readonly intervalMs: number; readonly sizeBytes: number }

function play(law: LinkLaw, { count, intervalMs, sizeBytes }: Pattern, round: number): Played {
  const impairment = new Impairment(law, randomStream(round, 'asked'))
  const delaysMs: number[] = []
  let duplicates = 0
  for (let i = 0; i < count; i++) {
    const arrivalsMs = impairment.arrivals(i * intervalMs, sizeBytes)
    if (arrivalsMs.length === 0) continue
    duplicates += arrivalsMs.length - 1
    delaysMs.push(Math.min(...arrivalsMs) - i * intervalMs)
  }
  return {
    lossRatio: 1 - delaysMs.length / count,
    duplicateRatio: duplicates / count,
    middle: middleOf(Float64Array.from(delaysMs)),
    latestMs: delaysMs.reduce((latest, delayMs) => Math.max(latest, delayMs), 0),
  }
}

function deviationOf(values: readonly number[]): number {
  if (values.length === 0) return 0
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
}
