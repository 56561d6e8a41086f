import type { SecureLinkOptions } from '../protocol/index.ts'
import type { Suite } from '../runtime/contract.ts'
import type { Priorities } from '../runtime/link-ports.ts'

/** A sensor or actuator on a bus of the grid. Plain data. */
export type IedConfig = {
  readonly id: string
  /** The common address of the RTU it hangs on. */
  readonly ca: number
  readonly bus: number
  readonly kind: 'load' | 'generator'
  /** The link to the RTU; the IED is its controlled station. */
  readonly link: SecureLinkOptions
  /** Information object addresses; a point that is absent is not served. */
  readonly points: {
    /** Frequency deviation, Hz. */
    readonly frequencyIoa?: number
    /** Voltage, pu. */
    readonly voltageIoa?: number
    /** Electrical output of the machine, MW. */
    readonly powerIoa?: number
    /** Breaker: 1 tripped. */
    readonly breakerIoa?: number
    /** Single command: ON trips the load. */
    readonly commandIoa?: number
    /** Set-point: change of the machine's load reference from its initial value, MW. */
    readonly setpointIoa?: number
  }
  /** Period of the measurement samples asked of the grid, ms. */
  readonly samplePeriodMs: number
  /** Period of telemetry, which is one ASDU with all measurands, ms. */
  readonly telemetryPeriodMs: number
  /** Lab time of the first telemetry, so that devices do not all speak at once, ms (default: one period). */
  readonly telemetryPhaseMs?: number
  readonly telemetryDeadlineMs: number
  /** Suite that telemetry needs to count as full (default aes). */
  readonly telemetryRequiredSuite?: Suite
  /** Suite that telemetry and events are sent in (default aes). */
  readonly telemetrySuite?: Suite
  /** Change of frequency that is reported at once, Hz. */
  readonly deadbandHz: number
  /** Load the breaker trips, MW; for kind load. */
  readonly shedMw?: number
  /** Command to open contacts, ms; for kind load. */
  readonly breakerDelayMs?: number
  /** A block of many phasor values in one ASDU, as a concentrator sends it. */
  readonly pmu?: {
    readonly firstIoa: number
    /** Values in the block, 1..16. */
    readonly objects: number
    readonly periodMs: number
    readonly phaseMs?: number
    readonly deadlineMs: number
  }
  /** Bursts of protection events, each a single point with a time tag, on consecutive addresses. */
  readonly bursts?: readonly {
    readonly firstIoa: number
    readonly events: number
    readonly atMs: number
    /** They are spread evenly over this time. */
    readonly withinMs: number
    readonly deadlineMs: number
    readonly requiredSuite: Suite
  }[]
  readonly priorities?: Partial<Priorities>
  /** How long after `drain` the link is closed if the RTU has not, ms (default 5 000). */
  readonly drainMs?: number
}
