/** What the page shows of a lab, as plain data. Times in ms of lab time, key in bits, delays in ms, power in MW. */
import type { LabEvent, PoolBooks, StockLevel, Suite } from '../runtime/contract.ts'

/** One line of a run's record. */
export type LabRecord = LabEvent & { readonly tMs: number; readonly node: string }

export type NodeKind = 'master' | 'gateway' | 'rtu' | 'ied' | 'service'

/** A chain as it is planned for. */
export type ChainHead = {
  readonly id: string
  readonly taskType: string
  readonly priority: number
  readonly requiredSuite: Suite
  readonly deadlineMs: number
  readonly apduBytes: number
  /** Node ids, the preferred path first. */
  readonly paths: readonly (readonly string[])[]
  /** The point its commands go to. */
  readonly ca: number
  readonly ioa: number
}

/** What does not change while a lab runs, but its chains. */
export type LabHead = {
  readonly name: string
  readonly lab: string
  readonly seed: number
  readonly version: string
  readonly mode: 'live' | 'replay'
  readonly durationMs: number
  readonly isolation: string
  readonly impairment: string
  readonly nodes: readonly { readonly id: string; readonly kind: NodeKind; readonly bus?: number }[]
  readonly links: readonly {
    readonly link: number
    readonly id: string
    readonly ends: readonly [string, string]
    readonly keys: 'pool' | 'local' | 'relay'
    readonly lengthKm: number
    /** Mean one-way delay. */
    readonly delayMs: number
  }[]
  readonly chains: readonly ChainHead[]
  readonly thresholds: { readonly safeBits: number; readonly thBits: number; readonly capBits: number }
  /** Frequency band outside which the grid counts as disturbed, Hz. */
  readonly bandHz: number
  readonly policy: string
  readonly policies: readonly string[]
  /** Buses with load, for a load step. */
  readonly buses: readonly { readonly bus: number; readonly loadMw: number }[]
  /** Messages under one AES key. */
  readonly messagesPerRekey: number
}

export type RunView = {
  readonly phase: 'starting' | 'running' | 'draining' | 'ended'
  readonly tMs: number
  readonly policy: string
  readonly processesUp: number
  readonly processes: number
}

export type NodeView = { readonly id: string; readonly kind: NodeKind; readonly up: boolean; readonly restarts: number }

export type LinkView = {
  readonly link: number
  readonly id: string
  readonly ends: readonly [string, string]
  readonly keys: 'pool' | 'local' | 'relay'
  readonly lengthKm: number
  /** Not cut and not broken. */
  readonly up: boolean
  /** Q3P session, by its ends' word. */
  readonly session: 'up' | 'down' | 'unknown'
  /** One-way delay now. */
  readonly delayMs: number
  /** Key it makes now, bit/s; null: no QKD. */
  readonly rateBps: number | null
  /** Added by hand, dB. */
  readonly addedDb: number
  /** Cut by hand. */
  readonly cut: boolean
}

/** Forecast of the stock: mean and lower bound at steps after `tMs`. */
export type ForecastView = {
  readonly source: string
  readonly tMs: number
  readonly stepMs: number
  readonly stockBits: readonly number[]
  readonly stockLowerBits: readonly number[]
}

export type PoolView = {
  readonly tMs: number
  readonly level: StockLevel
  readonly safeBits: number
  readonly thBits: number
  readonly capBits: number
  readonly books: PoolBooks
  readonly forecast: ForecastView | null
}

export type ChainView = {
  readonly id: string
  readonly taskType: string
  readonly priority: number
  readonly requiredSuite: Suite
  readonly state: 'off' | 'aes' | 'otp' | 'unplanned'
  /** Index into the chain's paths, and that path. */
  readonly path: number
  readonly hops: readonly string[]
  readonly why: string
  readonly enabled: boolean
  /** Commands issued, ended within the deadline (any suite), of those in the required suite, late, and failed. */
  readonly issued: number
  readonly inTime: number
  readonly full: number
  readonly late: number
  readonly failed: number
  /** Key of the pool that its messages took, both ways. */
  readonly keyBits: number
  readonly lastLatencyMs: number | null
}

export type GridView = {
  readonly tMs: number
  /** Centre of inertia. */
  readonly deltaFHz: number
  /** Largest deviation of any machine. */
  readonly worstHz: number
  readonly minVoltagePu: number | null
  readonly minVoltageBus: number | null
  readonly maxVoltagePu: number | null
  readonly maxAbsDeltaFHz: number
  readonly collapsed: boolean
}

/** Where a command's time went. */
export type TaskSplit = {
  readonly task: string
  readonly taskType: string
  readonly chain: string
  readonly tMs: number
  readonly outcome: 'full' | 'degraded' | 'late' | 'failed'
  readonly reason: string
  readonly latencyMs: number
  readonly deadlineMs: number
  /** Waiting in the centre: chain off, no link, or another command to the same point. */
  readonly turnMs: number
  readonly keyWaitMs: number
  readonly queueMs: number
  readonly wireMs: number
  readonly breakerMs: number
}

/** The latest commands of one kind together: means of the parts, and quantiles of the whole. */
export type LatencyView = {
  readonly taskType: string
  readonly tasks: number
  readonly turnMs: number
  readonly keyWaitMs: number
  readonly queueMs: number
  readonly wireMs: number
  readonly breakerMs: number
  readonly medianMs: number
  readonly p95Ms: number
  readonly deadlineMs: number
}

export type TimelineKind = 'link' | 'plan' | 'grid' | 'task' | 'process' | 'control'

export type TimelineEntry = {
  /** Counts from 1. */
  readonly seq: number
  readonly tMs: number
  readonly kind: TimelineKind
  readonly tone: 'bad' | 'warn' | 'good' | 'plain'
  readonly text: string
  /** Link, chain or process it is about. */
  readonly subject: string
}

/** Everything the page shows; each part is sent on its own when it changes. */
export type LabState = {
  readonly run: RunView
  readonly nodes: readonly NodeView[]
  readonly links: readonly LinkView[]
  readonly pool: PoolView | null
  readonly chains: readonly ChainView[]
  readonly grid: GridView | null
  readonly latency: readonly LatencyView[]
  /** The latest commands, newest first. */
  readonly tasks: readonly TaskSplit[]
  /** Newest first. */
  readonly events: readonly TimelineEntry[]
}
