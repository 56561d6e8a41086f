/** A plan in virtual time: the nodes of the lab, the same as on sockets, in a simulated world. */
import { Gateway } from '../gateway/index.ts'
import { GridNode } from '../grid/index.ts'
import { Ied } from '../ied/index.ts'
import { KeyServerNode } from '../keypool/pure.ts'
import { Master } from '../master/index.ts'
import { Rtu } from '../rtu/index.ts'
import type { LabNode, Node, Wake } from '../runtime/contract.ts'
import { type Policy, type PolicyMeans, policyOf } from '../scheduler/index.ts'
import {
  type LinkModelEffect,
  type LinkModelInput,
  LinkModelNode,
  QkdLink,
  randomStream,
  World,
  type WorldOptions,
} from '../sim/index.ts'
import { type Metrics, metricsOf } from './metrics.ts'
import { initialBits, isPoolChannel } from './plan.ts'
import type { LabPlan, PlanKeyServer, PlanNode } from './plan-types.ts'
import type { LabRecord } from './records.ts'

/** Time for the last books to reach the key server after the nodes have closed theirs, ms. */
const SETTLE_MS = 1_500
/** Nodes close their links within this time after they were told to drain, whatever happens, ms. */
const CLOSE_MS = 8_000

/** What the master's policy is run with, and what is put around it. */
type PolicyOptions = {
  readonly means?: PolicyMeans | undefined
  readonly wrap?: ((policy: Policy) => Policy) | undefined
}

/** The state machine of a node. `seed` draws the master's set-points. */
export function labNodeOf(
  node: PlanNode,
  plan: Pick<LabPlan, 'scheduler'>,
  seed: number,
  { means, wrap = (policy) => policy }: PolicyOptions = {},
): LabNode {
  switch (node.kind) {
    case 'master': {
      const random = randomStream(seed, `tasks ${node.id}`)
      const { seat } = node.config
      const policy = wrap(policyOf(plan.scheduler, { ...means, ...(seat && { seat }) }))
      return new Master(node.config, { policy, random: () => random.uniform() })
    }
    case 'gateway':
      return new Gateway(node.config)
    case 'rtu':
      return new Rtu(node.config)
    case 'ied':
      return new Ied(node.config)
  }
}

export type LabWorldOptions = Pick<WorldOptions, 'faults' | 'onDatagram'> & {
  /** Puts a policy around the master's, to watch it. */
  readonly policy?: (policy: Policy) => Policy
  readonly means?: PolicyMeans
}

/** A lab in virtual time, and what its recorder would have written. */
export class LabWorld {
  readonly world: World
  readonly records: LabRecord[] = []
  readonly #plan: LabPlan
  readonly #seed: number

  constructor(plan: LabPlan, seed: number, { policy, means, ...options }: LabWorldOptions = {}) {
    this.#plan = plan
    this.#seed = seed
    const keys = randomStream(seed, 'keys')
    const { pool, qkdLinks, initial, etsi014 } = plan.keyserver
    if (etsi014 !== undefined) throw new RangeError('KEYS_NEED_REAL_TIME: key managers answer in real time only')
    const links = qkdLinks.map((link) => new QkdLink(link, randomStream(seed, `qkd ${link.link}`)))
    this.world = new World({
      seed,
      nodes: new Map(plan.nodes.map((node) => [node.id, labNodeOf(node, plan, seed, { means, wrap: policy })])),
      links: plan.links.map(({ link, ends, law }) => ({ link, ends, law })),
      keyServer: new KeyServerNode({ ...pool, randomBytes: (n) => keys.bytes(n) }),
      grid: new GridNode(plan.grid),
      linkModel: new StockedLinkModel(new LinkModelNode({ links }), initial),
      statusTo: plan.nodes.filter(({ kind }) => kind === 'master').map(({ id }) => id),
      onEvent: (event) => void this.records.push(event),
      ...options,
    })
  }

  /** Runs from start to end, drains, and gives the records. */
  run(): readonly LabRecord[] {
    this.world.runUntil(this.#plan.durationS * 1000)
    this.world.drain(this.#plan.drainS * 1000 + CLOSE_MS + SETTLE_MS)
    // Once more, so that the key server records the pool with the nodes' last books in it.
    this.world.drain(SETTLE_MS)
    return this.records
  }

  /** Metrics of the records so far. */
  metrics(version: string): Metrics {
    return metricsOf(this.records, {
      seed: this.#seed,
      version,
      impairment: 'virtual',
      isolation: 'virtual',
      isPoolChannel: isPoolChannel(this.#plan),
      initialBits: initialBits(this.#plan),
      durationS: this.#plan.durationS,
      warmupS: this.#plan.warmupS,
      nodes: this.#plan.nodes.map(({ id }) => id),
    })
  }
}

/** The world of a plan. `cryptoReady` of protocol must have resolved. The same plan and seed give the same records. */
export function worldOf(plan: LabPlan, seed: number = plan.seed, options: LabWorldOptions = {}): LabWorld {
  return new LabWorld(plan, seed, options)
}

/** Link models that hand over, at their start, the key they have made before. */
class StockedLinkModel implements Node<LinkModelInput, LinkModelEffect> {
  readonly #model: LinkModelNode
  readonly #initial: PlanKeyServer['initial']

  constructor(model: LinkModelNode, initial: PlanKeyServer['initial']) {
    this.#model = model
    this.#initial = initial
  }

  get wakeAtMs(): number | undefined {
    return this.#model.wakeAtMs
  }

  handle(input: LinkModelInput | Wake, nowMs: number): readonly LinkModelEffect[] {
    const effects = this.#model.handle(input, nowMs)
    if (input.kind !== 'start') return effects
    return [...this.#initial.map(({ link, bits }) => ({ kind: 'generated' as const, link, bits })), ...effects]
  }
}
