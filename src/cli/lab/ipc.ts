import type { DisturbanceNow } from '../../grid/index.ts'
import type { ChainSet } from '../../master/index.ts'
import type { MetricFamily } from '../../observe/index.ts'
import type { LinkState } from '../../runtime/contract.ts'
import type { UdpEnd, WakeLag } from '../../runtime/index.ts'
import type { Disturbance, LinkLaw } from '../../sim/index.ts'

import type { LedgerPlace } from '../process/ledger-io.ts'

/** What `q104 run` and a process of the lab tell each other over Node's IPC pipe. Carries no key material. */

export type Role = 'keyserver' | 'grid' | 'master' | 'gateway' | 'rtu' | 'ied'

export type LinkEnd = UdpEnd & {
  readonly link: number
  /** 0 when this node is the link's first-named end. */
  readonly end: 0 | 1
}

/** Where a process finds another on the management network. */
export type Address = { readonly host: string; readonly port: number }

/** Files of the lab's certificate authority that a process may read. */
export type CertificateFiles = { readonly ca: string; readonly cert: string; readonly key: string }

/** The lab's own key manager (ETSI GS QKD 014) for programs outside. */
export type Serve014Spec = {
  readonly pairs: readonly { readonly link: number; readonly saes: readonly [string, string] }[]
  readonly keySizeBits: number
  readonly kmeId: string
  readonly certificates: CertificateFiles
  readonly socketPath: string
}

export type ProcessSpec = {
  readonly id: string
  readonly role: Role
  readonly lab: string
  readonly seed: number
  readonly eventsFile: string
  readonly certificates: CertificateFiles
  readonly keyserver: Address
  readonly grid: Address
  readonly redis?: Address
  /** Configuration of the node (or of the key server or grid) as the plan has it. */
  readonly config: unknown
  /** The node's ends of its links; empty for key server and grid. */
  readonly ends: readonly LinkEnd[]
  /** Where a node keeps its high-water marks, or the key server its journal; absent for the grid. */
  readonly ledger?: LedgerPlace
  /** By URL of a key manager: the unix socket that leads out of the lab's namespaces to it. */
  readonly tunnels?: Readonly<Record<string, string>>
  /** Who outside the lab gets the pool's key, and by which socket; key server alone. */
  readonly serve014?: Serve014Spec
  /** The key log of the run, only if one was asked for. */
  readonly keyLogFile?: string
  /** Where an RTU listens for controlling stations on 104/TCP; absent: nowhere. */
  readonly tcp?: Address
  /** By link number: the law this process applies itself because the kernel has no netem. */
  readonly laws?: Readonly<Record<number, LinkLaw>>
  /** Names of the links of the lab, for the metrics. */
  readonly linkNames: Readonly<Record<number, string>>
  /** Where sent datagrams are recorded when no tcpdump can run. */
  readonly wireFile?: string
}

/** What an operator asks of one process, by the page or the REST interface. */
export type Control =
  /** To the key server, which runs the model of the QKD links. */
  | { readonly kind: 'disturbLink'; readonly link: number; readonly disturbance: Disturbance }
  | { readonly kind: 'mendLink'; readonly link: number; readonly disturbance: Disturbance['kind'] }
  /** To the grid. */
  | { readonly kind: 'disturbGrid'; readonly disturbance: DisturbanceNow }
  /** To the master; carried out at its next tick. */
  | { readonly kind: 'setChains'; readonly set: ChainSet }
  | { readonly kind: 'setPolicy'; readonly policy: string }
  | { readonly kind: 'setEnabled'; readonly chain: string; readonly enabled: boolean }

export type ToProcess =
  | { readonly kind: 'init'; readonly spec: ProcessSpec }
  | { readonly kind: 'go'; readonly epochNs: string; readonly wallMs: number }
  | { readonly kind: 'law'; readonly link: number; readonly law: LinkLaw }
  /** Answered by `controlled` with the same request. */
  | { readonly kind: 'control'; readonly request: number; readonly control: Control }
  /** Asks for the metrics: as Prometheus' text, or as values. */
  | { readonly kind: 'metrics'; readonly ask: number; readonly form: 'text' | 'families' }
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' }

export type FromProcess =
  | { readonly kind: 'ready' }
  | { readonly kind: 'waiting'; readonly for: string }
  /** From the key server, which runs the model of the QKD links: the run applies it to the link's law. */
  | { readonly kind: 'linkState'; readonly state: LinkState }
  | { readonly kind: 'status'; readonly status: Readonly<Record<string, unknown>> }
  /** What became of a control; without a problem it has taken effect. */
  | { readonly kind: 'controlled'; readonly request: number; readonly problem?: string }
  | { readonly kind: 'metrics'; readonly ask: number; readonly body: MetricsBody }
  | { readonly kind: 'drained' }
  | { readonly kind: 'stopped'; readonly lag: WakeLag; readonly counters: Readonly<Record<string, number>> }

export type MetricsBody = string | readonly MetricFamily[]
