/** What a controlled station is made of, what it takes and what it asks for. Plain data. */
import type { ApciOptions } from '../../protocol/index.ts'
import type { LabEvent } from '../../runtime/contract.ts'
import type { PointKind, Quality } from './point-kinds.ts'

/** A point of the database: information in monitor direction. */
export type PointSpec = {
  /** Common address, 1..65 534. */
  readonly ca: number
  /** Information object address, 1..16 777 215. */
  readonly ioa: number
  readonly kind: PointKind
  readonly name?: string
  /** Value at the start (default 0); see `POINT_KINDS` for the meaning. */
  readonly value?: number
  readonly quality?: Partial<Quality>
  /** Interrogation group 1..16 (integrated totals: 1..4). Every point but a total is also in the station interrogation. */
  readonly group?: number
  /** Changes are reported as events (default: yes, totals no). */
  readonly events?: boolean
  /** Time tag of events (default cp56). */
  readonly timeTag?: 'none' | 'cp24' | 'cp56'
  /** Sent cyclically with this period, ms, at least 10. */
  readonly cycleMs?: number
  /** Sent in the background scan of the station. */
  readonly background?: boolean
  /** Measured values: a change is an event when it leaves this band around the value reported last (default 0). */
  readonly deadband?: number
  /** Measured values: share of the former value in the new one, 0 (default, none) to below 1. */
  readonly smoothing?: number
  /** Measured values: passing a limit is an event, whatever the deadband. */
  readonly lowLimit?: number
  readonly highLimit?: number
}

export type CommandKind = 'single' | 'double' | 'step' | 'normalized' | 'scaled' | 'float' | 'bitstring'

/** An object that takes commands. */
export type CommandSpec = {
  readonly ca: number
  readonly ioa: number
  readonly kind: CommandKind
  readonly name?: string
  /** Direct only, select-before-operate only, or as the controlling station likes (default). */
  readonly mode?: 'direct' | 'select' | 'either'
  /** Point of the same CA and kind that shows the result: takes the value, reported as return information (cause 11). */
  readonly pointIoa?: number
  /** Range of a set-point. */
  readonly min?: number
  readonly max?: number
  /** Time between select and execute, ms (default: the station's). */
  readonly selectTimeoutMs?: number
  /** Durations of short and long pulses, ms (default: the station's). */
  readonly shortPulseMs?: number
  readonly longPulseMs?: number
  /** An activation termination follows the end of the command (default yes). */
  readonly termination?: boolean
}

/** A file that can be read, or a place where one can be put. */
export type FileSpec = {
  readonly ca: number
  readonly ioa: number
  /** Name of file, 1..65 535. */
  readonly nof: number
  /** Contents; up to 16 MiB less one octet. Absent: nothing there yet. */
  readonly bytes?: Uint8Array
  /** Time of creation shown in the directory, wall ms. */
  readonly createdWallMs?: number
  /** The controlling station may send a new one. */
  readonly writable?: boolean
}

/**
 * Who shares a queue of events. At most one connection of a redundancy group is started; starting another one closes it.
 * - `one`: all connections are one group.
 * - `several`: by the peer's host address or certificate name; a group without `peers` takes the others.
 * - `perConnection`: each started connection has its own queue. When it is lost its queue waits for the next connection
 *   from the same host.
 */
export type Redundancy =
  | { readonly kind: 'one' }
  | {
      readonly kind: 'several'
      readonly groups: readonly { readonly name: string; readonly peers?: readonly string[] }[]
    }
  | { readonly kind: 'perConnection'; readonly maxGroups?: number }

