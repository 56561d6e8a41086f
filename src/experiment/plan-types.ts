/** The plan of a lab: all that its processes, or its virtual world, need. Plain data that survives JSON. */
import type { GatewayConfig } from '../gateway/index.ts'
import type { GridNodeOptions } from '../grid/index.ts'
import type { IedConfig } from '../ied/index.ts'
import type { KeyServerOptions } from '../keypool/pure.ts'
import type { MasterConfig } from '../master/index.ts'
import type { RtuConfig } from '../rtu/index.ts'
import type { LabTerms, Responses } from '../scheduler/index.ts'
import type { LinkLaw, QkdLinkOptions } from '../sim/index.ts'
import type { Scenario } from './scenario-schema.ts'

/** A node of the lab. `number` counts from 1 in the order master, gateways, RTUs, IEDs: its place in address plans. */
export type PlanNode = { readonly id: string; readonly number: number } & (
  | { readonly kind: 'master'; readonly config: MasterConfig }
  | { readonly kind: 'gateway'; readonly config: GatewayConfig }
  | { readonly kind: 'rtu'; readonly config: RtuConfig }
  | { readonly kind: 'ied'; readonly config: IedConfig }
)

/** A link of the lab. `ends[0]` is nearer to the centre: the controlling station, end 0. */
export type PlanLink = {
  readonly link: number
  readonly id: string
  readonly ends: readonly [string, string]
  readonly lengthKm: number
  readonly keys: 'pool' | 'local' | 'relay'
  /** What the link does to a datagram while it is up and its delay is the mean one. */
  readonly law: LinkLaw
}

/** An SAE, its certificate and its key manager (ETSI GS QKD 014). */
export type PlanSae = NonNullable<Scenario['keys']['etsi014']>['links'][number]['master']

/** The key managers that fill the pool. */
export type PlanEtsi014 = {
  readonly pollMs: number
  readonly links: readonly {
    readonly link: number
    /** One-way delay of the link, which no model moves. */
    readonly delayMs: number
    readonly master: PlanSae
    readonly slave: PlanSae
    readonly keySizeBits?: number
  }[]
}

/** Programs outside the lab that get key of its links (ETSI GS QKD 014). */
export type PlanServe014 = {
  readonly listen: { readonly host: string; readonly port: number }
  readonly pairs: readonly { readonly link: number; readonly saes: readonly [string, string] }[]
  readonly keySizeBits: number
}

/** The key server and the QKD links it hosts. */
export type PlanKeyServer = {
  readonly pool: Omit<KeyServerOptions, 'randomBytes'>
  readonly qkdLinks: readonly QkdLinkOptions[]
  /** In place of the links' models: who is asked for the key of each link. */
  readonly etsi014?: PlanEtsi014
  /** Who outside the lab gets key of which link; live runs only. */
  readonly serve014?: PlanServe014
  /** Key each link has made before the run; to be handed to the pool as generated at its start, bits. */
  readonly initial: readonly { readonly link: number; readonly bits: number }[]
}

export type LabPlan = {
  readonly name: string
  readonly seed: number
  readonly durationS: number
  /** What is issued before is not judged. */
  readonly warmupS: number
  /** Time after the end in which what is under way may finish. */
  readonly drainS: number
  readonly nodes: readonly PlanNode[]
  readonly links: readonly PlanLink[]
  readonly keyserver: PlanKeyServer
  readonly grid: GridNodeOptions
  readonly scheduler: Scenario['scheduler'] & {
    /** Messages under one AES key. */
    readonly messagesPerRekey: number
    /** How the chains move frequency and voltages, where the policy counts them. */
    readonly responses?: Responses
    /** What they do for the grid, where the game counts it. */
    readonly gameTerms?: LabTerms
  }
  readonly outputs: Scenario['outputs']
}

/** Priority of messages of the most urgent chains on the links behind the master. */
export const MOST_URGENT = 0

/** Information object addresses of an IED: a thousand a kind of point, and the bus number. */
export const IOA_BASE = {
  breaker: 1_000,
  frequency: 2_000,
  voltage: 3_000,
  power: 4_000,
  shed: 5_000,
  setpoint: 6_000,
  /** Values of a phasor block, and events: a thousand of them an IED, since an RTU has few IEDs. */
  block: 10_000,
  event: 100_000,
} as const