export type StationConfig = {
  readonly points: readonly PointSpec[]
  readonly commands?: readonly CommandSpec[]
  readonly files?: readonly FileSpec[]
  /** k, w, t1..t3 (default 12, 8, 15 s, 10 s, 20 s). */
  readonly apci?: Partial<Pick<ApciOptions, 'k' | 'w' | 't1Ms' | 't2Ms' | 't3Ms'>>
  /** Default perConnection. */
  readonly redundancy?: Redundancy
  /** More connections are closed at once (default 32). */
  readonly maxConnections?: number
  /** Events that wait for one group; the oldest is dropped and counted (default 10 000). */
  readonly maxEvents?: number
  /** Most events in one ASDU when several wait (default: as many as fit; 1: each alone). */
  readonly maxEventsPerAsdu?: number
  /** Period of the background scan, ms; none by default. */
  readonly backgroundMs?: number
  /** Period of points that P_AC_NA_1 makes cyclic and that have none of their own, ms (default 10 000). */
  readonly cycleMs?: number
  /** Time between select and execute, ms (default 10 000). */
  readonly selectTimeoutMs?: number
  /** Time the process has to carry out a command, ms (default 10 000). */
  readonly executeTimeoutMs?: number
  /** Default 500. */
  readonly shortPulseMs?: number
  /** Default 2 000. */
  readonly longPulseMs?: number
  /** A command whose time tag is older, or as much ahead, is discarded without an answer; not looked at by default. */
  readonly maxCommandAgeMs?: number
  /** Frozen counters are reported spontaneously, too (mode D; default no). */
  readonly reportFrozen?: boolean
  /** Counters are frozen locally with this period, ms (modes A and B); not by default. */
  readonly freezeMs?: number
  /** The end of initialization is told when the station starts (default yes); after a reset of the process it always is. */
  readonly announceStart?: boolean
  /** Time tags are marked invalid until the first clock synchronisation (default no: the host's clock is trusted). */
  readonly needsClockSync?: boolean
  /** Largest file taken, octets (default 1 MiB). */
  readonly maxFileBytes?: number
}

/** Of a station without its transport. `cas`: common addresses that are served even if nothing in the config has them. */
export type CoreConfig = Omit<StationConfig, 'apci' | 'maxConnections'> & { readonly cas?: readonly number[] }

/** An accepted command for the process, to be answered by `commandDone`. */
export type ProcessCommand = {
  readonly id: number
  readonly ca: number
  readonly ioa: number
  readonly kind: CommandKind
  readonly name?: string
  /** As sent: single 0 off, 1 on; double 1 off, 2 on; step 1 lower, 2 higher; set-point; bits. */
  readonly value: number
  /** Pulse wanted, ms; absent for a persistent output. */
  readonly pulseMs?: number
  /** Originator address. */
  readonly oa: number
  readonly peer: string
}

/** Byte streams that carry 104: TCP, TLS. */
export type StreamInput =
  /** A stream came up. `peer` is `host:port`, `peerName` the name in its certificate. Numbers are not used again. */
  | { readonly kind: 'connected'; readonly connection: number; readonly peer: string; readonly peerName?: string }
  | { readonly kind: 'octets'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly kind: 'disconnected'; readonly connection: number }

export type StreamEffect =
  /** Whole APDUs. */
  | { readonly kind: 'write'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly connection: number; readonly reason: string }

/** What the process tells the station. */
export type ProcessInput =
  /** A value from the process. `timeMs` is its wall time (default: now); `quality` is good unless said otherwise. */
  | {
      readonly kind: 'setPoint'
      readonly ca: number
      readonly ioa: number
      readonly value: number
      readonly quality?: Partial<Quality>
      readonly timeMs?: number
      /** Step position: under way. */
      readonly transient?: boolean
      /** Protection equipment: duration or operating time, 0..59 999 ms. */
      readonly elapsedMs?: number
    }
  /** The process has carried out a command, or could not. */
  | { readonly kind: 'commandDone'; readonly id: number; readonly ok: boolean }

export type StationInput =
  /** The first input: the wall clock shows `wallMs`. */
  { readonly kind: 'start'; readonly wallMs: number } | StreamInput | ProcessInput

/** What the station asks for besides what goes to controlling stations. */
export type CoreEffect =
  | { readonly kind: 'command'; readonly command: ProcessCommand }
  /** Reset of the process was ordered and confirmed: 1 general, 2 of the pending events. */
  | { readonly kind: 'reset'; readonly ca: number; readonly qrp: 1 | 2 }
  /** A file came in whole, its checksums right. */
  | {
      readonly kind: 'fileReceived'
      readonly ca: number
      readonly ioa: number
      readonly nof: number
      readonly bytes: Uint8Array
    }
  | { readonly kind: 'event'; readonly event: LabEvent }

export type StationEffect = StreamEffect | CoreEffect
